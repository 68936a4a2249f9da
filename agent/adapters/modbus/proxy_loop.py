"""The proxies' event loop: plain sockets are served inside the wait for events.

A round trip through a proxy is two wake-ups. asyncio's way from ``epoll`` to a protocol
and back costs as much as all that we do with an ADU. So plain sockets hang on the event
loop's own ``epoll`` and are served as soon as it returns. asyncio sees only what is its
own, and has its turn when one of these has come: a timer, accepting, TLS, the end.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import time
from typing import TYPE_CHECKING, Final, TypeVarTuple

from agent.adapters.modbus.proxy_rules import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

EVENTS_MAX: Final = 64  # at once: epoll.poll makes room for as many
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
Args = TypeVarTuple("Args")
Ready = list[tuple[selectors.SelectorKey, int]]


def _unheard(error: Exception) -> None:
    """Before there is a loop."""
    raise error


class Sockets(selectors.EpollSelector):
    """asyncio's selector, and the plain sockets of all links."""

    def __init__(self) -> None:
        """Begin without sockets."""
        super().__init__()
        self.hurry = False  # asyncio was given something to do
        self.failed: Callable[[Exception], None] = _unheard
        # A second handle on the same epoll: the first is the standard library's.
        self._epoll = select.epoll.fromfd(os.dup(self.fileno()))
        self._handlers: dict[int, Callable[[int], None]] = {}

    def add(self, descriptor: int, handler: Callable[[int], None]) -> None:
        """Call ``handler`` with the events of a socket."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, READ)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a socket; before it is closed."""
        del self._handlers[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """End; the sockets are their pipes' to close."""
        self._epoll.close()
        super().close()

    def select(self, timeout: float | None = None) -> Ready:
        """Serve plain sockets until asyncio has something to do; return what."""
        poll, clock, handler_of = self._epoll.poll, time.monotonic, self._handlers.get
        until_s = 0.0 if timeout is None else clock() + timeout
        self.hurry = False
        while True:
            ready: Ready = []
            for descriptor, event in poll(timeout, EVENTS_MAX):
                handler = handler_of(descriptor)
                if handler is None:
                    self._note(descriptor, event, ready)
                    continue
                try:
                    handler(event)
                except FAULTS as error:  # a bug; the pipe has closed its connection
                    self.failed(error)
            if ready or self.hurry:
                return ready
            if timeout is not None:
                timeout = until_s - clock()
                if timeout <= 0:
                    return ready

    def _note(self, descriptor: int, event: int, ready: Ready) -> None:
        """Add an event of asyncio's own, as its selector would."""
        key = self.get_map().get(descriptor)
        if key is None:
            return  # the handler before this one has closed it
        mask = 0
        if event & ~READ:
            mask |= selectors.EVENT_WRITE
        if event & ~WRITE:
            mask |= selectors.EVENT_READ
        if mask & key.events:
            ready.append((key, mask & key.events))


class ProxyLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on ``Sockets``: what they schedule ends the wait."""

    def __init__(self) -> None:
        """Make the loop and its selector."""
        self.sockets = Sockets()
        super().__init__(self.sockets)
        self.sockets.failed = self._failed

    def call_soon(
        self,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Schedule, and have the wait end."""
        self.sockets.hurry = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule, and have the wait end: it may be earlier than what was next."""
        self.sockets.hurry = True
        return super().call_at(when, callback, *args, context=context)

    def _failed(self, error: Exception) -> None:
        self.call_exception_handler({"message": "modbus proxy", "exception": error})
