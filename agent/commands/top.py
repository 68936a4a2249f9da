"""`sluicegate top`: what the running agent does, redrawn while one looks.

Reads the status socket only, as `status` does; nothing of the agent is changed.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from agent.adapters.status_client import asker, state_of, understood
from agent.commands.printing import to_stdout
from agent.commands.top_text import lines_of
from agent.telemetry.exposed import parse_page
from agent.telemetry.picture import Look, pictured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.telemetry.picture import Picture

QUIT: Final = frozenset({"q", "Q", "\x03"})
PIPE_PICTURES: Final = 1  # without a terminal and without --count


def watch(config_file: Path, every_s: float, count: int, as_json: bool) -> int:
    """Show ``count`` pictures (0: until ``q`` on a terminal, else one); return 0."""
    looks = _looking(config_file)
    with to_stdout():
        if sys.stdout.isatty() and not as_json:
            with contextlib.suppress(KeyboardInterrupt):  # how one leaves it
                _redraw(looks, every_s, count)
        else:
            _tell(looks, every_s, count or PIPE_PICTURES, as_json)
    return 0


def _looking(config_file: Path) -> Callable[[], Look]:
    ask = asker(config_file)

    def look() -> Look:
        state = state_of(ask("/status"))
        page = ask("/metrics").decode("utf-8", "replace")
        with understood():
            return Look(state, parse_page(page), time.monotonic_ns())

    return look


def _pictures(
    looks: Callable[[], Look], pause: Callable[[], bool]
) -> Iterator[Picture]:
    """Yield a picture after each pause, until ``pause`` says to end."""
    before = looks()
    while pause():
        now = looks()
        yield _seen(before, now)
        before = now


def _seen(before: Look | None, now: Look) -> Picture:
    with understood():
        return pictured(before, now)


def _tell(looks: Callable[[], Look], every_s: float, count: int, as_json: bool) -> None:
    left = count

    def pause() -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            time.sleep(every_s)
        return left >= 0

    for number, picture in enumerate(_pictures(looks, pause)):
        if as_json:
            sys.stdout.write(json.dumps(asdict(picture)) + "\n")
        else:
            gap = "\n" if number else ""
            sys.stdout.write(gap + "\n".join(lines_of(picture, 0)) + "\n")
        sys.stdout.flush()


def _redraw(looks: Callable[[], Look], every_s: float, count: int) -> None:
    from rich.live import Live
    from rich.text import Text

    left = count or -1
    with _Keys() as pressed, Live(screen=True, auto_refresh=False) as live:

        def show(picture: Picture) -> None:
            size = shutil.get_terminal_size()
            lines = lines_of(picture, size.columns)[: size.lines - 2]
            live.update(Text("\n".join([*lines, "", "q: end"])), refresh=True)

        def pause() -> bool:
            nonlocal left
            left -= 1
            return left != -1 and pressed(every_s) not in QUIT

        show(_seen(None, looks()))  # at once; rates come with the second look
        for picture in _pictures(looks, pause):
            show(picture)


class _Keys:
    """Single keys of the terminal, without echo; what it was is put back."""

    def __enter__(self) -> Callable[[float], str]:
        """Return a function that waits so many seconds for a key; "" for none."""
        self._before: list[object] | None = None
        if sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self._pressed

    def __exit__(self, *_: object) -> None:
        """Put the terminal back as it was."""
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]  # what tcgetattr gave

    def _pressed(self, seconds: float) -> str:
        if self._before is None:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if ready else ""
