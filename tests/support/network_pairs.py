"""A simulated network as a ``PairBatch``: what a tap or proxy would hand over.

For tests of what comes behind the tap (decoding, firewall, detectors) that want the
truth of every row and no capture: row i of the batch is ``Truth.rows[i]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.simulation import simulate
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import nanoseconds, start_ns
from protocols.modbus.exchanges import NO_REPLY, NO_REQUEST, PairBatch
from protocols.modbus.peers import Peers

if TYPE_CHECKING:
    from firmware_sim.network.asks import Transaction
    from firmware_sim.network.simulation import Run

TAIL = 260  # zeros behind the bytes
NO_RULE = -1


@dataclass
class Truth:
    """The rows, the peers that the batch numbers, and the links by index."""

    rows: list[Transaction]
    peers: Peers
    links: list[str]
    scenario: NetworkScenario
    base_ns: int  # epoch ns of the scenario's start


@lru_cache(3)  # tens of thousands of transactions each: seconds to make, and not small
def simulated(name: str) -> Run:
    """Return the whole run of a shipped scenario; nobody changes it."""
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    return simulate(scenario, nanoseconds(scenario.duration))


def network_pairs(name: str, seconds: float | None = None) -> tuple[PairBatch, Truth]:
    """Return all exchanges of a shipped scenario in one batch, in order of time."""
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    if seconds is None:
        run = simulated(name)
    else:
        run = simulate(scenario, int(seconds * 1e9))
    hosts = {plc.name: plc.address for plc in scenario.plcs}
    hosts |= {client.name: client.address for client in scenario.clients}
    truth = Truth(
        run.transactions, Peers(), [plc.name for plc in scenario.plcs], scenario,
        start_ns(scenario.start),
    )  # fmt: skip
    return _batch(truth, hosts), truth


def _batch(truth: Truth, hosts: dict[str, str]) -> PairBatch:
    rows, peers, base = truth.rows, truth.peers, truth.base_ns
    sizes = [size for row in rows for size in (len(row.pdu), len(row.reply))]
    at = np.cumsum([0, *sizes])[:-1].reshape(-1, 2)
    size = np.array(sizes, np.uint16).reshape(-1, 2)
    joined = b"".join(part for row in rows for part in (row.pdu, row.reply))
    count = len(rows)
    return PairBatch(
        chars=np.frombuffer(joined + bytes(TAIL), np.uint8),
        time_ns=np.array([base + row.time_ns for row in rows], np.int64),
        reply_ns=np.array(
            [base + row.reply_ns if row.reply else 0 for row in rows], np.int64
        ),
        client=np.array([peers.number(hosts[row.source]) for row in rows], np.uint16),
        server=np.array([peers.number(hosts[row.plc]) for row in rows], np.uint16),
        link=np.array([truth.links.index(row.plc) for row in rows], np.uint8),
        unit=np.array([row.unit for row in rows], np.uint8),
        tid=np.array([row.tid for row in rows], np.uint16),
        request_at=np.where(size[:, 0] > 0, at[:, 0], NO_REQUEST),
        request_size=size[:, 0],
        reply_at=np.where(size[:, 1] > 0, at[:, 1], NO_REPLY),
        reply_size=size[:, 1],
        # What framing and pairing find; decoding finds the rest.
        problems=np.array([row.problems & PAIRING for row in rows], np.uint32),
        verdict=np.zeros(count, np.uint8),
        rule=np.full(count, NO_RULE, np.int16),
        reason=np.zeros(count, np.uint8),
    )


PAIRING = 0b1110_0000_0001  # PROTOCOL, UNSOLICITED, UNANSWERED, REPEATED
