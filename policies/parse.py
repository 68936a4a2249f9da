"""Bytes of a file to a record of ``model.py``; every refusal with file, line and path.

Steps: (1) bounded YAML to plain values (``yaml_tree``); (2) the schema line; (3)
``msgspec.convert`` to the record, unknown fields refused. msgspec's place in the data
is mapped back to the line in the text.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from policies.errors import PolicyError, nearest, shown
from policies.model import Bindings, Catalogue, Policy
from policies.model_floor import Floor
from policies.model_test import PolicyTest, check_policy_test
from policies.yaml_tree import BYTES_MAX, Path, Plain, Tree, read_tree
from protocols.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

Model = TypeVar("Model", Policy, Catalogue, Bindings, Floor, PolicyTest)
M_co = TypeVar("M_co", covariant=True)

CATALOGUE_BYTES_MAX: Final = 4 * BYTES_MAX

_AT: Final = re.compile(r"(?s)(.*?)(?: - at (?:`key` in )?`\$(.*)`)?")
_PARTS: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]|(\[\.\.\.\])")
_UNKNOWN: Final = re.compile(r"(?s)Object contains unknown field `(.*)`")
_HASHES: Final = frozenset({"hash", "sha1", "sha256", "sha512", "md5", "sm3", "digest"})
_TYPES: Final = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`(?!:)")
_WORDS: Final = {
    "object": "mapping", "array": "list", "str": "text", "int": "number",
    "float": "number", "bool": "true or false", "null": "nothing",
}  # fmt: skip
HASH_REASON: Final = (
    "an unkeyed hash de-identifies nothing: a few million serial numbers are tried in"
    " a second (PIPL art. 51(3), COL-05)"
)
HASH_HINT: Final = "use pseudonymise"


def is_hash(name: str) -> bool:
    """Tell whether a step's name asks for an unkeyed hash, which we do not have."""
    return name.lower() in _HASHES


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Document(Generic[M_co]):
    """A parsed file: its record, its digest, and where each part stood."""

    model: M_co
    digest: bytes  # SHA-256 of the text as read
    tree: Tree

    @property
    def file(self) -> str:
        """Return the file's name, for messages."""
        return self.tree.file

    def error(self, path: Path, reason: str, hint: str = "") -> PolicyError:
        """Return the error for the part at ``path``."""
        return self.tree.error(path, reason, hint)


def parse_policy(text: bytes, file: str = "policy") -> Document[Policy]:
    """Return a policy; PolicyError whatever is wrong with the text."""
    return _parse(text, file, Policy, "sluicegate/policy/1", BYTES_MAX)


def parse_catalogue(text: bytes, file: str = "catalogue") -> Document[Catalogue]:
    """Return a catalogue; PolicyError whatever is wrong with the text."""
    return _parse(text, file, Catalogue, "sluicegate/catalogue/1", CATALOGUE_BYTES_MAX)


def parse_bindings(text: bytes, file: str = "bindings") -> Document[Bindings]:
    """Return bindings; PolicyError whatever is wrong with the text."""
    return _parse(text, file, Bindings, "sluicegate/bindings/1", CATALOGUE_BYTES_MAX)


def parse_floor(text: bytes, file: str = "floor") -> Document[Floor]:
    """Return a floor; PolicyError whatever is wrong with the text."""
    return _parse(text, file, Floor, "sluicegate/floor/1", BYTES_MAX)


def parse_policy_test(text: bytes, file: str = "tests") -> Document[PolicyTest]:
    """Return the tests of a policy; PolicyError whatever is wrong with the text."""
    schema = "sluicegate/policy-test/1"
    document = _parse(text, file, PolicyTest, schema, BYTES_MAX)
    check_policy_test(document)
    return document


def _parse(
    text: bytes, file: str, model: type[Model], schema: str, bytes_max: int
) -> Document[Model]:
    tree = read_tree(text, file, bytes_max)
    _check_schema(tree, schema)
    try:
        record = msgspec.convert(tree.value, model, strict=True)
    except msgspec.ValidationError as error:
        raise _mapped(tree, model, str(error)) from None
    return Document(record, hashlib.sha256(text).digest(), tree)


def _check_schema(tree: Tree, schema: str) -> None:
    """Say first of all that this is another kind of file, if it is."""
    if not isinstance(tree.value, dict):
        raise tree.error((), "a mapping with fields is needed")
    found = tree.value.get("schema")
    if found != schema:
        if found is None:
            raise tree.error((), "the field schema is missing", f"schema: {schema}")
        known = f"this reads {schema}"
        raise tree.error(("schema",), f"not this schema: {shown(found)}", known)


def _mapped(tree: Tree, model: type[msgspec.Struct], message: str) -> PolicyError:
    """Return msgspec's error with our path, line and hint."""
    found = _AT.fullmatch(message)
    assert found is not None  # every group of the pattern is optional
    reason, place = found[1], found[2] or ""
    pattern: list[str | int | None] = [
        name or (int(index) if index else None)
        for name, index, _ in _PARTS.findall(place)
    ]
    path = _located(tree, model, message, pattern)
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown:
        return _unknown_field(tree, model, path, unknown[1])
    if "`key` in" in message:
        reason = f"the key is not allowed: {reason}"
    return tree.error(path, _plain(reason), _wanted(model, path, reason))


