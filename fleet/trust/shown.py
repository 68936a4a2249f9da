"""What people see of keys, proposals, repositories and journals."""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from fleet.listing import write, write_facts, write_table
from fleet.policy.diff import print_difference
from fleet.policy.source import bad_input
from fleet.trust.proposal import NEW_ROOT, NEW_TARGETS
from fleet.trust.proposing import compiled_of, half_of, holders_of
from policies.diff.compare import compare
from policies.trust.content import listing
from policies.trust.metadata import ROLLOUT, binding
from policies.trust.parts import TARGETS
from protocols.recipients import parse_card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuf.api.metadata import Root, Signed

    from fleet.policy.source import Against
    from fleet.trust.founding import Founded
    from fleet.trust.journal import Checked
    from fleet.trust.proposal import Proposal
    from fleet.trust.repository import Repository
    from fleet.trust.signing import PublicHalf
    from policies.diff.difference import Difference
    from policies.trust.model import SignedPolicy, Terms
    from protocols.recipients import RecipientCard

Facts = list[tuple[str, str]]


def print_json(told: object) -> None:
    """Print one object on one line."""
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


def _to_hand_out(made: Founded) -> str:
    """Return what is to become of the private halves that were made here."""
    if any(half.name in made.made for half in made.holders.people):
        return "hand each person their own"
    return "hand out the root keys"  # people have theirs; the first root is signed here


def print_founded(made: Founded, fleet: str) -> None:
    """Print where a new fleet's things are, and what to do with them."""
    write(f"fleet {fleet}")
    write_facts(
        [
            ("repository", f"{made.repository}  back it up; it holds no secret"),
            ("keys", f"{made.keys}  0600; {_to_hand_out(made)}"),
            ("root", f"{made.root}  goes on every device, [trust] root"),
            ("root digest", sha256(made.root.read_bytes()).hexdigest()),
        ]
    )
    rows = [
        (role, half.name, half.fingerprint, "here" if half.name in made.made else "")
        for role, halves in made.holders.by_role().items()
        for half in halves
    ]
    write_table(("role", "name", "key", "private half"), rows)
    least = made.holders
    write(
        f"{least.threshold} of {len(least.people)} people sign a policy, "
        f"{least.root_threshold} of {len(least.root)} root keys other keys"
    )


def print_half(half: PublicHalf, files: Sequence[str]) -> None:
    """Print whose key it is and where its halves are."""
    rows = [("name", half.name), ("key", half.fingerprint)]
    rows += zip(("private half", "public half"), files, strict=False)
    write_facts(rows)


def print_proposal(proposal: Proposal, against: Against) -> Difference | None:
    """Print what would change and who has signed; return the policies' difference."""
    digest = sha256(proposal.old_root).hexdigest()
    rows: Facts = [
        ("fleet", proposal.fleet()),
        ("root", f"version {proposal.before().version}, SHA-256 {digest}"),
    ]
    if proposal.new_root:
        rows += _key_changes(proposal)
    old, new = proposal.policies(new=False), proposal.policies(new=True)
    if proposal.new_targets:
        gone = sorted(old.keys() - new.keys())
        rows += [("no longer listed", ", ".join(map(str, gone)))] if gone else []
        rows += _until("policies", proposal.targets())
        rows += _desk_change(proposal)
    found = None
    if new.keys() - old.keys():
        rows += _policy_rows(proposal)
    write_facts(rows)
    if new.keys() - old.keys():
        found = difference(proposal, against)
        print_difference(found, against)
    for line in signed_lines(proposal):
        write(line)
    return found


def difference(proposal: Proposal, against: Against) -> Difference:
    """Return what the newest policy does otherwise than the newest published one."""
    before, after = proposal.newest(new=False), proposal.newest(new=True)
    assert after is not None  # check_proposal looked
    old = None if before is None else compiled_of(before, against).compiled
    new = compiled_of(after, against).compiled
    return compare(old, new, ({} if before is None else _cards(before), _cards(after)))


def _cards(policy: SignedPolicy) -> dict[str, RecipientCard]:
    """Return the cards that are signed with a policy; BadInput where one is none."""
    with bad_input():
        return {name: parse_card(body) for name, body in policy.cards.items()}


def signed_lines(proposal: Proposal) -> list[str]:
    """Return who has signed each part, and how many still must."""
    root = proposal.root()
    people = binding("root", root).people
    lines: list[str] = []
    for part, role in ((NEW_ROOT, "root"), (NEW_TARGETS, TARGETS)):
        if not (proposal.new_root if part == NEW_ROOT else proposal.new_targets):
            continue
        good = proposal.signed(part)
        names = sorted(people.get(one, one[:16]) for one in good)
        least = root.roles[role].threshold
        counted = len(good & set(root.roles[role].keyids))
        left = max(0, least - counted)
        what = "keys" if part == NEW_ROOT else "policies"
        by = ", ".join(names) or "nobody"
        more = f"{left} more must sign" if left else "enough"
        lines.append(f"{what}: signed by {by}; {more}")
        if part == NEW_ROOT:
            old = proposal.before().roles["root"]
            missing = max(0, old.threshold - len(good & set(old.keyids)))
            if missing:
                lines.append(f"keys: {missing} more of the root keys before must sign")
    return lines


