"""Writes docs/formats/vectors/rollout.json: -m tests.support.make_rollout_vector."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from policies.rollout import Rollout, decide, encode_rollout, slot
from protocols.acks import Ack, pack_ack
from tests.support.sealing import Device

FILE = Path("docs/formats/vectors/rollout.json")
SEED = 7  # 32 bytes of it are the private key
ROLLOUT = Rollout(
    name="winter", candidate=43, stable=42, salt="00112233445566778899aabbccddeeff",
    upto=100, groups=("pilots",), devices=("gw-7",),
    window="Sat,Sun 01:00-05:00 +08:00",
)  # fmt: skip
ASKED = [
    ("gw-0", ["pilots"], "2026-01-02T18:00:00Z"),
    ("gw-7", [], "2026-01-02T18:00:00Z"),
    ("gw-32", ["pilots"], "2026-01-02T18:00:00Z"),
    ("gw-32", [], "2026-01-02T18:00:00Z"),
    ("gw-68", ["pilots"], "2026-01-02T21:00:00Z"),
]
ACK = Ack(
    device="gw-7", number=12, time_ns=1_767_376_800_000_000_000, boot="0a1b2c3d",
    clock="good", root_version=1, timestamp_version=9, targets_version=4,
    policy_name="passenger-fleet", policy_version=42, policy_digest="11" * 32,
    candidate_version=43, candidate_digest="22" * 32, attempt=1, state="refused",
    rule="floor", reason="positions-coarse: needs a grid of 1000 m or more", slot=2317,
    approvers=("alice", "bob"), evidence_index=301,
    since_ns=1_767_376_800_000_000_000,
)  # fmt: skip


def instant_ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def vector() -> dict[str, object]:
    """Return the vector; nothing in it is random."""
    return {
        "format": "docs/formats/rollout.md, version 1",
        "file": encode_rollout(ROLLOUT).decode(),
        "decisions": [
            {
                "device": device,
                "groups": groups,
                "slot": slot(ROLLOUT.salt, device),
                "time": time,
                "wants": decide(
                    ROLLOUT, device, groups, instant_ns(time), clock_ok=True
                ).version_wanted,
            }
            for device, groups, time in ASKED
        ],
        "ack": {
            "public_key": Device("gw-7", SEED).public_key().hex(),
            "message": pack_ack(ACK, Device("gw-7", SEED).sign).hex(),
        },
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vector(), indent=1) + "\n", encoding="utf-8")
