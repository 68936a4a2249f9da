"""What is inside a batch: definitions, texts and columns, as one zstd frame of msgpack.

A definition says what a column number means: item, unit, category, purpose, statistic,
and how its raw numbers become values. The definitions of an epoch travel once, in its
announcement (``protocols/announcement.py``); a batch that needs others carries them
itself, and they hold for that batch alone. So no batch depends on another, and a number
that is defined nowhere refuses the batch. docs/formats/envelope.md section 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgpack
import numpy as np
import zstandard

from protocols.columns import Packed, Rows, empty_rows, pack_columns, unpack_columns
from protocols.envelope import unpacked
from protocols.errors import WireError
from protocols.samples import Kind, TextBatch, empty_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocols.frames import F64, Bool

CONTENT_BYTES_MAX: Final = 16 * 1024 * 1024  # decompressed; ROWS_MAX rows take <= 6 MiB
DEFINITIONS_MAX: Final = 65_536
TEXT_BYTES_MAX: Final = 64 * 1024
LEVEL: Final = 3  # zstd: level 9 saves 1 % more and costs six times the time
_WINDOW_BYTES_MAX: Final = 32 * 1024 * 1024
_I64: Final = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Definition:
    """What a column number stands for."""

    name: str  # VSS path or plant path
    unit: str
    category: str  # of what the rule released, after its transforms
    purpose: str  # what the receiver may use it for
    statistic: str  # "" the sample itself; min | max | mean | count | sum | last
    source: str  # bus or link
    kind: int  # protocols.samples.Kind; FLOAT: raw is float64 bits
    scale: float  # value = raw * scale + offset for INT and UINT64
    offset: float


Definitions: TypeAlias = "Mapping[int, Definition]"


@dataclass(frozen=True, slots=True)
class Content:
    """A decoded batch; ``texts.item`` holds column numbers, as ``rows.column`` does."""

    definitions: dict[int, Definition]
    rows: Rows
    texts: TextBatch


class ContentEncoder:
    """Encodes contents one behind the other; keeps its compressor (not shareable)."""

    def __init__(self) -> None:
        """Make the compressor."""
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)

    def encode(
        self,
        rows: Rows,
        is_float: Bool,
        texts: TextBatch,
        definitions: Definitions,
    ) -> bytes:
        """Return the content's bytes.

        Args:
            rows: 0..ROWS_MAX samples.
            is_float: [largest column number + 1] whether raw is float64 bits.
            texts: byte strings; ``item`` is the column number.
            definitions: those that the batch carries itself, by column number.
        """
        columns = None
        if len(rows):
            packed = pack_columns(rows, is_float)
            columns = [
                packed.columns,
                packed.groups,
                packed.base_ns,
                packed.exponent,
                packed.section,
            ]
        said = [
            [
                number, d.name, d.unit, d.category, d.purpose, d.statistic, d.source,
                int(d.kind), d.scale, d.offset,
            ]
            for number, d in definitions.items()
        ]  # fmt: skip
        told = list(
            map(
                list,
                zip(
                    texts.item.tolist(), texts.time_ns.tolist(), texts.text, strict=True
                ),
            )
        )
        return self._compressor.compress(msgpack.packb([said, told, columns]))


def empty_content() -> tuple[Rows, Bool, TextBatch]:
    """Return no rows and no texts: what a dictionary holds beside its definitions."""
    return empty_rows(), np.zeros(0, np.bool_), empty_texts()


def decode_content(data: bytes) -> Content:
    """Return the content of its bytes; WireError where the format forbids them."""
    plain = _decompressed(data)
    body = unpacked("content", plain, CONTENT_BYTES_MAX, DEFINITIONS_MAX)
    match body:
        case [list(definitions), list(texts), columns]:
            pass
        case _:
            raise WireError("content", "is not [definitions, texts, columns]")
    return Content(_definitions(definitions), _rows(columns), _texts(texts))


def values_of(kind: int, scale: float, offset: float, rows: Rows) -> F64:
    """Return the physical values [N] of one column's rows."""
    if kind == Kind.FLOAT:
        return rows.raw.view(np.float64)
    raw = rows.raw.view(np.uint64) if kind == Kind.UINT64 else rows.raw
    return raw.astype(np.float64) * scale + offset


def _decompressed(data: bytes) -> bytes:
    try:
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size > CONTENT_BYTES_MAX:  # also where the size is not told
            raise WireError("content", f"larger than {CONTENT_BYTES_MAX} bytes or open")
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
        return reader.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError:
        raise WireError("content", "is not one zstd frame") from None


def _definitions(said: list[object]) -> dict[int, Definition]:
    found: dict[int, Definition] = {}
    for row in said:
        match row:
            case [
                int(number), str(name), str(unit), str(category), str(purpose),
                str(statistic), str(source), int(kind), float(scale), float(offset),
            ] if 0 <= number < 2**32 and 0 <= kind <= Kind.TEXT:  # fmt: skip
                found[number] = Definition(
                    name, unit, category, purpose, statistic, source, kind, scale,
                    offset,
                )  # fmt: skip
            case _:
                raise WireError("content", "a definition is not as the format has it")
    if len(found) != len(said):
        raise WireError("content", "a column number is defined twice")
    return found


def _texts(told: list[object]) -> TextBatch:
    if not told:
        return empty_texts()
    numbers: list[int] = []
    times: list[int] = []
    texts: list[bytes] = []
    for row in told:
        match row:
            case [int(number), int(time_ns), bytes(text)] if (
                0 <= number < 2**32 and time_ns in _I64 and len(text) <= TEXT_BYTES_MAX
            ):
                numbers.append(number)
                times.append(time_ns)
                texts.append(text)
            case _:
                raise WireError("content", "a text is not as the format has it")
    return TextBatch(
        np.array(times, np.int64), np.array(numbers, np.uint32), tuple(texts)
    )


def _rows(columns: object) -> Rows:
    match columns:
        case None:
            return empty_rows()
        case [int(count), int(groups), int(base_ns), int(exponent), bytes(section)] if (
            # a bool is an int to Python, and none to numpy
            base_ns in _I64 and not any(isinstance(part, bool) for part in columns)
        ):
            return unpack_columns(Packed(count, groups, base_ns, exponent, section))
    raise WireError("content", "the columns are not as the format has them")
