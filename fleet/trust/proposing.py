"""Proposals from what a person has: a policy file with what it needs, or new keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
from tuf.api.metadata import Metadata

from fleet.errors import BadInput, Refused
from fleet.files import read_limited
from fleet.policy.source import read
from fleet.trust.making import COMPACT, DAY_S, Holders, PolicyFiles, root, targets
from fleet.trust.proposal import Proposal, check_proposal
from fleet.trust.signing import SCHEMA, PublicHalf, load_half
from policies.errors import TrustError
from policies.files import shipped
from policies.parse import CATALOGUE_BYTES_MAX
from policies.trust.content import bundle_name, listing
from policies.trust.metadata import ROLLOUT, binding
from policies.trust.parts import TARGETS
from protocols.errors import WireError
from protocols.recipients import CARD_BYTES_MAX, parse_card

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from securesystemslib.signer import Key
    from tuf.api.metadata import Root, TargetFile, Targets

    from fleet.policy.source import Against
    from fleet.trust.repository import Repository
    from policies.files import Loaded
    from policies.trust.model import SignedPolicy, Terms

KEPT_MAX: Final = 8  # older policies that stay listed; those of a rollout always do
DESK: Final = "rollout.pub.json"  # in the repository, before anything is published


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is said of a policy beside its text."""

    terms: Terms
    devices: Sequence[str] = ()
    cards: Path | None = None  # folder of recipient cards, None: devices have theirs


def propose_policy(
    repository: Repository, policy: Path, against: Against, wanted: Wanted, now_s: int
) -> tuple[Proposal, Loaded]:
    """Return the proposal to publish a policy beside those that are out.

    Refused where lint or the floor refuses it; BadInput for files and versions.
    """
    loaded = read(str(policy), against)
    refuse_errors(loaded)
    model = loaded.compiled.document.model
    now = repository.standing()
    listed = {} if now.targets is None else listing(now.targets)
    newest = max(listed, default=0)
    if model.version <= newest:
        hint = f"version {newest + 1} is free"
        raise BadInput(str(policy), "version", f"must rise above {newest}", hint)
    made = PolicyFiles(
        model.name,
        model.version,
        model.min_version,
        read_limited(policy, CATALOGUE_BYTES_MAX),
        wanted.terms,
        tuple(wanted.devices),
        _catalogues(policy, model.catalogues),
        _cards(loaded, wanted.cards),
    )
    entries = {**_kept(repository), **made.targets()}
    proposal = _with_targets(repository, entries, desk_of(repository), now_s)
    files = _at_hand(repository, newest)
    for path, target in made.targets().items():
        files[bundle_name(path, target)] = made.paths()[path]
    return _checked(proposal, files), loaded


def propose_keys(
    repository: Repository,
    holders: Holders | None,
    desk: Sequence[PublicHalf] | None,
    now_s: int,
) -> Proposal:
    """Return the proposal of other keys: a new root, and what they must sign anew."""
    now = repository.standing()
    old_root = repository.view().roots()[now.root.version]
    new_root = b""
    if holders is not None:
        until_s = now_s + repository.days.root * DAY_S
        made = root(repository.fleet, now.root.version + 1, holders, until_s)
        new_root = Metadata(made).to_bytes(COMPACT)
    signed_anew = desk is not None or (
        holders is not None
        and {half.key_id for half in holders.people}
        != set(now.root.roles["targets"].keyids)
    )
    if now.targets is None or not signed_anew:
        if desk is not None:
            raise BadInput("", ROLLOUT, "nothing is published yet", "replace its files")
        return _checked(Proposal(old_root, new_root, now.raw.get(TARGETS, b"")), {})
    proposal = _with_targets(
        repository, now.targets.targets, desk or desk_of(repository), now_s
    )
    proposal = Proposal(old_root, new_root, proposal.old_targets, proposal.new_targets)
    return _checked(proposal, {})


def desk_of(repository: Repository) -> list[PublicHalf]:
    """Return who may sign rollouts now."""
    found = repository.standing().targets
    if found is None or found.delegations is None:
        return [load_half(repository.folder / DESK)]
    keys, roles = found.delegations.keys, found.delegations.roles or {}
    return [half_of(ROLLOUT, keys[one]) for one in roles[ROLLOUT].keyids]


