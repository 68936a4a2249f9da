"""Draws the signals of docs/labels: seeded, stratified, and blind to the suggester.

    python tests/support/label_draw.py FILE.dbc [...]
    python tests/support/label_draw.py --pool FOLDER pool

The second form draws from all files that have no labels of their own; another word is
another draw.

Nets of words, far wider than any rule of the suggester, sort the signals of a file into
strata, so that rare kinds are there at all; what no net holds is a stratum too. Of each
stratum so many are drawn, at most three with names that differ in digits only.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocols.can.database import load_database
from protocols.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.can.database import Message, Signal

SEED: Final = 20261126
STEM_MAX: Final = 3
NETS: Final = {  # stratum: (words in name, unit or message; how many are drawn)
    "identity": (
        r"vin_|vinpart|serial|ruid|mac_?addr|version|ident|phone|fob|_key",
        12,
    ),
    "location": (
        (
            r"gps|gnss|latit|longit|psd|navi|odo|trip|speed|spd|geschw|yaw|gier|accel|"
            r"beschl|wheel|whl|rad_|milliarc|country|compass|heading"
        ),
        18,
    ),
    "energy": (r"soc|soh|hv_?b|hv_?em|hvk|batt|bms|charg|chrg|lade|cell|plug|isol", 14),
    "behaviour": (
        (
            r"brake|brems|pedal|gas_|steer|lenk|seat|gurt|belt|tuer|door|turn|blink|hand|"
            r"driver|occup|atten|drows|button|mirror"
        ),
        14,
    ),
    "trap": (
        (
            r"lat|lon|lane|map|road|curv|dist|roll|pitch|hv|volt|energ|key|user|profile|"
            r"brk|light|lamp|licht|btn|switch|gear|gang|wiper|wisch|window|ort|rad|veh"
        ),
        10,
    ),
    "rest": ("", 10),
}
POOLED: Final = {"identity": 12, "location": 40, "energy": 24, "behaviour": 44,
                 "trap": 24, "rest": 24}  # fmt: skip


def _matches(net: str, text: str) -> bool:
    return re.search(net, text, re.IGNORECASE) is not None


def strata(path: Path) -> dict[str, list[tuple[Message, Signal]]]:
    """Return all signals of a file by the first net that holds them."""
    out: dict[str, list[tuple[Message, Signal]]] = {name: [] for name in NETS}
    for message in load_database(path).messages:
        for signal in message.signals:
            text = f"{message.name} {signal.name} {signal.unit}"
            name = next(n for n, (net, _) in NETS.items() if _matches(net, text))
            out[name].append((message, signal))
    return out


def draw(path: Path) -> Iterator[tuple[str, Message, Signal]]:
    """Yield (stratum, message, signal) of one file's share of the sample."""
    chance = random.Random(f"{SEED} {path.name}")
    for name, members in strata(path).items():
        stems: dict[str, int] = {}
        taken = 0
        for message, signal in chance.sample(members, len(members)):
            stem = re.sub(r"\d+", "#", signal.name)
            stems[stem] = stems.get(stem, 0) + 1
            if stems[stem] <= STEM_MAX and taken < NETS[name][1]:
                taken += 1
                yield name, message, signal


def pool(folder: Path, draw_name: str) -> Iterator[tuple[Path, str, Message, Signal]]:
    """Yield (file, stratum, message, signal): one draw from all unlabelled files."""
    drawn = {p for p in Path("docs/labels").glob("*.yaml") if "pooled" not in p.name}
    labels = "".join(path.read_text() for path in drawn)
    whole: dict[str, list[tuple[Path, Message, Signal]]] = {name: [] for name in NETS}
    for path in sorted(folder.rglob("*.dbc")):
        if f"/{path.name}\n" in labels:
            continue
        try:
            found = strata(path)
        except DatabaseError:
            continue
        for name, members in found.items():
            whole[name] += [(path, *member) for member in members]
    chance = random.Random(f"{SEED} {draw_name}")
    for name, count in POOLED.items():
        stems: dict[str, int] = {}
        for path, message, signal in chance.sample(whole[name], len(whole[name])):
            stem = re.sub(r"\d+", "#", signal.name)
            stems[stem] = stems.get(stem, 0) + 1
            if len(stems) <= count and stems[stem] == 1:
                yield path, name, message, signal


def main() -> None:
    """Print the drawn signals with what their file says of them."""
    if sys.argv[1] == "--pool":
        for path, name, message, signal in pool(Path(sys.argv[2]), sys.argv[3]):
            show(f"{path.name} {name}", message, signal)
        return
    for file in map(Path, sys.argv[1:]):
        print(f"# {file.name}")  # noqa: T201  # a tool that prints
        for name, message, signal in draw(file):
            show(name, message, signal)


def show(place: str, message: Message, signal: Signal) -> None:
    """Print one signal with what its file says of it."""
    print(  # noqa: T201  # a tool that prints
        f"{place} {message.name}.{signal.name} {signal.length}b x{signal.scale}"
        f" [{signal.minimum}|{signal.maximum}] {signal.unit!r} {signal.comment}"
        f" {';'.join(signal.choices[:6])}"
    )


if __name__ == "__main__":
    main()
