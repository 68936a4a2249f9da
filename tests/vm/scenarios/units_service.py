"""The units: confined, started again, reloaded, credentials, several, port 502."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import BUSES, CONFIG, POLICY, PYTHON, SERVICE, STATE, Site
from tests.vm.guest import PROJECT

if TYPE_CHECKING:
    from tests.vm.guest import Guest
    from tests.vm.host import Host

LONG: Final = True  # by name, or with --all
CAPABILITIES: Final = {"CapEff", "CapBnd", "CapAmb"}
DROPINS: Final = Path("/etc/systemd/system")
TIMER: Final = "sluicegate-retry@sluicegate.timer"
PROXY: Final = """
[[modbus]]
name = "plc1"
mode = "proxy"
host = "127.0.0.1"
port = 1502
listen = "127.0.0.1:502"
"""
ONE_OF_TWO: Final = """\
device = "{name}"
fleet = "vm"
state_dir = "/var/lib/sluicegate-{name}"
[[can]]
name = "can0"
channel = "vcan0"
[metrics]
socket = "/run/sluicegate-{name}/status.sock"
"""
MAKE_KEY: Final = """\
from pathlib import Path
from agent.adapters.device_key import load_or_create
print(load_or_create(Path("/root/device.key"), "gateway-1").public_key().hex())
"""


def host(h: Host) -> None:
    """Boot once; starts and restarts are most of the time."""
    h.run("guest", limit_s=600)


def guest(g: Guest) -> None:
    """One step after the other, each on a unit that is up."""
    site = Site(g)
    site.configure()
    site.buses_up()
    site.restart()
    confined(g, site)
    reloaded(g, site)
    ended(g, site)
    credentials(g, site)
    bad_input(g, site)
    several(g)
    port_502(g, site)
    networkd(g)


def dropin(g: Guest, unit: str, text: str) -> Path:
    """Write a drop-in of a unit and have systemd read it."""
    folder = DROPINS / f"{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vm.conf"
    file.write_text(text)
    g.run("systemctl", "daemon-reload")
    return file


def is_up(g: Guest, unit: str) -> bool:
    """Tell whether a unit is active."""
    words = ("show", unit, "--property=ActiveState", "--value")
    return g.run("systemctl", *words).strip() == "active"


def journal(g: Guest, unit: str = SERVICE) -> str:
    """Return what a unit, and systemd about it, said since the boot."""
    return g.run("journalctl", "-b", "-u", unit, "--no-pager", "-o", "cat")


def confined(g: Guest, site: Site) -> None:
    """What the kernel says of the process, and the process of itself."""
    status = Path(f"/proc/{site.pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    held = [fields[name].strip("0") for name in ("CapEff", "CapBnd", "CapAmb")]
    g.check("no capability", not any(held))
    g.check("no new privileges", fields["NoNewPrivs"] == "1")
    g.check("system calls are filtered", fields["Seccomp"] == "2")
    g.until("the status tells", lambda: "2 of 2 sources" in site.shown("StatusText"))
    text = site.shown("StatusText")
    g.check("policy and uplink are in it", "policy vm 1 active; " in text, text=text)
    g.until(
        "the helper was asked for the clock",
        lambda: (
            "NAccepted=0"
            not in g.run("systemctl", "show", "sluicegate-clock.socket", "-pNAccepted")
        ),
    )


def reloaded(g: Guest, site: Site) -> None:
    """A bad policy is refused, a good one taken, by the same process."""
    pid = site.pid()
    (CONFIG / "policy.yaml").write_text(POLICY + "wrong: 1\n")
    g.run("systemctl", "reload", SERVICE)
    g.until("a bad policy is refused", lambda: "refused" in site.problems())
    (CONFIG / "policy.yaml").write_text(POLICY.replace("version: 1", "version: 2", 1))
    g.run("systemctl", "reload", SERVICE)
    g.until("a good one is taken", lambda: "policy vm 2" in site.shown("StatusText"))
    g.check("nothing was started anew", site.pid() == pid)
    g.run("systemctl", "restart", "--no-block", SERVICE)
    g.until("another process starts", lambda: site.pid() not in {0, pid})
    hangups, pid = 0, site.pid()
    while site.shown("ActiveState") == "activating":
        if hangups < 20 and _minds_hangups(pid):
            os.kill(pid, signal.SIGHUP)
            hangups += 1
    g.check("a hang-up during the start ends nothing", site.pid() == pid, sent=hangups)
    g.check("and it is up", site.is_active())


def _minds_hangups(pid: int) -> bool:
    """Tell whether a process ignores or takes SIGHUP: its interpreter is up."""
    with suppress(FileNotFoundError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        masks = [line.split()[1] for line in lines if line[:6] in {"SigIgn", "SigCgt"}]
        return any(int(mask, 16) >> (signal.SIGHUP - 1) & 1 for mask in masks)
    return False


def ended(g: Guest, site: Site) -> None:
    """Killed, stopped in its tracks, terminated by a stranger: up again."""
    for name in ("SIGKILL", "SIGTERM"):
        pid, start_s = site.pid(), time.monotonic()
        os.kill(pid, signal.Signals[name])
        g.until(f"{name}: gone", lambda pid=pid: site.pid() != pid)
        g.until(f"{name}: up again", site.is_active, 120)
        seconds = round(time.monotonic() - start_s, 2)
        g.check(f"up again after {name}", True, seconds=seconds)
    file = dropin(g, SERVICE, "[Service]\nWatchdogSec=10s\n")
    site.restart()
    pid, start_s = site.pid(), time.monotonic()
    time.sleep(5)
    g.check("the watchdog is fed in its own time", site.pid() == pid)
    os.kill(pid, signal.SIGSTOP)
    g.until("the watchdog bites", lambda: site.pid() != pid, 120)
    g.until("up again", site.is_active, 120)
    seconds = round(time.monotonic() - start_s - 5, 2)
    said = journal(g)
    told = "Watchdog timeout" in said
    g.check("up again after the watchdog", told, seconds=seconds, limit=10)
    cores = [*Path("/var/lib/systemd/coredump").glob("*"), *STATE.glob("core*")]
    g.check("no core is left", not cores)
    file.unlink()
    g.run("systemctl", "daemon-reload")


def credentials(g: Guest, site: Site) -> None:
    """A key that is encrypted at rest, and a password of root's."""
    secret = CONFIG / "secret"
    secret.mkdir(mode=0o700)
    site_packages = f"PYTHONPATH={PROJECT}"
    public = g.run("env", site_packages, PYTHON, "-c", MAKE_KEY).strip()
    (secret / "mqtt.password").write_text("s3cret-of-the-broker\n")
    (secret / "mqtt.password").chmod(0o600)
    sealed = str(secret / "device.key.cred")
    words = ("encrypt", "--with-key=host", "--name=device.key", "/root/device.key")
    g.run("systemd-creds", *words, sealed)
    os.unlink("/root/device.key")  # noqa: PTH108  # as `shred -u`
    text = (CONFIG / "sluicegate.toml").read_text()
    told = text.replace(
        "[metrics]",
        'username = "gw"\npassword_file = "credential:mqtt.password"\n'
        '[identity]\nkey = "credential:device.key"\n[metrics]',
    )
    (CONFIG / "sluicegate.toml").write_text(told)
    g.run("systemctl", "stop", SERVICE)
    shutil.rmtree(STATE)
    dropin(
        g, SERVICE,
        f"[Service]\nLoadCredential=mqtt.password:{secret}/mqtt.password\n"
        f"LoadCredentialEncrypted=device.key:{sealed}\n",
    )  # fmt: skip
    site.restart()
    g.check("it starts with credentials", site.is_active())
    g.check("no other key was made", not (STATE / "device.key").exists())
    mounts = Path(f"/proc/{site.pid()}/mounts").read_text()
    g.check("they are in memory", f"/run/credentials/{SERVICE} ramfs" in mounts)
    words = ("-r", "-l", "-F", "s3cret-of-the-broker", str(STATE), "/run/log", "/tmp")
    g.check("the password is nowhere else", not g.run("grep", *words, ok=False).strip())
    g.check("the device is the one that was made", bool(public), key=public[:8])


