"""What `sluicegate provision` made and installed: ``state_dir/enrolment``.

    pending/      tls.key, csr.der, request.json: asked for, not answered yet;
    renewing/     the same where the daemon asks over MQTT
    0001/         tls.key, csr.der, answer.json, and what is read of it by others:
                  cert.pem, broker-ca.pem, root.json
    standing.json which of them is used, and which one was before
    lock          whose turn it is to change any of it

A folder appears under its number only when it is whole and on the disk; one file then
says that it counts. The former one stays until a broker has taken the new one. All of
it is the service's user's alone (0700, 0600). Here it is read, without waiting for
anybody; ``enrolment_changes`` writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography import x509

from agent.adapters.files import read_limited
from agent.errors import BadInput
from protocols.enrolment import (
    ANSWER_BYTES_MAX,
    REQUEST_BYTES_MAX,
    Answer,
    Asked,
    decode_answer,
    open_request_file,
)
from protocols.errors import WireError
from protocols.pki import CSR_BYTES_MAX, UNREADABLE, parse_chain, spki

if TYPE_CHECKING:
    from agent.adapters.policy.loader import Paths

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

    @property
    def is_renewable(self) -> bool:
        """Tell whether we know who issued it, and so whose renewal to take."""
        return len(self.answer.certificates) > 1

    def chain(self) -> list[x509.Certificate]:
        """Return the certificates, the leaf first."""
        return parse_chain(self.answer.chain())


class Enrolments:
    """The folder of one device. Nothing in here looks at a clock."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is read yet, and nothing made."""
        self.folder = state_dir / FOLDER

    # --- asked for ------------------------------------------------------------------

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
        except UNREADABLE:
            raise BadInput(str(file), "", "is damaged", hint) from None

    # --- the folder -----------------------------------------------------------------

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
