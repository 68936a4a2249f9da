"""Changes to the enrolment folder: one process at a time, one thread at a time.

    with changing(enrolments) as folder:
        folder.install(answer)

The daemon (asks anew, installs what comes, lets the former go) and `sluicegate
provision` work in the same folder. What one of them has looked at holds until it has
written, as ``lock`` in the folder is its own meanwhile (flock). The kernel lets go of
it when a process is gone, and every step leaves what the next one may find.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.adapters.enrolment import (
    ANSWER,
    BROKER_CA,
    CERTIFICATE,
    CSR,
    FOLDER,
    KEY,
    PENDING,
    RENEWING,
    REQUEST,
    ROOT,
    STANDING,
    Enrolments,
    Installed,
    Standing,
)
from agent.adapters.files import (
    lock_within,
    read_limited,
    sync_folder,
    write_durably,
)
from agent.adapters.tls_keys import KEY_BYTES_MAX, csr_of, kind_of, make_key
from agent.errors import BadInput, Unavailable
from protocols.enrolment import (
    REQUEST_BYTES_MAX,
    Answer,
    Request,
    encode_answer,
    open_request_file,
    request_file,
    unbase64,
)
from protocols.errors import WireError
from protocols.pki import CSR_BYTES_MAX, parse_chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.ports import Signer
    from protocols.enrolment import Where

LOCK: Final = "lock"
PATIENCE_S: Final = 10.0  # a TPM takes seconds to make a key


@contextlib.contextmanager
def changing(enrolments: Enrolments) -> Iterator[Changes]:
    """Have the folder for ourselves meanwhile; it is made where there is none.

    May wait for PATIENCE_S: never on the event loop. Unavailable: another process is
    at it for longer, or the folder cannot be written.
    """
    folder = Changes(enrolments.folder.parent)
    try:
        make_folder(folder.folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(folder.folder / LOCK, flags, 0o600)
    except OSError as error:
        raise _away(error) from None
    try:
        _have(handle)
        yield folder
    finally:
        os.close(handle)


def _have(handle: int) -> None:
    try:
        lock_within(handle, PATIENCE_S)
    except TimeoutError:
        raise Unavailable(FOLDER, "another process is changing it") from None


def make_folder(folder: Path) -> None:
    """Make a folder of ours, and its name durable."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


class Changes(Enrolments):
    """The folder of one device, while it is ours alone (``changing``)."""

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
            make_folder(pending)
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

    def _last_ns(self) -> int:
        """Return the time of the newest request that is kept; -1: none is."""
        times = [-1]
        for path in self.folder.glob(f"*/{REQUEST}"):
            with contextlib.suppress(BadInput, WireError):
                asked = open_request_file(read_limited(path, REQUEST_BYTES_MAX))
                times.append(asked.request.time_ns)
        return max(times)

    # --- installed ------------------------------------------------------------------

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
        """A broker has taken this one: what was before goes.

        A newer one stays: whoever was installing it was cut off, and comes again.
        """
        now = self.standing()
        if now.current != name:
            return
        try:
            if not now.proved:
                self._stand(Standing(current=name, proved=True))
            for old in self._names():
                if int(old) < int(name):
                    shutil.rmtree(self.folder / old)
        except OSError as error:
            raise _away(error) from None

    def _stand(self, standing: Standing) -> None:
        write_durably(self.folder / STANDING, msgspec.json.encode(standing) + b"\n")


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
