"""The daemon never sends on a CAN bus: no code of the agent's could.

A CAN socket cannot be shut for writing (net/can/raw.c has no shutdown), so this holds
by construction: one module opens CAN sockets, raw ones only, and neither it nor any
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
WRITES = ("send", "write")


def _names(tree: ast.AST) -> set[str]:
    """Return every name, attribute and imported name of a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names}
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _ways_to_send(tree: ast.AST) -> set[str]:
    return {name for name in _names(tree) if name.startswith(WRITES)}


def test_one_module_opens_can_sockets_and_raw_ones_only() -> None:
    families = {"AF_CAN", "PF_CAN"}
    assert [name for name, tree in AGENT.items() if _names(tree) & families] == [OPENS]
    others = {"CAN_BCM", "CAN_ISOTP", "CAN_J1939", "CAN_MCNET", "SOL_CAN_J1939"}
    assert not [name for name, tree in AGENT.items() if _names(tree) & others]
    calls = [
        ast.unparse(node)
        for node in ast.walk(AGENT[OPENS])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "socket.socket"
    ]
    assert calls == ["socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW)"]


def test_whoever_holds_a_bus_names_no_way_to_send() -> None:
    holders = {
        name
        for name, tree in AGENT.items()
        if _names(tree)
        & {"SocketCanSource", "DatagramReceiver", "PythonCanSource", "can"}
    }
    assert {OPENS, "agent/adapters/buses.py", "agent/adapters/pythoncan.py"} <= holders
    assert "agent/adapters/datagrams.py" in holders
    sends = {name: ways for name in holders if (ways := _ways_to_send(AGENT[name]))}
    assert not sends


@pytest.mark.parametrize(
    "line",
    ["sock.send(x)", "sock.sendmsg([x])", "bus.send_periodic(x, 1)", "os.write(f, x)",
     "from os import write"],
)  # fmt: skip
def test_the_check_finds_ways_to_send(line: str) -> None:
    assert _ways_to_send(ast.parse(line))
