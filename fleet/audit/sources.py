"""Where evidence is verified from: a collector's ledger, or a device's own store.

The store is read as the SQLite file that it is (``docs/formats/evidence-log.md``); no
code of the agent takes part, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from fleet.audit.pruned import Beginning
from fleet.audit.verify import Verifier
from fleet.errors import BadInput
from fleet.ledger import Ledger, digest
from fleet.logs import origin_of
from protocols.errors import WireError
from protocols.signed import open_signed
from protocols.telemetry import decode_state, decode_telemetry
from protocols.tlog.tree import frontier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fleet.audit.report import Place, Report
    from protocols.telemetry import Telemetry

STORE_ID: Final = 0x53475631  # "SGV1"
OUTCOMES: Final = (
    "sent", "kept", "dropped", "kept_back", "unclassified", "thinned", "merged",
    "failed", "held", "read",
)  # fmt: skip
_BATCHES: Final = (
    "SELECT epoch, sequence, sha256, samples FROM batches WHERE device = ?"
    " UNION ALL SELECT epoch, sequence, sha256, -1 FROM unopened WHERE device = ?"
)


def verify_ledger(
    ledger: Ledger, keys: Mapping[str, bytes], *, behind_ok: bool = False
) -> Iterator[Report]:
    """Yield a report for each device in ``keys`` (name -> Ed25519 public key)."""
    for device, key in keys.items():
        yield _of_ledger(ledger, device, key, behind_ok=behind_ok)


def _of_ledger(ledger: Ledger, device: str, key: bytes, *, behind_ok: bool) -> Report:
    verifier = Verifier(device, key, behind_ok=behind_ok)
    report = verifier.report
    for log in ledger.logs(device):
        notes = [
            (size, root, n) for size, root, n, _ in ledger.checkpoints(device, log)
        ]
        origin = _origin(notes, device, log)
        verifier.log(origin, ledger.entries(device, log), notes)
    if not report.logs:
        report.problem("no evidence of this device is here")
    verifier.received(_received(ledger, device))
    published = ledger.query(
        "SELECT body FROM telemetry WHERE device = ? ORDER BY received_ns", (device,)
    )
    verifier.telemetry(_telemetry(_octets(body), key, report) for (body,) in published)
    for (body,) in ledger.query("SELECT body FROM states WHERE device = ?", (device,)):
        try:
            state = decode_state(open_signed("state", _octets(body), key))
        except WireError as error:
            report.problem(f"the stored state: {error.reason}")
        else:
            verifier.state(state.boot, state.evidence_size)
    _findings(ledger, device, report)
    _count_points(ledger, device, report)
    return report


def _telemetry(message: bytes, key: bytes, report: Report) -> Telemetry | None:
    try:
        return decode_telemetry(open_signed("telemetry", message, key))
    except WireError as error:
        report.problem(f"stored telemetry: {error.reason}")
        return None


def _count_points(ledger: Ledger, device: str, report: Report) -> None:
    """The rows of the ledger are those of its batches: none was added or taken."""
    ((batches,),) = ledger.query(
        "SELECT COALESCE(SUM(samples), 0) FROM batches WHERE device = ?", (device,)
    )
    ((points,),) = ledger.query(
        "SELECT COUNT(*) FROM points WHERE series IN"
        " (SELECT id FROM series WHERE device = ?)",
        (device,),
    )
    if batches != points:
        report.problem(f"the ledger holds {points} rows of batches with {batches}")


def _received(ledger: Ledger, device: str) -> Iterator[tuple[Place, bytes, int]]:
    for epoch, body in ledger.query(
        "SELECT epoch, body FROM epochs WHERE device = ?", (device,)
    ):
        yield (_octets(epoch), 0), digest(_octets(body)), 0
    for epoch, sequence, sha256, samples in ledger.query(_BATCHES, (device, device)):
        place = (_octets(epoch), _number(sequence))
        yield place, _octets(sha256), _number(samples)


def _octets(value: object) -> bytes:
    assert isinstance(value, bytes)  # STRICT tables hold no other
    return value


def _number(value: object) -> int:
    assert isinstance(value, int)  # the same
    return value


def _findings(ledger: Ledger, device: str, report: Report) -> None:
    for rule, reason, count in ledger.query(
        "SELECT rule, reason, count FROM findings WHERE device = ? ORDER BY rule",
        (device,),
    ):
        text = f"refused {count} times: {rule}: {reason}"
        # Only the device could have made these: they hold its signature or its key.
        if rule == "nonce":
            report.problem(text)
        else:
            report.note(text)


def _origin(notes: list[tuple[int, bytes, bytes]], device: str, log: bytes) -> str:
    """Return the origin that the newest note names, whichever fleet it is of."""
    fleet = ""
    if notes:
        first = notes[-1][2].split(b"\n", 1)[0].decode("utf-8", "replace")
        fleet = first.removeprefix("sluicegate/").partition("/")[0]
    return origin_of(fleet, device, log)


def verify_store(path: Path, key: bytes) -> Report:
    """Return the report of a device's own store file; BadInput where it is none.

    ``key``: the device's Ed25519 public key, 32 bytes.
    """
    try:
        with contextlib.closing(open_store_file(path)) as database:
            return _of_store(database, key)
    except sqlite3.Error as error:
        raise BadInput(str(path), "", f"cannot be read: {error}") from None


def open_store_file(path: Path) -> sqlite3.Connection:
    """Return the database of a device's store, to be read only; BadInput if not one."""
    if not path.is_file():
        raise BadInput(str(path), "", "no such file")
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        (found,) = database.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error:
        found = None
    if found != STORE_ID:
        database.close()
        raise BadInput(str(path), "", "is not the store of a device")
    return database


