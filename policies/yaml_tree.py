"""YAML bytes to plain values with the line of every node, within limits.

A small, strict part of YAML 1.2: one document, mappings with text keys, lists, scalars
of the core schema (so ``NO`` and ``07:00`` are text, not false and 420). Refused:
anchors and aliases (a few lines of them unfold to gigabytes), tags, merge keys,
duplicate keys, tabs and control characters, nesting beyond ``DEPTH_MAX``. PyYAML's
parser delivers events; nothing is ever constructed by it, so no tag can run anything.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from policies.errors import PolicyError, shown
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 32
NODES_MAX: Final = 200_000
PATH_MAX: Final = 300  # characters of a path in a message
INTEGER_DIGITS_MAX: Final = 20  # 2**64 has 20; longer ones cost quadratic time

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Path: TypeAlias = tuple[str | int, ...]

_HINT: Final = "here or a few lines above: indentation, a colon, a quote or a bracket"

# libyaml where the wheel has it: ten times faster, same events.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
)
_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff\u2028\u2029]"
)


@dataclass(frozen=True, slots=True)
class Tree:
    """Plain values and where each stood; lines count from 1."""

    file: str
    value: Plain
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of the nearest node at or above ``path``."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def error(self, path: Path, reason: str, hint: str = "") -> PolicyError:
        """Return the error for the node at ``path``."""
        return PolicyError(self.file, self.line(path), path_text(path), reason, hint)


def path_text(path: Path) -> str:
    """Return a path as people write it: ``rules[2].do[1].grid``.

    Keys are whatever a file says: they are made printable, and cut where they are long.
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    text = printable(text.removeprefix("."))
    return text if len(text) <= PATH_MAX else f"{text[: PATH_MAX - 3]}..."


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    path: Path
    value: list[Plain] | dict[str, Plain]
    key: str | None = None  # of a mapping: the key whose value comes next

    def next_path(self) -> Path:
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        return self.path if self.key is None else (*self.path, self.key)

    def put(self, value: Plain) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


def read_tree(text: bytes, file: str, bytes_max: int = BYTES_MAX) -> Tree:
    """Return the tree of one YAML document; PolicyError whatever is wrong with it."""
    if len(text) > bytes_max:
        raise PolicyError(file, 0, "", f"larger than {bytes_max} bytes")
    decoded = _decode(text, file)
    builder = _Builder(file)
    try:
        for event in _events(decoded):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        reason = " ".join(str(error.problem or error.context).split())
        raise PolicyError(file, line, "", f"not YAML: {reason}", _HINT) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, PolicyError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise PolicyError(file, builder.line, "", f"not YAML: {reason}") from None
    if not builder.done:
        raise PolicyError(file, 0, "", "is empty")
    return Tree(file, builder.root, builder.lines)


def _decode(text: bytes, file: str) -> str:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise PolicyError(file, line, "", "not UTF-8") from None
    decoded = decoded.replace("\r\n", "\n")
    found = _FORBIDDEN.search(decoded) or re.search("\r", decoded)
    if found:
        line = decoded.count("\n", 0, found.start()) + 1
        code = f"control character U+{ord(found[0]):04X}"
        what = "a tab" if found[0] == "\t" else code
        hint = "indent with spaces" if found[0] == "\t" else ""
        raise PolicyError(file, line, "", f"{what} is not allowed", hint)
    return decoded


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_LOADER)


class _Builder:
    """Takes events one by one; its own stack, so that depth costs no recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.line = 0
        self.root: Plain = None
        self.done = False
        self.lines: dict[Path, int] = {}
        self._open: list[_Open] = []
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise self._refusal("aliases are not allowed", "write the value out")
        if isinstance(event, yaml.DocumentStartEvent) and self.done:
            raise self._refusal("one document a file")
        if isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(self._open.pop().value)

    def _node(self, event: yaml.NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._refusal(f"more than {NODES_MAX} nodes")
        if event.anchor is not None:
            raise self._refusal("anchors are not allowed", "write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refusal(f"tags are not allowed: {shown(tag)}")
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(event, top)
            return
        path = top.next_path() if top is not None else ()
        # A value may stand below its key: the key's line is the one to show.
        self.lines.setdefault(path, self.line)
        if isinstance(event, yaml.ScalarEvent):
            self._close(self._scalar(event))
            return
        if len(self._open) >= DEPTH_MAX:
            raise self._refusal(f"nested deeper than {DEPTH_MAX}")
        fresh: list[Plain] | dict[str, Plain]
        fresh = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(path, fresh))

    def _key(self, event: yaml.NodeEvent, top: _Open) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refusal("a key must be text")
        key = str(event.value)
        if key == "<<" and event.implicit[0]:
            raise self._refusal("merge keys are not allowed", "write the values out")
        path = (*top.path, key)
        if key in top.value:
            first = self.lines[path]
            raise PolicyError(
                self.file, self.line, path_text(path),
                "is here twice", f"first on line {first}",
            )  # fmt: skip
        self.lines[path] = self.line
        top.key = key

    def _close(self, value: Plain) -> None:
        if self._open:
            self._open[-1].put(value)
        else:
            self.root = value
            self.done = True

    def _scalar(self, event: yaml.ScalarEvent) -> Plain:
        text = str(event.value)
        if not event.implicit[0]:  # quoted or a block: always text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _HEX.fullmatch(text):
            return int(text, 16)
        if _INTEGER.fullmatch(text):
            if len(text) > INTEGER_DIGITS_MAX:
                raise self._refusal("an integer of so many digits is not allowed")
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._refusal("a number beyond what a float can hold")
            return number
        return text

    def _refusal(self, reason: str, hint: str = "") -> PolicyError:
        path = self._open[-1].next_path() if self._open else ()
        return PolicyError(self.file, self.line, path_text(path), reason, hint)
