"""No listener, and no key, VIN or coordinate in the open: files, journal, cores."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.promises.canaries import of_coordinate, of_text, search
from tests.vm.gateway import CONFIG, SERVICE, STATE, Bus, Site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.vm.guest import Guest
    from tests.vm.host import Host

LONG: Final = True  # by name, or with --all
VIN: Final = b"LSVAA4182E2184847"
LATITUDE, LONGITUDE = 31.2397126, 121.4998312  # of nobody; as a receiver gives them
RAW: Final = (312_397_126, 1_214_998_312)  # the same, in 1e-7 degrees
DATABASE: Final = """\
VERSION ""
NS_ :
BS_:
BU_: GNSS
BO_ 512 FINE: 8 GNSS
 SG_ LAT : 0|64@1- (1,0) [-90|90] "deg" GNSS
BO_ 513 FINE_LON: 8 GNSS
 SG_ LON : 0|64@1- (1,0) [-180|180] "deg" GNSS
BO_ 514 SCALED: 8 GNSS
 SG_ ILAT : 0|32@1- (0.0000001,0) [-90|90] "deg" GNSS
 SG_ ILON : 32|32@1- (0.0000001,0) [-180|180] "deg" GNSS
SIG_VALTYPE_ 512 LAT : 2;
SIG_VALTYPE_ 513 LON : 2;
"""
BINDINGS: Final = """\
schema: sluicegate/bindings/1
name: vm
can:
  - bus: can0
    database: secrets.dbc
    signals:
      FINE.LAT: Vehicle.CurrentLocation.Latitude
      FINE_LON.LON: Vehicle.CurrentLocation.Longitude
  - bus: can1
    database: secrets.dbc
    signals:
      SCALED.ILAT: Vehicle.CurrentLocation.Latitude
      SCALED.ILON: Vehicle.CurrentLocation.Longitude
diagnostics:
  - {bus: can0, did: 0xF190, item: Vehicle.VehicleIdentification.VIN}
"""
# Everything may leave, sealed: so all of it is on the disk, and none in the open.
POLICY: Final = """\
schema: sluicegate/policy/1
name: vm
version: 1
min_version: 1
catalogues: [cn-auto]
home_region: CN
destinations:
  oem: {region: CN, recipients: [oem-2026], suite: mlkem768x25519-aes256gcm}
rules:
  - {name: events, match: {category: security.event}, to: oem, purpose: watching,
     do: [encrypt]}
  - {name: positions, match: {category: [location.precise, location.coarse]}, to: oem,
     purpose: safety, do: [encrypt]}
  - {name: vin, match: {category: identity.vin}, to: oem, purpose: safety,
     do: [encrypt]}
retention: {default: 1d}
telemetry: {interval: 1s, checkpoint: 1s}
"""
APART: Final = {"/proc", "/sys", "/dev", "/mnt", "/srv/operator", "/var/cache/vm-pyc"}
CORES: Final = Path("/var/crash")
KEYS: Final = ("device.key", "pseudonym.key")
LIMIT_S: Final = 900
SOURCE: Final = 61_000  # from where the scan asks; none of Linux's own choice
REFUSED: Final = errno.ECONNREFUSED
CHUNK: Final = 1 << 24
OVERLAP: Final = 256


def host(h: Host) -> None:
    """Run the one step; it takes longer than most."""
    h.run("guest", limit_s=LIMIT_S)


def guest(g: Guest) -> None:
    """Scan the ports, plant, search."""
    site = Site(g)
    ports(g, site)
    plant(g, site)
    forms = {**canaries(), **keys()}
    leaks(g, forms)
    cores(g, site, forms)


# --- ports ----------------------------------------------------------------------------


def ports(g: Guest, site: Site) -> None:
    """Look for listeners: as installed, nothing else runs here."""
    g.until("the service is active", site.is_active, 60)
    listening = g.run("ss", "-Hlntup").strip()
    g.check("no socket listens on TCP or UDP", not listening, found=listening[:300])
    g.shell("sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv4.icmp_ratelimit=0")
    for what, kind in (("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)):
        found = open_ports(kind)
        g.check(f"a scan finds none of 65,535 {what} ports open", not found,
                found=found[:5])  # fmt: skip
        with socket.socket(type=kind) as probe:
            probe.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                probe.listen()
            port = probe.getsockname()[1]
            seen = open_ports(kind, range(port - 50, port + 50))
            g.check(f"the scan finds a {what} port that is open", port in seen)
    words = ("-n", "-Pn", "-sT", "--top-ports", "1000", "-oG", "-", "127.0.0.1")
    told = g.run("nmap", *words, limit_s=200)
    named = re.findall(r"\d+/open/[^,]*", told)
    g.check("nmap finds none of its 1,000 usual ports open",
            "1 host up" in told and not named, found=named[:5])  # fmt: skip


def open_ports(kind: int, ports: Iterable[int] = range(1, 65_536)) -> list[int]:
    """Return the ports of this machine where nothing said that nobody listens."""
    found = []
    for port in ports:
        with socket.socket(type=kind) as one:
            # A port of its own: one that connects to itself finds somebody there.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setblocking(False)
            try:
                one.bind(("127.0.0.1", SOURCE if port != SOURCE else SOURCE - 1))
                one.connect(("127.0.0.1", port))
                if kind == socket.SOCK_DGRAM:
                    one.send(b"?")
                    one.send(b"?")  # tells what became of the first
            except ConnectionRefusedError:
                continue
            except BlockingIOError:  # on its way; on loopback it is there by now
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == REFUSED:
                    continue
            found.append(port)
    return found


# --- canaries -------------------------------------------------------------------------


def canaries() -> dict[str, set[bytes]]:
    """Return every form of the VIN and of the coordinates."""
    places = of_coordinate(LATITUDE, RAW[0], 4) | of_coordinate(LONGITUDE, RAW[1], 4)
    return {"VIN": of_text(VIN), "coordinate": places}


def keys() -> dict[str, set[bytes]]:
    """Return every form of the device's two secrets."""
    found: set[bytes] = set()
    for name in KEYS:
        secret = (STATE / name).read_bytes()
        parts = [secret]
        if b"PRIVATE KEY" in secret:
            body = b"".join(secret.splitlines()[1:-1])
            parts = [base64.b64decode(body)[-32:]]
            found |= {line for line in secret.splitlines()[1:-1] if len(line) > 20}
        elif len(secret) > 32:
            parts = [secret[-32:], secret]
        for part in parts:
            found |= {part, part.hex().encode(), base64.b64encode(part)[:-2]}
    return {"key": found}


