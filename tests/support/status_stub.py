"""A status socket that says what a test wants; ends with its block."""

from __future__ import annotations

import socketserver
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class StatusStub:
    """Answers every request with one page."""

    def __init__(self, place: Path, page: Callable[[], str]) -> None:
        class Answer(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.rfile.readline()
                body = page().encode()
                head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write(head.encode() + body)

        self._server = socketserver.UnixStreamServer(str(place), Answer)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
