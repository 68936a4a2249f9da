"""One proxied link with its sockets: the listener, the masters, their time limits."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.adapters.handed import written
from agent.adapters.modbus.proxy_core import UP
from agent.adapters.modbus.proxy_counts import LinkStatistics, copied
from agent.adapters.modbus.proxy_device import DeviceKeeper, reason
from agent.adapters.modbus.proxy_express import ExpressCore
from agent.adapters.modbus.proxy_master import Master
from agent.adapters.modbus.proxy_pipes import SocketPipe, TlsPipe
from agent.adapters.modbus.proxy_tls import server_context
from agent.adapters.modbus.proxy_wire import wire_of
from agent.firewall.decision import Caller
from protocols.errors import WireError
from protocols.modbus.roles import roles_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.adapters.modbus.proxy_log import ProxyLog
    from agent.adapters.modbus.proxy_loop import ProxyLoop
    from agent.adapters.modbus.proxy_pipes import Pipe
    from agent.adapters.modbus.proxy_rules import Rules
    from agent.adapters.modbus.proxy_settings import ProxyLink
    from protocols.modbus.peers import Peers

log = logging.getLogger("sluicegate.proxy")

BACKLOG: Final = 128
LISTEN_RETRY_S: Final = 1.0  # an address may come later than we do
DRAIN_LOOK_S: Final = 0.01
ACCEPT_PAUSE_S: Final = 0.1  # out of descriptors: let some close
PRIVILEGED: Final = 1024  # ports below it take a capability to bind


class MasterSide:
    """Our end of a master's connection: bytes go to the core."""

    def __init__(self, line: Line, pipe: Pipe, caller: Caller) -> None:
        """``line`` knows the core."""
        self._line = line
        self.pipe = pipe
        self._full = False
        self.master = Master(caller, pipe.write, self._hold)
        self.heard = partial(line.core.heard, self.master)

    def _hold(self, wait: bool) -> None:
        self.pipe.pause(wait or self._full)

    def full(self, is_full: bool) -> None:
        """It does not read its replies: we do not read its requests."""
        self._full = is_full
        self.pipe.pause(is_full or self.master.held)

    def lost(self) -> None:
        """Forget it."""
        self._line.left(self)