def status(repository: Repository, now_s: int) -> dict[str, object]:
    """Return what is published: versions, expiry, policies, rollout, keys."""
    now = repository.standing()
    parts: list[tuple[str, Signed | None]] = [
        ("root", now.root),
        ("timestamp", now.timestamp),
        ("snapshot", now.snapshot),
        (TARGETS, now.targets),
        (ROLLOUT, now.rollout),
    ]
    told = repository.rollout()
    listed = {} if now.targets is None else listing(now.targets)
    return {
        "fleet": repository.fleet,
        "metadata": [
            {
                "role": role,
                "version": one.version,
                "expires": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
                "days_left": (int(one.expires.timestamp()) - now_s) // 86_400,
            }
            for role, one in parts
            if one is not None
        ],
        "policies": [
            {
                "version": version,
                "name": one.custom.name,
                "min_version": one.custom.min_version,
                "devices": len(one.custom.devices),
                "files": len(one.files),
            }
            for version, one in sorted(listed.items())
        ],
        "rollout": None
        if told is None
        else {
            "name": told.name,
            "state": told.state,
            "candidate": told.candidate,
            "stable": told.stable,
            "upto": told.upto,
        },
        "people": sorted(binding("root", now.root).people.values()),
    }


def print_status(repository: Repository, now_s: int, *, as_json: bool) -> None:
    """Print what is published."""
    told = status(repository, now_s)
    if as_json:
        print_json(told)
        return
    write(f"fleet {told['fleet']}")
    for name, head in (
        ("metadata", ("role", "version", "expires", "days_left")),
        ("policies", ("version", "name", "min_version", "devices", "files")),
    ):
        rows = [
            [_cell(key, one[key]) for key in head]
            for one in msgspec.to_builtins(told[name])
        ]
        write_table([key.replace("_", " ") for key in head], rows)
    one = told["rollout"]
    if isinstance(one, dict):
        share = f"{one['upto'] / 100:g} %"
        write(
            f"rollout {one['name']}: {one['state']}, policy {one['candidate']}, {share}"
        )


def _cell(key: str, value: object) -> str:
    return "all" if key == "devices" and not value else str(value)


def print_journal(found: Checked, *, as_json: bool, entries: bool) -> None:
    """Print that a journal holds, and its entries where asked."""
    if as_json:
        print_json(
            {
                "entries": [msgspec.to_builtins(one) for one in found.entries],
                "size": len(found.entries),
                "root": found.root.hex(),
                "unsigned": found.unsigned,
            }
        )
        return
    if entries:
        rows = [
            (
                str(one.number),
                one.time,
                one.action,
                " ".join(f"{name}={value}" for name, value in one.facts.items()),
            )
            for one in found.entries
        ]
        write_table(("", "time", "action", "facts"), rows, right=(0,))
    write(f"{len(found.entries)} entries hold; root {found.root.hex()}")
    if found.unsigned:
        write(f"{found.unsigned} of them not signed yet: a power cut came between")


def _policy_rows(proposal: Proposal) -> Facts:
    policy = proposal.newest(new=True)
    assert policy is not None  # check_proposal looked
    cards = [
        f"{name}'s card {card.digest()[:16]}" for name, card in _cards(policy).items()
    ]
    named = [*policy.catalogues, *cards]
    return [
        ("policy", f"{policy.name} version {policy.version}"),
        ("min_version", f"{policy.min_version}: devices never go below it again"),
        ("SHA-256", policy.digest.hex()),
        ("for", ", ".join(policy.devices) or "the whole fleet"),
        ("with", ", ".join(named) or "nothing beside its text"),
        ("on trial", _terms(policy.terms)),
    ]


def _terms(terms: Terms) -> str:
    """Return the terms of a trial in words."""
    limits = [
        ("uplink", terms.uplink_s, "s"),
        ("loss", terms.loss_max, "records"),
        ("CPU", terms.cpu_percent_max, "%"),
        ("spool", terms.spool_bytes_per_h_max, "B/h"),
    ]
    told = [f"{name} {value} {unit}" for name, value, unit in limits if value]
    words = ", ".join([f"{terms.trial_s} s", *told, f"restarts {terms.restarts_max}"])
    if terms.uplink_s >= terms.trial_s:
        words += "; the trial ends first: missing receipts revert nothing"
    return words


def _key_changes(proposal: Proposal) -> Facts:
    before, after = holders_of(proposal.before()), holders_of(proposal.root())
    rows: Facts = [("new root", f"version {proposal.root().version}")]
    rows += _until("keys", proposal.root())
    for role, halves in after.by_role().items():
        old = {half.key_id: half for half in before.by_role()[role]}
        new = {half.key_id: half for half in halves}
        rows += [
            (role, f"+ {new[i].name} {new[i].fingerprint}") for i in new if i not in old
        ]
        rows += [
            (role, f"- {old[i].name} {old[i].fingerprint}") for i in old if i not in new
        ]
    for role in ("root", TARGETS):
        was, will = (r.roles[role].threshold for r in _roots(proposal))
        if was != will:
            rows.append((role, f"{will} must sign, not {was}"))
    return rows


def _until(what: str, signed: Signed | None) -> Facts:
    if signed is None:
        return []
    return [(f"{what} until", f"{signed.expires:%Y-%m-%d}: sign them anew by then")]


def _desk_change(proposal: Proposal) -> Facts:
    old, new = proposal.old_targets, proposal.targets()
    if new is None or new.delegations is None:
        return []
    keys = [half_of(ROLLOUT, key) for key in new.delegations.keys.values()]
    known = old and all(half.ed25519.encode() in old for half in keys)
    return (
        [] if known else [(ROLLOUT, f"may be signed by {h.fingerprint}") for h in keys]
    )


def _roots(proposal: Proposal) -> tuple[Root, Root]:
    return proposal.before(), proposal.root()
