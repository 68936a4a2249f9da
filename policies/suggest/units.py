"""Units as makers write them, by the kind of quantity that they measure."""

from __future__ import annotations

import re
from typing import Final

_KINDS: Final = """
angle: deg degree degrees ° grad degreofarc degreeofarc rad mrad radian radians
minute: min minute minutes minut '
arc: milliarcsecond mas arcsec arcsecond 1e-7deg 1e7deg degmin microdegree
speed: km/h kmh kph mph m/s kmph kilometerperhour kilometer/hour km/hr meterpersecond
  knots kn miles/hour meterpersecon
acceleration: m/s^2 m/s2 m/s² m/s/s g meterperseconsquar meterpersecondsquared
  percentofforceofgravi meterpersquaresecond mg
rate: deg/s rad/s degreofarcpersecon °/s grad/s deg/sec radians/second dps degree/s
  degreeofarcpersecond
voltage: v volt volts mv millivolt
current: a amp amps amper ampere ma milliamper milliampere
power: w kw watt watts kilowatt mw va kva var kvar
energy: wh kwh watthour ah mj kilowatthour mwh vah kvah varh kvarh
percent: % percent
torque: nm newtometer newtonmeter n*m
force: n newton
temperature: c degc °c k degreesc degreecelsius degrecelsi celsius degf °f f degreecelsi
length: m meter meters cm mm km millimeter kilometer feet ft mile miles mi
pressure: bar kpa mpa pa psi mbar millibar hpa kilopascal
rotation: rpm 1/min minutinver u/min min-1 rev/min minuteinverse
time: s sec second seconds ms hour hours hr h day days week month year years yr secon
  millisecond millisecon hh mm_ us
frequency: hz hertz
flow: m3/h l/min l/h m3/s kg/h l/s
volume: l liter liters litre ml m3 gal
resistance: ohm kohm mohm
weight: kg t g_
"""


def _read(text: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for line in text.replace("\n  ", " ").strip().splitlines():
        kind, _, ways = line.partition(":")
        out.update(dict.fromkeys(ways.split(), kind))
    return out


_BY_UNIT: Final = _read(_KINDS)


def unit_kind(unit: str) -> str:
    """Return the kind of quantity, "" where the unit tells none."""
    plain = re.sub(r"\s+", "", unit.lower().removeprefix("unit_"))
    return _BY_UNIT.get(plain, "")
