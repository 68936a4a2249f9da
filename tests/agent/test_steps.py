"""An entry and an ack of one step tell one story."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgpack
import pytest

from agent.activation import Standing, State
from agent.evidence import Evidence
from agent.steps import Moment, Speaker, Versions, ack_of, step_facts
from policies.files import load
from protocols.acks import APPROVERS_MAX, Ack, decode_ack
from protocols.signed import split_signed

if TYPE_CHECKING:
    from agent.control import Accepted

LOCKDOWN = load(None, [], None, None, buses=(), links=()).compiled.policy


def accepted(state: str = "active", *, pushed: bool = False) -> Accepted:
    compiled = SimpleNamespace(policy=LOCKDOWN)
    found = SimpleNamespace(
        compiled=compiled, state=state, signed=object() if pushed else None
    )
    return cast("Accepted", found)


def told(standing: Standing, by: Accepted | None = None, **moment: object) -> Ack:
    speaker = Speaker("gw-1", bytes(16), ("east",), lambda _: bytes(64))
    when = Moment(
        **({"number": 7, "time_ns": 5, "clock": "high", "nonce": ""} | moment)
    )  # type: ignore[arg-type]  # fields by name
    message = ack_of(speaker, when, by or accepted(), standing, Versions(3, 9, 4))
    return decode_ack(split_signed("ack", message)[0])


@pytest.mark.parametrize("state", [s for s in State if s is not State.NONE])
def test_the_entry_and_the_ack_of_a_step_say_the_same(state: State) -> None:
    standing = Standing(
        state=state, name="p", version=3, digest="ab" * 32, attempt=2, slot=17,
        rule="uplink", reason="no link", approvers=("alice", "bob"), weakens=1,
        since_ns=5, evidence_index=40,
    )  # fmt: skip
    ack = told(standing)
    entry = msgpack.unpackb(
        Evidence("gw-1", bytes(16), "test").step(
            5, LOCKDOWN, state.value, step_facts(standing, Versions(3, 9, 4), b"c")
        )
    )
    assert ack.state == entry["step"] == state.value
    assert ack.candidate_digest == entry["digest"].hex()
    assert (ack.candidate_version, ack.attempt) == (entry["version"], entry["attempt"])
    assert (ack.rule, ack.reason) == (entry["rule"], entry["reason"])
    assert list(ack.approvers) == entry["approvers"]
    assert entry["metadata"] == [
        ack.root_version, ack.timestamp_version, ack.targets_version,
    ]  # fmt: skip
    assert ack.policy_digest == entry["policy"].hex() == LOCKDOWN.digest.hex()
    assert (ack.evidence_index, ack.slot, ack.groups) == (40, 17, ("east",))


def test_with_nothing_offered_an_ack_says_what_decides() -> None:
    assert told(Standing()).state == "local"
    assert told(Standing(), accepted("lockdown")).state == "lockdown"
    assert told(Standing(), accepted(pushed=True)).state == "active"


def test_what_a_standing_may_hold_an_ack_may_say() -> None:
    many = tuple(f"person-{number}" for number in range(APPROVERS_MAX + 5))
    standing = Standing(approvers=many, reason="\x1b[2J" + "x" * 500, since_ns=-5)
    ack = told(standing, time_ns=-1, clock="low", nonce="0f" * 16)
    assert len(ack.approvers) == APPROVERS_MAX
    assert "\x1b" not in ack.reason
    assert (ack.time_ns, ack.since_ns, ack.clock) == (0, 0, "low")
    assert ack.nonce == "0f" * 16
