"""python-tuf's own client as oracle: we never accept what it refuses.

Both are shown the same files, which hypothesis makes from an honest fleet's by what the
broker, a thief of keys or a careless operator could do. Its clock is set to ours.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import event, example, given, settings
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from policies.trust import TrustError, begin, offer
from tests.support.examples import upto
from tests.support.fleet_trust import DAY_S, NS, FleetTrust, compact, resealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from policies.trust import Trusted

Op = tuple[str, int, int]
NAMES = (
    "root-1",
    "root-2",
    "root-3",
    "new-1",
    "new-2",
    "alice",
    "bob",
    "carol",
    "mallory",
)


class FileFetcher(FetcherInterface):
    """The files of a bundle as a web server would give them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        body = self._files.get(url.rpartition("/")[2])
        if body is None:
            raise DownloadHTTPError("not there", 404)
        return iter([body])


def updater_takes(
    root: bytes,
    history: list[Mapping[str, bytes]],
    now_s: int,
    paths: list[str],
    before_s: int | None = None,
) -> bool:
    """Tell whether python-tuf takes the last of the offers, after those before it.

    Those were taken at ``before_s``: what is out of date by now was not so then.
    """
    with TemporaryDirectory() as folder:
        metadata, targets = Path(folder, "m"), Path(folder, "t")
        metadata.mkdir()
        targets.mkdir()
        for files in history:
            updater = Updater(
                str(metadata),
                "http://fleet/metadata",
                str(targets),
                "http://fleet/targets",
                FileFetcher(files),
                bootstrap=root,
            )
            is_last = files is history[-1]
            at_s = now_s if is_last or before_s is None else before_s
            updater._trusted_set.reference_time = dt.datetime.fromtimestamp(
                at_s, dt.UTC
            )
            try:
                updater.refresh()
                for path in paths:
                    found = updater.get_targetinfo(path)
                    if found is not None:
                        updater.download_target(found)
            except (RepositoryError, DownloadError):
                if is_last:
                    return False
    return True


@cache
def start() -> tuple[FleetTrust, Trusted, dict[str, bytes]]:
    """Return a fleet whose device has taken two bundles, and the first of them."""
    fleet = FleetTrust()
    fleet.add_policy(1)
    fleet.roll_out(1)
    first = fleet.publish()
    trusted, _ = offer(begin(fleet.roots[0], fleet.name), first, fleet.now_s * NS)
    fleet.add_policy(2)
    fleet.roll_out(2, 1)
    fleet.rotate()
    trusted, _ = offer(trusted, fleet.publish(), fleet.now_s * NS)
    return fleet, trusted, first


# --- What can be done to a repository: each takes two small numbers -------------------


def _choice(number: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(NAMES) if number >> place & 1)


def _sign(fleet: FleetTrust, a: int, b: int) -> None:
    fleet.signed_by = _choice(a | b << 8) or ("alice",)


def _policy(fleet: FleetTrust, a: int, b: int) -> None:
    fleet.add_policy(a % 5 + 1, min_version=min(b % 3 + 1, a % 5 + 1), text=bytes([b]))


def _roll(fleet: FleetTrust, a: int, b: int) -> None:
    fleet.roll_out(a % 4 + 2, b % 2)


def _rotate_people(fleet: FleetTrust, a: int, b: int) -> None:
    people = tuple(dict.fromkeys((NAMES[a % 9], NAMES[b % 9], "alice", "bob")))
    fleet.rotate(people=people)


def _rotate_online(fleet: FleetTrust, a: int, b: int) -> None:
    fleet.rotate(timestamp_name=f"timestamp-{a % 3}", snapshot_name=f"snapshot-{b % 3}")


def _rotate_root(fleet: FleetTrust, a: int, b: int) -> None:
    names = tuple(dict.fromkeys((NAMES[a % 5], NAMES[b % 5], "root-3")))
    fleet.rotate(() if a % 2 else _choice(b), root_names=names)


def _odd_root(fleet: FleetTrust, a: int, b: int) -> None:
    version = len(fleet.roots) + a % 3
    fleet.add_root(_choice(b) or ("root-1",), version=version, days=a - 100)


def _version(fleet: FleetTrust, a: int, b: int) -> None:
    role = ("targets", "rollout", "snapshot", "timestamp")[a % 4]
    fleet.versions[role] = b % 5


def _time(fleet: FleetTrust, a: int, b: int) -> None:
    fleet.now_s += (a - 100) * DAY_S // 10


OPERATIONS: dict[str, Callable[[FleetTrust, int, int], None]] = {
    "sign": _sign,
    "policy": _policy,
    "roll": _roll,
    "people": _rotate_people,
    "online": _rotate_online,
    "root": _rotate_root,
    "odd-root": _odd_root,
    "version": _version,
    "time": _time,
}


# --- What can be done to the files of a bundle ---------------------------------------


def _name(files: Mapping[str, bytes], number: int) -> str:
    return sorted(files)[number % len(files)]


