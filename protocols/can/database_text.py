"""What is done to the text of a CAN database before a parser sees it.

Two things: refuse numbers that would make the parser allocate without bound (it
expands multiplexer ranges and builds one character per payload bit), and mend the one
fault of many public DBC files that can be mended without guessing: a 29-bit identifier
that lacks the 0x80000000 flag.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from protocols.errors import DatabaseError
from protocols.frames import CAN_EFF_FLAG, CAN_EFF_MASK, CAN_SFF_MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOAD_BYTES_MAX: Final = 2048  # CAN XL, ISO 11898-1:2024: the longest of any CAN
PAYLOAD_BITS_MAX: Final = 8 * PAYLOAD_BYTES_MAX
MULTIPLEX_VALUES_MAX: Final = 65_536  # expanded values of all ranges of one file
SYM_IDENTS_MAX: Final = 4096  # one SYM entry may stand for a range of identifiers
DIGITS_MAX: Final = 20  # no field of any format is wider than 64 bits

# (what, format, pattern whose groups are numbers, largest number allowed). The XML
# patterns take whatever stands where the number should, hexadecimal and disguised too.
_BOUNDS: Final = (
    ("message length", "dbc", r"\bBO_\s+\d+\s+[^\s:]+\s*:\s*(\d+)", PAYLOAD_BYTES_MAX),
    ("signal place", "dbc", r":\s*(\d+)\s*\|\s*(\d+)\s*@", PAYLOAD_BITS_MAX),
    ("length or offset", "kcd", r"\b(?:length|offset)\s*=\s*[\"']([^\"']*)",
     PAYLOAD_BITS_MAX),
    ("message length", "sym", r"\bLen\s*=\s*(\d+)", PAYLOAD_BYTES_MAX),
    ("signal place", "sym",
     r"\b(?:unsigned|signed|bit|char|string|raw)\s+(\d+)", PAYLOAD_BITS_MAX),
    ("length or position", "arxml",
     r"<(?:[\w.-]+:)?[\w-]*(?:LENGTH|POSITION)(?:\s[^<>/]*)?>([^<]*(?:<!)?)",
     PAYLOAD_BITS_MAX),
)  # fmt: skip
_WORDS: Final = ("auto", "")  # what may stand in a number's place: KCD's "auto"

_DBC_IDENT: Final = re.compile(
    r"^([ \t]*(?:BO_|VAL_|SG_MUL_VAL_|SIG_VALTYPE_|BO_TX_BU_|SIG_GROUP_"
    r"|CM_[ \t]+(?:BO_|SG_)|BA_[ \t]+\"[^\"\n]*\"[ \t]+(?:BO_|SG_))[ \t]+)(\d+)\b",
    re.MULTILINE,
)
_DBC_MESSAGE: Final = re.compile(r"^[ \t]*BO_[ \t]+(\d+)[ \t]+(\w+)", re.MULTILINE)
# Quantifiers are bounded so that no text makes the search more than linear.
_RANGE: Final = re.compile(r"(\d{1,20}) ?- ?(\d{1,20})")
_SYM_PLACE: Final = re.compile(r"\b(?:Sig|Var|Mux)\s*=")
_ENDLESS: Final = re.compile(r"[0-9A-F]{65}")
_QUOTED: Final = re.compile(r'"[^"]*"')
_SYM_RANGE: Final = re.compile(r"\bID\s*=\s*([0-9A-Fa-f]+)h\s*-\s*([0-9A-Fa-f]+)h")


def _line(text: str, position: int) -> str:
    return f"line {text.count(chr(10), 0, position) + 1}"


def _is_at_most(number: str, largest: int) -> bool:
    if number in _WORDS:
        return True
    try:
        value = int(number, 16 if number[:2] in {"0x", "0X"} else 10)
    except ValueError:
        return False
    return len(number) <= DIGITS_MAX and value <= largest


def check_bounds(text: str, kind: str, file: str) -> None:
    """Refuse ``text`` of format ``kind`` whose numbers no CAN payload can have.

    DatabaseError names the line. Runs in time linear in the text.
    """
    if kind in {"kcd", "arxml"}:
        # Entity expansion is the XML way to turn 1 kB into 1 GB; no database needs it.
        found = re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE)
        if found:
            raise DatabaseError(
                file, _line(text, found.start()), "a document type is not allowed"
            )
    for what, of_kind, pattern, largest in _BOUNDS:
        if of_kind != kind:
            continue
        for match in re.finditer(pattern, text):
            for number in match.groups(default=""):
                if not _is_at_most(number.strip(), largest):
                    reason = f"{what} is no number up to {largest}"
                    raise DatabaseError(file, _line(text, match.start()), reason)
    _check_ranges(text, kind, file)


def _check_ranges(text: str, kind: str, file: str) -> None:
    total = 0
    if kind == "dbc":
        for position, first, last in _multiplex_ranges(text):
            total += max(0, last - first + 1)
            if total > MULTIPLEX_VALUES_MAX:
                reason = f"more than {MULTIPLEX_VALUES_MAX} multiplexer values"
                raise DatabaseError(file, _line(text, position), reason)
    if kind == "sym":
        _check_sym_places(text, file)
        for match in _SYM_RANGE.finditer(text):
            first, last = (int(number[:DIGITS_MAX], 16) for number in match.groups())
            total += max(0, last - first + 1)
            if total > SYM_IDENTS_MAX:
                reason = f"more than {SYM_IDENTS_MAX} identifiers in ranges"
                raise DatabaseError(file, _line(text, match.start()), reason)


def _check_sym_places(text: str, file: str) -> None:
    """Check the start and length that follow a name (and a type) in SYM entries."""
    # cantools' own pattern for numbers takes quadratic time on a long one.
    endless = _ENDLESS.search(text)
    if endless:
        raise DatabaseError(file, _line(text, endless.start()), "a number is too long")
    found = list(_SYM_PLACE.finditer(text))
    for match, after in zip(found, [*found[1:], None], strict=False):
        entry = text[match.end() : after.start() if after else None]
        words = _QUOTED.sub("quoted", entry).split(maxsplit=5)[1:5]
        numbers = [n for word in words for n in word.split(",") if n.isdecimal()]
        for number in numbers[:2]:
            if not _is_at_most(number, PAYLOAD_BITS_MAX):
                reason = f"signal place is no number up to {PAYLOAD_BITS_MAX}"
                raise DatabaseError(file, _line(text, match.start()), reason)


def _multiplex_ranges(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield (position, first, last) of every range of every SG_MUL_VAL_ statement."""
    position = text.find("SG_MUL_VAL_")
    while position >= 0:
        end = text.find(";", position)
        end = len(text) if end < 0 else end
        statement = " ".join(text[position:end].split())
        for match in _RANGE.finditer(statement):
            yield position, int(match[1]), int(match[2])
        position = text.find("SG_MUL_VAL_", end)


def _lacks_flag(ident: int) -> bool:
    return CAN_SFF_MASK < ident <= CAN_EFF_MASK


def flag_extended(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a DBC text whose 29-bit identifiers all carry 0x80000000, and notes.

    An identifier above 0x7FF cannot be a standard one, so the flag is missing, not
    meant. One note per message that was mended; the same text where nothing was.
    """
    notes: list[str] = []
    line, counted = 1, 0
    for match in _DBC_MESSAGE.finditer(text):
        digits, name = match.groups()
        if len(digits) <= DIGITS_MAX and _lacks_flag(int(digits)):
            line += text.count("\n", counted, match.start())
            counted = match.start()
            notes.append(
                f"line {line}: message {name}: "
                f"0x{int(digits):X} taken as a 29-bit identifier"
            )
    if not notes:
        return text, ()

    def mend(match: re.Match[str]) -> str:
        digits = match.group(2)
        if len(digits) > DIGITS_MAX or not _lacks_flag(int(digits)):
            return match.group(0)
        return f"{match.group(1)}{int(digits) | CAN_EFF_FLAG}"

    return _DBC_IDENT.sub(mend, text), tuple(notes)
