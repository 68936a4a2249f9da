"""Every kind of mistake is one line with file, line and path; no bytes do worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.model import Policy
from policies.parse import (
    parse_bindings,
    parse_catalogue,
    parse_floor,
    parse_policy,
)
from policies.yaml_tree import DEPTH_MAX, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable

SQUARE = "polygons: [[[1, 2], [1, 3], [2, 3]]]"
GOOD = """\
schema: sluicegate/policy/1
name: fleet
version: 2
catalogues: [cn-auto]
destinations:
  oem: {region: CN, recipients: [oem-2026]}
  far:
    region: NO
    recipients: [nor-2026]
rules:
  - name: speed
    match: {category: location, when: {Vehicle.A: true, Vehicle.B: {">=": 3}}}
    to: oem
    purpose: p
    do: [{every: 60s}, {round: {step: 0.5}}, encrypt]
retention: {location: 7d, default: 30d}
"""


def _check_one_line(parse: Callable[[bytes, str], object], text: bytes) -> None:
    """Parse; the one error that may come is one line that starts with the file."""
    line = "f"
    try:
        parse(text, "f")
    except PolicyError as error:
        line = str(error)
    assert line.startswith("f")
    assert "\n" not in line


def _refused(old: str, new: str) -> str:
    assert old in GOOD
    with pytest.raises(PolicyError) as caught:
        parse_policy(GOOD.replace(old, new).encode(), "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("far:\n", "far:\n    confirm: often\n", "(one of puback, receipt)"),
        ("every: 60s", "every: 60", "(with its unit, such as 60s or 500m"),
        ("  - name: speed", "   - name: speed\n  - name: b", "(here or a few lines"),
        (
            "schema: ",
            f"zones: {{a: {{{SQUARE}}}}}\nschema: ",
            "(one of GCJ-02, WGS-84)",
        ),
    ],
)
def test_a_refusal_says_what_may_stand_there(old: str, new: str, hint: str) -> None:
    assert hint in _refused(old, new)


def test_a_good_policy_is_read_as_it_stands() -> None:
    policy = parse_policy(GOOD.encode(), "f.yaml").model
    assert isinstance(policy, Policy)
    assert policy.destinations["far"].region == "NO"  # YAML 1.1 would say false
    assert policy.rules[0].match.when == {"Vehicle.A": True, "Vehicle.B": {">=": 3}}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("recipients: [nor", "recipiants: [nor",
         ("f.yaml:9: destinations.far.recipiants: no such field"
         " (did you mean 'recipients'?)")),
        ("every: 60s", "evry: 60s",
         "f.yaml:15: rules[0].do[0].evry: no such field (did you mean 'every'?)"),
        ("{step: 0.5}", "{step: 0.5, floor: true}",
         "f.yaml:15: rules[0].do[1].round.floor: no such field (known: down, step)"),
        ("version: 2", "version: two",
         "f.yaml:3: version: expected number, got text"),
        ("to: oem", "to: {a: b}",
         "f.yaml:13: rules[0].to: expected list or nothing or text, got mapping"),
        ("    purpose: p\n", "    purpose: p\n    purpose: q\n",
         "f.yaml:15: rules[0].purpose: is here twice (first on line 14)"),
        ("name: speed", "name: &a speed",
         "f.yaml:11: rules[0].name: anchors are not allowed (write the value out)"),
        ("to: oem", "to: *a",
         "f.yaml:13: rules[0].to: aliases are not allowed (write the value out)"),
        ("to: oem", "<<: {to: oem}",
         "f.yaml:13: rules[0]: merge keys are not allowed (write the values out)"),
        ("name: fleet", "name: !!python/name:os.system x",
         ("f.yaml:2: name: tags are not allowed: 'tag:yaml.org,2002:python/name:os.syst"
         "em'")),
        ('{">=": 3}', '{"=>": 3}',
         ("f.yaml:12: rules[0].match.when.Vehicle.B: the key is not allowed:"
         " Invalid enum value '=>'")),
        ("Vehicle.A: true", "Vehicle.A: [1]",
         ("f.yaml:12: rules[0].match.when.Vehicle.A:"
         " expected mapping or number or true or false, got list")),
        ("{every: 60s}", "{hash: vin}",
         ("f.yaml:15: rules[0].do[0].hash: an unkeyed hash de-identifies nothing: a few"
         " million serial numbers are tried in a second (PIPL art. 51(3), COL-05)"
         " (use pseudonymise)")),
        ("    to: oem", "\tto: oem",
         "f.yaml:13: a tab is not allowed (indent with spaces)"),
        ("schema: sluicegate/policy/1", "schema: sluicegate/policy/2",
         ("f.yaml:1: schema: not this schema: 'sluicegate/policy/2'"
         " (this reads sluicegate/policy/1)")),
        ("schema: sluicegate/policy/1\n", "",
         "f.yaml:1: the field schema is missing (schema: sluicegate/policy/1)"),
        ("catalogues: [cn-auto]\n", "", "f.yaml:1: missing field catalogues"),
        ("recipients: [oem-2026]", "recipients: []",
         "f.yaml:6: destinations.oem.recipients: expected list of length >= 1"),
        ("retention: {", "retention: {x: &b 1d, ",
         "f.yaml:16: retention.x: anchors are not allowed (write the value out)"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_with_its_place(
    old: str, new: str, line: str
) -> None:
    assert _refused(old, new) == line


def test_billion_laughs_and_cycles_are_refused_at_the_first_anchor() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    for text in (bomb, "a: &a [*a]\n"):
        with pytest.raises(PolicyError, match="f:1: a: anchors are not allowed"):
            parse_policy(text.encode(), "f")


def test_deep_nesting_is_refused_and_the_limit_itself_is_not() -> None:
    for bad in ("[" * 100_000, "a: " + "{b: " * 500, "- " * 5000 + "x"):
        with pytest.raises(PolicyError, match=r"nested deeper|not YAML"):
            read_tree(bad.encode(), "f")
    deep = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert read_tree(deep.encode(), "f").value is not None


def test_sizes_are_bounded_before_anything_is_parsed() -> None:
    with pytest.raises(PolicyError, match="larger than 1048576 bytes"):
        parse_policy(b"#" * (1024 * 1024 + 1), "f")
    with pytest.raises(PolicyError, match="more than 200000 nodes"):
        read_tree(b"[" + b"a," * 200_001 + b"]", "f")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("off", "off"), ("NO", "NO"), ("07:00", "07:00"),
        ("012", "012"), ("1_000", "1_000"), (".inf", ".inf"), (".nan", ".nan"),
        ("'5'", "5"), ("0x1F", 31), ("-7", -7), ("1e3", 1000.0), ("~", None),
        ("true", True), ("2026-01-01", "2026-01-01"), ("=", "="), ("1.", 1.0),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    tree = read_tree(f"a: {text}".encode(), "f")
    assert tree.value == {"a": value}
    assert type(tree.value["a"]) is type(value)  # type: ignore[index]  # a mapping


@pytest.mark.parametrize(
    "text",
    [b"\xff", b"a: \x00", b"a: \xe2\x80\xa8", b"a\rb", b"---\na: 1\n---\nb: 2\n",
     b"? [1]\n: 2", b"a: 1e999", b"a: " + b"9" * 30, b"", b"# nothing\n",
     b'"\\U1FFFFFFF"'],
)  # fmt: skip
def test_what_is_not_in_our_part_of_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(PolicyError):
        read_tree(text, "f")


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbfa: 1")
@example(b"%YAML 9.9\n---\na")
@example(b"%TAG ! tag:x\n---\n!y z")
@example(b'a: "\\ud800"')
def test_any_bytes_give_a_document_or_the_one_error(text: bytes) -> None:
    for parse in (parse_policy, parse_catalogue, parse_bindings, parse_floor):
        _check_one_line(parse, text)


@given(st.data())
def test_any_edit_of_a_policy_gives_a_policy_or_one_line(data: st.DataObject) -> None:
    """Edits stay near the grammar, where the parser and the records meet."""
    text = GOOD
    pieces = st.sampled_from(
        ["{", "}", "[", "]", ": ", "- ", "\n", "  ", "&a ", "*a", "null", "5", "x",
         '"', "'", "!", "|", ">", "#", "?", ",", "{grid: 1}", "do", "é", "\u0001"]
    )  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(pieces) + text[end:]
    _check_one_line(parse_policy, text.encode())


def test_both_yaml_parsers_give_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel has no libyaml, the slow parser must not mean another policy."""
    import yaml

    from policies import yaml_tree

    fast = read_tree(GOOD.encode(), "f")
    monkeypatch.setattr(yaml_tree, "_LOADER", yaml.SafeLoader)
    assert read_tree(GOOD.encode(), "f") == fast
