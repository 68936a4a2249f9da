"""A TCP proxy before a broker that can go deaf without a word, or become slow.

with Middle(broker.port) as middle:   # listens on 127.0.0.1, middle.port
    middle.swallow()                  # connections stay, their bytes go nowhere
    middle.throttle(4_000)            # bytes a second, both ways
    middle.heal()
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Self

CHUNK = 4096
LOOK_S = 0.02


class Middle:
    """One thread between clients and a server."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._deaf = False
        self._rate = 0.0  # bytes a second; 0: as they come
        self._ended = False
        self._peers: dict[socket.socket, socket.socket] = {}
        self._doomed: set[socket.socket] = set()  # whose bytes were swallowed
        self._thread = threading.Thread(target=self._run, daemon=True)

    def swallow(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._deaf = True

    def throttle(self, bytes_per_second: float) -> None:
        """From now on so many bytes pass in a second."""
        self._rate = bytes_per_second

    def heal(self) -> None:
        """Let everything pass again; what was swallowed is gone, and its connection."""
        self._deaf, self._rate = False, 0.0

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._ended:
                for key, _ in ready.select(LOOK_S):
                    if key.fileobj is self._listener:
                        self._accept(ready)
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass(ready, key.fileobj)
            for one in list(self._peers):
                self._close(ready, one)

    def _accept(self, ready: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self._behind), 5)
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            ready.register(one, selectors.EVENT_READ)

    def _pass(self, ready: selectors.BaseSelector, source: socket.socket) -> None:
        target = self._peers.get(source)
        if target is None:
            return
        size = min(CHUNK, max(int(self._rate * LOOK_S), 1)) if self._rate else CHUNK
        try:
            data = source.recv(size)
            if self._deaf:
                self._doomed |= {source, target}
                if not data:  # the other side is not told of an end either
                    ready.unregister(source)
                return
            if not data or source in self._doomed:
                self._close(ready, source)
                return
            target.sendall(data)
        except OSError:
            self._close(ready, source)
            return
        if self._rate:
            time.sleep(len(data) / self._rate)

    def _close(self, ready: selectors.BaseSelector, one: socket.socket) -> None:
        for end in {one, self._peers.get(one, one)}:
            self._peers.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                ready.unregister(end)
            end.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._listener.close()
