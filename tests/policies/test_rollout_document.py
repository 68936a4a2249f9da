"""docs/formats/rollout.md and its vector are what the code gives, and what it says.

Slots, window and signature are worked out here by other means than the code's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policies.rollout import Rollout, decide, parse_rollout
from protocols.acks import Ack, open_ack
from tests.support.make_rollout_vector import instant_ns, vector

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/formats/rollout.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kept(root: Path) -> dict[str, Any]:
    text = (root / "docs/formats/vectors/rollout.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_vector_is_current(kept: dict[str, Any]) -> None:
    """Else run ``python -m tests.support.make_rollout_vector``."""
    assert kept == json.loads(json.dumps(vector()))


def test_the_page_shows_the_vector(page: str, kept: dict[str, Any]) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert block.replace("\n", "") + "\n" == kept["file"]
    assert hashlib.sha256(kept["file"].encode()).hexdigest() in page
    assert f"{len(kept['file'])} bytes" in page
    rows = re.findall(
        r"^\| `(gw-\d+)` \| (\w+) \| (\d+) \| (\S+) \| (.+?) \|$", page, re.MULTILINE
    )
    assert rows == [
        (
            one["device"], *(one["groups"] or ["none"]), str(one["slot"]), one["time"],
            str(one["wants"] or "what it has"),
        )
        for one in kept["decisions"]
    ]  # fmt: skip


def test_the_decisions_hold_worked_out_otherwise(kept: dict[str, Any]) -> None:
    rollout = json.loads(kept["file"])
    for one in kept["decisions"]:
        text = rollout["salt"] + "|" + one["device"]
        number = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % 10_000
        assert number == one["slot"]
        in_group = bool({*rollout["groups"]} & {*one["groups"]})
        named = one["device"] in rollout["devices"]
        there = dt.timezone(dt.timedelta(hours=8))
        local = dt.datetime.fromisoformat(one["time"]).astimezone(there)
        open_ = local.weekday() >= 5 and 1 <= local.hour < 5
        wants = 42
        if named or (in_group and number < rollout["upto"]):
            wants = 43 if open_ else None
        assert one["wants"] == wants
        read = parse_rollout(kept["file"].encode())
        decided = decide(
            read, one["device"], one["groups"], instant_ns(one["time"]), clock_ok=True
        )
        assert decided.version_wanted == wants


def test_the_ack_of_the_vector_is_signed_as_the_page_says(kept: dict[str, Any]) -> None:
    message = bytes.fromhex(kept["ack"]["message"])
    public = bytes.fromhex(kept["ack"]["public_key"])
    body, signature = msgpack.unpackb(message)
    key = Ed25519PublicKey.from_public_bytes(public)
    key.verify(signature, b"sluicegate/1/ack\0" + body)
    assert json.loads(body)["state"] == "refused"
    assert open_ack(message, public, "gw-7").rule == "floor"


def test_the_page_names_every_field(page: str) -> None:
    tables = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    for name in (*Rollout.__struct_fields__, *Ack.__struct_fields__):
        assert f"`{name}`" in tables, name