def holders_of(now: Root) -> Holders:
    """Return who holds the keys of a root, by the names that it gives them."""
    people = binding("root", now).people

    def halves(role: str) -> list[PublicHalf]:
        ids = now.roles[role].keyids
        return [half_of(people.get(one, role), now.keys[one]) for one in ids]

    return Holders(
        halves("root"),
        halves("targets"),
        halves("snapshot"),
        halves("timestamp"),
        now.roles["root"].threshold,
        now.roles["targets"].threshold,
    )


def half_of(name: str, key: Key) -> PublicHalf:
    """Return the public half of a key of metadata; BadInput where it is none."""
    told = {"schema": SCHEMA, "name": name, "ed25519": key.keyval["public"]}
    try:
        return msgspec.convert(told, PublicHalf)
    except msgspec.ValidationError:
        raise BadInput("", "key", "of the metadata is no Ed25519 key") from None


def compiled_of(policy: SignedPolicy, against: Against) -> Loaded:
    """Return a policy of a proposal compiled, with its own catalogues beside it."""
    with TemporaryDirectory() as folder:
        for name, body in policy.catalogues.items():
            Path(folder, name).write_bytes(body)
        place = Path(folder, f"{policy.name}-{policy.version}.yaml")
        place.write_bytes(policy.text)
        return read(str(place), against)


def refuse_errors(loaded: Loaded) -> None:
    """Return where neither lint nor the floor refuses a policy."""
    found = [str(one) for one in (*loaded.errors, *loaded.violations)]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Refused("lint", f"{found[0]}{more}: see `sluicectl policy check`")


def _kept(repository: Repository) -> dict[str, TargetFile]:
    """Return the entries of the published policies that stay listed."""
    now = repository.standing()
    if now.targets is None:
        return {}
    listed = listing(now.targets)
    told = repository.rollout()
    kept = set(sorted(listed)[-KEPT_MAX:])
    kept |= set() if told is None else {told.candidate, told.stable}
    return {
        path: one
        for version in kept & set(listed)
        for path, one in listed[version].files.items()
    }


def _with_targets(
    repository: Repository,
    entries: Mapping[str, TargetFile],
    desk: Sequence[PublicHalf],
    now_s: int,
) -> Proposal:
    now = repository.standing()
    number = repository.next_version(TARGETS)
    until_s = now_s + repository.days.targets * DAY_S
    made: Targets = targets(repository.fleet, number, entries, desk, until_s)
    return Proposal(
        repository.view().roots()[now.root.version],
        b"",
        now.raw.get(TARGETS, b""),
        Metadata(made).to_bytes(COMPACT),
    )


def _at_hand(repository: Repository, version: int) -> dict[str, bytes]:
    """Return the files of a published policy, for whoever compares."""
    now = repository.standing()
    if now.targets is None or not version:
        return {}
    view = repository.view()
    return {
        bundle_name(path, one): view.target(path, one)
        for path, one in listing(now.targets)[version].files.items()
    }


def _checked(proposal: Proposal, files: Mapping[str, bytes]) -> Proposal:
    whole = Proposal(
        proposal.old_root,
        proposal.new_root,
        proposal.old_targets,
        proposal.new_targets,
        files,
    )
    try:
        check_proposal(whole)
    except TrustError as error:
        raise BadInput("", "proposal", error.reason) from None
    return whole


def _catalogues(policy: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the catalogues of the policy's own; shipped ones are on the devices."""
    own: dict[str, bytes] = {}
    for name in names:
        if name in shipped("catalogues"):
            continue
        if Path(name).name != name:
            hint = "put it beside the policy"
            raise BadInput(str(policy), "catalogues", f"{name} is in a folder", hint)
        own[name] = read_limited(policy.parent / name, CATALOGUE_BYTES_MAX)
    return own


def _cards(loaded: Loaded, folder: Path | None) -> dict[str, bytes]:
    """Return the cards of all recipients of a policy, from a folder."""
    if folder is None:
        return {}
    model = loaded.compiled.document.model
    names = {one for place in model.destinations.values() for one in place.recipients}
    names |= {model.custodian} if model.custodian else set()
    cards: dict[str, bytes] = {}
    for name in sorted(names):
        path = folder / f"{name}.card.json"
        body = read_limited(path, CARD_BYTES_MAX)
        try:
            card = parse_card(body)
        except WireError as error:
            raise BadInput(str(path), "", error.reason) from None
        if card.name != name:
            raise BadInput(str(path), "name", f"is the card of {card.name}")
        cards[name] = body
    return cards
