"""`sluicegate modbus` on captures: against the scenario's truth, Zeek and Suricata."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from agent.main import run
from firmware_sim.network.model import NetworkScenario
from firmware_sim.network.recording import write_network
from firmware_sim.scenario import load_scenario
from firmware_sim.schema import nanoseconds
from policies.firewall.learn import CONFIRM
from tests.promises.scan_kit import MAIN

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120  # with two writes of the HMI and an identification by the engineer
NAMED = ("--link", "plc1=10.20.0.11", "--link", "plc2=10.20.0.12:502",
         "--link", "plc3=10.20.0.13")  # fmt: skip


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plant") / "plant.pcap"
    scenario = load_scenario("plant-network-short")
    assert isinstance(scenario, NetworkScenario)
    write_network(scenario, file, SECONDS * 10**9, [], lambda _: True)
    return file


@pytest.fixture(scope="module")
def truth(plant: Path) -> list[dict[str, Any]]:
    text = plant.with_name("plant.pcap.truth.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def told(capfd: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run(["modbus", *map(str, arguments), "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return json.loads(out)


def test_the_map_is_the_truth_request_by_request(
    plant: Path, truth: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    head, rows = truth[0], truth[1:]
    names = {address: name for name, address in head["hosts"].items()}
    found = told(capfd, "map", plant, *NAMED)
    seen = Counter(
        {
            (one["client"], one["device"], one["unit"], one["function"],
             one["address"] or 0, one["count"] or 0, one["write_address"] or 0,
             one["write_count"]): one["requests"]
            for one in found["requests"]
        }
    )  # fmt: skip
    expected = Counter(
        (head["hosts"].get(row["client"], row["client"]), row["server"], row["unit"],
         row["function"], row["address"], row["count"], row["write_address"],
         row["write_count"])
        for row in rows
    )  # fmt: skip
    plain = Counter(
        {(names.get(key[0], key[0]), *key[1:]): count for key, count in seen.items()}
    )
    by_name = Counter(
        {
            (names.get(key[0], key[0]), names.get(key[1], key[1]), *key[2:]): count
            for key, count in expected.items()
        }
    )
    assert plain == by_name
    assert found["exchanges"] == len(rows)
    assert {one["link"]: one["address"] for one in found["devices"]} == {
        name: head["hosts"][name] for name in ("plc1", "plc2", "plc3")
    }
    assert found["left_out"] == {}


def test_the_map_of_icsnpp_is_zeeks(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = data / "modbus-icsnpp"
    found = told(capfd, "map", folder / "modbus_example.pcap")
    names = {"report-slave-id": "report-server-id",
             "encap-interface-transport": "encapsulated-interface"}  # fmt: skip

    def name(zeek: str) -> str:
        plain = zeek.lower().replace("_", "-").removesuffix("-exception")
        return names.get(plain, plain)

    log = (folder / "modbus.log").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in log.splitlines() if line[0] != "#"]
    asked = Counter((row[4], name(row[6])) for row in rows)
    seen: Counter[tuple[str, str]] = Counter()
    for one in found["devices"]:
        for unit in one["units"]:
            for function, count in unit["functions"].items():
                seen[one["address"], function] += count
    assert seen == asked

    log = (folder / "modbus_detailed.log").read_text(encoding="utf-8")
    placed = {
        (row[4], int(row[7]), name(row[8]), int(row[9]), int(row[10]))
        for row in (line.split("\t") for line in log.splitlines() if line[0] != "#")
        if row[9] != "-" and row[10] not in {"-", "0"}
    }
    device = {one["link"]: one["address"] for one in found["devices"]}
    ours = {
        (device[one["device"]], one["unit"], one["name"], one["address"], one["count"])
        for one in found["requests"]
        if one["function"] in {1, 2, 3, 4, 5, 6, 15, 16}
    }
    assert ours == placed
    assert sum(one["exceptions"] for one in found["requests"]) == 1


def test_the_map_of_suricatas_capture_has_its_requests(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = told(capfd, "map", data / "modbus-suricata" / "modbus.pcap")
    seen: Counter[str] = Counter()
    for one in found["devices"]:
        for unit in one["units"]:
            seen.update(unit["functions"])
    # As tshark counts them; what a resynchronisation guesses at in bytes that are no
    # Modbus (a fourth connection) comes beside them.
    expected = {
        "diagnostics": 8, "encapsulated-interface": 2, "report-server-id": 2,
        "read-coils": 2, "read-holding-registers": 1, "write-single-coil": 2,
        "write-single-register": 1,
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected
    assert found["not_read"]["bytes of no ADU"] > 0


def test_the_table_for_people_has_no_values_unless_asked(
    plant: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["modbus", "map", str(plant), *NAMED]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert "10.20.0.11  plc1" in out
    assert re.search(r"product +SIM-TANK", out)
    assert "holding registers  0-19: read" in out
    assert "perhaps f32 ABCD at 0 4 6 18" in out
    assert "values" not in out
    assert run(["modbus", "map", str(plant), *NAMED, "--values"]) == 0
    assert re.search(r"0-19: .*values 0 to \d+", capfd.readouterr().out)


def test_learn_then_check(
    plant: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plant"
    assert run(["modbus", "learn", str(plant), "--out", str(out)]) == 0
    assert "reads only" in capfd.readouterr().out
    policy = tmp_path / "plant.policy.yaml"
    bindings = tmp_path / "plant.bindings.yaml"
    assert policy.stat().st_mode & 0o777 == 0o600
    check = ["modbus", "check", str(plant), "--policy", str(policy), "-b",
             str(bindings)]  # fmt: skip

    assert run(check) == 2
    assert "confirm: no such field" in capfd.readouterr().err

    policy.write_text(policy.read_text().replace(CONFIRM, ""))
    assert run([*check, "--expect", "clean"]) == 1
    table = capfd.readouterr().out.splitlines()
    refused = [line for line in table if line.startswith("refused")]
    assert refused
    assert all(re.search(r" (6|16) write-", line) for line in refused)
    assert not [line for line in table if "no link" in line]
    assert run(["modbus", "learn", str(plant), "--out", str(out)]) == 2
    assert "exists already" in capfd.readouterr().err


def test_the_shipped_policy_refuses_nothing_of_the_plant(
    plant: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = ("--policy", "sim-network", "-b", "sim-network", "--expect", "clean")
    found = told(capfd, "check", plant, *policy, *NAMED)
    assert found["counts"].keys() == {"allowed"}
    assert found["unlisted"] == {}
    assert {one["rule"] for one in found["lines"]} >= {"tank-values", "meter"}


def test_a_device_without_a_name_is_told(
    plant: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = ("--policy", "sim-network", "-b", "sim-network")
    assert run(["modbus", "check", str(plant), *policy, *NAMED[:2]]) == 0
    assert "no link: 10.20.0.13" in capfd.readouterr().out


def test_devices_are_named_as_the_gateway_has_them(
    plant: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gw.toml"
    config.write_text(
        'device = "gw-1"\nfleet = "f"\nstate_dir = "state"\n'
        '[[modbus]]\nname = "tank"\nmode = "watch"\nhost = "10.20.0.11"\n'
    )
    found = told(capfd, "map", plant, "--config", config)
    names = {one["address"]: one["link"] for one in found["devices"]}
    assert names == {
        "10.20.0.11": "tank",
        "10.20.0.12": "device-10-20-0-12",
        "10.20.0.13": "device-10-20-0-13",
    }


def test_a_compressed_capture_is_the_same(
    plant: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "plant.pcap.gz"
    with plant.open("rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)
    first = told(capfd, "map", plant)
    second = told(capfd, "map", packed)
    assert {**second, "source": ""} == {**first, "source": ""}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["map"], "give captures or --interface"),
        (["map", "a.pcap", "--interface", "lo"], "and not both"),
        (["map", "none.pcap"], "none.pcap: No such file"),
        (["map", "a.pcap", "--link", "plc1"], "not NAME=ADDRESS"),
        (["map", "a.pcap", "--link", "plc1=host"], "not NAME=ADDRESS"),
        (["map", "a.pcap", "-l", "a=10.0.0.1", "-l", "b=10.0.0.1"], "is a already"),
        (["check", "a.pcap", "--policy", "lockdown"], "no such section"),
        (["check", "a.pcap", "--policy", "sim-network", "-b", "sim-network",
          "--expect", "dirt"], "knows `clean` only"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["modbus", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err


def test_a_broken_capture_says_where(
    plant: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(plant.read_bytes()[:5000])
    assert run(["modbus", "map", str(cut)]) == 2
    assert "file ends inside it" in capfd.readouterr().err


def test_a_capture_without_modbus_is_told(
    plant: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(plant.read_bytes()[:24])
    assert run(["modbus", "learn", str(empty), "--out", str(tmp_path / "x")]) == 2
    assert "holds no Modbus on port 502" in capfd.readouterr().err
    assert not list(tmp_path.glob("x*"))


@pytest.mark.slow
def test_all_attacks_are_judged_as_the_slow_firewall_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The figures are those of docs/scenarios.md, which the slow firewall made."""
    file = tmp_path / "attacks.pcap"
    scenario = load_scenario("plant-attacks")
    assert isinstance(scenario, NetworkScenario)
    duration = nanoseconds(scenario.duration)
    write_network(scenario, file, duration, scenario.attacks, lambda _: True)
    policy = ("--policy", "sim-network", "-b", "sim-network", *NAMED)
    found = told(capfd, "check", file, *policy)
    assert found["counts"]["refused"] == 8685
    reasons: Counter[str] = Counter()
    for line in found["lines"]:
        reasons[line["reason"]] += line["count"]
    # 14 of replay; 5 beyond-limits and 3 drift; 6 malformed and a vendor's function.
    assert (reasons["rate"], reasons["value"]) == (14, 8)
    assert found["beyond"] == 0
    assert run(["modbus", "check", str(file), *policy]) == 0
    table = capfd.readouterr().out.splitlines()
    assert len(table) < 60  # scans are one line each
    assert [line for line in table if re.search(r"200 of 1-200 +127 of 1-127", line)]
    assert run(["modbus", "map", str(file), *NAMED]) == 0
    shown = capfd.readouterr().out
    assert re.search(r"10\.20\.0\.66 +plc3 +200 units", shown)


def test_a_reader_that_has_seen_enough_is_no_error(plant: Path) -> None:
    command = [sys.executable, "-c", MAIN, "modbus", "map", str(plant), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0
