"""`sluicegate status`: what the running agent says of itself."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.adapters.status_client import asker, state_of, understood
from agent.commands.printing import print_table
from agent.limits import CAN_BUFFER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def show(config_file: Path, as_json: bool) -> int:
    """Print the state of the running agent; 0 where it has no problem to report."""
    page = asker(config_file)("/status")
    state = state_of(page)
    if as_json:
        sys.stdout.write(page.decode() + "\n")
    else:
        with understood():
            rows = _rows(state)
        print_table((), rows)
    return 1 if state.get("problems") else 0


def _line(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    if "exchanges" in entry:
        listens = "listens" if entry["open"] else "does not listen"
        return f"{entry['name']} {listens}, {entry['exchanges']} exchanges"
    if "buffer_bytes" in entry:
        return bus_line(entry)
    return link_line(entry) if "mode" in entry else standing_line(entry)


def link_line(entry: Mapping[str, object]) -> str:
    """Return a Modbus link of the status page as a person reads it."""
    if entry["mode"] != "proxy":
        return f"{entry['name']} {entry['mode']}"
    last = f", last: {entry['last_reason']}" if entry["last_reason"] else ""
    device = "connected" if entry["connected"] else "not connected"
    listening = "" if entry["listening"] else " not listening,"
    return (
        f"{entry['name']} proxy,{listening} {entry['masters']} masters,"
        f" {entry['forwarded']} forwarded, {entry['refused']} refused{last},"
        f" device {device}"
    )


def bus_line(entry: Mapping[str, object]) -> str:
    """Return a CAN bus of the status page as a person reads it."""
    words = [f"{entry['name']} {entry['state']}"]
    if since := int(str(entry["since_ns"])):
        words[0] += f" since {moment(since)}"
    if entry["bitrate"]:
        words.append(f"{entry['bitrate']} bit/s")
    if entry["data_bitrate"]:
        words.append(f"data {entry['data_bitrate']} bit/s")
    if entry["listen_only"]:
        words.append("listen-only")
    words.append(f"{entry['frames']} frames")
    if entry["passes"] != -1:
        words.append(f"{entry['passes']} filters pass, of {entry['packets']} frames")
    for name, what in (
        ("lost", "lost here"), ("controller_lost", "lost by the controller"),
        ("skipped", "skipped"),
    ):  # fmt: skip
        if entry[name]:
            words.append(f"{entry[name]} {what}")
    if 0 < int(str(entry["buffer_bytes"])) < CAN_BUFFER_BYTES:
        words.append(f"buffer {entry['buffer_bytes']} bytes (net.core.rmem_max)")
    return ", ".join(words)


def standing_line(entry: Mapping[str, object]) -> str:
    """Return a consent of the status page as a person reads it."""
    if entry["state"] != "on":
        reason = f": {entry['reason']}" if entry["reason"] else ""
        return f"{entry['name']} {entry['state']}{reason}"
    survives = ", survives ignition cycles" if entry["survives"] else ""
    until = moment(int(str(entry["expires_ns"])))
    return f"{entry['name']} on until {until}, by {entry['by']}{survives}"


def moment(ns: int) -> str:
    """Return a wall-clock time as a person reads it, in UTC."""
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(" ", "seconds")
    except (OSError, OverflowError, ValueError):
        return f"{ns} ns"


def _rows(state: dict[str, object]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in state.items():
        lines = [str(value)]
        if name.endswith("_ns") and isinstance(value, int):
            lines = [moment(value) if value else "none"]
        elif isinstance(value, bool):
            lines = ["yes" if value else "no"]
        elif isinstance(value, list):
            lines = list(map(_line, value)) or ["none"]
        elif isinstance(value, float):
            lines = [f"{value:.3g}"]
        words = name.removesuffix("_ns").replace("_", " ")
        rows += [("" if at else words, line) for at, line in enumerate(lines)]
    return rows
