"""The gateway's one configuration file (TOML), parsed strictly. Pure: bytes in.

Unknown fields are refused, every default is safe: loopback metrics, TLS to any broker
that is not on loopback, lockdown policy where none is named.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import tomllib
from typing import Annotated, Final, Literal

import msgspec

from agent.config_modbus import modbus_problems
from agent.errors import BadInput
from agent.limits import (
    CONFIG_BYTES_MAX,
    EVIDENCE_DAYS_MAX,
    EVIDENCE_DAYS_MIN,
    RETAINED_BYTES_DEFAULT,
    RETAINED_BYTES_MIN,
    SPOOL_BYTES_DEFAULT,
    SPOOL_BYTES_MIN,
)
from policies.errors import nearest
from policies.parse import fields_at
from protocols.acks import GROUPS_MAX

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
BUSES_MAX: Final = 256  # FrameBatch.bus is a byte
NO_FIELD: Final = "no such field"
CREDENTIAL: Final = "credential:"  # a path that systemd gives: adapters/credentials.py
# systemd takes more (any ASCII but "/" and ":"); a leading dot is never meant.
CREDENTIAL_NAME: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"

_UNKNOWN: Final = re.compile(r"(?s)Object contains unknown field `(.*)`")
_STEPS: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
BitRate = Annotated[int, msgspec.Meta(ge=0, le=20_000_000)]
Baudrate = Annotated[int, msgspec.Meta(ge=50, le=10_000_000)]


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of all sections."""


class Mqtt(Strict, frozen=True, kw_only=True):
    """Where the broker is. TLS is required unless the host is a loopback address.

    ``enrolled``: host, port, certificates and key are those that `sluicegate provision`
    installed, and so is the trust root where none is named.
    """

    enrolled: bool = False
    host: str = "127.0.0.1"
    port: Port = 1883
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""
    keepalive_s: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 30
    allow_plaintext: bool = False


class Can(Strict, frozen=True, kw_only=True):
    """One bus. ``interface``: socketcan (raw, bulk) or any python-can interface."""

    name: str
    interface: str = "socketcan"
    channel: str = ""
    fd: bool = False
    # What the kernel lets through: all, or only what the bindings name (socketcan).
    frames: Literal["all", "bound"] = "all"
    bitrate: BitRate = 0  # that the bus should have, bit/s; 0: not told
    data_bitrate: BitRate = 0  # of the data phase (CAN FD)
    options: dict[str, str | int | bool] = {}


class ListenTls(Strict, frozen=True, kw_only=True):
    """Modbus/TCP Security towards masters: PEM files, all three needed."""

    cert_file: str
    key_file: str
    ca_file: str


class DeviceTls(Strict, frozen=True, kw_only=True):
    """Modbus/TCP Security towards the device: PEM files."""

    ca_file: str
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""  # in the device's certificate; "": the host


class Modbus(Strict, frozen=True, kw_only=True):
    """One device link: polled by us, only seen by taps, or with us in between."""

    name: str
    mode: Literal["poll", "watch", "proxy"] = "poll"
    kind: Literal["tcp", "rtu", "rtu-tcp"] = "tcp"
    host: str = "127.0.0.1"
    port: Port = 502
    device: str = ""
    baudrate: Baudrate = 9600
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    timeout_s: Seconds = 1.0
    # Silence after a reply; by default 10 ms where we poll, none as a proxy.
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None
    # Of a proxy only: checked by ``agent.config_modbus``.
    listen: str = ""  # address:port; "": LISTEN_DEFAULT
    without_policy: Literal["refuse", "pass-reads"] = "refuse"
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    masters: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    listen_tls: ListenTls | None = None
    device_tls: DeviceTls | None = None


class Tap(Strict, frozen=True, kw_only=True):
    """Listens to what others say: Modbus on an interface, or on a serial line."""

    name: str
    interface: str = ""
    ports: list[Port] = msgspec.field(default_factory=lambda: [502])
    device: str = ""
    baudrate: Baudrate = 9600
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1


