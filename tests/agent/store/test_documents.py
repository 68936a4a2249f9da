"""Documents with a checksum: another name or another byte is another document."""

from __future__ import annotations

import pytest

from agent.store.documents import ACTIVE, CHECKED, TRIAL, closed, is_whole, opened


def test_what_was_closed_is_opened_under_its_name_only() -> None:
    document = closed(ACTIVE, b"body")
    assert opened(ACTIVE, document) == b"body"
    with pytest.raises(ValueError, match="changed"):
        opened(TRIAL, document)


def test_every_changed_byte_is_found() -> None:
    document = closed(ACTIVE, b"body")
    for place in range(len(document)):
        bad = bytearray(document)
        bad[place] ^= 1
        assert not is_whole(ACTIVE, bytes(bad))
        with pytest.raises(ValueError, match="changed"):
            opened(ACTIVE, bytes(bad))
    for cut in range(len(document)):
        assert not is_whole(ACTIVE, document[:cut])


def test_documents_without_a_checksum_are_left_alone() -> None:
    assert "run" not in CHECKED
    assert is_whole("run", b"stopped")
