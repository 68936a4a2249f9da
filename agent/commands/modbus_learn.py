"""`sluicegate modbus learn`: a draft of rules and of a register map, for a person."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.commands.modbus_map import collected
from agent.commands.modbus_source import Source
from agent.errors import BadInput
from policies.files import load_text
from policies.firewall.learn import Draft, Seen, draft, without_marks
from policies.parse import parse_bindings

if TYPE_CHECKING:
    from agent.commands.modbus_where import Where


def learn(where: Where, out: Path, *, values: bool, as_json: bool) -> int:
    """Write ``OUT.policy.yaml`` and ``OUT.bindings.yaml``, tell what is in them; 0."""
    policy = Path(f"{out}.policy.yaml")
    bindings = Path(f"{out}.bindings.yaml")
    for file in (policy, bindings):
        if file.exists():
            raise BadInput(str(file), "", "exists already", "name another --out")
    source = Source(where)
    inventory = collected(source)
    if not inventory.rows:
        ports = ", ".join(map(str, source.ports))
        reason = f"holds no Modbus on port {ports}"
        raise BadInput(where.title, "", reason, "other ports: --port")
    names = source.devices.names
    made = draft(Seen(inventory, source.peers.names, names, where.title, values))
    _check(made, tuple(names.values()))
    _write(policy, made.policy)
    _write(bindings, made.bindings)
    if as_json:
        told = {
            "policy": str(policy),
            "bindings": str(bindings),
            "clients": made.clients,
            "rules": made.rules,
            "points": made.points,
            "writes_to_declare": made.writes,
            "never_answered": made.unanswered,
            "left_out": made.left_out,
            "not_read": source.skipped,
        }
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    else:
        _tell(made, policy, bindings)
    return 0


def _check(made: Draft, links: tuple[str, ...]) -> None:
    """Let our own parser and lint read the draft before a person does."""
    known = parse_bindings(made.bindings.encode(), "draft of the bindings")
    text = without_marks(made.policy).encode()
    load_text(text, "draft of the policy", [known], links=tuple(dict.fromkeys(links)))


def _write(file: Path, text: str) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        reason = error.strerror or "cannot be written"
        raise BadInput(str(file), "", reason) from None


def _tell(made: Draft, policy: Path, bindings: Path) -> None:
    lines = [
        f"{policy}: {made.rules} rules for {made.clients} clients, reads only",
        f"{bindings}: {made.points} registers and coils, types to be told",
    ]
    if made.writes:
        lines.append(
            f"writes seen, refused until you declare them: {made.writes} kinds"
        )
    if made.unanswered:
        lines.append(f"asked for and never answered well: {made.unanswered} kinds")
    lines += [f"left out: {n:,} {cause}" for cause, n in made.left_out.items()]
    lines.append("read every line of both before you use them")
    sys.stdout.write("\n".join(lines) + "\n")
