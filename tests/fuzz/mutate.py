"""Bundles that are wrong in structure and right in signature: bytes say how.

Flipping bytes of a signed file tests the signature again and again. Here the fuzzer
holds every key: it changes values of the parsed metadata, signs them anew and mends the
digests that name them, so that what stands behind the signatures is reached, too.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from policies.trust import Offer, Trusted, begin
from policies.trust import offer as offer_to
from policies.trust.form import canonical
from protocols.bundle import TIMESTAMP, BundleError, encode_bundle, parse_bundle
from tests.support.fleet_trust import NOW_S, NS, key_id, private_key
from tests.support.trust_attacks import World, new_world

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_NS: Final = NOW_S * NS
Files = dict[str, bytes]
NAMES: Final = (
    "alice", "bob", "carol", "desk", "snapshot", "timestamp", "root-1", "root-2",
    "root-3", "mallory",
)  # fmt: skip
ROLES: Final = ("timestamp", "snapshot", "targets", "rollout", "root")
SIGNERS: Final = {
    "timestamp": ("timestamp",), "snapshot": ("snapshot",), "rollout": ("desk",),
    "targets": ("alice", "bob"), "root": ("root-1", "root-2"),
}  # fmt: skip
ODD: Final[tuple[Any, ...]] = (
    None, True, False, -1, 0, 1, 2, 3, 4, 2**31, 2**53, 2**63, 10**30, "", "x",
    "timestamp", "targets", "root", "north", "south", "../x", "a" * 200, "\x1b[31m",
    "é", "2026-07-01T10:00:00Z", "2036-07-01T10:00:00Z", "9999-99-99T99:99:99Z",
    "0" * 64, "g" * 64, [], {}, [[]], {"": {}}, ["a", "a"], {"sha256": "0" * 64},
)  # fmt: skip


class Choices:
    """Reads bytes as choices; where they end, everything is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def of(self, count: int) -> int:
        found = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return found % count if count else 0

    def one(self, values: tuple[Any, ...] | list[Any]) -> Any:
        return values[self.of(len(values))]

    def bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found


@cache
def world() -> World:
    """Return a device that took its first bundle; nothing here ever changes it."""
    return new_world()


@cache
def _sets() -> tuple[Files, Files]:
    """Return the files of the first bundle and of an honest next one."""
    here = world()
    fleet = here.twin()
    fleet.add_policy(3, min_version=2, devices=["gw-1"], terms={"trial_s": 60},
                     catalogues={"x.yaml": b"x"}, cards={"oem": b"{}"})  # fmt: skip
    fleet.roll_out(3, 2, groups=("a",))
    fleet.rotate()
    return parse_bundle(here.first), fleet.publish()


def offered(data: bytes) -> tuple[Trusted, Offer]:
    """Return what the device makes of it; TrustError where it refuses."""
    choices = Choices(data)
    now_ns = NOW_NS + choices.of(4) * 40 * 86_400 * NS
    return offer_to(world().trusted, mutated(choices), now_ns)


def retained(data: bytes) -> tuple[Trusted, bytes, bytes]:
    """Return a device's trust and what two topics retain for it: bundle, renewal.

    Each of the two is an honest one of some time, one made wrong, or nothing.
    """
    choices = Choices(data)
    here, (first, second) = world(), _sets()
    trusted = here.trusted if choices.of(3) else begun()
    bundles = [b"", here.first, encode_bundle(second)]
    how = choices.of(5)
    message = _message(mutated(choices)) if how > 2 else bundles[how]
    renewals: list[Files] = [
        {},
        *({TIMESTAMP: one[TIMESTAMP]} for one in (first, second)),
        _renewed(),
    ]
    how = choices.of(6)
    renewal = mutated(choices) if how == 4 else renewals[how % 4]
    return trusted, message, _message(renewal)


@cache
def begun() -> Trusted:
    """Return the trust of a device that knows its pinned root alone."""
    return begin(world().fleet.roots[0], world().fleet.name)


@cache
def _renewed() -> Files:
    fleet = world().twin()
    return fleet.renew()


def _message(files: Files) -> bytes:
    try:
        return encode_bundle(files) if files else b""
    except BundleError:
        return b"\xc1"


def mutated(choices: Choices) -> Files:
    """Return the honest bundle's files after one to four steps."""
    files = dict(_sets()[1])
    for _ in range(1 + choices.of(4)):
        step = choices.one(_STEPS)
        step(files, choices)
    try:
        return parse_bundle(encode_bundle(files))
    except BundleError:
        return files  # a store may hold what no message can carry


# --- steps ----------------------------------------------------------------------------


def _name(files: Files, role: str) -> str:
    """Return the name of the newest file of a role, "" where it is gone."""
    names = [name for name in files if name.endswith(f"{role}.json")]
    names = [name for name in names if len(name) < 64]  # target files begin with a hash
    return max(names, key=lambda name: (len(name), name), default="")


