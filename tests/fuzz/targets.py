"""What is fuzzed: plain functions of bytes that raise only where the project is wrong.

Each gives bytes to one reader of hostile input and lets it refuse them with its own
error, in one line. Whatever else it raises is a bug, and so is a broken promise about
what it took: that it writes back as it was, that versions do not sink.

hypothesis (`test_fuzz.py`) and atheris (`run_atheris.py`) call the same functions.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Final

from agent.consent_file import format_consents, parse_consents
from agent.consents import Consents
from agent.control import read, read_renewal
from agent.errors import BadInput, Refused
from policies.compile import compile_policy
from policies.errors import PolicyError, TrustError
from policies.files import shipped_text
from policies.floor import check_floor
from policies.lint.linting import lint
from policies.parse import parse_bindings, parse_catalogue, parse_floor, parse_policy
from policies.rollout import decide, encode_rollout, in_cohort, parse_rollout
from policies.trust import RULES, combined, freshness, open_bundle, reopen, reverify
from policies.trust.form import BYTES_MAX, check_form
from protocols.acks import decode_ack, encode_ack
from protocols.bundle import encode_bundle, parse_bundle
from protocols.can.database import parse_database
from protocols.errors import WireError
from protocols.recipients import encode_card, parse_card
from protocols.telemetry import decode_state, decode_telemetry
from tests.fuzz import targets_can, targets_modbus, targets_streams
from tests.fuzz.mutate import NOW_NS, offered, retained, world
from tests.policies.building import consent_of, points_of, policy_of, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from policies.compile import Compiled
    from policies.model import Catalogue, Policy
    from policies.parse import Document
    from protocols.can.database import Database

    Target: TypeAlias = Callable[[bytes], None]

LINE_MAX: Final = 2000
DBC: Final = b"""VERSION ""
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
 SG_ REAR : 16|16@1+ (0.01,0) [0|655] "km/h" ECU
"""
BINDINGS: Final = points_of(
    "Vehicle.Speed", "Vehicle.CurrentLocation.Latitude",
    "Vehicle.CurrentLocation.Longitude", "Vehicle.Chassis.Brake.PedalPosition",
    can=[{"bus": "can0", "database": "t.dbc", "signals": {"SPEEDS.FRONT": "A.B"}}],
)  # fmt: skip


def one_line(error: Exception) -> None:
    """A refusal is one line that a terminal prints as it is, and not a page."""
    text = str(error)
    assert text.isprintable(), "a refusal that a terminal would obey"
    assert 0 < len(text) < LINE_MAX, "a refusal of no length, or of a page"


def known_rule(error: TrustError | Refused) -> None:
    """A refusal of trust names one of the stable words, too."""
    one_line(error)
    assert error.rule in RULES, "a rule that no document names"


@cache
def _catalogue() -> Document[Catalogue]:
    return parse_catalogue(shipped_text("catalogues", "cn-auto"), "cn-auto")


@cache
def _database() -> Database:
    return parse_database(DBC, "dbc", "t.dbc")


def _compiled(document: Document[Policy], bindings: bytes) -> Compiled:
    return compile_policy(
        document,
        [_catalogue()],
        [parse_bindings(bindings, "b.yaml")],
        {"t.dbc": _database()},
        ("can0", "can1"),
        ("plc",),
    )


@cache
def _good() -> Compiled:
    rules = [
        rule_of(match={"category": "location", "consent": "c"}, do=["encrypt"]),
        rule_of("r2", match={"category": "chassis"}, to="abroad"),
    ]
    text = policy_of(rules=rules, consents={"c": consent_of("location")})
    return _compiled(parse_policy(text), json.dumps(BINDINGS).encode())


def policy(data: bytes) -> None:
    """A policy file: parsed, compiled, linted, or refused in one line."""
    try:
        compiled = _compiled(parse_policy(data), json.dumps(BINDINGS).encode())
    except PolicyError as error:
        one_line(error)
        return
    for finding in lint(compiled):
        assert str(finding).isprintable()
    assert compiled.policy.name.isprintable()
    assert all(name.isprintable() for name in compiled.document.model.destinations)


def bindings(data: bytes) -> None:
    """A bindings file, compiled with a policy that is good."""
    try:
        _compiled(_good().document, data)
    except PolicyError as error:
        one_line(error)


def catalogue(data: bytes) -> None:
    """A catalogue, and the policy compiled against it."""
    try:
        found = parse_catalogue(data)
        compile_policy(
            _good().document,
            [found, _catalogue()],
            [parse_bindings(json.dumps(BINDINGS).encode())],
            {"t.dbc": _database()},
            ("can0", "can1"),
            ("plc",),
        )
    except PolicyError as error:
        one_line(error)


def floor(data: bytes) -> None:
    """An owner's floor, and a policy held against it."""
    try:
        found = check_floor(_good(), parse_floor(data))
    except PolicyError as error:
        one_line(error)
        return
    for violation in found:
        assert str(violation).isprintable()


def bundle(data: bytes) -> None:
    """A bundle: what is taken has one form, and it is this one."""
    try:
        files = parse_bundle(data)
    except WireError as error:
        one_line(error)
        return
    assert encode_bundle(files) == data


