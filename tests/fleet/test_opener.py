"""The opener refuses whatever a device did not seal in just this way, and says why."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.protection.epochs import wrap_key
from agent.protection.sealer import Sealed, Sealer
from fleet.errors import Refused
from fleet.opener import Opener
from protocols.announcement import (
    Announcement,
    context,
    dictionary_data,
    encode_announcement,
    open_announcement,
)
from protocols.content import ContentEncoder, Definition, empty_content
from protocols.envelope import (
    EpochKeys,
    derive_keys,
    encode_envelope,
    encode_header,
    nonce,
    parse_envelope,
)
from protocols.errors import WireError
from tests.support.sealing import (
    DEVICE,
    GENERAL,
    NOW_NS,
    SPEED,
    Device,
    bundle,
    entropy,
    keys,
    numbers,
    policy,
    texts,
)

OEM = keys("oem-2026", 10)
SUITE = "x25519-aes256gcm"
CARDS = {"oem-2026": OEM.card(), "keeper": keys("keeper", 20).card()}
EPOCH, DATA_KEY = bytes(range(16)), bytes(range(32))
WORD = Definition("A.B", "m", "c", "p", "", "can0", 0, 0.5, -1.0)


def sealed(seed: bytes = b"one") -> Sealed:
    rules = policy()
    one = Sealer(rules, Device(), entropy(seed), bytes(16), CARDS)
    what = bundle(rules, [numbers(SPEED, [1, 2, 3])])
    return one.seal(rules.destinations[0], what, NOW_NS)


def opener() -> Opener:
    return Opener([OEM], {DEVICE: Device().public_key()})


def derived() -> EpochKeys:
    return derive_keys(DATA_KEY, SUITE, DEVICE, EPOCH)


def announcement(
    *, wrapped_key: bytes = DATA_KEY, dictionary: bytes | None = None
) -> Announcement:
    """Return what an honest device would say, but for what is given."""
    ties = context(SUITE, DEVICE, EPOCH, "oem", GENERAL)
    words = ContentEncoder().encode(*empty_content(), {0: WORD})
    words = words if dictionary is None else dictionary
    return Announcement(
        SUITE, DEVICE, EPOCH, "oem", GENERAL, bytes(16), NOW_NS, derived().commitment,
        (wrap_key(wrapped_key, SUITE, OEM.card(), ties),),
        AESGCM(derived().key).encrypt(nonce(0), words, dictionary_data(ties)),
    )  # fmt: skip


def signed(said: Announcement) -> bytes:
    return encode_announcement(said, Device().sign)


def batch(content: bytes, sequence: int = 1) -> bytes:
    """Return a batch of the epoch above with any content."""
    header = parse_envelope(sealed().records[1].body).header
    octets = encode_header(replace(header, epoch=EPOCH, sequence=sequence))
    body = AESGCM(derived().key).encrypt(nonce(sequence), content, octets)
    return encode_envelope(octets, body)


def test_an_epoch_is_known_only_after_its_announcement() -> None:
    key, data = sealed().records
    one = opener()
    assert one.knows(DEVICE, data.epoch) is None
    with pytest.raises(WireError, match="not announced yet"):
        one.open(DEVICE, data.body)
    said = one.announce(DEVICE, key.body)
    assert (said.destination, said.label, said.is_ours) == ("oem", GENERAL, True)
    assert one.knows(DEVICE, data.epoch) is True
    assert one.header(data.body).sequence == 1
    assert one.open(DEVICE, data.body)[0].raw.tolist() == [1, 2, 3]
    assert one.announce(DEVICE, key.body) == said  # once more is no harm


def test_what_is_sealed_to_others_is_known_and_stays_closed() -> None:
    key, data = sealed().records
    other = Opener([keys("x", 50)], {DEVICE: Device().public_key()})
    assert other.announce(DEVICE, key.body).is_ours is False
    assert other.knows(DEVICE, data.epoch) is False
    with pytest.raises(WireError, match="sealed to others"):
        other.open(DEVICE, data.body)


def test_a_device_cannot_speak_for_another() -> None:
    key, data = sealed().records
    both = Opener(
        [OEM], {DEVICE: Device().public_key(), "gw-2": Device(seed=8).public_key()}
    )
    with pytest.raises(WireError, match="does not hold"):
        both.announce("gw-2", key.body)
    with pytest.raises(WireError, match="not enrolled"):
        both.announce("gw-3", key.body)
    both.announce(DEVICE, key.body)
    with pytest.raises(WireError, match="another device"):
        both.open("gw-2", data.body)
    twin = Opener([OEM], dict.fromkeys((DEVICE, "gw-2"), Device().public_key()))
    with pytest.raises(Refused, match="another device"):
        twin.announce("gw-2", key.body)


def test_every_changed_byte_of_a_batch_is_refused() -> None:
    key, data = sealed().records
    one = opener()
    one.announce(DEVICE, key.body)
    for place, bit in itertools.product(range(len(data.body)), (0, 7)):
        changed = bytearray(data.body)
        changed[place] ^= 1 << bit
        with pytest.raises(WireError):
            one.open(DEVICE, bytes(changed))


def test_a_batch_of_one_epoch_does_not_open_in_another() -> None:
    first, second = sealed(b"one"), sealed(b"two")
    one = opener()
    for made in (first, second):
        one.announce(DEVICE, made.records[0].body)
    parts = parse_envelope(first.records[1].body)
    moved = encode_header(replace(parts.header, epoch=second.records[1].epoch))
    with pytest.raises(WireError, match="tag does not hold"):
        one.open(DEVICE, encode_envelope(moved, parts.body))


@pytest.mark.parametrize(
    "change", [{"destination": "supplier"}, {"label": GENERAL + 1}, {"suite": "other"}]
)
def test_a_header_must_agree_with_its_announcement(change: dict[str, str]) -> None:
    one = opener()
    one.announce(DEVICE, signed(announcement()))
    header = parse_envelope(batch(b"")).header
    change = {
        k: "mlkem768x25519-aes256gcm" if v == "other" else v for k, v in change.items()
    }
    octets = encode_header(replace(header, **change))  # type: ignore[arg-type]  # by table
    sealed_body = AESGCM(derived().key).encrypt(nonce(1), b"x", octets)
    with pytest.raises(WireError, match="is not the epoch's"):
        one.open(DEVICE, encode_envelope(octets, sealed_body))


def test_a_key_that_was_not_committed_to_is_refused() -> None:
    """Two recipients must not be shown two plaintexts of one ciphertext."""
    with pytest.raises(Refused, match="committed to"):
        opener().announce(DEVICE, signed(announcement(wrapped_key=bytes(32))))
    with pytest.raises(Refused, match="another size"):
        opener().announce(DEVICE, signed(announcement(wrapped_key=bytes(31))))


def test_a_wrap_that_does_not_open_is_refused() -> None:
    said = announcement()
    for wrapped in (said.wraps[0].wrapped[:-1] + b"\0", b"", bytes(80)):
        wrap = replace(said.wraps[0], wrapped=wrapped)
        with pytest.raises(Refused, match="the wrap for oem-2026 does not open"):
            opener().announce(DEVICE, signed(replace(said, wraps=(wrap,))))
    moved = replace(said, destination="supplier")  # the wrap is tied to its place
    with pytest.raises(Refused, match="does not open"):
        opener().announce(DEVICE, signed(moved))


def test_an_epoch_is_announced_in_one_way_only() -> None:
    one = opener()
    one.announce(DEVICE, signed(announcement()))
    with pytest.raises(Refused, match="before, differently"):
        one.announce(DEVICE, signed(announcement()))  # HPKE: other bytes
    assert one.knows(DEVICE, EPOCH) is True


def test_a_dictionary_holds_definitions_and_nothing_else() -> None:
    no_rows, no_floats, _ = empty_content()
    full = ContentEncoder().encode(no_rows, no_floats, texts(0, b"x"), {0: WORD})
    with pytest.raises(WireError, match="more than definitions"):
        opener().announce(DEVICE, signed(announcement(dictionary=full)))
    said = announcement()
    broken = replace(said, dictionary=said.dictionary[:-1])
    with pytest.raises(Refused, match="dictionary's tag"):
        opener().announce(DEVICE, signed(broken))


def test_a_column_that_is_defined_nowhere_refuses_the_batch() -> None:
    one = opener()
    one.announce(DEVICE, signed(announcement()))
    encoder = ContentEncoder()
    rows, floats, _ = empty_content()

    def content(number: int, own: dict[int, Definition]) -> bytes:
        return encoder.encode(rows, floats, texts(number, b"text"), own)

    assert one.open(DEVICE, batch(content(0, {})))[0].item == "A.B"
    with pytest.raises(WireError, match="column 5 is defined nowhere"):
        one.open(DEVICE, batch(content(5, {}), 2))
    own = {5: replace(WORD, name="C.D")}
    assert one.open(DEVICE, batch(content(5, own), 3))[0].item == "C.D"
    with pytest.raises(WireError, match="defined nowhere"):  # it held for that batch
        one.open(DEVICE, batch(content(5, {}), 4))


def test_an_authentic_batch_with_broken_content_is_refused() -> None:
    one = opener()
    one.announce(DEVICE, signed(announcement()))
    with pytest.raises(WireError, match="content"):
        one.open(DEVICE, batch(b"not zstd"))


def test_an_announcement_of_ours_is_what_the_device_said() -> None:
    key = sealed().records[0]
    said = open_announcement(key.body, Device().public_key())
    assert (said.device, said.epoch, said.boot) == (DEVICE, key.epoch, bytes(16))
    assert [wrap.recipient for wrap in said.wraps] == ["oem-2026"]
