"""The facts of this machine, and of its certificates, against other sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from agent.commands.doctor.host import Host, parse_listening, parse_units
from agent.commands.doctor.pem import public_key_in, public_key_of, shake_hands
from agent.errors import BadInput
from tests.support.certificates import certificate, saved

HOST = Host()
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")


def test_a_mount_and_its_room_as_df_tells_them(tmp_path: Path) -> None:
    words = ["df", "--output=target,fstype", str(tmp_path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    point, kind = told.splitlines()[1].split()
    mount = HOST.mount(tmp_path)
    assert (mount.point, mount.kind, mount.read_only) == (point, kind, False)
    assert HOST.disk(tmp_path).total == shutil.disk_usage(tmp_path).total


@as_root
def test_a_small_read_only_disk_is_seen(tmp_path: Path) -> None:
    words = ["mount", "-t", "tmpfs", "-o", "ro,size=1m,nr_inodes=7", "none"]
    if subprocess.run([*words, str(tmp_path)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        inside = tmp_path / "not-there"
        mount, disk = HOST.mount(inside), HOST.disk(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert (mount.point, mount.kind, mount.read_only) == (str(tmp_path), "tmpfs", True)
    assert (disk.total, disk.inodes, disk.inodes_free) == (2**20, 7, 6)


def test_numbers_of_the_kernel() -> None:
    assert HOST.sysctl("net.core.rmem_max") > 0
    assert HOST.sysctl("net.core.no_such") == -1
    assert not HOST.link("no-such-if").exists
    assert not HOST.link("lo").is_can
    with pytest.raises(OSError, match=r"not known|No address|Temporary"):
        HOST.resolve("no-such-host.invalid", 1)


def test_the_zone_is_the_name_behind_localtime() -> None:
    assert HOST.zone()
    assert "zoneinfo" not in HOST.zone()


def test_a_key_and_its_certificate(tmp_path: Path) -> None:
    made = certificate("gw")
    _, key = saved(tmp_path, "gw", made)
    assert public_key_of(key) == public_key_in(made[0])
    (tmp_path / "gw.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(BadInput, match="holds no private key"):
        public_key_of(key)


def test_a_peer_that_hangs_up_speaks_no_tls(tmp_path: Path) -> None:
    ca, _ = saved(tmp_path, "ca", certificate("ca"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()[:2]
        code = (
            "import socket,sys; s=socket.socket(fileno=int(sys.argv[1]));"
            "c,_=s.accept(); c.close()"
        )
        words = [sys.executable, "-c", code, str(server.fileno())]
        with subprocess.Popen(words, pass_fds=[server.fileno()]) as child:
            assert shake_hands(place, ca, "", "").code == -1
            child.wait()


def test_a_broker_whose_certificate_nobody_reads_is_told(tmp_path: Path) -> None:
    signed = certificate("broker")
    cert, key = saved(tmp_path, "broker", signed)
    whole = signed[0].public_bytes(Encoding.DER).hex()
    odd = bytes.fromhex(whole.replace("a003020102", "a00302017f", 1))  # version 128
    Path(cert).write_text(ssl.DER_cert_to_PEM_cert(odd), encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):  # strictly, and only to read what is shown
                with contextlib.suppress(OSError), server.accept()[0] as raw:
                    context.wrap_socket(raw, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        found = shake_hands(server.getsockname()[:2], cert, "", "")
        thread.join()
    assert (found.code, found.reason) == (-1, "its certificate cannot be read")


BECOME = """
import os
from agent.adapters.privileges import become
become(65534, 65534, [{keep}])
print(os.getresuid(), os.getresgid(), os.getgroups())
print([l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")][:3])
try:
    os.seteuid(0)
except PermissionError:
    print("no way back")
"""


@as_root
@pytest.mark.parametrize(
    ("keep", "mask"), [("", 0), ('"cap_net_raw"', 1 << 13), ('"cap_sys_admin"', 0)]
)
def test_root_is_left_for_good(keep: str, mask: int) -> None:
    words = [sys.executable, "-c", BECOME.format(keep=keep)]
    root = Path(__file__).resolve().parents[4]
    told = subprocess.run(
        words, cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    three = (NOBODY,) * 3
    assert told[0].startswith(f"{three} {three} [")
    assert "0" not in told[0].partition("[")[2].strip("]").split(", ")
    inherited, permitted, effective = eval(told[1])  # our own child's list
    assert [int(inherited, 16), int(permitted, 16), int(effective, 16)] == [
        0,
        mask,
        mask,
    ]
    assert told[2] == "no way back"


def test_blocks_of_properties_are_units() -> None:
    text = "Id=a.service\nUser=x\nReadWritePaths=\n\nId=b.service\nUser=y=z\n"
    one, two = parse_units(text)
    assert (one["Id"], one["User"], one["ReadWritePaths"]) == ("a.service", "x", "")
    assert (two["Id"], two["User"], two["LoadState"]) == ("b.service", "y=z", "")
    assert parse_units("") == []


def test_addresses_of_a_socket_unit_are_read() -> None:
    text = "Listen=127.0.0.1:502 (Stream)\nListen=[::1]:502 (Stream)\n\nListen=/x (x)\n"
    assert parse_listening(text) == ["127.0.0.1:502", "[::1]:502", "/x"]
