"""What a device asks for at enrolment, and what it is given. Pure.

A request is JSON text signed with the device's Ed25519 key; it carries that key and a
PKCS#10 request, which its own TLS key signed: who made it has both. As a file, text and
signature stand in a JSON document; over MQTT they are msgpack ``[body, signature]``.
An answer holds nothing secret and is not signed: people compare its fingerprint, and a
renewal is taken only from the authority that issued before. docs/formats/enrolment.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocols.errors import WireError
from protocols.plain import printable
from protocols.signed import SIGNATURE_BYTES, signing_input, split_signed, verify
from protocols.topics import NAME, check_name

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

REQUEST: Final = "enrolment-request"  # the domain of its signature, too
ANSWER: Final = "enrolment-answer"
REQUEST_SCHEMA: Final = "sluicegate/enrolment-request/1"
ANSWER_SCHEMA: Final = "sluicegate/enrolment-answer/1"
REQUEST_BYTES_MAX: Final = 32 * 1024
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024  # a broker's authorities and a root
RENEWAL_BYTES_MAX: Final = 64 * 1024  # an answer over MQTT: certificates only
FINGERPRINT_DIGITS: Final = 32  # 128 bits, read out in groups of four
KEY_BYTES: Final = 32
REASON_MAX: Final = 200

_END: Final = r"$(?!\n)"
Name: TypeAlias = Annotated[str, Meta(pattern=f"^{NAME.pattern}{_END}")]
Base64: TypeAlias = Annotated[str, Meta(max_length=ANSWER_BYTES_MAX)]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}" + _END)]
Where: TypeAlias = Literal["file", "tpm2", "pkcs11"]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device asks for a certificate. ``time_ns`` rises with each request."""

    v: Literal[1] = 1
    device: Name
    fleet: Name
    ed25519: str  # base64, 32 bytes: the identity that signs this
    csr: str  # base64, DER
    tls_key: Where = "file"  # where the private half is: the device's word
    time_ns: Time


class Broker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is, and by whose signature it is known."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    ca: Annotated[str, Meta(min_length=1, max_length=1024 * 1024)]  # PEM


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate; at the first enrolment, broker and trust root with it."""

    schema: str = ANSWER_SCHEMA
    device: Name
    fleet: Name
    request: Digest  # SHA-256 of the request's body
    certificates: Annotated[tuple[Base64, ...], Meta(min_length=1, max_length=8)]
    broker: Broker | None = None
    root: Base64 = ""  # the fleet's root metadata as it stands; "": none is pinned

    def chain(self) -> list[bytes]:
        """Return the certificates, DER, the leaf first; WireError if one is none."""
        return [unbase64(ANSWER, one) for one in self.certificates]

    def fingerprint(self) -> str:
        """Return SHA-256 (hex) of the canonical form, for people to compare."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    body: Annotated[str, Meta(max_length=REQUEST_BYTES_MAX)]
    signature: Annotated[str, Meta(max_length=128)]


class Asked(Struct, frozen=True):
    """A request whose signature holds, and the digest that its answer names."""

    request: Request
    identity: bytes  # 32 bytes: the key that signed
    csr: bytes  # DER
    digest: str  # SHA-256 (hex) of the body as it was signed


def encode_request(request: Request) -> bytes:
    """Return the body that is signed; WireError where a reader would refuse it."""
    body = msgspec.json.encode(request)
    _decode(REQUEST, body, Request, REQUEST_BYTES_MAX)
    return body


