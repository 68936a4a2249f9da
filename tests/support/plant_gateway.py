"""A gateway of a plant: one proxied or tapped PLC, and a policy with a firewall."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import msgpack

from agent.adapters.device_key import load_or_create
from fleet.audit.verify import Verifier
from fleet.opener import Opener
from tests.support.gateway import NAMES, Gateway, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.audit.report import Report

ITEM = "Plant.Line1.Pump.Speed"
BINDINGS = f"""\
schema: sluicegate/bindings/1
name: plant
modbus:
  - link: plc1
    unit: 1
    points:
      - {{item: {ITEM}, table: 4, address: 7, type: u16, unit: rpm, period: 1s}}
"""
POLICY = """\
schema: sluicegate/policy/1
name: plant
version: 1
min_version: 1
catalogues: [cn-industrial]
home_region: CN
destinations:
  plant: {region: CN, recipients: [oem-2026], suite: x25519-aes256gcm}
rules:
  - {name: events, match: {category: security.event}, to: plant, purpose: watching,
     do: [encrypt]}
  - {name: process, match: {item: "Plant.**"}, to: plant, purpose: operation,
     do: [encrypt]}
retention: {default: 1d}
telemetry: {interval: 1s, checkpoint: 1s}
"""
FIREWALL = """\
modbus:
  mode: MODE
  clients: {hmi: 127.0.0.1}
  rules:
    - {name: poll, from: hmi, to: plc1, unit: 1, fc: [3, 4], addr: [0, 99]}
    - {name: speed, from: hmi, to: plc1, unit: 1, fc: 6, addr: 7, value: [0, 500]}
"""


def policy(mode: str = "enforce") -> str:
    """Return a policy with a firewall; "": without one."""
    return POLICY + (FIREWALL.replace("MODE", mode) if mode else "")


def plant(
    folder: Path, config: str, text: str, *, with_broker: bool = False
) -> Gateway:
    """Return a gateway with these ``[[modbus]]`` and ``[[tap]]`` and no other bus."""
    (folder / "plant.bindings.yaml").write_text(BINDINGS, encoding="ascii")
    settings = Settings(
        policy=text, bindings='["plant.bindings.yaml"]', buses=0, more=config
    )
    return Gateway(folder, settings, with_broker=with_broker)


def public_key(gateway: Gateway) -> bytes:
    """Return the device's public key."""
    file = gateway.state / "device.key"
    return load_or_create(file, gateway.device).public_key()


def values(gateway: Gateway, item: str = ITEM) -> list[float]:
    """Return what envelopes in the spool of a stopped gateway say of an item."""
    opener = Opener(gateway.keys, {gateway.device: public_key(gateway)})
    found: list[float] = []
    with sqlite3.connect(gateway.state / "store.db") as database:
        rows = database.execute("SELECT kind, body FROM spool ORDER BY row").fetchall()
    for kind, body in rows:
        if kind == "key":
            opener.announce(gateway.device, body)
        elif kind in {"data", "event"}:
            for column in opener.open(gateway.device, body):
                if column.item == item:
                    found += [v for _, v, _ in column.rows() if v is not None]
    return found


def audited(gateway: Gateway) -> Report:
    """Return what an auditor finds in the log of a stopped gateway, signed or not."""
    verifier = Verifier(gateway.device, public_key(gateway), behind_ok=True)
    verifier.log("", entries(gateway), [])
    return verifier.report


def entries(gateway: Gateway) -> list[bytes]:
    """Return the evidence of a stopped gateway."""
    with sqlite3.connect(gateway.state / "store.db") as database:
        rows = database.execute("SELECT body FROM entries ORDER BY position").fetchall()
    return [body for (body,) in rows]


def refusals(gateway: Gateway) -> Counter[tuple[str, str, str, str]]:
    """Return what every ``firewall.snap`` of a stopped gateway says, added up."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for body in entries(gateway):
        entry = msgpack.unpackb(body)
        if entry["type"] == "firewall.snap":
            for link, rule, verdict, reason, count in entry["rows"]:
                found[link, rule, verdict, reason] += count
    return found


assert "oem-2026" in NAMES
