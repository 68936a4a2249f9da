"""Opens what devices sealed: the only place with private keys, never on a gateway.

To open a batch: (1) bounded size and form  (2) its epoch is announced, and the
announcement was signed by the device  (3) suite, destination and label are the epoch's
(4) the data key unwraps and matches the commitment  (5) the AEAD tag (in the open: the
signature) holds  (6) the content decodes  (7) every column number is defined. Replays
are the collector's to find.
"""

from __future__ import annotations

import hmac
import itertools
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleet.errors import Refused
from protocols.announcement import (
    ANNOUNCEMENT,
    DICTIONARY_SEQUENCE,
    context,
    dictionary_data,
    open_announcement,
    wrap_info,
)
from protocols.content import Definition, decode_content, values_of
from protocols.envelope import (
    BATCH,
    KEY_BYTES,
    OPEN,
    derive_keys,
    nonce,
    open_signing_body,
    parse_envelope,
)
from protocols.errors import WireError
from protocols.signed import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fleet.keys import RecipientKeys
    from protocols.announcement import Announcement
    from protocols.content import Content
    from protocols.envelope import Envelope, Header
    from protocols.frames import F64, I64


@dataclass(frozen=True, slots=True)
class Announced:
    """What an announcement said; ``is_ours``: one of our keys opens the epoch."""

    epoch: bytes
    destination: str
    label: int
    suite: str
    created_ns: int
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One item of a batch as it was released: numbers or texts, with their meaning."""

    definition: Definition
    time_ns: I64  # [N]
    raw: I64  # [N]; empty where the column holds texts
    value: F64  # [N] physical values; empty where the column holds texts
    texts: tuple[bytes, ...] = ()  # [N] where the column holds texts

    @property
    def item(self) -> str:
        """Return the item's name."""
        return self.definition.name

    @property
    def statistic(self) -> str:
        """Return which statistic the values are, "" for the samples themselves."""
        return self.definition.statistic

    @property
    def unit(self) -> str:
        """Return the unit of the values."""
        return self.definition.unit

    def rows(self) -> Iterator[tuple[int, float | None, bytes | None]]:
        """Yield (time in ns, value, text); one of the last two is None."""
        times = self.time_ns.tolist()
        if self.texts:
            yield from (
                (t, None, text) for t, text in zip(times, self.texts, strict=True)
            )
        else:
            values = self.value.tolist()
            yield from (
                (t, value, None) for t, value in zip(times, values, strict=True)
            )


@dataclass(frozen=True, slots=True)
class _Epoch:
    said: Announcement
    digest: bytes  # of the announcement's message
    aead: AESGCM | None  # None where it is open, or not ours
    definitions: Mapping[int, Definition]
    is_ours: bool


