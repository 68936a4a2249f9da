"""`sluicectl keys init|person|rotate` and `sluicectl journal verify`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.errors import BadInput
from fleet.files import read_limited
from fleet.groups import journal_app, keys_app
from fleet.policy.source import Against
from fleet.trust.founding import Founding, found, rotate
from fleet.trust.journal import check_journal
from fleet.trust.making import Days
from fleet.trust.proposal import add_signature, write_proposal
from fleet.trust.repository import Repository
from fleet.trust.shown import print_founded, print_half, print_journal, print_proposal
from fleet.trust.signing import PEM, PUBLIC, Passphrases, load_half, load_key, make_key
from fleet.trust.words import (
    Json,
    KeysFolder,
    NewPassphraseFile,
    PassphraseFile,
    RepositoryFolder,
    checked_name,
)
from protocols.errors import WireError
from protocols.tlog.checkpoint import NOTE_BYTES_MAX
from protocols.topics import check_name

PEOPLE = ("signer-1", "signer-2", "signer-3")
ROOTS = ("root-1", "root-2", "root-3")


@keys_app.command("init")
def keys_init(
    fleet: Annotated[str, typer.Argument(help="Name of the fleet.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where everything goes; else ./FLEET.")
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option(help="Signs policies: a name, or NAME.pub.json; three or more."),
    ] = None,
    root: Annotated[
        list[str] | None, typer.Option(help="Signs other keys: the same.")
    ] = None,
    threshold: Annotated[int, typer.Option(help="People who must sign.")] = 2,
    root_threshold: Annotated[int, typer.Option(help="Root keys that must.")] = 2,
    root_days: Annotated[int, typer.Option(min=1, help="Life of the root.")] = 365,
    targets_days: Annotated[int, typer.Option(min=1, help="Of policies.")] = 365,
    rollout_days: Annotated[int, typer.Option(min=1, help="Of rollouts.")] = 90,
    snapshot_days: Annotated[int, typer.Option(min=1, help="Of snapshots.")] = 30,
    timestamp_days: Annotated[int, typer.Option(min=1, help="Of timestamps.")] = 7,
    passphrase_file: NewPassphraseFile = None,
) -> int:
    """Make a fleet's keys and repository; 2 of 3 people sign, 2 of 3 root keys."""
    try:
        check_name("fleet", fleet)
    except WireError as error:
        raise BadInput("", "FLEET", error.reason) from None
    people, roots = tuple(person or PEOPLE), tuple(root or ROOTS)
    for name in (*people, *roots):
        if not name.endswith(PUBLIC):
            checked_name(name)
    days = Days(root_days, targets_days, rollout_days, snapshot_days, timestamp_days)
    told = Founding(
        fleet, folder or Path(fleet), people, roots, threshold, root_threshold, days
    )
    made = found(told, int(time.time()), Passphrases(passphrase_file))
    print_founded(made, fleet)
    return 0


@keys_app.command("person")
def keys_person(
    name: Annotated[str, typer.Argument(help="Who will sign.")],
    folder: Annotated[Path, typer.Option(help="Where both halves go.")] = Path(),
    passphrase_file: NewPassphraseFile = None,
) -> int:
    """Make one person's key: NAME.pem stays with them, NAME.pub.json is handed on."""
    checked_name(name)
    half = make_key(name, folder, Passphrases(passphrase_file).of_file())
    files = [str(folder / f"{name}{end}") for end in (PEM, PUBLIC)]
    print_half(half, files)
    return 0


@keys_app.command("rotate")
def keys_rotate(
    role: Annotated[
        str, typer.Argument(help="root, people, snapshot, timestamp or rollout.")
    ],
    repository: RepositoryFolder,
    keys: KeysFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The proposal to sign.")],
    coming: Annotated[
        list[str] | None, typer.Option("--with", help="New: a name or NAME.pub.json.")
    ] = None,
    going: Annotated[
        list[str] | None, typer.Option("--without", help="Name that loses its key.")
    ] = None,
    sign: Annotated[
        list[Path] | None, typer.Option("--sign", help="Sign at once with this key.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> int:
    """Propose other keys for a role: `policy sign` it, then `policy publish` it.

    A new root is signed by the thresholds of the old and of the new root keys; the
    people of a changed fleet role sign the published policies anew.
    """
    if out.exists():
        raise BadInput(str(out), "", "exists already")
    for name in coming or ():
        if not name.endswith(PUBLIC):
            checked_name(name)
    asked = Passphrases(passphrase_file)
    place = Repository(repository)
    proposal = rotate(
        place, role, coming or (), going or (), keys, int(time.time()), asked
    )
    for path in sign or ():
        proposal, _ = add_signature(proposal, load_key(path, asked))
    write_proposal(out, proposal)
    print_proposal(proposal, Against())
    return 0


@journal_app.command("verify")
def journal_verify(
    repository: RepositoryFolder,
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that was kept elsewhere.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--public-key", help="journal.pub.json kept elsewhere."),
    ] = None,
    entries: Annotated[bool, typer.Option("--entries", help="Show them.")] = False,
    json: Json = False,
) -> int:
    """Check that no entry of the journal was changed, removed or reordered.

    Exit code 0: it holds; 1: it does not.
    """
    place = Repository(repository)
    old = None if since is None else read_limited(since, NOTE_BYTES_MAX)
    public = "" if key is None else load_half(key).ed25519
    checked = check_journal(place.folder, place.fleet, old, public)
    print_journal(checked, as_json=json, entries=entries)
    return 0
