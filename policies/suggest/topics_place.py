"""Topics of vehicles: where the car is and was, who it is, what it stores."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

_LOC: Final = "Vehicle.CurrentLocation"
_NOT_A_PLACE: Final = (
    "acceleration lateral longitudinal distance speed lane object torque control rate "
    "automation path failed offset sign radar sensor steer error line"
)

PLACE: Final[tuple[Topic, ...]] = (
    # --- Position -----------------------------------------------------------------------
    topic("latitude", "location.precise", f"{_LOC}.Latitude",
          "latitude!, gnss lat!, location lat, lat degree, lat arc, lat",
          units="angle arc minute", message="gnss location navigation position",
          against=_NOT_A_PLACE, bits=(5, 64)),
    topic("longitude", "location.precise", f"{_LOC}.Longitude",
          "longitude!, gnss long!, location long, long degree, long arc, long",
          units="angle arc minute", message="gnss location navigation position",
          against=_NOT_A_PLACE, bits=(5, 64)),
    topic("hemisphere", "location.precise", f"{_LOC}.{{Name}}", "hemisphere!",
          message="gnss", requested=True, by_system=True),
    topic("place of charging", "location.precise", f"{_LOC}.{{Name}}",
          "charge location lat, charge location long, charge location!",
          units="angle arc minute", against="state available mode",
          message="location", requested=True, by_system=True),
    topic("altitude", "location.precise", f"{_LOC}.Altitude",
          "altitude!, gnss height", units="length", message="gnss"),
    topic("heading", "location.precise", f"{_LOC}.Heading",
          "heading!, compass direction!, gnss compass!, gnss bearing!, compass",
          units="angle", against="failed calibration display button zone lane object "
          "automation", bits=(2, 64)),
    topic("speed over ground by satellite", "location.precise", f"{_LOC}.Speed",
          "gnss speed!", units="speed", bits=(6, 64)),
    topic("time by satellite", "location.precise", f"{_LOC}.{{Name}}",
          "utc!, gnss time!, gnss hour!, gnss minute!, gnss day!, gnss month!, "
          "gnss year!, gnss date!", units="time minute", message="gnss"),
    topic("state of the satellite receiver", "location.precise",
          f"{_LOC}.GNSSReceiver.{{Name}}",
          "gnss!, satellite!, hdop!, vdop!, pdop!", owner="gnss!", fault=True,
          against="custom sound button request"),
    # --- Route --------------------------------------------------------------------------
    topic("route guidance", "location.track",
          "Vehicle.Cabin.Infotainment.Navigation.{Name}",
          "distance turn!, distance destination!, turn point!, distance place!, "
          "distance point!, route!, destination!, eta!, navigation, stopover",
          message="navigation gnss route", owner="navigation", elsewhere="climate chassis amplifier",
          against="sound amplifier mute volume button switch active acoustic set",
          requested=True, by_system=True),
    # --- Coarse place -------------------------------------------------------------------
    topic("kind of road", "location.coarse", "Vehicle.CoarseLocation.{Name}",
          "road class!, posted speed!, posted limit speed!, road type, building area", owner="road type",
          against="custom friction grade wheel", requested=True, by_system=True),
    topic("country or city", "location.coarse", "Vehicle.CoarseLocation.{Name}",
          "country, city", message="navigation gnss map",
          against="config cfg version custom coding", bits=(4, 32)),
    # --- Inertial -----------------------------------------------------------------------
    topic("longitudinal acceleration", "location.inertial",
          "Vehicle.Acceleration.Longitudinal",
          "acceleration longitudinal!, acceleration long!, acceleration x!, "
          "longitudinal, long",
          units="acceleration", message="acceleration inertial vehicle", bits=(6, 32),
          against="accelerator pedal object lead lane torque distance gnss location "
          "speed offset"),
    topic("lateral acceleration", "location.inertial", "Vehicle.Acceleration.Lateral",
          "acceleration lateral!, acceleration lat!, acceleration y!, lateral, lat",
          units="acceleration", message="acceleration inertial vehicle", bits=(6, 32),
          against="accelerator pedal object lead lane torque distance gnss location "
          "speed path offset"),
    topic("vertical acceleration", "location.inertial", "Vehicle.Acceleration.Vertical",
          "acceleration vertical!, acceleration z!, vertical", units="acceleration",
          message="acceleration inertial vehicle", bits=(6, 32),
          against="horizontal mirror beam headlamp"),
    topic("acceleration", "location.inertial", "Vehicle.Acceleration.{Name}",
          "acceleration", units="acceleration", bits=(6, 32),
          message="inertial sensor vehicle",
          against="relative accelerator pedal object lead torque off gas engine decel"),
    topic("yaw rate", "location.inertial", "Vehicle.AngularVelocity.Yaw",
          "yaw rate!, yaw", units="rate", message="inertial stability vehicle",
          against="object lead angle control available index torque misaligned"),
    topic("roll rate or angle", "location.inertial", "Vehicle.Orientation.Roll",
          "vehicle roll!, roll angle, roll rate, roll", units="angle rate",
          bits=(6, 32), against="counter over rollover stability window"),
    topic("pitch rate or angle", "location.inertial", "Vehicle.Orientation.Pitch",
          "vehicle pitch!, pitch angle, pitch rate, pitch", units="angle rate",
          bits=(6, 32), against="object camera beam sound"),
    topic("grade of the road", "location.inertial", "Vehicle.Orientation.{Name}",
          "road grade!, grade", units="percent angle", bits=(6, 32),
          message="vehicle road"),
    topic("gyroscope", "location.inertial", "Vehicle.AngularVelocity.{Name}",
          "gyro!, angular rate, inertial rate", units="rate", bits=(6, 32)),
    # --- Distance and speed ---------------------------------------------------------------
    topic("odometer", "location.deadreckoning", "Vehicle.TraveledDistance",
          "odometer!, trip odometer!, trip distance!, total distance", units="length",
          bits=(8, 64), against="unit reset"),
    topic("wheel speed", "location.deadreckoning",
          "Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Speed",
          "wheel speed!", units="speed rotation rate", corners=True, bits=(6, 32),
          owner="wheel speed", message="wheel", elsewhere="steer steering",
          against="steer steering fan failed "
          "limit moving signal"),
    topic("pulses of a wheel", "location.deadreckoning",
          "Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Pulses",
          "wheel pulse!, wheel distance, pulse", corners=True, bits=(6, 32),
          message="wheel", against="mode failed fuel crash time engine"),
    topic("turning of a wheel", "location.deadreckoning",
          "Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.Direction",
          "wheel direction!, wheel rotation!, vehicle direction, direction drive, wheel rate", corners=True,
          units="rate rotation", message="wheel",
          against="steer steering turn light torque"),
    topic("angular speed of a wheel", "location.deadreckoning",
          "Vehicle.Chassis.Axle.Row{row}.Wheel.{side}.AngularSpeed", "wheel",
          units="rate rotation speed", corners=True, message="wheel", bits=(8, 32),
          against="steer steering torque tire heat"),
    topic("speed of the vehicle", "location.deadreckoning", "Vehicle.Speed",
          "vehicle speed!, vehicle v, forward speed!, ui speed, ground speed, vehicle ground, speed", units="speed",
          message="speed vehicle motion", bits=(7, 32),
          against="object lead fan wiper engine sign window motor steer steering "
          "relative shaft wheel boost traffic trap control route rpm compressor transmission ratio teen "
          "warning zone unit adjust menu camera turbine accelerator offset custom",
          elsewhere="sign object radar lane wheel"),
    topic("standing or rolling", "location.deadreckoning", "Vehicle.{Name}",
          "standstill!, wheel motion!, vehicle motion!, vehicle back!, "
          "motion forward!, motion back!",
          against="object request automation light camera controlled control"),
    # --- Map ------------------------------------------------------------------------------
    topic("the road out of the map", "geo.map", "Vehicle.Map.{Name}",
          "predicted street!, map curvature, map", owner="predicted street!, map",
          against="engine ignition fuel pressure", elsewhere="engine", requested=True, by_system=True),
    topic("lines of the lane", "geo.map", "Vehicle.Perception.Lane.{Name}",
          "lane distance!, line distance!, lane curvature!, lane width!, "
          "lane heading!, lane offset, lane position, road curvature, line curvature, "
          "curvature", message="lane line camera",
          units="length angle", bits=(6, 32), against="object request lead"),
    topic("geofence", "geo.sensitive", "Vehicle.Geofence.{Name}", "geofence!",
          requested=True, by_system=True),
    # --- Identity -------------------------------------------------------------------------
    topic("VIN", "identity.vin", "Vehicle.VehicleIdentification.{Name}", "vin!",
          message="vin", bits=(7, 136), requested=True, by_system=True,
          against="secret failed compare association support enable received"),
    topic("serial number", "identity.serial", "Vehicle.ECU.{Name}",
          "serial!, mac addr!, mac address!, hardware identifier", message="serial",
          bits=(4, 256), against="request received failed interface port"),
    topic("version of a unit", "identity.serial", "Vehicle.ECU.{Name}",
          "version!, release number!, ecu identifier, part number", bits=(4, 256),
          against="request support custom"),
    topic("SIM or telephone number", "identity.sim", "Vehicle.Connectivity.Sim.{Name}",
          "iccid!, imsi!, imei!, msisdn!, sim!, phone number!", bits=(8, 256)),
    topic("plate", "identity.plate", "Vehicle.VehicleIdentification.LicensePlate",
          "license plate!", bits=(8, 256), against="open light camera lamp"),
    topic("certificate", "identity.certificate", "Vehicle.V2X.Certificate.{Name}",
          "certificate!, v2x identifier, v2x pseudonym", bits=(8, 512)),
    # --- Energy ---------------------------------------------------------------------------
    topic("state of charge or health", "energy.state",
          "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current",
          "soc!, soh!, battery percent, energy range, battery state charge, battery charge level!", units="percent",
          against="low engine front auxiliary support", elsewhere="mgmt"),
    topic("traction battery", "energy.state",
          "Vehicle.Powertrain.TractionBattery.{Name}",
          "high voltage battery!, traction battery!, battery pack!, battery cell!, "
          "cell voltage!, pack voltage!, pack current!, battery module!, hybrid battery, "
          "cell temperature",
          owner="traction battery, battery pack, battery module, high voltage battery, "
          "battery cell, pack, battery temperature, high voltage management",
          units="voltage current power energy temperature percent resistance rotation "
          "time length", requested=True, by_system=True,
          against="low front auxiliary 12 boost time charge departure failed"),
    topic("coolant of the traction battery", "energy.state",
          "Vehicle.Powertrain.TractionBattery.{Name}",
          "battery coolant!, battery pack coolant!, high voltage coolant",
          owner="traction battery, battery pack, high voltage management",
          elsewhere="engine climate heat low"),
    topic("insulation", "energy.state",
          "Vehicle.Powertrain.TractionBattery.IsolationResistance",
          "insulation resistance!, high voltage insulation!", units="resistance"),
    topic("high-voltage network", "energy.state",
          "Vehicle.Powertrain.TractionBattery.{Name}",
          "high voltage power, high voltage energy, high voltage state, high voltage, "
          "energy content!, usable energy!, battery energy!", bits=(2, 64),
          owner="high voltage", units="voltage current power energy",
          against="climate heat compressor low converter light charge seat steering "
          "display history consumption economy graph failed custom", requested=True, by_system=True),
    topic("fault of the traction battery", "energy.alarm",
          "Vehicle.Powertrain.TractionBattery.Alarm.{Name}",
          "traction battery failed!, battery pack failed!, high voltage failed!, traction battery alarm!, "
          "thermal runaway!, high voltage alarm!",
          requested=True, by_system=True, fault=True, message="traction battery",
          against="lamp engine", elsewhere="mgmt"),
    topic("charging of this car", "charging.session",
          "Vehicle.Powertrain.TractionBattery.Charging.{Name}",
          "charge coupler!, charge time!, charge state=, charge cable!, charge power, "
          "charge current, charge level, charge start!, charge end!, charge battery, charge complete, charge month, charge year, charge hour, charge day, charge request, charge minute!, "
          "charge energy, charge battery voltage, departure!, charger!, charge cord!, "
          "mains voltage!, chg battery!, chg traction battery!, chg high voltage!, chg time, "
          "chg level, charge", owner="charger, charge",
          message="charge high voltage battery charger",
          against="starter boost low lane change alternator engine wireless phone utility lowvoltage "
          "location cycle economy converter",
          elsewhere="navigation", requested=True, by_system=True),
    topic("charging contract", "charging.contract", "Vehicle.Payment.{Name}",
          "contract!, payment!"),
)  # fmt: skip
