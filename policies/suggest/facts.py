"""What is known of one signal or register before anybody judges it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from policies.suggest.makers import SENDERS
from policies.suggest.tokens import tokens, words, words_of
from policies.suggest.units import unit_kind
from protocols.frames import CAN_EFF_FLAG

if TYPE_CHECKING:
    from protocols.can.database import Database, Message, Signal


@dataclass(frozen=True, slots=True)
class Facts:
    """One signal, register or point with what its file says of it."""

    file: str  # its stem
    group: str  # the message, device or model that holds it
    name: str
    unit: str = ""
    bits: int = 0  # 0: not told
    low: float | None = None  # of the physical value
    high: float | None = None
    comment: str = ""
    choices: tuple[str, ...] = ()
    group_comment: str = ""
    writable: bool = False  # coils and holding registers
    label: str = ""  # words of the file for a name that is an abbreviation
    is_validity: bool = False  # says whether another signal of the group holds
    is_multiplexer: bool = False
    reference: str = ""  # of the group in bindings, where it is not the group's name
    is_bindable: bool = True  # False: a multiplexer above it is not declared as one

    @property
    def key(self) -> str:
        """Return its name with its group's."""
        return f"{self.group}.{self.name}"

    @property
    def place(self) -> str:
        """Return how bindings refer to its group."""
        return self.reference or self.group


@dataclass(frozen=True, slots=True)
class Reading:
    """Facts as words: of the name, of the group, of comment and value table."""

    name: frozenset[str]
    group: frozenset[str]
    said: frozenset[str]
    comment: frozenset[str]
    parts: tuple[str, ...]  # tokens of the name, in order
    unit: str  # kind of quantity
    file: frozenset[str]


def read(facts: Facts) -> Reading:
    """Read the words of one signal.

    A first token that names the sender (``ESP_02.ESP_Gierrate``) is a word of the
    message and not of the name.
    """
    parts, owner = tokens(facts.name), tokens(facts.group)
    if parts[:2] == ("req", "review"):  # "requires review": the author's own doubt
        parts = parts[2:]
    comment = words(facts.comment) if facts.comment else frozenset[str]()
    said = comment
    for choice in facts.choices:
        said |= words(choice)
    group = words_of(owner) | frozenset(SENDERS.get(owner[0], ()) if owner else ())
    if facts.group_comment:
        group |= words(facts.group_comment)
    name = parts
    if parts[:1] and parts[0] in SENDERS and any(len(part) > 1 for part in parts[1:]):
        name = parts[1:]
        group |= frozenset(SENDERS[parts[0]])
    named = words_of(name) | (words(facts.label) if facts.label else frozenset())
    return Reading(
        named, group, said, comment, parts, unit_kind(facts.unit), words(facts.file)
    )


def facts_of(database: Database) -> list[Facts]:
    """Return the facts of every signal of a database, in its order."""
    out: list[Facts] = []
    stem = database.file.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    counts = Counter(message.name for message in database.messages)
    for message in database.messages:
        names = {signal.name for signal in message.signals}
        is_named = counts[message.name] == 1 and "." not in message.name
        reference = "" if is_named else f"{message.ident & ~CAN_EFF_FLAG:#x}"
        out += [
            replace(_signal(stem, message, signal, names), reference=reference)
            for signal in message.signals
        ]
    return out


def _signal(file: str, message: Message, signal: Signal, names: set[str]) -> Facts:
    low, high = _range(signal)
    return Facts(
        file=file,
        group=message.name,
        name=signal.name,
        unit=signal.unit,
        bits=signal.length,
        low=low,
        high=high,
        comment=signal.comment,
        choices=signal.choices,
        group_comment=message.comment,
        is_validity=_is_validity(signal, names),
        is_multiplexer=signal.is_multiplexer,
        is_bindable=_is_bindable(message, signal),
    )


def _is_bindable(message: Message, signal: Signal) -> bool:
    above = message.signal(signal.mux_parent) if signal.mux_parent else None
    return above is None or (above.is_multiplexer and _is_bindable(message, above))


def _is_validity(signal: Signal, names: set[str]) -> bool:
    """Tell whether a bit is named like its neighbour with V, _UB, _Qf or _Valid."""
    if signal.length > 3:
        return False
    ends = ("V", "_UB", "_Qf", "_QF", "QF", "_Valid", "Valid", "_Vld", "M")
    bare = [signal.name.removesuffix(e) for e in ends if signal.name.endswith(e)]
    return any(one in names for one in bare)


def _range(signal: Signal) -> tuple[float | None, float | None]:
    """Return the stated range, or what the bits can hold where none is stated."""
    low, high = signal.minimum, signal.maximum
    if low is not None and high is not None and low < high:
        return low, high
    if signal.is_float or not 0 < signal.length <= 64:
        return None, None
    span = 1 << signal.length
    first, last = (-span // 2, span // 2 - 1) if signal.signed else (0, span - 1)
    ends = [float(signal.offset + signal.scale * end) for end in (first, last)]
    return min(ends), max(ends)
