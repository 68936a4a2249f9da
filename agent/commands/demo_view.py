"""What the demo shows while it plays: live on a terminal, a line per act in a pipe."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table

    from agent.commands.demo_parts import Stage

SAMPLE: Final = re.compile(r"sluicegate_samples_total\{(.*)\} (\d+)")
PAIR: Final = re.compile(r'(\w+)="([^"]*)"')
PIPE_COLUMNS: Final = 110
SHOWN: Final = ("sent", "merged", "thinned", "dropped", "kept", "kept_back",
                "unclassified", "failed")  # fmt: skip


class View:
    """The acts so far and the figures of agent and collector."""

    def __init__(self, stage: Stage, is_terminal: bool) -> None:
        """Show nothing yet; ``is_terminal``: redraw in place."""
        self._stage = stage
        self._is_terminal = is_terminal
        self._acts: list[str] = []
        self._live: Live | None = None
        self._counts: dict[tuple[str, str], int] = {}
        self._read = 0

    def __enter__(self) -> View:  # noqa: PYI034  # never subclassed
        """Begin to show."""
        if self._is_terminal:
            from rich.live import Live

            self._live = Live(refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing, whatever happened."""
        self.finish()

    def say(self, act: str) -> None:
        """Name the act that begins."""
        self._acts.append(act)
        if self._live is None:
            sys.stdout.write(f"* {act}\n")
            sys.stdout.flush()

    def refresh(self) -> None:
        """Look at agent and collector, and draw."""
        self._look()
        if self._live is not None:
            self._live.update(self._table())

    def finish(self) -> None:
        """Leave the last picture on the screen (or print it once, in a pipe)."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            for act in self._acts:
                sys.stdout.write(f"* {act}\n")
        if self._counts:
            from rich.console import Console

            width = None if sys.stdout.isatty() else PIPE_COLUMNS
            Console(highlight=False, width=width).print(self._table())
            self._counts = {}

    def _look(self) -> None:
        page = self._stage.metrics()
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for labels, number in SAMPLE.findall(page):
            names = dict(PAIR.findall(labels))
            counts[names["destination"], names["outcome"]] += int(number)
        if counts:
            self._counts = dict(counts)
            self._read = counts["", "read"]

    def _table(self) -> Table:
        from rich.table import Table

        state, got = self._stage.status(), self._stage.collected()
        act = self._acts[-1] if self._acts else ""
        online = {True: "online", False: "offline"}.get(bool(state.get("online")))
        spool = state.get("spool_records", "-")
        table = Table(
            title=act,
            caption=(
                f"agent {online if state else 'away'}, {spool} messages wait, "
                f"{state.get('evidence_size', '-')} evidence entries | collector: "
                f"{got.get('batches', 0)} envelopes, {got.get('samples', 0)} samples "
                f"opened, {got.get('entries', 0)} entries, "
                f"{got.get('refused', 0)} refused"
            ),
        )
        table.add_column("samples")
        table.add_column("read", justify="right")
        for outcome in SHOWN:
            table.add_column(outcome.replace("_", " "), justify="right")
        for place in sorted({place for place, _ in self._counts if place}):
            numbers = [str(self._counts.get((place, o), 0)) for o in SHOWN]
            table.add_row(f"to {place}", str(self._read), *numbers)
        return table
