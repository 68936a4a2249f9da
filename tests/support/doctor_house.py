"""A gateway's files and a machine, all of it good; a test spoils one thing.

What a fix line says is done by ``House.follow``: commands of the machine (``ip``,
``sysctl``, ``systemctl``, ``timedatectl``) change the machine that the doctor is given,
other commands are run by a shell, and fields are set in the configuration.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import tomllib
from functools import cache
from typing import TYPE_CHECKING, Any

from agent.commands.doctor.context import Context, User
from agent.commands.doctor.runner import examined
from agent.commands.doctor.table import CHECKS, select
from fleet.keys import generate
from protocols.recipients import encode_card
from tests.policies.building import policy_of, rule_of
from tests.support.doctor_machine import Machine
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.commands.doctor.model import Row

DBC = """VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
"""
BINDINGS = """schema: sluicegate/bindings/1
name: small
can:
  - bus: can0
    database: small.dbc
    signals:
      SPEEDS.FRONT: {item}
"""
EVENTS = rule_of("events", match={"category": "security.event"})
SPEED = rule_of("speed", match={"item": "Vehicle.Speed"})
NAMES = ("oem-key", "de-key", "keeper")
STEP = re.compile(r"\b(run|set|remove) `([^`]+)`(?: under `([^`]+)`)?")


@cache
def _card(name: str, not_after: dt.date) -> bytes:
    return encode_card(generate(name, dt.date(2026, 1, 1), not_after).card())


class House:
    """Files of a gateway; ``sections`` are what the configuration has."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.machine = Machine()
        self.user = User.current()
        self.sections: dict[str, dict[str, str]] = {
            "": {
                "device": '"gw-1"', "fleet": '"test"', "state_dir": '"state"',
                "policy": '"policy.yaml"', "bindings": '["small.bindings.yaml"]',
                "databases": '"."', "recipients": '"cards"',
            },
            "[[can]] can0": {"name": '"can0"', "interface": '"virtual"'},
            "[mqtt]": {"port": str(port)},
            "[spool]": {"max_bytes": "4194304"},
            "[metrics]": {"socket": '"status.sock"'},
        }  # fmt: skip
        self.configure()
        self.write("small.dbc", DBC)
        self.write("small.bindings.yaml", BINDINGS.format(item="Vehicle.Speed"))
        self.policy()
        (folder / "cards").mkdir(mode=0o755)
        self.state.mkdir(mode=0o700)
        for name in NAMES:
            self.card(name)

    # --- files ----------------------------------------------------------------------

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "gw.toml"

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
        return file

    def policy(self, *rules: dict[str, Any], **more: Any) -> None:
        chosen = list(rules or (EVENTS, SPEED))
        self.write("policy.yaml", policy_of(rules=chosen, **more).decode())

    def card(self, name: str, days: int = 3000) -> None:
        today = dt.datetime.now(dt.UTC).date()
        file = self.folder / "cards" / f"{name}.card.json"
        file.write_bytes(_card(name, today + dt.timedelta(days)))
        file.chmod(0o644)

    def store(self) -> Path:
        """Make the store; return its file."""
        opened(self.state / "store.db").close()
        return self.state / "store.db"

    def set(self, field: str, value: str, section: str = "") -> None:
        """Set a field (its value as TOML has it); "" removes it."""
        fields = self.sections.setdefault(section, {})
        if section.startswith("[["):
            fields.setdefault("name", f'"{section.split()[1]}"')
        fields[field] = value
        if not value:
            del fields[field]
        self.configure()

    def configure(self) -> None:
        lines: list[str] = []
        for section, fields in self.sections.items():
            lines += [section.split(" ")[0]] if section else []
            lines += [f"{name} = {value}" for name, value in fields.items()]
        self.write("gw.toml", "\n".join(lines) + "\n")

    # --- the doctor -----------------------------------------------------------------

    said: dict[str, Any]

    def examined(self, *only: str) -> list[Row]:
        context = Context(self.config, self.machine, self.user)
        return list(examined(CHECKS, context, select(only)))

    def verdicts(self, *only: str) -> dict[str, str]:
        """Return id -> the worst of its verdicts."""
        order = ["skipped", "good", "notice", "warn", "bad"]
        worst: dict[str, str] = {}
        for row in self.examined(*only):
            now = worst.setdefault(row.id, row.verdict)
            worst[row.id] = max(now, row.verdict, key=order.index)
        return worst

    # --- what a fix line says -------------------------------------------------------

    def follow(self, fix: str, given: dict[str, str]) -> None:
        """Do what a fix line says; ``given``: what its words in capitals stand for."""
        first = fix.partition(", or ")[0]
        steps = STEP.findall(first)
        assert steps, f"no step that a script could follow: {fix}"
        for verb, what, section in steps:
            text = what
            for word, meant in given.items():
                text = re.sub(rf"\b{word}\b", meant, text)
            if verb == "run":
                self.run(text)
            elif verb == "remove":
                self.remove(text)
            else:
                field, value = text.split(" = ", 1)
                tomllib.loads(text)
                self.set(field, value, section)

    def run(self, command: str) -> None:
        if "|" in command or not self.machine.obey(command):
            subprocess.run(
                ["/bin/sh", "-ec", command],
                check=True,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"]},
            )

    def remove(self, field: str) -> None:
        for fields in self.sections.values():
            fields.pop(field, None)
        self.configure()


def row_of(rows: Sequence[Row], name: str) -> Row:
    """Return the worst row of a check."""
    found = [row for row in rows if row.id == name]
    assert found, f"no row of {name}"
    order = ["skipped", "good", "notice", "warn", "bad"]
    return max(found, key=lambda row: order.index(row.verdict))
