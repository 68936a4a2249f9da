"""Write what an artefact is made of: CycloneDX 1.6, JSON.

    python systemd/build_sbom.py FILE ...                  beside each package and wheel
    python systemd/build_sbom.py --inside amd64 --wheels FOLDER    what is in a package

Beside FILE goes FILE with `.cdx.json` for its suffix. Components are read from the very
wheels whose hashes are locked; what a wheel says about its own parts (PEP 770), and
libraries that it carries, are nested in it.
Standard library only; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import email.parser
import email.policy
import hashlib
import json
import re
import sys
import uuid
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from build_fetch import LOCK, chosen, fetch, wheel_name
from build_source import cache_folder, changelog_version, source_epoch
from build_trim import DISTRIBUTIONS

if TYPE_CHECKING:
    from email.message import EmailMessage

SPEC: Final = "1.6"
SPDX: Final = {  # what older metadata says, by the SPDX licence list
    "Apache Software License, Version 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT": "MIT",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}
KEPT: Final = ("type", "name", "version", "purl", "licenses", "hashes", "cpe")

Json = dict[str, Any]


def document(artefact: Json, components: list[Json], edges: list[Json]) -> Json:
    """Return the whole document around ``components``."""
    made = dt.datetime.fromtimestamp(source_epoch(), dt.UTC)
    body = json.dumps([artefact, components, edges], sort_keys=True)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(body.encode()).hexdigest())
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": serial.urn,
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": artefact,
        },
        "components": components,
        "dependencies": edges,
    }


def licences(told: EmailMessage) -> list[Json]:
    """Return CycloneDX licences: an expression, a known id, or words as they are."""
    if expression := told["License-Expression"]:
        return [{"expression": str(expression)}]
    said = [str(told["License"] or "")]
    said += [str(one) for one in told.get_all("Classifier", []) if "License ::" in one]
    known = [SPDX[one] for one in said if one in SPDX]
    if known:
        return [{"license": {"id": known[0]}}]
    return [{"license": {"name": one}} for one in said if one][:1]


def carried(archive: zipfile.ZipFile, parent: str) -> list[Json]:
    """Return what is inside a wheel by its own word, and the libraries in `*.libs`."""
    found: list[Json] = []
    for name in sorted(archive.namelist()):
        path = PurePosixPath(name)
        if path.parent.name == "sboms" and path.suffix == ".json":
            inner = json.loads(archive.read(name))
            found += [
                {key: one[key] for key in KEPT if key in one}
                for one in inner.get("components", [])
            ]
        elif path.parent.name.endswith(".libs") and ".so" in path.name:
            digest = hashlib.sha256(archive.read(name)).hexdigest()
            found.append(
                {
                    "type": "library",
                    "name": re.sub(r"-[0-9a-f]{8,}", "", path.name),
                    "hashes": [{"alg": "SHA-256", "content": digest}],
                }
            )
    for number, one in enumerate(found):
        one["bom-ref"] = f"{parent}#{number}"
    return found


def component(wheel: Path, *, with_hash: bool = True) -> tuple[Json, list[str]]:
    """Return one distribution, and the names of what it asks for without extras."""
    with zipfile.ZipFile(wheel) as archive:
        place = next(
            one
            for one in archive.namelist()
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", one)
        )
        parser = email.parser.BytesParser(policy=email.policy.compat32)
        told: Any = parser.parsebytes(archive.read(place), headersonly=True)
        name = re.sub(r"[-_.]+", "-", str(told["Name"])).lower()
        purl = f"pkg:pypi/{name}@{told['Version']}"
        one: Json = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": str(told["Version"]),
            "licenses": licences(told),
            "purl": purl,
        }
        if with_hash:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            one["hashes"] = [{"alg": "SHA-256", "content": digest}]
            if inner := carried(archive, purl):
                one["components"] = inner
    asked = [
        re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[(]", line)[0]).lower()
        for line in told.get_all("Requires-Dist", [])
        if "extra ==" not in line
    ]
    return one, asked


def collected(
    wheels: list[Path], artefact: Json, *, with_hash: bool = True
) -> tuple[list[Json], list[Json]]:
    """Return components and edges of the dependency graph."""
    pairs = [component(wheel, with_hash=with_hash) for wheel in wheels]
    refs = {one["name"]: one["bom-ref"] for one, _ in pairs}
    edges = [{"ref": artefact["bom-ref"], "dependsOn": sorted(refs.values())}]
    edges += [
        {
            "ref": one["bom-ref"],
            "dependsOn": sorted({refs[n] for n in asked if n in refs}),
        }
        for one, asked in pairs
    ]
    return [one for one, _ in pairs], edges


def product(name: str, told: str, purl: str, digest: str = "") -> Json:
    """Return the artefact itself as a component; ``told`` is its version."""
    one: Json = {
        "type": "application",
        "bom-ref": purl,
        "name": name,
        "version": told,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": purl,
    }
    if digest:
        one["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return one


def of_package(
    wheels: list[Path], told: str, architecture: str, digest: str = ""
) -> Json:
    """Return the document of the Debian package, or of what it installs."""
    purl = f"pkg:deb/sluicegate/sluicegate@{told}?arch={architecture}"
    kept = [wheel for wheel in wheels if wheel_name(wheel) not in DISTRIBUTIONS]
    artefact = product("sluicegate", told, purl, digest)
    return document(artefact, *collected(kept, artefact))


def of_image(wheels: list[Path], told: str, digest: str) -> Json:
    """Return the document of the image: the package's, without Debian's own part."""
    whole = of_package(wheels, told, "amd64")
    artefact = whole["metadata"]["component"]
    artefact |= {
        "type": "container",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    return whole


def of_wheel(wheel: Path, wheels: list[Path]) -> Json:
    """Return the document of one of our wheels: what a locked installation brings."""
    name, told = wheel_name(wheel), wheel.name.split("-")[1]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    artefact = product(name, told, f"pkg:pypi/{name}@{told}", digest)
    components, edges = collected(wheels, artefact, with_hash=False)
    if name != "sluicegate":  # the operator's stands on the gateway's
        base = product("sluicegate", told, f"pkg:pypi/sluicegate@{told}")
        edges[0] = {"ref": artefact["bom-ref"], "dependsOn": [base["bom-ref"]]}
        inner = sorted(one["bom-ref"] for one in components)
        edges.insert(1, {"ref": base["bom-ref"], "dependsOn": inner})
        components.insert(0, base)
    return document(artefact, components, edges)


def written(told: Json) -> str:
    """Return the document as text."""
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def beside(artefact: Path, cache: Path) -> Path:
    """Write the document of ``artefact`` beside it; return where."""
    if artefact.suffix == ".whl":
        fetch("amd64", cache / "amd64")
        told = of_wheel(artefact, chosen(cache / "amd64", LOCK))
    else:
        _, number, architecture = artefact.stem.split("_")
        fetch(architecture, cache / architecture)
        digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
        wheels = chosen(cache / architecture, LOCK)
        told = of_package(wheels, number, architecture, digest)
    place = artefact.with_suffix(".cdx.json")
    place.write_text(written(told), "utf-8")
    return place


def main() -> None:
    """Write the documents of the artefacts that the command line names."""
    parser = argparse.ArgumentParser(description="Write CycloneDX documents.")
    parser.add_argument("artefacts", type=Path, nargs="*")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--inside", metavar="ARCHITECTURE")
    parser.add_argument("--wheels", type=Path)
    asked = parser.parse_args()
    if asked.inside:
        wheels = chosen(asked.wheels, LOCK)
        sys.stdout.write(written(of_package(wheels, changelog_version(), asked.inside)))
    for artefact in asked.artefacts:
        print(beside(artefact, asked.cache))


if __name__ == "__main__":
    main()
