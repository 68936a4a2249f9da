"""What `sluicegate provision` made and installed: ``state_dir/enrolment``.

    pending/      tls.key, csr.der, request.json: asked for, not answered yet;
    renewing/     the same where the daemon asks over MQTT
    0001/         tls.key, csr.der, answer.json, and what is read of it by others:
                  cert.pem, broker-ca.pem, root.json
    standing.json which of them is used, and which one was before

A folder appears under its number only when it is whole and on the disk; one file then
says that it counts. The former one stays until a broker has taken the new one. All of
it is the service's user's alone (0700, 0600).
"""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.adapters.files import read_limited, sync_folder, write_durably
from agent.adapters.tls_keys import KEY_BYTES_MAX, csr_of, kind_of, make_key
from agent.errors import BadInput, Unavailable
from protocols.enrolment import (
    ANSWER_BYTES_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Asked,
    Request,
    decode_answer,
    encode_answer,
    open_request_file,
    request_file,
    unbase64,
)
from protocols.errors import WireError
from protocols.pki import CSR_BYTES_MAX, parse_chain, spki

if TYPE_CHECKING:
    from agent.adapters.policy.loader import Paths
    from agent.ports import Signer
    from protocols.enrolment import Where

FOLDER: Final = "enrolment"
PENDING: Final = "pending"  # people carry request and answer
RENEWING: Final = "renewing"  # the daemon asks over MQTT
STANDING: Final = "standing.json"
KEY: Final = "tls.key"
CSR: Final = "csr.der"
REQUEST: Final = "request.json"
ANSWER: Final = "answer.json"
CERTIFICATE: Final = "cert.pem"
BROKER_CA: Final = "broker-ca.pem"
ROOT: Final = "root.json"
NUMBER: Final = re.compile(r"[0-9]{4,9}")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Which folder is used; ``proved``: a broker has taken its certificate."""

    current: str = ""
    former: str = ""
    proved: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """One enrolment that is whole: where its files are, and what the answer said."""

    folder: Path
    answer: Answer

    @property
    def key_file(self) -> Path:
        """Return where the TLS key is."""
        return self.folder / KEY

    @property
    def cert_file(self) -> Path:
        """Return the chain that the device shows, the leaf first."""
        return self.folder / CERTIFICATE

    @property
    def ca_file(self) -> Path:
        """Return whose signature a broker must have."""
        return self.folder / BROKER_CA

    @property
    def root_file(self) -> Path | None:
        """Return the pinned trust root, None where none came."""
        return self.folder / ROOT if self.answer.root else None

    def chain(self) -> list[x509.Certificate]:
        """Return the certificates, the leaf first."""
        return parse_chain(self.answer.chain())


class Enrolments:
    """The folder of one device. Nothing in here looks at a clock."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is read yet, and nothing made."""
        self.folder = state_dir / FOLDER

    # --- asked for ------------------------------------------------------------------

    def begin(
        self,
        signer: Signer,
        fleet: str,
        now_ns: int,
        place: str = PENDING,
        *,
        kind: Where = "file",
        fresh: bool = False,
    ) -> bytes:
        """Return a request as a file; key and request are made where there are none.

        The same bytes come again until it is answered, unless it is to be ``fresh``.
        ``kind``: where the TLS key is made. A renewal of a key that is in hardware
        keeps the key, and its PKCS#10.
        """
        pending = self.folder / place
        try:
            self._make(pending)
            if place == RENEWING:
                self._keep_key(pending)
            if not (pending / KEY).exists() or (
                place == PENDING and kind_of(pending / KEY) != kind
            ):
                for name in (REQUEST, CSR):  # first: they are of another key
                    (pending / name).unlink(missing_ok=True)
                make_key(pending / KEY, kind)
            with contextlib.suppress(BadInput, WireError):
                made = read_limited(pending / REQUEST, REQUEST_BYTES_MAX)
                asked = open_request_file(made)
                names = (asked.request.device, asked.request.fleet, asked.identity)
                ours = (signer.device, fleet, signer.public_key())
                if names == ours and not fresh:
                    return made
            if not (pending / CSR).exists():
                write_durably(pending / CSR, csr_of(pending / KEY, signer.device))
            csr = read_limited(pending / CSR, CSR_BYTES_MAX)
            request = Request(
                device=signer.device,
                fleet=fleet,
                ed25519=base64.b64encode(signer.public_key()).decode(),
                csr=base64.b64encode(csr).decode(),
                tls_key=kind_of(pending / KEY),
                # above all before, though the clock was set back: else it is a replay
                time_ns=max(now_ns, self._last_ns() + 1),
            )
            made = request_file(request, signer.sign)
            write_durably(pending / REQUEST, made)
        except OSError as error:
            raise _away(error) from None
        return made

    def _keep_key(self, pending: Path) -> None:
        """Take over the present key, where it is in hardware."""
        now = self.current()
        if now is None or (pending / KEY).exists() or kind_of(now.key_file) == "file":
            return
        csr = read_limited(now.folder / CSR, CSR_BYTES_MAX)
        write_durably(pending / CSR, csr)  # first: with a key, it must be its own
        write_durably(pending / KEY, read_limited(now.key_file, KEY_BYTES_MAX))

    def _make(self, folder: Path) -> None:
        """Make a folder of ours, and its name durable."""
        for one in (self.folder, folder):
            if not one.is_dir():
                one.mkdir(mode=0o700, exist_ok=True)
                sync_folder(one.parent)

    def _last_ns(self) -> int:
        """Return the time of the newest request that is kept; -1: none is."""
        times = [-1]
        for path in self.folder.glob(f"*/{REQUEST}"):
            with contextlib.suppress(BadInput, WireError):
                asked = open_request_file(read_limited(path, REQUEST_BYTES_MAX))
                times.append(asked.request.time_ns)
        return max(times)

    def asked(self, place: str = PENDING) -> Asked | None:
        """Return what waits for its answer; None where nothing does."""
        try:
            return open_request_file(
                read_limited(self.folder / place / REQUEST, REQUEST_BYTES_MAX)
            )
        except (BadInput, WireError):
            return None

    # --- installed ------------------------------------------------------------------

    def standing(self) -> Standing:
        """Return what counts; where something is damaged, the newest that is whole.

        The former goes before others: a broker has taken it.
        """
        try:
            found = msgspec.json.decode(
                read_limited(self.folder / STANDING, 4096), type=Standing
            )
        except (BadInput, msgspec.DecodeError, UnicodeDecodeError):
            found = Standing()
        names = list(filter(self._is_whole, self._names()))
        if found.current not in names:
            other = found.former if found.former in names else ""
            return Standing(current=other or (names[-1] if names else ""))
        former = found.former if found.former in names else ""
        return Standing(current=found.current, former=former, proved=found.proved)

    def current(self) -> Installed | None:
        """Return the enrolment that is used; None where there is none."""
        name = self.standing().current
        return self.installed(name) if name else None

    def installed(self, name: str) -> Installed:
        """Return one by its number; BadInput where it is not whole."""
        folder = self.folder / name
        body = read_limited(folder / ANSWER, ANSWER_BYTES_MAX)
        try:
            return Installed(folder, decode_answer(body))
        except WireError as error:
            raise BadInput(str(folder / ANSWER), "", error.reason) from None

    def pending_key(self, place: str = PENDING) -> bytes:
        """Return the public key (SubjectPublicKeyInfo, DER) that waits; BadInput."""
        file = self.folder / place / CSR
        hint = "sluicegate provision begin"
        try:
            csr = x509.load_der_x509_csr(read_limited(file, CSR_BYTES_MAX, hint))
            return spki(csr.public_key())
        except ValueError:
            raise BadInput(str(file), "", "is damaged", hint) from None

    def install(self, answer: Answer, place: str = PENDING) -> Installed:
        """Put a checked answer to what is pending in place; the former one stays."""
        pending = self.folder / place
        before = self.standing()
        try:
            for name, data in _files(answer):
                write_durably(pending / name, data)
            newest = max([0, *map(int, self._names())])
            name = f"{newest + 1:04d}"
            pending.rename(self.folder / name)
            sync_folder(self.folder)
        except OSError as error:
            raise _away(error) from None
        self._put(name, before)
        return self.installed(name)

    def finished(self, answer: Answer) -> Installed | None:
        """Bring an installation to its end that a power cut left before its last step.

        None where there is none of this answer: it was checked before it was written.
        """
        now = self.standing()
        for name in self._names():
            if int(name) <= int(now.current or 0) or not self._is_whole(name):
                continue
            if self.installed(name).answer == answer:
                self._put(name, now)
                return self.installed(name)
        return None

    def _put(self, name: str, before: Standing) -> None:
        """Let ``name`` count; the last one that a broker has taken stays the former."""
        former = before.current
        if before.former and not before.proved:
            former = before.former
        try:
            self._stand(Standing(current=name, former=former, proved=False))
        except OSError as error:
            raise _away(error) from None

    def prove(self, name: str) -> None:
        """A broker has taken this one: what was before goes."""
        now = self.standing()
        if now.current != name or now.proved:
            return
        try:
            self._stand(Standing(current=name, proved=True))
            for old in self._names():
                if old != name:
                    shutil.rmtree(self.folder / old)
        except OSError as error:
            raise _away(error) from None

    # --- the folder -----------------------------------------------------------------

    def _stand(self, standing: Standing) -> None:
        write_durably(self.folder / STANDING, msgspec.json.encode(standing) + b"\n")

    def _names(self) -> list[str]:
        """Return the numbers of all enrolments, the oldest first."""
        try:
            names = [one.name for one in self.folder.iterdir() if one.is_dir()]
        except OSError:
            return []
        return sorted(filter(NUMBER.fullmatch, names), key=int)

    def _is_whole(self, name: str) -> bool:
        try:
            self.installed(name)
        except BadInput:
            return False
        return (self.folder / name / KEY).exists()


