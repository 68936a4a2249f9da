"""Runs in the peer's venv: thingsboard-gateway's converter, frame by frame.

Reads JSON from standard input, writes JSON; imports nothing of ours. A frame that no
configuration names is skipped by a look-up, as the gateway's connector skips it.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from importlib.metadata import version


def main() -> None:
    """Convert what standard input holds; print the median over the runs."""
    from thingsboard_gateway.connectors.can.bytes_can_uplink_converter import (
        BytesCanUplinkConverter,
    )
    from thingsboard_gateway.tb_utility.tb_logger import TbLogger

    given = json.load(sys.stdin)
    nodes = {int(ident): node for ident, node in given["nodes"].items()}
    # python-can hands over the data of a message as a bytearray.
    frames = [(ident, bytearray.fromhex(text)) for ident, text in given["frames"]]
    logging.setLoggerClass(TbLogger)
    logger = logging.getLogger("can_converter")
    logger.setLevel(logging.INFO)
    converter = BytesCanUplinkConverter(logger)
    taken = []
    for _ in range(given["runs"]):
        start = time.perf_counter()
        for ident, data in frames:
            node = nodes.get(ident)
            if node is not None:
                converter.convert(node, data)
        taken.append(time.perf_counter() - start)
    total, values = 0.0, 0
    for ident, data in frames:
        node = nodes.get(ident)
        if node is not None:
            for entry in converter.convert(node, data).telemetry:
                total += sum(float(value) for value in entry.values.values())
                values += len(entry.values)
    said = {
        "seconds": statistics.median(taken),
        "version": version("thingsboard-gateway"),
        "sum": total,
        "values": values,
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