def _wanted(model: type[msgspec.Struct], path: Path, reason: str) -> str:
    """Return what may stand at ``path``: its words, or an example of a quantity."""
    missing = reason.startswith("Object missing required field")
    here = (*path, reason.split("`")[1]) if missing else path
    kinds = types_at(model, here)
    words = [
        str(word)
        for kind in kinds
        if isinstance(kind, msgspec.inspect.LiteralType)
        for word in kind.values
    ]
    if words:
        return f"one of {', '.join(words)}"
    takes_text = any(isinstance(kind, msgspec.inspect.StrType) for kind in kinds)
    if takes_text and reason.endswith(("got `int`", "got `float`")):
        return "with its unit, such as 60s or 500m, or in quotes"
    return ""


def _unknown_field(
    tree: Tree, model: type[msgspec.Struct], path: Path, name: str
) -> PolicyError:
    here = (*path, name)
    if is_hash(name) and "do" in path:
        return tree.error(here, HASH_REASON, HASH_HINT)
    known = fields_at(model, path)
    hint = nearest(name, known)
    if not hint and known:
        hint = f"known: {', '.join(sorted(known))}"
    return tree.error(here, "no such field", hint)


def _plain(reason: str) -> str:
    """Return msgspec's words in a file's terms."""
    reason = _TYPES.sub(lambda found: " or ".join(_words(found[1])), reason)
    reason = reason.replace("Object missing required field", "missing field")
    plain = " ".join(reason[:1].lower().split()) + reason[1:].replace("`", "'")
    return printable(plain)[:300]


def _words(types: str) -> list[str]:
    return sorted({_WORDS.get(one.strip(), one.strip()) for one in types.split("|")})


def _located(
    tree: Tree,
    model: type[msgspec.Struct],
    message: str,
    pattern: list[str | int | None],
) -> Path:
    """Return the path; msgspec does not name keys of free mappings, so we try them.

    A mapping with one key left in it gives the same message only for the guilty key.
    """
    path: Path = ()
    value = tree.value
    for part in pattern:
        if part is not None:
            value = _child(value, part)
            path = (*path, part)
            continue
        guilty = None
        for key in value if isinstance(value, dict) else ():
            trial = _with(tree.value, path, {key: _child(value, key)})
            # Deeper mappings still hold all their keys: the first guilty one speaks.
            if _says(trial, model) == message:
                guilty = key
                break
        if guilty is None:
            return path
        value = _child(value, guilty)
        path = (*path, guilty)
    return path


def _says(value: Plain, model: type[msgspec.Struct]) -> str:
    try:
        msgspec.convert(value, model, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _child(value: Plain, part: str | int) -> Plain:
    if isinstance(value, dict) and isinstance(part, str):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _with(value: Plain, path: Path, fresh: Plain) -> Plain:
    """Return ``value`` with what stands at ``path`` replaced; nothing is changed."""
    if not path:
        return fresh
    head, rest = path[0], path[1:]
    inner = _with(_child(value, head), rest, fresh)
    if isinstance(value, dict) and isinstance(head, str):
        return {**value, head: inner}
    if isinstance(value, list) and isinstance(head, int):
        return [*value[:head], inner, *value[head + 1 :]]
    return value


@cache
def _info(model: type[msgspec.Struct]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(model)


def fields_at(model: type[msgspec.Struct], path: Path) -> frozenset[str]:
    """Return the field names that the record at ``path`` of ``model`` may have."""
    return frozenset(
        entry.encode_name
        for kind in types_at(model, path)
        if isinstance(kind, msgspec.inspect.StructType)
        for entry in kind.fields
    )


def types_at(model: type[msgspec.Struct], path: Path) -> list[msgspec.inspect.Type]:
    """Return the types that may stand at ``path`` of ``model``."""
    here = _flat([_info(model)])
    for part in path:
        here = _flat(inner for kind in here for inner in _inner(kind, part))
    return here


def _flat(kinds: Iterable[msgspec.inspect.Type]) -> list[msgspec.inspect.Type]:
    """Return the types with unions and metadata taken apart."""
    out: list[msgspec.inspect.Type] = []
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.UnionType):
            out += _flat(kind.types)
        elif isinstance(kind, msgspec.inspect.Metadata):
            out += _flat([kind.type])
        else:
            out.append(kind)
    return out


def _inner(kind: msgspec.inspect.Type, part: str | int) -> list[msgspec.inspect.Type]:
    if isinstance(kind, msgspec.inspect.StructType):
        return [f.type for f in kind.fields if f.encode_name == part]
    if isinstance(kind, msgspec.inspect.DictType):
        return [kind.value_type]
    if isinstance(kind, msgspec.inspect.ListType):
        return [kind.item_type]
    return []
