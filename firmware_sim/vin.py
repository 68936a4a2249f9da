"""Vehicle identification numbers: form and check digit (ISO 3779, GB 16735 6.3)."""

from __future__ import annotations

import re
from typing import Final

_FORM: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_LETTERS: Final = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True)
)
_CHECK_AT: Final = 8  # the ninth character; its weight is 0


def check_digit(vin: str) -> str:
    """Return the check digit (0-9 or X) of a VIN of 17 legal characters.

    What stands at the ninth place does not matter. ValueError for other text.
    """
    if not _FORM.fullmatch(vin):
        raise ValueError("a VIN has 17 characters of A-Z and 0-9 without I, O and Q")
    digits = (int(_LETTERS.get(c, c)) for c in vin)
    rest = sum(w * d for w, d in zip(_WEIGHTS, digits, strict=True)) % 11
    return "X" if rest == 10 else str(rest)


def is_vin(text: str) -> bool:
    """Tell whether ``text`` has a VIN's form and the right check digit."""
    return bool(_FORM.fullmatch(text)) and text[_CHECK_AT] == check_digit(text)
