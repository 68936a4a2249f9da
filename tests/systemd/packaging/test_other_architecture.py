"""The package for arm64, built here: another machine's libraries, and nothing of ours.

Slow: a build takes a minute. Skipped where its tools or wheels are missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import build_deb
import build_fetch
import build_source
import pytest

ROOT = Path(__file__).resolve().parents[3]
EM_AARCH64 = 183  # elf.h; at byte 18 of the header
SYSTEM = {
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
    "libutil.so.1", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-aarch64.so.1",
    "libz.so.1",
}  # fmt: skip
GLIBC_MAX = (2, 34)  # what `Depends` asks for

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := build_deb.missing_tools("arm64"):
        pytest.skip(f"no package without Debian's tools: apt install {missing}")
    cache = build_source.cache_folder()
    try:
        build_fetch.fetch("arm64", cache / "arm64")
    except subprocess.CalledProcessError:
        pytest.skip(f"no wheels in {cache}, and no package registry to fetch them from")
    out = tmp_path_factory.mktemp("arm64")
    script = str(ROOT / "systemd" / "build_deb.py")
    done = subprocess.run(
        [sys.executable, script, "--architecture", "arm64", "--out", str(out)],
        env=dict(os.environ, SLUICEGATE_DEB_COMPRESSION="none"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("sluicegate_*_arm64.deb"))


@pytest.fixture(scope="module")
def libraries(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    files = [p for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    found = [p for p in files if p.read_bytes()[:4] == b"\x7fELF"]
    assert len(found) > 20
    return found


def test_every_library_is_of_that_machine(libraries: list[Path]) -> None:
    machines = {int.from_bytes(p.read_bytes()[18:20], "little") for p in libraries}
    assert machines == {EM_AARCH64}
    names = {p.name for p in libraries if "x86" in p.name}
    assert not names


def test_they_need_what_debian_has_there(libraries: list[Path]) -> None:
    told = subprocess.run(
        ["readelf", "-dV", *libraries], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[([^]]+)\]", told))
    assert needed - {path.name for path in libraries} <= SYSTEM
    versions = [
        tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", told)
    ]
    assert max(versions) <= GLIBC_MAX


def test_they_are_stripped_but_for_numpys(libraries: list[Path]) -> None:
    others = [path for path in libraries if "numpy" not in str(path)]
    assert 5 < len(others) < len(libraries)
    told = subprocess.run(
        ["readelf", "-SW", *others], capture_output=True, text=True, check=True
    ).stdout
    assert ".text" in told
    assert ".symtab" not in told


def test_it_says_so(deb: Path) -> None:
    fields = subprocess.run(
        ["dpkg-deb", "-f", deb, "Architecture", "Depends"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Architecture: arm64\n" in fields
    assert "libc6 (>= 2.34)" in fields
    assert "python3 (<< 3.12)" in fields
