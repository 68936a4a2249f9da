"""Cost of one judgement by 1,000 rules: processor time, best of several repetitions.

Alone: ``python -m bench.modbus_judge``.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.firewall.decision import Caller
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from bench.modbus_rules import firewall
from bench.row import Row
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import Reply, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocols.modbus.pdu import Request

RULES: Final = 1000
REPETITIONS: Final = 9
READS: Final = 1000
CACHED_US, UNCACHED_US = 5.0, 20.0
CONFIRMED: Final = Reply(0, (), 0)
HERE: Final = Caller("127.0.0.1", 1)


def rows(data: Path) -> list[Row]:
    """Return the rows; ``data`` is not used."""
    del data
    reads = [_read(address) for address in range(READS)]
    write = parse_request(struct.pack(">BHH", 6, 5, 100))
    reply = parse_reply(reads[0], bytes([3, 20]) + bytes(20))
    known = _judge()
    known.answered(0, 1, reads[0], reply)
    return [
        _row(
            "a read like one before",
            _best_us(lambda: known, reads[:1] * READS, _judged),
            CACHED_US,
        ),
        _row("a read of a new address", _best_us(_judge, reads, _judged), UNCACHED_US),
        _row(
            "a write with limits on value and change, and its confirmation",
            _best_us(lambda: known, [write] * READS, _written),
            None,
        ),
        _row(
            "learning a reply of 10 registers",
            _best_us(
                lambda: known,
                reads[:1] * READS,
                lambda judge, request: judge.answered(0, 1, request, reply),
            ),
            None,
        ),
    ]


def _row(what: str, cost_us: float, most_us: float | None) -> Row:
    return Row(
        what=f"Modbus firewall, {RULES:,} rules: {what}",
        ours=f"{cost_us:.1f} us",
        peer="",
        peer_value="",
        ratio="",
        budget="" if most_us is None else f"<= {most_us:.0f} us",
        met=None if most_us is None else cost_us <= most_us,
    )


def _read(address: int) -> Request:
    return parse_request(struct.pack(">BHH", 3, address, 10))


def _judge() -> Judge:
    """Return a judge that has seen this master and device, but no such request."""
    judge = Judge(firewall(RULES), Memory())
    _judged(judge, _read(1950))
    return judge


def _judged(judge: Judge, request: Request) -> None:
    judge.judge(HERE, 0, 1, request, 1, clock_ok=True)


def _written(judge: Judge, request: Request) -> None:
    _judged(judge, request)
    judge.answered(0, 1, request, CONFIRMED)


def _best_us(
    made: Callable[[], Judge],
    requests: Sequence[Request],
    work: Callable[[Judge, Request], None],
) -> float:
    found = []
    for _ in range(REPETITIONS):
        judge = made()
        start_ns = time.process_time_ns()
        for request in requests:
            work(judge, request)
        found.append((time.process_time_ns() - start_ns) / len(requests) / 1000)
    return min(found)


if __name__ == "__main__":
    for row in rows(Path()):
        print(" | ".join(str(cell) for cell in row))
    sys.exit(0)
