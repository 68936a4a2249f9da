"""python-can's own receive loop on several buses: a thread a bus, counting.

    python -m tests.support.can_peer SECONDS BUS...

Prints how many frames each thread got, and the CPU seconds of the process.
"""

from __future__ import annotations

import sys
import threading
import time

import can


def count(bus: can.BusABC, end_s: float, into: dict[str, int], name: str) -> None:
    """Receive until the time is over."""
    got = 0
    while time.monotonic() < end_s:
        if bus.recv(timeout=0.2) is not None:
            got += 1
    into[name] = got


def main() -> None:
    """Listen for so long."""
    seconds, *names = sys.argv[1:]
    buses = {name: can.Bus(interface="socketcan", channel=name) for name in names}
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    end_s, got = time.monotonic() + float(seconds), dict.fromkeys(names, 0)
    threads = [
        threading.Thread(target=count, args=(bus, end_s, got, name))
        for name, bus in buses.items()
    ]
    start_s = time.process_time()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    used_s = time.process_time() - start_s
    counts = " ".join(f"{name}={number}" for name, number in got.items())
    sys.stdout.write(f"{counts} {used_s:.3f}\n")
    for bus in buses.values():
        bus.shutdown()


if __name__ == "__main__":
    main()
