"""What an event about Modbus says, and that every detector has a row."""

from __future__ import annotations

import json
import re

import pytest

from agent.inspection.attack import TECHNIQUES, VERSION
from agent.inspection.findings import CanId, Conversation, Finding, Level
from agent.inspection.kinds import KINDS
from agent.inspection.ocsf import Context, event

CONTEXT = Context(
    "gw-1", ("can0",), b"\x11" * 32, "high", "0.1.0", ("plc1", "plc2"), frozenset({1})
)
WHO = Conversation("10.0.0.66", "10.0.0.20", 0, 3)


def body(finding: Finding) -> dict:
    return json.loads(event(finding, CONTEXT, 0))


def test_an_event_about_modbus_names_hosts_techniques_and_old_ids() -> None:
    said = Finding("M2", Level.ALERT, WHO, 4, 5 * 10**9, 6 * 10**9, "at 100")
    told = body(said)
    assert told["device"]["interface_name"] == "plc1"
    assert told["unmapped"]["modbus"] == {
        "client": "10.0.0.66", "server": "10.0.0.20", "link": "plc1", "unit": 3,
    }  # fmt: skip
    assert [one["technique"]["uid"] for one in told["finding_info"]["attacks"]] == [
        "T1692.001", "T0836",
    ]  # fmt: skip
    assert {one["version"] for one in told["finding_info"]["attacks"]} == {VERSION}
    assert told["unmapped"]["attack_v18"] == {"T1692.001": "T0855"}
    assert told["unmapped"]["qsev"]["security_event"] == 0x8102
    assert told["unmapped"]["risk_type"] == "abuse"
    assert told["count"] == 4
    assert "certified_fp_per_h" not in told["unmapped"]


def test_a_device_without_a_name_and_many_devices_are_told_as_such() -> None:
    unlisted = Conversation("10.0.0.66", "10.0.0.99", 255)
    told = body(Finding("M1", Level.ALERT, unlisted, 1, 0, 0))
    assert told["unmapped"]["modbus"] == {"client": "10.0.0.66", "server": "10.0.0.99"}
    assert told["device"]["interface_name"] == "10.0.0.99"
    many = Conversation("10.0.0.66", "", 255)
    assert body(Finding("M4", Level.ALERT, many, 1, 0, 0))["unmapped"]["modbus"] == {
        "client": "10.0.0.66"
    }


def test_only_what_a_proxy_holds_back_is_denied() -> None:
    for link, refused, action in ((0, True, "observed"), (1, False, "observed"),
                                  (1, True, "denied")):  # fmt: skip
        who = Conversation("a", "b", link)
        said = Finding("M2", Level.ALERT, who, 1, 0, 0, refused=refused)
        assert body(said)["action"] == action


def test_a_learned_finding_carries_its_bound() -> None:
    said = Finding("M9", Level.ALERT, WHO, 1, 0, 0, bound=3.21987)
    assert body(said)["unmapped"]["certified_fp_per_h"] == 3.22


def test_variants_have_events_of_their_own() -> None:
    uids = {
        body(Finding("M2", Level.ALERT, WHO, 1, 0, 0, variant=v))["finding_info"]["uid"]
        for v in ("", "coil", "read")
    }
    assert len(uids) == 3


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_complete(name: str) -> None:
    kind = KINDS[name]
    assert kind.severity_id in range(1, 6)
    assert kind.risk in {
        "leak",
        "tamper",
        "abuse",
        "illegal access",
        "abnormal traffic",
    }
    assert set(kind.attacks) <= TECHNIQUES.keys()
    detector, _, variant = name.partition("/")
    subject = CanId(0, 1) if detector[0] in "DI" else WHO
    told = body(Finding(detector, Level.ALERT, subject, 1, 0, 0, variant=variant))
    assert told["finding_info"]["title"] == kind.title


def test_security_events_and_techniques_are_told_apart() -> None:
    assert len({kind.qsev for kind in KINDS.values()}) == len(KINDS)
    for one in TECHNIQUES.values():
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", one.id)
        assert not one.alias or re.fullmatch(r"T\d{4}", one.alias)