class Opener:
    """Knows private keys, enrolled devices and the epochs announced so far."""

    def __init__(
        self, keys: Sequence[RecipientKeys], devices: Mapping[str, bytes]
    ) -> None:
        """Take our private keys, and the Ed25519 public key of every device."""
        self._keys = keys
        self._devices = devices
        self._epochs: dict[tuple[str, bytes], _Epoch] = {}

    def announce(self, device: str, message: bytes) -> Announced:
        """Take in an announcement from ``device``; again is no harm.

        Refused or WireError where it is not signed by the device, names another one,
        contradicts an earlier one, or does not give the key that it commits to.
        """
        said = open_announcement(message, self._public_key(device))
        if said.device != device:
            raise Refused(ANNOUNCEMENT, "names another device than its topic")
        known = self._epochs.get((device, said.epoch))
        if known is not None and known.digest != sha256(message).digest():
            raise Refused(ANNOUNCEMENT, "the epoch was announced before, differently")
        if known is None:
            known = self._learn(said, sha256(message).digest())
            self._epochs[device, said.epoch] = known
        return Announced(
            said.epoch,
            said.destination,
            said.label,
            said.suite,
            said.created_ns,
            known.is_ours,
        )

    def words(self, device: str, epoch: bytes) -> int:
        """Return how many definitions are held for an epoch."""
        known = self._epochs.get((device, epoch))
        return 0 if known is None else len(known.definitions)

    def forget(self, device: str, epoch: bytes) -> None:
        """Let an epoch go; it is known again when its announcement is."""
        self._epochs.pop((device, epoch), None)

    def header(self, message: bytes) -> Header:
        """Return a batch's header, NOT authenticated yet; WireError if it is none."""
        return parse_envelope(message).header

    def knows(self, device: str, epoch: bytes) -> bool | None:
        """Tell whether we can open an epoch; None where it was not announced yet."""
        known = self._epochs.get((device, epoch))
        return None if known is None else known.is_ours

    def open(self, device: str, message: bytes) -> list[Column]:
        """Return the columns of a batch of ``device``; WireError with the reason."""
        envelope = parse_envelope(message)  # (1)
        header = envelope.header
        if header.device != device:
            raise WireError(BATCH, "names another device than its topic")
        known = self._epochs.get((device, header.epoch))
        if known is None:  # (2)
            raise WireError(BATCH, "its epoch was not announced yet")
        said = known.said
        if (header.suite, header.destination, header.label) != (
            said.suite,
            said.destination,
            said.label,
        ):  # (3)
            raise WireError(BATCH, "suite, destination or label is not the epoch's")
        content = decode_content(self._plain(device, known, envelope))  # (5) (6)
        return _columns(content, {**known.definitions, **content.definitions})  # (7)

    def _plain(self, device: str, known: _Epoch, envelope: Envelope) -> bytes:
        header = envelope.header
        if header.suite == OPEN:
            body = open_signing_body(envelope.header_bytes, envelope.body)
            verify(BATCH, body, envelope.signature, self._public_key(device))
            return envelope.body
        if known.aead is None:
            raise WireError(BATCH, "is sealed to others")
        try:
            return known.aead.decrypt(
                nonce(header.sequence), envelope.body, envelope.header_bytes
            )
        except InvalidTag:
            raise WireError(BATCH, "the tag does not hold") from None

    def _public_key(self, device: str) -> bytes:
        key = self._devices.get(device)
        if key is None:
            raise WireError("device", "is not enrolled")
        return key

    def _learn(self, said: Announcement, digest: bytes) -> _Epoch:
        if said.suite == OPEN:
            words = _dictionary(said.dictionary)
            return _Epoch(said, digest, None, words, is_ours=True)
        place = (said.device, said.epoch, said.destination, said.label)
        ties = context(said.suite, *place)
        data_key = self._unwrapped(said, wrap_info(ties))
        if data_key is None:
            return _Epoch(said, digest, None, {}, is_ours=False)
        keys = derive_keys(data_key, said.suite, said.device, said.epoch)
        if not hmac.compare_digest(keys.commitment, said.commitment):  # (4)
            raise Refused(ANNOUNCEMENT, "the data key is not the one committed to")
        aead = AESGCM(keys.key)
        try:
            plain = aead.decrypt(
                nonce(DICTIONARY_SEQUENCE), said.dictionary, dictionary_data(ties)
            )
        except InvalidTag:
            raise Refused(ANNOUNCEMENT, "the dictionary's tag does not hold") from None
        return _Epoch(said, digest, aead, _dictionary(plain), is_ours=True)

    def _unwrapped(self, said: Announcement, info: bytes) -> bytes | None:
        """Return the data key by the first wrap that names one of our keys."""
        for keys in self._keys:
            key_id = keys.card().key_id(said.suite)
            for wrap in said.wraps:
                if wrap.key_id != key_id:
                    continue
                try:
                    data_key = keys.unwrap(said.suite, wrap.wrapped, info)
                except (InvalidTag, ValueError):
                    raise Refused(
                        ANNOUNCEMENT, f"the wrap for {keys.name} does not open"
                    ) from None
                if len(data_key) != KEY_BYTES:
                    raise Refused(ANNOUNCEMENT, "a data key of another size")
                return data_key
        return None


def _dictionary(data: bytes) -> Mapping[int, Definition]:
    content = decode_content(data)
    if len(content.rows) or len(content.texts):
        raise WireError(ANNOUNCEMENT, "the dictionary holds more than definitions")
    return content.definitions


def _columns(content: Content, definitions: Mapping[int, Definition]) -> list[Column]:
    rows, texts = content.rows, content.texts
    none = np.empty(0, np.int64)
    found: list[Column] = []
    edges = np.flatnonzero(np.diff(rows.column)) + 1
    bounds = [0, *edges.tolist(), len(rows)] if len(rows) else []
    for low, high in itertools.pairwise(bounds):
        mine = rows.take(slice(low, high))
        meaning = _meaning(definitions, int(mine.column[0]))
        value = values_of(meaning.kind, meaning.scale, meaning.offset, mine)
        found.append(Column(meaning, mine.time_ns, mine.raw, value))
    for number in np.unique(texts.item).tolist():
        told = texts.take(texts.item == number)
        meaning = _meaning(definitions, number)
        found.append(
            Column(meaning, told.time_ns, none, none.astype(np.float64), told.text)
        )
    return found


def _meaning(definitions: Mapping[int, Definition], number: int) -> Definition:
    meaning = definitions.get(number)
    if meaning is None:
        raise WireError("content", f"column {number} is defined nowhere")
    return meaning
