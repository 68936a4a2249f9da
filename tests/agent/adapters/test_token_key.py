"""The identity behind PKCS#11: SoftHSM 2 as the token, a daemon's own words."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.adapters.token_key import Place, parse_uri, token_key
from agent.errors import BadInput, Unavailable
from agent.main import run as sluicegate
from protocols.enrolment import open_request_file
from tests.support.enrolling import CONFIG, Enrolling

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "48151623"


def test_a_uri_says_where_the_key_is() -> None:
    text = "pkcs11:token=my%20hsm;object=id?module-path=/m.so&pin-source=credential:pin"
    assert parse_uri(text, "gw.toml") == Place(
        "my hsm", "id", "/m.so", "credential:pin"
    )
    for bad, words in (
        ("pkcs11:", "cannot|not taken"),
        ("pkcs11:token=a;object=b?module-path=/m", "names no pin-source"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-value=1", "'pin-value' is not"),
        ("pkcs11:token=a;token=b", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=words):
            parse_uri(bad, "gw.toml")


def test_without_the_extra_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    text = "pkcs11:token=a;object=b?module-path=/m&pin-source=pin"
    with pytest.raises(BadInput, match=r"needs the extra sluicegate\[pkcs11\]"):
        token_key("gw", text, "gw.toml", lambda name: str(tmp_path / name), create=True)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new token; the module reads its configuration once in a process."""
    pytest.importorskip("pkcs11", reason="needs sluicegate[pkcs11]")
    if not (Path(MODULE).exists() and shutil.which("softhsm2-util")):
        pytest.skip("needs softhsm2")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    (folder / "pin").write_text(PIN + "\n")
    (folder / "pin").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(conf))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "sg", "--so-pin",
             "12345678", "--pin", PIN],
            check=True, capture_output=True,
        )  # fmt: skip
        yield folder


def uri(token: Path, label: str) -> str:
    where = f"module-path={MODULE}&pin-source={token / 'pin'}"
    return f"pkcs11:token=sg;object={label}?{where}"


def test_the_identity_never_leaves_the_token(
    token: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = uri(token, "identity")
    place = Enrolling(tmp_path, CONFIG + f'[identity]\nkey = "{text}"\n')
    words = ["identity", "-c", str(place.config)]
    assert sluicegate(words) == 2  # only `provision begin` makes one
    assert "the token has no Ed25519 key 'identity'" in capfd.readouterr().err
    asked = open_request_file(place.begin().read_bytes())
    assert place.install(place.answer(place.begin(), 8883)) == 0
    capfd.readouterr()
    assert sluicegate(words) == 0
    public = base64.b64decode(capfd.readouterr().out.split()[1])
    assert asked.identity == public
    assert not (place.state / "device.key").exists()
    form = json.loads((place.folder / "devices/gw-1.device.json").read_text())
    assert base64.b64decode(form["ed25519"]) == public
    everything = b"".join(
        path.read_bytes() for path in place.state.rglob("*") if path.is_file()
    )
    assert PIN.encode() not in everything


def test_a_token_that_was_away_is_asked_once_more(token: Path) -> None:
    key = token_key("gw-1", uri(token, "k"), "gw.toml", str, create=True)
    verifier = Ed25519PublicKey.from_public_bytes(key.public_key())
    verifier.verify(key.sign(b"one"), b"one")
    key._session.close()  # the token was pulled out, and is back
    verifier.verify(key.sign(b"two"), b"two")
    key._session.close()
    key._place = replace(key._place, label="gone")
    with pytest.raises(Unavailable, match="pkcs11: the token says NoSuchKey"):
        key.sign(b"three")
    assert PIN not in repr(key)
