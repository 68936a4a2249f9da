"""Who may renew, and what was issued: one file beside each device's registration.

``NAME.issued.json`` holds the newest request of a device that was answered, and the
answer. A request that comes twice gets the same answer again; an older one is refused,
so that nobody has a key certified anew that its device has given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from fleet.enrol.issuing import Issuer, answer_of, issued
from fleet.errors import BadInput, Refused
from fleet.files import read_limited, replace
from fleet.registry import load_device
from protocols.enrolment import (
    RENEWAL_BYTES_MAX,
    Answer,
    open_message,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from protocols.enrolment import Asked

SCHEMA: Final = "sluicegate/issued/1"
SUFFIX: Final = ".issued.json"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    request: str  # SHA-256 of the body, hex
    time_ns: Annotated[int, msgspec.Meta(ge=0)]
    answer: Answer  # without broker and root


class Desk:
    """Renews certificates of one fleet; the registry says whose."""

    def __init__(self, fleet: str, devices: Path, issuer: Issuer) -> None:
        """Take the registry's folder, looked at for each request."""
        self._fleet = fleet
        self._devices = devices
        self._issuer = issuer

    def renewed(self, device: str, message: bytes, now: dt.datetime) -> Answer:
        """Return the answer to a request that came on the topic of ``device``.

        (1) the device is enrolled (2) its identity signed (3) it speaks of itself
        (4) it is newer than the last one, or the same. Refused says which is not so.
        """
        identity = load_device(self._devices, device)
        if identity is None:  # (1)
            raise Refused("not-enrolled", f"{device} is not in the registry")
        try:
            asked = open_message(message, identity)  # (2)
        except WireError as error:
            raise Refused("request", error.reason) from None
        if (asked.request.device, asked.request.fleet) != (device, self._fleet):  # (3)
            raise Refused("wrong-device", "the request is of another device")
        last = self._last(device)
        if last is not None and last.request == asked.digest:
            return last.answer
        if last is not None and asked.request.time_ns <= last.time_ns:  # (4)
            raise Refused("replayed", "the request is older than the last answered")
        try:
            chain = issued(asked, self._issuer, now)
        except WireError as error:
            raise Refused("request", error.reason) from None
        answer = answer_of(asked, chain)
        remember(self._devices, asked, answer)  # durable before it is sent
        return answer

    def _last(self, device: str) -> _File | None:
        path = self._devices / f"{device}{SUFFIX}"
        if not path.exists():
            return None
        try:
            form = msgspec.json.decode(
                read_limited(path, 2 * RENEWAL_BYTES_MAX), type=_File
            )
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(str(path), "", str(error)) from None
        if form.schema != SCHEMA:
            raise BadInput(str(path), "schema", f"is not {SCHEMA}")
        return form


def remember(devices: Path, asked: Asked, answer: Answer) -> None:
    """Keep a request and its answer beside the registration."""
    bare = msgspec.structs.replace(answer, broker=None, root="")
    form = _File(SCHEMA, asked.digest, asked.request.time_ns, bare)
    replace(devices / f"{asked.request.device}{SUFFIX}", msgspec.json.encode(form))
