"""`sluicectl policy`: written, checked, tested, compared before anybody signs."""
