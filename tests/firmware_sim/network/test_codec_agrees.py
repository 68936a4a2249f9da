"""The product's codec reads of every simulated transaction what the truth says."""

from __future__ import annotations

import pytest

from protocols.modbus.exchanges import Problem
from protocols.modbus.pdu import parse_request
from protocols.modbus.pdu_reply import parse_reply
from tests.support.network_pairs import simulated

# Framing and pairing see these; no PDU shows them.
ELSEWHERE = (
    Problem.PROTOCOL | Problem.UNSOLICITED | Problem.UNANSWERED | Problem.REPEATED
)


@pytest.mark.slow
def test_fields_and_problems_of_every_transaction() -> None:
    run = simulated("plant-attacks")
    seen = 0
    for row in run.transactions:
        if not row.has_request:
            continue
        request = parse_request(row.pdu)
        problems = request.problems
        if row.reply:
            reply = parse_reply(request, row.reply)
            problems |= reply.problems
            assert reply.exception == row.exception, row
        assert problems == row.problems & ~int(ELSEWHERE), row
        seen |= problems
        told = row.asked
        if request.problems:
            continue
        assert request.function == told.function
        assert request.is_write == told.is_write, row
        assert (request.sub, request.address, request.count) == (
            told.sub, told.address, told.count,
        ), row  # fmt: skip
        assert (request.write_address, request.write_count) == (
            told.write_address, told.write_count,
        ), row  # fmt: skip
    missing = (Problem.CHECKSUM | ELSEWHERE) ^ seen
    assert missing == sum(one.value for one in Problem)
