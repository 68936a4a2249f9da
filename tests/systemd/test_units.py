"""Units: every line explained, variants differ where they say so, scores as told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
BASE = "sluicegate.service"
VARIANTS = ("sluicegate-proxy.service", "sluicegate@.service")
PROXY = "sluicegate-proxy.socket"
CLOCK = ("sluicegate-clock.socket", "sluicegate-clock@.service")
DROPINS = sorted(path.name for path in (FOLDER / "dropins").glob("*.conf"))
SECURITY_MAX = 1.5

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)"
)


def lines_of(*names: str) -> list[str]:
    """Return the settings of unit files, in order, without sections and comments."""
    text = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
    return [line for line in text.splitlines() if re.match(r"[A-Z]\w+=", line)]


def explained(section: str) -> list[str]:
    """Return the settings that one section of the README explains."""
    found = re.search(
        rf"^##+ {re.escape(section)}\n(.*?)(?=^## |\Z|^### `)",
        README,
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, section
    return re.findall(r"^\| `([A-Z]\w+=[^`]*)` \|", found[1], re.MULTILINE)


def section(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ((BASE,), section(BASE)),
        (("sluicegate-retry@.timer",), section("sluicegate-retry@.timer")),
        ((PROXY,), section(PROXY)),
        (CLOCK, section(*CLOCK)),
        *(((f"dropins/{name}",), section(name)) for name in DROPINS),
    ],
)
def test_every_line_is_explained_and_nothing_else(
    names: tuple[str, ...], title: str
) -> None:
    lines, told = lines_of(*names), explained(title)
    assert sorted(set(lines)) == sorted(told)
    assert [line for line in told if line in lines] == told  # none twice, none gone


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_unit_as_its_section_says(name: str) -> None:
    base, variant = lines_of(BASE), lines_of(name)
    assert [line for line in variant if line not in base] == explained(section(name))
    replaced = {line.partition("=")[0] for line in explained(section(name))}
    gone = {line.partition("=")[0] for line in base if line not in variant}
    assert gone <= replaced | {"Conflicts"}


def test_every_file_is_in_the_table_of_files() -> None:
    table = README.partition("## Score")[0]
    files = [p.name for p in FOLDER.iterdir() if p.name.startswith("sluicegate")]
    assert len(files) > 8
    assert not [name for name in files if f"`{name}`" not in table]
    told = {f"### `{name}`" for name in DROPINS}
    assert told <= set(README.splitlines())


def test_settings_of_examples_are_explained() -> None:
    table = README.partition("## CAN interfaces")[2]
    files = [*(FOLDER / "examples").glob("*.net*")]
    assert len(files) == 4
    for path in files:
        text = path.read_text(encoding="utf-8").partition("\n[")[2]
        settings = [one for one in text.splitlines() if re.match(r"[A-Z]\w+=", one)]
        keys = {one.partition("=")[0] for one in settings} - {"Name", "Kind"}
        assert keys
        assert not [key for key in keys if f"`{key}=" not in table], path.name


def test_comments_of_credentials_are_settings_that_systemd_knows() -> None:
    text = (FOLDER / "dropins" / "credentials.conf").read_text(encoding="utf-8")
    told = re.findall(r"^#(\w+)=(\S+)$", text, re.MULTILINE)
    assert {key for key, _ in told} == {"LoadCredential", "LoadCredentialEncrypted"}
    assert all(re.fullmatch(r"[a-z.]+:/etc/sluicegate/\S+", what) for _, what in told)


def test_debian_12_ignores_none_of_the_lines() -> None:
    """systemd 252 without BPF_FRAMEWORK says nothing of these and does nothing."""
    deaf = r"^(SocketBind\w+|RestrictNetworkInterfaces|RestrictFileSystems)="
    late = r"^(Type=notify-reload|RestartSteps|RestartMaxDelaySec|OpenFile)\b"
    for path in FOLDER.rglob("*"):
        if path.suffix in {".service", ".timer", ".socket", ".conf"}:
            text = path.read_text(encoding="utf-8")
            assert not re.findall(f"{deaf}|{late}", text, re.MULTILINE), path.name


# --- systemd's own opinion ------------------------------------------------------------


def _runnable(folder: Path, name: str, dropin: str = "") -> Path:
    """Write a unit so that it can be looked at where the agent is not installed."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if dropin:
        more = (FOLDER / "dropins" / dropin).read_text(encoding="utf-8")
        settings = more.partition("[Service]")[2]
        text = text.replace("[Install]", f"{settings}\n[Install]")
    text = text.replace("/usr/bin/sluicegate", "/bin/true")
    file = folder / name.replace("@.", "@one.")
    file.write_text(text, encoding="utf-8")
    return file


@needs_analyze
def test_systemd_has_nothing_to_say_against_them(tmp_path: Path) -> None:
    units = [p.name for p in FOLDER.iterdir() if re.search(r"\.(ser|tim|sock)", p.name)]
    files = [_runnable(tmp_path, name) for name in units]
    for name in units:  # templates that the others name
        if "@." in name:
            text = (FOLDER / name).read_text(encoding="utf-8")
            text = text.replace("/usr/bin/sluicegate", "/bin/true")
            (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "sluicegate" in line]
    assert not ours
    assert done.returncode == 0


def _table() -> Iterator[tuple[str, str, float]]:
    rows = README.partition("## Score")[2].partition("\n## ")[0]
    for unit, dropin, score in re.findall(
        r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\| ([\d.]+) \|", rows, re.MULTILINE
    ):
        yield unit, dropin, float(score)


def test_no_unit_has_a_capability_as_it_comes() -> None:
    for path in FOLDER.glob("*.service"):
        lines = lines_of(path.name)
        assert "CapabilityBoundingSet=" in lines, path.name
        assert "PrivateUsers=yes" in lines, path.name
        given = [one for one in lines if one.startswith("AmbientCapabilities=C")]
        assert not given, path.name


@needs_analyze
@pytest.mark.parametrize(("unit", "dropin", "score"), list(_table()))
def test_the_score_is_what_the_readme_says(
    tmp_path: Path, unit: str, dropin: str, score: float
) -> None:
    file = _runnable(tmp_path, unit, dropin)
    threshold = 10.0 if dropin else SECURITY_MAX  # what the owner adds is his choice
    done = subprocess.run(
        [
            "systemd-analyze", "security", "--offline=true", "--no-pager",
            f"--threshold={threshold * 10:.0f}", file,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = re.search(r"Overall exposure level for .*: ([\d.]+) ", done.stdout)
    assert said is not None, done.stderr
    assert float(said[1]) == score
    assert done.returncode == 0


def test_all_that_is_installed_is_scored() -> None:
    units = {p.name for p in FOLDER.glob("*.service")}
    assert {unit for unit, dropin, _ in _table() if not dropin} == units
