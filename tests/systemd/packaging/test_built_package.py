"""The Debian package and the wheels, built twice and looked into.

Slow: a build takes half a minute on an idle machine. Skipped where Debian's tools or
the wheels (a cache, else the package registry) are missing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import build_deb
import build_fetch
import build_source
import build_wheels
import pytest

from agent import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
LIB = "usr/lib/sluicegate"
SITE = f"{LIB}/lib/python3.11/site-packages"
OURS = ("agent", "policies", "protocols")
FORBIDDEN = (
    "fleet", "firmware_sim", "tests", "pip", "setuptools", "pandas", "asammdf",
    "pyarrow", "pytest", "hypothesis", "iotcore", "matplotlib",
)  # fmt: skip
# What Debian 12 has for them: libc6, libgcc-s1, libstdc++6. The loader is libc6's.
SYSTEM = {
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
    "libutil.so.1", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2",
    "libz.so.1",
}  # fmt: skip
DEPENDS = {"libc6", "libgcc-s1", "libstdc++6", "python3", "zlib1g"}
GLIBC_MAX = (2, 36)

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def _built(source: Path, out: Path, umask: int, **environment: str) -> Path:
    """Build all from ``source`` in a world of its own; return where it lies."""
    told = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        "SLUICEGATE_DEB_COMPRESSION": "none",  # a minute of xz shows nothing more
        **environment,
    }
    for script in ("build_wheels.py", "build_deb.py"):
        done = subprocess.run(
            [sys.executable, str(source / "systemd" / script), "--out", str(out)],
            env=told,
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def wheelhouse() -> Path:
    if missing := build_deb.missing_tools():
        pytest.skip(f"no package without Debian's tools: apt install {missing}")
    cache = build_source.cache_folder()
    try:
        build_fetch.fetch("amd64", cache / "amd64")
        build_fetch.fetch("any", cache / "any", build_wheels.LOCK)
    except subprocess.CalledProcessError:
        pytest.skip(f"no wheels in {cache}, and no package registry to fetch them from")
    return cache


@pytest.fixture(scope="module")
def built(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(ROOT, tmp_path_factory.mktemp("first"), 0o022, LC_ALL="C", TZ="UTC")


@pytest.fixture(scope="module")
def again(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same source in another place, without git, by another user's habits."""
    source = tmp_path_factory.mktemp("a-copy-elsewhere") / "tree"
    for name in build_source.tracked(ROOT):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o700 if os.access(ROOT / name, os.X_OK) else 0o600)
    scratch = tmp_path_factory.mktemp("scratch")
    return _built(
        source, tmp_path_factory.mktemp("second"), 0o077,
        LC_ALL="C.UTF-8", LANGUAGE="de", TZ="Asia/Shanghai", TMPDIR=str(scratch),
        PYTHONHASHSEED="17", SOURCE_DATE_EPOCH="86400",
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files; the interpreter that it links to stands in for Debian's."""
    place = tmp_path_factory.mktemp("root")
    deb = next(built.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", deb, place], check=True)
    (place / "usr" / "bin" / "python3.11").symlink_to("/usr/bin/python3.11")
    return place


def _run(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [root / LIB / "bin" / "python3", "-IB", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={"PATH": "/usr/bin:/bin", **more},
    )


def test_two_builds_give_the_same_bytes(built: Path, again: Path) -> None:
    names = sorted(path.name for path in built.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert len(names) == 6  # package and two wheels, each with what it is made of
    digests = [
        {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
        for folder in (built, again)
    ]
    assert digests[0] == digests[1]


def test_nothing_in_the_package_is_the_operators_or_a_tests(root: Path) -> None:
    names = [path.relative_to(root).parts for path in root.rglob("*")]
    code = [parts for parts in names if "doc" not in parts]
    assert not [parts for parts in code if set(FORBIDDEN) & set(parts)]
    assert not [parts for parts in code if "sluicectl" in parts[-1]]
    assert {p.name for p in (root / "usr/bin").iterdir()} == {
        "sluicegate",
        "python3.11",
    }


def _shipped(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for room in OURS:
        for path in sorted((root / SITE / room).rglob("*.py")):
            yield str(path.relative_to(root / SITE)), ast.parse(path.read_bytes())


def test_promise_3_no_code_that_opens_envelopes_or_signs_policies(root: Path) -> None:
    """Opening is `decrypt` of an AEAD or of HPKE; signing policies takes TUF's signers.

    `fleet` does both with exactly these names, so that the same search finds it there.
    """
    opening = re.compile(r"\.decrypt\(|CryptoSigner|SSlibSigner|\bmd\.sign\(")
    found = []
    for name, tree in _shipped(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "decrypt":
                found.append((name, "decrypt"))
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [one.name for one in node.names]
                module = getattr(node, "module", None) or names[0]
                room = module.split(".")[0]
                if room in {"fleet", "firmware_sim"}:
                    found.append((name, module))
                if room == "securesystemslib" and names != ["Key"]:
                    found.append((name, f"{module}: {names}"))
    assert not found
    there = "".join(p.read_text("utf-8") for p in (ROOT / "fleet").rglob("*.py"))
    assert len(opening.findall(there)) > 3


def test_the_package_holds_the_same_code_as_the_gateways_wheel(
    root: Path, built: Path
) -> None:
    with zipfile.ZipFile(next(built.glob("sluicegate-*.whl"))) as wheel:
        inside = {
            name: wheel.read(name)
            for name in wheel.namelist()
            if ".dist-info/" not in name
        }
    installed = {
        path.relative_to(root / SITE).as_posix(): path.read_bytes()
        for room in OURS
        for path in (root / SITE / room).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name.split("/")[0] for name in inside} == set(OURS)
    assert inside == installed


def test_the_operators_wheel_stands_on_the_gateways(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("sluicegate_fleet-*.whl"))) as wheel:
        rooms = {name.split("/")[0] for name in wheel.namelist()}
        info = f"sluicegate_fleet-{VERSION}.dist-info"
        told = wheel.read(f"{info}/METADATA").decode()
        scripts = wheel.read(f"{info}/entry_points.txt").decode()
    assert rooms == {"fleet", "firmware_sim", info}
    assert f"Requires-Dist: sluicegate=={VERSION}\n" in told
    assert scripts == "[console_scripts]\nsluicectl = fleet.main:main\n"


def test_bytecode_is_whole_and_never_looks_at_its_source(root: Path) -> None:
    sources = sorted((root / SITE).rglob("*.py"))
    bare = []
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        compiled = compiled.with_name(f"{source.stem}.cpython-311.pyc")
        if not compiled.exists():
            bare.append(source.name)
            continue
        head = compiled.read_bytes()[:16]
        assert head[4:8] == b"\1\0\0\0"  # PEP 552: by hash, unchecked
        assert head[8:] == importlib.util.source_hash(source.read_bytes())
    assert len(bare) <= 3, bare


def test_every_module_of_ours_loads_and_every_command_answers(root: Path) -> None:
    modules = [
        name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        for name, _ in _shipped(root)
    ]
    told = _run(root, "-c", f"for m in {modules!r}: __import__(m)")
    assert (told.returncode, told.stderr) == (0, "")
    command = str(root / "usr/bin/sluicegate")
    told = _run(root, command, "--version")
    assert told.stdout == f"sluicegate {VERSION}\n"
    told = _run(root, command, "--help")
    words = re.findall(
        r"^  ([a-z-]+) ", told.stdout.split("Commands:")[1], re.MULTILINE
    )
    assert {"run", "doctor", "status"} <= set(words)
    for word in words:
        told = _run(root, command, word, "--help")
        assert told.returncode == 0, (word, told.stderr)
    told = _run(root, command, "demo")
    assert told.returncode == 1
    assert "operator's side is not installed" in told.stderr


def test_the_shipped_configuration_starts_a_daemon(root: Path, tmp_path: Path) -> None:
    """Ready is said, in lockdown; SIGTERM ends it cleanly."""
    text = (root / "etc/sluicegate/sluicegate.toml").read_text("utf-8")
    for place in ("/var/lib/sluicegate", "/run/sluicegate"):
        text = text.replace(place, str(tmp_path))
    config = tmp_path / "sluicegate.toml"
    config.write_text(text, "utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        daemon = subprocess.Popen(
            [
                root / LIB / "bin/python3", "-IB", root / "usr/bin/sluicegate", "run",
                "--config", config,
            ],
            env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )  # fmt: skip
        try:
            said = listener.recv(4096)
            while b"READY=1" not in said:
                said = listener.recv(4096)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=60) == 0
        finally:
            daemon.kill()
            daemon.wait()
    assert b"lockdown" in said
    assert (tmp_path / "store.db").exists()


def test_libraries_need_nothing_but_what_the_package_asks_for(
    root: Path, built: Path
) -> None:
    libraries = [p for p in (root / SITE).rglob("*.so*") if p.is_file()]
    brought = {path.name for path in libraries}
    assert len(libraries) > 20
    told = subprocess.run(
        ["readelf", "-dV", *libraries], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[([^]]+)\]", told))
    assert needed - brought <= SYSTEM
    versions = {
        tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", told)
    }
    assert max(versions) <= GLIBC_MAX
    deb = next(built.glob("*.deb"))
    asked = subprocess.run(
        ["dpkg-deb", "-f", deb, "Depends"], capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"[a-z][a-z0-9+-]+", asked)) >= DEPENDS
    libc = re.search(r"libc6 \(>= ([\d.]+)\)", asked)
    assert libc
    assert max(versions) <= tuple(map(int, libc[1].split(".")))


def test_modes_owners_and_conffiles(built: Path) -> None:
    deb = next(built.glob("*.deb"))
    listed = subprocess.run(
        ["dpkg-deb", "-c", deb], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=5) for line in listed.splitlines()]
    assert {row[1] for row in rows} == {"root/root"}
    modes = {row[5].split(" -> ")[0].removeprefix("."): row[0] for row in rows}
    assert modes["/etc/sluicegate/"] == "drwxr-x---"
    assert modes["/etc/sluicegate/sluicegate.toml"] == "-rw-r-----"
    assert modes["/usr/bin/sluicegate"] == "-rwxr-xr-x"
    writable = [
        name for name, mode in modes.items() if mode[0] != "l" and "w" in mode[5:]
    ]
    assert not writable
    conffiles = subprocess.run(
        ["dpkg-deb", "-I", deb, "conffiles"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "/etc/sluicegate/sluicegate.toml" in conffiles
    assert all(name.startswith("/etc/") for name in conffiles)


def test_the_package_tells_what_it_is_made_of(root: Path, built: Path) -> None:
    outer = json.loads(next(built.glob("*_amd64.cdx.json")).read_bytes())
    deb = next(built.glob("*.deb"))
    told = outer["metadata"]["component"]["hashes"][0]["content"]
    assert told == hashlib.sha256(deb.read_bytes()).hexdigest()
    inner = json.loads(
        (root / "usr/share/doc/sluicegate/sluicegate.cdx.json").read_bytes()
    )
    assert inner["components"] == outer["components"]
    named = {one["name"] for one in outer["components"]}
    installed = {
        re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower()
        for path in (root / SITE).glob("*.dist-info")
    }
    assert installed - named == {"sluicegate"}
    assert named <= installed


def test_lintian_finds_nothing_that_is_not_overridden_with_a_reason(
    built: Path,
) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("no lintian here: apt install lintian")
    told = subprocess.run(
        [
            "lintian",
            "--no-cfg",
            "--fail-on",
            "error,warning",
            "--suppress-tags",
            # here only: see _built
            (
                "uses-no-compression-for-control-tarball,"
                "uses-no-compression-for-data-tarball"
            ),
            next(built.glob("*.deb")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, "")
