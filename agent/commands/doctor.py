"""`sluicegate doctor`: looks at all that the daemon will need, says how to mend it.

Each check is a function that returns what it found; a check that cannot run because an
earlier one failed says so. Nothing is changed: the store is opened read-only, a bus is
opened for listening and closed again, the broker sees one clean connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from agent.adapters.cards import check_cards, load_cards, stale_cards
from agent.adapters.clock import BUILD_FLOOR_NS, SystemClock
from agent.adapters.device_key import load_or_create
from agent.adapters.files import read_limited
from agent.adapters.mqtt import connect
from agent.adapters.opening import open_bus
from agent.adapters.policy.loader import Paths, accept, pinned_root
from agent.adapters.sqlite_check import check_all
from agent.commands.doctor_modbus import modbus_checks
from agent.commands.doctor_trust import BAD, GOOD, WARN, Found, trust_checks
from agent.commands.parts import mqtt_options
from agent.commands.printing import print_table
from agent.config import parse_config
from agent.consent_file import FILE_BYTES_MAX, FILE_NAME, parse_consents
from agent.errors import BadInput, SluicegateError
from agent.limits import CONFIG_BYTES_MAX, RETAINED_BYTES_DEFAULT
from policies.errors import PolicyError
from policies.rows import EVENT_ITEM
from policies.tables import NO_RULE
from protocols.errors import DatabaseError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.config import Can
    from agent.control import Accepted

TROUBLE: Final = (SluicegateError, PolicyError, DatabaseError, WireError, OSError)
COLOURS: Final = {GOOD: 32, WARN: 33, BAD: 31}  # green, yellow, red
EXPIRY_WARN_NS: Final = 30 * 86_400 * 10**9


def examine(config_file: Path, as_json: bool) -> int:
    """Run every check; 0 where none is bad."""
    found = list(_examined(config_file))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode([asdict(f) for f in found]) + b"\n")
    else:
        _print(found)
    return 1 if any(one.verdict == BAD for one in found) else 0


def _examined(config_file: Path) -> Iterator[Found]:
    try:
        text = read_limited(config_file, CONFIG_BYTES_MAX, "name it with --config")
        paths = Paths(str(config_file), parse_config(text, str(config_file)))
    except BadInput as error:
        yield Found("configuration", BAD, str(error), "mend the file, run doctor again")
        return
    yield Found("configuration", GOOD, str(config_file))
    yield from _trust(paths)
    accepted: Accepted | None = None
    try:
        accepted = accept(paths)
        policy = accepted.compiled.policy
        yield Found("policy", GOOD, f"{policy.name} {policy.version}, {accepted.state}")
    except TROUBLE as error:
        yield Found("policy", BAD, str(error), "mend the file that the line names")
    if accepted is not None:
        yield from _policy(accepted)
        yield from _cards(paths, accepted)
    if paths.config.trust.root:
        yield from trust_checks(paths)
    yield from _state(paths)
    yield from _clock()
    yield from _buses(paths)
    yield from modbus_checks(paths, accepted)
    yield _broker(paths)
    metrics = paths.config.metrics
    if not (metrics.socket or metrics.port):
        yield Found("status", WARN, "no status socket", "set metrics.socket")


def _trust(paths: Paths) -> Iterator[Found]:
    try:
        root = pinned_root(paths)
    except TROUBLE as error:
        yield Found("trust", BAD, str(error), "mend the file that the line names")
        return
    if root:
        digest = hashlib.sha256(root).hexdigest()
        yield Found("trust", GOOD, f"fleet {paths.config.fleet}, {digest[:16]}...")


def _policy(accepted: Accepted) -> Iterator[Found]:
    policy = accepted.compiled.policy
    unclassified = [
        name
        for name, known in zip(
            policy.items.name, policy.items.classified.tolist(), strict=True
        )
        if not known
    ]
    if unclassified:
        shown = ", ".join(unclassified[:3]) + (" ..." if len(unclassified) > 3 else "")
        yield Found(
            "coverage",
            WARN,
            f"{len(unclassified)} items are in no catalogue and stay: {shown}",
            "name a category in the bindings",
        )
    row = policy.items.name.index(EVENT_ITEM)
    chains = [destination.chain[row] for destination in policy.destinations]
    if accepted.state == "active" and not any((c != NO_RULE).any() for c in chains):
        yield Found(
            "events",
            WARN,
            "no rule lets inspection's events leave",
            "add a rule for category security.event",
        )


def _cards(paths: Paths, accepted: Accepted) -> Iterator[Found]:
    folder = paths.of(paths.config.recipients)
    if not folder:
        return
    cards = load_cards(folder)
    check_cards(accepted.compiled.policy, cards, folder)
    now_ns = SystemClock().now_ns()
    stale = stale_cards(accepted.compiled.policy, cards, now_ns)
    soon = stale_cards(accepted.compiled.policy, cards, now_ns + EXPIRY_WARN_NS)
    mend = "make a new card with `sluicectl keys new` and copy it"
    for destination, reason in soon.items():
        verdict = BAD if destination in stale else WARN
        said = f"{destination}: {stale.get(destination, reason)}"
        yield Found("recipients", verdict, said, mend)
    if not soon:
        yield Found("recipients", GOOD, f"{len(cards)} cards in {folder}")


def _state(paths: Paths) -> Iterator[Found]:
    folder = Path(paths.of(paths.config.state_dir))
    if not folder.is_dir():
        yield Found(
            "state", WARN, f"{folder}: not there yet", "made at the first start"
        )
        return
    key = folder / "device.key"
    if key.exists():
        mend = "bring the file back, or remove it and enrol the device anew"
        yield _tried("device key", lambda: _identity(key, paths.config.device), mend)
    need = paths.config.spool.max_bytes + RETAINED_BYTES_DEFAULT
    free = shutil.disk_usage(folder).free
    yield Found(
        "disk",
        GOOD if free > need else WARN,
        f"{free >> 20} MiB free, spool and retained data may take {need >> 20} MiB",
        "" if free > need else "lower spool.max_bytes or free space",
    )
    consents = folder / FILE_NAME
    if consents.exists():
        mend = "give the consents again: the file may be removed"
        yield _tried("consents", lambda: _consents(consents), mend)
    store = folder / "store.db"
    if store.exists():
        mend = "keep a copy; the agent salvages what it can at its start"
        yield _tried("store", lambda: _store(store), mend)


def _consents(file: Path) -> str:
    given = parse_consents(read_limited(file, FILE_BYTES_MAX), str(file))
    return f"{len(given)} written; `sluicegate consent list` says which of them hold"


def _identity(key: Path, device: str) -> str:
    public = load_or_create(key, device).public_key()
    return f"{device}, public key {public.hex()[:16]}..."


def _store(store: Path) -> str:
    troubles = check_all(store)
    if troubles:
        raise BadInput(str(store), "", troubles[0], "it is salvaged at the next start")
    return "every page, sum and tree node checks"


def _clock() -> Iterator[Found]:
    clock = SystemClock()
    now_ns = clock.now_ns()
    if now_ns < BUILD_FLOOR_NS:
        yield Found("clock", BAD, "before this version was made", "set the time")
    elif not clock.is_synchronised():
        yield Found("clock", WARN, "no time service keeps it", "enable a time service")
    else:
        yield Found("clock", GOOD, "synchronised")


def _buses(paths: Paths) -> Iterator[Found]:
    config = paths.config
    if not (config.can or config.modbus or config.tap):
        mend = "add [[can]], [[modbus]] or [[tap]]"
        yield Found("sources", WARN, "no bus is configured", mend)
    for number, can in enumerate(paths.config.can):
        mend = "check interface and channel of this [[can]]"
        yield _tried(f"bus {can.name}", partial(_opened, can, number), mend)


def _opened(can: Can, number: int) -> str:
    open_bus(can, number).close()
    return f"{can.interface} opens"


def _broker(paths: Paths) -> Found:
    async def look() -> str:
        link = await connect(mqtt_options(paths, "-doctor"))
        await link.close()
        return f"{paths.config.mqtt.host}:{paths.config.mqtt.port} lets us in"

    mend = "start the broker, or mend [mqtt]"
    return _tried("broker", lambda: asyncio.run(look()), mend)


def _tried(what: str, look: Callable[[], str], mend: str) -> Found:
    try:
        return Found(what, GOOD, look())
    except BadInput as error:
        return Found(what, BAD, str(error), error.hint)
    except TROUBLE as error:
        return Found(what, BAD, str(error), mend)


def _print(found: list[Found]) -> None:
    rows = [
        (one.verdict, one.what, f"{one.said} ({one.mend})" if one.mend else one.said)
        for one in found
    ]
    print_table((), rows, COLOURS)
