"""A fleet's beginning and its later keys: made by names, or taken as public halves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput
from fleet.files import write_new
from fleet.trust.journal import FileJournal
from fleet.trust.making import DAY_S, Days, Holders, root, sealed
from fleet.trust.proposing import DESK, holders_of, propose_keys
from fleet.trust.repository import Repository
from fleet.trust.signing import (
    PEM,
    PUBLIC,
    Passphrases,
    encode_half,
    load_half,
    load_key,
    make_key,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.trust.proposal import Proposal
    from fleet.trust.signing import PublicHalf

REPOSITORY: Final = "repository"
KEYS: Final = "keys"
ROOT: Final = "root.json"
JOURNAL: Final = "journal"
ROLES: Final = ("root", "people", "snapshot", "timestamp", "rollout")
ONLINE: Final = ("snapshot", "timestamp", "rollout")


@dataclass(frozen=True, slots=True)
class Founding:
    """What a new fleet is made of; names make keys, ``*.pub.json`` files are taken."""

    fleet: str
    folder: Path
    people: Sequence[str]
    roots: Sequence[str]
    threshold: int = 2
    root_threshold: int = 2
    days: Days = field(default_factory=Days)


@dataclass(frozen=True, slots=True)
class Founded:
    """Where everything is."""

    repository: Path
    keys: Path
    root: Path
    holders: Holders
    made: tuple[str, ...]  # names whose private halves are in ``keys``


def found(told: Founding, now_s: int, passphrases: Passphrases) -> Founded:
    """Make keys, first root and repository; BadInput where one of them is there.

    Keys of people and roots get the passphrase, if there is one; the online ones do
    not: they sign without anybody at the desk. The first root is signed by those root
    keys that are made here; where these are too few it is a proposal's to complete.
    """
    _check_thresholds(told)
    place = told.folder / KEYS
    secret = passphrases.of_file()
    made: list[str] = []
    roots = [_half(one, place, secret, made) for one in told.roots]
    people = [_half(one, place, secret, made) for one in told.people]
    _check_people(people)
    _check_people(roots)
    online = {role: _half(role, place, None, made) for role in (*ONLINE, JOURNAL)}
    holders = Holders(
        roots,
        people,
        [online["snapshot"]],
        [online["timestamp"]],
        told.root_threshold,
        told.threshold,
    )
    first = root(told.fleet, 1, holders, now_s + told.days.root * DAY_S)
    pems = [place / f"{half.name}{PEM}" for half in roots]
    signers = [load_key(one, passphrases).signer() for one in pems if one.exists()]
    if len(signers) < told.root_threshold:
        reason = f"{len(signers)} of {told.root_threshold} root keys are here to sign"
        raise BadInput("", "--root", reason, "make them here, and hand them out then")
    raw = sealed(first, signers)
    repository = Repository.create(told.folder / REPOSITORY, told.fleet, raw, told.days)
    write_new(repository.folder / DESK, encode_half(online["rollout"]))
    write_new(told.folder / ROOT, raw)
    journal = FileJournal(
        repository.folder, told.fleet, load_key(place / f"{JOURNAL}{PEM}", passphrases)
    )
    journal.begin()
    journal.record(
        "keys init",
        {
            "people": ",".join(half.name for half in people),
            "threshold": told.threshold,
            "root_keys": len(roots),
            "root_threshold": told.root_threshold,
        },
    )
    return Founded(repository.folder, place, told.folder / ROOT, holders, tuple(made))


def rotate(
    repository: Repository,
    role: str,
    coming: Sequence[str],
    going: Sequence[str],
    keys: Path,
    now_s: int,
    passphrases: Passphrases,
) -> Proposal:
    """Return the proposal of a role's new keys; new private halves go into ``keys``.

    ``coming``: names or public halves; ``going``: names that lose their key. An online
    role without any gets one new key for its old ones.
    """
    if role not in ROLES:
        raise BadInput("", "role", f"is none of {', '.join(ROLES)}")
    now = holders_of(repository.standing().root)
    made: list[str] = []
    if role in ONLINE:
        version = repository.standing().root.version + 1
        names = coming or [_free_name(keys, f"{role}-{version}")]
        halves = [_half(one, keys, None, made) for one in names]
        if role == "rollout":
            return propose_keys(repository, None, halves, now_s)
        if role == "snapshot":
            after = replace(now, snapshot=halves)
        else:
            after = replace(now, timestamp=halves)
        return propose_keys(repository, after, None, now_s)
    is_root = role == "root"
    before = now.root if is_root else now.people
    unknown = set(going) - {half.name for half in before}
    if unknown:
        raise BadInput("", "--without", f"no such name: {min(unknown)}")
    secret = passphrases.of_file()
    halves = [half for half in before if half.name not in set(going)]
    halves += [_half(one, keys, secret, made) for one in coming]
    _check_people(halves)
    least = now.root_threshold if is_root else now.threshold
    if len(halves) < least:
        raise BadInput("", "--without", f"{least} must sign, {len(halves)} are left")
    after = replace(now, root=halves) if is_root else replace(now, people=halves)
    return propose_keys(repository, after, None, now_s)


def _half(
    one: str, folder: Path, passphrase: bytes | None, made: list[str]
) -> PublicHalf:
    """Return the public half of a file, or of a new key of that name."""
    if one.endswith(PUBLIC):
        return load_half(Path(one))
    made.append(one)
    return make_key(one, folder, passphrase)


def _free_name(folder: Path, name: str) -> str:
    number = 1
    free = name
    while (folder / f"{free}{PUBLIC}").exists() or (folder / f"{free}{PEM}").exists():
        number += 1
        free = f"{name}.{number}"
    return free


def _check_people(halves: Sequence[PublicHalf]) -> None:
    names = [half.name for half in halves]
    keys = [half.ed25519 for half in halves]
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        raise BadInput("", "names", "one person or one key is there twice")


def _check_thresholds(told: Founding) -> None:
    for option, least, of in (
        ("--threshold", told.threshold, told.people),
        ("--root-threshold", told.root_threshold, told.roots),
    ):
        if not 2 <= least <= len(of):
            reason = f"{least} of {len(of)}: at least 2, and no more than there are"
            raise BadInput("", option, reason)
