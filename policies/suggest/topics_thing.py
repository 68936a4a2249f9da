"""Topics of vehicles: who the car is, and what it stores and charges."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

IDENTITY: Final[tuple[Topic, ...]] = (
    topic(
        "VIN",
        "identity.vin",
        "Vehicle.VehicleIdentification.{Name}",
        "vin!",
        message="vin",
        bits=(7, 136),
        requested=True,
        by_system=True,
        against="secret compare association support enable received",
    ),
    topic(
        "serial number",
        "identity.serial",
        "Vehicle.ECU.{Name}",
        "serial!, mac addr!, mac address!, hardware identifier",
        message="serial",
        bits=(4, 256),
        against="request received interface port",
    ),
    topic(
        "version of a unit",
        "identity.serial",
        "Vehicle.ECU.{Name}",
        "version!, release number!, ecu identifier, part number",
        bits=(4, 256),
        against="request support custom",
    ),
    topic(
        "SIM or telephone number",
        "identity.sim",
        "Vehicle.Connectivity.Sim.{Name}",
        "iccid!, imsi!, imei!, msisdn!, sim!, phone number!",
        bits=(8, 256),
    ),
    topic(
        "plate",
        "identity.plate",
        "Vehicle.VehicleIdentification.LicensePlate",
        "license plate!",
        bits=(8, 256),
        against="open light camera lamp",
    ),
    topic(
        "certificate",
        "identity.certificate",
        "Vehicle.V2X.Certificate.{Name}",
        "certificate!, v2x identifier, v2x pseudonym",
        bits=(8, 512),
    ),
)

ENERGY: Final[tuple[Topic, ...]] = (
    topic(
        "state of charge or health",
        "energy.state",
        "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
        "soc!, soh!, battery percent, energy range, battery state charge, battery "
        "charge level!",
        units="percent",
        against="low engine front auxiliary support",
        elsewhere="mgmt",
    ),
    topic(
        "traction battery",
        "energy.state",
        "Vehicle.Powertrain.TractionBattery.{Name}",
        "high voltage battery!, traction battery!, battery pack!, battery cell!, cell "
        "voltage!, pack voltage!, pack current!, battery module!, hybrid battery, "
        "cell temperature",
        owner="traction battery, battery pack, battery module, high voltage battery, "
        "battery cell, pack, battery temperature, high voltage management",
        units="voltage current power energy temperature percent resistance rotation "
        "time length",
        requested=True,
        by_system=True,
        against="low front auxiliary 12 boost time charge departure",
    ),
    topic(
        "coolant of the traction battery",
        "energy.state",
        "Vehicle.Powertrain.TractionBattery.{Name}",
        "battery coolant!, battery pack coolant!, high voltage coolant",
        owner="traction battery, battery pack, high voltage management",
        elsewhere="engine climate heat low",
    ),
    topic(
        "insulation",
        "energy.state",
        "Vehicle.Powertrain.TractionBattery.IsolationResistance",
        "insulation resistance!, high voltage insulation!",
        units="resistance",
    ),
    topic(
        "high-voltage network",
        "energy.state",
        "Vehicle.Powertrain.TractionBattery.{Name}",
        "high voltage power, high voltage energy, high voltage state, high voltage, "
        "energy content!, usable energy!, battery energy!",
        bits=(2, 64),
        owner="high voltage",
        units="voltage current power energy",
        against="climate heat compressor low converter light charge seat steering "
        "display history consumption economy graph custom",
        requested=True,
        by_system=True,
    ),
    topic(
        "fault of the traction battery",
        "energy.alarm",
        "Vehicle.Powertrain.TractionBattery.Alarm.{Name}",
        "traction battery failed!, battery pack failed!, high voltage failed!, "
        "traction battery alarm!, thermal runaway!, high voltage alarm!",
        requested=True,
        by_system=True,
        fault=True,
        message="traction battery",
        against="lamp engine",
        elsewhere="mgmt",
    ),
    topic(
        "charging of this car",
        "charging.session",
        "Vehicle.Powertrain.TractionBattery.Charging.{Name}",
        "charge coupler!, charge time!, charge state=, charge cable!, charge power, "
        "charge current, charge level, charge start!, charge end!, charge battery, "
        "charge complete, charge month, charge year, charge hour, charge day, charge "
        "request, charge minute!, charge energy, charge battery voltage, departure!, "
        "charger!, charge cord!, mains voltage!, chg battery!, chg traction battery!, "
        "chg high voltage!, chg time, chg level, charge",
        owner="charger, charge",
        message="charge high voltage battery charger",
        against="starter boost low lane change alternator engine wireless phone "
        "utility lowvoltage location cycle economy converter",
        elsewhere="navigation",
        requested=True,
        by_system=True,
    ),
    topic(
        "charging contract",
        "charging.contract",
        "Vehicle.Payment.{Name}",
        "contract!, payment!",
    ),
)
