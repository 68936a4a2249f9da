"""docs/formats/trust.md: its vector holds, and its table of rules is the code's."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from policies.trust import RULES, TrustError, begin, freshness, offer, open_bundle
from tests.support.make_trust_vectors import vector

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def told(root: Path) -> dict[str, Any]:
    path = root / "docs/formats/vectors/trust.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_vector_is_verified_as_it_says(told: dict[str, Any]) -> None:
    start = begin(told["root"].encode(), told["fleet"])
    files = open_bundle(bytes.fromhex(told["bundle"]))
    trusted, offered = offer(start, files, told["now_ns"])
    found = {
        str(version): {
            "sha256": one.digest.hex(),
            "signers": list(one.signers),
            "devices": list(one.devices),
            "trial_s": one.terms.trial_s,
        }
        for version, one in offered.policies.items()
    }
    assert found == told["policies"]
    assert offered.expires_ns == told["expires_ns"]
    renewal = open_bundle(bytes.fromhex(told["renewal"]))
    trusted, renewed = offer(trusted, renewal, told["now_ns"])
    assert renewed.timestamp_version == told["renewed_version"]
    answer = bytes.fromhex(told["answer"])
    fresh = freshness(trusted, answer, told["nonce"], told["device"])
    assert fresh.time_ns == told["now_ns"]


def test_every_refused_bundle_of_the_vector_is_refused(told: dict[str, Any]) -> None:
    start = begin(told["root"].encode(), told["fleet"])
    good = open_bundle(bytes.fromhex(told["bundle"]))
    trusted, _ = offer(start, good, told["now_ns"])
    assert len(told["refused"]) > 10
    for one in told["refused"]:
        gone = {name for name, text in one["files"].items() if text is None}
        other = {n: text.encode() for n, text in one["files"].items() if n not in gone}
        files = {name: raw for name, raw in good.items() if name not in gone} | other
        with pytest.raises(TrustError) as refusal:
            offer(trusted, files, one["now_ns"])
        assert refusal.value.rule == one["rule"], one["name"]


def test_the_vector_is_what_its_maker_makes(told: dict[str, Any]) -> None:
    assert vector() == told


def test_the_table_of_rules_is_the_code_s(root: Path) -> None:
    page = (root / "docs/formats/trust.md").read_text(encoding="utf-8")
    table = page.split("| rule | refused because |")[1].split("\n\n")[0]
    assert dict(re.findall(r"\| `([\w-]+)` \| (.*?) \|", table)) == RULES
