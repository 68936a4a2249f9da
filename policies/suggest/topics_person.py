"""Topics of vehicles: what persons do in the car, and what is neither."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

_SYSTEM: Final = "failed request command pump lamp temperature torque"

PERSON: Final[tuple[Topic, ...]] = (
    # --- Controls -------------------------------------------------------------------------
    topic("accelerator pedal", "chassis.controls",
          "Vehicle.Chassis.Accelerator.PedalPosition",
          "accelerator pedal!, gas pedal!, gas pressed!, accelerator position!, "
          "accelerator pressed!, throttle pressed!, accelerator pressure, accelerator!, acceleration pedal!, "
          "acceleration off, gas position, pedal position, throttle pedal!, gas",
          units="percent", against="limit kickdown cable recuperation brake", bits=(1, 16)),
    topic("brake pedal", "chassis.controls", "Vehicle.Chassis.Brake.PedalPosition",
          "brake pedal!, brake pressed!, brake position!, driver brake!, brake hold!, "
          "brake travel", units="percent length pressure voltage",
          against=f"{_SYSTEM} light parking engine"),
    topic("brake pressure", "chassis.controls", "Vehicle.Chassis.Brake.Pressure",
          "brake pressure!, wheel brake pressure!", units="pressure percent",
          against="request failed stability parking tire"),
    topic("brake", "chassis.controls", "Vehicle.Chassis.Brake.{Name}", "brake",
          units="percent pressure force", message="brake pedal",
          against=f"{_SYSTEM} light parking engine exhaust trailer rail fluid wear pad "
          "automation set warning mode available chime index type"),
    topic("parking brake", "chassis.controls",
          "Vehicle.Chassis.ParkingBrake.IsEngaged", "parking brake!",
          against="request failed torque lamp acceleration longitudinal wake"),
    topic("clutch pedal", "chassis.controls", "Vehicle.Chassis.{Name}",
          "clutch pedal!, clutch pressed!", units="percent"),
    topic("steering angle", "chassis.controls", "Vehicle.Chassis.SteeringWheel.Angle",
          "steer angle!, steering wheel angle!, pinion angle!, steer pinion!, "
          "pinion, steer fraction!", units="angle",
          against="request failed sensor target offset rate", bits=(4, 32)),
    topic("the driver takes over", "chassis.controls",
          "Vehicle.Chassis.SteeringWheel.{Name}", "driver override!", message="steer",
          by_system=True, against="request"),
    topic("turning of the steering wheel", "chassis.controls",
          "Vehicle.Chassis.SteeringWheel.{Name}",
          "steer rate!, steer speed!, steering wheel rate!, steering wheel speed!, "
          "steer direction, steer angle rate!", units="rate", against="request failed control stalk"),
    topic("torque at the steering wheel", "chassis.controls",
          "Vehicle.Chassis.SteeringWheel.{Name}",
          "steer torque!, steering wheel torque!, driver torque!",
          units="torque percent", against="request failed limit", bits=(1, 32)),
    topic("steering", "chassis.controls", "Vehicle.Chassis.SteeringWheel.{Name}",
          "steer, steering wheel, column position!", units="angle rate torque percent",
          bits=(6, 32), against="button switch heat lock request phone menu failed mode "
          "type state feature config available custom scroll stalk sensor supplier turn"),
    topic("tyre", "chassis.controls", "Vehicle.Chassis.Tire.{Name}",
          "tire pressure!, tire temperature!", units="pressure temperature",
          against="failed lamp warning"),
    # --- Lights, signals ------------------------------------------------------------------
    topic("indicator", "driving.behaviour",
          "Vehicle.Body.Lights.DirectionIndicator.{Name}",
          "turn signal!, turn light!, turn indicator!, turn stalk!, blink!, hazard!, "
          "indicator left, indicator right, turn left, turn right, signal turn, blink lamp!", message="blink turn",
          against="failed distance navigation lamp_fault defogger defog lane change "
          "custom climate", requested=True, owner="blink"),
    topic("exterior light", "driving.behaviour", "Vehicle.Body.Lights.{Name}",
          "headlamp!, high beam!, low beam!, parking light!, fog light!, brake light!, "
          "light beam!, light outer, tail!, light rear, light park, light brake, "
          "side marker!, light drl, drl!, side marker, side repeater, light reverse, beam, light!",
          message="light", requested=True,
          against="failed warning seat v2x door button traffic automation engine cabin "
          "puddle courtesy feedback camera display dimming red_light"),
    topic("horn", "driving.behaviour", "Vehicle.Body.Horn.IsActive", "horn!",
          requested=True),
    topic("mirror", "driving.behaviour", "Vehicle.Body.Mirrors.{Name}", "mirror!",
          owner="mirror",
          against="failed link screen", requested=True),
    topic("trunk or hood", "driving.behaviour", "Vehicle.Body.Trunk.{Name}",
          "trunk!, hood open!, trunk open!", requested=True,
          against="failed snow snw load"),
    topic("watch over a young driver", "driving.behaviour", "Vehicle.Driving.{Name}",
          "teen!", requested=True, message="driver", owner="teen driver"),
    topic("how one drives", "driving.behaviour", "Vehicle.Driving.{Name}",
          "driver economy, drive economy, drowsiness!, attention!, driver workload!, "
          "workload!, lane sway warning!, take break, driver impairment!, "
          "harsh brake, driver score", requested=True, by_system=True,
          against="available sensitivity toggle mode custom"),
    # --- Cabin ----------------------------------------------------------------------------
    topic("hands on the wheel, eyes on the road", "cabin.metadata",
          "Vehicle.Driver.{Name}",
          "hands on!, hand steer!, hand steering wheel!, capacitive!, "
          "driver monitoring!, gaze!, hand on, hand on wheel", owner="capacitive, driver monitoring",
          requested=True, against="warning hands_free phone"),
    topic("who drives", "cabin.metadata", "Vehicle.Driver.{Name}",
          "driver identifier!, key identifier!, driver profile!, person profile, "
          "fob!, key number, key switch!, key lock!, key button!, key position, key detected, "
          "key pressed, user identifier, auth identifier",
          message="driver key fob", owner="keyless auth", requested=True,
          against="battery low failed program programming feature immobilizer programming message "
          "request_count counter environment position"),
    topic("door", "cabin.metadata", "Vehicle.Cabin.Door.{Name}",
          "door open!, door lock!, door handle!, handle!, latch!, door switch!, door!, "
          "lock central, lock passive, lock",
          corners=True, requested=True, message="door body lock",
          against="failed fuel column coupler charge differential transmission gear "
          "converter transfer shift speed torque shift_lock contour light warning_lamp "
          "limit allwheel axle recirculation", elsewhere="axle column allwheel"),
    topic("belt", "cabin.metadata", "Vehicle.Cabin.Seat.{Name}", "belt!",
          requested=True, corners=True, against="failed conveyor drive tensioner "
          "pretensioner reversible"),
    topic("seat and who sits in it", "cabin.metadata", "Vehicle.Cabin.Seat.{Name}",
          "seat!, massage!, lumbar!, seat occupancy!, memory switch!, memory seat!, memory position, memory cancel!, memory recall!, memory,  passenger occupancy, "
          "driver occupancy!, occupancy", owner="seat, massage", requested=True,
          corners=True, message="seat passenger",
          against="failed airbag serial identifier animation distance camera tire"),
    topic("window", "cabin.metadata", "Vehicle.Cabin.Door.Window.{Name}",
          "window!, sunroof!, blind!", requested=True, corners=True,
          against="failed washer wiper"),
    topic("climate as somebody set it", "cabin.metadata", "Vehicle.Cabin.HVAC.{Name}",
          "temperature set!, climate button!, climate set=, climate mode set!, climate switch, "
          "climate mode, heat steering wheel!, heat wheel!, seat heat!, seat warmer, "
          "temperature button, climate rear, heat wheel set, fan button!, fan speed, climate fan, "
          "climate fan button!, climate active, temperature increase, ac button, max ac, climate mode!, recirculation!, climate display, climate auto!", requested=True,
          message="climate seat",
          against="compressor evaporator evap engine coolant failed battery feature "
          "quality"),
    topic("light in the cabin", "cabin.metadata", "Vehicle.Cabin.Lights.{Name}",
          "cabin light!, light ambient!, courtesy light, dome light", requested=True,
          against="sensor outer"),
    topic("camera or microphone in the cabin", "cabin.audio",
          "Vehicle.Cabin.Microphone.{Name}", "microphone!", requested=True),
    topic("heartbeat or fingerprint", "biometric", "Vehicle.Driver.Identifier.{Name}",
          "heart rate!, fingerprint!, face recognition"),
)  # fmt: skip

OTHER: Final[tuple[Topic, ...]] = (
    topic("assistance", "driving.automation", "Vehicle.ADAS.{Name}",
          "automation!, speed set=!, set distance, speed limit=, speed lockout, "
          "lane warning, lane departure!, lane detected!, "
          "stability, lateral control, airbag, crash, hill, edr, kickdown, park button, park aid, "
          "brake request!, brake command, steer request!, steer command!, "
          "speed control=!, speed stalk=!, automation active, line left, line right, lane", owner="automation",
          message="automation stability", requested=True, by_system=True, against="sway", elsewhere="navigation"),
    topic("object around the car", "exterior.objects",
          "Vehicle.ADAS.ObstacleDetection.{Name}",
          "lead distance!, lead speed!, lead vehicle!, lead!, object!, radar!, "
          "traffic sign!, far distance!, adjacent!", owner="object, radar, traffic sign",
          message="radar camera", requested=True, by_system=True, against="odometer"),
    topic("powertrain", "powertrain", "Vehicle.Powertrain.{Name}",
          "engine!, rpm!, gear!, fuel!, exhaust!, transmission!, wheel torque!, torque, "
          "clutch, drive mode!, select drive mode, eco, sport, recuperation!, boost!, "
          "converter!, axle, coolant, propulsion state!, four wheel, alternator!, throttle!, allwheel!, "
          "generator!, transfer case, oil!, starter!, economy, track mode",
          message="engine transmission", requested=True, by_system=True,
          against="steer steering"),
    topic("low-voltage battery", "powertrain", "Vehicle.LowVoltageBattery.{Name}",
          "low voltage battery!, battery low!, battery state, battery current, "
          "battery voltage, battery temperature, battery, low voltage",
          units="voltage current energy temperature", span=(-2000, 60),
          owner="battery mgmt, battery voltage",
          elsewhere="module pack cell traction hybrid high", requested=True, by_system=True,
          against="traction pack cell high module hybrid charger"),
    topic("weather and wipers", "environment", "Vehicle.Exterior.{Name}",
          "wiper!, washer!, rain!, environment!, ambient temperature!, icy!, "
          "temperature outer", requested=True, by_system=True, against="engine button_light"),
    topic("fault or tell-tale", "diagnostics.codes", "Vehicle.Diagnostics.{Name}",
          "lamp failed!, light failed!, lamp open!, drl open!, diagnostic trip!, trip diagnostic!, failed!, "
          "lamp engine, warning lamp!, lamp, diagnostic, light implausible",
          owner="diagnostic", fault=True, requested=True, by_system=True, against="headlamp high"),
    topic("menus, sound and telephone", "user", "Vehicle.Cabin.Infotainment.{Name}",
          "phone!, sound!, amplifier!, steer button!, steer switch!, steer scroll, "
          "steering wheel button!, steering wheel switch!, sound mode, menu, cursor!, "
          "scroll!, media, voice, radio!, steering wheel control!, swc", owner="amplifier",
          requested=True, by_system=True, against="seat window door"),
    topic("secret of a lock", "security.secret", "Vehicle.Security.{Name}", "secret!",
          bits=(8, 512), requested=True, by_system=True),
    topic("update over the air", "ota", "Vehicle.OTA.{Name}", "ota!", requested=True, by_system=True),
    topic("remote control", "remote.command", "Vehicle.RemoteControl.{Name}",
          "remote start!, remote engine, remote climate", requested=True, by_system=True),
    topic("inside the air conditioner", "", "",
          "compressor!, evaporator!, evap!, refrigerant!, climate feature", owner="",
          requested=True, by_system=True),
    topic("state of software or network", "",
          "", "network management!, autosar!, nm!, feature!, config!, coding!, alive!, "
          "byte data, animation!, indication, sleep, wakeup, chime", elsewhere="navigation", requested=True, by_system=True),
)  # fmt: skip