def enrolments_of(paths: Paths) -> Enrolments:
    """Return the folder of a gateway, absolute: its files stand in path fields."""
    return Enrolments(Path(paths.of(paths.config.state_dir)).absolute())


def enrolled(paths: Paths) -> Paths:
    """Return the paths with what the enrolment brings, where the owner asks for it.

    Where nothing is installed yet, there is no broker: ``mqtt.ca_file`` stays empty.
    """
    config = paths.config
    if not config.mqtt.enrolled:
        return paths
    found = enrolments_of(paths).current()
    if found is None or found.answer.broker is None:
        return paths
    replaced = msgspec.structs.replace
    mqtt = replaced(
        config.mqtt,
        host=found.answer.broker.host,
        port=found.answer.broker.port,
        ca_file=str(found.ca_file),
        cert_file=str(found.cert_file),
        key_file=str(found.key_file),
    )
    trust = config.trust
    if not trust.root and found.root_file is not None:
        trust = replaced(trust, root=str(found.root_file))
    return type(paths)(paths.config_file, replaced(config, mqtt=mqtt, trust=trust))


def _files(answer: Answer) -> list[tuple[str, bytes]]:
    chain = b"".join(
        one.public_bytes(Encoding.PEM) for one in parse_chain(answer.chain())
    )
    files = [(CERTIFICATE, chain)]
    if answer.broker is not None:
        files.append((BROKER_CA, answer.broker.ca.encode()))
    if answer.root:
        files.append((ROOT, unbase64("root", answer.root)))
    return [*files, (ANSWER, encode_answer(answer))]


def _away(error: OSError) -> Unavailable:
    return Unavailable(FOLDER, error.strerror or "cannot be written")
