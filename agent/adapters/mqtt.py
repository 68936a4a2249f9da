"""MQTT 5 through aiomqtt: one connection, with every answer of the broker looked at.

aiomqtt 2.5 waits for the PUBACK and drops its reason code (``Client._on_publish``), so
that a message denied by an access list would count as delivered. The subclass here
takes the code where paho hands it over. Acknowledgements of incoming messages are sent
by hand (paho ``manual_ack``): a command is gone from the broker only when it is done.
Reconnecting is the runtime's; a lost link stays lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.adapters.files import check_regular
from agent.adapters.mqtt_bounds import bound, enter, hang_up
from agent.adapters.tls_keys import prepare
from agent.config import is_loopback
from agent.errors import BadInput, Refused, Unavailable
from agent.limits import MQTT_BYTES_MAX, SEND_WINDOW
from agent.records import Incoming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agent.records import Outgoing

WHAT: Final = "mqtt"
PACKET_TOO_LARGE: Final = 0x95
HEADER_BYTES_MAX: Final = 16  # fixed header, packet identifier, property lengths
RECEIVE_MAX: Final = 32  # unacknowledged incoming messages, told to the broker
# Beyond it messages of a flood are discarded. More than RECEIVE_MAX: mosquitto 2.0.11
# was seen to send hundreds at once in spite of it.
INCOMING_MAX: Final = 2048
ANSWER_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 10.0
# One line for each message of a flood would let a broker fill the journal; what is
# wrong with a connection is told by our own errors.
_QUIET: Final = logging.getLogger("sluicegate.mqtt")
_QUIET.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Where the broker is and who we are; paths are files of the owner."""

    host: str
    port: int
    client_id: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""
    keepalive_s: int = 30
    allow_plaintext: bool = False
    clean_start: bool = False
    session_expiry_s: int = 86_400  # how long the broker keeps commands for us
    will: Outgoing | None = None
    message_bytes_max: int = MQTT_BYTES_MAX  # of incoming messages


