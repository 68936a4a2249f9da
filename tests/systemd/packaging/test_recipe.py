"""The recipe of the Debian package: what its files promise each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import build_deb
import build_fetch
import build_tree
import build_trim
import pytest

from agent import VERSION
from agent.config import parse_config

ROOT = Path(__file__).resolve().parents[3]
DEBIAN = ROOT / "systemd" / "debian"


def _text(name: str) -> str:
    return (DEBIAN / name).read_text("utf-8")


def test_changelog_is_of_the_version_that_the_code_says() -> None:
    assert _text("changelog").startswith(f"sluicegate ({VERSION}) ")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == VERSION


def test_the_shipped_configuration_is_lockdown_on_loopback() -> None:
    config = parse_config((DEBIAN / "config" / "sluicegate.toml").read_bytes(), "here")
    assert (config.policy, config.can, config.modbus, config.tap) == ("", [], [], [])
    assert (config.trust.root, config.eve, config.metrics.port) == ("", None, 0)
    assert config.mqtt.host == "127.0.0.1"
    assert config.state_dir == "/var/lib/sluicegate"
    assert config.metrics.socket == "/run/sluicegate/status.sock"


def test_the_hint_at_enrolment_is_what_the_daemon_takes() -> None:
    text = _text("config/sluicegate.toml")
    head, section = text.split("[mqtt]")[0], text.split("[mqtt]")[1]
    hint, rest = section.split("host =")[0], section[section.index("[metrics]") :]
    told = f"{head}[mqtt]{hint.replace('# enrolled', 'enrolled')}\n{rest}"
    assert parse_config(told.encode(), "here").mqtt.enrolled


def test_the_lock_pins_every_dependency_with_hashes() -> None:
    locked = build_fetch.locked(DEBIAN / "requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = {re.split(r"[<>=]", one)[0] for one in project["project"]["dependencies"]}
    assert asked <= set(locked)
    assert all(digests for _, digests in locked.values())
    assert not {"pip", "setuptools", "pandas", "asammdf", "pyarrow"} & set(locked)
    assert set(build_trim.DISTRIBUTIONS) <= set(locked)


def test_what_is_built_is_what_control_names() -> None:
    named = re.search(r"^Architecture: (.+)$", _text("control"), re.MULTILINE)
    assert named is not None
    assert {*named[1].split()} == {*build_deb.STRIP}


def test_no_room_but_the_gateways_is_copied() -> None:
    assert set(build_tree.PACKAGES) == {"agent", "policies", "protocols"}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("numpy/_core/multiarray.py", True),
        ("numpy/_core/tests/test_dtype.py", False),
        ("numpy/f2py/__init__.py", False),
        ("numpy/testing/__init__.py", True),
        ("zstandard/_cffi.cpython-311-x86_64-linux-gnu.so", False),
        ("zstandard/backend_c.cpython-311-x86_64-linux-gnu.so", True),
        ("numpy-2.4.6.dist-info/licenses/LICENSE.txt", True),
        ("numpy-2.4.6.dist-info/RECORD", False),
    ],
)
def test_what_is_trimmed(path: str, kept: bool) -> None:
    assert build_trim.is_kept(path) is kept


def test_a_wheel_that_the_lock_does_not_name_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "numpy-2.4.6-cp311-none-any.whl").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="0 wheels of"):
        build_fetch.chosen(tmp_path, DEBIAN / "requirements.lock")


def test_the_copy_has_the_recipe_and_nothing_that_builds_leave(tmp_path: Path) -> None:
    names = build_deb.tracked(ROOT)
    assert "systemd/debian/control" in names
    assert not [n for n in names if n.startswith((".venv", "dist/", "build/"))]


def test_purge_names_every_folder_that_the_service_owns() -> None:
    unit = (ROOT / "systemd" / "sluicegate.service").read_text("utf-8")
    places = {"State": "/var/lib", "Logs": "/var/log", "Runtime": "/run"}
    script = _text("sluicegate.postrm")
    for kind, place in places.items():
        for name in re.findall(rf"^{kind}Directory=(\S+)", unit, re.MULTILINE):
            assert f"{place}/{name}" in script
    assert "/etc/sluicegate" in script
