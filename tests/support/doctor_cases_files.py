"""Cases of configuration, state, store and clock."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.adapters.device_key import load_or_create
from agent.commands.doctor.host import Disk, Mount
from tests.support.doctor_case import Act, Case

if TYPE_CHECKING:
    from tests.support.doctor_house import House

MIB = 2**20
DAY_NS = 86_400 * 10**9
NOBODY = 65534


def _machine(**changes: object) -> Act:
    def seed(house: House) -> None:
        for name, value in changes.items():
            setattr(house.machine, name, value)

    return seed


def _config(field: str, value: str, section: str = "") -> Act:
    return lambda house: house.set(field, value, section)


# --- configuration --------------------------------------------------------------------


def _linked_eve(house: House) -> None:
    (house.folder / "logs").mkdir()
    (house.folder / "logs/eve.json").symlink_to("/etc/hostname")
    house.set("file", '"logs/eve.json"', "[eve]")


def _rename(house: House, old: str = "device", new: str = "devise") -> None:
    house.sections[""][new] = house.sections[""].pop(old)
    house.configure()


def _gone(house: House) -> None:
    house.config.rename(house.folder / "elsewhere.toml")


def _come_back(house: House, name: str) -> None:
    assert name == str(house.config)
    house.configure()


CONFIG = [
    Case(
        "config.readable",
        "absent",
        "bad",
        "is not there",
        _gone,
        mend=(r"name it with --config, or write it to (\S+)", _come_back),
    ),
    Case("config.parse", "unknown", "bad", "colour", _config("colour", "1")),
    Case(
        "config.parse",
        "misspelt",
        "bad",
        "devise",
        _rename,
        mend=(r"rename `(\w+)` to `(\w+)` in ", _rename),
    ),
    Case(
        "config.parse",
        "value",
        "bad",
        "mqtt.port",
        _config("port", "70000", "[mqtt]"),
        mend=(r"mend `mqtt\.port`", lambda house: house.set("port", "1", "[mqtt]")),
    ),
    Case(
        "config.permissions",
        "file",
        "bad",
        "mode 0666",
        lambda house: house.config.chmod(0o666),
    ),
    Case(
        "config.permissions",
        "policy",
        "bad",
        "policy.yaml",
        lambda house: (house.folder / "policy.yaml").chmod(0o664),
    ),
    Case(
        "config.permissions",
        "cards",
        "bad",
        "cards",
        lambda house: (house.folder / "cards").chmod(0o777),
    ),
    Case(
        "config.sources",
        "none",
        "warn",
        "nothing is read",
        lambda house: (house.sections.pop("[[can]] can0"), house.configure()),
        mend=(
            r"add a `(\[\[can\]\])`",
            lambda house, section: house.set(
                "interface", '"virtual"', f"{section} can0"
            ),
        ),
    ),
    Case(
        "config.policy",
        "none",
        "notice",
        "lockdown decides",
        _config("policy", ""),
        given={"FILE": "policy.yaml"},
    ),
    Case(
        "user.identity",
        "another",
        "warn",
        "owns the state",
        lambda house: os.chown(house.state, NOBODY, NOBODY),
        mend=(
            r"run `sudo (sluicegate doctor)",
            lambda house, _: os.chown(house.state, 0, 0),
        ),
        as_root=True,
    ),
    Case(
        "eve.place",
        "folder",
        "bad",
        "no such folder",
        _config("file", '"logs/eve.json"', "[eve]"),
    ),
    Case("eve.place", "link", "bad", "is a link", _linked_eve),
]


# --- state and disk -------------------------------------------------------------------


def _no_state(house: House) -> None:
    house.state.rmdir()


def _stepped_down(house: House) -> None:
    house.user = replace(house.user, stepped_down=True)


def _foreign_file(house: House) -> None:
    file = house.state / "store.db.lock"
    file.touch()
    os.chown(file, NOBODY, NOBODY)


def _free(house: House, mib: str, point: str) -> None:
    assert point == "/"
    room = house.machine.room
    house.machine.room = replace(room, free=room.free + int(mib) * MIB)


def _unlink(house: House, count: str, point: str) -> None:
    assert point == "/"
    room = house.machine.room
    house.machine.room = replace(room, inodes_free=room.inodes_free + int(count))


def _key(house: House) -> None:
    load_or_create(house.state / "device.key", "gw-1")


def _file(name: str, body: bytes, mode: int = 0o600) -> Act:
    def seed(house: House) -> None:
        file = house.state / name
        file.write_bytes(body)
        file.chmod(mode)

    return seed


def _full(free: int, inodes: int = 10**6) -> Disk:
    return Disk(free, 200 * 2**30, inodes, 2 * 10**6)


def _aside_and_full(house: House) -> None:
    aside = house.state / "store.db.damaged-1"
    aside.write_bytes(b"x")
    house.machine.room = _full(10 * MIB)


def _rm_aside(house: House, command: str) -> None:
    house.run(command)
    assert not [*house.state.glob("*damaged*")]
    house.machine.room = _full(100 * 2**30)


STATE = [
    Case("state.folder", "absent", "notice", "not there yet", _no_state),
    Case(
        "state.folder",
        "file",
        "bad",
        "is no folder",
        lambda house: (_no_state(house), house.state.touch()),
    ),
    Case(
        "state.permissions",
        "open",
        "warn",
        "mode 0755",
        lambda house: house.state.chmod(0o755),
    ),
    Case(
        "state.filesystem",
        "memory",
        "warn",
        "tmpfs",
        _machine(mounted=Mount("/run", "tmpfs", False)),
        mend=(
            r"set `state_dir = \"/var/lib/sluicegate\"`, on a disk",
            _machine(mounted=Mount("/", "ext4", False)),
        ),
    ),
    Case(
        "state.filesystem",
        "network",
        "bad",
        "no home for a database",
        _machine(mounted=Mount("/srv", "nfs4", False)),
        mend=(
            r"set `state_dir = \"/var/lib/sluicegate\"`, on a disk",
            _machine(mounted=Mount("/", "ext4", False)),
        ),
    ),
    Case(
        "state.writable",
        "read-only",
        "bad",
        "mounted read-only",
        _machine(mounted=Mount("/", "ext4", True)),
    ),
    Case(
        "disk.free",
        "full",
        "bad",
        "not enough",
        _machine(room=_full(10 * MIB)),
        mend=(r"^free (\d+) MiB on (\S+)$", _free),
        also=("disk.cap",),
    ),
    Case(
        "disk.free",
        "nearly",
        "warn",
        "nearly full",
        _machine(room=_full(2**30)),
        mend=(r"^free (\d+) MiB on (\S+)$", _free),
    ),
    Case(
        "disk.free",
        "set aside",
        "bad",
        "not enough",
        _aside_and_full,
        mend=(r"^run `(rm [^`]+)`, or free \d+ MiB", _rm_aside),
        also=("disk.cap",),
    ),
    Case(
        "disk.cap",
        "spool",
        "warn",
        "there is room for",
        _config("max_bytes", str(2**40), "[spool]"),
    ),
    Case(
        "disk.cap",
        "no room",
        "warn",
        "there is room for",
        _machine(room=Disk(80 * MIB, 2**30, 0, 0)),
        mend=(r"^free (\d+) MiB on (\S+)$", _free),
    ),
    Case(
        "disk.inodes",
        "gone",
        "bad",
        "inodes are left",
        _machine(room=_full(2**37, 3)),
        mend=(
            r"^remove (\d+) files on (\S+)$",
            lambda house, _, point: _unlink(house, "1000000", point),
        ),
    ),
    Case(
        "disk.inodes",
        "few",
        "warn",
        "inodes are left",
        _machine(room=_full(2**37, 9000)),
        mend=(r"^remove (\d+) files on (\S+)$", _unlink),
    ),
    Case(
        "key.device",
        "mode",
        "bad",
        "mode 0644",
        lambda house: (house.state / "device.key").chmod(0o644),
        _key,
    ),
    Case(
        "key.device",
        "none",
        "bad",
        "not an Ed25519 key",
        _file("device.key", b"no key"),
        mend=(
            r"or run `(rm [^`]+)` and enrol",
            lambda house, command: house.run(command),
        ),
    ),
    Case(
        "key.pseudonym",
        "short",
        "bad",
        "has not 32 bytes",
        _file("pseudonym.key", b"short"),
        mend=(
            r"or run `(rm [^`]+)`: pseudonyms begin",
            lambda house, command: house.run(command),
        ),
    ),
    Case(
        "key.pseudonym",
        "mode",
        "bad",
        "mode 0640",
        _file("pseudonym.key", bytes(32), 0o640),
    ),
    Case(
        "state.consents",
        "none",
        "bad",
        "is no JSON",
        _file("consents.json", b'{"schema": "sluicegate/consents/1"'),
    ),
    Case(
        "state.ownership",
        "of another",
        "bad",
        "belongs to nobody",
        _foreign_file,
        as_root=True,
    ),
    Case(
        "state.ownership",
        "folder",
        "bad",
        "belongs to nobody",
        lambda house: os.chown(house.state, NOBODY, NOBODY),
        _stepped_down,
        as_root=True,
    ),
]


CASES = [*CONFIG, *STATE]
