"""A second reader of envelopes, written from docs/formats/envelope.md alone.

It shares no code with ``protocols/`` or ``fleet/``, works value by value, and makes its
own HPKE (RFC 9180) from primitives, so that the document is what it proves.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

import msgpack
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MASK = 2**64 - 1
XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")


class ReadError(Exception):
    """The document says that this is to be refused."""


@dataclass(frozen=True)
class Keys:
    """A recipient's private keys, raw."""

    x25519: bytes  # 32
    mlkem_seed: bytes  # 64
    mlkem_x25519: bytes  # 32


@dataclass
class Epoch:
    """What an announcement gives."""

    suite: int
    device: str
    epoch: bytes
    destination: str
    label: int
    key: bytes  # empty: open
    definitions: dict[int, list[object]]


@dataclass(frozen=True)
class Sample:
    """One sample or text with its meaning."""

    name: str
    unit: str
    purpose: str
    statistic: str
    time_ns: int
    raw: int
    value: float | None
    text: bytes | None


def domain(what: str) -> bytes:
    return b"sluicegate/1/" + what.encode() + b"\x00"


def pack(parts: list[object]) -> bytes:
    packed = msgpack.packb(parts)
    assert isinstance(packed, bytes)
    return packed


# --- RFC 5869, RFC 9180 ---------------------------------------------------------------


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt or bytes(32), ikm, "sha256").digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, count = b"", b"", 0
    while len(out) < length:
        count += 1
        block = hmac.new(prk, block + info + bytes([count]), "sha256").digest()
        out += block
    return out[:length]


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(
    suite: bytes, prk: bytes, label: bytes, info: bytes, length: int
) -> bytes:
    text = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    return expand(prk, text, length)


def dhkem_x25519(private: bytes, enc: bytes) -> bytes:
    """RFC 9180 section 4.1, Decap of DHKEM(X25519, HKDF-SHA256)."""
    own = X25519PrivateKey.from_private_bytes(private)
    shared = own.exchange(X25519PublicKey.from_public_bytes(enc))
    suite = b"KEM" + struct.pack(">H", 0x0020)
    prk = labeled_extract(suite, b"", b"eae_prk", shared)
    context = enc + own.public_key().public_bytes_raw()
    return labeled_expand(suite, prk, b"shared_secret", context, 32)


def xwing(seed: bytes, private: bytes, enc: bytes) -> bytes:
    """draft-connolly-cfrg-xwing-kem, Decapsulate."""
    ciphertext, ephemeral = enc[:1088], enc[1088:]
    own = X25519PrivateKey.from_private_bytes(private)
    secret_m = MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    secret_x = own.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    public = own.public_key().public_bytes_raw()
    return hashlib.sha3_256(
        secret_m + secret_x + ephemeral + public + XWING_LABEL
    ).digest()


