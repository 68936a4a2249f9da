"""Where a fuzzing run starts: small good inputs of every target, made from sources."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.consent_file import Statement, format_consents
from policies.files import shipped_text
from policies.trust import proof
from policies.trust.form import BYTES_MAX
from protocols.acks import Ack, encode_ack
from protocols.bundle import encode_bundle
from protocols.recipients import SCHEMA, RecipientCard, encode_card
from protocols.telemetry import State
from tests.fuzz import seeds_modbus
from tests.fuzz.mutate import world
from tests.fuzz.targets import BINDINGS
from tests.policies.test_policy_hostile import FLOOR, POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

RAW_MAX: Final = 16 * 1024
CATALOGUE: Final = {
    "schema": "sluicegate/catalogue/1", "name": "x", "version": 1,
    "thresholds": [{"id": "T1", "metric": "m", "effect": "e", "value": 1.0,
                    "source": "s", "mark": "ours"}],
    "categories": [{
        "id": "X-1", "category": "x.y", "about": "a", "label": {"tier": "G2"},
        "raises": [{"when": "w", "to": "G3"}], "default": "d", "basis": ["b"],
        "basis_mark": "ours", "items": ["X.**", "Vehicle.*.Y"],
        "finer": [{"than": "1km", "becomes": "x.z"}, {"than": 0.5, "becomes": "x.z"}],
    }, {
        "id": "X-2", "category": "x.z", "about": "a", "default": "d", "basis": ["b"],
        "label": {"tier": "G4", "pi": "sensitive", "geo": "precise"},
        "basis_mark": "ours",
    }],
    "combinations": [{"name": "k", "of": [{"item": "X.Y"}, {"category": "x"}],
                      "every": "1s", "becomes": "x.z"}],
    "volumes": [{"name": "v", "category": "x", "more_than": 5, "unit": "samples",
                 "window": "1d", "becomes": "x.z"}],
    "roles": [{"item": "X.Latitude", "role": "latitude", "group": "X"}],
}  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Return the inputs that a run of a target starts from."""
    return [one for one in _SEEDS[target]() if len(one) <= RAW_MAX]


def _policy() -> Iterator[bytes]:
    yield json.dumps(POLICY).encode()
    for name in ("demo", "factory-line", "lockdown", "passenger-fleet"):
        yield shipped_text("examples", name)


def _bindings() -> Iterator[bytes]:
    yield json.dumps(BINDINGS).encode()
    yield shipped_text("bindings", "sim-plant.bindings")


def _metadata() -> Iterator[bytes]:
    here = world()
    for number, role in enumerate(sorted(BYTES_MAX)):
        raw = here.fleet.metadata
        name = next((n for n in raw if n.endswith(f"{role}.json")), "")
        yield bytes([number]) + raw.get(name, here.fleet.roots[0])
    yield bytes([len(BYTES_MAX)]) + here.trusted.encode()
    _, found = here.offer(here.first)
    kept = proof(here.trusted, found.policies[2])
    yield bytes([len(BYTES_MAX) + 1]) + kept


def _fetched() -> Iterator[bytes]:
    here = world()
    renewal = encode_bundle(here.twin().renew())
    for first in (here.first, encode_bundle({"timestamp.json": b"{}"})):
        yield len(first).to_bytes(2, "big") + first + renewal


def _ack() -> Iterator[bytes]:
    for state, rule in (("active", ""), ("refused", "rollback")):
        yield encode_ack(
            Ack(device="gw-1", number=3, time_ns=5, boot="b", clock="good",
                state=state, rule=rule, groups=("a",), approvers=("alice",))  # type: ignore[arg-type]  # one of the states
        )  # fmt: skip


def _card() -> Iterator[bytes]:
    zeros = base64.b64encode(bytes(32)).decode()
    hybrid = base64.b64encode(bytes(1216)).decode()
    yield encode_card(
        RecipientCard(schema=SCHEMA, name="oem", x25519=zeros, mlkem768x25519=hybrid,
                      receipt_ed25519=zeros, not_before=dt.date(2026, 1, 1),
                      not_after=dt.date(2030, 1, 1))
    )  # fmt: skip


def _netlink() -> Iterator[bytes]:
    """Datagrams that a kernel sent: vcan, vxcan, a controller in every state."""
    file = Path(__file__).parents[1] / "protocols" / "can" / "netlink-links.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        yield bytes.fromhex(json.loads(line)["hex"])


def _state() -> Iterator[bytes]:
    fields = dict.fromkeys(State.__struct_fields__, 1)
    words = {"device": "gw-1", "boot": "00", "agent": "0", "policy_name": "p",
             "policy_digest": "00", "policy_source": "local", "candidate_state": "",
             "policy_state": "active", "clock": "good", "online": True,
             "problems": []}  # fmt: skip
    yield json.dumps(fields | words).encode()


def _consents() -> Iterator[bytes]:
    given = [
        Statement(name=name, id=f"{number:032x}", given=1_782_800_000,
                  expires=1_782_800_000 + 86_400 * number, opt_in=number == 2)
        for number, name in enumerate(("c", "other"), 1)
    ]  # fmt: skip
    yield format_consents(tuple(given[:1]))
    yield format_consents(tuple(given))


_SEEDS: Final = {
    "policy": _policy,
    "bindings": _bindings,
    "catalogue": lambda: iter([json.dumps(CATALOGUE).encode()]),
    "floor": lambda: iter([json.dumps(FLOOR).encode()]),
    "bundle": lambda: iter([world().first, encode_bundle({"timestamp.json": b"{}"})]),
    "offer": lambda: iter([bytes([n] * 24) for n in range(1, 48)]),
    "metadata": _metadata,
    "fetched": _fetched,
    "fetch": lambda: iter([bytes([n, m] * 16) for n in range(5) for m in range(6)]),
    "answer": lambda: iter([world().fleet.answer("00" * 16, "gw-1")]),
    "ack": _ack,
    "card": _card,
    "state": _state,
    "rollout": lambda: iter([world().fleet.rollout_text]),
    "consents": _consents,
    "netlink": _netlink,
    "modbus_pairs": seeds_modbus.pairs,
    "modbus_frames": seeds_modbus.frames,
    "modbus_line": seeds_modbus.lines,
    "modbus_packets": seeds_modbus.packets,
}
