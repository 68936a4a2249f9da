"""Connections of a proxy: plain sockets by the shortest way, TLS through asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from typing import TYPE_CHECKING, Final, Protocol

from agent.adapters.modbus.proxy_loop import READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_loop import ProxyLoop

RECEIVE_BYTES: Final = 4096  # some 15 of the largest ADUs
KEEPALIVE_S: Final = 10  # a peer without power says no goodbye
ENDED: Final = select.EPOLLHUP | select.EPOLLERR


class End(Protocol):
    """Who is at our end of a connection."""

    @property
    def heard(self) -> Callable[[bytes], bool]:
        """Return what takes bytes, and says False where the connection is to end."""

    def lost(self) -> None:
        """Take note that the connection is gone; called once."""

    def full(self, is_full: bool) -> None:
        """Take note that the peer does not read, or reads again."""


class Pipe(Protocol):
    """A connection. ``abort`` and ``close`` are followed by ``End.lost``."""

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""

    def pause(self, wait: bool) -> None:
        """Stop reading, or go on."""

    def abort(self) -> None:
        """Close at once."""

    def close(self) -> None:
        """Close once all is sent."""


def prepare(sock: socket.socket) -> None:
    """Send at once, and have the kernel notice a peer that went without a word."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class SocketPipe:
    """A plain connection."""

    def __init__(
        self,
        loop: ProxyLoop,
        sock: socket.socket,
        made: Callable[[SocketPipe], End],
        unsent_max: int,
    ) -> None:
        """``made`` is called with the connection, and returns its end.

        ``unsent_max``: bytes that wait for the peer before ``End.full``.
        """
        sock.setblocking(False)
        prepare(sock)
        self._loop = loop
        self._sockets = sockets = loop.sockets
        self._sock = sock
        self._receive, self._send = sock.recv, sock.send
        self._unsent = b""
        self._max = unsent_max
        self._full = False
        self._paused = False
        self._closing = False
        self._gone = False
        self._end = made(self)
        self._heard = self._end.heard
        sockets.add(sock.fileno(), self._event)

    def _event(self, event: int) -> None:
        fine = False
        try:
            if event == READ:  # mostly
                self._read()
            else:
                self._other(event)
            fine = True
        finally:
            if not fine:  # a bug: nobody knows what was understood, so it ends here
                self.abort()

    def _other(self, event: int) -> None:
        if event & WRITE:
            self._flush()
        if event & ENDED and self._paused:
            self.abort()
        elif event & (READ | ENDED) and not self._gone:
            self._read()

    def _read(self) -> None:
        try:
            data = self._receive(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or not self._heard(data):
            self.abort()

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        if self._gone or self._closing:
            return
        if self._unsent:
            sent = 0
        else:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.abort()
                return
            if sent == len(data):
                return
        self._unsent += data[sent:]
        self._waits()
        if len(self._unsent) > self._max and not self._full:
            self._full = True
            self._end.full(True)

    def _flush(self) -> None:
        try:
            sent = self._send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            return
        if self._closing:
            self.abort()
            return
        self._waits()
        if self._full:
            self._full = False
            self._end.full(False)

    def _waits(self) -> None:
        """Wait for what we can do something about."""
        reads = 0 if self._paused or self._closing else READ
        writes = WRITE if self._unsent else 0
        self._sockets.change(self._sock.fileno(), reads | writes)

    def pause(self, wait: bool) -> None:
        """Stop reading, or go on."""
        if self._paused != wait and not self._gone:
            self._paused = wait
            self._waits()

    def abort(self) -> None:
        """Close at once."""
        if not self._gone:
            self._gone = True
            self._sockets.remove(self._sock.fileno())
            self._sock.close()
            self._loop.call_soon(self._end.lost)

    def close(self) -> None:
        """Close once all is sent."""
        if not self._unsent:
            self.abort()
        elif not self._gone:
            self._closing = True
            self._waits()


class TlsPipe(asyncio.BufferedProtocol):
    """A connection through asyncio's TLS. It exists once the handshake is done."""

    def __init__(self, made: Callable[[TlsPipe], End | None], unsent_max: int) -> None:
        """Take what a ``SocketPipe`` takes; ``made`` returns None to refuse it."""
        self._made = made
        self._max = unsent_max
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._end: End | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(self._max)
        self._transport = transport
        self._end = self._made(self)
        if self._end is None:
            transport.abort()

    def certificate(self) -> bytes:
        """Return the peer's certificate, DER; b"" where it showed none."""
        assert self._transport is not None
        secured = self._transport.get_extra_info("ssl_object")
        return secured.getpeercert(binary_form=True) or b""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what comes."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what came."""
        if self._end is not None and not self._end.heard(bytes(self._buffer[:nbytes])):
            self.abort()

    def pause_writing(self) -> None:
        """Tell the end."""
        if self._end is not None:
            self._end.full(True)

    def resume_writing(self) -> None:
        """Tell the end."""
        if self._end is not None:
            self._end.full(False)

    def eof_received(self) -> bool:
        """Close our side too: who went cannot read an answer."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the end."""
        del exc
        if self._end is not None:
            self._end.lost()

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause(self, wait: bool) -> None:
        """Stop reading, or go on."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if wait:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()
