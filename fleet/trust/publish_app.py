"""`sluicectl policy propose|sign|publish|serve|status`: from a file to the fleet."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fleet.errors import BadInput
from fleet.files import read_limited, write_new
from fleet.groups import policy_app
from fleet.listing import write
from fleet.policy.source import Against
from fleet.registry import load_devices
from fleet.serving import served, teller
from fleet.trust.proposal import add_signature, load_proposal, write_proposal
from fleet.trust.proposing import Wanted, compiled_of, propose_policy, refuse_errors
from fleet.trust.publishing import BUNDLE, STAMP, publish
from fleet.trust.release import Release
from fleet.trust.repository import Repository
from fleet.trust.serve import Server
from fleet.trust.shown import print_json, print_proposal, print_status, signed_lines
from fleet.trust.signing import Passphrases, load_key
from fleet.trust.words import (
    Bindings,
    Broker,
    Ca,
    Cert,
    CertKey,
    Databases,
    Devices,
    Json,
    KeysFolder,
    PassphraseFile,
    Plain,
    RepositoryFolder,
    broker_options,
)
from policies.trust.model import ROOT_BYTES_MAX, Terms

ProposalFile = Annotated[Path, typer.Argument(help="The proposal file.")]


@policy_app.command("propose")
def policy_propose(
    policy: Annotated[Path, typer.Argument(help="The policy file.")],
    repository: RepositoryFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The proposal to sign.")],
    bindings: Bindings = None,
    databases: Databases = None,
    cards: Annotated[
        Path | None,
        typer.Option(help="Folder of recipient cards; else devices have theirs."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Only for this device; may be repeated.")
    ] = None,
    trial: Annotated[int, typer.Option(min=1, help="Trial, seconds.")] = 120,
    uplink: Annotated[
        int, typer.Option(min=0, help="Seconds without uplink that revert; 0: none.")
    ] = 60,
    loss: Annotated[
        int, typer.Option(min=0, help="Records lost that revert; 0: no limit.")
    ] = 1000,
    cpu: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of a core that reverts.")
    ] = 80,
    spool: Annotated[
        int, typer.Option(min=0, help="Spool growth, bytes an hour, that reverts.")
    ] = 0,
    restarts: Annotated[
        int, typer.Option(min=0, max=100, help="Restarts on trial that revert.")
    ] = 2,
) -> int:
    """Make the file that people sign: a policy with its terms. Lint must allow it."""
    if out.exists():
        raise BadInput(str(out), "", "exists already")
    terms = Terms(trial, uplink, loss, cpu, spool, restarts)
    against = Against(tuple(bindings or ()), databases)
    wanted = Wanted(terms, tuple(device or ()), cards)
    place = Repository(repository)
    proposal, _ = propose_policy(place, policy, against, wanted, int(time.time()))
    write_proposal(out, proposal)
    print_proposal(proposal, against)
    write(f"written: {out}; each signs it: sluicectl policy sign {out} --key NAME.pem")
    return 0


@policy_app.command("sign")
def policy_sign(
    proposal: ProposalFile,
    key: Annotated[Path, typer.Option(help="Your private key (PEM).")],
    bindings: Bindings = None,
    databases: Databases = None,
    root: Annotated[
        Path | None,
        typer.Option(help="The root that you know; another one's is not signed."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    passphrase_file: PassphraseFile = None,
) -> int:
    """Show what a proposal changes, then add your signature. Needs no repository.

    A policy that lint refuses is not signed. Exit code 1: refused, or you said no.
    """
    told = load_proposal(proposal)
    if root is not None and read_limited(root, ROOT_BYTES_MAX) != told.old_root:
        raise BadInput(str(proposal), "", f"is made for another root than {root}")
    against = Against(tuple(bindings or ()), databases)
    policy = told.newest(new=True)
    if policy is not None:
        refuse_errors(compiled_of(policy, against))
    print_proposal(told, against)
    if not yes and not sys.stdin.isatty():
        raise BadInput("", "--yes", "nobody is there to be asked")
    if not yes and not typer.confirm("Sign it?"):
        return 1
    signed, parts = add_signature(told, load_key(key, Passphrases(passphrase_file)))
    write_proposal(proposal, signed)
    write(f"signed: {', '.join(parts)}")
    for line in signed_lines(signed):
        write(line)
    return 0


@policy_app.command("publish")
def policy_publish(
    repository: RepositoryFolder,
    keys: KeysFolder,
    proposal: Annotated[
        Path | None,
        typer.Argument(help="A signed proposal; none: what is out, renewed."),
    ] = None,
    broker: Broker = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the bundle to a file.")
    ] = None,
    ca: Ca = "",
    cert: Cert = "",
    key: CertKey = "",
    allow_plaintext: Plain = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> int:
    """Put a signed proposal into the repository, and the bundle to the broker.

    Exit code 1: devices would refuse it (too few signatures), or the broker does.
    """
    if not broker and out is None:
        raise BadInput("", "", "where to?", "--broker HOST:PORT, or --out FILE")
    if out is not None and out.exists():
        raise BadInput(str(out), "", "exists already")
    options = broker_options(
        broker or "localhost:1883",
        f"sluicectl-publish-{secrets.token_hex(6)}",
        (ca, cert, key),
        plain=allow_plaintext,
    )
    release = Release(repository, keys, Passphrases(passphrase_file))
    if proposal is not None:
        message = release.publish(load_proposal(proposal))
    else:
        release.renew()
        message = release.bundle()
    if out is not None:
        write_new(out, message)
    if broker:
        parts = {BUNDLE: message, STAMP: release.renewal()}
        asyncio.run(publish(options, release.repository.fleet, parts))
    where = " and ".join([*([str(out)] if out else []), *([broker] if broker else [])])
    if json:
        print_json({"published": where, "bytes": len(message)})
    else:
        write(f"published: {len(message)} bytes to {where}")
    return 0


@policy_app.command("serve")
def policy_serve(
    repository: RepositoryFolder,
    keys: KeysFolder,
    devices: Devices,
    broker: Broker,
    seconds: Annotated[
        float, typer.Option(min=0, help="End after so many; 0: at SIGTERM.")
    ] = 0,
    ca: Ca = "",
    cert: Cert = "",
    key: CertKey = "",
    allow_plaintext: Plain = False,
    json: Json = False,
) -> int:
    """Keep the timestamp fresh and answer devices that ask for it. Until SIGTERM."""
    name = f"sluicectl-serve-{secrets.token_hex(6)}"
    options = broker_options(broker, name, (ca, cert, key), plain=allow_plaintext)
    release, show = Release(repository, keys), teller(as_json=json)
    server = Server(release, options, load_devices(devices), show)
    asyncio.run(served(server, seconds))
    return 0


@policy_app.command("status")
def policy_status(repository: RepositoryFolder, json: Json = False) -> int:
    """Show what is published: versions, how long they are good, the rollout."""
    print_status(Repository(repository), int(time.time()), as_json=json)
    return 0
