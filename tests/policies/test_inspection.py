"""The ``inspection:`` section compiles to what it says, or is refused at its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from policies.errors import PolicyError
from policies.inspection import CompiledInspection
from tests.policies.building import policy_of

if TYPE_CHECKING:
    from tests.policies.building import Compile

CLIENTS = {"clients": {"eng": ["10.0.0.9", "10.1.0.0/16"], "hmi": "10.0.0.7"}}


def compiled(
    compile_text: Compile, section: dict[str, Any], **more: Any
) -> CompiledInspection:
    text = policy_of(inspection=section, **more)
    found = compile_text(text).policy.inspection
    assert found is not None
    return found


def test_nothing_said_is_every_detector_as_it_comes(compile_text: Compile) -> None:
    assert compiled(compile_text, {}) == CompiledInspection()


def test_a_section_with_everything(compile_text: Compile) -> None:
    section = {
        "off": ["M5", "D2"],
        "engineering": ["eng", "hmi", "192.0.2.1", "2001:db8::/64"],
        "learn": "4m", "repeat": "1h",
        "scan": {"units": 20, "addresses": 30, "functions": 10, "devices": 5},
        "exceptions": {"count": 9, "share": 0.5},
        "flood": {"per_second": 50, "times": 2, "unanswered": 100},
        "polls": {"periods": 5}, "frozen": {"times": 30},
    }  # fmt: skip
    found = compiled(compile_text, section, modbus=CLIENTS)
    assert found.off == {"M5", "D2"}
    assert found.engineering == (
        "10.0.0.9", "10.1.0.0/16", "10.0.0.7", "192.0.2.1/32", "2001:db8::/64",
    )  # fmt: skip
    assert (found.learn_s, found.repeat_ns) == (240, 3600 * 10**9)
    assert found.thresholds.scan.devices == 5
    assert found.thresholds.polls.periods == 5
    assert found.thresholds.frozen.times == 30


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"engineering": ["egn"]}, "no client, no address and no network"),
        ({"engineering": ["10.0.0.7/8"]}, "no client, no address and no network"),
        ({"learn": "59s"}, "must be 60 s to 7 d"),
        ({"learn": "8d"}, "must be 60 s to 7 d"),
        ({"repeat": "soon"}, "not a duration"),
        ({"repeat": "1s"}, "must be 10 s to 1 d"),
        ({"off": ["M12"]}, "M12"),
        ({"scan": {"units": 0}}, "units"),
        ({"frozn": {}}, "frozn"),
    ],
    ids=json.dumps,
)
def test_what_does_not_fit_is_refused_with_its_place(
    compile_text: Compile, section: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        compiled(compile_text, section, modbus=CLIENTS)
    assert reason in str(refused.value)
    assert "inspection" in str(refused.value)
