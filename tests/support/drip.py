"""A TCP proxy before a broker that lets through as slowly as it is told, or cuts.

with Drip(broker.port) as drip:     # the agent is given drip.port
    drip.bytes_per_s = 2000         # down to the agent; 0: as fast as it comes
    drip.cut()                      # all connections, in the middle of whatever
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

from tests.support.broker import free_port

CHUNK = 64 * 1024
TICK_S = 0.05


class Drip:
    """One listener; two threads a connection."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.bytes_per_s = 0
        self.passed = 0  # bytes down to the agent, of all connections
        self._to = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(TICK_S)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.cut()
        self._threads[0].join()
        self._listener.close()

    def cut(self) -> None:
        """End every connection at once."""
        for pair in [*self._pairs]:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink, slow in ((near, far, False), (far, near, True)):
                threading.Thread(
                    target=self._pump, args=(source, sink, slow), daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                rate = self.bytes_per_s if slow else 0
                size = max(1, int(rate * TICK_S)) if rate else CHUNK
                data = source.recv(size)
                if not data:
                    break
                sink.sendall(data)
                if slow:
                    self.passed += len(data)
                if rate:
                    self._ended.wait(TICK_S)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
