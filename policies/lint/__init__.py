"""What regulation refuses although it would compile."""
