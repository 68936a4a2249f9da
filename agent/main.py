"""`sluicegate`: the gateway's command. Any error ends in one line and an exit code.

0 done; 1 something was found or is away; 2 bad input (one line says file, place,
reason and what to do); 70 a bug of ours (the only place where any exception is caught:
its type and place are told, never its text, which could hold a value).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final

from agent.errors import BadInput, SluicegateError
from agent.lean import leave_out, plain_records
from policies.errors import PolicyError
from protocols.errors import DatabaseError, WireError
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_AWAY: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_BUG: Final = 70


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = run(sys.argv[1:])
    # msgspec (0.20 to 0.22 seen) may crash where the ending interpreter collects its
    # types: one end in four was a SIGSEGV. What is left is not collected, only ended.
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Return the exit code of one command line."""
    try:
        if arguments[:1] == ["run"] and not {"--help", "-h"} & set(arguments):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload is no end: run.py
            return _daemon()(arguments[1:])
        if arguments == ["clock"]:  # the helper of the units: nothing else is loaded
            from agent.adapters.timekeeping import tell

            return tell()
        from agent.commands.app import main as run_app

        return run_app(arguments)
    except (BadInput, PolicyError, DatabaseError, WireError) as error:
        return _tell(str(error), EXIT_BAD_INPUT)
    except SluicegateError as error:
        return _tell(str(error), EXIT_AWAY)
    except KeyboardInterrupt:
        return _tell("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseExceptionGroup as group:
        return _tell_group(group)
    except Exception as error:
        return _tell_bug(error)


def _daemon() -> Callable[[list[str]], int]:
    """Load the daemon, and no more: neither typer nor rich, nor what `lean` names."""
    gc.disable()  # what modules make stays: looking through it finds nothing
    leave_out()
    with plain_records():
        from agent.commands.run import main as run_daemon

    gc.freeze()
    gc.enable()
    return run_daemon


def _tell(line: str, code: int) -> int:
    print(f"sluicegate: {printable(line)}", file=sys.stderr)  # noqa: T201  # the one line of an error
    return code


def _tell_group(group: BaseExceptionGroup[BaseException]) -> int:
    """Tell the first cause of a task group; our own errors keep their words."""
    ours = group.subgroup((SluicegateError, PolicyError, DatabaseError, WireError))
    cause: BaseException = ours if ours is not None else group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, BadInput | PolicyError | DatabaseError | WireError):
        return _tell(str(cause), EXIT_BAD_INPUT)
    if isinstance(cause, SluicegateError):
        return _tell(str(cause), EXIT_AWAY)
    return _tell_bug(cause)


def _tell_bug(error: BaseException) -> int:
    """Tell type and place. Not the text: it may quote a value (promise 6)."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    return _tell(f"bug: {type(error).__name__} at {place}; please report it", EXIT_BUG)


if __name__ == "__main__":
    main()
