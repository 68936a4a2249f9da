"""Bit fields of a payload: from a signal's place to shifts and masks, as columns.

Bits are numbered as DBC does: bit ``b`` of byte ``n`` is ``8 * n + b``, b = 0 the least
significant. A little-endian signal starts at its least significant bit and goes up; a
big-endian (Motorola) one starts at its most significant bit and goes down, then to the
top of the next byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.can.database import Signal
    from protocols.frames import I64, U8, U64, Bool, Index

WORD_BYTES: Final = 8
WORD_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class FieldTable:
    """F bit fields; ``shift`` is for the word of a classic payload."""

    shift: U64  # [F] right shift of the whole payload's word; 0 where not in 8 bytes
    mask: U64  # [F] ones as many as the field is long
    sign: U64  # [F] the sign bit, 0 where unsigned
    big: Index  # [F] 1 big-endian, 0 little-endian
    first_byte: Index  # [F]
    bit: U64  # [F] bits of the first byte that come before the field, in its order
    length: U64  # [F] bits
    last_byte: U8  # [F]
    all_big: bool
    all_little: bool
    any_signed: bool
    any_long: bool  # some field reaches behind byte 8

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self.mask)


def last_byte(signal: Signal) -> int:
    """Return the index of the last payload byte that the signal touches."""
    return (_sequential(signal) + signal.length - 1) // 8


def _sequential(signal: Signal) -> int:
    """Return the first bit counted in the order of transmission of the signal."""
    if signal.big_endian:
        return 8 * (signal.start // 8) + 7 - signal.start % 8
    return signal.start


def field_table(signals: Sequence[Signal]) -> FieldTable:
    """Compile signals of 1 to 64 bits within 64 bytes to columns."""
    start = np.array([_sequential(s) for s in signals], np.int64)
    length = np.array([s.length for s in signals], np.int64)
    big = np.array([s.big_endian for s in signals], np.intp)
    last = (start + length - 1) // 8
    if big.any():
        # Within one byte both orders are the same bits: one order for all is faster.
        turned = (big == 0) & (start // 8 == last)
        start = np.where(turned, 8 * last + 8 - start % 8 - length, start)
        big[turned] = 1
    in_word = last < WORD_BYTES
    shift = np.where(in_word, np.where(big, WORD_BITS - start - length, start), 0)
    mask = np.array([(1 << s.length) - 1 for s in signals], np.uint64)
    sign = [1 << s.length - 1 if s.signed and not s.is_float else 0 for s in signals]
    return FieldTable(
        shift=shift.astype(np.uint64),
        mask=mask,
        sign=np.array(sign, np.uint64),
        big=big,
        first_byte=(start // 8).astype(np.intp),
        bit=(start % 8).astype(np.uint64),
        length=length.astype(np.uint64),
        last_byte=last.astype(np.uint8),
        all_big=bool(big.all()),
        all_little=not big.any(),
        any_signed=any(sign),
        any_long=bool((~in_word).any()),
    )


def extract(fields: FieldTable, payload: U8, frame: Index, field: Index) -> I64:
    """Return the raw integer of ``field[k]`` in ``payload[frame[k]]``: int64 [K].

    ``payload`` is [N, 8 or 64]. Signed fields are sign-extended; unsigned ones of 64
    bits come as their two's complement view. A field behind the payload's end gives
    garbage: the caller drops it.
    """
    if payload.shape[1] > WORD_BYTES and not fields.any_long:
        payload = payload[:, :WORD_BYTES]
    if payload.shape[1] == WORD_BYTES:
        raw = _from_words(fields, np.ascontiguousarray(payload), frame, field)
    else:
        raw = _from_windows(fields, payload, frame, field)
    raw &= fields.mask.take(field)
    if fields.any_signed:
        sign = fields.sign.take(field)
        raw ^= sign
        raw -= sign
    return raw.view(np.int64)


def _from_words(fields: FieldTable, payload: U8, frame: Index, field: Index) -> U64:
    """Classic payloads: each is one 64-bit word, read in both byte orders."""
    if fields.all_big:
        words = payload.view(">u8").ravel().astype(np.uint64)
    elif fields.all_little:
        words = payload.view("<u8").ravel().astype(np.uint64)
    else:
        words = np.empty((2, len(payload)), np.uint64)
        words[0] = payload.view("<u8").ravel()
        words[1] = payload.view(">u8").ravel()
        words = words.ravel()
        order = fields.big.take(field)
        order *= len(payload)
        order += frame
        frame = order
    raw: U64 = words.take(frame)
    raw >>= fields.shift.take(field)
    return raw


def _from_windows(fields: FieldTable, payload: U8, frame: Index, field: Index) -> U64:
    """FD payloads: the 8 bytes from the field's first byte on, and the ninth.

    A field of 58 bits or more that does not start at a byte's edge lies in nine bytes.
    """
    rows, width = payload.shape
    flat = np.zeros(rows * width + WORD_BYTES + 1, np.uint8)
    flat[: rows * width] = payload.ravel()
    at = frame * width + fields.first_byte.take(field)
    window = np.zeros((len(at), WORD_BYTES), np.uint8)
    np.take(
        np.lib.stride_tricks.sliding_window_view(flat, WORD_BYTES), at, 0, out=window
    )
    ninth = flat.take(at + WORD_BYTES).astype(np.uint64)
    big = fields.big.take(field).astype(np.bool_)
    bit, length = fields.bit.take(field), fields.length.take(field)
    # Little: bits before the field are the low ones; the ninth byte fills from the top.
    little_word = window.view("<u8").ravel().astype(np.uint64)
    low = little_word >> bit
    low |= np.where(bit > 0, ninth << (np.uint64(WORD_BITS) - np.maximum(bit, 1)), 0)
    # Big: the field's last bit is ``bit + length`` bits below the window's top.
    big_word = window.view(">u8").ravel().astype(np.uint64)
    end = bit + length
    over = end > WORD_BITS
    right = np.where(over, 0, np.uint64(WORD_BITS) - np.minimum(end, WORD_BITS))
    left = np.where(over, end - np.minimum(end, WORD_BITS), 0)
    high = (big_word >> right) << left
    high |= np.where(over, ninth >> (np.uint64(8) - left), 0)
    return np.where(big, high, low)


def fits(fields: FieldTable, size: U8, frame: Index, field: Index) -> Bool:
    """Tell per pair whether the whole field lies within the frame's bytes: bool [K]."""
    return fields.last_byte.take(field) < size.take(frame)
