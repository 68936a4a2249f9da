"""The one connection to the device: TCP, TLS, RTU over TCP, or a serial line.

It is made when the link starts and made again when it breaks: at once the first time,
then after pauses that double. The core says what to do with requests meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import serial

from agent.adapters.modbus.proxy_pipes import SocketPipe, TlsPipe
from agent.adapters.modbus.proxy_tls import client_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.link import LinkConfig
    from agent.adapters.modbus.proxy_core import LinkCore
    from agent.adapters.modbus.proxy_loop import ProxyLoop
    from agent.adapters.modbus.proxy_pipes import Pipe
    from agent.adapters.modbus.proxy_settings import ProxyLink

BUFFER_BYTES: Final = 4096
STEADY_S: Final = 1.0  # a connection that lasted so long was one
UNSENT_BYTES_MAX: Final = 16_384  # a device that takes nothing any more


class DeviceSide:
    """Our end of the connection: bytes go to the core, its end to the keeper."""

    def __init__(self, core: LinkCore, lost: asyncio.Event) -> None:
        """``lost`` is set when the connection ends; ``pipe`` is given later."""
        self.heard = core.said
        self._lost = lost
        self.pipe: Pipe | None = None

    def full(self, is_full: bool) -> None:
        """A device that does not read 16 KiB of requests is none."""
        if is_full and self.pipe is not None:
            self.pipe.abort()

    def lost(self) -> None:
        """Tell the keeper."""
        self._lost.set()


def reason(error: Exception) -> str:
    """Return why a connection could not be made, without names of secrets."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    return type(error).__name__


class SerialPipe:
    """A serial line in the event loop; whole ADUs in, whatever arrives out."""

    def __init__(
        self, config: LinkConfig, core: LinkCore, lost: Callable[[], None]
    ) -> None:
        """Open the line; OSError (serial.SerialException is one) where that fails."""
        self._line = serial.Serial(
            config.device,
            baudrate=config.baudrate,
            parity=config.parity,
            stopbits=config.stopbits,
            timeout=0,
            exclusive=True,
        )
        self._fd = self._line.fileno()
        self._core = core
        self._lost = lost
        self._unsent = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        self._unsent += data
        self._writable()

    def _writable(self) -> None:
        try:
            sent = os.write(self._fd, self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not self._core.said(data):
            self.abort()

    def pause(self, wait: bool) -> None:
        """A line cannot be held: it is read in any case."""

    def close(self) -> None:
        """Close the line."""
        self.abort()

    def abort(self) -> None:
        """Close the line."""
        if self._line.is_open:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._line.close()
            self._lost()


class DeviceKeeper:
    """Makes the connection, and makes it again."""

    def __init__(self, link: ProxyLink, core: LinkCore) -> None:
        """BadInput where a file of the device's TLS cannot be used."""
        self.loop: ProxyLoop | None = None  # in the proxies' thread
        self.problem = ""  # why there is no connection
        self._link = link
        self._core = core
        self._pipe: Pipe | None = None
        self._given_up = False  # by us
        tls = link.device_tls
        self._tls: ssl.SSLContext | None = client_context(tls) if tls else None
        core.reset = self.reset

    def reset(self) -> None:
        """Give up the connection; the keeper makes a new one."""
        if self._pipe is not None:
            self._given_up = True
            self._pipe.abort()

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        limits, core = self._link.limits, self._core
        loop = asyncio.get_running_loop()
        pause_s = limits.backoff_s_min
        try:
            while True:
                lost = asyncio.Event()
                began_s, replies = loop.time(), core.counts.round_trips
                self._given_up = False
                if await self._connect(lost):
                    await lost.wait()
                    self._pipe = None
                    # A device that takes a connection and closes it is not there. One
                    # that closes an idle connection is: requests wait for the new one.
                    lasted = self._given_up or loop.time() - began_s > STEADY_S
                    if lasted or core.counts.round_trips > replies:
                        pause_s = limits.backoff_s_min
                        core.down(retrying=True)
                        continue
                core.down(retrying=False)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, limits.backoff_s_max)
        finally:
            self.reset()

    async def _connect(self, lost: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(self._link.device.timeout_s):
                self._pipe = await self._open(lost)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError; pyserial
            self.problem = f"device: {reason(error)}"
            return False
        self.problem = ""
        self._core.to_device = self._pipe.write
        self._core.up()
        return True

    async def _open(self, lost: asyncio.Event) -> Pipe:
        device, core = self._link.device, self._core
        if device.kind == "rtu":
            return SerialPipe(device, core, lost.set)
        side = DeviceSide(core, lost)
        loop = asyncio.get_running_loop()
        if self._tls is not None and self._link.device_tls is not None:
            _, tls = await loop.create_connection(
                lambda: TlsPipe(lambda _: side, UNSENT_BYTES_MAX),
                device.host,
                device.port,
                ssl=self._tls,
                server_hostname=self._link.device_tls.server_name or device.host,
            )
            side.pipe = tls
            return tls
        assert self.loop is not None
        sock = await self._socket(device)
        side.pipe = SocketPipe(self.loop, sock, lambda _: side, UNSENT_BYTES_MAX)
        return side.pipe

    @staticmethod
    async def _socket(device: LinkConfig) -> socket.socket:
        """Return a connection to the first address that takes one."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            device.host, device.port, type=socket.SOCK_STREAM
        )
        failed: OSError = OSError("no address")
        for family, kind, proto, _, address in found:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                failed = error
                sock.close()
            except asyncio.CancelledError:
                sock.close()
                raise
            else:
                return sock
        raise failed
