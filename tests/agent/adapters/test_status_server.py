"""The status socket takes nothing in, and bad requests harm nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from agent.adapters import status_client
from agent.adapters.status_client import fetch_page
from agent.adapters.status_server import serve_status
from agent.descriptors import STATUS_MAX
from agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {"/status": ("application/json", lambda: '{"a": "ü"}')}


def test_pages_are_served_to_the_owner_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:  # what a killed agent left behind
        left.bind(str(path))

    async def story() -> None:
        async with serve_status(PAGES, str(path), 0):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            body = await asyncio.to_thread(fetch_page, str(path), 0, "/status")
            assert body == '{"a": "ü"}'.encode()
            with pytest.raises(Unavailable, match="404"):
                await asyncio.to_thread(fetch_page, str(path), 0, "/other")

    asyncio.run(story())
    with pytest.raises(Unavailable, match="is it running"):
        fetch_page(str(path), 0, "/status")


def test_where_it_cannot_be_served_is_told_and_nothing_is_taken_away(
    tmp_path: Path,
) -> None:
    (tmp_path / "policy.yaml").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to("policy.yaml")
    (tmp_path / "folder").mkdir()

    async def serve(path: str, port: int) -> None:
        async with serve_status(PAGES, path, port):
            raise AssertionError

    for name, says in (
        ("policy.yaml", "no socket"), ("link", "no socket"), ("folder", "no socket"),
        ("none/s", "No such file"), ("x" * 200, "too long"),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match=f"metrics: .*{name}: .*{says}"):
            asyncio.run(serve(str(tmp_path / name), 0))
    assert (tmp_path / "policy.yaml").read_text(encoding="utf-8") == "mine"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(Unavailable, match="somebody answers there already"):
            asyncio.run(serve(str(tmp_path / "s"), 0))
        other.shutdown(socket.SHUT_RDWR)
        assert (tmp_path / "s").exists()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"metrics: port {port}: .*in use"):
            asyncio.run(serve("", port))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied"), "this user may not ask it: sudo"),
        (TimeoutError(), "no answer within 5 s"),
        (ConnectionRefusedError(), "is it running"),
    ],
)
def test_who_gets_no_answer_is_told_why(
    monkeypatch: pytest.MonkeyPatch, error: OSError, says: str
) -> None:
    def refused(_: object) -> None:
        raise error

    monkeypatch.setattr(status_client._UnixConnection, "connect", refused)
    with pytest.raises(Unavailable, match=says):
        fetch_page("/run/sluicegate/status.sock", 0, "/status")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"", b"\r\n", b"POST /status HTTP/1.1\r\n", b"GET\r\n", b"\xff\x00 /status\r\n",
        b"GET /../status HTTP/1.0\r\n", b"A" * 100_000,
    ],
    ids=["nothing", "empty", "post", "no-path", "bytes", "climb", "long"],
)  # fmt: skip
def test_what_is_no_request_gets_no_page(tmp_path: Path, request_bytes: bytes) -> None:
    path = tmp_path / "s"

    async def story() -> bytes:
        async with serve_status(PAGES, str(path), 0):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(request_bytes)
            writer.write_eof()
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
            writer.close()
            body = await asyncio.to_thread(fetch_page, str(path), 0, "/status")
            assert body
            return answer

    answer = asyncio.run(story())
    assert answer == b"" or answer.startswith(b"HTTP/1.0 404")


def test_one_connection_too_many_is_closed_and_the_others_are_served(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"

    async def story() -> None:
        async with serve_status(PAGES, str(path), 0):
            open_ = [
                await asyncio.open_unix_connection(path) for _ in range(STATUS_MAX)
            ]
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b""
            writer.close()
            for reader, writer in open_:
                writer.write(b"GET /status HTTP/1.0\r\n")
                assert (await reader.read()).startswith(b"HTTP/1.0 200")
                writer.close()
            body = await asyncio.to_thread(fetch_page, str(path), 0, "/status")
            assert body

    asyncio.run(story())
