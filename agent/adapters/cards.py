"""Recipient cards from a folder: one JSON file each, made by ``sluicectl keys``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.files import read_limited
from agent.errors import BadInput
from policies.model import RECIPIENTS_MAX
from protocols.errors import WireError
from protocols.recipients import CARD_BYTES_MAX, RecipientCard, parse_card

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.tables import CompiledPolicy

SUFFIX: Final = ".card.json"
CARDS_MAX: Final = 64 * RECIPIENTS_MAX
HINT: Final = "make one with `sluicectl keys new` and copy it here"


def load_cards(folder: str) -> dict[str, RecipientCard]:
    """Return the cards of a folder by name; BadInput names file and reason."""
    place = Path(folder)
    if not place.is_dir():
        raise BadInput(folder, "", "no such folder of recipient cards", HINT)
    cards: dict[str, RecipientCard] = {}
    for file in sorted(place.glob(f"*{SUFFIX}"))[:CARDS_MAX]:
        try:
            card = parse_card(read_limited(file, CARD_BYTES_MAX))
        except WireError as error:
            raise BadInput(str(file), "", error.reason) from None
        if card.name in cards:
            raise BadInput(str(file), "name", f"{card.name} has two cards")
        cards[card.name] = card
    return cards


def check_cards(
    policy: CompiledPolicy, cards: Mapping[str, RecipientCard], folder: str
) -> None:
    """BadInput where a recipient that the policy names has no card."""
    for name in recipients_of(policy):
        if name not in cards:
            raise BadInput(folder, name, "recipient has no key card", HINT)


def recipients_of(policy: CompiledPolicy) -> list[str]:
    """Return every recipient name of a policy, the custodian too, in order."""
    names = [name for one in policy.destinations for name in one.recipients]
    if policy.custodian:
        names.append(policy.custodian)
    return list(dict.fromkeys(names))


def stale_cards(
    policy: CompiledPolicy, cards: Mapping[str, RecipientCard], now_ns: int
) -> dict[str, str]:
    """Return destination -> reason for those with a card that is not good now."""
    stale: dict[str, str] = {}
    for destination in policy.destinations:
        for name in destination.recipients:
            card = cards.get(name)
            if card is None:
                stale[destination.name] = f"recipient {name} has no key card"
                continue
            try:
                card.check(now_ns / 1e9)
            except ValueError as error:
                stale[destination.name] = f"recipient {name}: card {error}"
    return stale