def request_file(request: Request, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the request as a file; ``sign`` gives 64-byte Ed25519 signatures."""
    body = encode_request(request)
    signature = sign(signing_input(REQUEST, body))
    form = _File(REQUEST_SCHEMA, body.decode(), base64.b64encode(signature).decode())
    return msgspec.json.format(msgspec.json.encode(form), indent=2) + b"\n"


def as_message(data: bytes) -> bytes:
    """Return the request of a file as an MQTT message; WireError where it is none."""
    form = _decode(REQUEST, data, _File, REQUEST_BYTES_MAX)
    pair = [form.body.encode(), unbase64(REQUEST, form.signature)]
    return msgspec.msgpack.encode(pair)


def open_message(message: bytes, identity: bytes) -> Asked:
    """Return the request of a message signed with ``identity``, else WireError."""
    body, signature = split_signed(REQUEST, message, REQUEST_BYTES_MAX)
    return open_request(body, signature, identity)


def open_request_file(data: bytes) -> Asked:
    """Return the request of a file, signed by the key that it carries itself.

    Whose key that is, people decide (``fingerprint``) or a registry knows. WireError
    where anything is wrong.
    """
    form = _decode(REQUEST, data, _File, REQUEST_BYTES_MAX)
    if form.schema != REQUEST_SCHEMA:
        raise WireError(REQUEST, f"schema is not {REQUEST_SCHEMA}")
    signature = unbase64(REQUEST, form.signature)
    if len(signature) != SIGNATURE_BYTES:
        raise WireError(REQUEST, "its signature has not 64 bytes")
    return open_request(form.body.encode(), signature)


def open_request(body: bytes, signature: bytes, identity: bytes = b"") -> Asked:
    """Return the request of a body; WireError where anything is wrong.

    ``identity``: the key it must be signed with, where one is known already: then it is
    verified before the body is parsed, and the body must carry the same key.
    """
    if identity:
        verify(REQUEST, body, signature, identity)
    request = _decode(REQUEST, body, Request, REQUEST_BYTES_MAX)
    for what, name in (("device", request.device), ("fleet", request.fleet)):
        check_name(what, name)
    own = unbase64(REQUEST, request.ed25519)
    if len(own) != KEY_BYTES or identity not in {b"", own}:
        raise WireError(REQUEST, "carries another identity key")
    verify(REQUEST, body, signature, own)
    csr = unbase64(REQUEST, request.csr)
    return Asked(request, own, csr, hashlib.sha256(body).hexdigest())


def encode_answer(answer: Answer) -> bytes:
    """Return the answer as a file's bytes, or a message's."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def decode_answer(data: bytes, bytes_max: int = ANSWER_BYTES_MAX) -> Answer:
    """Return the answer; WireError with the field and the reason."""
    answer = _decode(ANSWER, data, Answer, bytes_max)
    if answer.schema != ANSWER_SCHEMA:
        raise WireError(ANSWER, f"schema is not {ANSWER_SCHEMA}")
    for what, name in (("device", answer.device), ("fleet", answer.fleet)):
        check_name(what, name)
    if answer.broker is not None and not answer.broker.host.isprintable():
        raise WireError(ANSWER, "the broker's name is not printable")
    return answer


def spoken(digest: str) -> str:
    """Return the first half of a digest (hex) in fours, as people read it out."""
    digits = digest[:FINGERPRINT_DIGITS]
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def heard(text: str) -> str:
    """Return the digits of a fingerprint that a person typed, 32 or 64 of them.

    Blanks, colons and dashes between them do not count. WireError where they are none.
    """
    digits = re.sub(r"[ :\-]", "", text).lower()
    if len(digits) not in {FINGERPRINT_DIGITS, 64} or re.search(r"[^0-9a-f]", digits):
        raise WireError("fingerprint", "is not 32 or 64 hexadecimal digits")
    return digits


def unbase64(what: str, text: str) -> bytes:
    """Return the bytes of base64 text; WireError where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WireError(what, "holds text that is not base64") from None


def _decode(what: str, data: bytes, kind: type[T], bytes_max: int) -> T:
    if len(data) > bytes_max:
        raise WireError(what, f"larger than {bytes_max} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        unknown = "unknown field" in str(error)  # its name is the sender's word
        reason = "has an unknown field" if unknown else str(error)
        raise WireError(what, printable(reason)[:REASON_MAX]) from None