def plant(g: Guest, site: Site) -> None:
    """Let the canaries pass through the gateway, and let it stumble over them."""
    buses = (Bus("can0", "vcan0"), Bus("can1", "vcan1"))
    log = "/var/log/sluicegate/eve.json"
    site.configure(
        buses, policy=POLICY, bindings=BINDINGS, more=f'[eve]\nfile = "{log}"\n'
    )
    (CONFIG / "secrets.dbc").write_text(DATABASE)
    g.shell(f"chgrp sluicegate {CONFIG}/secrets.dbc; chmod 640 {CONFIG}/secrets.dbc")
    site.buses_up(buses)
    site.broker()  # takes everything; nobody collects, so all of it stays here too
    site.restart()
    g.until("the gateway is online", lambda: site.status().get("online"))
    whole = b"\x62\xf1\x90" + VIN  # ISO 14229-1: an ECU tells its VIN
    frames = [
        ("vcan0", "200", struct.pack("<d", LATITUDE)),
        ("vcan0", "201", struct.pack("<d", LONGITUDE)),
        ("vcan1", "202", struct.pack("<ii", *RAW)),
        ("vcan0", "7E0", b"\x03\x22\xf1\x90" + bytes(4)),
        ("vcan0", "7E8", bytes([0x10, len(whole)]) + whole[:6]),
        ("vcan0", "7E0", b"\x30" + bytes(7)),
        ("vcan0", "7E8", b"\x21" + whole[6:13]),
        ("vcan0", "7E8", (b"\x22" + whole[13:]).ljust(8, b"\0")),
        ("vcan0", "666", VIN[:8]),  # unknown: a finding
        ("vcan0", "200", struct.pack("<d", LATITUDE)[:5]),  # too short: another
    ]
    lines = [f"cansend {bus} {ident}#{data.hex()}" for bus, ident, data in frames]
    for _ in range(5):
        g.shell("\n".join(lines))
        time.sleep(0.3)
    g.until("all was read", lambda: site.metric("samples_total") >= 20, 20)
    # Things that go wrong with the values at hand, and what people look with.
    (CONFIG / "policy.yaml").write_text(POLICY + f"  vin: {VIN.decode()}: [\n")
    g.run("systemctl", "reload", SERVICE)
    for words in (["doctor"], ["status"], ["support-bundle", "/var/tmp/bundle"]):
        g.run("sluicegate", *words, ok=False)
    site.page("metrics")
    (CONFIG / "policy.yaml").write_text(POLICY)
    spooled = site.status().get("spool_records", 0)
    g.need("the values are on the disk, sealed", spooled >= 3, spooled=spooled)


# --- the search -----------------------------------------------------------------------


