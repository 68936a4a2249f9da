"""Our proxy for bench/modbus_proxy.py: DEVICE_PORT PORT IN_FLIGHT RULES.

Judged by the firewall's judge with so many rules. What passed is taken every 100 ms, as
the daemon does, and made into columns.
"""

from __future__ import annotations

import sys
import time

from agent.adapters.modbus.link import LinkConfig
from agent.adapters.modbus.proxy import ModbusProxy
from agent.adapters.modbus.proxy_settings import ProxyLink
from agent.firewall.judge import Judge
from agent.firewall.memory import Memory
from bench.modbus_rules import firewall
from protocols.modbus.peers import Peers

TAKE_S = 0.1


def main(device: int, port: int, in_flight: int, rules: int) -> None:
    """Serve until killed."""
    to = LinkConfig("plc1", port=device)
    link = ProxyLink("plc1", 0, to, listen_port=port, in_flight=in_flight)
    proxy = ModbusProxy([link], Peers())
    proxy.use(Judge(firewall(rules), Memory()), clock_ok=True)
    proxy.start()
    while True:
        time.sleep(TAKE_S)
        while proxy.take() is not None:
            pass


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:5]))