def hpke_open(kem: int, shared: bytes, info: bytes, ciphertext: bytes) -> bytes:
    """RFC 9180 sections 5.1, 5.2: mode_base, HKDF-SHA256, AES-256-GCM, sequence 0."""
    suite = b"HPKE" + struct.pack(">HHH", kem, 0x0001, 0x0002)
    psk_id = labeled_extract(suite, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(suite, b"", b"info_hash", info)
    context = b"\x00" + psk_id + info_hash
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


# --- section 4: announcement ----------------------------------------------------------


def open_signed(what: str, message: bytes, public_key: bytes) -> bytes:
    body, signature = msgpack.unpackb(message)
    key = Ed25519PublicKey.from_public_bytes(public_key)
    key.verify(signature, domain(what) + body)
    return bytes(body)


def unwrap(suite: int, keys: Keys, wraps: list[list[bytes]], info: bytes) -> bytes:
    plain = X25519PrivateKey.from_private_bytes(keys.x25519).public_key()
    public = plain.public_bytes_raw()
    if suite == 2:
        mlkem = MLKEM768PrivateKey.from_seed_bytes(keys.mlkem_seed).public_key()
        other = X25519PrivateKey.from_private_bytes(keys.mlkem_x25519).public_key()
        public = mlkem.public_bytes_raw() + other.public_bytes_raw()
    wanted = hashlib.sha256(public).digest()[:16]
    for _, key_id, wrapped in wraps:
        if key_id != wanted:
            continue
        if suite == 1:
            shared = dhkem_x25519(keys.x25519, wrapped[:32])
            return hpke_open(0x0020, shared, info, wrapped[32:])
        shared = xwing(keys.mlkem_seed, keys.mlkem_x25519, wrapped[:1120])
        return hpke_open(0x647A, shared, info, wrapped[1120:])
    raise ReadError("sealed to others")


def derive(data_key: bytes, what: str, context: bytes) -> bytes:
    return expand(extract(b"", data_key), domain(what) + context, 32)


def open_epoch(message: bytes, device_key: bytes, keys: Keys | None) -> Epoch:
    """Sections 4 and 5."""
    body = msgpack.unpackb(open_signed("announcement", message, device_key))
    (version, suite, device, epoch, destination, label, _, boot, _, commitment, wraps,
     dictionary) = body  # fmt: skip
    if version != 1 or suite not in {0, 1, 2} or len(epoch) != 16 or len(boot) != 16:
        raise ReadError("not an announcement of version 1")
    if suite == 0:
        words, _, _ = content(dictionary)
        return Epoch(suite, device, epoch, destination, label, b"", words)
    if keys is None:
        raise ReadError("sealed to others")
    ties = pack([1, suite, device, epoch, destination, label])
    data_key = unwrap(suite, keys, wraps, domain("epoch-wrap") + ties)
    context = pack([suite, device, epoch])
    if derive(data_key, "key-commitment", context) != commitment:
        raise ReadError("another data key than the one committed to")
    key = derive(data_key, "batch-key", context)
    plain = AESGCM(key).decrypt(bytes(12), dictionary, domain("dictionary") + ties)
    words, _, _ = content(plain)
    return Epoch(suite, device, epoch, destination, label, key, words)


# --- sections 3 and 9: batch ----------------------------------------------------------


def open_batch(message: bytes, epoch: Epoch, device_key: bytes) -> list[Sample]:
    """Section 9, steps 1 to 7."""
    parts = msgpack.unpackb(message)
    header = msgpack.unpackb(parts[0])
    version, suite, device, name, sequence, _, label, destination, _ = header
    if version != 1 or (suite, device, name, label, destination) != (
        epoch.suite, epoch.device, epoch.epoch, epoch.label, epoch.destination,
    ):  # fmt: skip
        raise ReadError("not of this epoch")
    if suite == 0:
        signed = domain("batch") + pack([parts[0], parts[1]])
        Ed25519PublicKey.from_public_bytes(device_key).verify(parts[2], signed)
        plain = parts[1]
    else:
        nonce = bytes(4) + struct.pack(">Q", sequence)
        plain = AESGCM(epoch.key).decrypt(nonce, parts[1], parts[0])
    own, texts, columns = content(plain)
    words = {**epoch.definitions, **own}
    found: list[Sample] = []
    for number, times, raws in columns:
        if number not in words:
            raise ReadError(f"column {number} is defined nowhere")
        found += [
            sample(words[number], t, raw) for t, raw in zip(times, raws, strict=True)
        ]
    for number, time_ns, text in texts:
        if number not in words:
            raise ReadError(f"column {number} is defined nowhere")
        item, unit, _, purpose, statistic = words[number][:5]
        found.append(
            Sample(
                str(item),
                str(unit),
                str(purpose),
                str(statistic),
                time_ns,
                0,
                None,
                text,
            )
        )
    return found


def sample(word: list[object], time_ns: int, raw: int) -> Sample:
    item, unit, _, purpose, statistic, _, kind, scale, offset = word
    assert isinstance(scale, float)
    assert isinstance(offset, float)
    if kind == 2:
        value = struct.unpack("<d", struct.pack("<Q", raw & MASK))[0]
    else:
        value = float(raw & MASK if kind == 1 else raw) * scale + offset
    return Sample(
        str(item), str(unit), str(purpose), str(statistic), time_ns, raw, value, None
    )


# --- section 6: content ---------------------------------------------------------------

Column = tuple[int, list[int], list[int]]
Text = tuple[int, int, bytes]


def content(data: bytes) -> tuple[dict[int, list[object]], list[Text], list[Column]]:
    size = zstandard.get_frame_parameters(data).content_size
    if size > 16 * 1024 * 1024:
        raise ReadError("content is too large")
    plain = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    definitions, texts, columns = msgpack.unpackb(plain)
    words = {row[0]: row[1:] for row in definitions}
    told = [(row[0], row[1], row[2]) for row in texts]
    return words, told, [] if columns is None else section(*columns)


class Take:
    """Bytes from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def bytes(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ReadError("the section is cut short")
        self.at += count
        return part

    def packed(self, count: int) -> list[int]:
        return self.planes([self.bytes(1)[0]] * count)

    def planes(self, widths: list[int]) -> list[int]:
        values = [0] * len(widths)
        for plane in range(8):
            wide = [i for i, width in enumerate(widths) if width > plane]
            for i, octet in zip(wide, self.bytes(len(wide)), strict=True):
                values[i] |= octet << 8 * plane
        return values


def signed(number: int) -> int:
    number &= MASK
    return number - 2**64 if number >> 63 else number


def unzigzag(coded: int) -> int:
    return coded >> 1 if not coded & 1 else -(coded >> 1) - 1


def section(
    columns: int, groups: int, base_ns: int, exponent: int, data: bytes
) -> list[Column]:
    take = Take(data)
    unit = 10**exponent
    steps = take.packed(columns)  # 1
    member = take.packed(columns)  # 2
    rows = take.packed(groups)  # 3
    first = take.packed(groups)  # 4
    period = [unzigzag(v) for v in take.packed(groups)]  # 5
    width = list(take.bytes(groups))  # 6
    inner = [g for g in range(groups) for _ in range(rows[g] - 1)]
    rest = iter(take.planes([width[g] for g in inner]))  # 7
    times: list[list[int]] = []
    for g in range(groups):
        now = base_ns + first[g] * unit
        mine = [signed(now)]
        for _ in range(rows[g] - 1):
            now += (next(rest) + period[g]) * unit
            mine.append(signed(now))
        times.append(mine)

    kinds = list(take.bytes(columns))  # 8
    start = take.packed(columns)  # 9
    widths = [kinds[c] & 15 for c in range(columns) for _ in times[member[c]][1:]]
    rest = iter(take.planes(widths))  # 10
    if take.at != len(data):
        raise ReadError("bytes behind part 10")
    found: list[Column] = []
    number = 0
    for c in range(columns):
        number += steps[c]
        is_xor = bool(kinds[c] & 16)
        raw = start[c] if is_xor else unzigzag(start[c])
        mine = [signed(raw)]
        for _ in times[member[c]][1:]:
            raw = raw ^ next(rest) if is_xor else raw + unzigzag(next(rest))
            mine.append(signed(raw))
        found.append((number, times[member[c]], mine))
    return found
