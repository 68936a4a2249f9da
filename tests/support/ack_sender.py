"""Devices that say by signed acks where they stand in a rollout."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policies.rollout import Rollout, slot
from protocols.acks import Ack, pack_ack

SALT = "00112233445566778899aabbccddeeff"
NOW_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC


class AckSender:
    """One device with its own key; ``number`` rises with every ack."""

    def __init__(self, device: str, groups: tuple[str, ...] = ()) -> None:
        self.device = device
        self.groups = groups
        self.number = 0
        seed = device.encode().ljust(32, b".")[:32]
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def says(self, rollout: Rollout, state: str, **fields: Any) -> bytes:
        """Return the signed ack of a step in ``rollout``."""
        self.number = fields.pop("number", self.number + 1)
        decides = rollout.candidate if state in {"trial", "active"} else rollout.stable
        whole = {
            "device": self.device, "number": self.number, "time_ns": NOW_NS,
            "boot": "b", "clock": "good", "state": state, "groups": self.groups,
            "policy_version": decides, "candidate_version": rollout.candidate,
            "attempt": rollout.attempt, "slot": slot(rollout.salt, self.device),
            "rule": "floor" if state in {"refused", "reverted"} else "",
            **fields,
        }  # fmt: skip
        return pack_ack(Ack(**whole), self._key.sign)


def a_rollout(**fields: Any) -> Rollout:
    base = {"name": "winter", "candidate": 43, "stable": 42, "salt": SALT}
    return Rollout(**{**base, **fields})


def a_fleet(count: int, groups: tuple[str, ...] = ()) -> list[AckSender]:
    return [AckSender(f"gw-{n:05}", groups) for n in range(count)]
