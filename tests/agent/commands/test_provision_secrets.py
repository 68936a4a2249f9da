"""A whole provisioning, and nothing secret anywhere but in its own file."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from agent.adapters import enrolment_changes as adapter
from agent.adapters.enrolment import Enrolments, Standing
from agent.adapters.enrolment_changes import changing
from tests.support.enrolling import ROOT, Enrolling

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = ("device.key", "pseudonym.key", "tls.key", "ca.key", "broker.key")


def needles(path: Path) -> list[bytes]:
    """Return the forms in which a secret could be shown: raw, hex, base64, PEM."""
    body = path.read_bytes()
    if b"PRIVATE" not in body:
        return [body, body.hex().encode(), base64.b64encode(body)[:-1]]
    key = load_pem_private_key(body, None)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(key, EllipticCurvePrivateKey):
        raw = key.private_numbers().private_value.to_bytes(32, "big")
    else:
        assert isinstance(key, Ed25519PrivateKey)
        raw = key.private_bytes_raw()
    at = -(-der.index(raw) // 3) * 4  # the first base64 digits that are only of it
    shown = base64.b64encode(der)[at : at + 36]
    assert shown in body.replace(b"\n", b"")
    return [raw, raw.hex().encode(), base64.b64encode(raw)[:-2], shown]


def test_no_secret_in_any_output_file_argument_or_environment(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Enrolling(tmp_path)
    seen: list[str] = []
    really = subprocess.Popen.__init__

    def watched(self: object, args: object, *more: object, **options: object) -> None:
        seen.append(repr(args))
        really(self, args, *more, **options)  # type: ignore[arg-type, call-overload]  # passed on as it came

    monkeypatch.setattr(subprocess.Popen, "__init__", watched)
    place.enrol(8883)
    place.begin("--json")  # a second one waits
    place.install(tmp_path / "answer-1.json")  # refused: it answers another
    place.shown(capfd)
    place.answer(place.begin(), 8883, "--json")
    output = "".join(capfd.readouterr()) + "".join(seen) + repr(dict(os.environ))
    secrets = [path for path in tmp_path.rglob("*") if path.name in SECRETS]
    assert len(secrets) == 6
    others = [
        path for path in tmp_path.rglob("*") if path.is_file() and path not in secrets
    ]
    assert len(others) > 10
    texts = [output.encode(), *(path.read_bytes() for path in others)]
    for secret in secrets:
        for needle in needles(secret):
            assert all(needle not in text for text in texts), secret
            for other in secrets:
                assert other == secret or needle not in other.read_bytes()
    for path in [place.ca_key, *place.state.rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that lets others through; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="root makes files for others")
def test_what_root_makes_belongs_to_the_services_user(open_folder: Path) -> None:
    place = Enrolling(open_folder)
    nobody = pwd.getpwnam("nobody")
    place.state.mkdir(mode=0o700)
    os.chown(place.state, nobody.pw_uid, nobody.pw_gid)
    place.enrol(8883)
    place.begin()
    for path in [place.state, *place.state.rglob("*")]:
        facts = path.stat()
        owner = (facts.st_uid, facts.st_gid)
        assert owner == (nobody.pw_uid, nobody.pw_gid), path
        assert not facts.st_mode & 0o077
    assert (open_folder / "request.json").stat().st_uid == 0  # asked for by root
    assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="root follows nobody's links")
def test_root_follows_no_link_of_the_services_user(open_folder: Path) -> None:
    place = Enrolling(open_folder)
    nobody = pwd.getpwnam("nobody")
    place.state.mkdir(mode=0o700)
    os.chown(place.state, nobody.pw_uid, nobody.pw_gid)
    victim = open_folder / "victim"
    victim.mkdir(mode=0o700)
    (place.state / "enrolment").symlink_to(victim)
    words = ["provision", "begin", "-c", str(place.config), "-o", "-"]
    done = subprocess.run(
        [sys.executable, "-c", "from agent.main import main; main()", *words],
        check=False, capture_output=True, cwd=open_folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode != 0
    assert not list(victim.iterdir())


@pytest.mark.parametrize("after", range(12))
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The calls that change the disk are counted; the one after so many never ends."""
    place = Enrolling(tmp_path)
    place.enrol(8883)
    with changing(Enrolments(place.state)) as folder:
        folder.prove("0001")
    answer = place.answer(place.begin(), 8884)
    left = [after]

    class PowerCut(BaseException):
        pass

    def counted(call: object) -> object:
        def stands_in(*args: object, **options: object) -> object:
            if left[0] == 0:
                raise PowerCut
            left[0] -= 1
            return call(*args, **options)  # type: ignore[operator]  # one of the two below

        return stands_in

    for name in ("write_durably", "sync_folder"):
        monkeypatch.setattr(adapter, name, counted(getattr(adapter, name)))
    with contextlib.suppress(PowerCut):
        place.install(answer)
    monkeypatch.undo()
    found = Enrolments(place.state)
    standing, current = found.standing(), found.current()
    assert current is not None
    assert current.key_file.stat().st_size > 200
    assert current.cert_file.exists()
    assert standing.current in {"0001", "0002"}
    if standing.current == "0001":
        assert standing == Standing(current="0001", proved=True)
        assert place.install(answer) == 0  # the same words again bring it to its end
    assert found.standing().current == "0002"
    assert found.standing().former == "0001"
