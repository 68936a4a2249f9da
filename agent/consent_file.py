"""The file ``consents.json``: what a person has agreed to (docs/formats/consents.md).

Bytes in, statements out, and back. Whether a statement holds is ``consents``'s.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from agent.errors import BadInput
from policies.model import CONSENTS_MAX
from policies.model_base import Name
from protocols.plain import printable

FILE_NAME: Final = "consents.json"
FILE_BYTES_MAX: Final = 64 * 1024
REASON_MAX: Final = 300  # characters
SCHEMA: Final = "sluicegate/consents/1"
SECOND_NS: Final = 1_000_000_000
LATEST_S: Final = 2**33 - 1  # year 2242: in nanoseconds still below 2**63

Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=LATEST_S)]
By: TypeAlias = Literal["driver", "passenger", "owner", "guardian", "operator"]


class Statement(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One consent as a person gave it. Times are Unix seconds."""

    name: Name
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]  # a new one each time
    given: Seconds
    expires: Seconds
    by: By = "driver"
    opt_in: bool = False  # it is to survive ignition cycles

    @property
    def given_ns(self) -> int:
        """Return when it was given, wall-clock ns."""
        return self.given * SECOND_NS

    @property
    def expires_ns(self) -> int:
        """Return when it ends, wall-clock ns."""
        return self.expires * SECOND_NS


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    schema: Literal["sluicegate/consents/1"]
    consents: Annotated[list[Statement], Meta(max_length=CONSENTS_MAX)]


def parse_consents(text: bytes, file: str = FILE_NAME) -> tuple[Statement, ...]:
    """Return what the file says; BadInput whatever is wrong with it."""
    if len(text) > FILE_BYTES_MAX:
        raise BadInput(file, "", f"larger than {FILE_BYTES_MAX} bytes")
    try:
        found = msgspec.json.decode(text, type=_File).consents
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        place = path.strip("`").removeprefix("$.")
        raise BadInput(file, place, _plain(reason)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput(file, "", "is no JSON") from None
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(file, "consents", f"{twice[0]} is there twice")
    return tuple(found)


def _plain(reason: str) -> str:
    """Return msgspec's reason without words of the file: they may be about a person."""
    for told, plain in (
        ("Object contains unknown field", "has an unknown field"),
        ("Invalid enum value", "is none of the words that may stand here"),
    ):
        if reason.startswith(told):
            return plain
    return printable(reason)[:REASON_MAX]


def format_consents(statements: tuple[Statement, ...]) -> bytes:
    """Return the file that says so."""
    body = msgspec.json.encode(_File(schema=SCHEMA, consents=[*statements]))
    return msgspec.json.format(body, indent=1) + b"\n"