def offer(data: bytes) -> None:
    """A bundle of whoever holds any of the keys; ``data`` says what is done to it."""
    here = world()
    try:
        trusted, found = offered(data)
    except TrustError as error:
        known_rule(error)
        return
    before = here.trusted
    assert trusted.policy_version >= before.policy_version
    assert trusted.min_version >= before.min_version
    assert trusted.roots[: len(before.roots)] == before.roots
    assert all(len(set(one.signers)) >= 2 for one in found.policies.values())
    again, _ = reopen(trusted.encode(), trusted.roots[0], trusted.fleet)
    assert again == trusted


def metadata(data: bytes) -> None:
    """One metadata file (the first byte says of which role), stored trust, a proof."""
    roles = sorted(BYTES_MAX)
    kind = data[0] % (len(roles) + 2) if data else 0
    here = world()
    try:
        if kind < len(roles):
            check_form(roles[kind], data[1:])
        elif kind == len(roles):
            reopen(data[1:], here.trusted.roots[0], here.trusted.fleet)
        else:
            reverify(here.trusted, data[1:])
    except TrustError as error:
        known_rule(error)


def fetched(data: bytes) -> None:
    """What the broker retains for us, as it came: bundle or renewal."""
    half = int.from_bytes(data[:2], "big")
    try:
        files = open_bundle(data[2 : 2 + half])
        renewal = open_bundle(data[2 + half :])
        combined(files, renewal)
    except TrustError as error:
        one_line(error)


def fetch(data: bytes) -> None:
    """The agent's reading of both topics: one step on, nothing, or a refusal."""
    trusted, message, renewal = retained(data)
    try:
        files = read_renewal(renewal) if renewal else {}
        update = read(trusted, message, files, NOW_NS)
    except Refused as error:
        known_rule(error)
        return
    if update is None:
        return
    after = update.trusted
    assert after.policy_version >= trusted.policy_version
    assert after.roots[: len(trusted.roots)] == trusted.roots
    if update.spoiled is not None:
        known_rule(update.spoiled)
    try:
        again = read(after, message, files, NOW_NS)
    except Refused as error:  # a bundle that was good with its renewal only
        known_rule(error)
        return
    # What was taken is known from here on: the same messages bring nothing more.
    assert again is None or again.trusted == after


def answer(data: bytes) -> None:
    """A freshness answer."""
    here = world()
    try:
        told = freshness(here.trusted, data, "00" * 16, "gw-1")
    except TrustError as error:
        known_rule(error)
        return
    assert told.time_ns > 0


def ack(data: bytes) -> None:
    """An ack's body: what is taken can be written and is the same."""
    try:
        found = decode_ack(data)
    except WireError as error:
        one_line(error)
        return
    try:
        again = encode_ack(found)
    except WireError as error:  # a reason that must be cut may be one that is refused
        one_line(error)
        return
    assert decode_ack(again).number == found.number


def card(data: bytes) -> None:
    """A recipient's card: what is taken is written back as one that says the same."""
    try:
        found = parse_card(data)
    except WireError as error:
        one_line(error)
        return
    assert parse_card(encode_card(found)) == found


def state(data: bytes) -> None:
    """What a device says of itself: retained state, and telemetry."""
    for decode in (decode_state, decode_telemetry):
        try:
            decode(data)
        except WireError as error:
            one_line(error)


def rollout(data: bytes) -> None:
    """A rollout: one form, and a decision for every device at any time."""
    try:
        found = parse_rollout(data)
    except PolicyError as error:
        one_line(error)
        return
    assert encode_rollout(found) == data
    for clock_ok in (True, False):
        for now_ns in (0, NOW_NS, 2**62):
            told = decide(found, "gw-1", ("a",), now_ns, clock_ok)
            assert told.version_wanted in {None, found.candidate, found.stable}
    in_cohort(found, "gw-1", ())


def consents(data: bytes) -> None:
    """The consents file, and what a run makes of it; memory of the run before."""
    declared = _good().policy.consents
    book = Consents(declared)
    book.remember(data)
    try:
        found = parse_consents(data)
    except BadInput as error:
        one_line(error)
        book.unread("unread")
        book.look(NOW_NS, clock_ok=True)
        assert book.holding == {}
        return
    assert parse_consents(format_consents(found)) == found
    book = Consents(declared)
    book.take(())
    book.take(found)
    for now_ns in (0, NOW_NS, 2**62):
        book.look(now_ns, clock_ok=True)
        assert set(book.holding) <= {one.name for one in declared}
        assert all(end > now_ns for end in book.holding.values())
    for change in book.changes():
        assert change.consent.isprintable()
    book.ignition()
    Consents(declared).remember(book.encode())


TARGETS: Final[Mapping[str, Target]] = {
    "policy": policy,
    "bindings": bindings,
    "catalogue": catalogue,
    "floor": floor,
    "bundle": bundle,
    "offer": offer,
    "metadata": metadata,
    "fetched": fetched,
    "fetch": fetch,
    "answer": answer,
    "ack": ack,
    "card": card,
    "state": state,
    "rollout": rollout,
    "consents": consents,
    "netlink": targets_can.netlink,
    "modbus_pairs": targets_modbus.modbus_pairs,
    "modbus_frames": targets_modbus.modbus_frames,
    "modbus_line": targets_modbus.modbus_line,
    "modbus_packets": targets_streams.modbus_packets,
}
