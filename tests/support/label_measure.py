"""Measures the suggester against docs/labels; writes the tables of classification.md.

python tests/support/label_measure.py [--write]
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from policies.suggest.facts import facts_of
from policies.suggest.families import FAMILIES, Confusion
from policies.suggest.suggesting import suggest
from protocols.can.database import load_database

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
LABELS: Final = ROOT / "docs/labels"
PAGE: Final = ROOT / "docs/classification.md"
SPLITS: Final = {
    "development": "development (9 files, open all the time)",
    "opened": "opened (held out for one round each, used afterwards)",
    "held-out": "held out (measured, never used)",
}
UNCLEAR: Final = "unclear"


@dataclass(frozen=True, slots=True)
class Group:
    """Signals of one file that have one label."""

    file: str  # below the package
    split: str
    category: str
    why: str
    signals: tuple[str, ...]


def groups() -> Iterator[Group]:
    """Yield every group of every label file."""
    for path in sorted(LABELS.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            for one in document["labels"]:
                signals = tuple(one["signals"])
                yield Group(
                    document["file"], document["split"], one["category"],
                    one["why"], signals,
                )  # fmt: skip


def package() -> Path | None:
    """Return where opendbc is installed, None where it is not."""
    spec = find_spec("opendbc")
    return Path(spec.origin).parent if spec and spec.origin else None


def measure(folder: Path) -> dict[str, Confusion]:
    """Return the confusion of each split."""
    out = {split: Confusion() for split in SPLITS}
    proposed: dict[str, dict[str, str]] = {}
    for group in groups():
        if group.category == UNCLEAR:
            continue
        if group.file not in proposed:
            found = suggest(facts_of(load_database(folder / group.file)))
            proposed[group.file] = {
                one.facts.key: one.category if one.is_sure else "" for one in found
            }
        for signal in group.signals:
            out[group.split].add(group.category, proposed[group.file][signal])
    return out


def tables(found: dict[str, Confusion]) -> str:
    """Return the tables in Markdown."""
    lines: list[str] = []
    for split, title in SPLITS.items():
        one = found[split]
        lines += [f"**{title}**: {one.total} signals", ""]
        lines.append("| labelled \\ proposed | " + " | ".join(FAMILIES) + " | recall |")
        lines.append("|---|" + "---|" * (len(FAMILIES) + 1))
        for row in FAMILIES:
            cells = " | ".join(str(one.counts[row, column]) for column in FAMILIES)
            lines.append(f"| {row} | {cells} | {one.recall(row):.3f} |")
        ratios = " | ".join(f"{one.precision(column):.3f}" for column in FAMILIES)
        lines += [f"| precision | {ratios} | |", ""]
        share = one.exact / one.total
        lines += [f"The very category (of some 45) was right for {share:.1%}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or put them into the page."""
    folder = package()
    if folder is None:
        sys.exit("needs opendbc")
    text = tables(measure(folder))
    if "--write" not in sys.argv:
        print(text)  # noqa: T201  # a tool that prints
        return
    today = dt.datetime.now(dt.UTC).date()
    block = (
        "<!-- tables -->\n"
        f"`make labels` wrote this on {today}, with opendbc as installed.\n\n{text}"
        "<!-- end of tables -->"
    )
    page = PAGE.read_text(encoding="utf-8")
    mark = re.compile(r"<!-- tables -->.*<!-- end of tables -->", re.DOTALL)
    PAGE.write_text(mark.sub(lambda _: block, page), encoding="utf-8")


if __name__ == "__main__":
    main()