def _plain(files: Files, name: str) -> Any:
    try:
        return json.loads(files.get(name, b""))
    except (ValueError, RecursionError):
        return {}


def _signed(signed: Any, names: tuple[str, ...]) -> bytes:
    signatures = []
    try:
        payload = encode_canonical(signed).encode()
    except (FormatError, AttributeError, UnicodeEncodeError, RecursionError):
        payload = b""
    for name in names:
        signature = private_key(name).sign(payload).hex()
        signatures.append({"keyid": key_id(name), "sig": signature})
    return canonical({"signatures": signatures, "signed": signed})


def _change(files: Files, choices: Choices) -> None:
    """Change one value of one metadata, sign it, mend what names it."""
    role = choices.one(ROLES)
    name = _name(files, role)
    plain = _plain(files, name)
    if not isinstance(plain, dict) or not isinstance(plain.get("signed"), dict):
        return
    signed = copy.deepcopy(plain["signed"])
    place = choices.one(_places(signed))
    _set(signed, place, choices)
    signers = SIGNERS[role] if choices.of(8) else choices.one([(n,) for n in NAMES])
    files[name] = _signed(signed, signers)
    if choices.of(8):
        _mend(files)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    out = [path] if path else []
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value)
    elif isinstance(value, list):
        inner = list(range(len(value)))
    for key in inner:
        out += _places(value[key], (*path, key))
    return out or [("x",)]


def _set(signed: Any, place: tuple[Any, ...], choices: Choices) -> None:
    parent = signed
    for key in place[:-1]:
        parent = parent[key]
    key = place[-1]
    how = choices.of(6)
    if how == 0 and key in parent:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[str(choices.one(ODD))] = parent.get(key)
    elif how == 2 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif how == 3 and isinstance(parent, dict) and isinstance(parent.get(key), int):
        parent[key] = parent[key] + choices.of(5) - 2
    else:
        parent[key] = copy.deepcopy(choices.one(ODD))


def _mend(files: Files) -> None:
    """Let snapshot and timestamp name what is here now."""
    for role, named in (("snapshot", ("targets", "rollout")),
                        ("timestamp", ("snapshot",))):  # fmt: skip
        name = _name(files, role)
        plain = _plain(files, name)
        if not isinstance(plain, dict) or not isinstance(plain.get("signed"), dict):
            return
        signed = plain["signed"]
        for one in named:
            raw = files.get(_name(files, one), b"")
            entry = {"hashes": {"sha256": sha256(raw).hexdigest()}, "length": len(raw)}
            meta = signed.get("meta")
            old = meta.get(f"{one}.json") if isinstance(meta, dict) else None
            if isinstance(old, dict):
                old |= entry
        files[name] = _signed(signed, SIGNERS[role])


def _bytes(files: Files, choices: Choices) -> None:
    """Change bytes of a file."""
    name = choices.one(sorted(files) or [""])
    body = bytearray(files.get(name, b"x"))
    at = int.from_bytes(choices.bytes(2), "big") % (len(body) + 1)
    how = choices.of(3)
    if how == 0:
        del body[at:]
    elif how == 1 and at < len(body):
        body[at] ^= 1 + choices.of(255)
    else:
        body[at:at] = choices.bytes(choices.of(16))
    files[name] = bytes(body)


def _drop(files: Files, choices: Choices) -> None:
    files.pop(choices.one(sorted(files) or [""]), None)


def _swap(files: Files, choices: Choices) -> None:
    names = sorted(files) or [""]
    one, other = choices.one(names), choices.one(names)
    files[one], files[other] = files.get(other, b""), files.get(one, b"")


def _rename(files: Files, choices: Choices) -> None:
    name = choices.one(sorted(files) or [""])
    number = choices.of(12)
    role = choices.one(ROLES)
    files[f"{number}.{role}.json"] = files.get(name, b"")


def _older(files: Files, choices: Choices) -> None:
    """Mix in a file of the bundle before."""
    first = _sets()[0]
    name = choices.one(sorted(first))
    files[name] = first[name]


def _many(files: Files, choices: Choices) -> None:
    """Add files that nobody asked for."""
    for number in range(choices.of(140)):
        files[f"{number}.x.json"] = b"x"


def _nest(files: Files, choices: Choices) -> None:
    """Nest deeply, signed: limits stand before the parser."""
    role = choices.one(ROLES)
    depth = choices.of(256) * 8
    body = b"[" * depth + b"]" * depth
    files[_name(files, role)] = b'{"signatures":[],"signed":' + body + b"}"


_STEPS: Final[list[Callable[[Files, Choices], None]]] = [
    _change, _change, _change, _change, _bytes, _drop, _swap, _rename, _older, _many,
    _nest,
]  # fmt: skip
