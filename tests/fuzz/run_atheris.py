"""Coverage-guided fuzzing of every target, one after the other: `make fuzz`.

    python tests/fuzz/run_atheris.py --minutes 60 [--target NAME ...] [--work FOLDER]

Each target runs in a process of its own, from the seeds and the kept corpus. What it
found more goes to ``<work>/<target>/corpus``; inputs that raised go to
``<work>/<target>/found`` and are printed. Exit code 1 where any did. Needs atheris (the
extra ``fuzz``), and no test does.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script, run from anywhere
CORPUS = Path(__file__).parent / "corpus"
LONGEST = {"policy": 4096, "bindings": 4096, "catalogue": 4096, "floor": 4096,
           "offer": 96, "fetch": 128, "answer": 512}  # fmt: skip
LENGTH_MAX = 16 * 1024
# Of the time, where one is not enough: what is ours to parse, and slow.
SHARES = {"offer": 8, "policy": 6, "fetch": 4, "bindings": 3, "metadata": 3,
          "catalogue": 2,
          "bundle": 2, "consents": 2}  # fmt: skip
RESTARTS_MAX = 30
STATS = {
    "executions": re.compile(r"stat::number_of_executed_units:\s+(\d+)"),
    "rss_mb": re.compile(r"stat::peak_rss_mb:\s+(\d+)"),
}
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_./-]{2,40}")


def child(target: str, arguments: list[str]) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(
        include=["agent", "policies", "protocols", "tuf", "securesystemslib"],
        enable_loader_override=False,
    ):
        from tests.fuzz.targets import TARGETS

        TARGETS[target](b"")  # what is imported late is instrumented, too
    atheris.Setup([sys.argv[0], *arguments], TARGETS[target])
    atheris.Fuzz()


def prepared(target: str, work: Path) -> Path:
    """Write seeds, kept corpus and dictionary into the work folder; return it."""
    from tests.fuzz.seeds import seeds

    folder = work / target
    for name in ("corpus", "found"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    kept = [file.read_bytes() for file in sorted((CORPUS / target).glob("*"))]
    first = [*seeds(target), *kept]
    for number, body in enumerate(first):
        (folder / "corpus" / f"seed-{number:04}").write_bytes(body)
    words = sorted({word for body in first for word in WORD.findall(body)})[:400]
    lines = "".join(f'"{word.decode()}"\n' for word in words)
    (folder / "words.dict").write_text(lines, encoding="ascii")
    return folder


def run(target: str, seconds: float, folder: Path) -> dict[str, object]:
    """Fuzz one target for so long; after a finding it goes on, a few times."""
    end = time.monotonic() + seconds
    told: dict[str, int] = {"executions": 0, "rss_mb": 0}
    cov = features = inputs = 0
    for _ in range(RESTARTS_MAX + 1):
        left = int(end - time.monotonic())
        if left < 1:
            break
        command = [
            sys.executable, __file__, "--child", target, "--",
            str(folder / "corpus"), f"-max_total_time={left}",
            f"-max_len={LONGEST.get(target, LENGTH_MAX)}", "-print_final_stats=1",
            "-timeout=20", "-rss_limit_mb=1500",
            f"-artifact_prefix={folder / 'found'}/",
        ]  # fmt: skip
        if (folder / "words.dict").stat().st_size:
            command.append(f"-dict={folder / 'words.dict'}")
        with (folder / "log.txt").open("ab") as log:
            done = subprocess.run(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        numbers = [int(n) for n in STATS["executions"].findall(text)]
        told["executions"] = sum(numbers)
        told["rss_mb"] = max(map(int, STATS["rss_mb"].findall(text)), default=0)
        seen = COVERAGE.findall(text)
        if seen:
            cov, features, inputs = map(int, seen[-1])
        if done.returncode == 0:
            break
    found = sorted(file.name for file in (folder / "found").iterdir())
    return {"target": target, "seconds": round(seconds), **told, "edges": cov,
            "features": features, "corpus": inputs, "found": found}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Fuzz; print a table as it grows."""
    if arguments[:1] == ["--child"]:
        child(arguments[1], arguments[3:])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--work", type=Path, default=None)
    told = parser.parse_args(arguments)
    names = told.target or list(TARGETS)
    work = told.work or Path(tempfile.mkdtemp(prefix="sluicegate-fuzz-"))
    unit = told.minutes * 60 / sum(SHARES.get(name, 1) for name in names)
    results = []
    sys.stdout.write(f"work folder: {work}\n")
    for name in names:
        seconds = unit * SHARES.get(name, 1)
        result = run(name, seconds, prepared(name, work))
        results.append(result)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    (work / "result.json").write_text(json.dumps(results, indent=1), encoding="ascii")
    return 1 if any(one["found"] for one in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
