"""YAML with places: composed, never constructed, so that every value has its line."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import yaml

from firmware_sim.errors import ScenarioError

BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 16
NODES_MAX: Final = 20_000

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
Lines: TypeAlias = dict[str, int]  # path ($.events[2].at) -> 1-based line

_INT: Final = re.compile(r"[-+]?(0x[0-9a-fA-F]+|[0-9]+)")


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: Lines = {}
        self._seen: set[int] = set()

    def refuse(self, node: yaml.Node, path: str, reason: str) -> ScenarioError:
        return ScenarioError(
            self.file, f"{node.start_mark.line + 1}", f"{path}: {reason}"
        )

    def plain(self, node: yaml.Node, path: str, depth: int = 0) -> Plain:
        if depth > DEPTH_MAX or len(self._seen) > NODES_MAX:
            raise self.refuse(node, path, "nested too deep or too large")
        if id(node) in self._seen:
            raise self.refuse(node, path, "anchors and aliases are not allowed")
        self._seen.add(id(node))
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.plain(child, f"{path}[{i}]", depth + 1)
                for i, child in enumerate(node.value)
            ]
        return self._scalar(node, path)

    def _mapping(
        self, node: yaml.MappingNode, path: str, depth: int
    ) -> dict[str, Plain]:
        found: dict[str, Plain] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not isinstance(key.value, str):
                raise self.refuse(key, path, "a key must be a word")
            if key.value in found:
                raise self.refuse(key, path, f"duplicate key {key.value!r}")
            below = f"{path}.{key.value}"
            found[key.value] = self.plain(value, below, depth + 1)
            self.lines[below] = key.start_mark.line + 1
        return found

    def _scalar(self, node: yaml.Node, path: str) -> Plain:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in {"true", "yes", "on"}
        if kind == "int" and _INT.fullmatch(text):
            return int(text, 0) if "x" in text else int(text)
        if kind == "float":
            try:
                return float(text)
            except ValueError:
                raise self.refuse(node, path, "is no number") from None
        if kind in {"str", "timestamp", "int"}:
            return text
        raise self.refuse(node, path, f"YAML tag {node.tag} is not allowed")


def read_document(data: bytes, file: str) -> tuple[Plain, Lines]:
    """Return the plain value of one YAML document and the line of every path in it.

    Raises ScenarioError for text that is no UTF-8, no YAML, too large or too deep, and
    for duplicate keys, aliases and tags. Time stamps stay text.
    """
    if len(data) > BYTES_MAX:
        raise ScenarioError(file, "", f"larger than {BYTES_MAX} bytes")
    try:
        node = yaml.compose(data.decode("utf-8"), yaml.SafeLoader)
    except UnicodeDecodeError:
        raise ScenarioError(file, "", "is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else str(mark.line + 1)
        raise ScenarioError(file, line, error.problem or "is no YAML") from None
    except yaml.YAMLError:
        raise ScenarioError(file, "", "is no YAML") from None
    except RecursionError:
        raise ScenarioError(file, "", "nested too deep") from None
    if node is None:
        raise ScenarioError(file, "1", "is empty")
    reader = _Reader(file)
    return reader.plain(node, "$"), reader.lines
