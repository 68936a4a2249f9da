"""``python -m firmware_sim``: bad input ends in one clear line and exit code 2."""

from __future__ import annotations

import sys

from firmware_sim.command import app
from firmware_sim.errors import OutputError, ScenarioError


def main() -> None:
    """Run the command line; exit 2 on a refused scenario or output."""
    try:
        app()
    except (ScenarioError, OutputError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
