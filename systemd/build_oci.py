"""Build the image from the .deb, with buildah and without privileges of the kernel.

    python systemd/build_oci.py [--base IMAGE@sha256:...] [--deb FILE] [--out dist]

Without ``--base``, mmdebstrap makes a Debian 12 that holds apt's essentials and Python.
Writes ``sluicegate-<version>.docker.tar`` and its CycloneDX document.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from build_fetch import LOCK, chosen
from build_sbom import of_image, written
from build_source import ROOT, cache_folder, source_epoch, version

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
        "bookworm", str(folder / "base.tar"),
        SOURCE_DATE_EPOCH=str(source_epoch()),
    )  # fmt: skip
    (folder / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
    image(folder, folder / "Containerfile", BASE)
    return BASE


def image(context: Path, recipe: Path, name: str, *arguments: str) -> None:
    """Build one image; the same files give the same layers."""
    told = [f"--build-arg={one}" for one in arguments]
    run(
        "buildah", "bud", "--isolation", "chroot", "--format", "docker",
        "--layers=false",
        "--timestamp", str(source_epoch()), "--file", str(recipe), "--tag", name, *told,
        str(context),
    )  # fmt: skip


def build(base: str, deb: Path, out: Path) -> Path:
    """Build the image; return its tarball."""
    name = f"localhost/sluicegate:{version()}"
    place = out / f"sluicegate-{version()}.docker.tar"
    place.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluicegate-oci-") as folder:
        context = Path(folder)
        base = base or make_base(context)
        shutil.copyfile(deb, context / deb.name)
        recipe = ROOT / "systemd" / "Containerfile"
        image(context, recipe, name, f"BASE={base}", f"DEB={deb.name}")
    run("buildah", "push", "--quiet", name, f"docker-archive:{place}:{name}")
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
