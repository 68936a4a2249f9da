"""The daemon never sends on a CAN bus: no code of the agent's could.

A CAN socket cannot be shut for writing (net/can/raw.c has no shutdown), so this holds
by construction: CAN sockets are opened in one place, raw ones only, and no
module that gets hold of such a socket, or of a python-can bus, names a way to send.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENT = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "agent").rglob("*.py"))
}
OPENS = "agent/adapters/socketcan.py"
TRIES = "agent/commands/doctor/host.py"  # whether there is raw CAN; closed at once
WRITES = ("send", "write")


def _names(tree: ast.AST) -> set[str]:
    """Return every name, attribute and imported name of a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names}
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _ways_to_send(tree: ast.AST) -> set[str]:
    return {name for name in _names(tree) if name.startswith(WRITES)}


def test_only_raw_can_sockets_are_opened_and_only_here() -> None:
    families = {"AF_CAN", "PF_CAN"}
    opens = [name for name, tree in AGENT.items() if _names(tree) & families]
    assert opens == [OPENS, TRIES]
    others = {"CAN_BCM", "CAN_ISOTP", "CAN_J1939", "CAN_MCNET", "SOL_CAN_J1939"}
    assert not [name for name, tree in AGENT.items() if _names(tree) & others]
    calls = [
        ast.unparse(node)
        for name in opens
        for node in ast.walk(AGENT[name])
        if isinstance(node, ast.Call) and "AF_CAN" in ast.unparse(node)
    ]
    raw = "socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW)"
    assert calls == [raw, f"{raw}.close()", raw]


def test_whoever_holds_a_bus_names_no_way_to_send() -> None:
    holding = {
        "SocketCanSource",
        "DatagramReceiver",
        "PythonCanSource",
        "can",
        "AF_CAN",
    }
    holders = {name for name, tree in AGENT.items() if _names(tree) & holding}
    assert {OPENS, TRIES, "agent/adapters/buses.py"} <= holders
    assert {"agent/adapters/pythoncan.py", "agent/adapters/datagrams.py"} <= holders
    sends = {name: ways for name in holders if (ways := _ways_to_send(AGENT[name]))}
    assert not sends


@pytest.mark.parametrize(
    "line",
    ["sock.send(x)", "sock.sendmsg([x])", "bus.send_periodic(x, 1)", "os.write(f, x)",
     "from os import write"],
)  # fmt: skip
def test_the_check_finds_ways_to_send(line: str) -> None:
    assert _ways_to_send(ast.parse(line))
