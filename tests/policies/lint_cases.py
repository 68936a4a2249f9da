"""For every rule of lint a policy that triggers it, and one that just does not.

A case is (policy fields, items); the two of a pair differ in one thing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tests.policies.building import consent_of, rule_of

Case: TypeAlias = "tuple[dict[str, Any], tuple[str, ...]]"

LAT, LON = "Vehicle.CurrentLocation.Latitude", "Vehicle.CurrentLocation.Longitude"
SPEED, ANGLE = "Vehicle.Speed", "Vehicle.Chassis.SteeringWheel.Angle"
PEDAL, LANE = "Vehicle.Chassis.Brake.PedalPosition", "Vehicle.Map.Lane"
STATE, DOOR = "Vehicle.LowVoltageSystemState", "Vehicle.Cabin.Door.Row1.IsOpen"
COARSE_LAT = "Vehicle.CoarseLocation.Latitude"
COARSE_LON = "Vehicle.CoarseLocation.Longitude"
# A catalogue of the owner: the shipped ones have no core data, and no finer numbers.
CORE = "Own.Core"
FLOAT = "f32:"  # before an item: bound as a float

PLACE = {"category": "location.precise", "item": ["**.Latitude", "**.Longitude"]}
COARSE = [{"grid": "1100m"}, {"every": "60s"}, "encrypt"]
NOISE = {"noise": {"epsilon": 1, "sensitivity": 1}}
SQUARE = [[31.2, 121.4], [31.2, 121.5], [31.3, 121.5]]
TURNED = [[-31.2, 121.4], [-31.2, 121.5], [-31.3, 121.5]]
LIMIT = {
    "name": "speeds", "category": "location.deadreckoning", "more_than": 5,
    "unit": "samples", "window": "1d", "becomes": "location.track",
}  # fmt: skip


def one(item: str = PEDAL, **fields: Any) -> dict[str, Any]:
    """Return fields of a policy with one rule about one item."""
    return {"rules": [rule_of(match={"item": item}, **fields)]}


def match(*items: str, zones: dict[str, Any] | None = None, **fields: Any) -> Case:
    """Return a case with one rule of this match."""
    more = {} if zones is None else {"zones": zones}
    return {"rules": [rule_of(match=fields)], **more}, items or (PEDAL,)


def agreed(consent: dict[str, Any], **fields: Any) -> Case:
    """Return a case with one rule that asks for one consent."""
    rule = rule_of(match={**PLACE, "consent": "c"}, **fields)
    return {"rules": [rule], "consents": {"c": consent}}, (LAT, LON)


def zone(datum: str, polygon: list[list[float]]) -> dict[str, Any]:
    """Return the zones of a policy: one polygon."""
    return {"z": {"datum": datum, "polygons": [polygon]}}


def turning(*steps: Any, **more: Any) -> dict[str, Any]:
    """Return a rule about the steering angle."""
    return rule_of("angle", match={"item": ANGLE, **more}, do=[*steps, "encrypt"])


def wall(*rules: dict[str, Any], **fields: Any) -> Case:
    """Return a case with a Modbus firewall of these rules."""
    named = [{"name": f"r{n}", **rule} for n, rule in enumerate(rules)]
    return {"modbus": {**fields, "rules": named}}, (PEDAL,)


def watched(**fields: Any) -> Case:
    """Return a case with a firewall and what its detectors are told."""
    section, items = wall({**READ, "from": "10.0.0.7"})
    return {**section, "inspection": fields}, items


READ, WRITE = {"fc": 3}, {"fc": 6, "addr": 1, "from": "10.0.0.7"}
HMI = {"hmi": {"addresses": "10.0.0.7", "role": "operator"}}
BOTH = (SPEED, ANGLE)
FAST = rule_of("speed", match={"item": SPEED})
CASES: dict[str, tuple[Case, Case]] = {
    "SG001": ((one(purpose=""), (PEDAL,)), (one(), (PEDAL,))),
    "SG002": ((one(LANE, to="abroad"), (LANE,)),
              (one(LANE, to="abroad", approval="CAC-1"), (LANE,))),
    "SG003": (({"rules": [rule_of(match=PLACE, do=[{"grid": "999m"}, *COARSE[1:]],
                                  becomes="location.coarse")]}, (LAT, LON)),
              ({"rules": [rule_of(match=PLACE, do=[{"grid": "1km"}, *COARSE[1:]],
                                  becomes="location.coarse")]}, (LAT, LON))),
    "SG004": ((one(LAT, do=[NOISE, "encrypt"]), (LAT, LON)),
              (one(do=[NOISE, "encrypt"]), (PEDAL,))),
    "SG005": ((one(SPEED, do=["allow"]), (SPEED,)), (one(do=["allow"]), (PEDAL,))),
    "SG006": ((one(CORE), (CORE,)), (one(CORE, approval="MIIT-1"), (CORE,))),
    "SG007": (({"rules": [rule_of("a"), rule_of("b")]}, (PEDAL,)),
              ({"rules": [rule_of("a"), rule_of("b", to="abroad")]}, (PEDAL,))),
    "SG008": (match(PEDAL, item=SPEED), match(SPEED, item=SPEED)),
    "SG009": (match(PEDAL, when={SPEED: 1}), match(PEDAL, SPEED, when={SPEED: 1})),
    "SG010": (({"retention": {"location": "15d"}}, (PEDAL,)),
              ({"retention": {"location": "14d"}}, (PEDAL,))),
    "SG011": (({}, (LAT,)), ({}, (LAT, LON))),
    "SG012": (({}, (PEDAL, "Unknown.Thing")), ({}, (PEDAL,))),
    "SG013": ((one(do=COARSE), (PEDAL,)), (one(LAT, do=COARSE), (LAT, LON))),
    "SG014": (({"rules": [rule_of(match={"category": "location"}, do=COARSE,
                                  becomes="location.coarse")]}, (LAT, LON, SPEED)),
              ({"rules": [rule_of(match=PLACE, do=COARSE,
                                  becomes="location.coarse")]}, (LAT, LON, SPEED))),
    "SG015": (match(region="FR"), match(region="CN")),
    "SG016": (match(outside="z", zones=zone("GCJ-02", TURNED)),
              match(outside="z", zones=zone("GCJ-02", SQUARE))),
    "SG017": (match(outside="z", hysteresis="0s", zones=zone("WGS-84", SQUARE)),
              match(outside="z", hysteresis="1ms", zones=zone("WGS-84", SQUARE))),
    "SG018": (({"rules": [FAST, turning({"every": "1s"})]}, BOTH),
              ({"rules": [FAST, turning({"every": "1001ms"})]}, BOTH)),
    "SG019": (({"rules": [FAST, turning(max_tier="G3")]}, BOTH),
              ({"rules": [FAST, turning(max_tier="G4")]}, BOTH)),
    "SG020": (({"rules": [FAST, turning({"every": "2s"})]}, BOTH),
              ({"rules": [turning({"every": "2s"})]}, BOTH)),
    "SG021": (({}, (FLOAT + COARSE_LAT, FLOAT + COARSE_LON)),
              ({}, (COARSE_LAT, COARSE_LON))),
    "SG022": (({**one(SPEED), "volumes": [LIMIT]}, (SPEED,)), (one(SPEED), (SPEED,))),
    "SG023": (({**one(), "volumes": [LIMIT]}, (PEDAL, SPEED)),
              ({**one(SPEED), "volumes": [LIMIT]}, (PEDAL, SPEED))),
    "SG030": (agreed(consent_of("cabin")), agreed(consent_of("location.precise"))),
    "SG031": (agreed(consent_of("location.precise", purpose="q")),
              agreed(consent_of("location.precise", purpose="p"))),
    "SG032": ((one(LAT), (LAT, LON)), agreed(consent_of("location.precise"))),
    "SG033": (({"consents": {"c": consent_of("location.precise")}}, (LAT, LON)),
              agreed(consent_of("location.precise"))),
    "SG034": (agreed(consent_of("location", "cabin")), agreed(consent_of("location"))),
    "SG036": (agreed(consent_of("location"), do=["drop"]),
              agreed(consent_of("location"))),
    "SG037": (({"ignition": {"item": STATE}}, (PEDAL,)),
              ({"ignition": {"item": STATE}}, (PEDAL, STATE))),
    "SG040": (wall({"fc": 6, "addr": 1}), wall(WRITE)),
    "SG041": (wall({"fc": 6, "from": "10.0.0.7"}), wall(WRITE)),
    "SG042": (wall({**READ, "do": "deny"}, {**READ, "addr": 1}),
              wall({**READ, "do": "deny", "addr": 2}, {**READ, "addr": 1})),
    "SG043": (wall({**READ, "to": "plc9"}), wall({**READ, "to": "plc"})),
    "SG044": (wall({"fc": 8}), wall({"fc": 8, "sub": 0})),
    "SG045": (wall(READ, mode="dry-run"), wall(READ)),
    "SG046": (wall(WRITE, mode="read-only"), wall(WRITE)),
    "SG047": (wall({**READ, "value": [0, 1]}), wall({**WRITE, "value": [0, 1]})),
    "SG048": (wall({**READ, "from": "0.0.0.0/0"}),
              wall({**READ, "from": "10.0.0.0/8"})),
    "SG049": (wall({**READ, "unit": 248}), wall({**READ, "unit": [1, 247, 255]})),
    "SG050": (watched(off=["M2"]), watched(off=["M5"])),
    "SG051": (watched(engineering=["0.0.0.0/0"]), watched(engineering=["10.0.0.0/8"])),
    "SG060": (wall(READ, clients=HMI | {"z": "10.0.0.0/24"}),
              wall(READ, clients=HMI | {"z": "10.0.1.0/24"})),
    "SG061": (wall({**WRITE, "unit": [0, 9]}), wall({**WRITE, "unit": [1, 9]})),
    "SG062": (wall(WRITE), wall({**WRITE, "value": [0, 9]})),
    "SG063": (wall(READ, clients=HMI), wall({**READ, "from": "hmi"}, clients=HMI)),
    "SG064": (wall(), wall(READ)),
}  # fmt: skip
