"""`sluicegate consent` without an agent: what it writes, and what it refuses."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from agent.commands.app import main
from agent.consent_file import parse_consents
from agent.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

    from agent.consent_file import Statement

CONFIG = 'device = "d"\nfleet = "f"\nstate_dir = "state"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    path = tmp_path / "gw.toml"
    path.write_text(CONFIG, encoding="ascii")
    return path


def run(config: Path, *words: str) -> int:
    return main(["consent", *words, "-c", str(config)])


def refused(config: Path, *words: str) -> str:
    with pytest.raises(BadInput) as raised:
        run(config, *words)
    return str(raised.value)


def given(config: Path) -> tuple[Statement, ...]:
    return parse_consents((config.parent / "state" / "consents.json").read_bytes())


def test_give_withdraw_and_list(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, "give", "track", "--for", "7d") == 0
    assert "no agent answers" in capsys.readouterr().out
    assert (
        run(config, "give", "cabin", "--for", "90m", "--by", "owner", "--opt-in") == 0
    )
    track, cabin = given(config)
    assert track.expires - track.given == 7 * 86_400
    assert (cabin.expires - cabin.given, cabin.by, cabin.opt_in) == (
        5400,
        "owner",
        True,
    )
    assert track.id != cabin.id
    file = config.parent / "state" / "consents.json"
    assert file.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert run(config, "list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["state"]) for one in told] == [
        ("track", "written"), ("cabin", "written"),
    ]  # fmt: skip
    assert run(config, "list") == 0
    assert "written: no agent answers" in capsys.readouterr().out
    assert run(config, "give", "track", "--for", "1h") == 0
    again = {one.name: one for one in given(config)}
    assert again["track"].id != track.id
    assert run(config, "withdraw", "track") == 0
    assert [one.name for one in given(config)] == ["cabin"]
    assert run(config, "withdraw", "--all") == 0
    assert given(config) == ()


def test_what_is_refused_is_one_line(config: Path) -> None:
    run(config, "give", "track", "--for", "1d")
    assert "a year at most (T51)" in refused(config, "give", "x", "--for", "366d")
    assert "not a duration: 'always'" in refused(config, "give", "x", "--for", "always")
    assert "one of driver, passenger" in refused(
        config, "give", "x", "--for", "1d", "--by", "Zhang San"
    )
    assert "did you mean 'track'?" in refused(config, "withdraw", "trak")
    assert "name one consent, or say --all" in refused(config, "withdraw")
    assert "name one consent" in refused(config, "withdraw", "track", "--all")
    assert [one.name for one in given(config)] == ["track"]
    (config.parent / "state" / "consents.json").write_bytes(b"{")
    assert "consents.json: is no JSON" in refused(config, "give", "x", "--for", "1d")
    assert "consents.json: is no JSON" in refused(config, "list")
    assert run(config, "withdraw", "--all") == 0  # always possible
    assert given(config) == ()
    (config.parent / "state" / "consents.json").unlink()
    (config.parent / "state" / "consents.json.lock").unlink()
    (config.parent / "state").rmdir()
    assert "start the agent once" in refused(config, "give", "x", "--for", "1d")


def test_a_name_that_is_none_is_refused(config: Path) -> None:
    for name in ("a b", "a\n", "x" * 65, "\x1b[2J"):
        line = refused(config, "give", name, "--for", "1d")
        assert line.isprintable()
    assert not (config.parent / "state" / "consents.json").exists()


def test_givers_do_not_undo_each_other(config: Path) -> None:
    names = [f"n{number}" for number in range(12)]
    threads = [
        threading.Thread(target=run, args=(config, "give", name, "--for", "1d"))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.name for one in given(config)) == sorted(names)


def test_the_status_socket_is_beside_the_configuration(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(socket: str, port: int, page: str) -> bytes:
        del port, page
        asked.append(socket)
        return b'{"consents": []}'

    monkeypatch.setattr("agent.commands.consent.fetch_page", fetch)
    config.write_text(CONFIG + '[metrics]\nsocket = "status.sock"\n', encoding="ascii")
    assert run(config, "list") == 0
    assert asked == [str(config.parent / "status.sock")]
