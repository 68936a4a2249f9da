"""`sluicegate provision` and `sluicectl enrol`: a device gets its certificate."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.adapters.enrolment import Enrolments, enrolled
from agent.adapters.mqtt import connect
from agent.adapters.policy.loader import Paths
from agent.commands.parts import mqtt_options
from agent.config import parse_config
from agent.errors import Unavailable
from agent.main import run as sluicegate
from protocols.enrolment import encode_answer
from tests.support.broker import needs_mosquitto
from tests.support.enrolling import Enrolling

if TYPE_CHECKING:
    from pathlib import Path


def paths_of(place: Enrolling) -> Paths:
    return Paths(
        str(place.config), parse_config(place.config.read_bytes(), str(place.config))
    )


@pytest.mark.broker
@needs_mosquitto
def test_an_enrolled_device_is_let_in_and_known_by_its_name(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    with pytest.raises(Unavailable, match="not enrolled yet: sluicegate provision"):
        mqtt_options(paths_of(place))
    with place.broker() as broker:
        place.enrol(broker.port)
        options = mqtt_options(paths_of(place))
        assert (options.host, options.port) == ("127.0.0.1", broker.port)

        async def work() -> None:
            link = await connect(options)
            await link.close()

        asyncio.run(work())
        assert "as sluicegate-north-gw-1" in broker.log()
        assert "u'gw-1'" in broker.log()  # the certificate's name


def test_what_is_made_is_its_users_alone(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    place.enrol(8883)
    for path in [place.state, *place.state.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_the_same_request_until_it_is_answered(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    first = place.begin().read_bytes()
    key = (place.enrolment / "pending/tls.key").read_bytes()
    assert place.begin().read_bytes() == first
    place.install(place.answer(place.begin(), 8883))
    assert (place.enrolment / "0001/tls.key").read_bytes() == key
    second = place.begin().read_bytes()
    assert second != first
    assert (place.enrolment / "pending/tls.key").read_bytes() != key


def test_an_answer_needs_the_fingerprint_that_a_person_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    answer = place.answer(place.begin(), 8883)
    told = capsys.readouterr().out.rstrip().rpartition("fingerprint: ")[2]
    words = ["provision", "install", str(answer), "-c", str(place.config)]
    assert sluicegate([*words, "--fingerprint", told[:-1] + "g"]) == 2
    other = ("0" if told[-1] != "0" else "1").join([told[:-1], ""])
    assert sluicegate([*words, "--fingerprint", other]) == 2
    assert "not the answer that the operator made" in capsys.readouterr().err
    assert not (place.enrolment / "0001").exists()
    assert sluicegate([*words, "--fingerprint", told]) == 0
    assert sluicegate([*words, "--fingerprint", told]) == 2  # it is in place already
    assert "nothing waits for an answer" in capsys.readouterr().err


def test_the_configuration_gets_what_was_installed(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    paths = paths_of(place)
    assert enrolled(paths) is paths
    place.enrol(8883)
    mqtt = enrolled(paths).config.mqtt
    assert (mqtt.host, mqtt.port) == ("127.0.0.1", 8883)
    current = Enrolments(place.state).current()
    assert current is not None
    assert mqtt.cert_file == str(current.cert_file)
    place.config.write_text(
        'device = "gw-1"\nfleet = "north"\nstate_dir = "state"\n', encoding="utf-8"
    )
    other = paths_of(place)
    assert enrolled(other) is other  # nobody asked for it


def test_a_damaged_enrolment_gives_way_to_the_former(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    place.enrol(8883)
    place.enrol(8884)
    enrolments = Enrolments(place.state)
    assert (enrolments.standing().current, enrolments.standing().former) == (
        "0002", "0001",
    )  # fmt: skip
    (place.enrolment / "0002/answer.json").write_bytes(b"{")
    current = enrolments.current()
    assert current is not None
    assert current.folder.name == "0001"
    (place.enrolment / "0001/answer.json").write_bytes(b"{")
    assert enrolments.current() is None  # not enrolled: it spools and says so


def test_a_pinned_root_is_not_lost_by_an_answer_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    place.enrol(8883)
    enrolments = Enrolments(place.state)
    current = enrolments.current()
    assert current is not None
    file = current.folder / "answer.json"
    pinned = msgspec.structs.replace(current.answer, root="AAAA")
    file.write_bytes(encode_answer(pinned))
    assert place.install(place.answer(place.begin(), 8883)) == 2
    assert "a trust root is pinned here" in capsys.readouterr().err
    again = enrolments.current()
    assert again is not None
    assert again.answer.root == "AAAA"


def test_a_certificate_without_its_issuer_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Enrolling(tmp_path)
    assert place.install(place.alone(8883)) == 0
    said = capsys.readouterr().out
    assert "no renewal:  it was installed without its issuer's certificate" in said
    assert "sluicegate provision begin" in said
    assert place.shown(capsys)["renewable"] is False
    place.enrol(8883)
    assert "no renewal" not in capsys.readouterr().out
    assert place.shown(capsys)["renewable"] is True
