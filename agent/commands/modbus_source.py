"""Exchanges for `sluicegate modbus`: from captures or an interface, devices named."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from agent.adapters.configuration import read_config
from agent.adapters.modbus.recording import Listening, Recording
from agent.config import NAME
from agent.errors import BadInput
from policies.errors import shown
from policies.firewall.learn import link_name
from protocols.modbus.exchanges import UNLISTED
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.peers import OTHERS, Peers
from protocols.modbus.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.progress import Progress

    from agent.commands.modbus_where import Where
    from policies.model import Policy
    from protocols.capture.ethernet import SegmentBatch
    from protocols.modbus.exchanges import ExchangeBatch, PairBatch

PORT: Final = 502
PORTS_MAX: Final = 16
LINKS_MAX: Final = 255
# Of ``StreamCounts``, what is lost to the reader: the others cost nothing.
LOSSES: Final = {
    "missed": "bytes that the capture does not have",
    "strays": "segments far outside of their window",
    "skipped": "bytes of no ADU",
    "evicted": "connections forgotten to make room",
}


@dataclass(frozen=True, slots=True)
class Place:
    """One named device."""

    name: str
    host: str
    port: int


class Source:
    """Reads everything once. ``more``: names of links that a policy or bindings use."""

    def __init__(self, where: Where, more: Iterable[str] = ()) -> None:
        """Look at the options; BadInput where they do not fit."""
        if bool(where.captures) == bool(where.interface):
            reason = "give captures or --interface, and not both"
            raise BadInput("", "", reason, "see --help")
        self._where = where
        self.places = _places(where)
        names = [place.name for place in self.places]
        self.links = tuple(dict.fromkeys([*names, *more]))
        if len(self.links) > LINKS_MAX:
            raise BadInput("", "--link", f"more than {LINKS_MAX} devices")
        ports = {PORT, *where.ports, *(place.port for place in self.places)}
        self.ports = tuple(sorted(ports))
        if len(self.ports) > PORTS_MAX:
            raise BadInput("", "--port", f"more than {PORTS_MAX} ports")
        self.peers = Peers()
        self.devices = Devices(self.peers, self.links)
        self.skipped: dict[str, int] = {}  # what was not read, by cause

    def batches(self) -> Iterator[ExchangeBatch]:
        """Yield all exchanges; ``server`` is a number of ``devices``.

        BadInput (a capture breaks off) and Unavailable (the interface went away) come
        behind what was read before.
        """
        with _Progress() as progress:
            if self._where.interface:
                yield from self._live(progress)
            for path in self._where.captures:
                yield from self._recorded(path, progress)

    def _live(self, progress: _Progress) -> Iterator[ExchangeBatch]:
        interface, seconds = self._where.interface, self._where.seconds
        with Listening(interface, self.ports, seconds) as live:
            advance = progress.bar(f"listening on {interface}", seconds)
            yield from self._pairs(live.segments(), lambda: advance(live.elapsed_s))
            self._count(live.skipped)

    def _recorded(self, path: Path, progress: _Progress) -> Iterator[ExchangeBatch]:
        with Recording(path) as opened:
            advance = progress.bar(path.name, opened.size_bytes)
            yield from self._pairs(
                opened.segments(), lambda: advance(opened.position_bytes)
            )
            self._count(opened.skipped)

    def _pairs(
        self, segments: Iterator[SegmentBatch], advance: Callable[[], None]
    ) -> Iterator[ExchangeBatch]:
        numbers = {name: at for at, name in enumerate(self.links)}
        places = {(one.host, one.port): numbers[one.name] for one in self.places}
        streams = Streams(self.ports, places, self.peers)
        for batch in segments:
            yield from self._decoded(streams.feed(batch))
            advance()
        yield from self._decoded(streams.finish())
        told = dataclasses.asdict(streams.statistics)
        self._count({words: told[cause] for cause, words in LOSSES.items()})

    def _decoded(self, pairs: PairBatch) -> Iterator[ExchangeBatch]:
        if len(pairs):
            yield self.devices.numbered(decode_pairs(pairs))

    def _count(self, causes: dict[str, int]) -> None:
        for cause, count in causes.items():
            if count:
                self.skipped[cause] = self.skipped.get(cause, 0) + count


def links_named(policy: Policy) -> list[str]:
    """Return the devices that a policy's firewall names."""
    named: list[str] = []
    for rule in policy.modbus.rules if policy.modbus else ():
        named += [rule.to] if isinstance(rule.to, str) else rule.to or []
    return named


