"""`sluicectl`: the operator's command. Any error ends in one line and an exit code.

0 done, every check held; 1 a check did not hold, or something is away; 2 bad input (one
line says file, place, reason and what to do); 70 a bug of ours: its type and place are
told, never its text, which could hold a value.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from typing import TYPE_CHECKING, Final, Self

from fleet.errors import BadInput, FleetError
from protocols.errors import WireError
from protocols.plain import printable

if TYPE_CHECKING:
    from types import TracebackType

EXIT_FOUND: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = run(sys.argv[1:])
    # msgspec (0.20 to 0.22 seen) may crash where the ending interpreter collects its
    # types: one end in four was a SIGSEGV. What is left is not collected, only ended.
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Return the exit code of one command line."""
    with _Bugs() as bugs:
        bugs.code = _run(arguments)
    return bugs.code


def _run(arguments: list[str]) -> int:
    try:
        from fleet.app import main as run_app

        return run_app(arguments)
    except (BadInput, WireError) as error:
        return _tell(str(error), EXIT_BAD_INPUT)
    except FleetError as error:
        return _tell(str(error), EXIT_FOUND)
    except KeyboardInterrupt:
        return _tell("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Bugs:
    """What nobody expected: one line with type and place, and exit code 70."""

    code = EXIT_BUG

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        frames = traceback.extract_tb(trace)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
        self.code = _tell(
            f"bug: {kind.__name__} at {place}; please report it", EXIT_BUG
        )
        return True


def _tell(line: str, code: int) -> int:
    print(f"sluicectl: {printable(line)}", file=sys.stderr)  # noqa: T201  # the one line of an error
    return code


if __name__ == "__main__":
    main()
