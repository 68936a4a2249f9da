"""Asks a running agent for one of its status pages. Blocking; for commands only."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import TYPE_CHECKING, Final

from agent.adapters.configuration import read_config
from agent.config import beside
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S: Final = 5.0
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
NOT_OURS: Final = "what answers is no agent of this version (is the port another's?)"
MAY_NOT: Final = "this user may not ask it: sudo, or join the group that the file has"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def asker(config_file: Path) -> Callable[[str], bytes]:
    """Return what fetches a page of the agent that runs with this configuration.

    BadInput where it has no status socket.
    """
    metrics = read_config(config_file).metrics
    if not (metrics.socket or metrics.port):
        raise BadInput(
            str(config_file), "metrics", "no status socket", "set metrics.socket"
        )
    place = beside(str(config_file), metrics.socket)
    return lambda page: fetch_page(place, metrics.port, page)


def fetch_page(socket_path: str, port: int, page: str) -> bytes:
    """Return the body of ``page``; Unavailable where no agent answers."""
    connection = (
        _UnixConnection(socket_path)
        if socket_path
        else http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    )
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read(PAGE_BYTES_MAX)
    except PermissionError as error:
        reason = f"{socket_path}: {MAY_NOT}"
        raise Unavailable("agent", reason) from error
    except TimeoutError as error:
        reason = f"no answer within {TIMEOUT_S:.0f} s"
        raise Unavailable("agent", reason) from error
    except (OSError, http.client.HTTPException) as error:
        reason = "no answer: is it running? (systemctl status sluicegate)"
        raise Unavailable("agent", reason) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unavailable("agent", f"answered {answer.status} for {page}")
    return body


def state_of(page: bytes) -> dict[str, object]:
    """Return what a status page says; Unavailable where it is not an agent's."""
    with understood():
        found = json.loads(page)
        if not isinstance(found, dict):
            raise TypeError
        return found


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Say Unavailable of an answer that cannot be read, or lacks what ours have.

    Who answers may be another program, or an agent before an upgrade.
    """
    try:
        yield
    except (
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise Unavailable("agent", NOT_OURS) from error
