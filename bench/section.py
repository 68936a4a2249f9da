"""One section of ``make bench`` in this process: its rows as one line of JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys

from bench import drive
from bench.row import Row


def rows_of(section: str) -> list[Row]:
    """Return the section's rows; one that says so where its module is not there."""
    try:
        module = importlib.import_module(f"bench.{section}")
    except ModuleNotFoundError as error:
        if error.name != f"bench.{section}":
            raise
        return [Row(section, "not measured", "", "no such section yet", "", "", None)]
    rows: list[Row] = module.rows(drive.data_folder())
    return rows


def main() -> int:
    """Measure; whatever the section prints itself goes to standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    found = rows_of(sys.argv[1])
    with os.fdopen(answer, "w") as stream:
        print(json.dumps([row._asdict() for row in found]), file=stream)
    gc.freeze()  # agent/main.py says why
    return 0


if __name__ == "__main__":
    sys.exit(main())
