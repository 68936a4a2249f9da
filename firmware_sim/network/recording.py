"""A run as files: the capture, and beside it the truth of every transaction.

The truth's first line is a header: ``{"schema": "sluicegate/truth/1", "kind":
"network", "scenario", "seed", "start_ns", "seconds", "hosts": {name: address},
"attacks": [...], "faults": [...]}``. Then a line for every request (and every reply
without one), by time: see ``transaction_line``. All times are ns since the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from firmware_sim.captures import truth_path
from firmware_sim.errors import OutputError
from firmware_sim.network.attacks import lasts_ns
from firmware_sim.network.packets import pcap_bytes
from firmware_sim.network.simulation import simulate
from firmware_sim.schema import NS, nanoseconds, start_ns
from firmware_sim.truth import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from firmware_sim.network.asks import Transaction
    from firmware_sim.network.model import AttackSpec, NetworkScenario
    from firmware_sim.network.simulation import Run

SUFFIX: Final = ".pcap"
EXPECTED_OF_FAULTS: Final = {"reboot": ("M9",), "reconnect": ()}


def truth_lines(run: Run) -> Iterator[bytes]:
    """Yield the truth file, line by line."""
    encoder = msgspec.json.Encoder()
    scenario = run.world.scenario
    base = start_ns(scenario.start)
    hosts = addresses(scenario)
    yield encoder.encode(header(run, base, hosts)) + b"\n"
    for row in run.transactions:
        yield encoder.encode(transaction_line(row, hosts, base)) + b"\n"


def addresses(scenario: NetworkScenario) -> dict[str, str]:
    """Return host -> address."""
    found = {plc.name: plc.address for plc in scenario.plcs}
    return found | {client.name: client.address for client in scenario.clients}


def header(
    run: Run, base_ns: int, hosts: dict[str, str], speed: float = 1.0
) -> dict[str, object]:
    """Return the first line: who there is, and what happened to them when."""
    scenario = run.world.scenario

    def when(at_ns: int) -> int:
        return base_ns + round(at_ns / speed)

    counts: dict[str, int] = {}
    for row in run.transactions:
        counts[row.attack] = counts.get(row.attack, 0) + 1
    return {
        "schema": SCHEMA,
        "kind": "network",
        "scenario": scenario.name,
        "seed": scenario.seed,
        "start_ns": base_ns,
        "seconds": run.duration_ns / NS,
        "hosts": hosts,
        "transactions": len(run.transactions),
        "attacks": [
            _attack_entry(attack, when, counts.get(attack.name, 0))
            for attack in run.world.attacks
            if nanoseconds(attack.at) < run.duration_ns
        ],
        "faults": [
            {
                "kind": fault.kind,
                "plc": fault.plc,
                "begin_ns": when(nanoseconds(fault.at)),
                "end_ns": when(nanoseconds(fault.at) + nanoseconds(fault.lasts)),
                "expect": EXPECTED_OF_FAULTS[fault.kind],
            }
            for fault in scenario.faults
            if nanoseconds(fault.at) < run.duration_ns
        ],
    }


def _attack_entry(
    attack: AttackSpec, when: Callable[[int], int], count: int
) -> dict[str, object]:
    """Return what the header says of an attack. ``expect``: each of them must speak."""
    begin = nanoseconds(attack.at)
    return {
        "name": attack.name,
        "kind": attack.kind,
        "from": attack.source,
        "to": attack.to,
        "begin_ns": when(begin),
        "end_ns": when(begin + lasts_ns(attack)),
        "transactions": count,
        "expect": attack.expected,
    }


def transaction_line(
    row: Transaction, hosts: dict[str, str], base_ns: int
) -> dict[str, object]:
    """Return one line: who asked what of whom, and whether it belongs there.

    ``attack``: the attack's name, null for what is legitimate. ``problems``: bits of
    ``protocols.modbus.exchanges.Problem``. ``reply_ns``: 0 where none came.
    ``request``, ``reply``: the PDUs in hex, so that every value can be compared.
    """
    asked = row.asked
    return {
        "t_ns": base_ns + row.time_ns,
        "reply_ns": base_ns + row.reply_ns if row.reply_ns else 0,
        "client": hosts[row.source],
        "port": row.port,
        "server": hosts[row.plc],
        "unit": row.unit,
        "tid": row.tid,
        "has_request": row.has_request,
        "function": asked.function,
        "sub": asked.sub,
        "address": asked.address,
        "count": asked.count,
        "write_address": asked.write_address,
        "write_count": asked.write_count,
        "is_write": asked.is_write,
        "exception": row.exception,
        "problems": row.problems,
        "attack": row.attack or None,
        "request": row.pdu.hex(),
        "reply": row.reply.hex(),
    }


def write_network(
    scenario: NetworkScenario,
    out: Path,
    duration_ns: int,
    attacks: Sequence[AttackSpec] | None = None,
    go_on: Callable[[int], bool] = lambda _: True,
) -> Run:
    """Write capture and truth; return the run. Raises OutputError.

    ``go_on`` is told the scenario time done, and ends the run early by returning False.
    """
    if out.suffix != SUFFIX:
        raise OutputError(f"{out}: suffix must be {SUFFIX}")
    run = simulate(scenario, duration_ns, attacks, go_on)
    try:
        out.write_bytes(pcap_bytes(run.tape.rows, start_ns(scenario.start)))
        with truth_path(out).open("wb") as file:
            file.writelines(truth_lines(run))
    except OSError as error:
        raise OutputError(f"{out}: {error.strerror or 'cannot be written'}") from None
    return run
