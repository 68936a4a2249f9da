"""`sluicegate support-bundle`: what a helper needs to see, without any value in it.

A gzipped tar of texts. Names (device, fleet, hosts, addresses) are replaced unless one
asks for them; a part in which a secret, a VIN or a private key still stands is left
out, and the manifest says so.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import socket
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import VERSION
from agent.adapters.configuration import read_config
from agent.adapters.enrolment import enrolled
from agent.adapters.files import write_durably
from agent.adapters.ownership import as_owner
from agent.adapters.policy.loader import Paths
from agent.commands import support_parts as parts
from agent.commands.printing import print_table
from agent.errors import BadInput
from agent.masking import Mask, leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PART_BYTES_MAX: Final = 4 * 1024 * 1024
PARTS: Final[Mapping[str, tuple[Callable[[Paths], str], str]]] = {
    "system.json": (parts.system, "machine, versions, disk, clock"),
    "configuration.json": (parts.configuration, "the configuration, as understood"),
    "doctor.json": (parts.doctor, "what `doctor` finds"),
    "status.json": (parts.status, "the running agent's state"),
    "metrics.txt": (parts.metrics, "the running agent's counters"),
    "store.json": (parts.store, "sizes and counts of the database"),
    "units.txt": (parts.units, "what systemd says of our units"),
    "log.txt": (parts.log, f"the last {parts.LOG_LINES} lines of our log"),
}
FREE_TEXTS: Final = frozenset({"doctor.json", "log.txt", "units.txt"})


def bundle(config_file: Path, out: Path | None, with_names: bool) -> int:
    """Write the bundle and say what is in it; 0 also where the agent is away."""
    paths = Paths(str(config_file), read_config(config_file))
    known = [] if with_names else list(_known(_as_used(paths)))
    mask = Mask(secrets.token_bytes(32), known)
    files: dict[str, str] = {}
    rows = []
    own = parts.secrets_of(paths)
    for name, (gather, what) in PARTS.items():
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{what} ...")
            sys.stderr.flush()
        told = gather(paths)[-PART_BYTES_MAX:]
        if not with_names:
            told = mask.values(told) if name in FREE_TEXTS else mask.names(told)
        why = leaks(told, own)
        files[name] = f"left out: it held {why}\n" if why else told
        rows.append(
            (name, f"{len(files[name])} bytes", f"LEFT OUT: {why}" if why else what)
        )
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    files["manifest.json"] = _manifest(files, with_names)
    file = out or Path(
        time.strftime("sluicegate-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())
    )
    _write(file, files)
    print_table((), rows)
    names = "real names" if with_names else "names replaced"
    sys.stdout.write(f"{file}: {names}; look through it before you send it\n")
    return 0


def _as_used(paths: Paths) -> Paths:
    """Return the paths with the broker of the enrolment, where that is ours to see."""
    with contextlib.suppress(BadInput, OSError), as_owner(_state(paths)):
        return enrolled(paths)
    return paths


def _state(paths: Paths) -> Path:
    return Path(paths.of(paths.config.state_dir))


def _known(paths: Paths) -> Iterator[tuple[str, str]]:
    """Yield what names this device, its owner or its neighbours."""
    config = paths.config
    yield "device", config.device
    yield "fleet", config.fleet
    yield "host", socket.gethostname()
    yield "user", config.mqtt.username
    hosts = [config.mqtt.host, *(link.host for link in config.modbus)]
    hosts += [link.device_tls.server_name for link in config.modbus if link.device_tls]
    for host in hosts:
        if host not in {"localhost", "127.0.0.1", "::1"}:
            yield "host", host


def _manifest(files: Mapping[str, str], with_names: bool) -> str:
    told = {
        "format": "sluicegate/support/1",
        "sluicegate": VERSION,
        "names": "real" if with_names else "replaced",
        "files": {
            name: hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
            for name, text in files.items()
        },
    }
    return json.dumps(told, indent=1) + "\n"


def _write(file: Path, files: Mapping[str, str]) -> None:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as archive,
    ):
        for name, text in files.items():
            body = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"sluicegate-support/{name}")
            entry.size, entry.mode, entry.mtime = len(body), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(body))
    try:
        write_durably(file.absolute(), packed.getvalue())
    except OSError as error:
        reason = error.strerror or os.strerror(0)
        raise BadInput(str(file), "", reason, "name another place with --out") from None
