"""The packages under test: a folder of .deb files that guests see."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Final

from tests.vm.guest import Failed

DIST: Final = Path(__file__).parents[2] / "dist"


def package_folder(
    folder: Path, deb: Path | None, previous: Path | None
) -> tuple[Path, str]:
    """Return the folder and the digest of the package under test.

    Without ``deb`` it is the newest in dist/; Failed where there is none.
    """
    if deb is None:
        built = sorted(DIST.glob("*_amd64.deb"), key=lambda path: path.stat().st_mtime)
        if not built:
            raise Failed(
                "no package in dist/: `make deb` first, or name one with --deb"
            )
        deb = built[-1]
    packages = folder / "packages"
    packages.mkdir()
    shutil.copy(deb, packages / "sluicegate.deb")
    if previous is None:  # `make previous`
        previous = next(iter(sorted(DIST.glob("previous/*_amd64.deb"))), None)
    if previous:
        shutil.copy(previous, packages / "previous.deb")
    return packages, hashlib.sha256(deb.read_bytes()).hexdigest()[:12]
