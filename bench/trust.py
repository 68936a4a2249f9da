"""A bundle to its verified policies, and what else a device pays for trust.

Run alone: ``python -m bench.trust``. Processor time. Beside it python-tuf's own client
over the same files in memory; its cache is a folder. The bundle is the one of a real
fleet: two versions of ``passenger-fleet`` with two cards each.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.row import Row

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUNS = 200
PEER_RUNS = 30
BUDGET_MS = 10.0
PAGE = os.sysconf("SC_PAGE_SIZE")
PATHS = ("rollout.json", "policy/42/policy.yaml", "policy/41/policy.yaml")


def _median_ms(work: Callable[[], object], runs: int) -> float:
    took = []
    for _ in range(runs):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return statistics.median(took) * 1000


def _peer(root: bytes, files: Mapping[str, bytes], now_s: int) -> Callable[[], object]:
    """Return python-tuf's client taking the same bundle into an empty cache."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import Updater
    from tuf.ngclient.fetcher import FetcherInterface

    class Fetcher(FetcherInterface):
        def _fetch(self, url: str) -> list[bytes]:  # type: ignore[override]  # any iterable does
            body = files.get(url.rpartition("/")[2])
            if body is None:
                raise DownloadHTTPError("not there", 404)
            return [body]

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            updater = Updater(
                folder, "http://f/m", folder, "http://f/t", Fetcher(), bootstrap=root
            )
            clock = dt.datetime.fromtimestamp(now_s, dt.UTC)
            updater._trusted_set.reference_time = clock  # noqa: SLF001  # its clock
            updater.refresh()
            for path in PATHS:
                found = updater.get_targetinfo(path)
                assert found is not None
                updater.download_target(found)

    return work


def _imported() -> tuple[float, float]:
    """Return ms and MiB that the first call imports, in fresh processes."""
    code = (
        "import time,policies.trust;"
        "rss=lambda:int(open('/proc/self/statm').read().split()[1]);"
        "a=rss();s=time.process_time();"
        "import policies.trust.keeping;"
        "print(time.process_time()-s,rss()-a)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
        )
        .stdout.decode()
        .split()
        for _ in range(5)
    ]
    return (
        statistics.median(float(one[0]) for one in told) * 1000,
        statistics.median(float(one[1]) for one in told) * PAGE / 2**20,
    )


def rows(data: Path) -> list[Row]:
    """Return the rows of trust; ``data`` is not used."""
    del data
    from policies.files import shipped_text
    from policies.trust import begin, offer, open_bundle, reopen
    from tests.support.fleet_trust import NOW_NS, NOW_S, FleetTrust

    fleet = FleetTrust()
    text = shipped_text("examples", "passenger-fleet")
    for version in (41, 42):
        cards = {"oem-2026": bytes(1_900), "brakes-gmbh": bytes(1_900)}
        fleet.add_policy(version, text=text + b"# %d\n" % version, cards=cards)
    fleet.roll_out(42, 41)
    message = fleet.message()
    start = begin(fleet.roots[0], fleet.name)
    files = open_bundle(message)
    trusted, _ = offer(start, files, NOW_NS)
    stored, renewal = trusted.encode(), fleet.renew()
    first = _median_ms(lambda: offer(start, open_bundle(message), NOW_NS), RUNS)
    renewed = _median_ms(lambda: offer(trusted, renewal, NOW_NS), RUNS)
    booted = _median_ms(lambda: reopen(stored, fleet.roots[0], fleet.name), RUNS)
    peer = _median_ms(_peer(fleet.roots[0], files, NOW_S), PEER_RUNS)
    import_ms, import_mib = _imported()
    kib = len(message) / 1024
    return [
        Row(
            f"a bundle of {kib:.0f} KiB verified, all of it new",
            f"{first:.1f} ms",
            "python-tuf's client",
            f"{peer:.1f} ms",
            f"{peer / first:.1f}x",
            f"< {BUDGET_MS:.0f} ms",
            first < BUDGET_MS,
        ),
        Row("a renewal verified", f"{renewed:.1f} ms", "", "", "", "", None),
        Row("what is stored, at boot", f"{booted:.1f} ms", "", "", "", "", None),
        Row(
            "tuf imported by the first call",
            f"{import_ms:.0f} ms, {import_mib:.0f} MiB",
            "", "", "", "", None,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    for found in rows(Path()):
        print(" | ".join(str(cell) for cell in found))
    sys.exit(0)
