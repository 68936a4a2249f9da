"""Cases of policy and recipients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.policies.building import rule_of
from tests.support.doctor_case import Act, Case
from tests.support.doctor_house import BINDINGS, EVENTS, SPEED

if TYPE_CHECKING:
    from tests.support.doctor_house import House

FLOOR = {
    "schema": "sluicegate/floor/1",
    "rules": [
        {"name": "no-speed", "match": {"item": "Vehicle.Speed"}, "never_leaves": True}
    ],
}


def _spoil(file: str, old: str, new: str) -> Act:
    def seed(house: House) -> None:
        before = (house.folder / file).read_text(encoding="utf-8")
        assert old in before
        house.write(file, before.replace(old, new))

    return seed


def _policy(*rules: dict[str, Any], **more: Any) -> Act:
    return lambda house: house.policy(*rules, **more)


def _floor(house: House) -> None:
    house.set("floor", '"floor.yaml"')
    house.write("floor.yaml", json.dumps(FLOOR))


def _tightened(house: House, rule: str, floor: str) -> None:
    assert (rule, floor) == ("speed", "no-speed")
    house.policy(EVENTS, {**SPEED, "do": ["drop"]})


def _new_card(house: House, name: str, file: str, folder: str) -> None:
    assert (file, folder) == (f"{name}.card.json", str(house.folder / "cards"))
    house.card(name)


def _no_folder(house: House) -> None:
    (house.folder / "cards").rename(house.folder / "elsewhere")


def _good_bindings(house: House, *_: str) -> None:
    house.write("small.bindings.yaml", BINDINGS.format(item="Vehicle.Speed"))


CARD = (
    r"run `sluicectl keys new (\S+)` where .*, then copy (\S+) to (\S+)$",
    _new_card,
)
PURPOSELESS = {**rule_of("speed", match={"item": "Vehicle.Speed"}), "purpose": ""}
POLICY = [
    Case(
        "policy.parse",
        "field",
        "bad",
        "policy.yaml",
        _spoil("policy.yaml", '"rules"', '"rulez"'),
        mend=(r"^mend line \d+ of \S+policy\.yaml", _policy()),
    ),
    Case(
        "policy.parse",
        "signal",
        "bad",
        "REAR",
        _spoil("small.bindings.yaml", "FRONT:", "REAR:"),
        mend=(r"^mend line (\d+) of \S+small\.bindings\.yaml", _good_bindings),
    ),
    Case(
        "policy.parse",
        "database",
        "bad",
        "no such file",
        lambda house: (house.folder / "small.dbc").rename(house.folder / "x"),
        mend=(
            r"put it beside the bindings",
            lambda house: (house.folder / "x").rename(house.folder / "small.dbc"),
        ),
    ),
    Case(
        "policy.lint",
        "purpose",
        "bad",
        "SG001",
        _policy(EVENTS, PURPOSELESS),
        mend=(
            r"^mend line \d+ of \S+policy\.yaml \(docs/formats/policy\.md, SG001\)",
            _policy(),
        ),
    ),
    Case(
        "policy.floor",
        "weaker",
        "bad",
        "floor rule no-speed",
        _floor,
        mend=(
            r"^tighten rule `(\S+)` of \S+ as rule `(\S+)` of \S+floor\.yaml demands",
            _tightened,
        ),
    ),
    Case(
        "policy.coverage",
        "unknown",
        "warn",
        "Foreign.Thing",
        _spoil("small.bindings.yaml", "Vehicle.Speed", "Foreign.Thing"),
        mend=(
            r"^give Foreign\.Thing a `category` in \S+small\.bindings\.yaml",
            _good_bindings,
        ),
    ),
    Case(
        "policy.events",
        "none",
        "warn",
        "no rule lets",
        _policy(SPEED),
        mend=(
            r"^add a rule for category `security\.event` to \S+policy\.yaml",
            _policy(),
        ),
    ),
    Case(
        "recipients.cards",
        "missing",
        "bad",
        "oem-key has no key card",
        lambda house: (house.folder / "cards" / "oem-key.card.json").unlink(),
        mend=CARD,
    ),
    Case(
        "recipients.cards",
        "unreadable",
        "bad",
        "oem-key.card.json",
        lambda house: (house.folder / "cards" / "oem-key.card.json").write_text("{}"),
        mend=(
            r"^mend or remove (\S+oem-key\.card\.json)$",
            lambda house, _: house.card("oem-key"),
        ),
    ),
    Case(
        "recipients.cards",
        "folder",
        "bad",
        "no such folder",
        _no_folder,
        mend=(
            r"^copy the folder of cards to (\S+cards)$",
            lambda house, _: (house.folder / "elsewhere").rename(
                house.folder / "cards"
            ),
        ),
    ),
    Case(
        "recipients.cards",
        "unnamed",
        "bad",
        "no folder of cards is named",
        lambda house: house.set("recipients", ""),
    ),
    Case(
        "recipients.expiry",
        "over",
        "bad",
        "expired on",
        lambda house: house.card("oem-key", -1),
        mend=CARD,
    ),
    Case(
        "recipients.expiry",
        "soon",
        "warn",
        "until",
        lambda house: house.card("oem-key", 10),
        mend=CARD,
    ),
]


CASES = POLICY