def bad_input(g: Guest, site: Site) -> None:
    """A credential that is away: one line, failed, and tried again by the timer."""
    dropin(
        g,
        "sluicegate-retry@.timer",
        "[Timer]\nOnUnitInactiveSec=\nOnUnitInactiveSec=3s\nAccuracySec=1s\n",
    )
    file = DROPINS / f"{SERVICE}.d" / "vm.conf"
    kept = file.read_text()
    dropin(g, SERVICE, "[Service]\n")
    g.run("systemctl", "restart", SERVICE, ok=False)
    g.until("the unit failed", lambda: site.shown("ActiveState") == "failed")
    said = [line for line in journal(g).splitlines() if "credential" in line]
    g.check("one line says why", "gave" in said[-1], line=said[-1])
    g.check("the exit code is 2", site.shown("ExecMainStatus") == "2")
    file.write_text(kept)
    g.run("systemctl", "daemon-reload")
    g.until("mended, it comes back by itself", site.is_active, 120)
    g.run("systemctl", "stop", SERVICE)
    g.check("who is stopped stays stopped", not is_up(g, TIMER))
    file.unlink()
    site.configure()


def several(g: Guest) -> None:
    """Two instances of the template, beside each other on one bus."""
    names = ("left", "right")
    for name in names:
        file = CONFIG / f"{name}.toml"
        file.write_text(ONE_OF_TWO.format(name=name))
        shutil.chown(file, "root", "sluicegate")
        file.chmod(0o640)
    g.run("systemctl", "start", *(f"sluicegate@{name}" for name in names), limit_s=120)
    for name in names:
        words = ("-fsS", "--unix-socket", f"/run/sluicegate-{name}/status.sock")
        page = g.run("curl", *words, "http://localhost/status")
        g.check(f"instance {name} answers", f'"device":"{name}"' in page)
        g.check(
            f"its state is its own: {name}", _has_key(f"/var/lib/sluicegate-{name}")
        )
        g.check(
            f"its timer is armed: {name}",
            is_up(g, f"sluicegate-retry@sluicegate@{name}.timer"),
        )
    g.run("systemctl", "stop", *(f"sluicegate@{name}" for name in names))
    g.check("its socket goes with it", not Path("/run/sluicegate-left").exists())


