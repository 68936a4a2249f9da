"""Writes docs/performance.md from the rows that ``bench/run.py`` gathered."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "cryptography", "msgpack", "zstandard", "cantools", "python-can",
    "asammdf", "pyarrow",
)  # fmt: skip
MEANING = {
    "decode": "Frames in memory to samples, every signal of the database: ours in"
    " batches of 1,024 frames, cantools frame by frame, asammdf with"
    " `extract_bus_logging` over the whole file.",
    "captures": "A capture file in the page cache to frames: ours as `scan` reads it,"
    " beside python-can's reader of the same file.",
    "live": "Eight buses as full as 500 kbit/s allow, into the whole daemon: UDP"
    " sockets on loopback carry the frames, so that it runs where the kernel has no"
    " CAN. Processor time, of one core. Beside it python-can's receive loop alone.",
    "vm": "The installed package in a virtual machine (user-mode Linux on one processor"
    " of this machine) on eight vcan buses, each as full as 500 kbit/s allow. User code"
    " runs as fast as outside, a system call costs some 50 times more: what calls the"
    " kernel once a frame looks worse than on a plain kernel.",
    "path": "A recording to committed envelopes, on one core: decode, inspect,"
    " classify, transform, seal, evidence, and one synced SQLite transaction for every"
    " 16 batches of 4,096 frames. Beside it the converter of thingsboard-gateway alone"
    " (no bus, no queue, no storage, no protection), frame by frame, giving the same"
    " signals; a frame that no signal is bound to costs it one dictionary look-up. The"
    " rates are over all frames of the recording. `sparse` is the real drive with the"
    " 39 signals of the shipped bindings (three frames of four carry none of them);"
    " `dense` is 60 messages of six signals, random payloads, every signal bound.",
    "wire": "Bytes of whole envelopes by samples in them, beside the same samples (item"
    " as dictionary, time as int64, value as double) in the smallest of eight ways of"
    " Parquet with zstd, and as JSON lines with zstd. The verdict counts the epoch's"
    " announcement as if it served these few seconds alone (it serves a day); so does"
    " the ratio in brackets. A batch is 4,096 frames, or what the daemon gathers in"
    " 100 ms.",
    "memory": "Resident memory of `sluicegate run` (the largest of six seconds after"
    " READY), with no broker to send to; and the time to open its store.",
    "push": "From the PUBLISH of a signed bundle on a real mosquitto to the daemon's"
    " signed ack that the new policy decides, its evidence committed.",
    "start": "From the fork of `sluicegate run` to READY=1 on its notify socket.",
    "evidence": "Evidence entries encoded, hashed into the RFC 6962 tree and committed"
    " in synced transactions.",
    "audit": "Entries that the offline verifier checks in a second.",
    "trust": "A signed bundle to its verified policies: root chain, four metadata, six"
    " signatures, hashes; python-tuf's own client into an empty cache. Processor time.",
    "modbus_proxy": "Masters through a proxy to a device, all on one machine: direct,"
    " ours (1,000 rules; every request judged, replies checked and learned),"
    " modbus-proxy, haproxy and socat, in turn; ratios are medians of rounds. Masters"
    " and the fast device are C; a round trip between them is two changes of process,"
    " and any proxy adds two more: that row has no budget. What a machine with two"
    " cores has to do besides weighs on these rows more than on any other.",
    "modbus_judge": "One request judged by 1,000 rules; ten registers learned."
    " Processor time.",
    "modbus_passive": "An hour of the simulated plant, from a pcap in the page cache to"
    " exchanges: packets, TCP streams, requests with their replies, fields in columns."
    " Processor time, of one core; requests and replies both count as ADUs.",
    "rollout": "Simulated gateways on one mosquitto, each with its own Ed25519 key and"
    " MQTT 5 connection; each verifies every bundle for itself with"
    " `policies.trust.offer` and publishes signed, retained acks of every step. A text"
    " of a policy is compiled once a process and floor, not once a device. Broker,"
    " devices (a few processes) and the operator's `sluicectl` share this machine's"
    " cores, so the time is that of verifying the bundle 10,000 times on them, not of a"
    " fleet that has a processor a device. Trials last 2 s. Over time:"
    " [rollout.svg](rollout.svg).",
}  # fmt: skip
INTRODUCTION = (
    "Written by `make bench`; do not edit. Ours and a peer's numbers of a row come from"
    " one run on the same input; each is a median of several repetitions. Budgets are"
    " those of DESIGN section 11."
)
VERDICT = re.compile(r"\d+ of \d+ rows with a budget meet it\.")
NOT_MEASURED = ("memory flat over hours: no run of this benchmark is that long",)


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    names = [
        ln.partition(":")[2].strip() for ln in text.splitlines() if "model name" in ln
    ]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} missing"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows of one section as a Markdown table."""
    verdict = {True: "met", False: "**not met**", None: "-"}
    lines = [
        "| what | ours | peer | peer's | ratio | budget | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["what"], row["ours"], row["peer"], row["peer_value"], row["ratio"],
            row["budget"], verdict[row["met"]],
        ]  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return lines


def replaced(text: str, section: str, found: list[dict[str, Any]]) -> str:
    """Return the file with one section measured anew; the others stay as they were."""
    before, _, rest = text.partition(f"\n## {section}\n")
    if not rest:
        before, _, rest = text.partition("\n## Not measured here\n")
        rest = "\n\n## Not measured here\n" + rest
    tail = rest[rest.find("\n## ") :]
    lines = ["", f"## {section}", "", MEANING.get(section, ""), "", *table(found)]
    whole = before + "\n".join(lines) + "\n" + tail
    met, missed = whole.count("| met |\n"), whole.count("| **not met** |\n")
    return VERDICT.sub(_verdict(met, met + missed), whole)


def _verdict(met: int, judged: int) -> str:
    return f"{met} of {judged} rows with a budget meet it."


def document(results: dict[str, list[dict[str, Any]]], now: dt.datetime) -> str:
    """Return the whole file."""
    rows = [row for section in results.values() for row in section]
    judged = [row for row in rows if row["met"] is not None]
    met = sum(row["met"] for row in judged)
    system = f"{platform.system()} {platform.release()}"
    lines = [
        "# Performance",
        "",
        INTRODUCTION,
        "",
        f"* date: {now:%Y-%m-%d %H:%M} UTC",
        f"* machine: {_cpu()}, {os.cpu_count()} cores, {system}",
        f"* Python {platform.python_version()}; {', '.join(map(_version, PACKAGES))}",
        "* command: `make bench` (`bench/run.py`); one section: `bench/run.py path`",
        "",
        _verdict(met, len(judged)),
    ]
    for section, found in results.items():
        lines += ["", f"## {section}", "", MEANING.get(section, ""), "", *table(found)]
    lines += ["", "## Not measured here", ""]
    lines += [f"* {what}" for what in NOT_MEASURED]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read the rows from standard input and write the file that is named.

    With ``--only`` the sections that were measured replace their own, and nothing else.
    """
    results, file = json.load(sys.stdin), Path(sys.argv[1])
    if sys.argv[2:] == ["--only"]:
        text = file.read_text()
        for section, found in results.items():
            text = replaced(text, section, found)
    else:
        text = document(results, dt.datetime.now(dt.UTC))
    file.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
