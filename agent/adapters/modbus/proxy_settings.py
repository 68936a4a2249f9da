"""What a proxied link is told: where to listen, where the device is, and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import socket

    from agent.adapters.modbus.link import LinkConfig

IN_FLIGHT_MAX: Final = (
    16  # Modbus Messaging on TCP/IP V1.0b, 4.3.1: NumberMaxOfServerTransaction
)
CLIENTS_MAX: Final = 1024
QUEUED_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The listening side of Modbus/TCP Security: both sides show certificates.

    PEM files. A master must show a certificate of ``ca_file``; the role in it (object
    1.3.6.1.4.1.50316.802.1) goes to the firewall.
    """

    cert_file: str
    key_file: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The device's side. The device must show a certificate of ``ca_file``.

    ``server_name``: the name in the device's certificate, "" where it is the host that
    we connect to. ``cert_file`` and ``key_file``: what we show, "" for nothing.
    """

    ca_file: str
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Bounds of one link; each is met by closing or answering, and counted."""

    clients: int = 64  # connections, those in a TLS handshake included
    clients_an_address: int = 32  # of those
    queued_a_client: int = 16  # beyond them: exception 6, busy
    queued: int = 256  # of all clients together; beyond them: exception 6
    # A request that waited so long is answered with busy and not sent: its master has
    # given up, and a write that comes late is worse than none.
    stale_s: float = 2.0
    partial_s: float = 5.0  # from the first byte of an ADU to its last
    idle_s: float = 3600.0  # without a byte; masters may poll slowly
    handshake_s: float = 10.0  # TLS
    unsent_bytes: int = 65_536  # replies a client does not read: reading stops, too
    backoff_s_min: float = 0.1  # between two attempts to connect to the device
    backoff_s_max: float = 5.0
    silences: int = 3  # requests in a row without an answer: a new connection


@dataclass(frozen=True, slots=True)
class ProxyLink:
    """One device, or line of devices, that we stand in front of.

    ``device.timeout_s``: how long we wait for a reply, and for a connection.
    ``device.pause_s`` is the poller's; ours is ``pause_s``, silence between a reply and
    the next request (on serial lines at least 3.5 characters).
    """

    name: str
    number: int  # of the link, as in ``PairBatch.link``
    device: LinkConfig
    listen_host: str = "127.0.0.1"
    listen_port: int = 1502  # 0: any; ``ModbusProxy.port`` tells which
    handed: socket.socket | None = None  # listens there already; ours to close
    # Requests under way to the device at once. Many devices answer only the first of
    # several; reads alone are pipelined, a write always travels alone.
    in_flight: int = 1
    pause_s: float = 0.0
    # What happens while no policy with a firewall decides. Writes are always refused.
    without_policy: Literal["refuse", "pass-reads"] = "refuse"
    listen_tls: ServerTls | None = None
    device_tls: ClientTls | None = None
    limits: ProxyLimits = field(default_factory=ProxyLimits)

    def __post_init__(self) -> None:
        """Refuse numbers that no configuration may hold."""
        limits = self.limits
        if not 1 <= self.in_flight <= IN_FLIGHT_MAX:
            raise ValueError(f"{self.name}: in_flight is 1 to {IN_FLIGHT_MAX}")
        if not 1 <= limits.clients <= CLIENTS_MAX:
            raise ValueError(f"{self.name}: clients is 1 to {CLIENTS_MAX}")
        if not 1 <= limits.queued_a_client <= limits.queued <= QUEUED_MAX:
            raise ValueError(f"{self.name}: queued is at most {QUEUED_MAX}")
        if self.device.kind != "tcp" and self.in_flight != 1:
            raise ValueError(f"{self.name}: RTU knows one request at a time")
        if self.device_tls is not None and self.device.kind == "rtu":
            raise ValueError(f"{self.name}: a serial line has no TLS")
