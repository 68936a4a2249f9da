"""MQTT topic names. One place builds and reads them, so that no name can be forged.

``sg/1/<fleet>/<device>/<kind>`` up and down, ``sg/1/<fleet>/policy/<part>`` for all
devices of a fleet. Fleet and device names hold none of ``+ # / $`` (MQTT 5.0 section
4.7), and no device is called ``policy``.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.errors import WireError

ROOT: Final = "sg/1"
UP: Final = ("data", "key", "audit", "event", "state", "ack", "telemetry")
DOWN: Final = ("command", "receipt")
POLICY: Final = ("bundle", "timestamp")
TOPIC_BYTES_MAX: Final = 256
_POLICY_LEVEL: Final = "policy"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_name(what: str, name: str) -> str:
    """Return a fleet or device name that fits into a topic, else WireError."""
    if not _NAME.fullmatch(name):
        raise WireError(what, "is not 1 to 64 of A-Z a-z 0-9 _ . -")
    if name == _POLICY_LEVEL:
        raise WireError(what, "must not be 'policy'")
    return name


def device_topic(fleet: str, device: str, kind: str) -> str:
    """Return the topic of one kind of message of a device; WireError on a bad name."""
    if kind not in UP + DOWN:
        raise WireError("topic", "no such kind of message")
    return "/".join(
        (ROOT, check_name("fleet name", fleet), check_name("device name", device), kind)
    )


def policy_topic(fleet: str, part: str) -> str:
    """Return the retained topic of the fleet's policy bundle or its timestamp."""
    if part not in POLICY:
        raise WireError("topic", "no such part of a policy")
    return "/".join((ROOT, check_name("fleet name", fleet), _POLICY_LEVEL, part))


def collector_filters(fleet: str) -> tuple[str, ...]:
    """Return the subscriptions of a collector: every kind, from every device."""
    return tuple(f"{ROOT}/{check_name('fleet name', fleet)}/+/{kind}" for kind in UP)


def device_filters(fleet: str, device: str) -> tuple[str, ...]:
    """Return the subscriptions of a device."""
    own = tuple(device_topic(fleet, device, kind) for kind in DOWN)
    return own + tuple(policy_topic(fleet, part) for part in POLICY)


def parse_topic(topic: str, fleet: str) -> tuple[str, str]:
    """Return (device, kind) of a device topic of ``fleet``; WireError if it is none."""
    if len(topic) > TOPIC_BYTES_MAX:
        raise WireError("topic", f"longer than {TOPIC_BYTES_MAX}")
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or parts[2] != fleet:
        raise WireError("topic", "is not of this fleet")
    kind = parts[4]
    if kind not in UP + DOWN:
        raise WireError("topic", "no such kind of message")
    return check_name("device name", parts[3]), kind
