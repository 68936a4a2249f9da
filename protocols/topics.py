"""MQTT topics (DESIGN section 8). Names are checked so that none holds a wildcard.

Up:   ``sg/1/<fleet>/<device>/{data,key,audit,event,state,ack,telemetry,enrol}``
Down: ``sg/1/<fleet>/<device>/{command,receipt,enrolled}``
      ``sg/1/<fleet>/policy/{bundle,timestamp}``
"""

from __future__ import annotations

import re
from typing import Final

from protocols.errors import WireError

PREFIX: Final = "sg/1"
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UP: Final = frozenset(
    {"data", "key", "audit", "event", "state", "ack", "telemetry", "enrol"}
)
NOT_COLLECTED: Final = frozenset({"ack", "enrol"})  # the desk's; the authority's
DOWN: Final = frozenset({"command", "receipt", "enrolled"})
POLICY: Final = frozenset({"bundle", "timestamp"})
RESERVED: Final = "policy"  # a device of this name would shadow the policy topics


def check_name(what: str, name: str) -> str:
    """Return ``name``; WireError where it is no name of a fleet or device."""
    if not NAME.fullmatch(name) or name == RESERVED:
        raise WireError(what, f"must match {NAME.pattern} and not be '{RESERVED}'")
    return name


def up_topic(fleet: str, device: str, kind: str) -> str:
    """Return the topic that a device publishes ``kind`` on."""
    if kind not in UP:
        raise WireError("topic", "no such kind")
    return (
        f"{PREFIX}/{check_name('fleet', fleet)}/{check_name('device', device)}/{kind}"
    )


def down_topic(fleet: str, device: str, kind: str) -> str:
    """Return the topic that a device subscribes to for ``kind``."""
    if kind not in DOWN:
        raise WireError("topic", "no such kind")
    return (
        f"{PREFIX}/{check_name('fleet', fleet)}/{check_name('device', device)}/{kind}"
    )


def policy_topic(fleet: str, part: str) -> str:
    """Return the retained topic of the fleet's policy bundle or of its timestamp."""
    if part not in POLICY:
        raise WireError("topic", "no such part of a policy")
    return f"{PREFIX}/{check_name('fleet', fleet)}/{RESERVED}/{part}"


def up_filters(fleet: str) -> list[str]:
    """Return the subscriptions of a collector of the fleet."""
    kinds = sorted(UP - NOT_COLLECTED)
    return [f"{PREFIX}/{check_name('fleet', fleet)}/+/{kind}" for kind in kinds]


def parse_up(topic: str) -> tuple[str, str, str]:
    """Return (fleet, device, kind) of an up topic; WireError where it is none."""
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != PREFIX or parts[4] not in UP:
        raise WireError("topic", "not sg/1/<fleet>/<device>/<kind>")
    return check_name("fleet", parts[2]), check_name("device", parts[3]), parts[4]
