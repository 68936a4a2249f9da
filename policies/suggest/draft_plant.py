"""The Modbus and SunSpec parts of a drafted bindings file."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from policies.suggest.draft import is_bound, why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.catalogue import CatalogueSet
    from policies.suggest.naming import Namer
    from policies.suggest.registers import Register
    from policies.suggest.suggesting import Proposal


def draft_registers(
    pairs: Sequence[tuple[Register, Proposal]],
    link: str,
    catalogue: CatalogueSet,
    minimum: float,
    namer: Namer,
) -> list[str]:
    """Return the lines of ``modbus`` and ``sunspec`` for one file's registers."""
    plain = [pair for pair in pairs if not pair[0].model]
    models = [pair for pair in pairs if pair[0].model]
    lines: list[str] = []
    for unit, group in groupby(
        sorted(plain, key=lambda p: p[0].unit), key=lambda p: p[0].unit
    ):
        lines += [f"  - link: {json.dumps(link)}", f"    unit: {unit}", "    points:"]
        lines += _points(list(group), catalogue, minimum, namer)
    for model, group in groupby(models, key=lambda p: p[0].model):
        members = list(group)
        bound = [p for p in members if is_bound(p[1], minimum)]
        lines += [f"  - link: {json.dumps(link)}", "    unit: 1", f"    model: {model}"]
        lines.append("    points:" if bound else "    points: {}")
        for register, one in members:
            key = json.dumps(register.facts.name)
            if not is_bound(one, minimum):
                lines.append(f"      # {key}  {why(one)}")
                continue
            item = namer.name(one)
            lines.append(f"      # {why(one)}")
            category = _category(item, one, catalogue)
            lines.append(f"      {key}: {{item: {item}{category}}}")
    return lines


def _points(
    members: Sequence[tuple[Register, Proposal]],
    catalogue: CatalogueSet,
    minimum: float,
    namer: Namer,
) -> list[str]:
    lines: list[str] = []
    for register, one in members:
        fields = ", ".join(f"{name}: {text}" for name, text in register.fields)
        if not is_bound(one, minimum):
            name = json.dumps(register.facts.name)
            lines.append(f"      # {name}: {fields}  {why(one)}")
            continue
        item = register.item or namer.name(one)
        lines.append(f"      # {why(one)}")
        category = _category(item, one, catalogue)
        lines.append(f"      - {{item: {item}, {fields}{category}}}")
    if all(line.lstrip().startswith("#") for line in lines):
        lines.append("      []")
    return lines


def _category(item: str, one: Proposal, catalogue: CatalogueSet) -> str:
    known = catalogue.category_of(item) == one.category
    return "" if known else f", category: {one.category}"
