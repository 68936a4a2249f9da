"""The image's tarball: what differs from build to build is taken out, and nothing else.

The image itself takes minutes and Debian's archive: `make oci`, docs/packaging.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import build_oci

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = {"a.tar": b"the base", "b.tar": b"the agent"}


def pushed(place: Path, container: str) -> Path:
    """Write what buildah writes, as far as it matters here."""
    digest = hashlib.sha256(container.encode()).hexdigest()
    config = {
        "architecture": "amd64",
        "container": container * 8,
        "parent": f"sha256:{container}",
        "container_config": {"Hostname": container},
        "config": {"Hostname": container, "User": "10001:10001"},
        "history": [{"created_by": f"ADD file:{digest} in / "}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
    }
    text = json.dumps(config).encode()
    named = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": named, "RepoTags": ["x:1"], "Layers": [*LAYERS]}]
    files = LAYERS | {named: text, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(place, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo(f"{container}/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../a.tar"
        archive.addfile(link)
    return place


def test_the_names_of_build_containers_change_nothing(tmp_path: Path) -> None:
    for number, container in enumerate(("dbcbca16a9be", "0f3c5e7a9b1d")):
        archive = pushed(tmp_path / "pushed.tar", container)
        build_oci.settle(archive, tmp_path / f"{number}.tar")
    first, second = tmp_path / "0.tar", tmp_path / "1.tar"
    assert first.read_bytes() == second.read_bytes()


def test_what_is_left_is_a_whole_image(tmp_path: Path) -> None:
    place = tmp_path / "image.tar"
    build_oci.settle(pushed(tmp_path / "pushed.tar", "dbcbca16a9be"), place)
    with tarfile.open(place) as archive:
        files = {
            one.name: archive.extractfile(one).read()  # type: ignore[union-attr]  # files only, or it fails
            for one in archive
        }
    (manifest,) = json.loads(files.pop("manifest.json"))
    text = files.pop(manifest["Config"])
    assert manifest["Config"] == f"{hashlib.sha256(text).hexdigest()}.json"
    assert (manifest["RepoTags"], manifest["Layers"]) == (["x:1"], [*LAYERS])
    assert files == LAYERS
    assert json.loads(text) == {
        "architecture": "amd64",
        "config": {"Hostname": "", "User": "10001:10001"},
        "history": [{"created_by": "ADD file in / "}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
    }
