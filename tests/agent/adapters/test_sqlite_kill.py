"""kill -9 of a committing process at random moments: promise 7 on a real file."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.adapters.sqlite_check import check_all
from protocols.tlog.tree import Growth, leaf_hash
from tests.support.store_cases import opened

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import sys
from pathlib import Path
from agent.records import Commit, Rank
from tests.support.store_cases import opened, retained_record, spool_record
store = opened(Path(sys.argv[1]), cap_bytes=300_000)
start = store.root()[0]
n = int(sys.argv[2])
print("ready", flush=True)
while True:
    store.commit(Commit(
        records=tuple(spool_record(n * 8 + k, Rank(k % 4), 1500) for k in range(8)),
        retained=(retained_record(n, 10, 700),),
        evidence=(b"batch %d" % n,),
        coverage=(8, 0),
    ))
    print(n, flush=True)  # told only after the commit has returned
    if n % 5 == 4:
        queued = store.next_to_send(4, 4)
        store.mark_sent([q.row for q in queued])
        store.confirm_rows([q.row for q in queued[:3]])
    n += 1
"""


def run_until_killed(path: Path, root: Path, start: int, lines: int, spin: int) -> int:
    """Return the last batch that the child said was committed."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, path, str(start)],
        cwd=root, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        said = start - 1
        assert child.stdout.readline() == "ready\n"
        for _ in range(lines):
            said = int(child.stdout.readline())
        for _ in range(spin):  # somewhere within the next commits
            pass
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split("\n")
        complete = [int(line) for line in rest[:-1] if line]
        return complete[-1] if complete else said


@pytest.mark.slow
@pytest.mark.alone
def test_what_was_committed_is_there_after_every_kill(
    tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "store.db"
    rng = random.Random(9)
    start = 0
    for _ in range(20):
        said = run_until_killed(
            path, root, start, rng.randrange(1, 12), rng.randrange(100_000)
        )
        store = opened(path, cap_bytes=300_000)
        assert store.broken is None
        size, tree_root = store.root()
        entries = store.evidence_since(0, size)
        growth = Growth(0, {})
        growth.append([leaf_hash(entry) for entry in entries])
        assert (growth.size, growth.root()) == (size, tree_root)
        batches = [e for e in entries if e.startswith(b"batch")]
        # a prefix of what was asked for, with at most one batch nobody was told about
        assert batches == [b"batch %d" % n for n in range(len(batches))]
        assert said < len(batches) <= said + 2
        # data and evidence came together or not at all
        assert store.totals().classified == 8 * len(batches)
        sequences = sorted(q.record.sequence for q in store.next_to_send(0, 10_000))
        last = 8 * len(batches) - 1
        # every fifth batch is followed by a confirmation, which may be of its last one
        confirmed = len(batches) % 5 == 0
        assert sequences[-1] == last or (confirmed and sequences[-1] == last - 1)
        assert store.statistics().bytes_used == 1500 * len(sequences) <= 300_000
        store.close()
        assert check_all(path) == []
        start = len(batches)
    assert start > 20


@pytest.mark.slow
@pytest.mark.alone
def test_kill_while_a_damaged_store_is_mended(tmp_path: Path, root: Path) -> None:
    """Setting aside and salvage may be cut short anywhere and then succeed."""
    path = tmp_path / "store.db"
    run_until_killed(path, root, 0, 25, 0)
    before = opened(path)
    entries = before.evidence_since(0, 1000)
    before.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 100)  # the length is wrong, the rest is well
    opener = (
        "import sys; from pathlib import Path;"
        "from tests.support.store_cases import opened;"
        "print('go', flush=True); opened(Path(sys.argv[1]))"
    )
    rng = random.Random(4)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", opener, path],
            cwd=root, stdout=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            child.stdout.readline()
            for _ in range(rng.randrange(1_500_000)):
                pass
            child.send_signal(signal.SIGKILL)
    store = opened(path)
    assert store.evidence_since(0, len(entries)) == entries
    told = [e for e in store.evidence_since(0, 1000) if e.startswith(b'{"broken"')]
    assert len(told) == 1
    store.close()
    assert len(list(tmp_path.glob("store.db.damaged-?"))) == 1
