"""Attacks on the form: bytes that two readers could take for two things.

Signatures without keys, other spellings, too much, too deep.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgpack

from protocols.bundle import BUNDLE_BYTES_MAX, encode_bundle
from tests.support.fleet_trust import compact, resealed
from tests.support.trust_attacks import World, new_targets, online_over

if TYPE_CHECKING:
    from collections.abc import Callable


def missing_key_id(world: World) -> bytes:
    plain = new_targets(world)
    del plain["signatures"][0]["keyid"]  # type: ignore[index]  # plain JSON
    return online_over(world, compact(plain))


def empty_key_id(world: World) -> bytes:
    plain = new_targets(world)
    plain["signatures"][0]["keyid"] = ""  # type: ignore[index]  # plain JSON
    return online_over(world, compact(plain))


def key_id_of_nobody(world: World) -> bytes:
    plain = new_targets(world)
    plain["signatures"][0]["keyid"] = "0" * 64  # type: ignore[index]  # plain JSON
    return online_over(world, compact(plain))


def empty_signature(world: World) -> bytes:
    plain = new_targets(world)
    plain["signatures"][0]["sig"] = ""  # type: ignore[index]  # plain JSON
    return online_over(world, compact(plain))


def stripped_signatures(world: World) -> bytes:
    return online_over(world, compact(new_targets(world) | {"signatures": []}))


def stripped_timestamp(world: World) -> bytes:
    files = world.twin().publish()
    plain = json.loads(files["timestamp.json"]) | {"signatures": []}
    return encode_bundle(files | {"timestamp.json": compact(plain)})


def _timestamp_as(world: World, change: Callable[[bytes], bytes]) -> bytes:
    files = world.twin().publish()
    raw = change(files["timestamp.json"])
    return encode_bundle(files | {"timestamp.json": raw})


def white_space(world: World) -> bytes:
    return _timestamp_as(world, lambda raw: raw.replace(b",", b", ", 1))


def trailing_newline(world: World) -> bytes:
    return _timestamp_as(world, lambda raw: raw + b"\n")


def duplicate_key(world: World) -> bytes:
    """A second version: readers differ on which one counts."""
    return _timestamp_as(
        world, lambda raw: raw.replace(b'"version":2}', b'"version":2,"version":2}')
    )


def other_key_order(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        return json.dumps(dict(reversed(plain.items())), separators=(",", ":")).encode()

    return _timestamp_as(world, change)


def escaped_letter(world: World) -> bytes:
    return _timestamp_as(
        world, lambda raw: raw.replace(b"timestamp", b"\\u0074imestamp")
    )


def real_number(world: World) -> bytes:
    return _timestamp_as(
        world, lambda raw: raw.replace(b'"version":2}', b'"version":2.0}')
    )


def other_spelling_of_a_date(world: World) -> bytes:
    """strptime takes a month of one digit; the signature holds over tuf's own form."""
    return _timestamp_as(world, lambda raw: raw.replace(b"-07-", b"-7-", 1))


def bundle_in_another_order(world: World) -> bytes:
    files = world.twin().publish()
    return bytes(msgpack.packb([1, dict(sorted(files.items(), reverse=True))]))


def bundle_with_bytes_behind(world: World) -> bytes:
    return world.twin().message() + b"\0"


def bundle_with_a_name_twice(world: World) -> bytes:
    files = world.twin().publish()
    packer = msgpack.Packer()
    body = packer.pack_array_header(2) + packer.pack(1)
    body += packer.pack_map_header(len(files) + 1)
    for name, raw in [*files.items(), ("timestamp.json", files["timestamp.json"])]:
        body += packer.pack(name) + packer.pack(raw)
    return bytes(body)


def oversized_bundle(world: World) -> bytes:
    return world.twin().message() + bytes(BUNDLE_BYTES_MAX)


def too_many_files(world: World) -> bytes:
    files = world.twin().publish()
    files |= {f"{n}.x": b"" for n in range(200)}
    return bytes(msgpack.packb([1, dict(sorted(files.items()))]))


def oversized_metadata(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        plain["signed"]["note"] = "x" * 10_000
        return resealed(compact(plain), ["timestamp"])

    return _timestamp_as(world, change)


def too_many_signatures(world: World) -> bytes:
    plain = new_targets(world)
    forged = [{"keyid": f"{n:064x}", "sig": "0" * 128} for n in range(40)]
    return online_over(world, compact(plain | {"signatures": forged}))


def deeply_nested_metadata(world: World) -> bytes:
    return _timestamp_as(world, lambda _: b"[" * 4000 + b"]" * 4000)


def nested_a_little_too_deep(world: World) -> bytes:
    def change(raw: bytes) -> bytes:
        plain = json.loads(raw)
        deep: object = 0
        for _ in range(10):
            deep = [deep]
        plain["signed"]["note"] = deep
        return resealed(compact(plain), ["timestamp"])

    return _timestamp_as(world, change)


def deeply_nested_bundle(_: World) -> bytes:
    return b"\x91" * 100_000


FORM_ATTACKS: dict[Callable[[World], bytes], str] = {
    key_id_of_nobody: "threshold",
    missing_key_id: "key-id",
    empty_key_id: "key-id",
    empty_signature: "unsigned",
    stripped_signatures: "unsigned",
    stripped_timestamp: "unsigned",
    white_space: "non-canonical",
    trailing_newline: "non-canonical",
    duplicate_key: "non-canonical",
    other_key_order: "non-canonical",
    escaped_letter: "non-canonical",
    real_number: "format",
    other_spelling_of_a_date: "non-canonical",
    bundle_in_another_order: "non-canonical",
    bundle_with_bytes_behind: "non-canonical",
    bundle_with_a_name_twice: "non-canonical",
    oversized_bundle: "size",
    too_many_files: "size",
    oversized_metadata: "size",
    too_many_signatures: "size",
    deeply_nested_metadata: "depth",
    nested_a_little_too_deep: "depth",
    deeply_nested_bundle: "depth",
}
