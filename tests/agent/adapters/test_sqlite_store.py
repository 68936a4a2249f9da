"""The store as its callers see it, on a real file."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from agent.adapters.sqlite_check import check_all
from agent.errors import Unavailable
from agent.limits import EVIDENCE_BYTES_A_MESSAGE, EVIDENCE_ENTRIES_A_MESSAGE
from agent.records import Commit, CounterRow, Outcome, Rank
from protocols.audit import AuditPage, encode_page, parse_page
from protocols.tlog.tree import Growth, leaf_hash
from tests.support.store_cases import (
    EPOCH,
    opened,
    retained_record,
    spool_record,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.sqlite_store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def root_of(entries: list[bytes]) -> bytes:
    growth = Growth(0, {})
    growth.append([leaf_hash(entry) for entry in entries])
    return growth.root()


def test_large_evidence_entries_go_in_several_pages(path: Path) -> None:
    """A day without a broker is a log of large count.snap entries; a page is 1 MiB."""
    entries = [bytes([number]) * 200_000 for number in range(7)]
    entries.insert(3, b"x" * (EVIDENCE_BYTES_A_MESSAGE + 1))
    store = opened(path)
    store.commit(Commit(evidence=tuple(entries)))
    read: list[bytes] = []
    sizes = []
    while page := store.evidence_since(len(read), EVIDENCE_ENTRIES_A_MESSAGE):
        read += page
        sizes.append(len(page))
        note = b"n" * 4096
        message = encode_page(AuditPage(store.log_id, 0, tuple(page), note))
        assert parse_page(message).entries == tuple(page)
    assert read == entries
    assert sizes == [2, 1, 1, 2, 2]
    store.close()


def test_statistics_do_not_wait_for_the_disk(path: Path) -> None:
    """Promise 9: the loop asks while the store's thread is in a transaction."""
    store = opened(path)
    store.commit(Commit(records=(spool_record(1), spool_record(2))))
    before = store.statistics()
    assert (before.records, before.oldest_ns) == (2, spool_record(1).created_ns)
    with store._connection.writing("a slow disk") as database:
        database.execute("DELETE FROM spool")
        asked: list[str] = []
        database.set_trace_callback(asked.append)
        assert store.statistics() == before
        database.set_trace_callback(None)
        assert asked == []
        database.execute("ROLLBACK")
        database.execute("BEGIN")
    row = store.next_to_send(9, 9)[0].row
    store.confirm_rows([row])
    assert store.statistics().oldest_ns == spool_record(2).created_ns
    store.close()


def losses_told(store: SqliteStore) -> list[dict[str, object]]:
    entries = store.evidence_since(0, 10_000)
    return [json.loads(e) for e in entries if e.startswith(b'{"loss"')]


def test_a_commit_is_there_after_reopening(path: Path) -> None:
    row = CounterRow("oem", 5, "rule", "encrypt", Outcome.SENT, 3, 100)
    store = opened(path)
    store.remember_time(77)
    store.commit(
        Commit(
            records=(spool_record(1), spool_record(2)),
            retained=(retained_record(3, 99),),
            evidence=(b"one", b"two", b"three"),
            counters=(row, row),
            held=4,
            coverage=(10, 2),
        )
    )
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    store.close()
    store = opened(path)
    assert [q.record for q in store.next_to_send(0, 9)] == [
        spool_record(1),
        spool_record(2),
    ]
    assert store.evidence_since(0, 9) == [b"one", b"two", b"three"]
    assert store.evidence_since(1, 1) == [b"two"]
    assert store.root() == (3, root_of([b"one", b"two", b"three"]))
    assert store.root_at(2) == root_of([b"one", b"two"])
    assert store.counters() == [
        CounterRow("oem", 5, "rule", "encrypt", Outcome.SENT, 6, 200)
    ]
    totals = store.totals()
    assert (totals.classified, totals.unclassified, totals.held) == (10, 2, 4)
    assert store.clock_floor_ns == 77
    statistics = store.statistics()
    assert (statistics.records, statistics.bytes_used) == (2, 200)
    assert (statistics.oldest_ns, statistics.retained_records) == (1_001, 1)
    store.close()
    assert check_all(path) == []


