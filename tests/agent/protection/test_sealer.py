"""The sealer against the opener: what comes out is what went in, and nothing leaks."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agent.protection.sealer as sealer_module
import agent.protection.vocabulary as vocabulary_module
from agent.errors import Refused
from agent.limits import ENVELOPE_BYTES_MAX
from agent.protection import epochs
from agent.protection.sealer import Sealed, Sealer
from agent.ranks import rank_of
from agent.records import Rank
from fleet.opener import Column, Opener
from policies.tables import Action, CompiledPolicy
from protocols.announcement import open_announcement
from protocols.envelope import parse_envelope
from protocols.samples import SampleBatch, empty_samples
from tests.support.sealing import (
    COUNTER,
    DEVICE,
    GENERAL,
    LATITUDE,
    NOW_NS,
    PERSONAL,
    SERIAL,
    SPEED,
    VIN,
    Device,
    bundle,
    entropy,
    floats,
    keys,
    numbers,
    policy,
    texts,
)

OEM = keys("oem-2026", 10)
KEEPER = keys("keeper", 20)
CARDS = {"oem-2026": OEM.card(), "keeper": KEEPER.card()}
SUITES = ("x25519-aes256gcm", "mlkem768x25519-aes256gcm")
BOOT = bytes(16)


def sealer(rules: CompiledPolicy, seed: bytes = b"test") -> Sealer:
    return Sealer(rules, Device(), entropy(seed), BOOT, CARDS)


def opened(*sealed: Sealed, key: object = OEM) -> list[list[Column]]:
    """Return the columns of every batch, read as the collector reads them."""
    opener = Opener([key], {DEVICE: Device().public_key()})  # type: ignore[list-item]  # OEM or KEEPER
    found = []
    for one in sealed:
        for record in (*one.records, *one.retained):
            if record.sequence == 0:
                opener.announce(DEVICE, record.body)
            else:
                found.append(opener.open(DEVICE, record.body))
    return found


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_opens_to_the_same_numbers_and_texts(suite: str) -> None:
    rules = policy(suite=suite)
    speed, counter = numbers(SPEED, [100, 90, 95]), numbers(COUNTER, [-1, 2**62])
    latitude = floats(LATITUDE, [31.25, 31.5])
    told = texts(VIN, b"LSVAA4182E2184847", b"")
    made = sealer(rules).seal(
        rules.destinations[0], bundle(rules, [speed, counter, latitude], told), NOW_NS
    )
    assert [record.kind for record in made.records] == ["key", "data"]
    key, data = made.records
    assert (key.rank, key.sequence, data.sequence) == (Rank.CONTROL, 0, 1)
    assert (data.samples, data.confirm, data.label) == (9, "receipt", GENERAL)
    columns = {column.item: column for column in opened(made)[0]}
    assert columns["Vehicle.Speed"].value.tolist() == [1.0, 0.9, 0.9500000000000001]
    assert columns["Vehicle.Speed"].unit == "km/h"
    assert columns["Vehicle.Speed"].time_ns.tolist() == speed.time_ns.tolist()
    assert columns["Vehicle.Counter"].value.tolist() == [2.0**64, 2.0**62]
    where = columns["Vehicle.CurrentLocation.Latitude"]
    assert list(where.rows()) == [
        (NOW_NS, 31.25, None),
        (NOW_NS + 10_000_000, 31.5, None),
    ]
    vin = columns["Vehicle.VehicleIdentification.VIN"]
    assert list(vin.rows()) == [
        (NOW_NS, None, b"LSVAA4182E2184847"),
        (NOW_NS + 1, None, b""),
    ]
    assert vin.definition.purpose == "test"


def test_no_item_name_or_value_is_readable_without_the_key() -> None:
    rules = policy()
    made = sealer(rules).seal(
        rules.destinations[0],
        bundle(
            rules, [floats(LATITUDE, [31.123456])], texts(VIN, b"LSVAA4182E2184847")
        ),
        NOW_NS,
    )
    for record in made.records:
        for canary in (b"LSVAA", b"Latitude", np.float64(31.123456).tobytes()):
            assert canary not in record.body


def test_an_open_batch_is_signed_and_any_change_is_refused() -> None:
    rules = policy(actions=[Action.ALLOW])
    made = sealer(rules).seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, [1, 2])]), NOW_NS
    )
    assert opened(made)[0][0].value.tolist() == [0.01, 0.02]
    key, data = made.records
    opener = Opener([], {DEVICE: Device().public_key()})
    opener.announce(DEVICE, key.body)
    for place in range(len(data.body)):
        changed = bytearray(data.body)
        changed[place] ^= 1
        with pytest.raises(ValueError, match=r"envelope|batch|header"):
            opener.open(DEVICE, bytes(changed))


def test_one_announcement_an_epoch_and_rising_sequences() -> None:
    rules = policy()
    one = sealer(rules)
    made = [
        one.seal(
            rules.destinations[0], bundle(rules, [numbers(SPEED, [i])]), NOW_NS + i
        )
        for i in range(3)
    ]
    flat = [record for each in made for record in each.records]
    assert [record.kind for record in flat] == ["key", "data", "data", "data"]
    assert [record.sequence for record in flat] == [0, 1, 2, 3]
    assert len({record.epoch for record in flat}) == 1
    again = sealer(rules, b"next start")
    later = again.seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, [9])]), NOW_NS
    )
    assert [record.kind for record in later.records] == ["key", "data"]
    assert later.records[0].epoch != flat[0].epoch
    assert len(opened(*made, later)) == 4


def test_a_day_or_too_many_batches_end_an_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = policy()
    one = sealer(rules)
    to = rules.destinations[0]

    def kinds(now_ns: int) -> list[str]:
        made = one.seal(to, bundle(rules, [numbers(SPEED, [1])]), now_ns)
        return [record.kind for record in made.records]

    assert kinds(NOW_NS) == ["key", "data"]
    assert kinds(NOW_NS + epochs.LIFE_NS - 1) == ["data"]
    assert kinds(NOW_NS + epochs.LIFE_NS) == ["key", "data"]
    monkeypatch.setattr(epochs, "BATCHES_MAX", 1)
    assert kinds(NOW_NS + epochs.LIFE_NS) == ["key", "data"]


def test_labels_kinds_and_starts_never_share_a_key() -> None:
    rules = policy()
    to = rules.destinations[0]
    found = set()
    for seed in (b"boot one", b"boot two"):
        one = sealer(rules, seed)
        for kind in ("data", "event"):
            made = one.seal(
                to,
                bundle(rules, [empty_samples()], texts(VIN, b"x"), kind=kind),
                NOW_NS,
            )
            assert made.records[1].kind == kind
            found.add(made.records[0].epoch)
    assert len(found) == 4


def test_statistics_are_columns_of_their_own() -> None:
    rules = policy(of=("min", "max"))
    to = rules.destinations[0]
    parts = [
        bundle(rules, [floats(SERIAL, [low])], is_float=True, statistic=name).parts[0]
        for name, low in (("min", 1.5), ("max", 2.5))
    ]
    whole = bundle(rules, [], is_float=True)
    made = sealer(rules).seal(
        to, type(whole)(whole.action, whole.label, whole.kind, "", tuple(parts)), NOW_NS
    )
    columns = opened(made)[0]
    assert [(c.item, c.statistic, c.value.tolist()) for c in columns] == [
        ("Vehicle.Serial", "min", [1.5]),
        ("Vehicle.Serial", "max", [2.5]),
    ]


def test_a_custodian_with_a_destinations_name_gets_nothing_of_it() -> None:
    rules = replace(policy(actions=(Action.ENCRYPT, Action.KEEP)), custodian="oem")
    cards = {"oem-2026": OEM.card(), "oem": KEEPER.card()}
    one = Sealer(rules, Device(), entropy(), BOOT, cards)
    sent = one.seal(rules.destinations[0], bundle(rules, [numbers(SPEED, [1])]), NOW_NS)
    kept = one.seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, [2])], rule=1), NOW_NS
    )
    for message, key in (
        (sent.records[0].body, OEM),
        (kept.retained[0].body, KEEPER),
    ):
        wraps = open_announcement(message, Device().public_key()).wraps
        assert [wrap.recipient for wrap in wraps] == [key.name]


def test_keep_goes_to_the_custodian_and_stays() -> None:
    rules = policy(actions=[Action.KEEP])
    made = sealer(rules).seal(
        rules.destinations[0],
        bundle(rules, [numbers(SPEED, [1]), numbers(COUNTER, [2, 3])]),
        NOW_NS,
    )
    assert made.records == ()
    key, *kept = made.retained
    assert (key.category, key.sequence, key.samples) == ("key", 0, 0)
    assert {k.category: k.expires_ns - NOW_NS for k in kept} == {
        "location": 30,
        "driving.fine": 5,
    }
    # The key outlives everything that its epoch may still seal in a day.
    assert key.expires_ns - NOW_NS >= 86_400 * 10**9 + 30
    assert [made.rows[k.epoch, k.sequence] for k in kept] in (
        [(1, 0), (0, 2)],
        [(0, 2), (1, 0)],
    )
    assert len(opened(made, key=KEEPER)) == 2
    with pytest.raises(ValueError, match="sealed to others"):
        opened(made, key=OEM)


def test_what_is_too_large_becomes_several_envelopes_that_add_up() -> None:
    rules = policy()
    rng = np.random.default_rng(1)
    noise = [
        SampleBatch(
            np.sort(rng.integers(0, 2**62, 90_000)),
            np.full(90_000, item, np.uint32),
            rng.integers(-(2**62), 2**62, 90_000),
            np.zeros(90_000),
        )
        for item in (SPEED, COUNTER)
    ]
    made = sealer(rules).seal(rules.destinations[0], bundle(rules, noise), NOW_NS)
    data = made.records[1:]
    assert len(data) > 2
    assert all(len(record.body) <= ENVELOPE_BYTES_MAX for record in data)
    assert [record.sequence for record in data] == list(range(1, len(data) + 1))
    shares = [made.rows[record.epoch, record.sequence] for record in data]
    assert tuple(map(sum, zip(*shares, strict=True))) == (90_000, 90_000)
    assert [sum(share) for share in shares] == [record.samples for record in data]
    raw = [c.raw for batch in opened(made) for c in batch if c.item == "Vehicle.Speed"]
    assert np.concatenate(raw).tolist() == noise[0].raw.tolist()


@pytest.mark.parametrize("limit", ["TEXTS_MAX", "TEXTS_BYTES_MAX"])
def test_more_texts_than_a_reader_takes_become_several_envelopes(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(sealer_module, limit, 3)
    rules = policy()
    told = texts(VIN, *(b"%d" % i for i in range(8)))
    made = sealer(rules).seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, [1])], told), NOW_NS
    )
    data = made.records[1:]
    assert len(data) > 2
    assert sum(record.samples for record in data) == 9
    assert sum(made.rows[r.epoch, r.sequence][0] for r in data) == 9
    found = [c.texts for batch in opened(made) for c in batch if c.texts]
    assert sum(found, ()) == told.text


def test_items_beyond_the_dictionary_are_defined_in_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vocabulary_module, "DICTIONARY_MAX", 3)
    rules = policy(extra=4)
    one = sealer(rules)
    batches = [
        one.seal(
            rules.destinations[0],
            bundle(
                rules, [numbers(item, [item]), numbers(SPEED, [5])], texts(VIN, b"v")
            ),
            NOW_NS,
        )
        for item in (6, 7)
    ]
    names = [{c.item for c in batch} for batch in opened(*batches)]
    vin = "Vehicle.VehicleIdentification.VIN"
    assert names == [
        {"Extra.1", "Vehicle.Speed", vin},
        {"Extra.2", "Vehicle.Speed", vin},
    ]


def test_a_recipient_that_cannot_be_sealed_to_is_refused_at_once() -> None:
    with pytest.raises(Refused, match="no card of oem-2026"):
        Sealer(policy(), Device(), entropy(), BOOT, {"keeper": KEEPER.card()})
    low_order = type(OEM.card())(
        **{f: getattr(OEM.card(), f) for f in OEM.card().__struct_fields__}
        | {"x25519": "A" * 43 + "="}
    )
    with pytest.raises(Refused, match="key for x25519-aes256gcm is none"):
        Sealer(policy(), Device(), entropy(), BOOT, {**CARDS, "oem-2026": low_order})


def test_sealed_to_nobody_opens_for_nobody() -> None:
    rules = policy()
    one = Sealer(rules, Device(), entropy(), BOOT, None)
    made = one.seal(rules.destinations[0], bundle(rules, [numbers(SPEED, [1])]), NOW_NS)
    with pytest.raises(ValueError, match="sealed to others"):
        opened(made)


def test_rank_follows_the_label() -> None:
    assert rank_of(GENERAL) == Rank.GENERAL
    assert rank_of(PERSONAL) == Rank.PERSONAL
    assert rank_of(4 << 8) == Rank.IMPORTANT
    assert rank_of(5 << 8 | 2 << 6) == Rank.IMPORTANT


def test_the_header_names_policy_label_and_destination() -> None:
    rules = policy(label=PERSONAL)
    made = sealer(rules).seal(
        rules.destinations[0], bundle(rules, [numbers(SPEED, [1])]), NOW_NS
    )
    header = parse_envelope(made.records[1].body).header
    assert (header.device, header.destination, header.label) == (
        DEVICE,
        "oem",
        PERSONAL,
    )
    assert (header.policy, header.created_ns) == (rules.digest, NOW_NS)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SPEED, COUNTER, SERIAL]),
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8),
            st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_samples_come_back_exactly(
    parts: list[tuple[int, list[int], int]],
) -> None:
    rules = policy()
    given_ = [numbers(item, raw, start) for item, raw, start in parts]
    made = sealer(rules).seal(rules.destinations[0], bundle(rules, given_), NOW_NS)
    found: dict[str, list[tuple[int, int]]] = {}
    for batch in opened(made):
        for c in batch:
            found[c.item] = list(zip(c.time_ns.tolist(), c.raw.tolist(), strict=True))
    want: dict[str, list[tuple[int, int]]] = {}
    for one in given_:
        for item, time_ns, raw in zip(one.item, one.time_ns, one.raw, strict=True):
            name = rules.items.name[item]
            want.setdefault(name, []).append((int(time_ns), int(raw)))
    assert found == want


def test_the_sealing_side_has_no_code_that_opens() -> None:
    for module in (epochs, vocabulary_module, sealer_module):
        assert ".decrypt(" not in inspect.getsource(module)
