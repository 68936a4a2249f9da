"""Our proxy for bench/modbus_proxy.py: DEVICE_PORT PORT IN_FLIGHT.

The judge lets everything through: what is measured is the proxy. What passed is taken
every 100 ms, as the daemon does, and made into columns.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_settings import ProxyLink
from agent.firewall.decision import Decision
from protocols.modbus.exchanges import Reason, Verdict
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    from agent.firewall.decision import Caller
    from protocols.modbus.pdu import Request
    from protocols.modbus.pdu_reply import Reply

TAKE_S = 0.1
ALLOWED = Decision(Verdict.ALLOWED, 0, Reason.NONE, forward=True, exception=0)


class Everything:
    """A judge that lets everything through."""

    def judge(
        self,
        caller: Caller,
        link: int,
        unit: int,
        request: Request,
        now_ns: int,
        *,
        clock_ok: bool,
    ) -> Decision:
        """Let it through."""
        del caller, link, unit, request, now_ns, clock_ok
        return ALLOWED

    def answered(
        self, link: int, unit: int, request: Request, reply: Reply | None
    ) -> None:
        """Learn nothing."""


def main(device: int, port: int, in_flight: int) -> None:
    """Serve until killed."""
    to = LinkConfig("plc1", port=device)
    link = ProxyLink("plc1", 0, to, listen_port=port, in_flight=in_flight)
    proxy = ModbusProxy([link], Peers())
    proxy.use(Everything(), clock_ok=True)
    proxy.start()
    while True:
        time.sleep(TAKE_S)
        while proxy.take() is not None:
            pass


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
