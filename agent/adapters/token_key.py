"""The device's Ed25519 identity behind PKCS#11: a secure element, a smart card, an HSM.

``pkcs11:token=NAME;object=LABEL?module-path=FILE&pin-source=FILE`` (RFC 7512). The key
is made in the token, marked sensitive and not extractable, and signs there (CKM_EDDSA,
PKCS#11 3.0). The PIN is in a file of its own, never in the configuration. Needs the
extra ``sluicegate[pkcs11]``.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from agent.adapters.files import read_secret
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SCHEME: Final = "pkcs11:"
WHAT: Final = "pkcs11"
PIN_BYTES_MAX: Final = 256
PUBLIC_BYTES: Final = 32
WANTED: Final = ("token", "object", "module-path", "pin-source")
EDWARDS25519: Final = b"\x13\x0cedwards25519"  # PKCS#11 3.0, 2.3.10: curveName
HINT: Final = f"{SCHEME}token=NAME;object=LABEL?module-path=FILE&pin-source=FILE"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the key is; ``pin_source`` as it stands in the URI."""

    token: str
    label: str
    module: str
    pin_source: str


def parse_uri(text: str, file: str) -> Place:
    """Return what a PKCS#11 URI says; BadInput names what is missing or not taken."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found: dict[str, str] = {}
    for part in [*path.split(";"), *query.split("&")]:
        name, _, value = part.partition("=")
        if name not in WANTED or name in found or not value:
            reason = "cannot be read" if name in WANTED else f"{name!r} is not taken"
            raise BadInput(file, "identity.key", reason, HINT)
        found[name] = unquote(value)
    missing = [name for name in WANTED if name not in found]
    if missing:
        raise BadInput(file, "identity.key", f"names no {missing[0]}", HINT)
    return Place(*(found[name] for name in WANTED))


class TokenKey:
    """Implements ``agent.ports.Signer``; may be called from more than one thread."""

    def __init__(self, device: str, place: Place, pin: str) -> None:
        """Nothing is opened yet."""
        self.device = device
        self._place = place
        self._pin = pin
        self._lock = threading.Lock()
        self._session: Any = None
        self._private: Any = None
        self._public = b""

    def __repr__(self) -> str:
        """Name the device and nothing else."""
        return f"TokenKey({self.device!r})"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature (RFC 8032); Unavailable without token.

        Where the token was away for a moment, its session is opened anew once.
        """
        pkcs11 = _library()
        with self._lock:
            try:
                return self._signed(pkcs11, message)
            except pkcs11.PKCS11Error:
                self._session = None
            try:
                return self._signed(pkcs11, message)
            except pkcs11.PKCS11Error as error:
                self._session = None
                raise _away(error) from None

    def public_key(self) -> bytes:
        """Return the 32-byte Ed25519 public key."""
        return self._public

    def open(self, *, create: bool) -> None:
        """Log in and find the key, or make it; BadInput, Unavailable say why not."""
        pkcs11 = _library()
        with self._lock:
            try:
                self._open(pkcs11, create=create)
            except pkcs11.NoSuchKey:
                reason = f"the token has no Ed25519 key {self._place.label!r}"
                raise BadInput("", WHAT, reason, "sluicegate provision begin") from None
            except pkcs11.PKCS11Error as error:
                raise _away(error) from None

    def _signed(self, pkcs11: ModuleType, message: bytes) -> bytes:
        if self._session is None:
            self._open(pkcs11, create=False)
        signature: bytes = self._private.sign(message, mechanism=pkcs11.Mechanism.EDDSA)
        return signature

    def _open(self, pkcs11: ModuleType, *, create: bool) -> None:
        try:
            library = pkcs11.lib(self._place.module)
        except (OSError, RuntimeError):  # no such file, or no such module
            raise BadInput(self._place.module, "", "is no PKCS#11 module") from None
        token = library.get_token(token_label=self._place.token)
        try:
            self._session = token.open(rw=create, user_pin=self._pin)
        except pkcs11.UserAlreadyLoggedIn:  # a login is the whole process's
            self._session = token.open(rw=create)
        wanted = {
            "key_type": pkcs11.KeyType.EC_EDWARDS,
            "label": self._place.label,
        }
        get: Callable[..., Any] = self._session.get_key
        kind = pkcs11.ObjectClass
        try:
            self._private = get(object_class=kind.PRIVATE_KEY, **wanted)
        except pkcs11.NoSuchKey:
            if not create:
                raise
            self._make(pkcs11)
            self._private = get(object_class=kind.PRIVATE_KEY, **wanted)
        public = get(object_class=kind.PUBLIC_KEY, **wanted)
        point: bytes = public[pkcs11.Attribute.EC_POINT]
        if self._public not in {b"", point[-PUBLIC_BYTES:]}:
            raise Unavailable(WHAT, "the token has another key than before")
        self._public = point[-PUBLIC_BYTES:]  # an OCTET STRING: two bytes before it

    def _make(self, pkcs11: ModuleType) -> None:
        parameters = self._session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS,
            {pkcs11.Attribute.EC_PARAMS: EDWARDS25519},
            local=True,
        )
        flags = {
            pkcs11.Attribute.SENSITIVE: True,
            pkcs11.Attribute.EXTRACTABLE: False,
        }
        parameters.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            store=True,
            label=self._place.label,
            private_template=flags,
        )


def token_key(
    device: str, text: str, file: str, of: Callable[[str], str], *, create: bool
) -> TokenKey:
    """Return the key that a URI in the configuration names; BadInput, Unavailable.

    ``of`` gives the path of the PIN's file. ``create``: make it where there is none.
    """
    place = parse_uri(text, file)
    pin = read_secret(Path(of(place.pin_source)), PIN_BYTES_MAX)
    key = TokenKey(device, place, pin.decode("utf-8", "replace").rstrip("\r\n"))
    key.open(create=create)
    return key


def _library() -> ModuleType:
    try:
        return importlib.import_module("pkcs11")
    except ImportError:
        reason = "needs the extra sluicegate[pkcs11]"
        raise BadInput(
            "", "identity.key", reason, "pip install python-pkcs11"
        ) from None


def _away(error: Exception) -> Unavailable:
    # the library's errors are names of PKCS#11's return codes; they hold no secret
    return Unavailable(WHAT, f"the token says {type(error).__name__}")
