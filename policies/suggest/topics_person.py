"""Topics of vehicles: what persons do in the car."""

from __future__ import annotations

from typing import Final

from policies.suggest.topics import Topic, topic

PERSON: Final[tuple[Topic, ...]] = (
    topic(
        "accelerator pedal",
        "chassis.controls",
        "Vehicle.Chassis.Accelerator.PedalPosition",
        "accelerator pedal!, gas pedal!, gas pressed!, accelerator position!, "
        "accelerator pressed!, throttle pressed!, accelerator pressure, accelerator!, "
        "acceleration pedal!, acceleration off, gas position, pedal position, "
        "throttle pedal!, gas",
        units="percent",
        against="limit kickdown cable recuperation brake",
        bits=(1, 16),
    ),
    topic(
        "brake pedal",
        "chassis.controls",
        "Vehicle.Chassis.Brake.PedalPosition",
        "brake pedal!, brake pressed!, brake position!, driver brake!, brake hold!, "
        "brake travel",
        units="percent length pressure voltage",
        against="request command pump lamp temperature torque light parking engine",
    ),
    topic(
        "brake pressure",
        "chassis.controls",
        "Vehicle.Chassis.Brake.Pressure",
        "brake pressure!, wheel brake pressure!",
        units="pressure percent",
        against="request stability parking tire",
    ),
    topic(
        "brake",
        "chassis.controls",
        "Vehicle.Chassis.Brake.{Name}",
        "brake",
        units="percent pressure force",
        message="brake pedal",
        against="request command pump lamp temperature torque light parking engine "
        "exhaust trailer rail fluid wear pad automation set warning mode "
        "available chime index type",
    ),
    topic(
        "parking brake",
        "chassis.controls",
        "Vehicle.Chassis.ParkingBrake.IsEngaged",
        "parking brake!",
        against="request torque lamp acceleration longitudinal wake",
    ),
    topic(
        "clutch pedal",
        "chassis.controls",
        "Vehicle.Chassis.{Name}",
        "clutch pedal!, clutch pressed!",
        units="percent",
    ),
    topic(
        "steering angle",
        "chassis.controls",
        "Vehicle.Chassis.SteeringWheel.Angle",
        "steer angle!, steering wheel angle!, pinion angle!, steer pinion!, pinion, "
        "steer fraction!",
        units="angle",
        against="request sensor target offset rate",
        bits=(4, 32),
    ),
    topic(
        "the driver takes over",
        "chassis.controls",
        "Vehicle.Chassis.SteeringWheel.{Name}",
        "driver override!",
        message="steer",
        by_system=True,
        against="request",
    ),
    topic(
        "turning of the steering wheel",
        "chassis.controls",
        "Vehicle.Chassis.SteeringWheel.{Name}",
        "steer rate!, steer speed!, steering wheel rate!, steering wheel speed!, "
        "steer direction, steer angle rate!",
        units="rate",
        against="request control stalk",
    ),
    topic(
        "torque at the steering wheel",
        "chassis.controls",
        "Vehicle.Chassis.SteeringWheel.{Name}",
        "steer torque!, steering wheel torque!, driver torque!",
        units="torque percent",
        against="request limit",
        bits=(1, 32),
    ),
    topic(
        "steering",
        "chassis.controls",
        "Vehicle.Chassis.SteeringWheel.{Name}",
        "steer, steering wheel, column position!",
        units="angle rate torque percent",
        bits=(6, 32),
        against="button switch heat lock request phone menu mode type state feature "
        "config available custom scroll stalk sensor supplier turn",
    ),
    topic(
        "tyre",
        "chassis.controls",
        "Vehicle.Chassis.Tire.{Name}",
        "tire pressure!, tire temperature!",
        units="pressure temperature",
        against="lamp warning",
    ),
    topic(
        "indicator",
        "driving.behaviour",
        "Vehicle.Body.Lights.DirectionIndicator.{Name}",
        "turn signal!, turn light!, turn indicator!, turn stalk!, blink!, hazard!, "
        "indicator left, indicator right, turn left, turn right, signal turn, blink "
        "lamp!",
        message="blink turn",
        against="distance navigation lamp_fault defogger defog lane change custom "
        "climate",
        requested=True,
        owner="blink",
    ),
    topic(
        "exterior light",
        "driving.behaviour",
        "Vehicle.Body.Lights.{Name}",
        "headlamp!, high beam!, low beam!, parking light!, fog light!, brake light!, "
        "light beam!, light outer, tail!, light rear, light park, light brake, side "
        "marker!, light drl, drl!, side marker, side repeater, light reverse, beam, "
        "light!",
        message="light",
        requested=True,
        against="warning seat v2x door button traffic automation engine cabin puddle "
        "courtesy feedback camera display dimming red_light",
    ),
    topic(
        "horn",
        "driving.behaviour",
        "Vehicle.Body.Horn.IsActive",
        "horn!",
        requested=True,
    ),
    topic(
        "mirror",
        "driving.behaviour",
        "Vehicle.Body.Mirrors.{Name}",
        "mirror!",
        owner="mirror",
        against="link screen",
        requested=True,
    ),
    topic(
        "trunk or hood",
        "driving.behaviour",
        "Vehicle.Body.Trunk.{Name}",
        "trunk!, hood open!, trunk open!",
        requested=True,
        against="snow snw load",
    ),
    topic(
        "watch over a young driver",
        "driving.behaviour",
        "Vehicle.Driving.{Name}",
        "teen!",
        requested=True,
        message="driver",
        owner="teen driver",
    ),
    topic(
        "how one drives",
        "driving.behaviour",
        "Vehicle.Driving.{Name}",
        "driver economy, drive economy, drowsiness!, attention!, driver workload!, "
        "workload!, lane sway warning!, take break, driver impairment!, harsh brake, "
        "driver score",
        requested=True,
        by_system=True,
        against="available sensitivity toggle mode custom",
    ),
    topic(
        "hands on the wheel, eyes on the road",
        "cabin.metadata",
        "Vehicle.Driver.{Name}",
        "hands on!, hand steer!, hand steering wheel!, capacitive!, driver "
        "monitoring!, gaze!, hand on, hand on wheel",
        owner="capacitive, driver monitoring",
        requested=True,
        against="warning hands_free phone",
    ),
    topic(
        "who drives",
        "cabin.metadata",
        "Vehicle.Driver.{Name}",
        "driver identifier!, key identifier!, driver profile!, person profile, fob!, "
        "key number, key switch!, key lock!, key button!, key position, key detected, "
        "key pressed, user identifier, auth identifier",
        message="driver key fob",
        owner="keyless auth",
        requested=True,
        against="battery low program programming feature immobilizer message "
        "request_count counter environment position",
    ),
    topic(
        "door",
        "cabin.metadata",
        "Vehicle.Cabin.Door.{Name}",
        "door open!, door lock!, door handle!, handle!, latch!, door switch!, door!, "
        "lock central, lock passive, lock",
        corners=True,
        requested=True,
        message="door body lock",
        against="fuel column coupler charge differential transmission gear converter "
        "transfer shift speed torque shift_lock contour light warning_lamp "
        "limit allwheel axle recirculation",
        elsewhere="axle column allwheel",
    ),
    topic(
        "belt",
        "cabin.metadata",
        "Vehicle.Cabin.Seat.{Name}",
        "belt!",
        requested=True,
        corners=True,
        against="conveyor drive tensioner pretensioner reversible",
    ),
    topic(
        "seat and who sits in it",
        "cabin.metadata",
        "Vehicle.Cabin.Seat.{Name}",
        "seat!, massage!, lumbar!, seat occupancy!, memory switch!, memory seat!, "
        "memory position, memory cancel!, memory recall!, memory, passenger "
        "occupancy, driver occupancy!, occupancy",
        owner="seat, massage",
        requested=True,
        corners=True,
        message="seat passenger",
        against="airbag serial identifier animation distance camera tire",
    ),
    topic(
        "window",
        "cabin.metadata",
        "Vehicle.Cabin.Door.Window.{Name}",
        "window!, sunroof!, blind!",
        requested=True,
        corners=True,
        against="washer wiper",
    ),
    topic(
        "climate as somebody set it",
        "cabin.metadata",
        "Vehicle.Cabin.HVAC.{Name}",
        "temperature set!, climate button!, climate set=, climate mode set!, climate "
        "switch, climate mode, heat steering wheel!, heat wheel!, seat heat!, seat "
        "warmer, temperature button, climate rear, heat wheel set, fan button!, fan "
        "speed, climate fan, climate fan button!, climate active, temperature "
        "increase, ac button, max ac, climate mode!, recirculation!, climate display, "
        "climate auto!",
        requested=True,
        message="climate seat",
        against="compressor evaporator evap engine coolant battery feature quality",
    ),
    topic(
        "light in the cabin",
        "cabin.metadata",
        "Vehicle.Cabin.Lights.{Name}",
        "cabin light!, light ambient!, courtesy light, dome light",
        requested=True,
        against="sensor outer",
    ),
    topic(
        "camera or microphone in the cabin",
        "cabin.audio",
        "Vehicle.Cabin.Microphone.{Name}",
        "microphone!",
        requested=True,
    ),
    topic(
        "heartbeat or fingerprint",
        "biometric",
        "Vehicle.Driver.Identifier.{Name}",
        "heart rate!, fingerprint!, face recognition",
    ),
)
