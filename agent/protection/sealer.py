"""Seals what the rules released: bundles in, signed and encrypted records out.

One epoch per (destination, label, kind); its announcement precedes its first batch in
the same commit. The device seals and cannot open: no private key and no reading of
ciphertext in this package.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from agent.errors import Refused
from agent.limits import ENVELOPE_BYTES_MAX
from agent.protection.epochs import LIFE_NS, Place, begin, wrap_key
from agent.protection.vocabulary import Vocabulary, Wording
from agent.ranks import rank_of
from agent.records import Rank, RetainedRecord, SpoolRecord
from policies.tables import Action
from protocols.columns import ROWS_MAX
from protocols.content import ContentEncoder, empty_content
from protocols.envelope import (
    BATCH,
    OPEN,
    Header,
    encode_envelope,
    encode_header,
    nonce,
    open_signing_body,
)
from protocols.signed import signing_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.ports import Signer
    from agent.protection.bundles import Bundle, Part
    from agent.protection.epochs import Epoch
    from agent.protection.vocabulary import Worded
    from policies.tables import CompiledDestination, CompiledPolicy
    from protocols.recipients import RecipientCard

KEY: Final = "key"
KEEP: Final = "keep"
EVENT: Final = "event"
DICTIONARY_BYTES_MAX: Final = 256 * 1024
# A reader takes 65,536 texts and 16 MiB of content; ROWS_MAX rows are at most 6 MiB.
TEXTS_MAX: Final = 32_768
TEXTS_BYTES_MAX: Final = 4 * 1024 * 1024
_OVERHEAD_BYTES: Final = 640  # header, tag or signature, and msgpack around them

Piece: TypeAlias = "tuple[int, Part]"  # index of the part in its bundle, and the part


@dataclass(frozen=True, slots=True)
class Sealed:
    """The records of one bundle, an announcement before the batches that need it."""

    records: tuple[SpoolRecord, ...] = ()
    retained: tuple[RetainedRecord, ...] = ()
    # (epoch, sequence) of a batch -> rows of each part of the bundle that are in it
    rows: Mapping[tuple[bytes, int], tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One sealed message and what it holds of each piece."""

    sequence: int
    body: bytes
    rows: tuple[int, ...]


