"""Status and Prometheus text over HTTP/1.0 on a unix socket or a loopback port.

Two paths, GET only, one request a connection, 4 kB of request at most. It never takes
anything in: the pages are functions without arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Final

from agent.descriptors import STATUS_MAX
from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

REQUEST_BYTES_MAX: Final = 4096
REQUEST_TIMEOUT_S: Final = 5.0


@contextlib.asynccontextmanager
async def serve_status(
    pages: Mapping[str, tuple[str, Callable[[], str]]], socket_path: str, port: int
) -> AsyncIterator[None]:
    """Serve ``pages`` (path -> content type, function) while the context is open.

    STATUS_MAX connections at once; one more is closed without an answer. Unavailable
    where it cannot be served there; a file that is no socket is not ours to take away.
    """
    asking = 0

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal asking
        asking += 1
        try:
            if asking > STATUS_MAX:
                return
            # readline() says ValueError where the line is longer than the limit.
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    writer.write(_response(await reader.readline(), pages))
                    await writer.drain()
        finally:
            asking -= 1
            writer.close()

    async with contextlib.AsyncExitStack() as stack:
        if socket_path:
            with _told(socket_path):
                _take_away(socket_path)
                old = os.umask(0o117)  # the owner and the group only
                try:
                    server = await asyncio.start_unix_server(
                        answer, socket_path, limit=REQUEST_BYTES_MAX
                    )
                finally:
                    os.umask(old)
            await stack.enter_async_context(server)
        if port:
            with _told(f"port {port}"):
                server = await asyncio.start_server(
                    answer, "127.0.0.1", port, limit=REQUEST_BYTES_MAX
                )
            await stack.enter_async_context(server)
        yield


def _take_away(path: str) -> None:
    """Remove what a killed agent left behind; one that lives keeps its socket."""
    with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as asks:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "is there, and is no socket")
        asks.setblocking(False)
        try:
            asks.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108  # one call at start, no waiting
        else:
            raise OSError(errno.EADDRINUSE, "somebody answers there already")


@contextlib.contextmanager
def _told(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)  # such as "AF_UNIX path too long"
        raise Unavailable("metrics", f"{place}: {reason}") from None


def _response(line: bytes, pages: Mapping[str, tuple[str, Callable[[], str]]]) -> bytes:
    words = line.split()
    page = pages.get(words[1].decode("ascii", "replace")) if len(words) > 1 else None
    if not words or words[0] != b"GET" or page is None:
        return b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    kind, body = page[0], page[1]().encode()
    head = f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
