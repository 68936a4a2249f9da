"""Renewal step by step: what is asked, which answers are taken, and the way back."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from agent.adapters.access import EnrolledAccess, FileAccess
from agent.adapters.device_key import load_or_create
from agent.adapters.enrolment import RENEWING, Enrolments
from agent.adapters.enrolment_changes import Changes
from agent.adapters.mqtt import MqttOptions
from agent.adapters.renewing import AGAIN_NS, Renewing
from agent.errors import BadInput, Unavailable
from agent.records import Incoming
from fleet.enrol import authority
from fleet.enrol.desk import Desk as Issuing
from fleet.enrol.issuing import Issuer, answer_of, issued
from fleet.errors import Refused
from fleet.trust.signing import Passphrases
from protocols.enrolment import Broker, encode_answer, open_message
from tests.support.certificates import certificate, saved
from tests.support.enrolling import Enrolling

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.steering import Desk
    from agent.ports import Link
    from protocols.enrolment import Answer

DAY_NS = 86_400 * 10**9
OPTIONS = MqttOptions("broker.example", 8883, "gw")


class Clock:
    """Wall and monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.ns = int(dt.datetime.now(dt.UTC).timestamp()) * 10**9

    def now_ns(self) -> int:
        return self.ns

    monotonic_ns = now_ns


class Scene:
    """One enrolled device whose uplink, publisher and keeper only remember."""

    def __init__(self, folder: Path, age: int = 0) -> None:
        self.place = Enrolling(folder)
        self.place.aged(8883, 90, age)
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.entries: list[bytes] = []
        self.calls: list[str] = []
        self.acknowledged = 0
        self.enrolments = Enrolments(self.place.state)
        signer = load_or_create(self.place.state / "device.key", "gw-1")
        watch = SimpleNamespace(known_ns=self.clock.now_ns, past_ns=lambda: 0)
        self.now = SimpleNamespace(troubles={}, certificate_ns=0)
        self.uplink = SimpleNamespace(
            online=True, come_again=lambda: self.calls.append("again")
        )
        self.publisher = SimpleNamespace(enrol=self.sent.append, enrol_refused="")
        desk = SimpleNamespace(
            now=self.now, clock=self.clock, watch=watch, uplink=self.uplink,
            publisher=self.publisher, identity=SimpleNamespace(signer=signer),
            evidence=SimpleNamespace(certificate=lambda *_: b"entry"), keeper=self,
        )  # fmt: skip
        self.access = EnrolledAccess(OPTIONS, self.enrolments)
        names = ("north", "gw-1")
        self.renewing = Renewing(
            names, cast("Desk", desk), self.access, self.enrolments
        )
        self.identity = signer.public_key()

    async def testify(self, entry: bytes) -> None:
        self.entries.append(entry)

    async def acknowledge(self, _: object) -> None:
        self.acknowledged += 1

    def connect(self) -> None:
        self.access.options()
        asyncio.run(self.access.taken())

    def look(self, answer: Answer | bytes | None = None) -> str:
        async def work() -> None:
            if answer is not None:
                body = answer if isinstance(answer, bytes) else encode_answer(answer)
                message = Incoming("t", body, retain=False, qos=1, number=1)
                await self.renewing.take(cast("Link", self), message)
            await self.renewing.look()

        asyncio.run(work())
        return str(self.now.troubles.get("certificate", ""))

    def answer(self, age: int = 0, days: int = 90, by: str = "") -> Answer:
        asked = open_message(self.sent[-1], self.identity)
        issuer = self.place.authority()
        if by:
            paths = authority.found(by, self.place.folder / by, 1, _now(), None)
            issuer = authority.load(*paths, Passphrases())
        then = _now() - dt.timedelta(days=age)
        return answer_of(asked, issued(asked, Issuer(issuer, days), then))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def test_nothing_is_asked_before_two_thirds_are_over(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=59)
    scene.connect()
    assert scene.look() == ""
    assert not scene.sent
    assert scene.now.certificate_ns > scene.clock.ns + 30 * DAY_NS
    scene.clock.ns += 2 * DAY_NS
    assert scene.look() == ""  # asked, and no reason yet to worry
    assert len(scene.sent) == 1


