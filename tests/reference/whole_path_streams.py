"""Random recordings and random small policies for the tests of the whole path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.policies.building import policy_of, rule_of
from tests.reference.whole_path import ERROR, EXTENDED, REMOTE, Frame
from tests.reference.whole_path_flow import POSITION, T0, S

if TYPE_CHECKING:
    from collections.abc import Sequence

VIN = b"1M8GDM9AXKP042788"
SITE = [[31.20, 121.40], [31.20, 121.41], [31.21, 121.41]]
ZONES = {"site": {"datum": "WGS-84", "buffer": "100m", "polygons": [SITE]}}
PLACES = ["**.Latitude", "**.Longitude"]
WHEEL = "Vehicle.Chassis.SteeringWheel.Angle"
CRASH = {"Vehicle.Safety.CrashDetected": True}
SLOW = {"Vehicle.Speed": {"<": 200}}

RULES: list[dict[str, Any]] = [
    rule_of("chassis-raw", match={"category": "chassis.controls"}),
    rule_of("chassis-change", match={"item": "Vehicle.Chassis.**"},
            do=[{"on_change": 20}, "encrypt"]),
    rule_of("chassis-windows", match={"item": "Vehicle.Chassis.**"}, to="abroad",
            do=[{"aggregate": {"window": "2s", "of": ["min", "mean", "count", "last"]}},
                "encrypt"]),
    rule_of("speed-thinned", match={"category": "location.deadreckoning"},
            to=["oem", "abroad"], do=[{"every": "1s"}, {"round": 0.5}, "encrypt"]),
    rule_of("speed-in-crash", match={"item": "Vehicle.Speed", "when": CRASH}),
    rule_of("positions-coarse", match={"category": "location.precise", "item": PLACES,
                                       "when": SLOW},
            do=[{"drop_zones": "site"}, {"grid": "1100m"}, {"every": "60s"}, "encrypt"],
            becomes="location.coarse"),
    rule_of("positions-in-crash", match={"category": "location.precise",
                                         "when": CRASH}),
    {"name": "positions-stay", "match": {"category": "location.precise"},
     "do": ["drop"]},
    {"name": "battery-kept", "match": {"category": "energy.state", "when": CRASH},
     "do": ["keep"]},
    rule_of("battery-open", match={"category": "energy.state"}, to="abroad",
            do=["allow"]),
    rule_of("battery-buckets", match={"category": "energy.state"},
            do=[{"bucket": [0, 25, 50]}, "encrypt"]),
    rule_of("weather", match={"category": "environment"},
            do=[{"clamp": {"low": -40, "high": 60}}, "encrypt"]),
    rule_of("weather-raw", match={"category": "environment"}, to="abroad"),
    rule_of("vin", match={"category": "identity.vin"},
            do=[{"pseudonymise": {"period": "30d"}}, "encrypt"]),
    rule_of("serial", match={"category": "identity.serial"},
            do=[{"mask": {"keep_first": 3, "keep_last": 0}}, "encrypt"]),
    rule_of("events", match={"category": "security.event"}),
]  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> bytes:
    """A policy of some of the rules above, in any order."""
    rules = draw(st.permutations(RULES))
    count = draw(st.integers(0, len(RULES)))
    suite = draw(st.sampled_from(["x25519-aes256gcm", "mlkem768x25519-aes256gcm"]))
    return policy_of(
        destinations={
            "oem": {"region": "CN", "recipients": ["oem-key"]},
            "abroad": {"region": "DE", "recipients": ["de-key"], "suite": suite},
        },
        zones=ZONES,
        rules=rules[:count],
    )


def answer(payload: bytes) -> list[bytes]:
    """Segment a diagnostic answer as ISO 15765-2 tells the sender."""
    frames = [(0x1000 | len(payload)).to_bytes(2) + payload[:6]]
    for number, start in enumerate(range(6, len(payload), 7)):
        frames.append(bytes([0x21 + number]) + payload[start : start + 7])
    return frames


ANSWERS = [answer(b"\x49\x02\x01" + VIN), answer(b"\x62\xf1\x90" + VIN)]


@st.composite
def recordings(draw: st.DrawFn, most: int = 60) -> list[Frame]:
    """Frames of the small database with all that goes wrong on a bus."""
    out: list[Frame] = []
    now = T0
    steps = st.tuples(
        st.sampled_from([0, S // 100, S // 100, S // 3, S, 3 * S, 70 * S]),
        st.sampled_from([256, 256, 257, 257, POSITION, POSITION, 258, 259, -1, -2]),
        st.binary(min_size=8, max_size=8),
        st.integers(0, 99),
    )
    for gap, ident, data, luck in draw(st.lists(steps, max_size=most)):
        now += gap
        if ident == -1:
            for part in ANSWERS[luck % 2]:
                now += S // 1000
                out.append(Frame(now, 0x7E8, part))
            now += S // 1000
            continue
        out.append(_frame(now, ident, data, luck))
    return out


def _frame(now: int, ident: int, data: bytes, luck: int) -> Frame:
    sizes = {256: 6, 257: 4, 258: 1, 259: 8, POSITION: 8}
    if ident == -2:  # what no database knows, what is no data, a twin of another kind
        odd = [0x300, 256 | EXTENDED, 256 | REMOTE, 257 | ERROR, POSITION & 0x7FF]
        return Frame(now, odd[luck % 5], b"" if luck % 5 == 2 else data)
    data = data[: sizes[ident]]
    if ident == 257:
        data = bytes([luck % 3]) + data[1:]
    if ident == POSITION:
        lat = 312_000_000 + data[0] * 1_000_003 // 2
        lon = 1_214_000_000 + data[1] * 997_001 // 3
        wild = luck % 10 == 0
        data = data if wild else lat.to_bytes(4, "little") + lon.to_bytes(4, "little")
    if luck >= 88:
        data = data[: luck % (len(data) + 1)]
    return Frame(now, ident, data)


def in_order(rows: Sequence[tuple[Any, float]]) -> list[tuple[Any, float]]:
    """Sort opened or expected rows; NaN last."""
    return sorted(rows, key=lambda row: (*row[0], row[1] != row[1], row[1]))  # NaN
