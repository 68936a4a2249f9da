"""A Modbus master for the soak, behind our proxy: ``PORT SECONDS_BETWEEN_READS``.

Reads what it may, writes what it may, and now and then what it may not. Connects again
whenever the gateway was away. Every ten seconds it tells its counts as a line of JSON.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict, dataclass

SOURCE = "127.0.0.7"  # the client that the soak's policy names
TIMEOUT_S = 3.0
TELL_S = 10.0
RECONNECT_S = 1.0
LIFE_ASKS = 2000  # of one connection, then a new one: connections come and go
READ = struct.pack(">BHH", 4, 0, 20)
WRITE = struct.pack(">BHHBf", 16, 0, 2, 4, 1.5)  # the level's setpoint
FORBIDDEN = struct.pack(">BHH", 6, 9, 1)  # the recipe's phase
WRITE_EVERY, FORBIDDEN_EVERY = 150, 400


@dataclass
class Counts:
    """What this master asked and what it got."""

    asked: int = 0
    answered: int = 0
    refused: int = 0  # exceptions
    failed: int = 0  # no answer
    connections: int = 0


def _exactly(link: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = link.recv(size - len(got))
        if not more:
            raise ConnectionError("closed")
        got += more
    return got


def _ask(link: socket.socket, number: int, pdu: bytes) -> bytes:
    """Return the PDU that answers ``pdu`` (unit 1)."""
    link.sendall(struct.pack(">HHHB", number & 0xFFFF, 0, len(pdu) + 1, 1) + pdu)
    header = _exactly(link, 7)
    size: int = struct.unpack(">HHHB", header)[2]
    return _exactly(link, size - 1)


def _pdu(number: int) -> bytes:
    if number % FORBIDDEN_EVERY == FORBIDDEN_EVERY - 1:
        return FORBIDDEN
    if number % WRITE_EVERY == WRITE_EVERY - 1:
        return WRITE
    return READ


def _serve(port: int, pause_s: float, counts: Counts, stop: threading.Event) -> None:
    """Ask over one connection until it breaks, has lived long enough, or we stop."""
    with socket.create_connection(
        ("127.0.0.1", port), TIMEOUT_S, source_address=(SOURCE, 0)
    ) as link:
        counts.connections += 1
        for _ in range(LIFE_ASKS):
            if stop.wait(pause_s):
                return
            counts.asked += 1
            pdu = _pdu(counts.asked)
            try:
                answer = _ask(link, counts.asked, pdu)
            except OSError:
                counts.failed += 1
                raise
            if answer[0] & 0x80:
                counts.refused += 1
            else:
                counts.answered += 1


def main(port: int, pause_s: float) -> None:
    """Ask until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    counts = Counts()

    def tell() -> None:
        while not stop.wait(TELL_S):
            print(json.dumps(asdict(counts)), flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    while not stop.is_set():
        try:
            _serve(port, pause_s, counts, stop)
        except OSError:
            time.sleep(RECONNECT_S)
    print(json.dumps(asdict(counts)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
