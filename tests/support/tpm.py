"""A TPM 2.0 in software (swtpm), on 127.0.0.1, for as long as it is wanted."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROVIDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
PROGRAMS = ("swtpm", "tpm2-abrmd", "dbus-daemon", "openssl")
TCTI = "TPM2OPENSSL_TCTI"


def has_tpm() -> bool:
    """Tell whether swtpm, a resource manager, openssl and its provider are here."""
    provider = any(Path(one, "ossl-modules/tpm2.so").exists() for one in PROVIDERS)
    return provider and all(map(shutil.which, PROGRAMS))


needs_tpm = pytest.mark.skipif(
    not has_tpm(), reason="needs swtpm, tpm2-abrmd, dbus and tpm2-openssl"
)


def _two_ports() -> int:
    """Return the first of two free ports: who speaks to swtpm wants them in a row."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
            probe.bind(("127.0.0.1", first + 1))
            return first


@contextlib.contextmanager
def software_tpm(folder: Path) -> Iterator[str]:
    """Give what ``TPM2OPENSSL_TCTI`` must say to reach it, through a resource manager.

    A gateway has the kernel's; here it is tpm2-abrmd, on a message bus of its own.
    """
    state = folder / "tpm"
    state.mkdir()
    port = _two_ports()
    where = [f"type=tcp,port={one},bindaddr=127.0.0.1" for one in (port, port + 1)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _running(
                "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
                "--server", where[0], "--ctrl", where[1],
                "--flags", "not-need-init,startup-clear",
            )
        )  # fmt: skip
        bus = folder / "bus"
        address = f"unix:path={bus}"
        stack.enter_context(
            _running("dbus-daemon", "--session", "--nofork", f"--address={address}")
        )
        _wait(bus.exists)
        log = folder / "abrmd.log"
        stack.enter_context(
            _running(
                "tpm2-abrmd", "--allow-root", "--session",
                f"--tcti=swtpm:host=127.0.0.1,port={port}",
                env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": address,
                     "G_MESSAGES_DEBUG": "all"},
                log=log,
            )
        )  # fmt: skip
        _wait(lambda: b"acquired" in log.read_bytes().lower())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
            yield "tabrmd:bus_type=session"


def _wait(seen: Callable[[], bool]) -> None:
    for _ in range(200):
        if seen():
            return
        time.sleep(0.05)
    raise AssertionError("no TPM after 10 s")


@contextlib.contextmanager
def _running(
    *words: str, env: dict[str, str] | None = None, log: Path | None = None
) -> Iterator[None]:
    with (log or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
