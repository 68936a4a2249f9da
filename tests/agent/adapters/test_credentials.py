"""`credential:NAME` in a path: a file of the folder that systemd gives, no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.device_key import load, load_or_create
from agent.adapters.files import read_secret
from agent.adapters.identities import master_of, signer_of
from agent.adapters.policy.loader import Paths
from agent.config import parse_config
from agent.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
device = "gw-1"
fleet = "north"
state_dir = "state"
[identity]
key = "credential:device.key"
pseudonyms = "credential:pseudonym.key"
[mqtt]
password_file = "credential:mqtt.password"
"""


def paths_of(folder: Path, text: str = CONFIG) -> Paths:
    file = str(folder / "gw.toml")
    return Paths(file, parse_config(text.encode(), file))


@pytest.fixture
def given_by_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As systemd 252 lays it out: a read-only folder, files of mode 0400 or 0440."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    load_or_create(folder / "device.key", "gw-1")
    (folder / "device.key").chmod(0o440)  # the mask of an ACL for the unit's user
    for name, body in [("mqtt.password", b"s3cret\n"), ("pseudonym.key", b"m" * 32)]:
        (folder / name).write_bytes(body)
        (folder / name).chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_credential_is_a_file_of_systemds_folder(
    tmp_path: Path, given_by_systemd: Path
) -> None:
    paths = paths_of(tmp_path)
    file = paths.of(paths.config.mqtt.password_file)
    assert file == str(given_by_systemd / "mqtt.password")
    assert read_secret(given_by_systemd / "mqtt.password", 100) == b"s3cret\n"
    assert paths.of("other") == str(tmp_path / "other")


def test_an_identity_that_the_owner_brings_is_taken_and_none_is_made(
    tmp_path: Path, given_by_systemd: Path
) -> None:
    paths = paths_of(tmp_path)
    (given_by_systemd / "device.key").chmod(0o400)
    ours = load(given_by_systemd / "device.key", "gw-1").public_key()
    (given_by_systemd / "device.key").chmod(0o440)
    assert signer_of(paths).public_key() == ours
    assert master_of(paths) == b"m" * 32
    assert not (tmp_path / "state").exists()


def test_without_an_identity_both_keys_are_made_once(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    paths = paths_of(tmp_path, CONFIG.partition("[identity]")[0])
    assert signer_of(paths).public_key() == signer_of(paths).public_key()
    assert master_of(paths) == master_of(paths)


def test_a_key_that_is_away_makes_no_other_device(tmp_path: Path) -> None:
    text = CONFIG.replace("credential:device.key", "brought.key")
    with pytest.raises(BadInput, match="no other key is made"):
        signer_of(paths_of(tmp_path, text))
    assert not (tmp_path / "brought.key").exists()


def test_without_systemd_there_is_none_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in ("", "relative"):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", told)
        with pytest.raises(BadInput, match="gave this process no credentials") as said:
            paths_of(tmp_path).of("credential:mqtt.password")
        assert "credential:mqtt.password" in str(said.value)
        assert "\n" not in str(said.value)


@pytest.mark.usefixtures("given_by_systemd")
def test_one_that_systemd_was_not_told_of(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="LoadCredential=other:FILE"):
        paths_of(tmp_path).of("credential:other")


@pytest.mark.parametrize("mode", [0o460, 0o444, 0o404, 0o640, 0o600 | 0o001])
def test_a_credential_that_others_may_use_is_refused(
    given_by_systemd: Path, mode: int
) -> None:
    for name in ("mqtt.password", "device.key"):
        (given_by_systemd / name).chmod(mode)
    with pytest.raises(BadInput, match="others may read"):
        read_secret(given_by_systemd / "mqtt.password", 100)
    with pytest.raises(BadInput, match="others may use"):
        load(given_by_systemd / "device.key", "gw-1")


def test_the_mode_of_an_acl_is_believed_inside_that_folder_only(
    given_by_systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = given_by_systemd / "device.key"
    assert load(file, "gw-1")
    given_by_systemd.chmod(0o770)  # somebody may change what is in there
    with pytest.raises(BadInput, match="others may use"):
        load(file, "gw-1")
    given_by_systemd.chmod(0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given_by_systemd.parent))
    with pytest.raises(BadInput, match="others may use"):
        load(file, "gw-1")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../key", "a/b", "/key", ".hidden", "a:b", "ü", "a" * 65]
)
def test_names_that_could_be_a_path_are_refused_when_parsed(
    tmp_path: Path, name: str
) -> None:
    text = CONFIG.replace("credential:mqtt.password", f"credential:{name}")
    with pytest.raises(BadInput, match="not a name of the form"):
        paths_of(tmp_path, text)


@given(name=st.text(max_size=80))
def test_no_name_leaves_the_folder(name: str) -> None:
    text = 'device="a"\nfleet="b"\nstate_dir="c"\n[mqtt]\npassword_file='
    if not name.isprintable() or '"' in name or "\\" in name:
        return
    try:
        told = parse_config(f'{text}"credential:{name}"'.encode(), "gw.toml")
    except BadInput:
        return
    kept = told.mqtt.password_file.removeprefix("credential:")
    assert "/" not in kept
    assert not kept.startswith(".")
