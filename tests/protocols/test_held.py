"""What somebody holds is returned; what nobody holds is made anew."""

from __future__ import annotations

from protocols.held import Held


class Record:
    """Something that can be held."""


def test_the_same_bytes_of_the_same_file_are_made_once_while_they_are_held() -> None:
    held: Held[Record] = Held()
    first = held.of("a", b"1", Record)
    assert held.of("a", b"1", Record) is first
    assert held.of("a", b"2", Record) is not first
    assert held.of("b", b"1", Record) is not first


def test_it_keeps_nothing_alive() -> None:
    held: Held[Record] = Held()
    made: list[int] = []

    def make() -> Record:
        made.append(1)
        return Record()

    held.of("a", b"1", make)
    held.of("a", b"1", make)
    assert len(made) == 2
