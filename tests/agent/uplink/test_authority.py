"""Who may settle what; receipts that are told together."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused
from agent.uplink.authority import Authority, merged
from agent.uplink.pages import AGAIN_NS, SECOND_NS, UNHEARD_NS, Pages
from agent.uplink.receipt import Confirmations
from fleet.keys import generate
from protocols.receipts import Receipt, encode_receipt

if TYPE_CHECKING:
    from policies.tables import CompiledPolicy

EPOCH, LOG = bytes(16), bytes(8)
OEM, ABROAD, STRANGER = (
    generate(name, dt.date(2026, 1, 1), dt.date(2027, 1, 1))
    for name in ("oem", "abroad", "stranger")
)


def an_authority() -> Authority:
    destinations = [
        SimpleNamespace(name="home", region="CN", recipients=("oem",)),
        SimpleNamespace(name="supplier", region="DE", recipients=("abroad", "oem")),
    ]
    policy = cast("CompiledPolicy", SimpleNamespace(destinations=destinations))
    keys = {k.name: k.card().receipt_key() for k in (OEM, ABROAD)}
    return Authority("gw-1", policy, "CN", keys)


def test_only_recipients_are_believed_and_each_for_its_own() -> None:
    authority = an_authority()
    receipt = Receipt("gw-1", 1, ((EPOCH, ((1, 3),)),), LOG, 5, bytes(32))
    who, said = authority.open(encode_receipt(receipt, OEM.sign), LOG)
    assert (who, said.epochs, said.evidence) == (
        "oem",
        ((EPOCH, range(1, 4)),),
        (5, bytes(32)),
    )
    with pytest.raises(Refused, match="receipt"):
        authority.open(encode_receipt(receipt, STRANGER.sign), LOG)
    with pytest.raises(Refused, match="receipt"):
        authority.open(b"\xff", LOG)
    assert authority.may_settle("oem", "home")
    assert authority.may_settle("abroad", "supplier")
    assert not authority.may_settle("abroad", "home")
    assert not authority.may_settle("oem", "gone")
    assert authority.may_settle_evidence("oem")
    assert not authority.may_settle_evidence("abroad")


SPANS = st.lists(
    st.tuples(
        st.sampled_from([b"a" * 16, b"b" * 16]), st.integers(0, 30), st.integers(0, 9)
    ),
    max_size=12,
)  # fmt: skip


@given(st.lists(SPANS, max_size=5))
def test_merged_receipts_say_what_they_said_apart(
    receipts: list[list[tuple[bytes, int, int]]],
) -> None:
    apart = [
        Confirmations(tuple((e, range(a, a + n)) for e, a, n in spans), None)
        for spans in receipts
    ]
    together = merged(apart)
    wanted = {(e, n) for one in apart for e, span in one.epochs for n in span}
    told = [(e, n) for e, span in together.epochs for n in span]
    assert set(told) == wanted
    assert len(told) == len(wanted)


def test_of_the_evidence_the_last_word_counts() -> None:
    words = [Confirmations((), (9, b"x")), Confirmations((), (4, b"y"))]
    assert merged([*words, Confirmations((), None)]).evidence == (4, b"y")


def test_unreceipted_pages_are_sent_again_ever_more_seldom() -> None:
    pages = Pages(100)
    pages.connected(0, 0)
    rewound = []
    for second in range(2 * 3600):
        now_ns = second * SECOND_NS
        if pages.may_send(now_ns):
            if pages.sent == 0:
                rewound.append(second)
            pages.taken(100)
    assert rewound == [0, 120, 360, 840, 1800, 3720]
    pages.heard(100, 2 * 3600 * SECOND_NS)
    assert pages.may_send(2 * 3600 * SECOND_NS)
    assert pages.sent == 100


def test_a_collector_that_misses_entries_gets_them_but_not_in_a_loop() -> None:
    pages = Pages(100)
    pages.connected(50, 0)
    pages.taken(80)
    now_ns = 20 * SECOND_NS
    pages.heard(50, now_ns)
    assert pages.sent == 50
    pages.taken(80)
    pages.heard(50, now_ns + 1)
    assert pages.sent == 80  # it was sent again just now
    pages.heard(20, now_ns + AGAIN_NS)
    assert (pages.sent, pages.receipted) == (20, 20)
    pages.heard(90, now_ns + UNHEARD_NS)
    assert (pages.sent, pages.receipted) == (90, 90)
