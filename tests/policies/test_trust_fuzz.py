"""Whatever stands in signed metadata, even well signed: accepted, or a TrustError.

Any other exception would take the daemon down. A node of a good metadata file's JSON is
replaced by something else, and the right keys sign: an insider's or a bug's metadata.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import event, given, settings
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from policies.trust import RULES, Trusted, TrustError, begin, offer, open_bundle, reopen
from policies.trust.form import check_form
from protocols.bundle import encode_bundle
from tests.support.examples import upto
from tests.support.fleet_trust import (
    NOW_NS,
    FleetTrust,
    compact,
    key_id,
    private_key,
)

SIGNERS = {
    "root": ("root-1", "root-2"),
    "targets": ("alice", "bob"),
    "rollout": ("desk",),
    "snapshot": ("snapshot",),
    "timestamp": ("timestamp",),
}
scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0" * 64, "2026-07-09T00:00:00Z", "ed25519", "*", "\ud800"])
)
plain = st.recursive(
    scalar,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@cache
def start() -> tuple[FleetTrust, Trusted]:
    fleet = FleetTrust()
    fleet.add_policy(1, devices=["gw-1"], terms={"trial_s": 5}, cards={"oem": b"{}"})
    fleet.roll_out(1)
    trusted, _ = offer(begin(fleet.roots[0], fleet.name), fleet.publish(), NOW_NS)
    return fleet, trusted


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every node below the top."""
    found: list[tuple[Any, ...]] = []
    inner = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    for key, one in inner:
        found += [(*path, key), *places(one, (*path, key))]
    return found


def changed(signed: Any, path: tuple[Any, ...], new: Any, *, gone: bool) -> Any:
    out = copy.deepcopy(signed)
    node = out
    for key in path[:-1]:
        node = node[key]
    if gone:
        del node[path[-1]]
    else:
        node[path[-1]] = new
    return out


def signed_by(signed: Any, names: tuple[str, ...]) -> bytes:
    """Return the file, signed over what tuf would sign, or over nothing sensible."""
    try:
        over = encode_canonical(signed).encode()
    except (FormatError, UnicodeEncodeError):
        over = b""
    signatures = [
        {"keyid": key_id(name), "sig": private_key(name).sign(over).hex()}
        for name in names
    ]
    return compact({"signatures": signatures, "signed": signed})


@settings(max_examples=upto(300), deadline=None)
@given(st.sampled_from(sorted(SIGNERS)), st.data())
def test_a_changed_node_is_taken_or_refused(role: str, data: st.DataObject) -> None:
    honest, trusted = start()
    fleet = copy.deepcopy(honest)
    if role == "root":
        fleet.rotate()
        raw = fleet.roots[-1]
    else:
        fleet.publish()
        raw = next(r for n, r in fleet.metadata.items() if n.endswith(f"{role}.json"))
    signed = json.loads(raw)["signed"]
    path = data.draw(st.sampled_from(places(signed)))
    other = changed(signed, path, data.draw(plain), gone=data.draw(st.booleans()))
    body = signed_by(other, SIGNERS[role])
    if role == "root":
        fleet.roots[-1] = body
        files = fleet.publish()
    else:
        fleet._put(role, body)
        if role in {"targets", "rollout"}:
            fleet._snapshot()
        if role != "timestamp":
            fleet._timestamp()
        files = fleet.bundle()
    try:
        new, offered = offer(trusted, files, NOW_NS)
    except TrustError as error:
        rule = error.rule
    else:
        rule = "accepted"
    event(rule)
    assert rule in {*RULES, "accepted"}
    if rule == "accepted":
        assert reopen(new.encode(), fleet.roots[0], fleet.name) == (new, offered)


@given(st.binary(max_size=300), st.sampled_from(sorted(SIGNERS)))
def test_any_bytes_are_metadata_or_refused(raw: bytes, role: str) -> None:
    with pytest.raises(TrustError) as refusal:
        check_form(role, raw)
    assert refusal.value.rule in RULES


@given(st.binary(max_size=300))
def test_any_stored_bytes_are_refused(data: bytes) -> None:
    fleet, _ = start()
    with pytest.raises(TrustError):
        reopen(data, fleet.roots[0], "north")


@given(st.data())
def test_a_changed_byte_of_what_is_stored_is_refused_or_no_matter(
    data: st.DataObject,
) -> None:
    fleet, trusted = start()
    stored = bytearray(trusted.encode())
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    try:
        again, _ = reopen(bytes(stored), fleet.roots[0], "north")
    except TrustError:
        return
    # only the floors are not signed: they are ours, not the fleet's
    assert (again.roots, again.targets, again.files) == (
        trusted.roots,
        trusted.targets,
        trusted.files,
    )


@given(st.binary(max_size=400))
def test_any_message_is_a_bundle_or_refused(message: bytes) -> None:
    try:
        files = open_bundle(message)
    except TrustError as error:
        rule = error.rule
    else:
        assert encode_bundle(files) == message
        return
    assert rule in RULES