def test_the_same_request_is_sent_again_until_it_is_answered(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=75)
    scene.connect()
    assert scene.look() == "15.0 days left: no answer to our request"
    scene.look()
    assert len(scene.sent) == 1
    scene.clock.ns += DAY_NS
    scene.look()
    assert len(scene.sent) == 2
    assert scene.sent[0] == scene.sent[1]
    scene.publisher.enrol_refused = "heard by nobody"
    scene.clock.ns += 61 * 10**9
    assert "our request was heard by nobody" in scene.look()
    assert len(scene.sent) == 3
    scene.uplink.online = False
    scene.clock.ns += 20 * DAY_NS
    assert scene.look().startswith("has expired")
    assert len(scene.sent) == 3


def test_a_good_answer_is_installed_and_used_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=70)
    scene.connect()
    scene.look()
    answer = scene.answer()
    assert scene.look(answer) == ""
    assert scene.calls == ["again"]
    assert scene.entries == [b"entry"]
    assert scene.acknowledged == 1
    assert scene.enrolments.standing().former == "0001"
    scene.connect()
    assert scene.enrolments.standing().proved
    assert not (scene.place.enrolment / "0001").exists()
    scene.look(answer)  # it came twice
    assert (scene.calls, len(scene.entries)) == (["again"], 1)


def test_who_came_without_an_issuer_asks_nobody_and_is_told_why(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    assert scene.place.install(scene.place.alone(8883)) == 0
    scene.connect()
    scene.clock.ns += 75 * DAY_NS
    trouble = scene.look()
    assert not scene.sent  # no answer could be taken
    assert trouble.startswith("15.0 days left: it was installed without its issuer's")
    assert trouble.endswith(": sluicegate provision begin")
    scene.place.enrol(8883)
    scene.connect()
    assert scene.look() == "15.0 days left: no answer to our request"
    assert len(scene.sent) == 1


def test_an_answer_of_the_leaf_alone_can_be_renewed_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=70)
    scene.connect()
    for days in (200, 300):
        scene.look()
        whole = scene.answer(days=days)
        leaf = msgspec.structs.replace(whole, certificates=whole.certificates[:1])
        assert scene.look(leaf) == ""
        scene.connect()
        scene.clock.ns += 140 * DAY_NS
    assert scene.enrolments.standing().current == "0003"


def _changed(answer: Answer, old: str, new: str) -> Answer:
    """Return the answer with other bytes (hex) in its leaf."""
    leaf = base64.b64decode(answer.certificates[0]).hex()
    assert old in leaf
    changed = base64.b64encode(bytes.fromhex(leaf.replace(old, new, 1))).decode()
    certificates = (changed, *answer.certificates[1:])
    return msgspec.structs.replace(answer, certificates=certificates)