class Devices:
    """Numbers devices by address and link: behind one address there may be several."""

    def __init__(self, peers: Peers, links: Sequence[str]) -> None:
        """Begin with nobody but those whom ``Peers`` has left out."""
        self._peers = peers
        self._links = links
        self._by_name = {name: at for at, name in enumerate(links)}
        self._numbers: dict[tuple[int, int], int] = {}
        self.addresses = [peers.name(OTHERS)]  # by number
        self.names: dict[int, str] = {}  # by number, as links are named

    def numbered(self, exchanges: ExchangeBatch) -> ExchangeBatch:
        """Return the batch with device numbers as ``server``, and with links by name.

        A device that no option names belongs to the link of its address's name, where
        a policy speaks of that: so learned drafts do.
        """
        key = exchanges.server.astype(np.int64) << 8 | exchanges.link
        server, link = np.zeros(len(key), np.uint16), exchanges.link.copy()
        for place in np.unique(key).tolist():  # devices, not exchanges
            rows = key == place
            known = self._known(place >> 8, place & 0xFF)
            server[rows], link[rows] = known
        return dataclasses.replace(exchanges, server=server, link=link)

    def _known(self, peer: int, link: int) -> tuple[int, int]:
        address = self._peers.name(peer)
        name = self._links[link] if link != UNLISTED else link_name(address)
        link = self._by_name.get(name, UNLISTED) if peer != OTHERS else link
        if peer == OTHERS and link == UNLISTED:
            return OTHERS, UNLISTED
        number = self._numbers.get((peer, link))
        if number is None:
            number = self._numbers[peer, link] = len(self.addresses)
            self.addresses.append(address)
            self.names[number] = name
        return number, link


def _places(where: Where) -> tuple[Place, ...]:
    """Return the named devices of configuration and options."""
    out: list[Place] = []
    if where.config is not None:
        config = read_config(where.config)
        out = [
            Place(link.name, link.host, link.port)
            for link in config.modbus
            if link.kind != "rtu"
        ]
    out += [_place(text) for text in where.links]
    seen: dict[tuple[str, int], str] = {}
    for place in out:
        other = seen.setdefault((place.host, place.port), place.name)
        if other != place.name:
            where_ = f"{place.host}:{place.port}"
            raise BadInput("", "--link", f"{where_} is {other} already")
    return tuple(out)


def _place(text: str) -> Place:
    name, equals, rest = text.partition("=")
    host, port = rest, PORT
    if rest.startswith("[") or rest.count(":") == 1:
        host, _, number = rest.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        plain = number.isascii() and number.isdigit() and len(number) <= 5
        port = int(number) if plain else 0
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ""
    if not (equals and re.fullmatch(NAME, name) and host and 1 <= port <= 65_535):
        reason = f"not NAME=ADDRESS or NAME=ADDRESS:PORT: {shown(text)}"
        raise BadInput("", "--link", reason, "such as plc1=10.0.0.20")
    return Place(name, host, port)


class _Progress:
    """One bar after the other, on a terminal's stderr only."""

    def __init__(self) -> None:
        self._shown: Progress | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._shown = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                console=Console(stderr=True),
                transient=True,
            )

    def bar(self, title: str, total: float) -> Callable[[float], None]:
        """Begin a bar; call what is returned with how far it is."""
        if self._shown is None:
            return lambda done: None  # noqa: ARG005  # nobody looks
        shown, task = self._shown, self._shown.add_task(title, total=total or 1)
        return lambda done: shown.update(task, completed=done)

    def __enter__(self) -> Self:
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.stop()
