"""The fuzzing targets in small: hypothesis on every run, and the kept corpus again.

`run_atheris.py` does the same for hours, guided by coverage (docs/testing.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.support.examples import upto

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
CORPUS_BYTES_MAX = 300 * 1024
EXAMPLES = {"offer": 150, "policy": 200, "bindings": 200, "modbus_pairs": 100,
            "modbus_frames": 100, "modbus_packets": 40}  # fmt: skip
ODD = [
    b"", b"\x00", b"\n", b"\\n", b"\\u001b", b'"', b"{", b"}", b"[", b"]", b":", b"-",
    b"0", b"-1", b"1e999", b"99999999999999999999", b"null", b"true", b"\xff", b"\x93",
    b"!!x ", b"&a ", b"*a", b"<<", b"\xc2\x85", b"\xe2\x80\xae", b"[" * 100,
]  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, target: str) -> bytes:
    """Return a seed with a few stretches taken out, doubled, or replaced."""
    data = draw(st.sampled_from(seeds(target)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        middle = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=6),
                                st.just(data[start:end] * 2)))  # fmt: skip
        data = data[:start] + middle + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_seed_is_taken_or_refused_in_one_line(name: str) -> None:
    target: Callable[[bytes], None] = TARGETS[name]

    @settings(max_examples=upto(EXAMPLES.get(name, 300)))
    @given(st.one_of(changed(name), st.binary(max_size=64)))
    def run(data: bytes) -> None:
        target(data)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_inputs_of_their_target(name: str) -> None:
    assert seeds(name)
    for data in seeds(name):
        TARGETS[name](data)


def _kept() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus_is_taken_or_refused_in_one_line(name: str) -> None:
    mine = [path for path in _kept() if path.parent.name == name]
    assert mine
    for path in mine:
        TARGETS[name](path.read_bytes())


def test_the_kept_corpus_is_small_and_belongs_to_targets() -> None:
    kept = _kept()
    assert {path.parent.name for path in kept} == set(TARGETS)
    assert sum(path.stat().st_size for path in kept) < CORPUS_BYTES_MAX
