"""The consents file: strict, small, one line where it is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.consent_file import (
    FILE_BYTES_MAX,
    Statement,
    format_consents,
    parse_consents,
)
from agent.errors import BadInput

ONE: dict[str, Any] = {
    "name": "track-service", "id": "5f0c2a9e4b7d41d8a3c6e1f09b82d774",
    "given": 1_790_000_000, "expires": 1_790_604_800, "by": "driver", "opt_in": False,
}  # fmt: skip


def file_of(*statements: dict[str, Any], **fields: Any) -> bytes:
    body = {"schema": "sluicegate/consents/1", "consents": statements, **fields}
    return json.dumps(body).encode()


def test_it_says_what_the_document_says() -> None:
    (one,) = parse_consents(file_of(ONE))
    assert one == Statement(**ONE)
    assert (one.given_ns, one.expires_ns) == (1_790_000_000 * 10**9,
                                              1_790_604_800 * 10**9)  # fmt: skip
    short = {key: ONE[key] for key in ("name", "id", "given", "expires")}
    assert parse_consents(file_of(short)) == (one,)
    assert parse_consents(file_of()) == ()
    assert parse_consents(format_consents((one,))) == (one,)
    assert len(format_consents((one,)).splitlines()) > 5  # a person can read it


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 50_000, "consents.json: "),
        (b" " * (FILE_BYTES_MAX + 1), "larger than 65536 bytes"),
        (b"[]", "Expected `object`"),
        (file_of(schema="sluicegate/consents/2"), "schema: is none of the words"),
        (file_of(more=1), "has an unknown field"),
        (file_of({**ONE, "more": 1}), "has an unknown field"),
        (file_of({**ONE, "x\x1b[2J": 1}), "has an unknown field"),
        (file_of({k: v for k, v in ONE.items() if k != "expires"}),
         "missing required field `expires`"),  # T51: nothing without an end
        (file_of({**ONE, "expires": None}), "expires: Expected `int`"),
        (file_of({**ONE, "expires": "never"}), "expires: Expected `int`"),
        (file_of({**ONE, "expires": 2**33}), "expires: Expected `int` <="),
        (file_of({**ONE, "expires": 1e9}), "consents.json: "),
        (file_of({**ONE, "given": -1}), "given: Expected `int` >= 0"),
        (file_of({**ONE, "name": "a b"}), "name: Expected `str` matching"),
        (file_of({**ONE, "name": "a\n"}), "name: Expected `str` matching"),
        (file_of({**ONE, "id": "5F" * 16}), "id: Expected `str` matching"),
        (file_of({**ONE, "id": "5f" * 16 + "\n"}), "id: Expected `str` matching"),
        (file_of({**ONE, "by": "Zhang San"}), "by: is none of the words"),
        (file_of(ONE, {**ONE, "id": "0" * 32}), "track-service is there twice"),
        (file_of(*[{**ONE, "name": f"n{n}"} for n in range(257)]),
         "consents: Expected `array` of length <= 256"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(text: bytes, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_consents(text)
    line = str(raised.value)
    assert told in line
    assert line.startswith("consents.json: ")
    assert line.isprintable()
    assert len(line) < 400
    assert "Zhang" not in line
