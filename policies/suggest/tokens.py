"""Names of signals as words: CamelCase, snake_case, run-on words, abbreviations.

``GPS_Latitude_Min_dec`` is {gnss, latitude, ...}; ``ESP_HL_Radgeschw_02`` holds "wheel
speed"; ``LAT_ACCEL`` holds "lat" and "acceleration", and what "lat" is there is left to
the rules. A token is looked up whole first, then cut into words that cover it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from policies.suggest.lexicon import WORDS
from policies.suggest.makers import HEADS

_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|\d+")
_PIECE_MIN: Final = 4  # shorter pieces are found in any word
_STEM_MIN: Final = 6
_JOINED_MIN: Final = 2
_TAIL_MAX: Final = 2  # letters of a cut word: lenkrad-w
_LINKS: Final = ("", "s", "n", "es", "en")  # between the parts of a German word
TOKEN_CHARACTERS_MAX: Final = 64
_GERMAN: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae",
                                "Ö": "Oe", "Ü": "Ue"})  # fmt: skip


def tokens(name: str) -> tuple[str, ...]:
    """Return the parts of a name in lower case and in their order."""
    plain = unicodedata.normalize("NFKD", name.translate(_GERMAN))
    found = _PART.findall("".join(c for c in plain if not unicodedata.combining(c)))
    return tuple(part.lower()[:TOKEN_CHARACTERS_MAX] for part in found)


def words(name: str) -> frozenset[str]:
    """Return the words that a name holds, tokens that nobody knows among them."""
    return words_of(tokens(name))


@lru_cache(maxsize=65_536)
def words_of(parts: tuple[str, ...]) -> frozenset[str]:
    """Return the words of tokens in their order."""
    out: set[str] = set()
    for number, part in enumerate(parts):
        out.update(_meaning(part))
        before = parts[number - 1] if number else ""
        if min(len(part), len(before)) < _JOINED_MIN and before != "q":
            continue
        if joined := WORDS.get(before + part):
            out.update(joined)
    return frozenset(out)


def _meaning(token: str) -> tuple[str, ...]:
    known = WORDS.get(token)
    if known is not None:
        return known
    pieces = _pieces(token)
    if pieces:
        return tuple(word for piece in pieces for word in WORDS[piece])
    stem = next((token[:end] for end in range(len(token), _STEM_MIN - 1, -1)
                 if token[:end] in WORDS), "")  # fmt: skip
    if stem:
        return WORDS[stem]
    head = next((end for end in HEADS if token.endswith(end)), "")
    return WORDS.get(head, (token,))


@lru_cache(maxsize=16_384)
def _pieces(token: str) -> tuple[str, ...]:
    """Cut a run-on word into known ones, the longest first; () where it cannot be."""
    if len(token) <= _TAIL_MAX:
        return ()
    for end in range(len(token), _PIECE_MIN - 1, -1):
        head = token[:end]
        if head not in WORDS:
            continue
        rest = token[end:]
        if len(rest) <= _TAIL_MAX and (not rest or end > _PIECE_MIN):
            return (head,)
        for link in _LINKS:
            after = rest.removeprefix(link)
            if rest.startswith(link) and (more := _whole(after)):
                return (head, *more)
    return ()


def _whole(rest: str) -> tuple[str, ...]:
    return (rest,) if rest in WORDS and len(rest) >= _PIECE_MIN - 1 else _pieces(rest)
