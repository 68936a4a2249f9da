"""A file's own words in its refusals: nothing that a terminal would obey, one line."""

from __future__ import annotations

import json

import pytest

from policies.errors import PolicyError
from policies.parse import parse_policy

HEAD = b"schema: sluicegate/policy/1\n"
LONG = json.dumps({"schema": "sluicegate/policy/1", "x" * 900: 1}).encode()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # found by fuzzing: keys come through YAML's escapes
        (HEAD + b'"\\e[2J": 1\n', "\\x1b[2J: no such field"),
        (HEAD + b'"\\n\\e[2J": 1\n', "\\n\\x1b[2J: no such field"),
        (HEAD + b'"\\e[2J": 1\n"\\e[2J": 1\n', "\\x1b[2J: is here twice"),
        (HEAD + b'zones: {"a\\u202eb": 1}\n', "the key is not allowed"),
        (HEAD + b'consents: {"\\e": {}}\n', "the key is not allowed"),
        (HEAD + b'name: "\\e"\n', "name: expected text matching regex"),
        (HEAD + b'name: "a\\n"\n', "name: expected text matching regex"),
        (LONG, "xxx...: no such field"),
    ],
)
def test_a_key_is_printed_and_never_obeyed(text: bytes, told: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "t.yaml")
    line = str(raised.value)
    assert told in line
    assert line.isprintable()
    assert len(line) < 1000