def leaks(g: Guest, forms: dict[str, set[bytes]]) -> None:
    """Search every file, the journal, and what /proc tells of the daemon."""
    files = list(walk(Path("/")))
    total = 0
    found = {what: set() for what in forms}
    for path in files:
        with contextlib.suppress(FileNotFoundError):  # systemd's own come and go
            total += path.stat().st_size
            for what in holds(path, forms):
                found[what].add(str(path))
    texts = {
        "journal": g.run("journalctl", "-o", "export", "--no-pager").encode(),
        "kernel": g.run("dmesg").encode(),
    }
    pid = g.run("systemctl", "show", SERVICE, "--property=MainPID", "--value").strip()
    for name in ("cmdline", "environ", "stat"):
        texts[f"/proc/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    for what, wanted in forms.items():
        found[what] |= search(texts, wanted).keys()
    own = {str(STATE / name) for name in KEYS}
    for what in ("VIN", "coordinate"):
        g.check(f"no {what} in the open", not found[what], files=len(files),
                MB=total // 10**6, found=sorted(found[what])[:5])  # fmt: skip
    g.check("keys are where they must be and nowhere else", found["key"] == own,
            found=sorted(found["key"])[:6])  # fmt: skip
    modes = {
        (oct(Path(path).stat().st_mode & 0o777), Path(path).owner()) for path in own
    }
    g.check("only their owner reads them", modes == {("0o600", "sluicegate")},
            modes=sorted(modes))  # fmt: skip
    probe = Path("/var/tmp/probe")
    probe.write_bytes(os.urandom(5000) + f"at {LATITUDE:.6f},".encode() + VIN)
    seen = sorted(holds(probe, forms))
    probe.unlink()
    g.check("the search finds what is planted", seen == ["VIN", "coordinate"])


def walk(root: Path) -> Iterator[Path]:
    """Yield every regular file of the machine but what is not the gateway's."""
    for folder, below, names in os.walk(root):
        below[:] = [
            name for name in below if f"{folder.rstrip('/')}/{name}" not in APART
        ]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def holds(path: Path, forms: dict[str, set[bytes]]) -> set[str]:
    """Return which kinds of secret a file holds in any form."""
    found: set[str] = set()
    with path.open("rb") as file:
        tail = b""
        while block := file.read(CHUNK):
            body = {"": tail + block}
            found |= {what for what, wanted in forms.items() if search(body, wanted)}
            tail = block[-OVERLAP:]
    return found


# --- cores ----------------------------------------------------------------------------


def cores(g: Guest, site: Site, forms: dict[str, set[bytes]]) -> None:
    """Let the daemon dump core: into a file, to a program; then without its limits."""
    CORES.mkdir(exist_ok=True)
    g.shell(f"chmod 777 {CORES}; sysctl -qw fs.suid_dumpable=2")
    handler = CORES / "handler"
    handler.write_text(f"#!/bin/sh\nexec cat > {CORES}/piped.$1\n")
    handler.chmod(0o755)
    aborted(g, site, f"{CORES}/file.%p")
    left = [path for path in CORES.glob("file.*") if path.stat().st_size]
    g.check("SIGABRT leaves no core file", not left, left=[str(p) for p in left])
    aborted(g, site, f"|{handler} %p")
    found = {what for path in CORES.glob("piped.*") for what in holds(path, forms)}
    sizes = [path.stat().st_size for path in CORES.glob("piped.*")]
    g.check("a core that is piped to a program holds none", not found,
            sizes=sizes, found=sorted(found))  # fmt: skip
    folder = Path(f"/etc/systemd/system/{SERVICE}.d")
    folder.mkdir(exist_ok=True)
    more = "LimitCORE=infinity\nCoredumpFilter=all\n"
    (folder / "core.conf").write_text(f"[Service]\n{more}")
    g.run("systemctl", "daemon-reload")
    site.restart()
    for piped in CORES.glob("piped.*"):
        piped.unlink()
    aborted(g, site, f"|{handler} %p")
    found = {what for path in CORES.glob("piped.*") for what in holds(path, forms)}
    g.check("the control: without the unit's limits a core holds the key",
            "key" in found, found=sorted(found))  # fmt: skip


def aborted(g: Guest, site: Site, pattern: str) -> None:
    """End the daemon with SIGABRT under a core pattern; wait until it runs again."""
    Path("/proc/sys/kernel/core_pattern").write_text(pattern)
    pid = g.until("the daemon runs", lambda: site.is_active() and site.pid(), 60)
    g.run("kill", "-ABRT", str(pid))
    g.until(
        "it runs again", lambda: site.is_active() and site.pid() not in {0, pid}, 60
    )
