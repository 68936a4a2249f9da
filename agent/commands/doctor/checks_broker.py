"""The broker: found, reached, let in, our topics, messages of our size."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.enrolment import enrolments_of
from agent.adapters.files import read_secret
from agent.commands.doctor.model import Check, bad, enrol, good, quoted, run
from agent.errors import BadInput, Unavailable
from agent.limits import ENVELOPE_BYTES_MAX, MQTT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found

CONNECT_S: Final = 5.0
LOOK_UP_S: Final = 8.0
PASSWORD_BYTES_MAX: Final = 4096
ROOM: Final = 4096  # topic and properties of a message come on top


def _installed(context: Context) -> Iterable[Found]:
    """Whether what `[mqtt] enrolled` asks for is there."""
    config = context.paths.config
    if not config.mqtt.enrolled:
        return
    fix = enrol(context.config_file, config.device)
    found = enrolments_of(context.paths).current()
    if found is None:
        yield bad("nothing is installed yet: there is no broker", fix)
    elif found.answer.broker is None:
        yield bad(f"{found.folder}: the answer names no broker", fix)
    else:
        yield good(f"{found.folder.name}, broker {config.mqtt.host}")


def _password(context: Context) -> Iterable[Found]:
    name = context.paths.config.mqtt.password_file
    if not name:
        return
    file = Path(context.paths.of(name))
    try:
        read_secret(file, PASSWORD_BYTES_MAX)
    except BadInput as error:
        place = quoted(file)
        if "others" in error.reason:
            yield bad(str(error), run(f"chmod 600 {place}"))
        elif file.exists():
            yield bad(str(error), run(f"chown {context.user.owner} {place}"))
        else:
            fix = f"write the password into {place}: " + run(
                f"install -m 600 /dev/stdin {place}"
            )
            yield bad(str(error), fix)
    else:
        yield good(f"{file} is ours alone")


def _resolve(context: Context) -> Iterable[Found]:
    mqtt = context.paths.config.mqtt
    try:
        context.host.resolve(mqtt.host, mqtt.port)
    except OSError as error:
        said = f"{mqtt.host}: {error.strerror or 'no address'}"
        fix = 'set `host = "NAME"` under `[mqtt]`, or mend DNS: ' + run(
            f"getent hosts {mqtt.host}"
        )
        yield bad(said, fix)
    else:
        yield good(f"{mqtt.host} has an address")


def _port(context: Context) -> Iterable[Found]:
    mqtt = context.paths.config.mqtt
    try:
        socket.create_connection((mqtt.host, mqtt.port), CONNECT_S).close()
    except OSError as error:
        said = f"{mqtt.host}:{mqtt.port}: {error.strerror or 'no answer'}"
        fix = (
            f"start the broker at {mqtt.host}:{mqtt.port}, or open the way to it, or"
            " set"
            " `port = PORT` under `[mqtt]`"
        )
        yield bad(said, fix)
    else:
        yield good(f"{mqtt.host}:{mqtt.port} accepts")


def _accept(context: Context) -> Iterable[Found]:
    mqtt = context.paths.config.mqtt
    place = f"{mqtt.host}:{mqtt.port}"
    try:
        context.broker  # noqa: B018  # asked for what it raises
    except Unavailable as error:
        yield bad(str(error), _way_in(context, str(error)))
    else:
        yield good(f"{place} lets us in")


def _way_in(context: Context, reason: str) -> str:
    """Return what to do where the broker does not let us in."""
    mqtt = context.paths.config.mqtt
    client = f"sluicegate-{context.paths.config.fleet}-{context.paths.config.device}"
    words = reason.lower()
    if "authori" in words or "password" in words or "user name" in words:
        if mqtt.username:
            known = f"user {mqtt.username} with the password of `password_file`"
            return f"let the broker know {known}"
        return (
            'set `username = "NAME"` under `[mqtt]`, then set `password_file = "FILE"`'
            " under `[mqtt]`, as the broker knows them"
        )
    if "before connack" in words and not mqtt.ca_file:
        return 'set `ca_file = "FILE"` under `[mqtt]`: the broker may want TLS'
    if "before connack" in words and not mqtt.cert_file:
        return (
            'set `cert_file = "FILE"` under `[mqtt]`, then set `key_file = "KEY"` under'
            " `[mqtt]`: the broker may want a certificate of ours"
        )
    if "before connack" in words:
        own = context.paths.of(mqtt.cert_file)
        return f"let the broker trust the authority of {own} (mosquitto: `cafile`)"
    return f"look at the broker's log for client {client}"


def _topics(context: Context) -> Iterable[Found]:
    denied = context.broker.denied
    for topic, reason in denied.items():
        fix = (
            f"allow it in the broker's access list: add `topic read {topic}` for"
            " this device"
        )
        yield bad(f"{topic}: {reason}", fix, topic)
    if not denied:
        yield good("every topic that we read is allowed")


def _packet(context: Context) -> Iterable[Found]:
    most = context.broker.packet_bytes_max
    if most < ENVELOPE_BYTES_MAX + ROOM:
        said = (
            f"the broker takes {most} bytes, a message may have"
            f" {ENVELOPE_BYTES_MAX + ROOM}"
        )
        fix = f"set `max_packet_size {MQTT_BYTES_MAX}` in the broker's configuration"
        yield bad(said, fix)
    else:
        yield good(f"the broker takes {most} bytes")


TLS: Final = (
    "tls.files",
    "tls.key",
    "tls.expiry",
    "tls.handshake",
    "tls.ca",
    "tls.name",
    "tls.server",
)
WAY: Final = ("config.parse", "broker.resolve", "broker.port")
BEFORE_TLS: Final = (
    Check(
        "broker.enrolment",
        "whether what `enrolled = true` under `[mqtt]` asks for is installed",
        "there is no broker: nothing is sent",
        "`sluicegate provision begin`, `sluicectl enrol answer`, `provision install`",
        _installed,
        ("config.parse",),
    ),
    Check(
        "broker.password",
        "the file of the password",
        "we are not let in",
        "`chmod 600`, or write it",
        _password,
        ("config.parse",),
    ),
    Check(
        "broker.resolve",
        "whether the broker's name has an address",
        "nothing is sent",
        "set `host` under `[mqtt]`, or mend DNS",
        _resolve,
        ("config.parse", "broker.enrolment"),
        LOOK_UP_S,
    ),
    Check(
        "broker.port",
        "whether the broker's port answers",
        "nothing is sent",
        "start the broker, or set `port` under `[mqtt]`",
        _port,
        ("config.parse", "broker.resolve"),
    ),
)
AFTER_TLS: Final = (
    Check(
        "broker.accept",
        "whether the broker lets us in",
        "nothing is sent",
        "make an account for the device at the broker",
        _accept,
        (*WAY, *TLS, "broker.password"),
    ),
    Check(
        "broker.topics",
        "whether we may read the topics that we need",
        "receipts or policies do not come: data wait for ever",
        "allow the topics that are named in the broker's access list",
        _topics,
        ("broker.accept",),
    ),
    Check(
        "broker.packet",
        "the largest packet that the broker takes",
        "large messages stay here",
        "raise `max_packet_size` of the broker",
        _packet,
        ("broker.accept",),
    ),
)
