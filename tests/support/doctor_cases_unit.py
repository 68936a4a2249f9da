"""Cases of the unit and of a running agent."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

from agent import VERSION
from tests.support.doctor_case import Act, Case
from tests.support.status_stub import StatusStub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.doctor_house import House

MIB = 2**20


# --- unit -----------------------------------------------------------------------------


def _unit(house: House) -> None:
    house.machine.properties = {
        "ActiveState": "active", "UnitFileState": "enabled", "User": "sluicegate",
        "Restart": "on-failure", "WatchdogUSec": "30s", "LimitNOFILE": "4096",
        "MemoryMax": str(256 * MIB), "AmbientCapabilities": "", "PrivateDevices": "yes",
        "ProtectSystem": "strict", "ProtectClock": "yes", "Id": "sluicegate.service",
        "ReadWritePaths": str(house.folder), "TriggeredBy": "sluicegate-retry@x.timer",
    }  # fmt: skip


def _property(**changes: str) -> Act:
    return lambda house: house.machine.properties.update(changes)


def _tapped(house: House) -> None:
    _unit(house)
    house.set("interface", '"lo"', "[[tap]] t")


def _proxy_unit(house: House) -> None:
    _unit(house)
    proxy = {"Id": "sluicegate-proxy.service", "TriggeredBy": "sluicegate-proxy.socket"}
    house.machine.properties.update(proxy)


def _proxied(house: House, listen: str) -> None:
    house.set("mode", '"proxy"', "[[modbus]] plc")
    house.set("listen", f'"{listen}"', "[[modbus]] plc")


UNIT = [
    Case(
        "unit.state",
        "failed",
        "bad",
        "has failed",
        _property(ActiveState="failed"),
        _unit,
    ),
    Case(
        "unit.state",
        "stopped",
        "notice",
        "is inactive",
        _property(ActiveState="inactive"),
        _unit,
    ),
    Case(
        "unit.enabled",
        "not",
        "warn",
        "not started at boot",
        _property(UnitFileState="disabled"),
        _unit,
    ),
    Case(
        "unit.watchdog",
        "none",
        "warn",
        "hangs",
        _property(WatchdogUSec="infinity"),
        _unit,
    ),
    Case("unit.watchdog", "restart", "warn", "ends", _property(Restart="no"), _unit),
    Case(
        "unit.files",
        "few",
        "bad",
        "LimitNOFILE is 32",
        _property(LimitNOFILE="32"),
        _unit,
    ),
    Case(
        "unit.memory",
        "little",
        "warn",
        "MemoryMax is 64 MiB",
        _property(MemoryMax=str(64 * MIB)),
        _unit,
    ),
    Case(
        "unit.capabilities",
        "tap",
        "bad",
        "CAP_NET_RAW",
        lambda house: house.set("interface", '"lo"', "[[tap]] t"),
        _unit,
    ),
    Case(
        "unit.sockets",
        "usual unit",
        "bad",
        "is not for sluicegate.service",
        lambda house: _proxied(house, "127.0.0.1:502"),
        _unit,
    ),
    Case(
        "unit.sockets",
        "elsewhere",
        "bad",
        "sluicegate-proxy.socket does not open [::1]:502",
        lambda house: _proxied(house, "[::1]:502"),
        _proxy_unit,
    ),
    Case(
        "unit.clock",
        "no helper",
        "warn",
        "nobody tells the agent",
        lambda house: setattr(house.machine, "has_helper", False),
        _unit,
    ),
    Case(
        "unit.devices",
        "serial",
        "bad",
        "without /dev/ttyUSB0",
        lambda house: [
            house.set(*one, "[[modbus]] plc")
            for one in (("kind", '"rtu"'), ("device", '"/dev/ttyUSB0"'))
        ],
        _unit,
    ),
    Case(
        "unit.places",
        "eve",
        "bad",
        "eve.file is /srv/eve.json",
        lambda house: house.set("file", '"/srv/eve.json"', "[eve]"),
        _unit,
    ),
]


# --- the running agent ----------------------------------------------------------------


@contextlib.contextmanager
def _running(house: House) -> Iterator[None]:
    """An agent that answers on the status socket; `house.said` is its page."""
    house.said = {
        "agent": VERSION,
        "problems": [],
        "autonomy_h": 99.0,
        "online": True,
        "oldest_ns": 0,
        "spool_records": 0,
    }
    with StatusStub(house.folder / "status.sock", lambda: json.dumps(house.said)):
        yield


def _says(**changes: object) -> Act:
    return lambda house: house.said.update(changes)


def _file_there(house: House) -> None:
    house.set("socket", '"policy.old"', "[metrics]")
    (house.folder / "policy.old").write_text("mine", encoding="utf-8")


def _moved(house: House) -> None:
    house.set("socket", '"run/status.sock"', "[metrics]")


def _absent(house: House, _: str) -> None:
    """Start the agent: it answers from now on."""
    house.set("socket", '"status.sock"', "[metrics]")


STATUS = [
    Case(
        "status.configured",
        "none",
        "warn",
        "no status socket",
        lambda house: (house.sections.pop("[metrics]"), house.configure()),
    ),
    Case("status.folder", "absent", "bad", "no such folder", _moved),
    Case("status.folder", "file", "bad", "is no socket", _file_there),
    Case(
        "status.answers",
        "stopped",
        "notice",
        "no answer",
        lambda house: house.set("socket", '"other.sock"', "[metrics]"),
        around=_running,
        mend=(r"run `(systemctl start sluicegate)`", _absent),
    ),
    Case(
        "status.version",
        "older",
        "warn",
        "0.0.9 runs",
        _says(agent="0.0.9"),
        around=_running,
        mend=(
            r"run `(systemctl restart sluicegate)`",
            lambda house, _: house.said.update(agent=VERSION),
        ),
    ),
    Case(
        "status.problems",
        "one",
        "warn",
        "store: was damaged",
        _says(problems=["store: was damaged"]),
        around=_running,
        mend=(
            r"^mend what it names: run `(sluicegate doctor -c \S+ --only store)`$",
            lambda house, _: house.said.update(problems=[]),
        ),
    ),
    Case(
        "status.autonomy",
        "short",
        "warn",
        "after 0.5 hours",
        _says(autonomy_h=0.5),
        around=_running,
        mend=(
            r"set `(max_bytes) = (\d+)` under `(\[spool\])`",
            lambda house, field, value, section: (
                house.set(field, value, section),
                house.said.update(autonomy_h=0.5 * int(value) / 4194304),
            ),
        ),
    ),
    Case(
        "status.receipts",
        "stalled",
        "bad",
        "have no receipt",
        lambda house: house.said.update(
            oldest_ns=time.time_ns() - 3600 * 10**9, spool_records=7
        ),
        around=_running,
        mend=(
            r"start the collector.* run `(sluicectl collect)",
            lambda house, _: house.said.update(oldest_ns=0, spool_records=0),
        ),
    ),
]
CASES = [*UNIT, *STATUS]
