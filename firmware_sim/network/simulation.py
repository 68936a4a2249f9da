"""A network run as fast as the machine can: events in order of simulated time.

``simulate`` returns packets and transactions. Deterministic by scenario and seed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from firmware_sim.network.actors import dice, legitimate
from firmware_sim.network.asks import Transaction
from firmware_sim.network.attacks import attacking
from firmware_sim.network.packets import address_number
from firmware_sim.network.pdus import adu, asked
from firmware_sim.network.tcp import Connection, Tape
from firmware_sim.network.world import World
from firmware_sim.schema import nanoseconds
from protocols.modbus.exchanges import Problem
from protocols.modbus.functions import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from firmware_sim.network.asks import Ask, Reply
    from firmware_sim.network.model import AttackSpec, NetworkScenario

MODBUS_PORT: Final = 502
TIMEOUT_NS: Final = 1_000_000_000  # a client's patience with one request
AWAY_NS: Final = 2_000_000_000  # and with a connection
RETRY_NS: Final = 1_500_000_000
BACKLOG: Final = 64  # requests that a PLC keeps; it drops what comes beyond
CUT_MIN: Final = 8  # tshark, the judge of captures, wants that much to begin with
PORT_FIRST: Final = 49152
UNANSWERED: Final = int(Problem.UNANSWERED)

Key: TypeAlias = tuple[str, str, int]  # source, PLC, channel


@dataclass(slots=True)
class Run:
    """What came of a simulation. Times in ns since the scenario's start."""

    world: World
    duration_ns: int
    tape: Tape = field(default_factory=Tape)
    transactions: list[Transaction] = field(default_factory=list)
    skipped: int = 0  # requests that found no connection


@dataclass(slots=True)
class _Coming:
    """A reply on its way."""

    connection: Connection
    plc: str
    reply: Reply
    row: Transaction
    alone: bool  # nothing else is sent on the connection meanwhile


