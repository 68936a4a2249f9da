"""Text of others, as it may be shown: nothing that a terminal would obey."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return ``text`` with what is not printable written out, such as ``\x1b``.

    Escape sequences, line breaks, direction marks and lone surrogates: a device's
    words, or the name of a file, must not move a cursor or pass for a line of ours.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
        for one in text
    )