def test_what_a_snapshot_has_told_is_remembered(path: Path) -> None:
    def counted(samples: int) -> CounterRow:
        return CounterRow("oem", 5, "rule", "encrypt", Outcome.SENT, samples, 10)

    store = opened(path)
    store.commit(Commit(counters=(counted(3),)))
    assert store.untold_counters() == [counted(3)]
    store.commit(Commit(evidence=(b"3 told",), counters=(counted(4),), snapshot=True))
    store.close()
    store = opened(path)
    assert store.untold_counters() == [counted(4)]
    store.commit(Commit(evidence=(b"4 told",), snapshot=True))
    assert store.untold_counters() == []
    assert [row.samples for row in store.counters()] == [7]
    store.close()


def test_the_oldest_of_the_lowest_rank_leaves_and_evidence_says_so(path: Path) -> None:
    store = opened(path, cap_bytes=1000)
    store.commit(
        Commit(
            records=tuple(
                spool_record(n, rank, 100)
                for n, rank in enumerate([Rank.GENERAL, Rank.TELEMETRY] * 5)
            )
        )
    )
    lost = store.commit(Commit(records=(spool_record(50, Rank.IMPORTANT, 250),)))
    assert [(e.cause, e.records, e.bytes_used) for e in lost] == [("evicted", 3, 300)]
    assert lost[0].epoch_ranges == ((EPOCH, 1, 1), (EPOCH, 3, 3), (EPOCH, 5, 5))
    assert store.statistics().bytes_used == 950
    assert losses_told(store)[0]["rows"] == [["data", 5, 3, 300, 9]]
    assert store.losses()[0].records == 3
    store.close()
    assert check_all(path) == []


def test_incoming_data_below_what_is_stored_are_refused(path: Path) -> None:
    store = opened(path, cap_bytes=1000)
    store.commit(Commit(records=(spool_record(1, Rank.IMPORTANT, 900),)))
    lost = store.commit(
        Commit(
            records=(
                spool_record(2, Rank.GENERAL, 200),
                spool_record(3, Rank.IMPORTANT, 100),
            ),
            evidence=(b"made",),
        )
    )
    assert [(e.cause, e.records) for e in lost] == [("refused", 1)]
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [1, 3]
    assert store.evidence_since(0, 1) == [b"made"]  # then the loss
    assert store.root()[0] == 2
    store.close()


def test_control_is_never_shed_and_nothing_happens_where_it_cannot_fit(
    path: Path,
) -> None:
    store = opened(path, cap_bytes=1000)
    store.commit(Commit(records=(spool_record(1, Rank.CONTROL, 800, kind="key"),)))
    store.commit(Commit(records=(spool_record(2, Rank.IMPORTANT, 200),)))
    lost = store.commit(
        Commit(records=(spool_record(3, Rank.CONTROL, 150, kind="key"),))
    )
    assert [(e.cause, e.kind) for e in lost] == [("evicted", "data")]
    before = (store.statistics(), store.root())
    with pytest.raises(Unavailable, match="never shed"):
        store.commit(
            Commit(
                records=(spool_record(4, Rank.CONTROL, 500, kind="key"),),
                evidence=(b"not to be seen",),
            )
        )
    assert (store.statistics(), store.root()) == before
    store.close()
    store = opened(path, cap_bytes=1000)
    assert (store.statistics(), store.root()) == before
    store.close()