class _Simulation:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.world = run.world
        scenario = self.world.scenario
        addresses = {plc.name: plc.address for plc in scenario.plcs}
        addresses |= {client.name: client.address for client in scenario.clients}
        self._addresses = {
            name: address_number(text) for name, text in addresses.items()
        }
        self._services = {
            plc.name: nanoseconds(plc.answers_in) for plc in scenario.plcs
        }
        self._chance = dice(self.world, "network")
        self._connections: dict[Key, Connection] = {}
        self._retry_ns: dict[Key, int] = {}
        self._ports: dict[str, int] = {}
        self._free_ns: dict[str, int] = {}  # PLC -> when it has answered all it has
        self._heap: list[tuple[int, int, Ask | _Coming, Iterator[Ask] | None]] = []
        self._numbers = count()
        self._reconnects = {
            plc.name: [
                nanoseconds(fault.at)
                for fault in scenario.faults
                if fault.kind == "reconnect" and fault.plc == plc.name
            ]
            for plc in scenario.plcs
        }

    def go(self, progress: Callable[[int], bool]) -> None:
        """Run to the end, or until ``progress`` says no."""
        for one in (*legitimate(self.world), *attacking(self.world)):
            self._pull(one)
        told = 0
        while self._heap:
            now, _, what, source = heapq.heappop(self._heap)
            self.world.move(now)
            if isinstance(what, _Coming):
                self._arrive(now, what)
                continue
            assert source is not None
            later = self._ask(now, what)
            if later is None:
                self._pull(source)
            else:
                self._push(later, what, source)
            if now - told > TIMEOUT_NS * 10:
                told = now
                if not progress(now):
                    self.run.duration_ns = now
                    break
        for connection in self._connections.values():
            connection.finish()

    def _push(self, at: int, what: Ask | _Coming, source: Iterator[Ask] | None) -> None:
        heapq.heappush(self._heap, (at, next(self._numbers), what, source))

    def _pull(self, source: Iterator[Ask]) -> None:
        ask = next(source, None)
        if ask is not None and ask.at_ns < self.run.duration_ns:
            self._push(max(ask.at_ns, self.world.now_ns), ask, source)

    def _ask(self, now: int, ask: Ask) -> int | None:
        """Send a request; return when to try again, or None."""
        key = (ask.source, ask.plc, ask.channel)
        connection = self._connections.get(key)
        away = self.world.down(ask.plc, now)
        if connection is None:
            if now < self._retry_ns.get(key, 0):
                self.run.skipped += 1
                return None
            return self._connect(now, key, away)
        if ask.waits and connection.busy_ns > now:
            return connection.busy_ns
        if self._stale(now, key, connection):
            return now + 1_000_000
        self._sent(now, ask, key)
        return None

    def _connect(self, now: int, key: Key, away: bool) -> int | None:
        source, plc, _ = key
        port = self._ports.get(source, PORT_FIRST - 1) + 1
        self._ports[source] = port
        hosts = (self._addresses[source], self._addresses[plc])
        isn = self._chance.getrandbits(32)
        connection = Connection(self.run.tape, hosts, (port, MODBUS_PORT), isn)
        if away:
            connection.knock(now)
            self._retry_ns[key] = now + RETRY_NS
            self.run.skipped += 1
            return None
        self._connections[key] = connection
        return connection.open(now)

    def _stale(self, now: int, key: Key, connection: Connection) -> bool:
        """Close a connection where the scenario wants a new one."""
        if any(connection.opened_ns < at <= now for at in self._reconnects[key[1]]):
            connection.close(now)
            del self._connections[key]
            return True
        return False

    def _sent(self, now: int, ask: Ask, key: Key) -> None:
        connection = self._connections[key]
        if ask.tid is None:
            connection.tid = (connection.tid + 1) & 0xFFFF
        tid = connection.tid if ask.tid is None else ask.tid
        connection.held += adu(tid, ask.unit, ask.pdu, ask.protocol)
        row = Transaction(
            now, ask.source, ask.plc, connection.ports[0], ask.unit, tid,
            asked(ask.pdu), ask.attack,
            ask.problems | unknown_function(ask) | UNANSWERED, pdu=ask.pdu,
        )  # fmt: skip
        self.run.transactions.append(row)
        arrived = now
        if not ask.joined:
            data, connection.held = connection.held, b""
            if self.world.down(ask.plc, now):
                connection.unheard(now, data)
                self._drop(now + AWAY_NS, key, connection, 0)
                return
            if connection.opened_ns < self.world.booted_ns(ask.plc, now):
                connection.data(now, 0, data)
                self._drop(now + 200_000, key, connection, 1)
                return
            arrived = self._segment(now, connection, 0, data, ask.waits)
        self._answer(arrived, ask, row, connection)

    def _drop(self, at: int, key: Key, connection: Connection, side: int) -> None:
        connection.reset(at, side)
        del self._connections[key]
        self._retry_ns[key] = at + (1_000_000 if side else RETRY_NS)

    def _segment(
        self, now: int, connection: Connection, side: int, data: bytes, alone: bool
    ) -> int:
        """Send data, sometimes lost on the way or in two; return when it arrives."""
        scenario = self.world.scenario
        draw = self._chance.random()
        if alone and draw < scenario.lost:
            return connection.data(now, side, data, lost=1)
        if alone and draw < scenario.lost + scenario.split and len(data) > CUT_MIN:
            cut = CUT_MIN + int(self._chance.random() * (len(data) - CUT_MIN))
            connection.data(now, side, data[:cut])
            return connection.data(now + 150_000, side, data[cut:])
        return connection.data(now, side, data)

    def _answer(
        self, arrived: int, ask: Ask, row: Transaction, connection: Connection
    ) -> None:
        replies = self._served(arrived, ask, row)
        row.attack = next((r.attack for r in replies if r.attack), row.attack)
        replies = [reply for reply in replies if reply.data]
        waited = arrived + TIMEOUT_NS
        if replies:
            service = self._services[ask.plc]
            begin = max(arrived, self._free_ns.get(ask.plc, 0))
            done = begin + int(service * (0.8 + 0.4 * self._chance.random()))
            self._free_ns[ask.plc] = done
            waited = done
            for reply in replies:
                at = done + reply.after_ns
                alone = ask.waits and reply.pairs
                coming = _Coming(connection, ask.plc, reply, row, alone)
                self._push(at, coming, None)
                waited = max(waited, at)
        if ask.waits:
            # One nanosecond later: the answer passes first.
            connection.busy_ns = waited + 1

    def _served(self, arrived: int, ask: Ask, row: Transaction) -> Sequence[Reply]:
        behind = self._free_ns.get(ask.plc, 0) - arrived
        if behind > BACKLOG * self._services[ask.plc]:
            return ()
        return self.world.respond(ask, row.tid, ask.source)

    def _arrive(self, now: int, coming: _Coming) -> None:
        connection, reply, row = coming.connection, coming.reply, coming.row
        if connection.is_over or self.world.down(coming.plc, now):
            return  # the connection is gone; the request stays unanswered
        arrived = self._segment(now, connection, 1, reply.data, coming.alone)
        connection.busy_ns = max(
            connection.busy_ns, arrived + 1 if arrived > now else 0
        )
        if not reply.pairs:
            self.run.transactions.append(_lone(now, reply, row))
            return
        row.problems = row.problems & ~UNANSWERED | reply.problems
        row.reply_ns = now
        row.reply = reply.data[7:]
        function = reply.data[7]
        if function & 0x80:
            row.exception = reply.data[8]


def unknown_function(ask: Ask) -> int:
    """Return the problem of a function that no specification has."""
    known = FUNCTIONS.get(ask.pdu[0])
    return 0 if known is not None and known.is_public else int(Problem.UNKNOWN)


def _lone(now: int, reply: Reply, row: Transaction) -> Transaction:
    """Return the line of a reply that answers nothing."""
    pdu = bytes((reply.data[7] & 0x7F,))
    return Transaction(
        now, row.source, row.plc, row.port, row.unit,
        int.from_bytes(reply.data[:2], "big"), asked(pdu), reply.attack,
        reply.problems, now, has_request=False, reply=reply.data[7:],
    )  # fmt: skip


def simulate(
    scenario: NetworkScenario,
    duration_ns: int,
    attacks: Sequence[AttackSpec] | None = None,
    progress: Callable[[int], bool] = lambda _: True,
) -> Run:
    """Return what a tap in the network would see; ``attacks``: the scenario's own."""
    chosen = scenario.attacks if attacks is None else attacks
    run = Run(World(scenario, chosen), duration_ns)
    _Simulation(run).go(progress)
    run.transactions.sort(key=lambda row: row.time_ns)
    return run
