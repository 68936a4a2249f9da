"""The tree against the recursive definition of RFC 6962 and published roots."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from agent.store.tree import EMPTY_ROOT, Growth, frontier, leaf_hash

# RFC 6962 test inputs of Certificate Transparency (merkletree tests), first 8 leaves.
LEAVES = [
    b"",
    bytes.fromhex("00"),
    bytes.fromhex("10"),
    bytes.fromhex("2021"),
    bytes.fromhex("3031"),
    bytes.fromhex("40414243"),
    bytes.fromhex("5051525354555657"),
    bytes.fromhex("606162636465666768696a6b6c6d6e6f"),
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def recursive_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not entries:
        return sha256().digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1 << (len(entries) - 1).bit_length() - 1
    halves = recursive_root(entries[:k]) + recursive_root(entries[k:])
    return sha256(b"\x01" + halves).digest()


def test_published_roots() -> None:
    for size, root in ROOTS.items():
        growth = Growth(0, {})
        growth.append([leaf_hash(entry) for entry in LEAVES[:size]])
        assert growth.root().hex() == root
    assert EMPTY_ROOT.hex() == ROOTS[0]


@given(st.lists(st.binary(max_size=3), max_size=40), st.data())
def test_growth_resumes_from_stored_nodes(
    entries: list[bytes], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(min_value=0, max_value=len(entries)))
    first = Growth(0, {})
    nodes = first.append([leaf_hash(entry) for entry in entries[:cut]])
    known = {(level, place): digest for level, place, digest in nodes}
    assert len(known) == len(nodes)
    second = Growth(cut, {place: known[place] for place in frontier(cut)})
    second.append([leaf_hash(entry) for entry in entries[cut:]])
    assert first.root() == recursive_root(entries[:cut])
    assert second.root() == recursive_root(entries)
    assert second.size == len(entries)


def test_a_copy_does_not_touch_the_original() -> None:
    growth = Growth(0, {})
    growth.append([leaf_hash(b"a"), leaf_hash(b"b")])
    before = growth.root()
    growth.copy().append([leaf_hash(b"c")])
    assert (growth.size, growth.root()) == (2, before)
