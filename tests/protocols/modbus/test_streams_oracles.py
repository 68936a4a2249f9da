"""Real and simulated captures against Zeek's logs, tshark and the simulator's truth."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.packets import pcap_bytes
from firmware_sim.network.simulation import simulate
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import start_ns
from protocols.capture.ethernet import SegmentParser
from protocols.modbus.exchanges import ExchangeBatch, Problem
from protocols.modbus.functions import EXCEPTIONS
from protocols.modbus.pairs import concat_pairs, decode_pairs
from protocols.modbus.streams import Streams
from tests.support.tapped import rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.modbus.exchanges import PairBatch

CHUNK = 64 * 1024
PAIRING = int(
    Problem.PROTOCOL | Problem.UNSOLICITED | Problem.UNANSWERED | Problem.REPEATED
)
ZEEK = {
    "READ_COILS": 1, "READ_DISCRETE_INPUTS": 2, "READ_HOLDING_REGISTERS": 3,
    "READ_INPUT_REGISTERS": 4, "WRITE_SINGLE_COIL": 5, "WRITE_SINGLE_REGISTER": 6,
    "READ_EXCEPTION_STATUS": 7, "DIAGNOSTICS": 8, "WRITE_MULTIPLE_COILS": 15,
    "WRITE_MULTIPLE_REGISTERS": 16, "REPORT_SLAVE_ID": 17, "READ_FILE_RECORD": 20,
    "WRITE_FILE_RECORD": 21, "MASK_WRITE_REGISTER": 22,
    "READ_WRITE_MULTIPLE_REGISTERS": 23, "READ_FIFO_QUEUE": 24,
    "ENCAP_INTERFACE_TRANSPORT": 43,
}  # fmt: skip
needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark not installed"
)


def tapped(raw: bytes) -> tuple[PairBatch, Streams]:
    parser, streams = SegmentParser(), Streams()
    found = [
        streams.feed(parser.feed(raw[at : at + CHUNK]))
        for at in range(0, len(raw), CHUNK)
    ]
    parser.finish()
    assert parser.error is None
    return concat_pairs([*found, streams.finish()]), streams


def values(batch: ExchangeBatch, row: int) -> tuple[list[int], list[int]]:
    read, write = batch.read_offset, batch.write_offset
    return (
        batch.read_values[read[row] : read[row + 1]].tolist(),
        batch.write_values[write[row] : write[row + 1]].tolist(),
    )


# --- Zeek -----------------------------------------------------------------------------


def zeek_rows(path: Path) -> list[dict[str, str]]:
    lines = path.read_text().splitlines()
    names = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    return [
        dict(zip(names, line.split("\t"), strict=True))
        for line in lines
        if not line.startswith("#")
    ]


def numbers(text: str) -> list[int]:
    return [] if text == "-" else [int(one) for one in text.split(",")]


def test_every_row_of_zeeks_detailed_log(data: Path) -> None:
    """Its columns: reads put what came back into ``request_values``."""
    folder = data / "modbus-icsnpp"
    pairs, streams = tapped((folder / "modbus_example.pcap").read_bytes())
    found = decode_pairs(pairs)
    name = streams.peers.name
    seen: set[int] = set()
    for row in zeek_rows(folder / "modbus_detailed.log"):
        at = next(
            i
            for i in range(len(found))
            if name(int(found.client[i])) == row["id.orig_h"]
            and str(found.tid[i]) == row["tid"]
        )
        seen.add(at)
        assert name(int(found.server[at])) == row["id.resp_h"]
        assert int(found.unit[at]) == int(row["unit"])
        assert int(found.function[at]) == ZEEK[row["func"]]
        if row["address"] != "-":
            assert int(found.address[at]) == int(row["address"])
        if row["quantity"] != "-" and ZEEK[row["func"]] not in (20, 21, 24):
            assert int(found.count[at]) == int(row["quantity"])
        read, write = values(found, at)
        if row["request_values"] != "-":
            is_write = ZEEK[row["func"]] in (5, 6, 15, 16)
            assert (write if is_write else read) == numbers(row["request_values"])
        if row["exception_code"] != "-":
            code = row["exception_code"].lower().replace("_", "-")
            assert EXCEPTIONS[int(found.exception[at])] == code
        assert found.reply_ns[at] > 0
    assert seen == set(range(24))


def test_every_row_of_zeeks_logs_of_functions_22_and_23(data: Path) -> None:
    folder = data / "modbus-icsnpp"
    found = decode_pairs(tapped((folder / "modbus_example.pcap").read_bytes())[0])
    place = {int(tid): at for at, tid in enumerate(found.tid.tolist()) if at < 23}
    for row in zeek_rows(folder / "modbus_mask_write_register.log"):
        at = place[int(row["tid"])]
        assert values(found, at)[1] == [int(row["and_mask"]), int(row["or_mask"])]
        assert int(found.address[at]) == int(row["address"])
    for row in zeek_rows(folder / "modbus_read_write_multiple_registers.log"):
        at = place[int(row["tid"])]
        read, write = values(found, at)
        if row["request_response"] == "REQUEST":
            assert write == numbers(row["write_registers"])
            assert int(found.write_address[at]) == int(row["write_start_address"])
            assert int(found.address[at]) == int(row["read_start_address"])
            assert int(found.count[at]) == int(row["read_quantity"])
        else:
            assert read == numbers(row["read_registers"])


# --- tshark ---------------------------------------------------------------------------


class Said(NamedTuple):
    """One ADU, as tshark tells it; what it does not tell is empty."""

    time_ns: int
    source: str
    tid: int
    unit: int
    function: int
    exception: int
    address: list[int]
    registers: list[int]
    bits: list[int]


FIELDS = (
    "frame.number", "frame.time_epoch", "ip.src", "mbtcp.trans_id", "mbtcp.unit_id",
    "modbus.func_code", "modbus.exception_code", "modbus.reference_num",
    "modbus.regval_uint16", "modbus.bitval", "modbus.request_frame",
)  # fmt: skip


def tshark(path: Path) -> list[tuple[Said | None, Said]]:
    """Return replies with the requests that tshark names, where a frame is one ADU."""
    done = subprocess.run(
        [
            "tshark", "-r", str(path), "-Y", "modbus", "-T", "fields",
            "-E", "separator=;", *(word for field in FIELDS for word in ("-e", field)),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    frames: dict[str, Said] = {}
    found: list[tuple[Said | None, Said]] = []
    for line in done.stdout.splitlines():
        cells = line.split(";")
        if "," in cells[3]:
            continue  # several ADUs: their fields cannot be told apart
        second, part = cells[1].split(".")
        said = Said(
            int(second) * 10**9 + int(part), cells[2], int(cells[3]), int(cells[4]),
            int(cells[5]), int(cells[6] or 0), *(
                [int(one) for one in cell.split(",") if one] for cell in cells[7:10]
            ),
        )  # fmt: skip
        frames[cells[0]] = said
        if cells[10]:
            found.append((frames.get(cells[10]), said))
        else:
            found.append((None, said))
    return found


def agree(path: Path) -> int:
    """Compare every ADU and every pair; return how many pairs tshark knows."""
    pairs, streams = tapped(path.read_bytes())
    found = decode_pairs(pairs)
    by_request = {int(t): i for i, t in enumerate(found.time_ns.tolist())}
    by_reply = {int(t): i for i, t in enumerate(found.reply_ns.tolist()) if t}
    joined = 0
    for request, said in tshark(path):
        is_reply = said.time_ns in by_reply
        at = by_reply[said.time_ns] if is_reply else by_request[said.time_ns]
        source = found.server[at] if is_reply else found.client[at]
        assert streams.peers.name(int(source)) == said.source
        assert (int(found.tid[at]), int(found.unit[at])) == (said.tid, said.unit)
        assert int(found.function[at]) == said.function
        read, write = values(found, at)
        if is_reply:
            # An exception of more than two bytes is malformed: we tell no code of it.
            if not found.problems[at] & int(Problem.LENGTH):
                assert int(found.exception[at]) == said.exception
            if said.function in (3, 4):
                assert read == said.registers
            if said.function in (1, 2):
                assert read == said.bits[: len(read)]
        elif said.function in (15, 16) and said.registers:
            assert write == said.registers
        if said.address and said.function not in (20, 21):
            assert int(found.address[at]) == said.address[0]
        if request is not None:
            joined += 1
            assert int(found.time_ns[at]) == request.time_ns
    return joined


@needs_tshark
@pytest.mark.parametrize(
    ("name", "joined"),
    [("modbus-icsnpp/modbus_example", 23), ("modbus-suricata/modbus", 12)],
)
def test_tshark_says_the_same_of_real_captures(
    data: Path, name: str, joined: int
) -> None:
    assert agree(data / f"{name}.pcap") == joined


# --- the simulator's truth ------------------------------------------------------------


def simulated(name: str, seconds: int) -> tuple[bytes, list[tuple[object, ...]]]:
    """Return a capture, and every transaction in it as tests compare it."""
    scenario = load_scenario(name)
    assert isinstance(scenario, NetworkScenario)
    run = simulate(scenario, seconds * 10**9)
    hosts = {one.name: one.address for one in (*scenario.plcs, *scenario.clients)}
    truth = [
        (
            hosts[one.source], hosts[one.plc], one.unit, one.tid, one.pdu, one.reply,
            int(one.problems) & PAIRING,
        )
        for one in run.transactions
    ]  # fmt: skip
    return pcap_bytes(run.tape.rows, start_ns(scenario.start)), truth


def same_as_truth(name: str, seconds: int) -> Streams:
    raw, truth = simulated(name, seconds)
    pairs, streams = tapped(raw)
    peer = streams.peers.name
    found = [
        (
            peer(int(client)), peer(int(server)), row.unit, row.tid, row.request,
            row.reply, row.problems & PAIRING,
        )
        for client, server, row in zip(
            pairs.client, pairs.server, rows_of(pairs), strict=True
        )
    ]  # fmt: skip
    assert sorted(found) == sorted(truth)
    return streams


def test_a_simulated_minute_is_told_as_it_was() -> None:
    counts = same_as_truth("plant-network-short", 60).statistics
    assert (counts.gaps, counts.skipped, counts.resyncs) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plant-attacks-short", "plant-network-fault"])
def test_attacks_and_faults_are_told_as_they_were(name: str) -> None:
    counts = same_as_truth(name, 900).statistics
    assert counts.gaps == 0
    assert counts.repeated > 0


@needs_tshark
@pytest.mark.slow
def test_tshark_says_the_same_of_a_simulated_capture(tmp_path: Path) -> None:
    raw, truth = simulated("plant-network-short", 120)
    path = tmp_path / "plant.pcap"
    path.write_bytes(raw)
    split = sum(len(row[4]) > 0 and len(row[5]) > 0 for row in truth)
    assert agree(path) > split * 9 // 10
