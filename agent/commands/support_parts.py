"""The parts of a support bundle, one function each: what it takes, never more.

No part reads a spooled message, an evidence entry's body, a policy's text or a key.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import closing, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agent import VERSION
from agent.adapters.clock import SystemClock
from agent.adapters.files import read_limited
from agent.adapters.ownership import as_owner
from agent.adapters.processes import run_once
from agent.adapters.status_client import asker
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from agent.adapters.policy.loader import Paths

SECRET_BYTES_MAX: Final = 4096
SECRET_CHARACTERS: Final = 6  # shorter words are in every text
LOG_LINES: Final = 1000
ASKED_S: Final = 60.0
UNITS: Final = "sluicegate*"
TABLES: Final = ("spool", "retained", "entries", "nodes", "checkpoints", "counters")
UNIT_FACTS: Final = (
    "Id,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ExecMainStartTimestamp,"
    "MemoryCurrent,MemoryPeak,MemoryMax,CPUUsageNSec,TasksCurrent,LimitNOFILE,"
    "WatchdogUSec,FragmentPath,DropInPaths,UnitFileState"
)
PACKAGES: Final = (
    "numpy", "cryptography", "msgspec", "msgpack", "zstandard", "aiomqtt", "paho-mqtt",
    "python-can", "pymodbus", "cantools", "tuf", "pyyaml", "pyserial", "pysunspec2",
)  # fmt: skip


def system(paths: Paths) -> str:
    """Return the machine and what the agent runs on."""
    folder = Path(paths.of(paths.config.state_dir))
    disk = shutil.disk_usage(folder if folder.is_dir() else "/")
    clock = SystemClock()
    return _json(
        {
            "sluicegate": VERSION,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "kernel": platform.release(),
            "system": _os_name(),
            "openssl": ssl.OPENSSL_VERSION,
            "sqlite": sqlite3.sqlite_version,
            "packages": {name: _version(name) for name in PACKAGES},
            "processors": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "disk_bytes": {"total": disk.total, "free": disk.free},
            "time_zone": time.tzname[0],
            "synchronised": clock.is_synchronised(),
            "files": _files(folder),
        }
    )


def _files(folder: Path) -> dict[str, dict[str, object]]:
    """Return sizes and modes of the agent's files; what is not ours to see is not."""
    found = {}
    with suppress(OSError), as_owner(folder):
        for one in sorted(folder.iterdir()):
            facts = one.lstat()
            found[one.name] = {"bytes": facts.st_size, "mode": oct(facts.st_mode)}
    return found


def configuration(paths: Paths) -> str:
    """Return the configuration as it was understood; it holds names of key files."""
    return _json(msgspec.to_builtins(paths.config))


def doctor(paths: Paths) -> str:
    """Return what `doctor` finds, asked of a process of its own."""
    command = (
        sys.executable,
        "-IB",  # like `sluicegate` itself: no module from the folder we happen to be in
        "-m",
        "agent.main",
        "doctor",
        "--json",
        "-c",
        paths.config_file,
    )
    try:
        code, said = run_once(command, ASKED_S)
    except subprocess.TimeoutExpired:
        return f"doctor did not end in {ASKED_S:.0f} s"
    return said if code in {0, 1} else f"doctor ended with {code}: {said}"


def status(paths: Paths) -> str:
    """Return the running agent's state."""
    return _page(paths, "/status")


def metrics(paths: Paths) -> str:
    """Return the running agent's counters."""
    return _page(paths, "/metrics")


def store(paths: Paths) -> str:
    """Return sizes and counts of the database, opened for reading only."""
    file = Path(paths.of(paths.config.state_dir)) / "store.db"
    try:
        with as_owner(file.parent):
            return _json(_counted(file) if file.is_file() else {"there": False})
    except OSError as error:
        return _json({"there": False, "error": error.strerror})


def _counted(file: Path) -> dict[str, object]:
    try:
        place = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as database:
            rows = {}
            for table in TABLES:
                query = f"SELECT count(*) FROM {table}"  # noqa: S608  # our own table names
                rows[table] = database.execute(query).fetchone()[0]
            facts = {
                name: database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("user_version", "page_size", "page_count", "journal_mode",
                             "freelist_count")
            }  # fmt: skip
            ranks = database.execute(
                "SELECT rank, count(*), sum(size) FROM spool INDEXED BY spool_order"
                " GROUP BY rank"
            ).fetchall()
    except sqlite3.Error as error:
        return {"there": True, "error": type(error).__name__}
    return {"there": True, "rows": rows, **facts, "spool_by_rank": ranks}


def units(_: Paths) -> str:
    """Return what systemd says of our units."""
    return _asked("systemctl", "show", UNITS, "--all", f"--property={UNIT_FACTS}")


def log(_: Paths) -> str:
    """Return the last lines of our units' journal."""
    return _asked(
        "journalctl", "--no-pager", "--output=short-iso-precise", "--no-hostname",
        f"--lines={LOG_LINES}", f"--unit={UNITS}",
    )  # fmt: skip


def _page(paths: Paths, page: str) -> str:
    try:
        return asker(Path(paths.config_file))(page).decode("utf-8", "replace")
    except (BadInput, Unavailable) as error:
        return str(error)


def _asked(program: str, *arguments: str) -> str:
    """Return what a program of systemd's says; where there is none, that."""
    found = shutil.which(program)
    if found is None:
        return f"{program} is not on this machine"
    try:
        return run_once((found, *arguments), ASKED_S)[1]
    except subprocess.TimeoutExpired:
        return f"{program} did not answer in {ASKED_S:.0f} s"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _json(told: object) -> str:
    return json.dumps(told, indent=1, sort_keys=True, default=str) + "\n"


def secrets_of(paths: Paths) -> list[str]:
    """Return texts that no part may hold: this device's own secrets, as they stand."""
    found: list[str] = []
    files = []
    with suppress(BadInput):  # a credential, which only the unit is given
        files.append(paths.of(paths.config.mqtt.password_file))
    folder = Path(paths.of(paths.config.state_dir))
    files += [str(folder / name) for name in ("device.key", "pseudonym.key")]
    for name in filter(None, files):
        try:
            with as_owner(folder):
                body = read_limited(Path(name), SECRET_BYTES_MAX)
        except (BadInput, OSError):  # not there, not ours to read, or none of ours
            continue
        found += [body.hex(), b64encode(body).decode()]
        text = body.decode("utf-8", "replace")
        found += [line for line in text.split() if len(line) >= SECRET_CHARACTERS]
    return found
