"""CycloneDX documents: what they say of a wheel; the published schema agrees."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import build_sbom
import build_source
import build_tree
import jsonschema
import pytest
from referencing import Registry, Resource

METADATA = """\
Metadata-Version: 2.4
Name: Some.Thing
Version: 1.2
{licence}
Requires-Dist: other-thing>=1; python_version >= "3"
Requires-Dist: never; extra == "never"

A text.
Requires-Dist: not-a-header
"""


def _wheel(folder: Path, name: str, text: str, **files: bytes) -> Path:
    path = folder / f"{name}-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.2.dist-info/METADATA", text)
        for place, body in files.items():
            archive.writestr(place.replace("__", "/"), body)
    return path


def _thing(folder: Path, licence: str = "License-Expression: MIT") -> Path:
    inner = {"components": [{"type": "library", "name": "openssl", "x": 1}]}
    return _wheel(
        folder, "some_thing", METADATA.format(licence=licence),
        **{
            "some_thing-1.2.dist-info__sboms__a.json": json.dumps(inner).encode(),
            "some_thing.libs__libblas-0123456789.so.3": b"elf",
        },
    )  # fmt: skip


def _other(folder: Path) -> Path:
    text = "Name: other-thing\nVersion: 1.2\nLicense: BSD\n\n"
    return _wheel(folder, "other_thing", text)


def _schema(name: str) -> Any:
    found = importlib.util.find_spec("cyclonedx")
    if found is None or found.origin is None:
        pytest.skip("cyclonedx-python-lib is not installed: it brings the schema")
    folder = Path(found.origin).parent / "schema" / "_res"
    return json.loads((folder / name).read_bytes())


def _check(told: dict[str, Any]) -> None:
    names = (
        "spdx.SNAPSHOT.schema.json",
        "jsf-0.82.SNAPSHOT.schema.json",
        "cryptography-defs.SNAPSHOT.schema.json",
    )
    pages = [Resource.from_contents(_schema(name)) for name in names]
    schema = _schema("bom-1.6.SNAPSHOT.schema.json")
    registry: Registry[Any] = Registry().with_resources(
        [
            (f"http://cyclonedx.org/schema/{n}", p)
            for n, p in zip(names, pages, strict=True)
        ]
    )
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    assert not [error.message for error in validator.iter_errors(told)]


def test_a_component_says_whose_it_is_and_what_is_in_it(tmp_path: Path) -> None:
    one, asked = build_sbom.component(_thing(tmp_path))
    assert (one["name"], one["version"]) == ("some-thing", "1.2")
    assert one["purl"] == "pkg:pypi/some-thing@1.2"
    assert one["licenses"] == [{"expression": "MIT"}]
    assert [inner["name"] for inner in one["components"]] == ["openssl", "libblas.so.3"]
    assert "x" not in one["components"][0]
    assert asked == ["other-thing"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("License: BSD", [{"license": {"id": "BSD-3-Clause"}}]),
        (
            "License: something of ours",
            [{"license": {"name": "something of ours"}}],
        ),
        (
            "Classifier: License :: OSI Approved :: MIT License",
            [{"license": {"id": "MIT"}}],
        ),
        ("Keywords: none", []),
    ],
)
def test_licences_of_older_metadata(tmp_path: Path, said: str, told: Any) -> None:
    one, _ = build_sbom.component(_thing(tmp_path, said))
    assert one["licenses"] == told


def test_the_published_schema_agrees(tmp_path: Path) -> None:
    wheels = [_other(tmp_path), _thing(tmp_path)]
    ours = _wheel(tmp_path, "sluicegate", "Name: sluicegate\nVersion: 1.2\n\n")
    operator = _wheel(tmp_path, "sluicegate_fleet", "Name: sluicegate-fleet\n\n")
    told = build_sbom.of_package(wheels, "1.2", "amd64", "0" * 64)
    for one in (
        told,
        build_sbom.of_image(wheels, "1.2", "0" * 64),
        build_sbom.of_wheel(ours, wheels),
        build_sbom.of_wheel(operator, wheels),
    ):
        _check(one)
    edges = {edge["ref"]: edge["dependsOn"] for edge in told["dependencies"]}
    assert edges["pkg:pypi/some-thing@1.2"] == ["pkg:pypi/other-thing@1.2"]
    again = build_sbom.of_package(wheels, "1.2", "amd64", "0" * 64)
    assert build_sbom.written(told) == build_sbom.written(again)


def test_the_real_wheels_documents_hold_to_the_schema() -> None:
    folder = build_source.cache_folder() / "amd64"
    try:
        wheels = build_sbom.chosen(folder, build_sbom.LOCK)
    except SystemExit:
        pytest.skip(f"no locked wheels in {folder}: `make deb` fetches them")
    told = build_sbom.of_package(wheels, "1.2", "amd64")
    _check(told)
    nameless = [one["name"] for one in told["components"] if not one["licenses"]]
    assert not nameless
    assert not {one["name"] for one in told["components"]} & set(
        build_tree.DISTRIBUTIONS
    )


def test_a_wheel_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path, "evil", "Name: evil\n\n", **{"a__..__..__b.py": b""})
    with pytest.raises(SystemExit, match="leaves the folder"):
        build_tree.unpack(wheel, tmp_path / "site")
