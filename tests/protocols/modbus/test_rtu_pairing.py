"""Which RTU reply belongs to which request, where nobody says so."""

from __future__ import annotations

import pytest

from protocols.modbus import rtu_pairing
from protocols.modbus.exchanges import UNLISTED, PairBatch, Problem
from protocols.modbus.mbap import Adu
from protocols.modbus.pairs import decode_pairs
from protocols.modbus.rtu_pairing import Ends, RtuPairing
from tests.support.pair_told import Told, told

P = Problem
ENDS = Ends(3, 3, UNLISTED)
MS = 1_000_000


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def line(*frames: str) -> list[Told]:
    """Each frame 1 ms behind the other: "unit pdu", "!unit pdu" broken, "~" 10 s."""
    pairing = RtuPairing(ENDS)
    now = 0
    for frame in frames:
        if frame == "~":
            now += 10_000 * MS
            pairing.expire(now)
            continue
        now += MS
        bytes_ = h(frame.strip("!"))
        problem = int(P.CHECKSUM) if frame[0] == "!" else 0
        pairing.either(Adu(0, bytes_[0], bytes_[1:], problem), now)
    pairing.close()
    return told(pairing.take())


READ, DATA = "01 03 0000 0001", "01 03 02 0007"
WRITE = "01 06 0001 0003"
UMAS, UMAS_BACK = "01 5a 00 02", "01 5a 00 fe 01"


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        ([READ, DATA], [(READ, DATA, 0)]),
        ([READ, "01 83 02"], [(READ, "01 83 02", 0)]),
        ([WRITE, WRITE], [(WRITE, WRITE, 0)]),
        ([READ, READ, DATA], [(READ, "", P.UNANSWERED), (READ, DATA, 0)]),
        ([READ, "~", DATA], [(READ, "", P.UNANSWERED), ("", DATA, P.UNSOLICITED)]),
        ([READ, "02 03 0000 0001", "02 03 02 0001"],
         [(READ, "", P.UNANSWERED), ("02 03 0000 0001", "02 03 02 0001", 0)]),
        # A broadcast is answered by nobody, and that is no fault.
        (["00 06 0001 0003", READ, DATA],
         [("00 06 0001 0003", "", 0), (READ, DATA, 0)]),
        # The first frame seen is a reply, or an exception.
        ([DATA, READ, DATA], [("", DATA, P.UNSOLICITED), (READ, DATA, 0)]),
        (["01 83 02"], [("", "01 83 02", P.UNSOLICITED)]),
        # A reply that does not fit is still the reply.
        ([READ, "01 03 04 0001 0002"], [(READ, "01 03 04 0001 0002", 0)]),
        ([READ, "01 04 02 0001"], [(READ, "01 04 02 0001", 0)]),
        # A request that does not fit is still a request.
        (["01 03 0000 0000", "01 83 03"], [("01 03 0000 0000", "01 83 03", 0)]),
        ([READ, "01 03 0000 0000"],
         [(READ, "", P.UNANSWERED), ("01 03 0000 0000", "", P.UNANSWERED)]),
        # A vendor's function: nobody can read it, so in turns.
        ([UMAS, UMAS_BACK], [(UMAS, UMAS_BACK, 0)]),
        ([UMAS, UMAS, UMAS_BACK], [(UMAS, "", P.UNANSWERED), (UMAS, UMAS_BACK, 0)]),
        # Coils: a reply of 3 bytes has a request's length.
        (["01 01 0000 0011", "01 01 03 000000"],
         [("01 01 0000 0011", "01 01 03 000000", 0)]),
        # Broken: who would be due to speak?
        ([READ, "!" + DATA], [(READ, DATA, P.CHECKSUM)]),
        (["!" + READ, READ, DATA], [(READ, "", P.CHECKSUM), (READ, DATA, 0)]),
    ],
)  # fmt: skip
def test_who_said_what(frames: list[str], wanted: list[tuple[str, str, int]]) -> None:
    made = line(*frames)
    assert [(one.request, one.reply, one.problems) for one in made] == [
        (_pdu(a), _pdu(b), int(problems)) for a, b, problems in wanted
    ]


def _pdu(frame: str) -> bytes | None:
    return h(frame)[1:] if frame else None


def test_what_does_not_fit_is_found_in_columns() -> None:
    pairing = RtuPairing(ENDS)
    for at, frame in enumerate((READ, "01 03 04 0001 0002", READ, "01 04 02 0001")):
        pairing.either(Adu(0, 1, h(frame)[1:]), at)
    batch = pairing.take()
    assert batch is not None
    assert decode_pairs(batch).problems.tolist() == [P.REPLY_LENGTH, P.FUNCTION]
    assert pairing.take() is None


def columns(batch: PairBatch) -> set[tuple[int, int, int, int]]:
    return set(zip(
        batch.client.tolist(), batch.server.tolist(), batch.link.tolist(),
        batch.unit.tolist(), strict=True,
    ))  # fmt: skip


def test_the_next_request_ends_the_one_that_is_open() -> None:
    """Else each reply after a lost one would be that of the request before."""
    pairing = RtuPairing(Ends(5, 6, 2))
    other = h("04 0000 0001")
    pairing.request(Adu(0, 1, h(READ)[1:]), 0)
    pairing.request(Adu(0, 1, other), 100 * MS, can_haste=True)
    pairing.reply(Adu(0, 1, h("04 02 0001")), 101 * MS)
    pairing.reply(Adu(0, 9, h("04 02 0001")), 102 * MS)
    pairing.request(Adu(0, 1, other), 200 * MS)
    batch = pairing.take()
    assert batch is not None
    assert columns(batch) == {(5, 6, 2, 1), (5, 6, 2, 9)}
    assert [(one.request, one.problems) for one in told(batch)] == [
        (h(READ)[1:], P.UNANSWERED), (other, 0), (None, P.UNSOLICITED),
    ]  # fmt: skip
    assert batch.reply_ns.tolist() == [0, 101 * MS, 102 * MS]
    assert pairing.due_ns == 5_200 * MS


def test_a_master_that_does_not_wait_is_told() -> None:
    """Whose reply the next one is, is not sure then: no reading comes of it."""
    pairing = RtuPairing(ENDS)
    for time_ns in (0, 1):
        pairing.request(Adu(0, 1, h(READ)[1:]), time_ns, can_haste=True)
    pairing.reply(Adu(0, 1, h(DATA)[1:]), 2)
    batch = pairing.take()
    assert [one.problems for one in told(batch)] == [P.UNANSWERED, P.REPEATED]


def test_what_nobody_takes_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtu_pairing, "ROWS_MAX", 5)
    pairing = RtuPairing(ENDS)
    for _ in range(8):
        pairing.reply(Adu(0, 1, b"\x83\x02"), 0)
    assert pairing.lost == 3
    batch = pairing.take()
    assert batch is not None
    assert len(batch) == 5
