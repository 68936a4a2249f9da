"""RFC 9180 and Wycheproof against the primitives in the way in which we call them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.reference import envelope_reader as reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEMS = {0x0020: KEM.X25519, 0x0010: KEM.P256, 0x0012: KEM.P521}
KDFS = {1: KDF.HKDF_SHA256, 3: KDF.HKDF_SHA512}
AEADS = {1: AEAD.AES_128_GCM, 2: AEAD.AES_256_GCM, 3: AEAD.CHACHA20_POLY1305}
CURVES = {0x0010: ec.SECP256R1(), 0x0012: ec.SECP521R1()}


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def hpke_cases(data: Path) -> list[dict[str, Any]]:
    file = data / "vectors" / "vectors_rfc9180_5f503c5.json.gz"
    found = json.loads(gzip.decompress(file.read_bytes()))
    assert isinstance(found, list)
    return found


def private_key(case: dict[str, Any]) -> X25519PrivateKey | ec.EllipticCurvePrivateKey:
    raw = octets(case["skRm"])
    if case["kem_id"] == 0x0020:
        return X25519PrivateKey.from_private_bytes(raw)
    curve = CURVES[case["kem_id"]]
    return ec.derive_private_key(int.from_bytes(raw, "big"), curve)


def test_rfc_9180_base_mode_opens_and_changes_do_not(data: Path) -> None:
    """Single shot = the first encryption of a context (RFC 9180 section 6.1).

    The published cases have associated data, for which ``cryptography`` keeps a
    function beside ``Suite.decrypt`` for such tests; ours is empty.
    """
    opened = 0
    for case in hpke_cases(data):
        if case["mode"] or case["kem_id"] not in KEMS or case["aead_id"] not in AEADS:
            continue
        suite = Suite(
            KEMS[case["kem_id"]], KDFS[case["kdf_id"]], AEADS[case["aead_id"]]
        )
        key, info = private_key(case), octets(case["info"])
        first = case["encryptions"][0]
        message, aad = octets(case["enc"] + first["ct"]), octets(first["aad"])
        found = openssl.hpke._decrypt_with_aad(suite, message, key, info, aad)
        assert found.hex() == first["pt"]
        with pytest.raises(InvalidTag):
            openssl.hpke._decrypt_with_aad(suite, message, key, info + b"x", aad)
        changed = message[:-1] + bytes([message[-1] ^ 1])
        with pytest.raises(InvalidTag):
            openssl.hpke._decrypt_with_aad(suite, changed, key, info, aad)
        with pytest.raises(InvalidTag):
            suite.decrypt(message, key, info)  # without its associated data
        opened += 1
    assert opened == 18


def test_the_reference_readers_hpke_gives_the_published_secrets(data: Path) -> None:
    judged = 0
    for case in hpke_cases(data):
        if case["mode"] or (case["kem_id"], case["kdf_id"]) != (0x0020, 1):
            continue
        shared = reader.dhkem_x25519(octets(case["skRm"]), octets(case["enc"]))
        assert shared.hex() == case["shared_secret"]
        suite = b"HPKE" + bytes([0, 0x20, 0, 1, 0, case["aead_id"] & 0xFF])
        if case["aead_id"] in AEADS:
            context = octets(case["key_schedule_context"])
            secret = reader.labeled_extract(suite, shared, b"secret", b"")
            assert secret.hex() == case["secret"]
            size = len(octets(case["key"]))
            key = reader.labeled_expand(suite, secret, b"key", context, size)
            assert key.hex() == case["key"]
            judged += 1
    assert judged == 3


# --- Wycheproof -----------------------------------------------------------------------


def wycheproof(
    data: Path, name: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    file = data / "vectors" / "wycheproof" / f"{name}_test.json"
    body = json.loads(file.read_text(encoding="utf-8"))
    for group in body["testGroups"]:
        for case in group["tests"]:
            yield group, case


@pytest.mark.parametrize(
    ("name", "kind", "least"),
    [("aes_gcm", AESGCM, 190), ("chacha20_poly1305", ChaCha20Poly1305, 300)],
)
def test_wycheproof_aead(
    data: Path, name: str, kind: type[AESGCM | ChaCha20Poly1305], least: int
) -> None:
    judged = 0
    for group, case in wycheproof(data, name):
        if group["ivSize"] != 96 or group["tagSize"] != 128:
            continue  # our nonces have 96 bits, our tags 128: no other is ever made
        aead = kind(octets(case["key"]))
        sealed = octets(case["ct"] + case["tag"])
        args = (octets(case["iv"]), sealed, octets(case["aad"]))
        if case["result"] == "valid":
            assert aead.decrypt(*args).hex() == case["msg"], case["tcId"]
            made = aead.encrypt(args[0], octets(case["msg"]), args[2])
            assert made == sealed, case["tcId"]
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt(*args)
        judged += 1
    assert judged >= least


def test_wycheproof_ed25519(data: Path) -> None:
    verdicts = {True: 0, False: 0}
    for group, case in wycheproof(data, "ed25519"):
        key = Ed25519PublicKey.from_public_bytes(octets(group["publicKey"]["pk"]))
        try:
            key.verify(octets(case["sig"]), octets(case["msg"]))
            held = True
        except InvalidSignature:
            held = False
        assert held == (case["result"] == "valid"), case["tcId"]
        verdicts[held] += 1
    assert min(verdicts.values()) > 40


def test_wycheproof_hkdf(data: Path) -> None:
    judged = refused = 0
    for _, case in wycheproof(data, "hkdf_sha256"):
        salt, ikm, info = (octets(case[k]) for k in ("salt", "ikm", "info"))
        if case["result"] == "valid":
            made = HKDF(SHA256(), case["size"], salt=salt or None, info=info).derive(
                ikm
            )
            assert made.hex() == case["okm"], case["tcId"]
            prk = reader.extract(salt, ikm)
            assert reader.expand(prk, info, case["size"]) == made
            judged += 1
        else:
            with pytest.raises(ValueError, match="larger than"):
                HKDF(SHA256(), case["size"], salt=salt or None, info=info)
            refused += 1
    assert judged > 70
    assert refused


def test_wycheproof_x25519(data: Path) -> None:
    judged = refused = 0
    for _, case in wycheproof(data, "x25519"):
        private = X25519PrivateKey.from_private_bytes(octets(case["private"]))
        public = X25519PublicKey.from_public_bytes(octets(case["public"]))
        try:
            assert private.exchange(public).hex() == case["shared"], case["tcId"]
            judged += 1
        except ValueError:  # a point of low order gives zeros: RFC 7748 section 6.1
            assert not any(octets(case["shared"])), case["tcId"]
            refused += 1
    assert judged > 400
    assert refused
