"""Evidence pages: gaps, rewritten logs, forged tails, several logs, cosignatures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleet.cosign import cosigned, cosigned_at
from protocols.audit import AuditPage, encode_page, parse_page
from protocols.receipts import open_receipt
from protocols.tlog.checkpoint import CheckpointError, open_checkpoint
from protocols.tlog.tree import EMPTY_ROOT
from tests.support import sealing
from tests.support.fleet_side import FLEET, LOG, NOW_NS, OEM, Gateway, Side

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = sealing.DEVICE
RECEIPT_KEY = OEM.receipt.public_key().public_bytes_raw()
NAME = f"sluicegate/{FLEET}/collector/{OEM.name}"


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    for value in range(4):
        made.seal([value])
    return made  # 7 entries: boot, policy, key, four envelopes


def head(side: Side, log: bytes = LOG) -> tuple[int, bytes]:
    for _, message in side.collector.receipts(NOW_NS):
        receipt = open_receipt(message, RECEIPT_KEY, DEVICE)
        if receipt.log == log:
            return receipt.evidence_size, receipt.evidence_root
    raise AssertionError("no receipt for this log")


def here(side: Side, log: bytes = LOG) -> list[bytes]:
    return list(side.ledger.entries(DEVICE, log))


def test_pages_continue_the_log_and_are_receipted_with_its_root(
    side: Side, gateway: Gateway
) -> None:
    side.take("audit", gateway.page(0, 3))
    assert head(side)[0] == 3
    side.take("audit", gateway.page(3, 5, signed=False), gateway.page(5))
    assert head(side) == (7, gateway.checkpoints[-1][1])
    assert here(side) == gateway.entries
    assert [c[0] for c in side.ledger.checkpoints(DEVICE, LOG)] == [3, 7]
    assert not side.rules()
    assert side.collector.totals.entries == 7


def test_a_checkpoint_is_cosigned_with_the_time(side: Side, gateway: Gateway) -> None:
    side.take("audit", gateway.page())
    ((size, root, note, both),) = side.ledger.checkpoints(DEVICE, LOG)
    assert both.startswith(note)
    assert cosigned_at(both, NAME, RECEIPT_KEY) == NOW_NS // 10**9
    origin = f"sluicegate/{FLEET}/{DEVICE}/{LOG.hex()}"
    signed = open_checkpoint(both, origin, gateway.signer.public_key())
    assert (signed.size, signed.root) == (size, root)
    with pytest.raises(CheckpointError, match="not cosigned"):
        cosigned_at(note, NAME, RECEIPT_KEY)
    moved = cosigned(note, NAME, RECEIPT_KEY, lambda _: bytes(64), 1)
    with pytest.raises(CheckpointError, match="does not hold"):
        cosigned_at(moved, NAME, RECEIPT_KEY)


def test_a_gap_is_answered_with_where_to_go_on(side: Side, gateway: Gateway) -> None:
    side.take("audit", gateway.page(4))
    assert head(side) == (0, EMPTY_ROOT)
    side.take("audit", gateway.page(0, 2))
    side.take("audit", gateway.page(4))
    assert head(side)[0] == 2
    assert here(side) == gateway.entries[:2]
    side.take("audit", gateway.page(1))  # overlaps: only what is new is taken
    assert here(side) == gateway.entries


def test_replayed_pages_change_nothing(side: Side, gateway: Gateway) -> None:
    old = gateway.page(0, 3)
    side.take("audit", old, gateway.page(3))
    side.take("audit", old, gateway.page(2, 5, signed=False))
    assert here(side) == gateway.entries
    assert not side.rules()
    assert head(side)[0] == 7


def test_a_restart_continues_the_tree(side: Side, gateway: Gateway) -> None:
    side.take("audit", gateway.page(0, 3), gateway.page(3, 5, signed=False))
    side.again()
    side.take("audit", gateway.page(5))
    assert head(side) == (7, gateway.checkpoints[-1][1])
    assert not side.rules()


def test_a_rewritten_log_is_found_and_the_proof_kept(
    side: Side, gateway: Gateway
) -> None:
    side.take("audit", gateway.page(0, 5))
    gateway.entries[3] = gateway.entries[2]
    side.take("audit", gateway.page(5))  # goes on where we are, over another past
    assert ("evidence", "a signed root does not fit: the log was rewritten") in (
        side.findings()
    )
    assert head(side)[0] == 5
    notes = side.ledger.checkpoints(DEVICE, LOG)
    assert [(size, bool(both)) for size, _, _, both in notes] == [(5, True), (7, False)]
    side.take("audit", gateway.page(0, signed=False))
    reason = "an entry under a signed root came differently"
    assert ("evidence", reason) in side.findings()


@pytest.mark.parametrize(("start", "end"), [(0, 7), (2, 7), (3, 5), (4, 5)])
def test_a_signed_page_of_another_past_is_kept_as_the_proof(
    side: Side, gateway: Gateway, start: int, end: int
) -> None:
    """As a cloned device sends it, which goes on from where it was copied."""
    side.take("audit", gateway.page(0, 5))
    gateway.entries[3:] = reversed(gateway.entries[3:])
    side.take("audit", gateway.page(start, end))
    reason = "a signed root does not fit: the log was rewritten"
    assert ("evidence", reason) in side.findings()
    assert head(side)[0] == 5
    notes = side.ledger.checkpoints(DEVICE, LOG)
    assert sorted((size, bool(both)) for size, _, _, both in notes) == sorted(
        [(5, True), (end, False)]
    )


def test_forged_entries_beside_a_root_of_the_device_are_no_proof(
    side: Side, gateway: Gateway
) -> None:
    side.take("audit", gateway.page(0, 5))
    for end in (5, 7):  # a root that is known, and one that will be
        page = parse_page(gateway.page(0, end))
        forged = (*page.entries[:2], b"forged", *page.entries[3:])
        side.take("audit", encode_page(replace(page, entries=forged)))
    reason = "an entry under a signed root came differently"
    assert ("evidence", reason) in side.findings()
    assert [bool(both) for *_, both in side.ledger.checkpoints(DEVICE, LOG)] == [True]


def test_a_fork_of_the_same_size_is_found(side: Side, gateway: Gateway) -> None:
    side.take("audit", gateway.page())
    gateway.entries[-1] = gateway.entries[-2]
    side.take("audit", encode_page(AuditPage(LOG, 7, (), gateway.sign())))
    assert side.rules() == {"evidence"}
    assert [s for s, *_ in side.ledger.checkpoints(DEVICE, LOG)] == [7, 7]


def test_a_forged_tail_gives_way_to_the_signed_one(
    side: Side, gateway: Gateway
) -> None:
    side.take("audit", gateway.page(0, 3))
    forged = encode_page(AuditPage(LOG, 3, (b"forged", b"forged"), b""))
    side.take("audit", forged)
    assert head(side)[0] == 5
    side.take("audit", gateway.page(3))  # the device goes on where it was
    assert here(side) == gateway.entries
    side.take("audit", encode_page(AuditPage(LOG, 7, (b"forged",), b"")))
    gateway.seal([9])
    gateway.seal([9])
    side.take("audit", gateway.page(8))  # behind the forged one
    assert head(side)[0] == 7  # dropped, and asked for again
    side.take("audit", gateway.page(7))
    assert here(side) == gateway.entries


def test_a_checkpoint_of_another_device_log_or_fleet_is_refused(
    side: Side, gateway: Gateway
) -> None:
    strangers = [
        Gateway("gw-1", seed=9),  # another key
        Gateway("gw-2"),  # another name
        Gateway(log=b"other-id"),
    ]
    for stranger in strangers:
        page = AuditPage(LOG, 0, tuple(stranger.entries), stranger.sign())
        side.take("audit", encode_page(page))
    assert side.rules() == {"checkpoint"}
    assert here(side) == []
    much = encode_page(AuditPage(LOG, 0, tuple(gateway.entries[:2]), gateway.sign()))
    side.take("audit", much)
    assert ("checkpoint", "of more entries than its page brings") in side.findings()


def test_a_device_may_begin_a_new_log(side: Side, gateway: Gateway) -> None:
    side.take("audit", gateway.page())
    again = Gateway(log=b"second-8")
    side.take("audit", again.page(), gateway.page(5))
    assert side.ledger.logs(DEVICE) == [LOG, b"second-8"]
    assert here(side, b"second-8") == again.entries
    receipts = side.collector.receipts(NOW_NS)
    assert len(receipts) == 2  # one for each log


def test_logs_that_nobody_signed_are_few(side: Side, gateway: Gateway) -> None:
    for number in range(9):
        log = number.to_bytes(8, "big")
        side.take("audit", encode_page(AuditPage(log, 0, (b"entry",), b"")))
    assert len(side.ledger.logs(DEVICE)) == 4
    assert ("evidence", "too many logs without a signed checkpoint") in side.findings()
    side.take("audit", gateway.page())  # a signed one is not kept out by them
    assert here(side) == gateway.entries