class _Client(aiomqtt.Client):
    """aiomqtt's client that keeps what the broker said."""

    connack: Properties | None = None
    session_present = False
    reason = "closed"

    def attach(self) -> None:
        """Prepare: manual acknowledgement, and whoever waits is told of a loss."""
        self.answers: dict[int, asyncio.Future[int]] = {}
        self._client.manual_ack_set(True)
        self._disconnected.add_done_callback(self._lost)

    def _lost(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, aiomqtt.MqttError):
            self.reason = str(error)  # what the socket or TLS said
        self._not_connected(self.reason)
        for answer in self.answers.values():
            if not answer.done():
                answer.set_exception(
                    Unavailable(WHAT, f"connection lost: {self.reason}")
                )

    def _not_connected(self, reason: str) -> None:
        # aiomqtt itself waits out its timeout when the peer hangs up before CONNACK,
        # as a broker does that refuses our certificate (TLS 1.3).
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(reason))

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done as soon as the connection is gone."""
        return self._disconnected

    @property
    def below(self) -> paho.Client:
        """The paho client below."""
        return self._client

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.connack = properties
        self.session_present = bool(flags.session_present)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        # paho says "Unspecified error" where the broker sent no DISCONNECT at all
        said = flags.is_disconnect_packet_from_server
        self.reason = f"the broker says: {reason_code}" if said else "the link broke"
        self._not_connected(f"{self.reason} (before CONNACK)")
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: paho.Client,  # noqa: ARG002  # paho's signature
        userdata: object,  # noqa: ARG002  # paho's signature
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,  # noqa: ARG002  # paho's signature
    ) -> None:
        answer = self.answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code.value)


class MqttLink:
    """Implements ``agent.ports.Link``. Made by `connect`."""

    def __init__(self, client: _Client, options: MqttOptions) -> None:
        """Take a connected client."""
        self._client = client
        self._options = options
        self.window = min(SEND_WINDOW, _told(client.connack, "ReceiveMaximum", 65_535))
        self.packet_bytes_max = _told(client.connack, "MaximumPacketSize", 2**28 - 1)
        self.session_present = client.session_present
        self._is_ill = False
        self.oversize = 0  # incoming messages dropped for their size; written here only

    async def publish(self, message: Outgoing) -> int:
        """Publish at QoS 1 and return the broker's reason code (0 = taken).

        A message larger than the broker's Maximum Packet Size is not sent and gives
        0x95 (sending it would cost the connection, MQTT 5.0 section 3.2.2.3.6).
        Unavailable: the connection is lost, and the broker may or may not have it.
        """
        if _packet_bytes(message) > self.packet_bytes_max:
            return PACKET_TOO_LARGE
        loop = asyncio.get_running_loop()
        try:
            info = self._client.below.publish(
                message.topic,
                message.body,
                qos=1,
                retain=message.retain,
                properties=_properties(PacketTypes.PUBLISH, message),
            )
        except ValueError as error:  # a topic with a wildcard, or too long
            raise Refused("topic", str(error)) from None
        if info.rc != paho.MQTT_ERR_SUCCESS or self._client.lost.done():
            reason = f"publish: {paho.error_string(info.rc)}"
            raise Unavailable(WHAT, reason)
        answer: asyncio.Future[int] = loop.create_future()
        self._client.answers[info.mid] = answer
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            reason = f"no answer to a publish in {ANSWER_TIMEOUT_S:.0f} s"
            raise self._ill(reason) from None
        finally:
            del self._client.answers[info.mid]

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe at QoS 1.

        Raises:
            Refused: the broker denies a topic.
            Unavailable: the connection is lost.
        """
        try:
            codes = await self._client.subscribe(
                [(topic, SubscribeOptions(qos=1)) for topic in topics]
            )
        except aiomqtt.MqttError as error:
            raise self._ill(f"subscribe: {error}") from None
        if len(codes) != len(topics):
            said = f"the broker answers {len(codes)} topics of {len(topics)}"
            raise self._ill(f"subscribe: {said}")
        for topic, code in zip(topics, codes, strict=True):
            if isinstance(code, ReasonCode) and code.is_failure:
                raise Refused("subscribe", f"{topic}: {code}")

    async def messages(self) -> AsyncGenerator[Incoming, None]:
        """Yield incoming messages; ends by Unavailable when the connection is lost.

        Larger ones than allowed are acknowledged, dropped and counted unseen.
        """
        try:
            async for message in self._client.messages:
                if len(message.payload) > self._options.message_bytes_max:
                    self.oversize += 1
                    self._client.below.ack(message.mid, message.qos)
                else:
                    yield _incoming(message)
        except aiomqtt.MqttError as error:
            reason = self._client.reason if self._client.lost.done() else str(error)
            raise Unavailable(WHAT, f"connection lost: {reason}") from None

    async def acknowledge(self, message: Incoming) -> None:
        """Send the PUBACK of ``message``; Unavailable where the link is lost."""
        code = self._client.below.ack(message.number, message.qos)
        if code != paho.MQTT_ERR_SUCCESS:
            raise Unavailable(WHAT, f"acknowledge: {paho.error_string(code)}")

    async def lost(self) -> str:
        """Wait until the connection is gone; return why."""
        await asyncio.wait([self._client.lost])
        return self._client.reason

    async def close(self) -> None:
        """Disconnect with reason 0, which discards the last will.

        A broker that did not do its part is left without a goodbye: what is retained of
        us says online, and we may not come to say more.
        """
        if not self._is_ill:
            with contextlib.suppress(aiomqtt.MqttError):  # it is gone either way
                await self._client.__aexit__(None, None, None)
        await hang_up(self._client.below)

    def _ill(self, reason: str) -> Unavailable:
        self._is_ill = True
        return Unavailable(WHAT, reason)


