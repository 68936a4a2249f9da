"""What a trial sealed to somebody whom the policy before it does not name. Pure.

Taken back, the candidate permits nothing: what it sealed to strangers goes, as all that
lost its permission does. Their receipts settle nothing any more, so it would be sent
again and again. The mark is made durable with the step that begins the trial; a record
tells by its header which policy sealed it, an announcement for whom it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.announcement import open_announcement
from protocols.envelope import DIGEST_BYTES, OPEN, parse_envelope
from protocols.errors import WireError

if TYPE_CHECKING:
    from agent.control import Accepted
    from policies.tables import CompiledDestination

KEY: Final = "key"  # the kind of an announcement
TRIED: Final = b"trial"


def mark(confirmed: Accepted, candidate: Accepted) -> bytes:
    """Return the mark of a trial: its policy, and where it names strangers.

    ``trial``, then where there are any the policy's digest and the destinations'
    names, one a line.
    """
    known = {
        d.name: _named(confirmed, d) for d in confirmed.compiled.policy.destinations
    }
    policy = candidate.compiled.policy
    strange = [
        one.name
        for one in policy.destinations
        if one.name in known and not _named(candidate, one) <= known[one.name]
    ]
    if not strange:
        return TRIED
    return TRIED + policy.digest + "\n".join(strange).encode()


def places_of(marked: bytes | None, deciding: bytes) -> tuple[bytes, list[str]]:
    """Return (digest of a policy taken back, destinations where it named strangers).

    ``deciding``: digest of the policy that decides; nothing where it was confirmed.
    """
    digest, names = _split(marked or b"")
    if len(digest) < DIGEST_BYTES or digest == deciding:
        return b"", []
    return digest, names.decode(errors="replace").split("\n")


def is_left(
    kind: str, body: bytes, digest: bytes, accepted: Accepted, device_key: bytes
) -> bool:
    """Tell whether an epoch is sealed to strangers, by the last record that is left.

    Args:
        kind: of the record; ``key`` where only the announcement is left.
        body: its message.
        digest: of the policy that was taken back.
        accepted: what decides now.
        device_key: the device's own 32-byte Ed25519 public key.
    """
    try:
        if kind != KEY:
            header = parse_envelope(body).header
            return header.suite != OPEN and header.policy == digest
        said = open_announcement(body, device_key)
    except WireError:  # not ours to judge: the checksum of its row decides
        return False
    known = {
        (name, accepted.cards[name].key_id(said.suite))
        for one in accepted.compiled.policy.destinations
        if one.name == said.destination and said.suite != OPEN
        for name in one.recipients
        if name in accepted.cards
    }
    return any((wrap.recipient, wrap.key_id) not in known for wrap in said.wraps)


def _named(accepted: Accepted, one: CompiledDestination) -> set[tuple[str, ...]]:
    """Return whose keys open and receipt; a card that is only renewed is the same."""
    cards = accepted.cards
    return {
        (name, card.x25519, card.mlkem768x25519, card.receipt_ed25519)
        for name in one.recipients
        if (card := cards.get(name)) is not None
    }


def _split(marked: bytes) -> tuple[bytes, bytes]:
    if not marked.startswith(TRIED):
        return b"", b""
    start = len(TRIED)
    return marked[start : start + DIGEST_BYTES], marked[start + DIGEST_BYTES :]
