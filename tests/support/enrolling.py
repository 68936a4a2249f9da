"""A broker with TLS, a fleet's authority, and devices that enrol with it.

place = Enrolling(tmp_path)                # authority and broker's certificate
with place.broker() as broker:
    place.enrol(broker, days=90)           # begin, answer, install: real commands
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.adapters.status_client import fetch_page
from agent.errors import Unavailable
from agent.main import run as sluicegate
from fleet.enrol import authority
from fleet.enrol.issuing import Issuer, issued, read_request
from fleet.main import run as sluicectl
from fleet.trust.signing import Passphrases
from protocols.enrolment import decode_answer, encode_answer
from tests.support.broker import Broker, Tls
from tests.support.certificates import saved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
DAEMON = ("-c", "from agent.main import main; main()")
NOW = dt.datetime.now(dt.UTC)
CONFIG = """\
device = "gw-1"
fleet = "north"
state_dir = "state"
[mqtt]
enrolled = true
[metrics]
socket = "status.sock"
"""


class Enrolling:
    """Files of an operator and of one gateway, in one folder."""

    device, fleet = "gw-1", "north"

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self.config = folder / "gw.toml"
        self.config.write_text(config, encoding="utf-8")
        self.state = folder / "state"
        self.enrolment = self.state / "enrolment"
        self.ca, self.ca_key = authority.found(
            self.fleet, folder / "ca", 10, NOW - dt.timedelta(days=400), None
        )
        self._answers = 0
        server(folder, "broker")

    def broker(self, *settings: str, acl: str = "") -> Broker:
        """Return a mosquitto that takes nobody without a certificate of the fleet."""
        cert, key = self.folder / "broker.pem", self.folder / "broker.key"
        names = ("use_identity_as_username true", *settings)
        return Broker(self.folder, acl=acl, settings=names, tls=Tls(self.ca, cert, key))

    def authority(self) -> authority.Authority:
        """Return what issues."""
        return authority.load(self.ca, self.ca_key, Passphrases())

    def begin(self, *more: str) -> Path:
        """Ask; return the request."""
        out = self.folder / "request.json"
        words = ["provision", "begin", "-c", str(self.config), "-o", str(out)]
        assert sluicegate([*words, *more]) == 0
        return out

    def answer(self, request: Path, port: int, *more: str) -> Path:
        """Answer a request; return the answer."""
        self._answers += 1
        out = self.folder / f"answer-{self._answers}.json"
        words = [
            "enrol", "answer", str(request), "--fleet", self.fleet,
            "--broker", f"127.0.0.1:{port}",
            "--broker-ca", str(self.folder / "broker.pem"),
            "--devices", str(self.folder / "devices"), "-o", str(out),
        ]  # fmt: skip
        if "--cert" not in more:
            words += ["--ca-cert", str(self.ca), "--ca-key", str(self.ca_key)]
        assert sluicectl([*words, *more]) == 0
        return out

    def install(self, answer: Path) -> int:
        """Install an answer with the fingerprint that its own text has."""
        digits = decode_answer(answer.read_bytes()).fingerprint()
        words = ["provision", "install", str(answer), "-c", str(self.config)]
        return sluicegate([*words, "--fingerprint", digits])

    def enrol(self, port: int, *more: str) -> None:
        """Do all three steps."""
        assert self.install(self.answer(self.begin(), port, *more)) == 0

    def aged(self, port: int, days: int, age: int) -> None:
        """Enrol with a certificate of so many days, ``age`` of which are over."""
        request = self.begin()
        asked = read_request(request)
        then = NOW - dt.timedelta(days=age)
        chain = issued(asked, Issuer(self.authority(), days), then)
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
        (self.folder / "aged.pem").write_bytes(pem)
        cert = ("--cert", str(self.folder / "aged.pem"))
        assert self.install(self.answer(request, port, *cert)) == 0

    def alone(self, port: int) -> Path:
        """Ask; return an answer whose certificate comes without its issuer."""
        out = self.answer(self.begin(), port)
        whole = decode_answer(out.read_bytes())
        leaf = msgspec.structs.replace(whole, certificates=whole.certificates[:1])
        out.write_bytes(encode_answer(leaf))
        return out

    def client(self, name: str) -> tuple[str, str]:
        """Return certificate and key files of another client of the broker."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = authority.issue(
            self.authority(), key.public_key(), (self.fleet, name), 30, NOW
        )
        return saved(self.folder, name, (chain[0], key))

    def shown(self, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        """Return what `provision show` tells."""
        capsys.readouterr()
        sluicegate(["provision", "show", "-c", str(self.config), "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found


def server(folder: Path, name: str, days: int = 30) -> x509.Certificate:
    """Write a broker's certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ours = key.public_key()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(ours)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        # Python 3.13 verifies strictly (RFC 5280 section 4.2.1.1 to 4.2.1.3)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ours), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True,
                **authority.USAGE,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    saved(folder, name, (made, key))
    assert made.public_bytes(Encoding.PEM)
    return made


class Daemon:
    """`sluicegate run` as a process; ``status`` is what its socket says."""

    def __init__(self, place: Enrolling, world: Sequence[str] = DAEMON) -> None:
        self._place = place
        self._world = world
        self._log = place.folder / "agent.log"

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._world, "run", "-c", str(self._place.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._place.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def status(self) -> dict[str, Any]:
        """Return the state as it is; {} where nobody answers yet."""
        try:
            page = fetch_page(str(self._place.folder / "status.sock"), 0, "/status")
        except Unavailable:
            return {}
        found: dict[str, Any] = json.loads(page)
        return found

    def log(self) -> str:
        """Return what it said."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until(self, seen: Callable[[], object], what: str) -> None:
        """Wait until something can be seen; AssertionError names it."""
        end = time.monotonic() + PATIENCE_S
        while not seen():
            assert self.process.poll() is None, self.log()[-2000:]
            assert time.monotonic() < end, f"not seen: {what}: {self.status()}"
            time.sleep(0.05)
