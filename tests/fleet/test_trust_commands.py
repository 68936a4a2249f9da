"""From keys to a bundle, as people type it; the device's verifier judges the bundle."""

from __future__ import annotations

import datetime as dt
import json
import stat
from typing import TYPE_CHECKING

import pytest

from fleet.errors import BadInput, Unavailable
from fleet.keys import generate
from fleet.trust.release import Release
from policies.rollout import Rollout
from policies.trust import TrustError, open_bundle
from protocols.bundle import encode_bundle
from protocols.recipients import encode_card
from tests.support.founding import CATALOGUE, CommandFleet, command_fleet, ran

if TYPE_CHECKING:
    from pathlib import Path


NS = 1_000_000_000


@pytest.fixture
def fleet(tmp_path: Path) -> CommandFleet:
    return command_fleet(tmp_path)


def test_two_of_three_publish_a_policy_that_devices_take(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = fleet.propose(42, "--trial", 30, "--device", "gw-1")
    assert "2 more must sign" in capsys.readouterr().out
    fleet.sign(proposal, "alice")
    assert "signed by alice; 1 more must sign" in capsys.readouterr().out
    early = fleet.folder / "early.bundle"
    assert fleet.published(early, proposal) == 1
    assert "threshold: devices would refuse it" in capsys.readouterr().err
    assert not early.exists()
    fleet.sign(proposal, "carol")
    _, offered = fleet.taken(fleet.device(), fleet.publish(proposal))
    policy = offered.policy(42, "gw-1")
    assert policy.signers == ("alice", "carol")
    assert policy.text == fleet.policy(42).read_bytes()
    assert policy.catalogues == {"tiny.yaml": CATALOGUE.encode()}
    assert policy.terms.trial_s == 30
    with pytest.raises(TrustError, match="wrong-device"):
        offered.policy(42, "gw-2")


def test_the_keys_are_private_and_never_shown(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    said = capsys.readouterr()
    pems = sorted(fleet.keys.glob("*.pem"))
    assert len(pems) == 10
    for pem in pems:
        assert stat.S_IMODE(pem.stat().st_mode) == 0o600
        assert pem.read_text().splitlines()[1] not in said.out + said.err
    pems[0].chmod(0o640)
    proposal = fleet.propose(42)
    assert ran("policy", "sign", proposal, "--key", pems[0], "--yes") == 2
    assert "chmod 600" in capsys.readouterr().err


def test_a_passphrase_guards_people_and_comes_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    told = ("--passphrase-file", secret)
    assert ran("keys", "init", "north", "--folder", tmp_path / "north", *told) == 0
    fleet = CommandFleet(tmp_path)
    assert "ENCRYPTED" in (fleet.keys / "signer-1.pem").read_text()
    assert "ENCRYPTED" not in (fleet.keys / "timestamp.pem").read_text()
    proposal = fleet.propose(42)
    words = ("policy", "sign", proposal, "--yes", "--key", fleet.keys / "signer-1.pem")
    capsys.readouterr()
    assert ran(*words) == 2
    assert "passphrase" in capsys.readouterr().err
    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect\n")
    wrong.chmod(0o600)
    assert ran(*words, "--passphrase-file", wrong) == 2
    assert "wrong passphrase" in capsys.readouterr().err
    assert ran(*words, *told) == 0


def test_people_bring_their_own_public_halves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("alice", "bob", "carol")
    for name in names:
        assert ran("keys", "person", name, "--folder", tmp_path / name) == 0
    halves = [
        word for n in names for word in ("--person", tmp_path / n / f"{n}.pub.json")
    ]
    assert ran("keys", "init", "north", "--folder", tmp_path / "north", *halves) == 0
    said = capsys.readouterr().out
    assert "hand out the root keys" in said
    assert "each person" not in said
    fleet = CommandFleet(tmp_path)
    assert not (fleet.keys / "alice.pem").exists()
    proposal = fleet.propose(42)
    for name in ("alice", "bob"):
        key = tmp_path / name / f"{name}.pem"
        assert ran("policy", "sign", proposal, "--key", key, "--yes") == 0
    _, offered = fleet.taken(fleet.device(), fleet.publish(proposal))
    assert offered.policies[42].signers == ("alice", "bob")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "1"), "--threshold"),
        (("--threshold", "4"), "--threshold"),
        (("--person", "a", "--person", "a"), "exists already"),
        (("--person", "a/b", "--person", "c"), "must be 1 to 64"),
    ],
)
def test_a_fleet_that_one_person_could_speak_for_is_not_made(
    tmp_path: Path,
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ran("keys", "init", "north", "--folder", tmp_path / "n", *words) == 2
    assert said in capsys.readouterr().err


def test_lint_refuses_before_anybody_signs(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fleet.policy(42, ("    purpose: fleet-operation\n", ""))
    out = fleet.folder / "bad.proposal"
    assert ran("policy", "propose", path, "-r", fleet.repository, "-o", out) == 1
    assert "lint: " in capsys.readouterr().err
    assert not out.exists()


def test_a_looser_policy_says_that_it_needs_two(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.release(42)
    capsys.readouterr()
    path = fleet.policy(43, ("every: 60s", "every: 30s"))
    out = fleet.folder / "looser.proposal"
    assert ran("policy", "propose", path, "-r", fleet.repository, "-o", out) == 0
    said = capsys.readouterr().out
    assert "looser" in said
    assert "one in 30 s" in said
    assert "needs a second approval" in said


@pytest.mark.parametrize(("uplink", "told"), [(5, False), (10, True), (0, False)])
def test_a_trial_too_short_to_miss_receipts_says_so(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str], uplink: int, told: bool
) -> None:
    fleet.propose(42, "--trial", 10, "--uplink", uplink)
    assert ("missing receipts revert nothing" in capsys.readouterr().out) == told


@pytest.mark.slow
def test_a_proposal_is_of_one_moment(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = fleet.propose(42), fleet.propose(43)
    for proposal in (first, second):
        fleet.sign(proposal, "alice", "bob")
    fleet.publish(first)
    capsys.readouterr()
    assert fleet.published(fleet.folder / "late.bundle", second) == 2
    assert "propose again" in capsys.readouterr().err
    assert ran("policy", "propose", fleet.policy(42), "-r", fleet.repository,
               "-o", fleet.folder / "again") == 2  # fmt: skip
    assert "must rise above 42" in capsys.readouterr().err


def test_what_nobody_signed_is_not_published(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.published(fleet.folder / "unsigned", fleet.propose(42)) == 1
    assert "unsigned: nobody has signed it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_proposal_whose_keys_are_no_keys_is_refused(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = fleet.propose(42)
    pieces = proposal.read_bytes().split(b'"public":"')
    assert len(pieces) > 1
    for at in range(1, len(pieces)):
        spoilt = [*pieces[:at], b"g" + pieces[at][1:], *pieces[at + 1 :]]
        proposal.write_bytes(b'"public":"'.join(spoilt))
        key = fleet.keys / "alice.pem"
        assert ran("policy", "sign", proposal, "--key", key, "--yes") in {1, 2}
        assert "bug" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_tampered_proposal_is_none(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    proposal = fleet.propose(42)
    whole = proposal.read_bytes()
    key = fleet.keys / "alice.pem"
    for place in range(0, len(whole), 131):
        body = bytearray(whole)
        body[place] ^= 1
        proposal.write_bytes(bytes(body))
        code = ran("policy", "sign", proposal, "--key", key, "--yes")
        capsys.readouterr()
        # what still is a proposal is one of other signed bytes, which publish refuses
        if code == 0:
            assert fleet.published(fleet.folder / "never", proposal) in {1, 2}
            capsys.readouterr()
        else:
            assert code in {1, 2}


def test_a_signer_is_not_shown_another_past(
    fleet: CommandFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's proposal compares with a policy that two people never signed."""
    fleet.release(42)
    proposal = fleet.propose(43)
    files = open_bundle(proposal.read_bytes())
    plain = json.loads(files["old.targets.json"])
    plain["signatures"] = plain["signatures"][:1]
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True)
    proposal.write_bytes(encode_bundle(files | {"old.targets.json": text.encode()}))
    words = ("policy", "sign", proposal, "--yes", "--key", fleet.keys / "alice.pem")
    assert ran(*words) == 2
    assert "1 of 2 good signatures" in capsys.readouterr().err
    proposal.write_bytes(encode_bundle(files))
    own = tmp_path / "own-root.json"
    own.write_bytes(fleet.root)
    assert ran(*words, "--root", own) == 0
    own.write_bytes(fleet.root + b" ")
    assert ran(*words, "--root", own) == 2
    assert "another root" in capsys.readouterr().err


def test_nobody_signs_a_policy_that_is_not_shown(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of three hides a policy beside the one that the others are shown."""
    fleet.release(42)
    shown, hidden = fleet.propose(44), fleet.propose(43)
    files, others = (open_bundle(one.read_bytes()) for one in (shown, hidden))
    targets = json.loads(files["new.targets.json"])
    more = json.loads(others["new.targets.json"])["signed"]["targets"]
    older = {
        path.replace("/43/", "/41/"): json.loads(
            json.dumps(one).replace('"version": 43', '"version": 41')
        )
        for path, one in more.items()
        if "/43/" in path
    }
    published = {path: one for path, one in more.items() if "/43/" not in path}
    words = ("policy", "sign", shown, "--yes", "--key", fleet.keys / "alice.pem")
    for listed in (more | targets["signed"]["targets"], published | older):
        signed = targets["signed"] | {"targets": listed}
        plain = {"signatures": [], "signed": signed}
        text = json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()
        shown.write_bytes(encode_bundle(others | files | {"new.targets.json": text}))
        capsys.readouterr()
        assert ran(*words) == 2
        assert "adds more than one policy, or one older" in capsys.readouterr().err


def test_another_key_on_a_recipients_card_is_shown(
    fleet: CommandFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same name, and somebody else could open what is sealed to it."""
    days = (dt.date(2026, 1, 1), dt.date(2030, 1, 1))
    card = tmp_path / "cards" / "oem-2026.card.json"
    card.parent.mkdir()
    card.write_bytes(encode_card(generate("oem-2026", *days).card()))
    first = fleet.propose(42, "--cards", card.parent)
    fleet.sign(first, "alice", "bob")
    fleet.publish(first)
    card.write_bytes(encode_card(generate("oem-2026", *days).card()))
    capsys.readouterr()
    fleet.sign(fleet.propose(43, "--cards", card.parent), "alice")
    said = capsys.readouterr().out
    assert "new recipient: oem-2026" in said
    assert "needs a second approval" in said
    assert "sign them anew by then" in said


def test_the_release_desk_signs_a_rollout(fleet: CommandFleet) -> None:
    fleet.release(42, 43)
    desk = Release(fleet.repository, fleet.keys)
    assert desk.rollout() is None
    told = Rollout(name="r", candidate=43, stable=42, salt="00" * 8, upto=100)
    trusted, offered = fleet.taken(fleet.device(), desk.sign(told, None))
    assert offered.rollout == told == desk.rollout()
    assert sorted(offered.policies) == [42, 43]
    wider = Rollout(name="r", candidate=43, stable=42, salt="00" * 8, upto=10_000)
    _, offered = fleet.taken(trusted, desk.sign(wider, told))
    assert offered.rollout == wider
    with pytest.raises(BadInput, match="policy 44: is not published"):
        desk.sign(Rollout(name="r", candidate=44, salt="00" * 8), wider)
    with pytest.raises(Unavailable, match="another desk signed"):
        desk.sign(told, told)
    assert desk.rollout() == wider


def test_an_abort_must_stay_possible(fleet: CommandFleet) -> None:
    fleet.release(42)
    path = fleet.policy(43, ("min_version: 1", "min_version: 43"))
    out = fleet.folder / "floor.proposal"
    assert ran("policy", "propose", path, "-r", fleet.repository, "-o", out) == 0
    fleet.sign(out, "alice", "bob")
    fleet.publish(out)
    desk = Release(fleet.repository, fleet.keys)
    with pytest.raises(BadInput, match="below min_version 43"):
        desk.sign(Rollout(name="r", candidate=43, stable=42, salt="00" * 8), None)


@pytest.mark.slow
def test_online_keys_are_rotated_by_two_root_keys(fleet: CommandFleet) -> None:
    trusted, _ = fleet.taken(fleet.device(), fleet.release(42))
    for role in ("timestamp", "snapshot"):
        proposal = fleet.rotate(role, "--sign", fleet.keys / "root-1.pem")
        fleet.sign(proposal, "root-3")
        trusted, offered = fleet.taken(trusted, fleet.publish(proposal))
    assert offered.root_version == 3
    assert fleet.taken(fleet.device(), fleet.publish())[1].root_version == 3


@pytest.mark.slow
def test_people_and_root_keys_come_and_go(fleet: CommandFleet) -> None:
    trusted, _ = fleet.taken(fleet.device(), fleet.release(42))
    proposal = fleet.rotate("people", "--with", "dora", "--without", "alice")
    fleet.sign(proposal, "root-1", "root-2", "bob", "dora")
    trusted, offered = fleet.taken(trusted, fleet.publish(proposal))
    assert offered.policies[42].signers == ("bob", "dora")
    proposal = fleet.rotate(
        "root", "--with", "root-4", "--without", "root-1", "--without", "root-2",
        "--with", "root-5",
    )  # fmt: skip
    fleet.sign(proposal, "root-1", "root-3")
    assert fleet.published(fleet.folder / "few.bundle", proposal) == 1
    fleet.sign(proposal, "root-4")
    trusted, offered = fleet.taken(trusted, fleet.publish(proposal))
    assert offered.root_version == 3


@pytest.mark.slow
def test_the_desk_is_rotated_by_people_and_signs_the_rollout_anew(
    fleet: CommandFleet,
) -> None:
    fleet.release(42)
    desk = Release(fleet.repository, fleet.keys)
    told = Rollout(name="r", candidate=42, salt="00" * 8, upto=100)
    trusted, _ = fleet.taken(fleet.device(), desk.sign(told, None))
    proposal = fleet.rotate("rollout")
    fleet.sign(proposal, "bob", "carol")
    trusted, offered = fleet.taken(trusted, fleet.publish(proposal))
    assert offered.rollout == told
    (fleet.keys / "rollout.pem").unlink()
    later = Rollout(name="r", candidate=42, salt="00" * 8, upto=200)
    desk = Release(fleet.repository, fleet.keys)
    _, offered = fleet.taken(trusted, desk.sign(later, told))
    assert offered.rollout == later


def test_status_and_journal_tell_what_was_done(
    fleet: CommandFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.release(42)
    capsys.readouterr()
    assert ran("policy", "status", "-r", fleet.repository, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["policies"][0]["version"] == 42
    left = {one["role"]: one["days_left"] for one in told["metadata"]}
    assert left.keys() == {"root", "timestamp", "snapshot", "targets"}
    assert left["timestamp"] in {6, 7}
    assert left["snapshot"] in {29, 30}
    assert ran("journal", "verify", "-r", fleet.repository, "--json") == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [one["action"] for one in entries] == ["keys init", "publish"]
    assert entries[1]["facts"]["approvers"] == "alice,carol"
