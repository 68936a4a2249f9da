"""kill -9 while the log is pruned: what is told is gone, and nothing else."""

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
from agent.records import Commit
from tests.support.store_cases import opened
store = opened(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    size, root = store.root()
    store.commit(Commit(evidence=tuple(b"entry" for _ in range(50))))
    store.add_checkpoint(*store.root(), b"note")
    store.evidence_receipted(*store.root())
    while store.prune(size, 16, lambda gone: b"pruned %d" % gone.end):
        print(store.first, flush=True)  # told only after the commit has returned
"""


@pytest.mark.slow
@pytest.mark.alone
def test_a_kill_while_pruning_leaves_a_log_that_holds(
    tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "store.db"
    rng = random.Random(11)
    for _ in range(15):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, path],
            cwd=root, stdout=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            said = [int(child.stdout.readline()) for _ in range(rng.randrange(1, 9))]
            for _ in range(rng.randrange(100_000)):  # somewhere within the next steps
                pass
            child.send_signal(signal.SIGKILL)
        store = opened(path)
        assert store.broken is None
        assert store.first >= said[-1]
        entries = store.evidence_since(store.first, 100_000)
        told = [int(e.split()[1]) for e in entries if e.startswith(b"pruned")]
        assert told[-1] == store.first
        (size, tree_root), places = store.root(), dict[tuple[int, int], bytes]()
        bits = [n for n in range(size.bit_length()) if store.first >> n & 1]
        places |= store.nodes([(n, (store.first >> n) - 1) for n in bits])
        growth = Growth(store.first, places)
        growth.append([leaf_hash(entry) for entry in entries])
        assert (growth.size, growth.root()) == (size, tree_root)
        store.close()
        assert check_all(path) == []