def _of_store(database: sqlite3.Connection, key: bytes) -> Report:
    log, size, root, held = database.execute(
        "SELECT log_id, evidence_size, root, held FROM state"
    ).fetchone()
    notes = database.execute(
        "SELECT size, root, note FROM checkpoints ORDER BY size"
    ).fetchall()
    origin = b""
    if notes:
        origin = notes[-1][2].split(b"\n", 1)[0]
    parts = origin.decode("utf-8", "replace").split("/")
    device = parts[2] if len(parts) == 4 else ""
    verifier = Verifier(device, key)
    report = verifier.report
    entries = database.execute("SELECT body FROM entries ORDER BY position")
    fleet = parts[1] if len(parts) == 4 else ""
    begins = _beginning(database, size)
    books = verifier.log(
        origin_of(fleet, device, log), (e for (e,) in entries), notes, begins
    )
    if report.entries != size:
        report.problem(f"the store counts {size} entries, {report.entries} are here")
    if notes and notes[-1][0] == size and notes[-1][1] != root:
        report.problem("the store's root is not the signed one")
    books.add(_untold(database))
    for problem in books.check(held):
        report.problem(f"counters of the store: {problem}")
    report.samples_sent = books.sent_total
    _spooled(database, verifier)
    return report


def _beginning(database: sqlite3.Connection, size: int) -> Beginning:
    """Return where the log begins: what stands before it was pruned on the device."""
    (first,) = database.execute("SELECT min(position) FROM entries").fetchone()
    begins = size if first is None else first
    edge = {}
    for place in frontier(begins):
        row = database.execute(
            "SELECT hash FROM nodes WHERE level = ? AND position = ?", place
        ).fetchone()
        if row is not None:  # else no signed root comes out
            edge[place[0]] = row[0]
    return Beginning(begins, edge)


def _untold(database: sqlite3.Connection) -> Iterator[tuple[str, str, str, int]]:
    """Yield what the counters grew by since the last count.snap."""
    for place, rule, outcome, samples in database.execute(
        "SELECT destination, rule, outcome, samples - told_samples FROM counters"
    ):
        known = 0 <= outcome < len(OUTCOMES)
        yield place, rule, OUTCOMES[outcome] if known else "", samples


def _spooled(database: sqlite3.Connection, verifier: Verifier) -> None:
    """Hold what is in the store against its log; what has left is not asked for."""
    for table in ("spool", "retained"):
        rows = database.execute(
            f"SELECT epoch, sequence, body FROM {table} WHERE length(epoch) > 0"  # noqa: S608  # one of two names
        )
        for epoch, sequence, body in rows:
            verifier.stored((epoch, sequence), digest(body))