def _drop(files: dict[str, bytes], a: int, b: int) -> None:
    del files[_name(files, a)]


def _swap(files: dict[str, bytes], a: int, b: int) -> None:
    files[_name(files, a)] = files[_name(files, b)]


def _old(files: dict[str, bytes], a: int, b: int) -> None:
    first = start()[2]
    name = _name(first, a)
    files[name] = first[name]


def _turn(files: dict[str, bytes], a: int, b: int) -> None:
    name = _name(files, a)
    body = bytearray(files[name])
    if body:
        body[b * 997 % len(body)] ^= 1
    files[name] = bytes(body)


def _field(files: dict[str, bytes], a: int, b: int) -> None:
    """A field of a metadata file is changed, and the thief's keys sign."""
    names = [name for name in files if name.endswith(".json") and len(name) < 40]
    if not names:
        return
    name = sorted(names)[a % len(names)]
    keys = ("timestamp", "snapshot", "desk", "alice", "root-1", "timestamp-1")
    changes: list[dict[str, Any]] = [
        {"version": b % 7 + 1},
        {"expires": f"20{20 + b % 30}-01-01T00:00:00Z"},
        {"x-sluicegate": {"fleet": "south"}},
    ]
    try:
        signed_by = [key for place, key in enumerate(keys) if b >> place & 1]
        files[name] = resealed(files[name], signed_by, **changes[b % 3])
    except (ValueError, RepositoryError):
        return


def _signatures(files: dict[str, bytes], a: int, b: int) -> None:
    name = _name(files, a)
    try:
        plain = json.loads(files[name])
        signatures = plain["signatures"]
    except (ValueError, KeyError):
        return
    plain["signatures"] = (signatures[1:], signatures[:1], [*signatures, *signatures])[
        b % 3
    ]
    files[name] = compact(plain)


FILES: dict[str, Callable[[dict[str, bytes], int, int], None]] = {
    "drop": _drop,
    "swap": _swap,
    "old": _old,
    "turn": _turn,
    "field": _field,
    "signatures": _signatures,
}

number = st.integers(0, 255)
fleet_ops = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), number, number), max_size=4
)
file_ops = st.lists(
    st.tuples(st.sampled_from(sorted(FILES)), number, number), max_size=2
)


@pytest.mark.slow
@settings(max_examples=upto(400))
@given(fleet_ops, file_ops, st.booleans())
@example(on_fleet=[("time", 170, 0)], on_files=[("drop", 228, 0)], targets=False)
def test_we_never_accept_what_python_tuf_refuses(
    on_fleet: list[Op], on_files: list[Op], targets: bool
) -> None:
    honest, trusted, first = start()
    before = honest.bundle()
    fleet = copy.deepcopy(honest)
    for name, a, b in on_fleet:
        if name == "version" and not (targets or a % 4):
            continue
        OPERATIONS[name](fleet, a, b)
    files = fleet.publish(targets=targets)
    for name, a, b in on_files:
        FILES[name](files, a, b)
    try:
        new, offered = offer(trusted, files, fleet.now_s * NS)
    except TrustError as error:
        event(error.rule)
        return
    event("accepted" if new != trusted else "nothing new")
    # We keep target files; it asks for them. Where ours is the newer timestamp the late
    # one was passed over: that is no offer.
    shown = {**trusted.files, **files, "timestamp.json": new.timestamp}
    paths = ["rollout.json", *(f"policy/{one}/policy.yaml" for one in offered.policies)]
    # the time that we went by: a floor goes with the keys that told it
    now_s = max(fleet.now_s, new.time_floor_ns // NS)
    offers = [first, before, shown]
    assert updater_takes(honest.roots[0], offers, now_s, paths, honest.now_s)


def test_what_is_honest_is_taken_by_both() -> None:
    honest, trusted, first = start()
    fleet = copy.deepcopy(honest)
    history = [first, honest.bundle()]
    for step in range(4):
        if step == 1:
            fleet.rotate(timestamp_name="timestamp-2", snapshot_name="snapshot-2")
        if step == 2:
            fleet.rotate(people=("dora", "emil", "fay"))
            fleet.signed_by = ("emil", "fay")
        fleet.add_policy(3 + step)
        fleet.roll_out(3 + step, 1)
        history.append(fleet.publish())
        trusted, offered = offer(trusted, history[-1], fleet.now_s * NS)
        paths = [f"policy/{one}/policy.yaml" for one in offered.policies]
        assert updater_takes(
            honest.roots[0], history, fleet.now_s, ["rollout.json", *paths]
        )


def test_the_oracle_refuses_what_it_should() -> None:
    honest, _, first = start()
    history = [first, honest.bundle()]
    fleet = copy.deepcopy(honest)
    fleet.signed_by = ("alice",)
    assert not updater_takes(
        honest.roots[0], [*history, fleet.publish()], fleet.now_s, ["rollout.json"]
    )
    assert not updater_takes(honest.roots[0], [*history, first], fleet.now_s, [])