async def connect(options: MqttOptions) -> MqttLink:
    """Connect to the broker.

    Raises:
        BadInput: plaintext beyond this machine, or a certificate file that is none.
        Unavailable: the broker is away or does not let us in; the reason says which.
    """
    client = _client(options)
    client.attach()
    bound(client.below)
    try:
        await enter(client)
    except (aiomqtt.MqttError, ValueError) as error:
        await hang_up(client.below)
        raise Unavailable(WHAT, f"{options.host}:{options.port}: {error}") from None
    return MqttLink(client, options)


def check(options: MqttOptions) -> None:
    """Return where TLS can be had with these files, else BadInput."""
    _tls(options)


def _client(options: MqttOptions) -> _Client:
    will = options.will
    properties = _new_properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = options.session_expiry_s
    properties.ReceiveMaximum = RECEIVE_MAX
    # the broker drops what is larger (3.1.2.11.4); topic and properties come on top
    properties.MaximumPacketSize = options.message_bytes_max + 4096
    client = _Client(
        options.host,
        options.port,
        identifier=options.client_id,
        username=options.username or None,
        password=options.password or None,
        logger=_QUIET,
        protocol=aiomqtt.ProtocolVersion.V5,
        will=None
        if will is None
        else aiomqtt.Will(
            will.topic,
            will.body,
            qos=1,
            retain=will.retain,
            properties=_properties(PacketTypes.WILLMESSAGE, will),
        ),
        timeout=CONNECT_TIMEOUT_S,
        keepalive=options.keepalive_s,
        clean_start=options.clean_start,
        max_queued_incoming_messages=INCOMING_MAX,
        max_inflight_messages=SEND_WINDOW,
        properties=properties,
        tls_context=_tls(options),
    )
    client.pending_calls_threshold = SEND_WINDOW
    return client


def _tls(options: MqttOptions) -> ssl.SSLContext | None:
    if not options.ca_file:
        if not (options.allow_plaintext or is_loopback(options.host)):
            raise BadInput(
                "",
                "mqtt.host",
                "a broker beyond this machine needs TLS (MIITM art. 17)",
                "set mqtt.ca_file, cert_file and key_file",
            )
        return None
    for name in (options.ca_file, options.cert_file, options.key_file):
        if name:
            check_regular(Path(name))
    if options.cert_file:  # before the context: it asks then who can do what
        prepare(Path(options.key_file or options.cert_file))
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(options.ca_file, "", _reason(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.cert_file:
        try:
            context.load_cert_chain(options.cert_file, options.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise BadInput(options.cert_file, "", _reason(error)) from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no usable certificate or key: {error.reason or 'unreadable'}"
    return error.strerror or "unreadable"


def _properties(packet: int, message: Outgoing) -> Properties:
    properties = _new_properties(packet)
    if message.content_type:
        properties.ContentType = message.content_type
    if message.properties:
        properties.UserProperty = list(message.properties)
    return properties


def _new_properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho has no types here


def _packet_bytes(message: Outgoing) -> int:
    """Return an upper bound of the PUBLISH packet's length."""
    texts = [message.topic, message.content_type]
    texts += [text for pair in message.properties for text in pair]
    return (
        HEADER_BYTES_MAX
        + len(message.body)
        + sum(len(text.encode()) + 3 for text in texts)
    )


def _incoming(message: aiomqtt.Message) -> Incoming:
    properties = message.properties
    return Incoming(
        message.topic.value,
        bytes(message.payload),
        message.retain,
        message.qos,
        message.mid,
        getattr(properties, "ContentType", ""),
        tuple(
            (str(key), str(value))
            for key, value in getattr(properties, "UserProperty", ())
        ),
    )


def _told(connack: Properties | None, name: str, default: int) -> int:
    value = getattr(connack, name, default)
    return value if isinstance(value, int) and value > 0 else default