def test_the_cap_is_exact_across_restarts(path: Path) -> None:
    for start in range(0, 60, 10):
        store = opened(path, cap_bytes=2_500)
        for n in range(start, start + 10):
            store.commit(Commit(records=(spool_record(n, size=90 + n),)))
            assert store.statistics().bytes_used <= 2_500
        store.close()
    raw = sqlite3.connect(path)
    (real,) = raw.execute("SELECT sum(length(body)) FROM spool").fetchone()
    raw.close()
    store = opened(path, cap_bytes=2_500)
    statistics = store.statistics()
    assert statistics.bytes_used == real
    assert statistics.records + statistics.evicted_records == 60
    store.close()


def test_live_before_backlog_in_the_stated_ratio(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=tuple(spool_record(n) for n in range(20))))
    store.forget_sent()  # the connection comes up: those are backlog
    store.commit(
        Commit(
            records=(
                *(spool_record(n) for n in range(100, 110)),
                spool_record(200, Rank.IMPORTANT),
            )
        )
    )
    first = [q.record.sequence for q in store.next_to_send(4, 2)]
    assert first == [200, 100, 101, 102, 0, 1]
    store.mark_sent([q.row for q in store.next_to_send(4, 2)])
    assert [q.record.sequence for q in store.next_to_send(4, 2)] == [
        103, 104, 105, 106, 2, 3,
    ]  # fmt: skip
    store.mark_sent([q.row for q in store.next_to_send(100, 0)])
    assert [q.record.sequence for q in store.next_to_send(4, 2)] == []
    assert store.unconfirmed == 31
    store.forget_sent()
    assert len(store.next_to_send(0, 100)) == 31
    assert store.next_to_send(0, 1)[0].record.sequence == 200
    store.close()


def test_what_could_not_be_sent_is_offered_again(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=tuple(spool_record(n) for n in range(6))))
    store.forget_sent()
    store.commit(Commit(records=tuple(spool_record(n) for n in range(10, 16))))
    rows = [q.row for q in store.next_to_send(4, 4)]
    store.mark_sent(rows)
    store.mark_sent([q.row for q in store.next_to_send(1, 1)])
    store.release([rows[1], rows[5], 999])
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [11, 15, 1, 5]
    assert store.unconfirmed == 8
    store.close()


def test_a_share_that_is_not_used_goes_to_the_other_side(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=tuple(spool_record(n) for n in range(8))))
    store.forget_sent()
    assert len(store.next_to_send(6, 2)) == 8  # no live ones: all for the backlog
    store.close()


def test_confirmed_records_leave_and_unconfirmed_ones_stay(path: Path) -> None:
    store = opened(path)
    store.commit(
        Commit(
            records=(
                spool_record(0, Rank.CONTROL, kind="key"),
                *(spool_record(n) for n in range(1, 5)),
                spool_record(0, kind="event", epoch=b"", confirm="puback"),
            )
        )
    )
    queued = store.next_to_send(100, 0)
    store.mark_sent([q.row for q in queued])
    assert store.confirm(EPOCH, [0, 1, 3, 77]) == 3  # 0: the announcement
    assert store.confirm(EPOCH, [0, 1]) == 0
    assert store.confirm(bytes(16), [2]) == 0
    assert store.confirm_rows([q.row for q in queued if q.record.kind == "event"]) == 1
    assert store.unconfirmed == 2
    store.close()
    store = opened(path)
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [2, 4]
    assert store.statistics().bytes_used == 200
    store.close()


def test_a_receipt_may_name_any_range(path: Path) -> None:
    store = opened(path)
    store.commit(Commit(records=tuple(spool_record(n) for n in range(9_000))))
    assert store.confirm(EPOCH, range(5, 2**70)) == 8_995
    assert store.confirm(EPOCH, range(5, 2**70)) == 0
    assert store.confirm(EPOCH, range(0)) == 0
    assert store.statistics().records == 5
    assert len(store.destroy([("oem", 5)])) == 1
    assert store.statistics().bytes_used == 0
    store.close()


def test_one_answer_holds_a_bounded_number_of_bytes(path: Path) -> None:
    store = opened(path, cap_bytes=64 * 1024 * 1024)
    for n in range(20):
        store.commit(Commit(records=(spool_record(n, size=1024 * 1024),)))
    answer = store.next_to_send(64, 64)
    assert sum(len(q.record.body) for q in answer) == 8 * 1024 * 1024
    store.close()


