"""Every form in which a value could leak, and a search for them in every output."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DECIMALS = range(4, 11)  # four decimals of a degree are 11 m: precise


def of_coordinate(value: float, raw: int, size: int) -> set[bytes]:
    """Return text, float and raw forms of one coordinate; each of >= 4 bytes."""
    texts = {f"{value:.{digits}f}" for digits in DECIMALS} | {repr(value), str(raw)}
    found = {text.encode() for text in texts}
    for order in "<>":
        found |= {struct.pack(f"{order}d", value), struct.pack(f"{order}f", value)}
    signed = raw < 0
    for width in {size, 8}:
        little = raw.to_bytes(width, "little", signed=signed)
        found |= {little, little[::-1]}
    return {form for form in found if len(form) >= 4 and len(set(form)) > 2}


def of_text(text: bytes) -> set[bytes]:
    """Return a text, its halves, and the usual wrappings of it."""
    half = len(text) // 2
    whole = text.decode("ascii")
    return {
        text,
        text[:half],
        text[half:],
        text[::-1],
        text.lower(),
        text.hex().encode(),
        text.hex().upper().encode(),
        base64.b64encode(text)[: 4 * (len(text) // 3)],
        whole.encode("utf-16-le"),
        whole.encode("utf-16-be"),
    }


def search(outputs: Mapping[str, bytes], forms: Iterable[bytes]) -> dict[str, int]:
    """Return how many forms each output holds; outputs that hold none are left out.

    A form of 4 bytes matches random bytes by chance, once in 10,000 searches of this
    size: where such a form is all that was found, a second one must be there as well.
    A coordinate that leaks never comes alone.
    """
    wanted = list(forms)
    found: dict[str, int] = {}
    for name, body in outputs.items():
        hits = [form for form in wanted if form in body]
        if len(hits) > 1 or any(len(form) > 4 for form in hits):
            found[name] = len(hits)
    return found


def files_under(*folders: Path) -> dict[str, bytes]:
    """Return every file: stores, write-ahead logs, keys, locks, left-overs."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
