"""The device's key file: made once, whole, and nobody else's business."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.adapters import device_key
from agent.adapters.device_key import load_or_create
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from agent.ports import Signer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.key"


def test_the_key_is_made_once_and_signs(path: Path) -> None:
    first: Signer = load_or_create(path, "gw-1")
    again = load_or_create(path, "gw-1")
    assert first.public_key() == again.public_key()
    assert len(first.public_key()) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["device.key"]  # noqa: PTH208  # hidden ones too
    key = Ed25519PublicKey.from_public_bytes(first.public_key())
    key.verify(again.sign(b"message"), b"message")
    with pytest.raises(InvalidSignature):
        key.verify(again.sign(b"message"), b"another")
    other = load_or_create(path.with_name("other.key"), "gw-2")
    assert other.public_key() != first.public_key()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_reads_the_key(path: Path) -> None:
    key = load_or_create(path, "gw-1")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert shown[-32:] == key.public_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    load_or_create(path, "gw-1")
    path.chmod(mode)
    with pytest.raises(BadInput, match="others may use it"):
        load_or_create(path, "gw-1")
    assert path.stat().st_mode & 0o777 == mode  # nothing was changed


def test_what_is_no_key_is_refused_and_kept(path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    load_or_create(path, "gw-1")
    half = path.read_bytes()[:60]
    for body in (b"", b"text", half, other, bytes(5000)):
        path.write_bytes(body)
        with pytest.raises(BadInput) as caught:
            load_or_create(path, "gw-1")
        assert "\n" not in str(caught.value)
        assert "device.key" in str(caught.value)
        assert path.read_bytes() == body


def test_links_and_folders_are_refused(path: Path) -> None:
    real = path.with_name("real.key")
    load_or_create(real, "gw-1")
    path.symlink_to(real)
    with pytest.raises(BadInput):
        load_or_create(path, "gw-1")
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(BadInput, match="not a regular file"):
        load_or_create(path, "gw-1")
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(BadInput, match="not a regular file"):
        load_or_create(path, "gw-1")


def test_a_start_that_was_cut_short_is_begun_again(path: Path) -> None:
    path.with_name("device.key.new").write_bytes(b"half a k")
    key = load_or_create(path, "gw-1")
    assert load_or_create(path, "gw-1").public_key() == key.public_key()
    assert not path.with_name("device.key.new").exists()


def test_two_that_come_at_once_have_one_key(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, made = threading.Barrier(2), device_key._made

    def slowly() -> bytes:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # would be two here, if the folder were not one's alone
        return made()

    monkeypatch.setattr(device_key, "_made", slowly)
    with ThreadPoolExecutor(2) as pool:
        keys = [pool.submit(load_or_create, path, "gw-1") for _ in range(2)]
    first, second = (one.result().public_key() for one in keys)
    assert first == second == load_or_create(path, "gw-1").public_key()


def test_an_absent_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^device key: device.key: No such file"):
        load_or_create(tmp_path / "absent" / "device.key", "gw-1")


def test_the_private_half_is_never_shown(path: Path) -> None:
    key = load_or_create(path, "gw-1")
    assert repr(key) == "DeviceKey('gw-1')"
    assert str(key) == "DeviceKey('gw-1')"
