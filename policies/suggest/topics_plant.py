"""Topics of plants: registers and SunSpec points, categories of cn-industrial."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

_FORM: Final = "Plant.{Group}.{Name}"


def _plant(
    name: str,
    category: str,
    terms: str,
    units: str = "",
    against: str = "",
    owner: str = "",
    elsewhere: str = "",
) -> Topic:
    return topic(
        name,
        category,
        _FORM,
        terms,
        units=units,
        against=against,
        elsewhere=elsewhere,
        owner=owner,
        requested=True,
        by_system=True,
        fault=True,
    )


PLANT: Final[tuple[Topic, ...]] = (
    _plant(
        "safety interlock",
        "safety.interlock",
        "interlock!, ilk!, estop!, emergency stop!, esd!, bypass!, safety!, "
        "high trip!, low trip!, hot trip!, trip limit!, shutdown, override, "
        "trip level, trip point!",
        owner="interlock, safety",
    ),
    _plant(
        "safety alarm",
        "safety.alarm",
        "gas alarm!, fire alarm!, leak alarm!, smoke!, fire!, relief!",
    ),
    _plant(
        "alarm or event",
        "alarm.event",
        "alarm!, event!, fault!, failed!, warning!, evt!, alm!, alrm!",
        against="gas",
    ),
    _plant(
        "set-point or limit",
        "control.setpoint",
        "set!, sp!, limit, ramp rate!, deadband!, hysteresis, nameplate",
        against="rating nameplate",
    ),
    _plant(
        "command",
        "control.command",
        "command!, valve position, valve!, pump run!, start!, stop!, mode, run, "
        "enable, reset, drive, open, close, connect, conn!, ctl!, control",
        against="hours alarm fault counter time failed scale",
    ),
    _plant(
        "recipe or controller gain",
        "recipe",
        "recipe!, batch phase!, batch id, gain!, kp!, ki!, kd!, pid!, phase name!, "
        "batch name",
        owner="recipe, pid",
        against="count counter",
    ),
    _plant(
        "process variable",
        "process.variable",
        "temperature, pressure, flow!, level, density!, conductivity!, ph!, speed, "
        "rpm, position, weight, mass, viscosity!, netflow!, balance, volume, rotation",
        units="temperature pressure flow length rotation percent volume weight speed",
        against="set alarm limit produced production interlock charge noise sf scale",
        elsewhere="interlock safety alarm",
    ),
    _plant(
        "meter of energy",
        "energy.meter",
        "watts!, watt!, amps!, volts!, power!, energy!, voltage!, current!, hertz!, "
        "frequency!, freq!, hz!, watthours!, var!, va!, pf!, kwh!, wh!, reactive!, "
        "apparent!, amp, volt, line frequency!, phase voltage!, w, soc!, soh!, dod!, "
        "irradiance, phase current!, energy active",
        units="power energy voltage current frequency percent",
        against="setpoint state alarm failed event manager serial sf scale",
    ),
    _plant(
        "output of production",
        "production.output",
        "output!, produced!, production!, oee!, pieces!, parts, units made, batches!, "
        "shift count, good count!, total count",
    ),
    _plant("quality", "process.quality", "quality, yield!, scrap!, reject!, spc!"),
    _plant("stock", "inventory", "stock!, inventory!, warehouse!, silo level"),
    _plant(
        "identity of equipment",
        "equipment.identity",
        "serial!, manufacturer!, model, version!, firmware!, vendor!, sn!, mn!, md!, "
        "device address, article number, hardware, options",
        against="scale identifier length",
    ),
    _plant(
        "condition of equipment",
        "equipment.condition",
        "runtime!, operating hours!, hour run, run hours!, vibration!, maintenance!, "
        "service, wear!, cycles, bearing!, hour operating",
    ),
    _plant("emission", "emissions", "emission!, effluent!, nox!, co2!, so2!, dust!"),
    _plant("person", "personnel", "operator!, badge!, employee!, shift, user"),
    _plant("order", "orders", "order!, customer!, supplier!, price!, job number"),
    _plant(
        "network of the plant",
        "network.ot",
        "ip!, gateway!, dns!, mac!, subnet!, netmask!, hostname!, password!, port",
    ),
    _plant(
        "diagnosis of a link",
        "diagnostics.bus",
        "heartbeat!, watchdog!, comm error!, exception!, crc error!, alive!, retries",
    ),
    _plant(
        "layout of the model",
        "",
        "scale factor!, model id!, model length!, pad!, sf!, timestamp, "
        "vendor event bitfield",
    ),
)