class Spool(Strict, frozen=True, kw_only=True):
    """Byte cap of what waits on the device."""

    max_bytes: Annotated[int, msgspec.Meta(le=2**62)] = SPOOL_BYTES_DEFAULT
    live_share: float = 0.75  # of the send window; the rest goes to the backlog


class Retained(Strict, frozen=True, kw_only=True):
    """Byte cap of what a policy keeps on the device (`keep`)."""

    max_bytes: Annotated[int, msgspec.Meta(le=2**62)] = RETAINED_BYTES_DEFAULT


class Evidence(Strict, frozen=True, kw_only=True):
    """How long the evidence log stays on the device, once a collector has it."""

    keep_days: Annotated[int, msgspec.Meta(le=EVIDENCE_DAYS_MAX)] = EVIDENCE_DAYS_MIN


class Metrics(Strict, frozen=True, kw_only=True):
    """Prometheus text and status; a unix socket by default, or a loopback port."""

    socket: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0  # 0: none


class Eve(Strict, frozen=True, kw_only=True):
    """A log of findings and Modbus exchanges as Suricata writes it; none by default."""

    file: str
    max_bytes: Annotated[int, msgspec.Meta(ge=65_536, le=2**40)] = 16 * 1024 * 1024
    modbus: Literal["none", "odd", "all"] = "odd"  # odd: all but answered reads


class Trust(Strict, frozen=True, kw_only=True):
    """Policies come signed over MQTT. ``root``: the fleet's first root metadata."""

    root: str = ""
    groups: list[str] = []  # of this device; a rollout may name them


class Identity(Strict, frozen=True, kw_only=True):
    """Keys that the owner brings; "": made at the first start, in ``state_dir``."""

    key: str = ""  # Ed25519, PKCS#8 PEM
    pseudonyms: str = ""  # 32 bytes: the master key of pseudonyms


class Config(Strict, frozen=True, kw_only=True):
    """Everything the daemon is told by its owner."""

    device: str
    fleet: str
    state_dir: str
    policy: str = ""
    bindings: list[str] = []
    floor: str = ""
    databases: str = ""
    recipients: str = ""
    can: list[Can] = []
    modbus: list[Modbus] = []
    tap: list[Tap] = []
    mqtt: Mqtt = Mqtt()
    spool: Spool = Spool()
    retained: Retained = Retained()
    evidence: Evidence = Evidence()
    metrics: Metrics = Metrics()
    trust: Trust = Trust()
    identity: Identity = Identity()
    eve: Eve | None = None

    def source_names(self) -> list[str]:
        """Return the names of all buses, links and taps, in this order."""
        sources: list[Can | Modbus | Tap] = [*self.can, *self.modbus, *self.tap]
        return [one.name for one in sources]