BAD = {
    "version 128": (
        lambda s: _changed(s.answer(), "a003020102", "a00302017f"),
        "certificate: is not readable",
    ),
    "a name of a kind that nobody reads": (  # [6] URI, [3] x400Address
        lambda s: _changed(s.answer(), "8619" + b"urn:".hex(), "a319" + b"urn:".hex()),
        "certificate: ",
    ),
    "another authority": (lambda s: s.answer(by="stranger"), "authority that issued"),
    "shorter": (lambda s: s.answer(days=5), "does not last longer"),
    "expired": (lambda s: s.answer(age=100), "validity: expired"),
    "no JSON": (lambda _: b"\xff", "form: "),
    "too large": (lambda _: b" " * 70_000, "form: larger than"),
    "another device": (
        lambda s: msgspec.structs.replace(s.answer(), device="gw-2"),
        "wrong-device",
    ),
    "another request": (
        lambda s: msgspec.structs.replace(s.answer(), request="0" * 64),
        "other-request",
    ),
    "another broker": (
        lambda s: msgspec.structs.replace(
            s.answer(),
            broker=Broker(
                host="evil.example",
                port=8883,
                ca=(s.place.folder / "broker.pem").read_text(),
            ),
        ),
        "would change the broker",
    ),
    "another root": (
        lambda s: msgspec.structs.replace(s.answer(), root="e30="),
        "would change the broker or the trust root",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_changes_nothing_and_is_told(tmp_path: Path, name: str) -> None:
    make, words = cast("Any", BAD[name])
    scene = Scene(tmp_path, age=75)
    scene.connect()
    scene.look()
    before = scene.enrolments.standing()
    assert words in scene.look(make(scene))
    assert scene.enrolments.standing() == before
    assert (scene.calls, scene.acknowledged) == ([], 1)
    assert scene.look(scene.answer()) == ""  # the right one is taken still
    assert scene.calls == ["again"]


def test_a_damaged_enrolment_here_ends_nobody(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=75)
    scene.connect()
    scene.look()
    here = scene.place.enrolment / "0001/answer.json"
    text = here.read_text(encoding="utf-8")
    here.write_text(text.replace('"MII', '"AAA', 1), encoding="utf-8")
    assert "an answer was refused" in scene.look(scene.answer())


def test_an_answer_that_found_no_room_is_asked_for_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, age=75)
    scene.connect()
    scene.look()

    def full(*_: object) -> None:
        raise Unavailable("enrolment", "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Changes, "install", full)
        assert "No space left" in scene.look(scene.answer())
    scene.clock.ns += 61 * 10**9
    scene.look()
    assert len(scene.sent) == 2
    assert scene.look(scene.answer()) == ""


def test_an_enrolment_that_goes_while_we_look_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, age=75)
    scene.connect()

    def gone(self: Enrolments) -> None:
        raise BadInput(str(self.folder), "", "No such file or directory")

    monkeypatch.setattr(Enrolments, "current", gone)
    assert "No such file" in scene.look()


def test_after_a_bad_answer_another_request_is_made(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=75)
    scene.connect()
    scene.look()
    scene.look(scene.answer(by="stranger"))
    scene.clock.ns += DAY_NS
    scene.look()
    assert len({*scene.sent}) == 2  # else the authority would answer the same again
    assert scene.look(scene.answer()) == ""


def test_a_new_one_that_is_turned_away_gives_way_to_the_former(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=70)
    scene.connect()
    scene.look()
    scene.look(scene.answer())
    assert "/0002/" in scene.access.options().cert_file
    scene.access.turned_away("the broker says: no")
    assert "/0001/" in scene.access.options().cert_file
    asyncio.run(scene.access.taken())
    assert scene.enrolments.standing().former == "0001"  # kept
    assert scene.look() == "the new one is not taken: the broker says: no"
    assert scene.calls == ["again"]
    scene.clock.ns += AGAIN_NS + 1
    scene.look()
    assert scene.calls == ["again", "again"]  # it is tried again, seldom
    assert "/0002/" in scene.access.options().cert_file
    scene.connect()
    assert scene.look() == ""


def test_a_key_that_was_given_up_is_not_certified_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, age=70)
    scene.connect()
    scene.look()
    first = scene.sent[-1]
    issuer = Issuer(scene.place.authority(), 90)
    desk = Issuing("north", scene.place.folder / "devices", issuer)
    answer = desk.renewed("gw-1", first, _now())
    assert desk.renewed("gw-1", first, _now()) == answer  # asked twice, issued once
    scene.look(answer)
    scene.connect()
    scene.clock.ns += 61 * DAY_NS
    scene.look()
    assert scene.enrolments.asked(RENEWING) is not None
    newer = desk.renewed("gw-1", scene.sent[-1], _now())
    assert newer.certificates[0] != answer.certificates[0]
    with pytest.raises(Refused, match="replayed"):
        desk.renewed("gw-1", first, _now())
    with pytest.raises(Refused, match="not-enrolled"):
        desk.renewed("gw-2", first, _now())
    (scene.place.folder / "devices/gw-1.device.json").unlink()
    with pytest.raises(Refused, match="not-enrolled"):
        desk.renewed("gw-1", scene.sent[-1], _now())


# --- files of the owner ---------------------------------------------------------------


def test_a_file_that_is_replaced_is_used_at_the_next_connection(
    tmp_path: Path,
) -> None:
    (tmp_path / "gw").mkdir()
    scene = Scene(tmp_path / "gw")
    ca = certificate("ca")
    saved(tmp_path, "ca", ca)
    cert, key = saved(tmp_path, "mine", certificate("gw", ca, days=2))
    options = MqttOptions(
        "b", 1, "gw", ca_file=str(tmp_path / "ca.pem"), cert_file=cert, key_file=key
    )
    access = FileAccess(options)
    scene.access = cast("Any", access)
    desk = scene.renewing._desk
    scene.renewing = Renewing(("north", "gw-1"), desk, access, None)
    assert scene.renewing.topics == ()
    access.options()
    assert scene.look() == "2.0 days left: nobody has replaced its file"
    assert not scene.sent  # whose certificate it is, renews it
    saved(tmp_path, "new", certificate("gw", ca))
    (tmp_path / "new.pem").rename(cert)
    trouble = scene.look()  # half of it is there
    assert trouble.startswith("the new one cannot be used")
    assert scene.calls == []
    (tmp_path / "new.key").rename(key)
    scene.look()
    assert scene.calls == ["again"]
    access.options()
    asyncio.run(access.taken())
    assert scene.look() == ""
