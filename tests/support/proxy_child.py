"""A proxy in a process of its own, to be killed: python -m ... DEVICE_PORT PORT.

It lets everything through, prints "ready", and ends only by a signal.
"""

from __future__ import annotations

import signal
import sys

from tests.support.proxying import allowing, proxied


def main() -> None:
    """Serve until killed."""
    device, port = int(sys.argv[1]), int(sys.argv[2])
    limits = {"backoff_s_min": 0.01}
    with proxied(device, allowing(), listen_port=port, limits=limits):
        print("ready", flush=True)  # noqa: T201  # the test waits for it
        signal.pause()


if __name__ == "__main__":
    main()
