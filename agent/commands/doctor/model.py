"""What a check is, what it finds, and the words of a fix line. Pure.

A fix line is for people and for scripts. What stands between backquotes behind ``run``
is a command; behind ``set`` a line of the configuration, under the section that follows
(set `port = 8883` under `[mqtt]`); behind ``remove`` a field of it. What comes first is
to be done first; behind ``or`` stands another way.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.commands.doctor.context import Context

    Look: TypeAlias = Callable[[Context], Iterable["Found"]]

GOOD: Final = "good"
NOTICE: Final = "notice"  # works; somebody may want to know
WARN: Final = "warn"  # works now, and will not always
BAD: Final = "bad"  # does not work
SKIPPED: Final = "skipped"  # could not be looked at
VERDICTS: Final = (BAD, WARN, NOTICE, GOOD, SKIPPED)
LIMIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a check looked at: how it is, and what to do."""

    verdict: str
    said: str
    fix: str = ""
    subject: str = ""  # which of several: an interface, a link, a recipient

    def __post_init__(self) -> None:
        """Hold the promise that whatever is wrong has a fix line."""
        assert self.fix or self.verdict in {GOOD, SKIPPED}


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one thing; ``id`` names the check for ever."""

    id: str
    subject: str
    verdict: str
    said: str
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table; ``looks``, ``red`` and ``fix`` are its documentation."""

    id: str
    looks: str
    red: str
    fix: str
    look: Look
    needs: tuple[str, ...] = ()  # ids that must not be bad
    limit_s: float = LIMIT_S

    @property
    def group(self) -> str:
        """Return the word before the dot."""
        return self.id.partition(".")[0]


def good(said: str, subject: str = "") -> Found:
    """Return a row that needs no fix."""
    return Found(GOOD, said, "", subject)


def bad(said: str, fix: str, subject: str = "") -> Found:
    """Return a row for what does not work."""
    return Found(BAD, said, fix, subject)


def warn(said: str, fix: str, subject: str = "") -> Found:
    """Return a row for what will not work for ever."""
    return Found(WARN, said, fix, subject)


def notice(said: str, fix: str, subject: str = "") -> Found:
    """Return a row for what may well be meant so."""
    return Found(NOTICE, said, fix, subject)


def skipped(why: str, subject: str = "") -> Found:
    """Return a row for what could not be looked at."""
    return Found(SKIPPED, f"skipped, because {why}", "", subject)


# --- words of fix lines ---------------------------------------------------------------


def run(*commands: str) -> str:
    """Return ``run `a`, then run `b```; arguments are quoted by who calls."""
    return ", then ".join(f"run `{one}`" for one in commands)


def put(field: str, value: str | int | bool, under: str = "") -> str:
    """Return ``set `field = value` under `[section]```, a line as TOML has it."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f"set `{field} = {text}`" + (f" under `{under}`" if under else "")


def quoted(path: object) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def enrol(config_file: object, device: str) -> str:
    """Return how a device gets a certificate, or another one."""
    place = f" -c {quoted(config_file)}"
    asked, answered = f"{device}.request.json", f"{device}.answer.json"
    begin = f"sluicegate provision begin{place} -o {quoted(asked)}"
    install = f"sluicegate provision install{place} --fingerprint FINGERPRINT"
    return (
        f"{run(begin)}, then have it answered where the authority is"
        f" (`sluicectl enrol answer`), then {run(f'{install} {quoted(answered)}')}"
    )
