"""A trial that is taken back: what it sealed to strangers goes, and nothing else."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.leftovers import TRIED, is_left, places_of
from agent.protection.epochs import Place, begin
from agent.protection.vocabulary import Wording
from agent.records import Commit, Rank
from fleet.audit.verify import Verifier
from fleet.keys import generate
from protocols.envelope import (
    OPEN,
    X25519,
    Header,
    encode_envelope,
    encode_header,
)
from tests.agent.adapters.test_steering import OPEN_BATTERY, TERMS, labels, offered
from tests.support.policy_bench import DEVICE, EVENTS, KEYS, PolicyBench, policy_text
from tests.support.sealing import Device
from tests.support.store_cases import spool_record

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.keys import RecipientKeys

STRANGER = generate("shop-2026", dt.date(2026, 1, 1), dt.date(2030, 1, 1))
RENEWED = replace(KEYS, not_after=dt.date(2031, 1, 1))
REPLACED = generate("oem-2026", dt.date(2026, 1, 1), dt.date(2030, 1, 1))
BOTH = "recipients: [oem-2026, shop-2026]"


def text(version: int, recipients: str, rules: str = EVENTS) -> bytes:
    return policy_text(version, rules).replace(
        b"recipients: [oem-2026]", recipients.encode()
    )


def spool_epoch(
    bench: PolicyBench, epoch: bytes, first: int, *, suite: str = X25519
) -> None:
    """Spool a batch as the policy that decides now seals it."""
    policy = bench.now.accepted.compiled.policy
    label = labels(bench)["battery" if suite == OPEN else "events"]
    header = encode_header(
        Header(suite, DEVICE, epoch, first, policy.digest, label, "oem", first)
    )
    sign = bytes(64) if suite == OPEN else b""
    record = spool_record(first, label=label, epoch=epoch)
    body = encode_envelope(header, bytes(32), sign)
    bench.store.commit(Commit(records=(replace(record, body=body),)))


def spool_key(
    bench: PolicyBench, epoch: bytes, keys: tuple[RecipientKeys, ...]
) -> None:
    """Spool an announcement of an epoch, sealed to ``keys``."""
    label = labels(bench)["events"]
    _, message = begin(
        Place("oem", label, "data", X25519),
        [one.card() for one in keys],
        (Wording({}, {}, None), b""),  # type: ignore[arg-type]  # not looked into
        bytes(16),
        bench.signer,
        lambda size: epoch if size == len(epoch) else bytes(size),
        1,
    )
    record = spool_record(0, Rank.CONTROL, kind="key", label=label, epoch=epoch)
    bench.store.commit(Commit(records=(replace(record, body=message),)))


async def tried(
    bench: PolicyBench, recipients: str, keys: tuple[RecipientKeys, ...]
) -> None:
    """Policy 2 has sealed 1; policy 3 for ``recipients`` is on trial and seals more."""
    await bench.push(2, EVENTS, terms=TERMS)
    await bench.pass_time(11)
    spool_epoch(bench, b"a" * 16, 1)
    spool_key(bench, b"a" * 16, (KEYS,))
    await bench.push(3, terms=TERMS, text=text(3, recipients), keys=keys)
    assert (bench.last.state, bench.deciding[1]) == ("trial", 3)
    spool_epoch(bench, b"b" * 16, 2)
    spool_key(bench, b"b" * 16, keys)
    spool_key(bench, b"c" * 16, keys)
    assert offered(bench) == [0, 0, 0, 1, 2]


async def taken_back(bench: PolicyBench) -> None:
    bench.uplink.online = False
    await bench.pass_time(7)
    assert (bench.last.state, bench.deciding[1]) == ("reverted", 2)


@pytest.mark.parametrize(
    ("recipients", "keys"),
    [
        ("recipients: [shop-2026]", (STRANGER,)),
        (BOTH, (KEYS, STRANGER)),
        ("recipients: [oem-2026]", (REPLACED,)),
    ],
    ids=["another", "one more", "another key"],
)
def test_a_revert_destroys_what_was_sealed_to_strangers(
    tmp_path: Path, recipients: str, keys: tuple[RecipientKeys, ...]
) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await tried(bench, recipients, keys)
            await taken_back(bench)
            assert offered(bench) == [0, 1]
            gone = bench.entries("destroy.rec")
            assert {one["cause"] for one in gone} == {"destroyed"}
            assert sum(int(str(one["count"])) for one in gone) == 3
            await audited(bench)

    asyncio.run(story())


async def audited(bench: PolicyBench) -> None:
    """The auditor finds nothing wrong with the log of it."""
    size, _ = bench.store.root()
    entries = bench.store.evidence_since(0, size)
    assert len(entries) == size
    verifier = Verifier(DEVICE, bench.signer.public_key())
    origin = f"sluicegate/north/{DEVICE}/{bench.store.log_id.hex()}"
    verifier.log(origin, entries, [])
    (unsigned,) = verifier.report.problems  # this bench has no publisher
    assert "not signed" in unsigned


def test_a_card_that_was_only_renewed_is_nobody_else(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await tried(bench, "recipients: [oem-2026]", (RENEWED,))
            await taken_back(bench)
            assert offered(bench) == [0, 0, 0, 1, 2]

    asyncio.run(story())


def test_what_the_old_policy_let_out_in_the_open_stays(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await bench.push(2, OPEN_BATTERY + EVENTS, terms=TERMS)
            await bench.pass_time(11)
            told = text(3, BOTH, OPEN_BATTERY + EVENTS)
            await bench.push(3, terms=TERMS, text=told, keys=(KEYS, STRANGER))
            assert bench.last.state == "trial"
            spool_epoch(bench, b"b" * 16, 2, suite=OPEN)
            await taken_back(bench)
            assert offered(bench) == [2]

    asyncio.run(story())


def test_a_confirmed_one_keeps_what_it_sealed(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await tried(bench, BOTH, (KEYS, STRANGER))
            await bench.pass_time(11)
            assert bench.last.state == "active"
            assert offered(bench) == [0, 0, 0, 1, 2]
            assert bench.entries("destroy.rec") == []

    asyncio.run(story())


def test_a_start_that_takes_it_back_destroys_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        bench = PolicyBench(tmp_path)
        async with bench.running():
            await tried(bench, BOTH, (KEYS, STRANGER))
        for _ in range(2):
            async with bench.running():
                assert bench.last.state == "trial"
                assert offered(bench) == [0, 0, 0, 1, 2]
        async with bench.running():
            assert (bench.last.state, bench.last.rule) == ("reverted", "restarts")
            assert offered(bench) == [0, 1]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("marked", "deciding", "found"),
    [
        (None, b"", (b"", [])),
        (TRIED, b"", (b"", [])),
        (b"x" * 32, b"y" * 32, (b"", [])),  # a policy's digest: no trial
        (TRIED + b"x" * 31, b"", (b"", [])),
        (TRIED + b"\n" * 32 + b"a\nb", b"", (b"\n" * 32, ["a", "b"])),
        (TRIED + b"x" * 32 + b"a", b"x" * 32, (b"", [])),  # it was confirmed
    ],
)
def test_the_mark_of_a_trial(
    marked: bytes | None, deciding: bytes, found: tuple[bytes, list[str]]
) -> None:
    assert places_of(marked, deciding) == found


@pytest.mark.parametrize("kind", ["data", "key"])
def test_what_cannot_be_read_stays(kind: str) -> None:
    accepted = None  # not asked
    assert not is_left(kind, b"\x92x", b"d" * 32, accepted, Device().public_key())  # type: ignore[arg-type]  # not asked