def _has_key(folder: str) -> bool:
    return (Path(folder) / "device.key").stat().st_mode & 0o777 == 0o600


def port_502(g: Guest, site: Site) -> None:
    """systemd opens it for the proxy's unit; only one of the two runs."""
    site.configure(BUSES, more=PROXY)
    site.restart()
    told = "127.0.0.1:502 was not handed over"
    g.until("without the socket it is refused", lambda: told in site.problems())
    g.check("nobody listens", not _listens(502))
    g.run("systemctl", "start", "sluicegate-proxy", limit_s=120)
    g.check("the other one ended", not is_up(g, SERVICE))
    g.check("and its timer", not is_up(g, TIMER))
    g.until("the proxy listens on port 502", lambda: _listens(502))
    g.until("the link has the socket", lambda: "plc1: listen" not in site.problems())
    pid = _main_pid(g)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    held = [line.split()[1].strip("0") for line in lines if line[:6] in CAPABILITIES]
    g.check("without a capability", len(held) == 3 and not any(held), held=held)
    os.kill(pid, signal.SIGKILL)
    g.check("killed: a master waits and is not refused", _listens(502))
    g.until("up again", lambda: _main_pid(g) not in {0, pid}, 120)
    g.run("systemctl", "restart", "--no-block", "sluicegate-proxy")
    tries = [_listens_after(0.05) for _ in range(20)]
    g.check("restarted: a master waits and is not refused", all(tries))
    g.until("up again", lambda: is_up(g, "sluicegate-proxy"), 120)
    _elsewhere(g, site)
    g.run("systemctl", "stop", "sluicegate-proxy")
    g.until("stopped: nobody listens", lambda: not _listens(502))
    g.check("and no master starts it", not is_up(g, "sluicegate-proxy"))


def _listens_after(seconds: float) -> bool:
    time.sleep(seconds)
    return _listens(502)


def _elsewhere(g: Guest, site: Site) -> None:
    """An address that is not there yet, by a drop-in of the socket."""
    text = "[Socket]\nListenStream=\nListenStream=192.0.2.77:502\n"
    file = dropin(g, "sluicegate-proxy.socket", text)
    _started_anew(g)
    lacks = "plc1: listen: ports below 1024 are opened by systemd"
    g.until("the link has none", lambda: lacks in site.problems())
    g.until("and that is too much", lambda: "192.0.2.77:502: was" in site.problems())
    file.unlink()
    g.run("systemctl", "daemon-reload")
    _started_anew(g)
    g.until("on loopback again", lambda: "handed over" not in site.problems())


def _started_anew(g: Guest) -> None:
    for verb in ("stop", "start"):  # no socket is changed under a service
        g.run("systemctl", verb, "sluicegate-proxy", limit_s=120)


def _main_pid(g: Guest) -> int:
    words = ("show", "sluicegate-proxy", "--property=MainPID", "--value")
    return int(g.run("systemctl", *words).strip() or 0)


def _listens(port: int) -> bool:
    with socket.socket() as peer:
        return peer.connect_ex(("127.0.0.1", port)) == 0


def networkd(g: Guest) -> None:
    """The example files: networkd knows every line, and a virtual bus comes up."""
    for file in (PROJECT / "systemd" / "examples").glob("10-*"):
        text = file.read_text().replace("Name=vcan0", "Name=vcan7")
        (Path("/etc/systemd/network") / file.name).write_text(text)
    g.run("systemctl", "restart", "systemd-networkd", limit_s=90)
    g.until("the bus is there", lambda: Path("/sys/class/net/vcan7").exists())
    mtu = Path("/sys/class/net/vcan7/mtu")
    g.check("it takes FD frames", mtu.read_text().strip() == "72")
    flags = Path("/sys/class/net/vcan7/flags")
    g.until("it is up", lambda: int(flags.read_text(), 16) & 1)
    said = journal(g, "systemd-networkd")
    odd = [line for line in said.splitlines() if "10-" in line and "nknown" in line]
    g.check("networkd knows every line", not odd, odd=odd)
