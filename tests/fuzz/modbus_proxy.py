"""Mutated ADUs through the proxy's core: no crash, and no forbidden request passes.

    python tests/fuzz/modbus_proxy.py --adus 1000000 [--seed 1]

Masters come and go, send good and bad ADUs in any pieces, one after the other or many
at once; the device answers well, wrongly, late or not at all. What reaches it is judged
by ``modbus_masters.permitted``, what reaches a master by ``fits``. Exit code 1, and the
seed, where either is broken.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script, run from anywhere

from agent.adapters.modbus.proxy_express import ExpressCore  # noqa: E402  # after the path
from agent.adapters.modbus.proxy_log import ProxyLog  # noqa: E402  # after the path
from agent.adapters.modbus.proxy_master import Master  # noqa: E402  # after the path
from agent.adapters.modbus.proxy_rules import Rules  # noqa: E402  # after the path
from agent.adapters.modbus.proxy_wire import wire_of  # noqa: E402  # after the path
from agent.firewall.decision import Caller  # noqa: E402  # after the path
from tests.fuzz.modbus_masters import Hostile, fits, framed, permitted  # noqa: E402  # after the path
from tests.support.proxying import link_to  # noqa: E402  # after the path

MASTERS = 4
SECOND_NS = 1_000_000_000
KEPT = 4096  # requests of one identifier: many wait while the device is silent


class Broken(AssertionError):
    """A promise does not hold."""


@dataclass
class Found:
    """What a run has seen."""

    adus: int = 0  # that masters sent, whole or not
    forwarded: int = 0
    writes: int = 0  # of those
    passed: int = 0  # replies of the device that reached a master
    exceptions: int = 0  # answers in place of the device, or its own exceptions
    connections: int = 0
    closed: int = 0  # by the proxy: framing lost
    rows: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Run:
    """One core, four masters, one device."""

    def __init__(self, seed: int, judge: object, in_flight: int = 1) -> None:
        self.found = Found()
        self._hostile = Hostile(seed)
        self._now_ns = SECOND_NS
        self._log = ProxyLog()
        rules = Rules()
        rules.judge = judge  # type: ignore[assignment]  # judges of tests
        rules.clock_ok = True
        link = link_to(1, in_flight=in_flight, timeout_s=1.0)
        clocks = (self._clock, self._clock)
        self.core = ExpressCore(link, rules, self._log, wire_of(link.device), clocks)
        self._waiting: deque[tuple[int, int, bytes]] = deque()  # at the device
        self._streams = [b""] * MASTERS  # what a master sent and is no whole ADU yet
        # What a master asked, by its identifiers: unit and PDU.
        self._asked: list[dict[int, deque[tuple[int, bytes]]]] = [
            {} for _ in range(MASTERS)
        ]
        self.core.reset = self._reset
        self._connect()
        self._masters = [self._joined(number) for number in range(MASTERS)]

    def _clock(self) -> int:
        return self._now_ns

    def _connect(self) -> None:
        self.core.to_device = self._to_device
        self.core.up()

    def _reset(self) -> None:
        self._waiting.clear()
        self.core.down(retrying=True)
        self._connect()

    def _joined(self, number: int) -> Master:
        self.found.connections += 1
        self._streams[number] = b""
        self._asked[number] = {}

        def send(data: bytes) -> None:
            self._to_master(number, data)

        return Master(Caller(f"10.0.0.{number}", number + 1), send, lambda _: None)

    # --- judged by the slow judge -----------------------------------------------------

    def _to_device(self, data: bytes) -> None:
        whole = list(framed(data))
        if len(whole) != 1:
            raise Broken("not one ADU")
        tid, unit, pdu = whole[0]
        if not permitted(unit, pdu):
            raise Broken(f"forbidden: function {pdu[0]}, {len(pdu)} bytes")
        self.found.forwarded += 1
        self.found.writes += pdu[0] not in {1, 2, 3, 4}
        self._waiting.append((tid, unit, pdu))

    def _to_master(self, number: int, data: bytes) -> None:
        for tid, unit, pdu in framed(data):
            if pdu[0] & 0x80:
                if len(pdu) != 2:
                    raise Broken("an exception of more than its code")
                self.found.exceptions += 1
                continue
            self.found.passed += 1
            asked = self._asked[number].get(tid, ())
            if not any(
                at == unit and permitted(at, one) and fits(one, pdu)
                for at, one in asked
            ):
                raise Broken(f"a reply that fits nothing: function {pdu[0]}")

    # --- what happens -----------------------------------------------------------------

    def step(self) -> None:
        """Let some master send, and the device answer."""
        hostile, found = self._hostile, self.found
        number = hostile.below(MASTERS)
        burst = [hostile.request() for _ in range(1 + (hostile.below(10) == 0) * 6)]
        found.adus += len(burst)
        for piece in hostile.pieces(b"".join(burst)):
            self._overheard(number, piece)
            if not self.core.heard(self._masters[number], piece):
                found.closed += 1
                self._rejoin(number)
                break
        if hostile.chance(0.8):
            self._answer()
        if hostile.chance(0.002):
            self._rejoin(number)
        if hostile.chance(0.001):
            self._reset()
        self._now_ns += 1_000_000
        if hostile.chance(0.02):
            self._now_ns += 2 * SECOND_NS
            self.core.tick()
        batch = self._log.take() if hostile.chance(0.01) else None
        found.rows += 0 if batch is None else len(batch)

    def _overheard(self, number: int, piece: bytes) -> None:
        """Frame a master's bytes as the slow judge does."""
        data, asked = self._streams[number] + piece, self._asked[number]
        while len(data) >= 8:
            tid, _, length, unit = struct.unpack_from(">HHHB", data)
            if len(data) < 6 + length:
                break
            asked.setdefault(tid, deque(maxlen=KEPT)).append(
                (unit, data[7 : 6 + length])
            )
            data = data[6 + length :]
        self._streams[number] = data

    def _answer(self) -> None:
        while self._waiting:
            tid, unit, pdu = self._waiting.popleft()
            reply = self._hostile.reply(pdu)
            if reply is None:
                continue
            head = struct.pack(">HHHB", tid, 0, len(reply) + 1, unit)
            for piece in self._hostile.pieces(head + reply):
                if not self.core.said(piece):
                    self._reset()
                    return

    def _rejoin(self, number: int) -> None:
        self.core.left(self._masters[number])
        self._masters[number] = self._joined(number)

    def books(self) -> None:
        """Every request must have ended in one book."""
        self.core.down(retrying=False)
        now = self.core.counts
        ended = (
            now.answered + now.refused + now.busy + now.stale + now.unreachable
            + now.unanswered + now.abandoned
        )  # fmt: skip
        if ended != now.requests or self.core.queued:
            raise Broken(f"{now.requests} requests, {ended} ended")
        if now.sent != self.found.forwarded:
            raise Broken("sent is not what the device got")


def run(adus: int, seed: int, judge: object, in_flight: int = 1) -> Found:
    """Send ``adus`` ADUs; Broken where a promise does not hold."""
    one = Run(seed, judge, in_flight)
    start = time.perf_counter()
    while one.found.adus < adus:
        one.step()
    one.books()
    one.found.seconds = time.perf_counter() - start
    return one.found


def main() -> int:
    """Run from the command line."""
    from tests.fuzz.modbus_policy import judge

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adus", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    for in_flight in (1, 16):
        try:
            found = run(told.adus // 2, told.seed, judge(), in_flight)
        except Broken as error:
            print(f"BROKEN with seed {told.seed}, in_flight {in_flight}: {error}")  # noqa: T201  # a command
            return 1
        rate = found.adus / found.seconds
        print(f"in_flight {in_flight}: {found} {rate:,.0f} ADUs/s")  # noqa: T201  # a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
