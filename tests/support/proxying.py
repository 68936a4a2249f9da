"""What a Modbus proxy stands between: a device that records, and a master of bytes.

Both frame by hand, so that no code under test judges itself. The device writes down
every ADU and everything that is none: a proxy must never send it half or wrong ones.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_settings import ProxyLimits, ProxyLink
from agent.firewall.decision import Decision
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from agent.adapters.modbus.proxy_counts import Counts
    from agent.firewall.decision import Caller

KEPT = 1000
PATIENCE_S = 60.0  # a safety net for a loaded machine; nothing waits so long
ALLOW = Decision(Verdict.ALLOWED, 0, Reason.NONE, forward=True, exception=0)
DENY = Decision(Verdict.REFUSED, 1, Reason.DENIED, forward=False, exception=1)


def adu(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def read(address: int, count: int = 1, function: int = 3) -> bytes:
    return struct.pack(">BHH", function, address, count)


def write(address: int, value: int) -> bytes:
    return struct.pack(">BHH", 6, address, value)


def registers(pdu: bytes) -> bytes:
    """Answer as a device does whose every register holds its own address."""
    function, address, count = struct.unpack_from(">BHH", pdu)
    if function in {3, 4}:
        words = [(address + n) & 0xFFFF for n in range(count)]
        return struct.pack(f">BB{count}H", function, 2 * count, *words)
    if function in {5, 6}:
        return pdu
    if function in {15, 16}:
        return pdu[:5]
    return bytes([function | 0x80, 1])


class Device:
    """A Modbus TCP device on 127.0.0.1 that records what it is sent.

    ``answer(pdu)`` is its reply's PDU, None for silence. ``single``: a second
    connection is closed at once while there is a first. ``raw(tid, unit, pdu)``, where
    given, returns the bytes to send instead.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None] = registers,
        *,
        single: bool = False,
        port: int = 0,
        raw: Callable[[int, int, bytes], bytes] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.raw = raw
        self.adus: list[tuple[int, bytes]] = []  # unit, PDU
        self.wrong: list[bytes] = []  # what is no ADU, or half of one
        self.connections = 0
        self.refused = 0
        self.at_once = 0
        self.at_once_most = 0
        self._single = single
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._single and self._open:
                self.refused += 1
                sock.close()
                continue
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        at_first = sock
        data = b""
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            while more := sock.recv(4096):
                data += more
                for tid, unit, pdu in self._whole(data):
                    data = data[7 + len(pdu) :]
                    self._one(sock, tid, unit, pdu)
        except OSError:
            pass
        finally:
            if data:
                self.wrong.append(data)
            self._open.discard(at_first)
            sock.close()

    def _whole(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        while len(data) >= 7:
            tid, protocol, length, unit = struct.unpack_from(">HHHB", data)
            if protocol or not 2 <= length <= 254:
                self.wrong.append(data)
                raise OSError
            if len(data) < 6 + length:
                return
            yield tid, unit, data[7 : 6 + length]
            data = data[6 + length :]

    def _one(self, sock: socket.socket, tid: int, unit: int, pdu: bytes) -> None:
        with self._changed:
            self.adus.append((unit, pdu))
            self._changed.notify_all()
        reply = self.answer(pdu)
        if self.raw is not None:
            sock.sendall(self.raw(tid, unit, pdu))
        elif reply is not None:
            sock.sendall(adu(tid, unit, reply))

    def wait(self, count: int) -> None:
        """Wait until ``count`` ADUs have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.adus) >= count, PATIENCE_S)

    def say(self, data: bytes) -> None:
        """Send bytes that nobody asked for, on every connection."""
        for sock in [*self._open]:
            sock.sendall(data)

    def die(self) -> None:
        """Stop listening, and cut every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in [*self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()


class Client:
    """A master of bytes."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._sock = tls.wrap_socket(self._sock, server_hostname="localhost")
        self._tid = 0

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self) -> tuple[int, int, bytes]:
        """Return the next ADU: tid, unit, PDU; EOFError where there is none."""
        tid, protocol, length, unit = struct.unpack(">HHHB", self._exactly(7))
        assert protocol == 0
        return tid, unit, self._exactly(length - 1)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self._sock.recv(count - len(data))
            except ConnectionError:
                more = b""
            if not more:
                raise EOFError(data.hex())
            data += more
        return data

    def until_end(self) -> bytes:
        """Return all that comes until the connection ends."""
        data = b""
        try:
            while more := self._sock.recv(4096):
                data += more
        except ConnectionError:
            pass
        return data

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """Send a request and return the PDU of its reply."""
        self._tid = (self._tid + 1) & 0xFFFF
        self.send(adu(self._tid, unit, pdu))
        tid, replied, reply = self.receive()
        assert (tid, replied) == (self._tid, unit)
        return reply

    def ended(self) -> bool:
        """Wait for the end of the connection; False where something else comes."""
        try:
            return self._sock.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Asking:
    """A judge that asks a function, and remembers what it was told last."""

    def __init__(self, decide: Callable[[Caller, int, object], Decision]) -> None:
        self._decide = decide
        self.judged: deque[tuple[Caller, int, object]] = deque(maxlen=KEPT)
        self.learnt: deque[object] = deque(maxlen=KEPT)

    def judge(
        self,
        caller: Caller,
        _: int,
        unit: int,
        request: object,
        *__: object,
        **___: object,
    ) -> Decision:
        self.judged.append((caller, unit, request))
        return self._decide(caller, unit, request)

    def answered(self, _: int, __: int, ___: object, reply: object) -> None:
        self.learnt.append(reply)


def allowing() -> Asking:
    return Asking(lambda *_: ALLOW)


def refusing() -> Asking:
    return Asking(lambda *_: DENY)


def link_to(port: int, **settings: object) -> ProxyLink:
    """Return a link to a device on 127.0.0.1, listening anywhere."""
    device = LinkConfig(
        "plc1",
        port=port,
        kind=settings.pop("kind", "tcp"),  # type: ignore[arg-type]  # test settings
        device=settings.pop("line", ""),  # type: ignore[arg-type]  # test settings
        timeout_s=settings.pop("timeout_s", PATIENCE_S),  # type: ignore[arg-type]  # test settings
    )
    limits = ProxyLimits(
        **{"stale_s": PATIENCE_S} | settings.pop("limits", {})  # type: ignore[arg-type]  # test settings
    )
    return ProxyLink(
        "plc1",
        0,
        device,
        limits=limits,
        **{"listen_port": 0} | settings,  # type: ignore[arg-type]  # test settings
    )


def counts(proxy: ModbusProxy) -> Counts:
    """Return the counters of the first link, once its thread has a breath."""
    breath = threading.Event()
    if proxy._loop is not None and not proxy._loop.is_closed():
        with contextlib.suppress(RuntimeError):  # closed between the two
            proxy._loop.call_soon_threadsafe(breath.set)
            breath.wait(PATIENCE_S)
    return proxy.statistics().links[0].counts


@contextlib.contextmanager
def proxied(
    port: int, judge: object | None, **settings: object
) -> Iterator[ModbusProxy]:
    """Run a proxy in front of the device at ``port``; its link is ``plc1``."""
    proxy = ModbusProxy([link_to(port, **settings)], Peers())
    proxy.use(judge, clock_ok=True)  # type: ignore[arg-type]  # judges of tests
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
