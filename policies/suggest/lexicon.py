"""How makers write words: from the tokens of a name to the words that rules speak of.

Each line is ``word(s): ways to write it``; a way may stand for several words. German is
here because half of the databases of Europe are written in it.
"""

from __future__ import annotations

from typing import Final

_ENGLISH: Final = """
acceleration: accel acceleration accl beschl beschleunigung laengsbeschl querbeschl
accelerator: accelerator aped
accelerator pedal: accped accelpedal
active: act actv active aktiv
airbag: airbag ab srs
alarm: alarm alrm escalation eskalation
altitude: altitude
allwheel: awd 4wd 4x4 allrad
ambient: amb ambient outside
amplifier: amp
angle: angle ang an winkel
attention: attention attn
automation: lka lkas lkahud ldw lda ldws aeb aebs acc asl cruise crz pcs fcw fca adas
  das tja hda scc awv tsk pla hca gra aac cmbb ldwic fcam autopilot lks laneassist
  lanekeep lkasd ipas dsu isa vsl asld euss esa elk pcm_cruise ctd
automation lane: lka lkas ldw lda
available: avl avail available
axis: axis
back: back backward backwd rearward reversing
battery: bat batt battery batterie vbatt
bearing: bearing
belt: belt seatbelt sblt bckl buckle unbelted beltminder gurt gurtschloss gurtwarn
blind: blind rollo rollos
blink: blink blinker blinkers blinkmodi blnk blinken blinking
body: body
boost: boost turbo ladedruck
brake: brake brk braking brakes brks bremse brems bremst ped_brk
building: bebauung
button: button buttn bttn btt btn btns taste taster tasten tastencode butt keypad
cabin: cabin interior innen
cable: cable cord
camera: camera cam cams kamera
capacitive: klr capacitive
cell: cell cells zelle zellen
certificate: certificate cert certificates pseudonym
charge: charge charging chrg chrging laden ladung geladen chargecord
charger: charger chargers chrgr obc evse obcm ladegeraet
checksum: checksum chksm chksum cksum crc chks
child: child isofix
city: city town
climate: fatc mtc eatc defrost defog dfg defogger aircon datc climate hvac clim clmt ecc
clock: clock
clutch: clutch clch kupplung kuppl
column: column clmn clm
command: cmd command computer
control: control ctrl ctl cntrl
compass: compass cmps
config: config cfg configuration kodierung coding
consumption: consumption cnsmptn verbrauch
contract: contract emaid
coolant: coolant clnt cool cooling kuehlung kuehlmittel
counter: counter ctr zaehler rolling alivecounter
country: country land
coupler: coupler cplr plug connector inlet socket
crash: crash rollover impact imp collision
credit: payment
converter: converter dcdc dc_dc inverter
current: current curr cur amperage strom
curvature: curvature crvt crvtr crvtre curv curve kurve
custom: cst cstm cust cstmr custom
cut: cut
date: date cldr calendar
day: day dy tag
decel: decel deceleration verz verzoegerung
decimal: dec frac frct fraction decimals mindec
degree: deg degree degrees degr
departure: departure dprt
desired: desired wanted wunsch desire
destination: destination dest
detected: detected det dtctd detect detection
diagnostic: diag diagnostic diagnostics diagnose dtc uds obd obd2
drive direction: fahrtrichtung fahrtr
vehicle speed: speedometer
direction: direction dir drctn richtung
display: display dsply disp dspl hud anzeige
distance: distance dist dst dstnc entfernung abstand weg
door: door doors dr tuer tuere dooropen drs
drive: drive drv drvng
driver: driver drvr fahrer
driver monitoring: dms
drowsiness: drowsy drowsiness fatigue muedigkeit tired sleepy
duration: duration
east: east ost
eco: eco econ
economy: efncy efficiency eff ecn economy
ecu: ecu
energy: energy engy energie energieinhalt enrg
engine: engine eng
environment: rain regen humidity hmdty solar sun lux
eta: eta
event: event evnt
exhaust: exhaust exh urea aftertreatment diesel
feature: feat feature features
failed: fault flt falt failure fail error err fehler malfunction malf defekt def faulted
  fld dfct errors failed implausible unplausibel fehlerstatus malfn stoerung
fan: fan luefter geblaese blower blwr blw
fast: fast
feedback: feedback
fingerprint: fingerprint
fix: fix fixtype
fob: fob keyfob remotekey smartkey
fog: fog nebel
front: front frnt vorne
fuel: fuel tank fuellevel petrol
gas: gas
throttle: throttle thr
gear: gear gang gangposition prnd prndl trn fahrstufe shifter waehlhebel shift shft
geofence: geofence geofenced
gnss: gps gnss glonass galileo beidou gpswoche satnav
ground: gnd ground grnd
grade: grade grad slope steigung incline
gyro: gyro gyroscope
hand: hand hands hnds
hands on: handson hod
handle: handle handles griff tuergriff
hazard: hazard warnblink
heading: heading hdng hding hdg course cog kurs
headlamp: headlamp headlight headlights headlamps headlght hdlmp
heat: heat heated heater htd htr heating heizung warmer hcs hcsl vent_seat vent
heart: heart pulse_rate
height: height hght hoehe
hemisphere: hsph hemisphere
high beam: highbeam fernlicht hibm hbm fernl
traction battery: bms becm bmshv hvbat hvbatt hvbattery
high voltage: hv hivolt highvoltage hochvolt hvem hvk hvil
history: history
horn: horn hrn hupe
hour: hour hours hr hrs stunde hh
hybrid: hybrid hyb phev ev hev bev mhev
iccid: iccid
identifier: id ident identifier identification kennung
imei: imei
imsi: imsi
inclination: inclination
indicator: indicator
inertial: imu inertial
inhibit: inhbt inhibit inh
insulation: insulation isolation isol isolationswiderstand iso
key: key keys ky keypad keycyl schluessel
width: width wdth breite
radio: radio tuner dab seek fm sdars xm
brake hold: autohold
brake light switch: bls
lamp: lamp lmp lampe lamps tell telltale
lane: lane lanes spur fahrspur
lane departure: lanedep
latch: latch latches
latitude: latitude latt lattd breitengrad
lat: lat
lateral: lateral quer latrl querbeschl querbeschleunigung
lead: lead fwd_veh preceding vorausfahrend
length: length laenge segmentlaenge
level: level lvl lev
license plate: licenseplate numberplate kennzeichen
marker: marker markers
light: light lights licht lght leuchte lighting bulb lightreq
limit: limit lim lmt lmtr max min limiter grenze maximum minimum limitation speedlimit
  grenz
line: line lines
location: location lctn loc ort ortung
lock: lckng lock locked locking lck lcks unlock verriegelt entriegelt schloss
  tuerschloss unlocked verriegelung entriegelung locks lckd entriegeln unlocking
long: lon long lng
longitude: longitude laengengrad longitd longt
longitudinal: longitudinal laengs lgt laengsbeschl laengsbeschleunigung
low beam: lowbeam abblendlicht lobm abblend
low voltage: lowvolt niedervolt lowvoltage
low: low lw lo niedrig
lumbar: lumbar lmbr
mac: mac macaddr
map: map maps
massage: massage massg mssg
measured: measured
memory: memory mem
message: msg message
meter: meter
microphone: microphone mic
minute: minute minutes mm
mirror: mirror mirrors spiegel
mode: mode mde modus modi
money: toll fare
month: month mnth monat
motion: motion moving
module: module modul
multiplexer: mux multiplex multiplexor
navigation: navigation navi nav nv_nav guidance tbt routing tbtinfo
network: network net
north: north nord
object: object obj objects target_obj obstacle objekt objekte track trk trck hindernis
  pedestrian
occupancy: occupied occ occupancy occupant ocs occpnt present prsnt ocpncy presence
  odi_occ
odometer: odometer odo odomtr kilometerstand mileage totaldistance wegstrecke
off: off aus
open: open opened geoeffnet ajar offen ajr opn
outer: exterior ext outer aussen
pack: pack pck
park: park parking prk parken
parking brake: parkbrake parkingbrake pbrake handbremse handbrake prkbrk feststellbremse
parking light: parklamp parkinglight standlicht parklicht parklmp
passenger: passenger ast psgr pass psngr psg beifahrer
path: path pfad
accelerator pedal: fahrpedal gaspedal
brake pressure: bremsdruck
pedal: pedal ped pdl pedale pedalweg bremsped
percent: percent percentage pc pct prcnt
person: person profile personality
phone: phone telephone telefon tel
pinion: pinion
pitch: pitch ptch nick
place: stopover poi
plate: plate
posted: posted pstd
point: point pnt
position: position pos posn lage stellung
programming: prog program programming
power: power pwr leistung pw pw_max
pressed: pressed prssed prssd press pressure_sw betaetigt pulled push pushed
pressure: pressure prs prssr druck preasure pres
profile: profile
pulse: pulse pulses impuls impulse wegimpuls encoder ticks rotat pls wegimp
quality: quality qb qlty qual qbit qf guete validity valid invalid vld vldty konsistenz
  confidence qualifier vda ub mia unplausible plausibility
radar: radar radars
range: range rng reichweite dte
rate: rate
rear: rear rr_ hinten fond rwd
recirculation: recirculation recirc rcrc
recuperation: recuperation regen_brk rekuperation rgen regeneration
reference: ref reference
remaining: remaining remain rmn
request: req rq request requested rqst rqd anf demand anforderung dmd requests reqd
  angefordert
reserved: reserved rsrvd resrv resrvd spare unused dummy reserve reservd unsd padding
  filler
resistance: resistance ohm widerstand
restraint: restraint rstrn veds
reverse: reverse rueckfahr rueckf rvrs
road: road street rd strasse
road class: strassenkategorie roadclass roadtype
roll: roll rol wank
relative: rel relative
route: route waypoint
rpm: rpm tachometer tacho drehzahl drehz
satellite: satellite satellites sat sats satelliten
scroll: scroll
shaft: shaft
seat: seat seats sitz sitze csh cshn recline backrest headrest hdrst sitzheizung st_seat
secret: secret geheimnis crypto immo immobilizer immobiliser crypt pats wfs password
  passwrd challenge seed authenticator immotarget
sensor: sensor sensors sns snsr
serial: serial ser seriennummer serialno serialnumber partno
set: set seltd selected stng setting setpoint setpt soll target trgt setpnt tgt sollwert
  setze sollmodus
side: side
sign: sign vz vorz signum vorzeichen
signal: signal signals sig sigs sgnl sgnls
sim: sim msisdn
slip: slip
smart charging: smartcharging
software: software sw_ver sw_version
sound: audio sound chime chm snd beep mute volume aud treble bass tone speaker fader
south: south sth sued
speed: speed spd spds geschw geschwindigkeit velo vel velocity vlcty vlc spdval spdnum
sport: sport
stability: esc esp vsc vse tc tcs asr abs stability vsa hdc hsa traction_ctl yaw_ctl ebd
  eba
stalk: stalk lever lvr hebel blinkerhebel
standstill: standstill stillstand stopped
state: state status stat st_ stts zustand istzustand
station: station
steer: steer steering str strg ste stw swa sccm lenk lenkung lenkwinkel lwi eps
steering wheel: lenkrad lenkradwinkel stwhl steeringwheel lenkradw
starter: starter anlasser
misaligned: msalgn misalign misalignment
start: start strt begin
stop: stop
sunroof: sunroof moonroof schiebedach
supplier: supplier
support: support
suspension: suspension damper fahrwerk niveau
switch: switch swi sw swtch swt schalter swc
tail: taillight schlusslicht schluss rearlight ruecklicht taillamp
teen: teen tndrv tn mykey valet
temperature: temperature temp tmp te temperatur tmptr
theft: theft
tilt: tilt
time: time tm zeit
tire: tire tyre tires reifen tpm tpms
torque: torque tq trq moment mom drehmoment lenkmoment lenkmomoffset tqe
traction: trac traction propulsion
traffic: traffic trf trfc trffc verkehr
traffic sign: tsr rsa tsgn trafficsign verkehrszeichen
trailer: trailer trlr aag anhaenger ahg
transmission: transmission trans tcm getriebe
trip: trip trp tripmeter
trunk: trunk tailgate liftgate heckklappe heckdeckel closure clsr clos hatch kofferraum
turn: turn trn_ abbiege
unit: unit units unt einheit
unknown: unknown unk dont unbekannt nothing
utc: utc
v2x: v2x v2v bsm dsrc
validity: vbit
valve: valve valves
vehicle: vehicle veh vh car fahrzeug fzg ego host
version: version versions revision ver majorversion minorversion versionsinfo hardware
  firmware
vertical: vertical vert
vin: vin fahrgestellnummer
voltage: voltage volt vlt vltg spannung spg istspannung
warning: warning warn wrn wrng warnung wrnng
washer: wash washer waschen
wheel: wheel whl wheels rad rads whls
wheel speed: radgeschw wheelspeed whlspd raddrehzahl wspd
window: window wnd windows fenster fensterheber
wiper: wiper wpr wipers wisch wischer scheibenwischer
workload: workload wrkld impair impairment drvimpair
yaw: yaw yr gier
yaw rate: gierrate giergeschw yawrate
year: year yr_ jahr
zero: zero zeros zeroes
zone: zone zones
"""


def _read(text: str) -> dict[str, tuple[str, ...]]:
    out: dict[str, tuple[str, ...]] = {}
    joined = text.replace("\n  ", " ")
    for line in joined.strip().splitlines():
        words, _, ways = line.partition(":")
        meaning = tuple(words.split())
        for way in ways.split():
            out[way] = tuple(dict.fromkeys((*out.get(way, ()), *meaning)))
    return out


WORDS: Final = _read(_ENGLISH)
MEANINGS: Final = frozenset(word for meaning in WORDS.values() for word in meaning)
