"""Draws the signals of docs/labels: seeded, stratified, and blind to the suggester.

    python tests/support/label_draw.py FILE.dbc [...]

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocols.can.database import Message, Signal

SEED: Final = 20261126
STEM_MAX: Final = 3
NETS: Final = {  # stratum: (words in name, unit or message; how many are drawn)
    "identity": (r"vin_|vinpart|serial|ruid|mac_?addr|version|ident|phone|fob|_key", 12),
    "location": (
        r"gps|gnss|latit|longit|psd|navi|odo|trip|speed|spd|geschw|yaw|gier|accel|"
        r"beschl|wheel|whl|rad_|milliarc|country|compass|heading",
        18,
    ),
    "energy": (r"soc|soh|hv_?b|hv_?em|hvk|batt|bms|charg|chrg|lade|cell|plug|isol", 14),
    "behaviour": (
        r"brake|brems|pedal|gas_|steer|lenk|seat|gurt|belt|tuer|door|turn|blink|hand|"
        r"driver|occup|atten|drows|button|mirror",
        14,
    ),
    "trap": (
        r"lat|lon|lane|map|road|curv|dist|roll|pitch|hv|volt|energ|key|user|profile|"
        r"brk|light|lamp|licht|btn|switch|gear|gang|wiper|wisch|window|ort|rad|veh",
        10,
    ),
    "rest": ("", 10),
}


def strata(path: Path) -> dict[str, list[tuple[Message, Signal]]]:
    """Return all signals of a file by the first net that holds them."""
    out: dict[str, list[tuple[Message, Signal]]] = {name: [] for name in NETS}
    for message in load_database(path).messages:
        for signal in message.signals:
            text = f"{message.name} {signal.name} {signal.unit}"
            name = next(n for n, (net, _) in NETS.items() if re.search(net, text, re.I))
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


def main() -> None:
    """Print the drawn signals with what their file says of them."""
    for file in map(Path, sys.argv[1:]):
        print(f"# {file.name}")
        for name, message, signal in draw(file):
            limits = f"[{signal.minimum}|{signal.maximum}]"
            words = ";".join(signal.choices[:6])
            print(
                f"{name[:3]} {message.name}.{signal.name} {signal.length}b"
                f"x{signal.scale} {limits} {signal.unit!r} {signal.comment} {words}"
            )


if __name__ == "__main__":
    main()
