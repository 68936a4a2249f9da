"""msgpack-test-suite: we write the shortest form and read every one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import msgpack
import pytest

from protocols.envelope import pack, unpacked
from protocols.errors import WireError

if TYPE_CHECKING:
    from pathlib import Path


def octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def value_of(case: dict[str, Any]) -> object:
    if "binary" in case:
        return octets(case["binary"])
    if "bignum" in case:
        return int(case["bignum"])
    return next(case[k] for k in case if k != "msgpack")


def cases(data: Path) -> list[tuple[str, dict[str, Any]]]:
    file = data / "vectors" / "msgpack-test-suite.json"
    suite = json.loads(file.read_text(encoding="utf-8"))
    return [(name, case) for name, group in suite.items() for case in group]


def test_every_form_is_read_and_the_shortest_is_written(data: Path) -> None:
    read = 0
    for name, case in cases(data):
        if name.startswith(("41", "42", "50", "60")):
            continue
        value = value_of(case)
        forms = [octets(form) for form in case["msgpack"]]
        for form in forms:
            found = unpacked("test", b"\x91" + form, 1024)
            assert found == [value], (name, form.hex())
            read += 1
        if not isinstance(value, float):  # numbers with a point are always float64
            written = pack([value])[1:]
            exact = [form for form in forms if form[:1] not in {b"\xca", b"\xcb"}]
            assert written in exact
            assert len(written) == min(map(len, exact))
    assert read > 100


def test_maps_and_extensions_are_refused_wherever_they_stand(data: Path) -> None:
    refused = 0
    for name, case in cases(data):
        value = case.get("map")
        if not name.startswith(("50", "60")) and not value:
            continue
        for form in case["msgpack"]:
            if value:
                assert msgpack.unpackb(octets(form)) == value
            if name.startswith("50"):
                (found,) = cast(
                    "list[object]", unpacked("test", b"\x91" + octets(form), 99)
                )
                assert isinstance(found, msgpack.Timestamp)  # what no field is
                continue
            with pytest.raises(WireError, match="is not msgpack"):
                unpacked("test", b"\x91" + octets(form), 1024)
            refused += 1
    assert refused > 15
