"""Build the image from the .deb, with buildah and without privileges of the kernel.

    python systemd/build_oci.py [--base IMAGE@sha256:...] [--deb FILE] [--out dist]

Without ``--base``, mmdebstrap makes a Debian 12 that holds apt's essentials and Python.
Writes ``sluicegate-<version>.docker.tar`` and its CycloneDX document.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from build_fetch import LOCK, chosen
from build_sbom import of_image, written
from build_source import ROOT, cache_folder, source_epoch, version

COPIED: Final = re.compile(r"\bfile:[0-9a-f]{64}\b")
BY_THE_WAY: Final = ("container", "container_config", "parent")  # nobody needs them
BASE: Final = "localhost/sluicegate-base"
PYTHON: Final = "python3,libstdc++6,libgcc-s1,zlib1g"


def run(*command: str, **more: str) -> None:
    """Run a tool; CalledProcessError where it fails."""
    subprocess.run(command, check=True, env=os.environ | more)


def make_base(folder: Path) -> str:
    """Make a Debian 12 with Python from Debian's archive; return the image's name."""
    run(
        "mmdebstrap", "--variant=minbase", f"--include={PYTHON}",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "bookworm", str(folder / "context" / "base.tar"),
        SOURCE_DATE_EPOCH=str(source_epoch()), PYTHONHASHSEED="0",
    )  # fmt: skip
    recipe = folder / "Containerfile"
    recipe.write_text("FROM scratch\nADD base.tar /\n")
    image(folder, recipe, BASE)
    (folder / "context" / "base.tar").unlink()
    return BASE


def buildah(folder: Path, *words: str) -> None:
    """Run buildah on images of its own in ``folder``: what the machine has stays so."""
    places = (f"--root={folder / 'images'}", f"--runroot={folder / 'run'}")
    run("buildah", "--storage-driver=vfs", *places, *words)


def image(folder: Path, recipe: Path, name: str, *arguments: str) -> None:
    """Build one image; the same files give the same layers."""
    told = [f"--build-arg={one}" for one in arguments]
    buildah(
        folder, "bud", "--isolation=chroot", "--format=docker", "--layers=false",
        f"--timestamp={source_epoch()}", f"--file={recipe}", f"--tag={name}", *told,
        str(folder / "context"),
    )  # fmt: skip


def settle(archive: Path, place: Path) -> None:
    """Write the image without what is another in each build.

    Names of containers, and digests of what was copied, its modes by umask included.
    """
    with tarfile.open(archive) as old, tarfile.open(place, "w") as new:
        manifest = json.loads(_member(old, "manifest.json"))
        config = json.loads(_member(old, manifest[0]["Config"]))
        for name in BY_THE_WAY:
            config.pop(name, None)
        config["config"]["Hostname"] = ""
        for step in config["history"]:
            step["created_by"] = COPIED.sub("file", step["created_by"])
        text = json.dumps(config, sort_keys=True).encode()
        manifest[0]["Config"] = f"{hashlib.sha256(text).hexdigest()}.json"
        files = {manifest[0]["Config"]: text}
        files |= {name: _member(old, name) for name in manifest[0]["Layers"]}
        files["manifest.json"] = json.dumps(manifest, sort_keys=True).encode()
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), source_epoch()
            new.addfile(entry, io.BytesIO(data))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    if found is None:
        raise SystemExit(f"{name} is no file of the image")
    return found.read()


def build(base: str, deb: Path, out: Path) -> Path:
    """Build the image; return its tarball."""
    name = f"localhost/sluicegate:{version()}"
    place = out / f"sluicegate-{version()}.docker.tar"
    place.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluicegate-oci-") as scratch:
        folder = Path(scratch)
        context = folder / "context"
        context.mkdir()
        base = base or make_base(folder)
        shutil.copyfile(deb, context / deb.name)
        recipe = ROOT / "systemd" / "Containerfile"
        image(folder, recipe, name, f"BASE={base}", f"DEB={deb.name}")
        archive = folder / "image.tar"
        buildah(folder, "push", "--quiet", name, f"docker-archive:{archive}:{name}")
        settle(archive, place)
    wheels = chosen(cache_folder() / "amd64", LOCK)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    told = written(of_image(wheels, version(), digest))
    place.with_suffix(".cdx.json").write_text(told, "utf-8")
    return place


def main() -> None:
    """Read the command line and build."""
    deb = ROOT / "dist" / f"sluicegate_{version()}_amd64.deb"
    parser = argparse.ArgumentParser(description="Build the image.")
    parser.add_argument("--base", default="", help="image to stand on, by digest")
    parser.add_argument("--deb", type=Path, default=deb)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    if missing := [one for one in ("buildah", "mmdebstrap") if not shutil.which(one)]:
        sys.exit(f"the image needs tools: apt install {' '.join(missing)}")
    if not asked.deb.exists():
        sys.exit(f"{asked.deb}: run `make deb` first")
    print(build(asked.base, asked.deb, asked.out))


if __name__ == "__main__":
    main()
