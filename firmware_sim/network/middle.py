"""A man in the middle: he takes a device's answers to one client and alters them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from firmware_sim.network.asks import Reply
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.network.pdus import adu
from firmware_sim.schema import nanoseconds
from protocols.modbus.exchanges import Problem

if TYPE_CHECKING:
    from firmware_sim.network.asks import Ask
    from firmware_sim.network.model import AttackSpec

INJECT_EACH: Final = 5
MS: Final = 1_000_000
_READS: Final = frozenset({1, 2, 3, 4})
_WRITES: Final = frozenset({5, 6, 15, 16})


class Middle:
    """One attack of the kinds IN_THE_MIDDLE."""

    def __init__(self, attack: AttackSpec) -> None:
        """Wait for its time."""
        self.attack = attack
        self._from_ns = nanoseconds(attack.at)
        self._until_ns = self._from_ns + lasts_ns(attack)
        self._frozen: dict[tuple[int, bytes], bytes] = {}
        self._count = 0

    def stands_in(self, ask: Ask, source: str | None, now_ns: int) -> bool:
        """Tell whether the answer to this request goes through our hands."""
        spec = self.attack
        return (
            self._from_ns <= now_ns < self._until_ns
            and ask.plc == spec.to
            and source in {None, spec.source}
            and ask.unit == spec.unit
        )

    def alter(self, ask: Ask, tid: int, pdu: bytes | None) -> list[Reply]:
        """Return what the client gets instead of ``pdu``."""
        if pdu is None:
            return []
        true = Reply(adu(tid, ask.unit, pdu))
        kind, name = self.attack.kind, self.attack.name
        if kind == "mitm-drop":
            return [Reply(b"", attack=name)]
        if kind == "mitm-freeze" and pdu[0] in _READS:
            old = self._frozen.setdefault((ask.unit, ask.pdu), pdu)
            return [Reply(adu(tid, ask.unit, old), attack=name)]
        if kind == "mitm-change":
            return [self._changed(ask, tid, pdu, true)]
        if kind == "mitm-inject":
            return self._injected(ask, tid, pdu, true)
        if kind == "malformed-replies":
            return self._malformed(ask, tid, pdu, true)
        return [true]

    def _changed(self, ask: Ask, tid: int, pdu: bytes, true: Reply) -> Reply:
        spec = self.attack
        if pdu[0] != (spec.function or 4) or spec.address is None:
            return true
        _, first, count = struct.unpack(">BHH", ask.pdu)
        if not first <= spec.address < first + count:
            return true
        place = 2 + 2 * (spec.address - first)
        value = int.from_bytes(pdu[place : place + 2], "big") + spec.values[0] & 0xFFFF
        forged = pdu[:place] + value.to_bytes(2, "big") + pdu[place + 2 :]
        return Reply(adu(tid, ask.unit, forged), attack=spec.name)

    def _injected(self, ask: Ask, tid: int, pdu: bytes, true: Reply) -> list[Reply]:
        """Race the device: the forged answer first, the true one finds no request."""
        self._count += 1
        if pdu[0] not in {3, 4} or self._count % INJECT_EACH:
            return [true]
        forged = pdu[:2] + bytes(len(pdu) - 2)
        late = Reply(
            true.data, MS, int(Problem.UNSOLICITED), self.attack.name, pairs=False
        )
        return [Reply(adu(tid, ask.unit, forged), attack=self.attack.name), late]

    def _malformed(self, ask: Ask, tid: int, pdu: bytes, true: Reply) -> list[Reply]:
        name = self.attack.name
        if pdu[0] in _WRITES:
            wrong = pdu[:-1] + bytes((pdu[-1] ^ 1,))
            return [Reply(adu(tid, ask.unit, wrong), 0, int(Problem.ECHO), name)]
        if pdu[0] not in {3, 4}:
            return [true]
        self._count += 1
        case = self._count % 4
        if case == 0:
            other = bytes((pdu[0] ^ 7,)) + pdu[1:]  # 3 <-> 4
            return [Reply(adu(tid, ask.unit, other), 0, int(Problem.FUNCTION), name)]
        if case == 1:
            short = bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2]
            problem = int(Problem.REPLY_LENGTH)
            return [Reply(adu(tid, ask.unit, short), 0, problem, name)]
        if case == 2:
            code = bytes((pdu[0] | 0x80, 0x55))
            return [Reply(adu(tid, ask.unit, code), 0, int(Problem.EXCEPTION), name)]
        stray = adu(tid ^ 0x8000, ask.unit, pdu)
        unasked = Reply(stray, MS, int(Problem.UNSOLICITED), name, pairs=False)
        return [true, unasked]
