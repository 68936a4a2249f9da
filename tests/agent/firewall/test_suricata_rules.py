"""Suricata's rules as rules of ours: as many alerts as its own test expects."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from policies.firewall.compile import compile_firewall
from policies.parse import parse_policy
from protocols.capture.ethernet import SegmentParser
from protocols.modbus.pairs import concat_pairs, decode_pairs
from protocols.modbus.streams import Streams

if TYPE_CHECKING:
    from pathlib import Path

# By sid. Suricata's addresses begin at 1, and the ends of its ranges are outside.
RULES: dict[int, dict[str, Any]] = {
    1: {"fc": 1},
    2: {"fc": "public"},
    3: {"fc": [1, 2, 3, 4]},
    4: {"unit": 10},
    5: {"unit": [10, 255], "fc": 1, "addr": 0},
    6: {"fc": [5, 6, 15, 16, 22, 23]},
    7: {"fc": 8},
}


def expected(text: str) -> dict[int, int]:
    """Return sid -> how often, from test.yaml: the first filter of each sid."""
    found: dict[int, int] = {}
    for count, rest in re.findall(r"count: (\d+)(.*?)(?=- filter|\Z)", text, re.DOTALL):
        sid = re.search(r"alert.signature_id: (\d+)", rest)
        if sid is not None:
            found.setdefault(int(sid[1]), int(count))
    return found


@pytest.mark.parametrize("sid", RULES)
def test_as_many_alerts_as_suricata(data: Path, sid: int) -> None:
    folder = data / "modbus-suricata"
    section = {"rules": [{"name": f"sid-{sid}", "do": "alert", **RULES[sid]}]}
    policy = {"schema": "sluicegate/policy/1", "name": "p", "version": 1,
              "catalogues": ["cn-industrial"], "modbus": section}  # fmt: skip
    firewall = compile_firewall(parse_policy(json.dumps(policy).encode()), (), (), ())
    assert firewall is not None
    parser, streams = SegmentParser(), Streams()
    segments = parser.feed((folder / "modbus.pcap").read_bytes())
    pairs = concat_pairs([streams.feed(segments), streams.finish()])
    told = Judge(firewall, Memory()).judge_batch(
        decode_pairs(pairs), streams.peers.names, clock_ok=True
    )
    # One ADU says that it has 34,820 bytes: an alert for function 7 here, an event of
    # its decoder, not of a rule, for Suricata.
    lies = told.malformed & (told.function == 7)
    assert int(lies.sum()) == 1
    wanted = expected((folder / "test.yaml").read_text())[sid]
    assert int(((told.alert >= 0) & ~lies).sum()) == wanted