class Sealer:
    """Holds the running epochs of one policy. Used by the flow task only."""

    def __init__(
        self,
        policy: CompiledPolicy,
        signer: Signer,
        entropy: Callable[[int], bytes],
        boot: bytes,
        recipients: Mapping[str, RecipientCard] | None,
        lineage: Callable[[], int] = lambda: 0,
    ) -> None:
        """Check that every recipient of the policy can be sealed to.

        Args:
            policy: what decides; its digest goes into every header.
            signer: the device's identity.
            entropy: gives n bytes of a cryptographic random source.
            boot: 16 random bytes of this start.
            recipients: cards by name; None seals to nobody (`scan` without cards).
            lineage: a number that changes when this process may have got a twin.

        Refused where a recipient has no card, or a key on a card is none.
        """
        self._policy = policy
        self._signer = signer
        self._entropy = entropy
        self._boot = boot
        self._encoder = ContentEncoder()
        self._vocabulary = Vocabulary(policy)
        self._epochs: dict[Place, Epoch] = {}
        self._lineage = lineage
        self._born = lineage()  # of the running epochs
        # By (destination, suite); a custodian may bear a destination's name.
        self._cards: dict[tuple[str, str], tuple[RecipientCard, ...]] = {}
        self._keepers: dict[str, tuple[RecipientCard, ...]] = {}  # by suite
        for destination in policy.destinations:
            suite = destination.suite
            if suite == OPEN or recipients is None:
                continue
            for name in {*destination.recipients, policy.custodian} - {""}:
                _check_card(recipients.get(name), name, suite)
            named = tuple(recipients[name] for name in destination.recipients)
            self._cards[destination.name, suite] = named
            if policy.custodian:
                self._keepers[suite] = (recipients[policy.custodian],)

    def seal(
        self, destination: CompiledDestination, bundle: Bundle, now_ns: int
    ) -> Sealed:
        """Return the records of one bundle for one destination.

        Data and events go to the spool, with action KEEP to the retained records. What
        does not fit into one envelope becomes several.
        """
        if (born := self._lineage()) != self._born:
            # A twin may count on under these keys: no nonce of theirs is used here.
            self._epochs.clear()
            self._born = born
        keeps = bundle.action == Action.KEEP
        place = Place(
            self._policy.custodian if keeps else destination.name,
            bundle.label,
            KEEP if keeps else bundle.kind,
            OPEN if bundle.action == Action.ALLOW else destination.suite,
            bundle.consent,
        )
        records: list[SpoolRecord] = []
        retained: list[RetainedRecord] = []
        rows: dict[tuple[bytes, int], tuple[int, ...]] = {}
        epoch = self._epochs.get(place)
        if epoch is None or epoch.is_over(now_ns):
            epoch, key = self._begin(place, destination, bundle.action, now_ns)
            # What stays here stays with its key: the custodian opens both from here.
            if keeps:
                retained.append(self._kept_key(key))
            else:
                records.append(key)
        for category, pieces in self._shelves(bundle):
            parts = [part for _, part in pieces]
            worded = self._vocabulary.word(epoch.wording, parts)
            for batch in self._batches(epoch, worded, now_ns):
                share = [0] * len(bundle.parts)
                for (index, _), count in zip(pieces, batch.rows, strict=True):
                    share[index] += count
                rows[epoch.epoch, batch.sequence] = tuple(share)
                if keeps:
                    retained.append(self._kept(epoch, batch, category, now_ns))
                else:
                    records.append(_spooled(epoch, batch, destination.confirm, now_ns))
        return Sealed(tuple(records), tuple(retained), rows)

    def forget(self, ended: frozenset[str]) -> None:
        """End the epochs of these consents; given anew, they begin new ones.

        Their announcements may be destroyed where they wait: nothing may need them.
        """
        running = self._epochs.items()
        self._epochs = {p: e for p, e in running if p.consent not in ended}

    def _begin(
        self,
        place: Place,
        destination: CompiledDestination,
        action: Action,
        now_ns: int,
    ) -> tuple[Epoch, SpoolRecord]:
        names = [one.name for one in self._policy.destinations]
        wording = self._vocabulary.dictionary(
            names.index(destination.name),
            place.label,
            action,
            texts_only=place.kind == EVENT,
        )
        dictionary = self._encoder.encode(*empty_content(), wording.definitions)
        if len(dictionary) > DICTIONARY_BYTES_MAX:  # batches then define for themselves
            wording = Wording({}, {}, np.zeros(0, np.bool_))
            dictionary = self._encoder.encode(*empty_content(), {})
        if place.kind == KEEP:
            cards = self._keepers.get(place.suite, ())
        else:
            cards = self._cards.get((place.destination, place.suite), ())
        epoch, message = begin(
            place,
            cards,
            (wording, dictionary),
            self._boot,
            self._signer,
            self._entropy,
            now_ns,
        )
        self._epochs[place] = epoch
        key = SpoolRecord(
            KEY,
            place.destination,
            Rank.CONTROL,
            place.label,
            epoch.epoch,
            0,
            now_ns,
            message,
            destination.confirm,
            consent=place.consent,
        )
        return epoch, key

    def _shelves(self, bundle: Bundle) -> Iterator[tuple[str, list[Piece]]]:
        """Yield what goes together: all of it, but retained data by its category."""
        pieces = list(enumerate(bundle.parts))
        if bundle.action != Action.KEEP:
            yield "", pieces
            return
        shelves: dict[str, list[Piece]] = {}
        for index, part in pieces:
            category = np.array(part.rule.category_out, np.object_)
            samples, texts = part.released.samples, part.released.texts
            of_samples, of_texts = category[samples.item], category[texts.item]
            for name in sorted({*of_samples.tolist(), *of_texts.tolist()}):
                mine = replace(
                    part.released,
                    samples=samples.take(of_samples == name),
                    texts=texts.take(of_texts == name),
                )
                shelves.setdefault(name, []).append(
                    (index, replace(part, released=mine))
                )
        yield from shelves.items()

    def _batches(self, epoch: Epoch, worded: Worded, now_ns: int) -> Iterator[_Batch]:
        """Yield the sealed messages of what was released; halves what is too large."""
        if not worded.size:
            return
        content = b""
        text_bytes = sum(map(len, worded.texts.text))
        if (
            len(worded.rows) <= ROWS_MAX
            and len(worded.texts) <= TEXTS_MAX
            and text_bytes <= TEXTS_BYTES_MAX
        ) or worded.size == 1:
            content = self._encoder.encode(
                worded.rows, worded.is_float, worded.texts, worded.definitions
            )
        fits = len(content) + _OVERHEAD_BYTES <= ENVELOPE_BYTES_MAX
        if content and (fits or worded.size == 1):
            epoch.sequence += 1
            rows = np.diff(worded.row_edges) + np.diff(worded.text_edges)
            body = self._sealed(epoch, content, now_ns)
            yield _Batch(epoch.sequence, body, tuple(rows.tolist()))
            return
        for half in worded.halves():
            yield from self._batches(epoch, half, now_ns)

    def _sealed(self, epoch: Epoch, content: bytes, now_ns: int) -> bytes:
        place = epoch.place
        header = encode_header(
            Header(
                place.suite,
                self._signer.device,
                epoch.epoch,
                epoch.sequence,
                self._policy.digest,
                place.label,
                place.destination,
                now_ns,
            )
        )
        if epoch.aead is None:
            signed = signing_input(BATCH, open_signing_body(header, content))
            return encode_envelope(header, content, self._signer.sign(signed))
        sealed = epoch.aead.encrypt(nonce(epoch.sequence), content, header)
        return encode_envelope(header, sealed)

    def _kept(
        self, epoch: Epoch, batch: _Batch, category: str, now_ns: int
    ) -> RetainedRecord:
        return RetainedRecord(
            category,
            epoch.place.label,
            epoch.epoch,
            batch.sequence,
            now_ns,
            now_ns + self._retention_ns(category),
            batch.body,
            sum(batch.rows),
        )

    def _kept_key(self, key: SpoolRecord) -> RetainedRecord:
        """Keep an announcement as long as anything that its epoch may seal."""
        longest = [*self._policy.retention_ns.values()]
        keep_ns = LIFE_NS + max(longest, default=0)
        keep_ns = max(keep_ns, LIFE_NS + self._policy.retention_default_ns)
        return RetainedRecord(
            KEY,
            key.label,
            key.epoch,
            0,
            key.created_ns,
            key.created_ns + keep_ns,
            key.body,
            0,
        )

    def _retention_ns(self, category: str) -> int:
        """Return how long a category is kept: the longest prefix that is told wins."""
        parts = category.split(".")
        for length in range(len(parts), 0, -1):
            found = self._policy.retention_ns.get(".".join(parts[:length]))
            if found is not None:
                return found
        return self._policy.retention_default_ns


def _spooled(epoch: Epoch, batch: _Batch, confirm: str, now_ns: int) -> SpoolRecord:
    place = epoch.place
    return SpoolRecord(
        place.kind,
        place.destination,
        rank_of(place.label),
        place.label,
        epoch.epoch,
        batch.sequence,
        now_ns,
        batch.body,
        confirm,
        sum(batch.rows),
    )


def _check_card(card: RecipientCard | None, name: str, suite: str) -> None:
    """Refuse a recipient that cannot be sealed to before anything depends on it."""
    if card is None:
        raise Refused("recipients", f"there is no card of {name}")
    try:
        wrap_key(bytes(32), suite, card, b"")
    except ValueError:  # such as an X25519 point of low order (RFC 7748 section 6.1)
        raise Refused("recipients", f"{name}: the key for {suite} is none") from None