class Line:
    """The link. All of it runs in the proxies' thread but ``statistics``."""

    def __init__(
        self,
        link: ProxyLink,
        rules: Rules,
        log: ProxyLog,
        peers: Peers,
        clocks: tuple[Callable[[], int], Callable[[], int]],
    ) -> None:
        """BadInput where a file of its TLS cannot be used."""
        self.link = link
        self.port = 0
        device = link.device
        name = device.device if device.kind == "rtu" else device.host
        server = peers.number(name)
        self.core = ExpressCore(link, rules, log, wire_of(device), clocks, server)
        self.core.alarm = self._alarm
        self._device = DeviceKeeper(link, self.core)
        self._peers = peers
        self._mono = clocks[1]
        self._tls = server_context(link.listen_tls) if link.listen_tls else None
        self._loop: ProxyLoop | None = None
        self._listener: socket.socket | None = None
        self._problem = "not started"
        self._sides: set[MasterSide] = set()
        self._shaking: dict[asyncio.Task[None], str] = {}  # and from where
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._stopping = False

    # --- life -------------------------------------------------------------------------

    def listen(self) -> bool:
        """Open the listening socket; False where that does not work now."""
        link = self.link
        if link.handed is not None:
            return self._listens_with(link.handed)
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                link.listen_host, link.listen_port, type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )[0]  # fmt: skip
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            return self._deaf(error)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            return self._deaf(error)
        return self._listens_with(sock)

    def _deaf(self, error: OSError) -> bool:
        """Say why we cannot listen: in the status; in the log, where it is new."""
        problem = f"listen: {_refusal(self.link, error)}"
        if problem != self._problem:
            log.warning("%s: %s", self.link.name, problem)
        self._problem = problem
        return False

    def _listens_with(self, sock: socket.socket) -> bool:
        sock.setblocking(False)
        self._listener, self._problem = sock, ""
        self.port = sock.getsockname()[1]
        return True

    async def run(self, loop: ProxyLoop) -> None:
        """Serve until cancelled; ``drain`` first for a clean end."""
        self._loop = self._device.loop = loop
        device = asyncio.create_task(
            self._device.run(), name=f"device.{self.link.name}"
        )
        try:
            await self._listening()
            if self._listener is not None and not self._stopping:
                loop.add_reader(self._listener, self._acceptable)
            await self._sweep()
        finally:
            self.close_listener()
            device.cancel()
            for side in [*self._sides]:
                side.pipe.abort()
            for task in self._shaking:
                task.cancel()
            if self._timer is not None:
                self._timer.cancel()
            await asyncio.gather(device, *self._shaking, return_exceptions=True)

    async def _listening(self) -> None:
        while self._listener is None:
            await asyncio.sleep(LISTEN_RETRY_S)
            self.listen()

    def close_listener(self) -> None:
        """Accept nobody any more."""
        self._stopping = True
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            self._problem = "stopped"

    async def drain(self) -> None:
        """Answer what waits, let what is under way end, close the masters."""
        self.close_listener()
        self.core.refuse_waiting()
        for side in [*self._sides]:
            if not side.master.order:
                side.pipe.close()
        for _ in range(int(self.link.device.timeout_s / DRAIN_LOOK_S) + 1):
            if not self.core.in_flight:
                break
            await asyncio.sleep(DRAIN_LOOK_S)
        for side in [*self._sides]:
            side.pipe.close()
        await asyncio.sleep(0)

    async def _sweep(self) -> None:
        """Close masters that drip, and those that said nothing for very long."""
        limits, counts = self.link.limits, self.core.counts
        partial_ns, idle_ns = int(limits.partial_s * 1e9), int(limits.idle_s * 1e9)
        while True:
            await asyncio.sleep(min(limits.partial_s, limits.idle_s) / 4)
            now_ns = self._mono()
            for side in [*self._sides]:
                master = side.master
                if master.partial_ns and now_ns - master.partial_ns > partial_ns:
                    counts.partial += 1
                    side.pipe.abort()
                elif now_ns - master.heard_ns > idle_ns:
                    counts.idle += 1
                    side.pipe.abort()

    def _alarm(self, mono_ns: int) -> None:
        """Have the core ticked at ``mono_ns`` or before; mostly a comparison."""
        if self._timer is not None:
            if self._timer_ns <= mono_ns:
                return
            self._timer.cancel()
        self._timer_ns = mono_ns
        delay_s = max(0.0, (mono_ns - self._mono()) / 1e9)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self.core.tick()

    # --- masters ----------------------------------------------------------------------

    def _acceptable(self) -> None:
        """Take the connections that wait; those beyond the limit are closed at once."""
        listener = self._listener
        if listener is None:
            return
        for _ in range(BACKLOG):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS}:
                    self._breathe(listener)
                return  # ECONNABORTED and the like: it went before we came
            if not self._has_room(address[0]):
                self.core.counts.masters_refused += 1
                sock.close()
                continue
            if self._tls is None:
                self._plain(sock, address[0])
                continue
            task = asyncio.create_task(self._shake(sock, address[0]))
            self._shaking[task] = address[0]
            task.add_done_callback(self._shaking.pop)

    def _has_room(self, address: str) -> bool:
        limits = self.link.limits
        taken = [side.master.caller.address for side in self._sides]
        taken += self._shaking.values()
        few = len(taken) < limits.clients
        return few and taken.count(address) < limits.clients_an_address

    def _plain(self, sock: socket.socket, address: str) -> None:
        assert self._loop is not None
        SocketPipe(
            self._loop,
            sock,
            lambda pipe: self._joined(pipe, address, ()),
            self.link.limits.unsent_bytes,
        )

    def _breathe(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def again() -> None:
            if self._listener is listener:
                loop.add_reader(listener, self._acceptable)

        loop.call_later(ACCEPT_PAUSE_S, again)

    async def _shake(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        limits = self.link.limits
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: TlsPipe(
                    lambda pipe: self._secured(pipe, address), limits.unsent_bytes
                ),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=limits.handshake_s,
            )
        except (OSError, ssl.SSLError):  # TimeoutError is an OSError
            self.core.counts.tls_refused += 1
            sock.close()

    def _secured(self, pipe: TlsPipe, address: str) -> MasterSide | None:
        try:
            roles = roles_of(pipe.certificate())
        except WireError:  # whose role cannot be read is not somebody without one
            self.core.counts.tls_refused += 1
            return None
        return self._joined(pipe, address, roles)

    def _joined(self, pipe: Pipe, address: str, roles: tuple[str, ...]) -> MasterSide:
        """A master's connection stands."""
        side = MasterSide(
            self, pipe, Caller(address, self._peers.number(address), roles)
        )
        side.master.heard_ns = self._mono()
        self._sides.add(side)
        self.core.counts.masters += 1
        return side

    def left(self, side: MasterSide) -> None:
        """A master's connection is gone."""
        self._sides.discard(side)
        self.core.left(side.master)

    def statistics(self) -> LinkStatistics:
        """Return how the link is; any thread."""
        core = self.core
        return LinkStatistics(
            name=self.link.name,
            listening=self._listener is not None,
            connected=core.state == UP,
            clients=len(self._sides),
            queued=core.queued,
            in_flight=len(core.in_flight),
            problem=self._problem or self._device.problem,
            counts=copied(core.counts),
        )


def _refusal(link: ProxyLink, error: OSError) -> str:
    """Return why an address cannot be bound; of a low port, who is to open it."""
    place = written((link.listen_host, link.listen_port))
    if error.errno in {errno.EACCES, errno.EPERM} and link.listen_port < PRIVILEGED:
        return (
            f"ports below 1024 are opened by systemd, and {place} was not handed over:"
            f" run sluicegate-proxy.service, with ListenStream={place} in its socket"
        )
    return reason(error)
