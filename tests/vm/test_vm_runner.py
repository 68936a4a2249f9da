"""What of the runner needs no machine."""

from __future__ import annotations

import importlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.vm import __main__ as runner
from tests.vm import image
from tests.vm.guest import Failed, note
from tests.vm.host import Host
from tests.vm.machine import Ended, Hardware, Machine

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
Types: deb
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: bookworm
"""


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        (DEB822, "http://mirror.example"),
        ("deb http://a.example/debian bookworm main", "http://a.example"),
        (
            "deb [arch=amd64] https://b.example/x/debian/ sid main",
            "https://b.example/x",
        ),
        ("# deb http://a.example/debian bookworm main", ""),
        ("deb https://c.example/node_20.x nodistro main", ""),
    ],
)
def test_the_mirror_is_the_one_of_the_host_s_apt(text: str, mirror: str) -> None:
    assert image.mirror_of(iter([text])) == mirror


def test_another_mirror_is_another_image() -> None:
    one, other = (image.recipe_key(f"http://{name}.example") for name in "ab")
    assert one != other
    assert one == image.recipe_key("http://a.example")


def test_where_it_cannot_run_it_says_why_in_one_line_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert runner.main([]) == 0
    assert capsys.readouterr().out == "vm-test: skipped: not root\n"
    assert runner.main(["--require"]) == 1


def test_what_a_killed_run_left_goes_and_what_runs_stays(tmp_path: Path) -> None:
    (tmp_path / "4194999-dead").mkdir()  # above pid_max's limit: nobody's
    (tmp_path / "1-init").mkdir()
    mine = runner.run_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, tmp_path / "1-init"])


def test_what_is_long_runs_by_name_only() -> None:
    usual = set(runner.usual_names())
    assert "install" in usual
    assert {"cuts_backlog", "bench_can8"}.isdisjoint(usual)


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.options(["nonsense"])
    assert "no scenario nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("name", runner.scenario_names())
def test_every_scenario_says_what_it_shows_and_has_a_step(name: str) -> None:
    module = importlib.import_module(f"tests.vm.scenarios.{name}")
    assert module.__doc__
    assert callable(getattr(module, "host", None) or module.guest)


def test_shares_are_read_only_but_the_one_that_results_come_back_in(
    tmp_path: Path,
) -> None:
    shares = {"project": tmp_path, "run": tmp_path}
    script = Hardware(tmp_path, tmp_path / "cow", shares).command()[-1]
    assert "remount,bind,ro" in next(x for x in script.split("mkdir") if "project" in x)
    assert script.count("remount,bind,ro") == 1


def test_a_result_that_does_not_hold_fails_its_scenario(tmp_path: Path) -> None:
    host = Host("smoke", tmp_path, tmp_path, tmp_path)
    assert host.check("one", True, seconds=1.5)
    told = runner.Told("smoke", "title", results=host.results())
    assert told.holds
    assert not host.check("other", [])
    told.results = host.results()
    assert not told.holds
    assert told.lines() == [
        "FAILED smoke: title (0 s)", "       one  seconds=1.5", "    NO other"
    ]  # fmt: skip


def test_a_failure_is_told_also_where_all_checks_held() -> None:
    told = runner.Told("smoke", "title", failed="Ended: off")
    assert not told.holds
    assert "    NO Ended: off" in told.lines()


def test_a_disk_without_an_installed_gateway_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="install"):
        Host("smoke", tmp_path, tmp_path, tmp_path).disk()


def test_results_are_lines_of_json(tmp_path: Path) -> None:
    note(tmp_path / "r", "what", True, {"path": tmp_path})
    assert json.loads((tmp_path / "r").read_text()) == {
        "what": "what", "ok": True, "path": str(tmp_path)
    }  # fmt: skip


class _Script(Hardware):
    """A machine that is a shell script: no jail, no kernel."""

    def command(self) -> list[str]:
        return ["sh", "-c", self.name]


def _machine(folder: Path, script: str) -> Machine:
    return Machine(_Script(folder, folder / "cow", {}, script), folder / "console")


def test_the_console_is_waited_for_line_by_line(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "echo one 1; echo two 2")
    assert machine.until(r"two (\d)", 10).group(1) == "2"
    machine.wait_off(10)
    assert (tmp_path / "console").read_text() == "one 1\ntwo 2\n"
    with pytest.raises(Ended, match="off before"):
        machine.until("three", 10)


def test_a_panic_ends_the_wait(tmp_path: Path) -> None:
    machine = _machine(
        tmp_path, "echo '[    1.5] Kernel panic - not syncing'; exec sleep 60"
    )
    with pytest.raises(Ended, match="panicked"):
        machine.until("never", 10)
    machine.cut()


def test_a_cut_ends_what_runs(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "echo up; exec sleep 60")
    machine.until("up", 10)
    machine.cut()
    with pytest.raises(Ended):
        machine.until("down", 10)


def test_a_limit_is_kept(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "exec sleep 60")
    with pytest.raises(Ended, match="within"):
        machine.until("up", 0.01)
    machine.cut()


def test_disks_of_packages_tried_long_ago_go(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        (tmp_path / f"disk-{name}").touch()
        os.utime(tmp_path / f"disk-{name}", (number, number))
    runner.forget(tmp_path / "disk-a")
    assert {one.name for one in tmp_path.iterdir()} == {"disk-a", "disk-c", "disk-d"}
