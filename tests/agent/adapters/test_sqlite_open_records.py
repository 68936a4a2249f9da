"""What lies in the spool in the open goes when the policy asks for sealing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.adapters.sqlite_open import StoreOptions, open_store
from agent.records import Commit, Rank, SpoolRecord
from protocols.envelope import OPEN, X25519, Header, encode_envelope, encode_header

if TYPE_CHECKING:
    from pathlib import Path


def record(suite: str, sequence: int) -> SpoolRecord:
    header = encode_header(
        Header(suite, "gw", bytes(16), sequence, bytes(32), 0, "oem", 1)
    )
    signature = bytes(64) if suite == OPEN else b""
    body = encode_envelope(header, b"content", signature)
    return SpoolRecord("data", "oem", Rank.GENERAL, 0, bytes(16), sequence, 1, body)


def test_only_records_in_the_open_are_destroyed_and_it_is_told(tmp_path: Path) -> None:
    told: list[str] = []

    def witness(cause: str, _lost: object, _number: object = None) -> bytes:
        told.append(cause)
        return cause.encode()

    options = StoreOptions(10**8, 10**8, witness, lambda _broken: b"broken")
    store = open_store(tmp_path / "store.db", options)
    records = tuple(record(OPEN if n % 2 else X25519, n) for n in range(1, 7))
    store.commit(Commit(records=records))
    lost = store.destroy([("oem", 0), ("other", 0)], only_open=True)
    assert sum(one.records for one in lost) == 3
    assert told == ["destroyed"]
    left = [one.record.sequence for one in store.next_to_send(10, 10)]
    assert left == [2, 4, 6]
    store.close()