def parse_config(text: bytes, file: str) -> Config:
    """Return the configuration; BadInput names file, line or field, and reason."""
    if len(text) > CONFIG_BYTES_MAX:
        raise BadInput(file, "", f"larger than {CONFIG_BYTES_MAX} bytes")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(file, f"byte {error.start}", "not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(file, "", str(error), "see README.md for one") from None
    except (RecursionError, ValueError):  # tomllib's own: nesting, endless digits
        raise BadInput(file, "", "nested too deep, or a number too long") from None
    _check_texts(table, file)
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        raise _refused(str(error), file) from None
    _check(config, file)
    return config


def _refused(message: str, file: str) -> BadInput:
    """Return msgspec's error in a file's terms; a field that is none, with ours."""
    reason, _, path = message.partition(" - at ")
    place = path.strip("`").removeprefix("$").removeprefix(".")
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown is None:
        return BadInput(file, place or "top level", reason)
    steps = [int(row) if row else name for name, row in _STEPS.findall(place)]
    known = fields_at(Config, tuple(steps))
    hint = nearest(unknown[1], known) or f"known: {', '.join(sorted(known))}"
    here = f"{place}.{unknown[1]}" if place else unknown[1]
    return BadInput(file, here, NO_FIELD, hint)


def _check_texts(table: dict[str, object], file: str) -> None:
    """Refuse what could end a path early, or a terminal's peace, in any key or text."""
    todo: list[object] = [table]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += [*one, *one.values()]
        elif isinstance(one, list):
            todo += one
        elif isinstance(one, str) and not one.isprintable():
            raise BadInput(file, "", "a key or a text holds a control character")
        elif isinstance(one, str) and one.startswith(CREDENTIAL):
            credential_name(one, file)


def _check(config: Config, file: str) -> None:
    for place, name in [
        ("device", config.device),
        ("fleet", config.fleet),
        *((f"can[{i}].name", can.name) for i, can in enumerate(config.can)),
        *((f"modbus[{i}].name", link.name) for i, link in enumerate(config.modbus)),
        *((f"tap[{i}].name", tap.name) for i, tap in enumerate(config.tap)),
        *((f"trust.groups[{i}]", name) for i, name in enumerate(config.trust.groups)),
    ]:
        if not re.fullmatch(NAME, name):
            raise BadInput(file, place, f"not a name of the form {NAME}")
    names = config.source_names()
    for name in names:
        if names.count(name) > 1:
            raise BadInput(file, "can, modbus, tap", f"two sources are named {name}")
    _check_can(config, file)
    _check_kept(config, file)
    for place, reason in modbus_problems(config.modbus, config.tap):
        raise BadInput(file, place, reason)
    _check_trust(config, file)
    mqtt = config.mqtt
    if mqtt.enrolled and mqtt != Mqtt(enrolled=True, keepalive_s=mqtt.keepalive_s):
        reason = "the enrolment brings all but keepalive_s"
        raise BadInput(file, "mqtt.enrolled", reason, "leave the others out")
    if not (mqtt.ca_file or mqtt.allow_plaintext or is_loopback(mqtt.host)):
        raise BadInput(
            file,
            "mqtt.host",
            "a broker beyond this machine needs TLS (MIITM art. 17)",
            "set mqtt.ca_file, cert_file and key_file",
        )
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        raise BadInput(file, "mqtt", "cert_file and key_file go together")


def _check_kept(config: Config, file: str) -> None:
    if config.spool.max_bytes < SPOOL_BYTES_MIN:
        raise BadInput(file, "spool.max_bytes", f"below {SPOOL_BYTES_MIN}")
    if not 0.0 < config.spool.live_share < 1.0:
        raise BadInput(file, "spool.live_share", "must lie between 0 and 1")
    if config.retained.max_bytes < RETAINED_BYTES_MIN:
        raise BadInput(file, "retained.max_bytes", f"below {RETAINED_BYTES_MIN}")
    if config.evidence.keep_days < EVIDENCE_DAYS_MIN:
        reason = f"below {EVIDENCE_DAYS_MIN}: logs are kept for six months (MIITM 25)"
        raise BadInput(file, "evidence.keep_days", reason)


def _check_can(config: Config, file: str) -> None:
    if len(config.can) > BUSES_MAX:
        raise BadInput(file, "can", f"more than {BUSES_MAX} buses")
    for i, can in enumerate(config.can):
        if can.frames == "bound" and can.interface != "socketcan":
            reason = f"the kernel does not filter for {can.interface}"
            raise BadInput(file, f"can[{i}].frames", reason, 'leave it at "all"')


def _check_trust(config: Config, file: str) -> None:
    trust = config.trust
    if trust.groups and not trust.root:
        hint = "set trust.root to the fleet's root.json"
        raise BadInput(file, "trust.groups", "without a root nothing is taken", hint)
    if len(trust.groups) > GROUPS_MAX or len({*trust.groups}) < len(trust.groups):
        reason = f"more than {GROUPS_MAX} groups, or one twice"
        raise BadInput(file, "trust.groups", reason)


def credential_name(text: str, file: str) -> str:
    """Return NAME of ``credential:NAME``; BadInput where it could be no file's name."""
    name = text.removeprefix(CREDENTIAL)
    if not re.fullmatch(CREDENTIAL_NAME, name):
        reason = f"not a name of the form ^{CREDENTIAL_NAME}$"
        raise BadInput(file, CREDENTIAL + name[:80], reason)
    return name


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def beside(config_file: str, name: str) -> str:
    """Return ``name`` resolved against the folder of the configuration file."""
    return posixpath.join(posixpath.dirname(config_file), name) if name else ""
