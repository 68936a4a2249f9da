"""The collector's MQTT 5 connection: acknowledged by hand, answers looked at.

aiomqtt with paho's manual acknowledgement: a message is gone from the broker only when
the ledger has it. The session outlives the connection, so what comes meanwhile waits.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fleet.errors import BadInput, Unavailable
from fleet.link_bounds import bound, enter, hang_up
from protocols.signed import SIGNED_BYTES_MAX

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence

    import paho.mqtt.client as paho

WHAT: Final = "mqtt"
RECEIVE_MAX: Final = 400  # unacknowledged messages: two groups
QUEUE_MAX: Final = 4096
SESSION_S: Final = 7 * 86_400
CONNECT_TIMEOUT_S: Final = 10.0
KEEPALIVE_S: Final = 30
_QUIET: Final = logging.getLogger("sluicectl.mqtt")
_QUIET.setLevel(logging.CRITICAL)  # it has a line for each message of a flood


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Where the broker is; paths are files of the operator."""

    host: str
    port: int
    client_id: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    allow_plaintext: bool = False


def parse_broker(text: str) -> tuple[str, int]:
    """Return (host, port) of ``host:port`` or ``[v6]:port``; BadInput otherwise."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5):
        raise BadInput("", "--broker", "is not host:port")
    if not 0 < int(port) < 65_536:
        raise BadInput("", "--broker", "no such port")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Client(aiomqtt.Client):
    """aiomqtt's client, with paho's answers where the collector needs them."""

    def attach(self) -> None:
        """Acknowledge by hand, and remember what the broker refuses."""
        self.refused = ""
        self._client.manual_ack_set(True)
        self._disconnected.add_done_callback(_heard)

    @property
    def below(self) -> paho.Client:
        """The paho client below."""
        return self._client

    def _on_publish(
        self,
        client: paho.Client,
        userdata: object,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        # aiomqtt drops the code: a receipt that an access list denies would count
        if reason_code.is_failure:
            self.refused = f"the broker refuses receipts: {reason_code}"
        super()._on_publish(client, userdata, mid, reason_code, properties)


class BrokerLink:
    """An established connection."""

    def __init__(self, client: _Client) -> None:
        """Take a connected client."""
        self._client = client

    @property
    def refused(self) -> str:
        """Return what the broker refused last, "" where nothing."""
        return self._client.refused

    async def messages(self) -> AsyncIterator[aiomqtt.Message]:
        """Yield messages; Unavailable when the connection is lost."""
        try:
            async for message in self._client.messages:
                yield message
        except aiomqtt.MqttError as error:
            raise Unavailable(WHAT, str(error.__cause__ or error)) from None

    async def subscribe(self, filters: Sequence[str], *, retained: bool = True) -> None:
        """Subscribe at QoS 1; Unavailable where the broker denies it.

        ``retained``: what the broker keeps comes at once, else only what is new.
        """
        handling = (
            SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            if retained
            else SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        try:
            codes = await self._client.subscribe(
                [
                    (one, SubscribeOptions(qos=1, retainHandling=handling))
                    for one in filters
                ]
            )
        except aiomqtt.MqttError as error:
            raise Unavailable(WHAT, f"subscribe: {error}") from None
        if len(codes) != len(filters):
            said = f"the broker answers {len(codes)} topics of {len(filters)}"
            raise Unavailable(WHAT, f"subscribe: {said}")
        for one, code in zip(filters, codes, strict=True):
            if isinstance(code, ReasonCode) and code.is_failure:
                raise Unavailable(WHAT, f"{one}: {code}")

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask no more for these; Unavailable when the connection is lost."""
        try:
            await self._client.unsubscribe(list(filters))
        except aiomqtt.MqttError as error:
            raise Unavailable(WHAT, f"unsubscribe: {error}") from None

    async def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker's answer."""
        try:
            await self._client.publish(topic, body, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise Unavailable(WHAT, f"publish: {error}") from None

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Send the PUBACK; what a lost link does not take comes again."""
        self._client.below.ack(message.mid, message.qos)

    async def close(self) -> None:
        """Disconnect; the session stays."""
        with contextlib.suppress(aiomqtt.MqttError):
            await self._client.__aexit__(None, None, None)
        await hang_up(self._client.below)


async def connect(
    options: BrokerOptions, *, session_s: int = SESSION_S, queue_max: int = QUEUE_MAX
) -> BrokerLink:
    """Connect; BadInput for files and plaintext, Unavailable for the broker.

    ``session_s``: how long the broker keeps what comes meanwhile; 0: a new session that
    ends with the connection. ``queue_max``: messages held here; more are discarded.
    """
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
    properties.SessionExpiryInterval = session_s
    properties.ReceiveMaximum = RECEIVE_MAX
    properties.MaximumPacketSize = SIGNED_BYTES_MAX + 4096
    client = _Client(
        options.host,
        options.port,
        identifier=options.client_id,
        logger=_QUIET,
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=CONNECT_TIMEOUT_S,
        keepalive=KEEPALIVE_S,
        clean_start=session_s == 0,
        max_queued_incoming_messages=queue_max,
        properties=properties,
        tls_context=tls(options),
    )
    client.attach()
    bound(client.below)
    try:
        await enter(client)
    except (aiomqtt.MqttError, ValueError) as error:
        await hang_up(client.below)
        raise Unavailable(WHAT, f"{options.host}:{options.port}: {error}") from None
    return BrokerLink(client)


def _heard(lost: asyncio.Future[None]) -> None:
    """Look at why it was lost: asyncio logs, with a traceback, what nobody looks at."""
    if not lost.cancelled():
        lost.exception()


def tls(options: BrokerOptions) -> ssl.SSLContext | None:
    """Return the TLS context; None for plaintext, which only loopback may have."""
    if not options.ca_file:
        if not (options.allow_plaintext or is_loopback(options.host)):
            raise BadInput(
                "",
                "--broker",
                "a broker beyond this machine needs TLS",
                "--ca, --cert and --key, or --allow-plaintext",
            )
        return None
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