def test_expired_data_are_erased_with_a_record_of_it(path: Path) -> None:
    store = opened(path)
    records = tuple(retained_record(n, 10 * n, 5000) for n in range(1, 5))
    store.commit(Commit(retained=records))
    assert store.expire(9) == ()
    gone = store.expire(20)
    assert [(e.cause, e.kind, e.records) for e in gone] == [("expired", "retained", 2)]
    assert gone[0].epoch_ranges == ((EPOCH, 1, 2),)
    assert store.statistics().retained_records == 2
    assert losses_told(store)[0]["loss"] == "expired"
    on_disk = path.read_bytes() + path.with_name("store.db-wal").read_bytes()
    assert records[0].body[:64] not in on_disk
    assert records[3].body[:64] in on_disk
    store.close()


def test_retained_data_have_their_own_cap(path: Path) -> None:
    store = opened(path, retained_bytes=250)
    store.commit(Commit(retained=tuple(retained_record(n, 10) for n in range(2))))
    lost = store.commit(Commit(retained=(retained_record(2, 10),)))
    assert [(e.cause, e.kind, e.records) for e in lost] == [("evicted", "retained", 1)]
    lost = store.commit(Commit(retained=(retained_record(3, 10, 300),)))
    assert [(e.cause, e.records) for e in lost] == [("evicted", 2), ("refused", 1)]
    assert store.statistics().retained_records == 0
    store.close()


def test_labels_that_lost_their_permission_are_destroyed(path: Path) -> None:
    store = opened(path)
    store.commit(
        Commit(
            records=(
                spool_record(1, label=5),
                spool_record(2, label=6, size=5000),
                spool_record(3, label=6, destination="supplier"),
            )
        )
    )
    assert sorted(store.spooled_places()) == [("oem", 5), ("oem", 6), ("supplier", 6)]
    gone = store.destroy([("oem", 6), ("nobody", 6)])
    assert [(e.cause, e.label, e.records) for e in gone] == [("destroyed", 6, 1)]
    assert [q.record.sequence for q in store.next_to_send(9, 9)] == [1, 3]
    assert losses_told(store)[0]["loss"] == "destroyed"
    assert spool_record(2, size=5000).body[:64] not in path.read_bytes()
    store.close()


def test_checkpoints_receipts_and_documents(path: Path) -> None:
    store = opened(path)
    assert store.last_checkpoint() is None
    store.commit(Commit(evidence=(b"a", b"b")))
    store.add_checkpoint(*store.root(), b"note 2")
    assert store.evidence_receipted(2, root_of([b"a", b"b"]))
    assert store.evidence_receipted(1, root_of([b"a"]))  # never back
    assert not store.evidence_receipted(2, root_of([b"a", b"c"]))  # not our history
    assert not store.evidence_receipted(99, bytes(32))
    store.keep_document("policy", b"v1")
    store.keep_document("policy", b"v2")
    log_id = store.log_id
    store.close()
    store = opened(path)
    assert store.last_checkpoint() == (2, root_of([b"a", b"b"]), b"note 2")
    assert store.statistics().evidence_sent == 2
    assert store.document("policy") == b"v2"
    assert store.document("other") is None
    assert store.log_id == log_id
    assert store.nodes([(0, 1), (1, 0), (5, 5)]) == {
        (0, 1): leaf_hash(b"b"),
        (1, 0): root_of([b"a", b"b"]),
    }
    store.close()


def test_the_store_may_be_used_from_another_thread(path: Path) -> None:
    store = opened(path)
    with ThreadPoolExecutor(1) as worker:
        worker.submit(store.commit, Commit(records=(spool_record(1),))).result()
        assert len(worker.submit(store.next_to_send, 1, 1).result()) == 1
        worker.submit(store.close).result()
