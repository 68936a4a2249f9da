"""From a gateway's own files to policies that may decide: local, pushed, built in.

Whatever a policy comes from, it is compiled against the same local bindings and
databases, and held against the same local floor (promise 8). Reads files: runs in a
thread while the daemon serves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.cards import check_cards, load_cards
from agent.adapters.credentials import credential_path
from agent.adapters.enrolment import enrolled
from agent.adapters.files import read_limited
from agent.config import CREDENTIAL, beside
from agent.control import Accepted, judge
from agent.errors import BadInput, Refused
from policies.errors import PolicyError
from policies.files import LOCKDOWN, load, load_text
from policies.trust import TrustError, begin
from policies.trust.model import ROOT_BYTES_MAX
from protocols.errors import WireError
from protocols.recipients import RecipientCard, parse_card

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config import Config
    from policies.files import Loaded
    from policies.trust import SignedPolicy


@dataclass(frozen=True, slots=True)
class Paths:
    """Files of one gateway, resolved against the configuration's folder."""

    config_file: str
    config: Config

    def of(self, name: str) -> str:
        """Return a configured path, absolute; BadInput for a credential not given."""
        if name.startswith(CREDENTIAL):
            return credential_path(self.config_file, name)
        return beside(self.config_file, name)

    def make_state_dir(self) -> Path:
        """Return the folder of the agent's own, made (0700) where it is not there."""
        folder = Path(self.of(self.config.state_dir))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or "cannot be made"
            raise BadInput(self.config_file, "state_dir", reason) from None
        return folder

    def policy(self) -> str | None:
        """Return the policy's file, the name of a shipped one, or None for lockdown."""
        named = self.config.policy
        if not named:
            return None
        file = self.of(named)
        return file if Path(file).exists() or "/" in named or "." in named else named

    def bindings(self) -> list[str]:
        """Return files of bindings, or names of shipped ones."""
        return [
            file if Path(file := self.of(name)).exists() else name
            for name in self.config.bindings
        ]

    def floor(self) -> str | None:
        """Return the owner's floor; None where there is none."""
        return self.of(self.config.floor) or None

    def databases(self) -> Path | None:
        """Return the folder of CAN databases; None where none is named."""
        folder = self.of(self.config.databases)
        return Path(folder) if folder else None


def pinned_root(paths: Paths) -> bytes:
    """Return the fleet's first root, b"" where none is named; BadInput if it is bad."""
    paths = enrolled(paths)
    name = paths.of(paths.config.trust.root)
    if not name:
        return b""
    hint = "copy the fleet's root.json here (`sluicectl keys init` made it)"
    root = read_limited(Path(name), ROOT_BYTES_MAX, hint)
    try:
        begin(root, paths.config.fleet)
    except (TrustError, WireError) as error:
        raise BadInput(name, "", error.reason, hint) from None
    return root


def accept(paths: Paths) -> Accepted:
    """Return the local policy; BadInput, PolicyError, Refused say why it may not be."""
    loaded = load_local(paths)
    cards = _cards(paths)
    check_cards(loaded.compiled.policy, cards, paths.of(paths.config.recipients))
    return judge(loaded, cards, LOCKDOWN)


def load_local(paths: Paths) -> Loaded:
    """Return the local policy, compiled and not judged yet; or PolicyError."""
    return load(
        paths.policy(),
        paths.bindings(),
        paths.floor(),
        paths.databases(),
        buses=_buses(paths),
        links=_links(paths),
    )


def accept_signed(paths: Paths, signed: SignedPolicy) -> Accepted:
    """Return a signed policy that may decide; Refused names the rule that it breaks.

    Its cards are those that were signed with it; the owner's folder has the rest.
    """
    try:
        loaded = _load_signed(paths, signed)
        model = loaded.compiled.document.model
        signed.check_text(model.name, model.version, model.min_version)
        cards = {**_cards(paths), **_signed_cards(signed.cards)}
        check_cards(loaded.compiled.policy, cards, "recipients")
    except (BadInput, PolicyError) as error:
        rule = getattr(error, "rule", "") or "policy"
        raise Refused(rule, str(error)) from None
    return replace(judge(loaded, cards, LOCKDOWN), signed=signed)


def accept_again(paths: Paths, now: Accepted) -> Accepted:
    """Return what decides now, compiled with the files as they are by now."""
    if now.stands_in:
        return lock_down(paths, stands_in=True)
    return accept(paths) if now.signed is None else accept_signed(paths, now.signed)


def lock_down(paths: Paths, *, stands_in: bool = False) -> Accepted:
    """Return the built-in policy, with the bindings where they can be read.

    The last resort: nothing leaves, and what comes is still inspected and counted.
    """
    for bindings in (paths.bindings(), []):
        try:
            loaded = load(
                None,
                bindings,
                None,
                paths.databases(),
                buses=_buses(paths),
                links=_links(paths),
            )
        except PolicyError:
            continue
        return replace(judge(loaded, {}, LOCKDOWN), stands_in=stands_in)
    raise AssertionError("the built-in policy compiles without any bindings")


def _load_signed(paths: Paths, signed: SignedPolicy) -> Loaded:
    return load_text(
        signed.text,
        f"{signed.name} {signed.version}",
        paths.bindings(),
        paths.floor(),
        paths.databases(),
        buses=_buses(paths),
        links=_links(paths),
        catalogues=signed.catalogues,
    )


def _cards(paths: Paths) -> Mapping[str, RecipientCard]:
    folder = paths.of(paths.config.recipients)
    return load_cards(folder) if folder else {}


def _signed_cards(cards: Mapping[str, bytes]) -> dict[str, RecipientCard]:
    found: dict[str, RecipientCard] = {}
    for name, body in cards.items():
        try:
            card = parse_card(body)
        except WireError as error:
            raise Refused("card", f"recipient {name}: {error.reason}") from None
        if card.name != name:
            raise Refused("card", f"recipient {name}: the card names another")
        found[name] = card
    return found


def _buses(paths: Paths) -> tuple[str, ...]:
    return tuple(can.name for can in paths.config.can)


def _links(paths: Paths) -> tuple[str, ...]:
    return tuple(link.name for link in paths.config.modbus)
