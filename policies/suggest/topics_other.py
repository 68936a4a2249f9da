"""Topics of vehicles that are neither place, person, identity nor energy."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

OTHER: Final[tuple[Topic, ...]] = (
    topic(
        "assistance",
        "driving.automation",
        "Vehicle.ADAS.{Name}",
        "automation!, speed set=!, set distance, speed limit=, speed lockout, lane "
        "warning, lane departure!, lane detected!, stability, lateral control, "
        "airbag, crash, hill, edr, kickdown, park button, park aid, brake request!, "
        "brake command, steer request!, steer command!, speed control=!, speed "
        "stalk=!, automation active, line left, line right, lane",
        owner="automation",
        message="automation stability",
        requested=True,
        by_system=True,
        against="sway",
        elsewhere="navigation",
    ),
    topic(
        "object around the car",
        "exterior.objects",
        "Vehicle.ADAS.ObstacleDetection.{Name}",
        "lead distance!, lead speed!, lead vehicle!, lead!, object!, radar!, traffic "
        "sign!, far distance!, adjacent!",
        owner="object, radar, traffic sign",
        message="radar camera",
        requested=True,
        by_system=True,
        against="odometer",
    ),
    topic(
        "powertrain",
        "powertrain",
        "Vehicle.Powertrain.{Name}",
        "engine!, rpm!, gear!, fuel!, exhaust!, transmission!, wheel torque!, torque, "
        "clutch, drive mode!, select drive mode, eco, sport, recuperation!, boost!, "
        "converter!, axle, coolant, propulsion state!, four wheel, alternator!, "
        "throttle!, allwheel!, generator!, transfer case, oil!, starter!, economy, "
        "track mode",
        message="engine transmission",
        requested=True,
        by_system=True,
        against="steer steering",
    ),
    topic(
        "low-voltage battery",
        "powertrain",
        "Vehicle.LowVoltageBattery.{Name}",
        "low voltage battery!, battery low!, battery state, battery current, battery "
        "voltage, battery temperature, battery, low voltage",
        units="voltage current energy temperature",
        span=(-2000, 60),
        owner="battery mgmt, battery voltage",
        elsewhere="module pack cell traction hybrid high",
        requested=True,
        by_system=True,
        against="traction pack cell high module hybrid charger",
    ),
    topic(
        "weather and wipers",
        "environment",
        "Vehicle.Exterior.{Name}",
        "wiper!, washer!, rain!, environment!, ambient temperature!, icy!, "
        "temperature outer",
        requested=True,
        by_system=True,
        against="engine button_light",
    ),
    topic(
        "fault or tell-tale",
        "diagnostics.codes",
        "Vehicle.Diagnostics.{Name}",
        "lamp failed!, light failed!, lamp open!, drl open!, diagnostic trip!, trip "
        "diagnostic!, failed!, lamp engine, warning lamp!, lamp, diagnostic, light "
        "implausible",
        owner="diagnostic",
        fault=True,
        requested=True,
        by_system=True,
        against="headlamp high",
    ),
    topic(
        "menus, sound and telephone",
        "user",
        "Vehicle.Cabin.Infotainment.{Name}",
        "phone!, sound!, amplifier!, steer button!, steer switch!, steer scroll, "
        "steering wheel button!, steering wheel switch!, sound mode, menu, cursor!, "
        "scroll!, media, voice, radio!, steering wheel control!, swc",
        owner="amplifier",
        requested=True,
        by_system=True,
        against="seat window door",
    ),
    topic(
        "secret of a lock",
        "security.secret",
        "Vehicle.Security.{Name}",
        "secret!",
        bits=(8, 512),
        requested=True,
        by_system=True,
    ),
    topic(
        "update over the air",
        "ota",
        "Vehicle.OTA.{Name}",
        "ota!",
        requested=True,
        by_system=True,
    ),
    topic(
        "remote control",
        "remote.command",
        "Vehicle.RemoteControl.{Name}",
        "remote start!, remote engine, remote climate",
        requested=True,
        by_system=True,
    ),
    topic(
        "inside the air conditioner",
        "",
        "",
        "compressor!, evaporator!, evap!, refrigerant!, climate feature",
        requested=True,
        by_system=True,
    ),
    topic(
        "state of software or network",
        "",
        "",
        "network management!, autosar!, nm!, feature!, config!, coding!, alive!, byte "
        "data, animation!, indication, sleep, wakeup, chime",
        elsewhere="navigation",
        requested=True,
        by_system=True,
    ),
)
