"""What the documents name exists: links, files, modules, shipped names, commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from agent.commands.app import app as sluicegate
from agent.config import Config, parse_config
from fleet.app import load as load_words
from fleet.groups import app as sluicectl
from policies.files import shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
load_words()
PROGRAMS = {"sluicegate": sluicegate, "sluicectl": sluicectl}
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda p: p.as_posix()
)
READERS = (
    "README.md",
    "docs/tutorials/collect.md",
    "docs/tutorials/plant.md",
    "docs/tutorials/policies.md",
    "CHANGELOG.md",
)
MAPS = ("README.md", "ARCHITECTURE.md")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|yaml|dbc))")
# what a user of the README makes, has, or is told to make
THEIRS = re.compile(r"(demo|keys|cards|out|devices)/|drive\.log|policy\.yaml|car\.|/")
INNER = re.compile(r"\$\(([^()]*)\)")  # a command within one
ROOMS = ("", "agent/", "protocols/", "policies/", "tests/")
TREE_ROOM = re.compile(r"^([a-z_]+)/(?=\s|$)")
TREE_FOLDER = re.compile(r"^  ([a-z]+/)")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_relative_links_resolve(document: Path) -> None:
    targets = LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    local = [t for t in targets if not re.match(r"[a-z]+:|#", t)]
    missing = [t for t in local if not (document.parent / t.partition("#")[0]).exists()]
    assert not missing


def _exists(named: str) -> bool:
    return any((ROOT / room / named).exists() for room in ROOMS)


@pytest.mark.parametrize("name", MAPS)
def test_files_named_in_running_text_exist(name: str) -> None:
    named = [
        code
        for code in CODE.findall(FENCE.sub("", _text(name)))
        if FILE.fullmatch(code) and not THEIRS.match(code)
    ]
    assert named
    assert not [one for one in named if not _exists(one)]


def _map() -> Iterator[str]:
    """Yield every path of ARCHITECTURE's map, from the root."""
    tree = _text("ARCHITECTURE.md").split("## Rooms")[1].split("```")[1]
    room = ""
    for line in tree.splitlines():
        top = TREE_ROOM.match(line)
        if top is not None:
            room = f"{top[1]}/"
            yield from re.findall(r"\b[a-z_]+/", line)
        if TREE_FOLDER.match(line):
            yield from (room + one for one in re.findall(r"(?<![\w/])[a-z]+/", line))
        yield from (f"{room}{one}" for one in re.findall(r"\b[\w]+\.py\b", line))


def test_every_room_and_module_of_the_map_exists() -> None:
    paths = list(_map())
    assert "agent/flow.py" in paths
    assert "protocols/can/" in paths
    assert not [one for one in paths if not (ROOT / one).exists()]


def test_every_folder_of_code_is_on_the_map() -> None:
    paths = set(_map())
    for room in ("agent", "protocols", "policies", "fleet", "firmware_sim"):
        assert f"{room}/" in paths
        inner = [p.parent for p in (ROOT / room).glob("*/__init__.py")]
        assert not [_name(p) for p in inner if f"{_name(p)}/" not in paths]


def test_symbols_of_architecture_stand_where_it_says() -> None:
    text = _text("ARCHITECTURE.md")
    pairs = re.findall(r"`([a-z_/]+\.py)`[^`\n]{0,3}`([A-Z]\w+)`", text)
    assert pairs
    assert not [
        (file, symbol)
        for file, symbol in pairs
        if not re.search(rf"\b{symbol}\b", _text(file))
    ]
    dotted = re.findall(r"`(assembly)\.(\w+)`", text)
    assert all(f"def {what}(" in _text(f"agent/{file}.py") for file, what in dotted)


def test_shipped_names_are_shipped() -> None:
    text = " ".join(_text("README.md").split())
    policies = set(shipped("examples"))
    bindings = {one.removesuffix(".bindings") for one in shipped("bindings")}
    sentence = re.search(r"Shipped policies: (.*?)\. Shipped bindings: (.*?)\.", text)
    assert sentence is not None
    before = sentence[2].partition(" want")[0]
    assert set(CODE.findall(sentence[1].partition(";")[0])) == policies
    assert set(CODE.findall(before)) == bindings
    assert set(re.findall(r"--policy ([a-z][\w-]*)", text)) <= policies
    assert set(re.findall(r"--bindings ([a-z][\w-]*)", text)) <= bindings
    recipients = re.search(r"\(`passenger-fleet`: ([^)]*)\)", text)
    assert recipients is not None
    source = _text("policies/examples/passenger-fleet.yaml")
    used = set(re.findall(r"\b[a-z]+(?:-[a-z]+)+(?:-\d{4})?\b|\boem-2026\b", source))
    assert set(CODE.findall(recipients[1])) <= used


def _command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield (document, words) of every line that begins with one of our programs."""
    for name in READERS:
        text = _text(name)
        shown = {"toml", "text"}  # files and outputs, no commands
        blocks = [body for kind, body in FENCE.findall(text) if kind not in shown]
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        lines += CODE.findall(FENCE.sub("", text))
        lines += [inner for line in lines for inner in INNER.findall(line)]
        for line in (INNER.sub("X", line) for line in lines):
            typed = re.sub(r"<[^>]*>", "X", line.strip().partition(" #")[0])
            words = shlex.split(typed)
            if words and words[0].rpartition("/")[2] in PROGRAMS:
                yield name, [words[0].rpartition("/")[2], *words[1:]]


@cache
def _command(program: str) -> Any:
    return typer.main.get_command(PROGRAMS[program])


@cache
def _options(program: str, path: tuple[str, ...]) -> frozenset[str] | None:
    """Return the options of a command, None where there is no such command."""
    command = _command(program)
    for word in path:
        inner = getattr(command, "commands", {})
        if word not in inner:
            return None
        command = inner[word]
    given = [one for p in command.params for one in (*p.opts, *p.secondary_opts)]
    return frozenset({*given, "--help"})


def _path(program: str, words: list[str]) -> tuple[str, ...]:
    """Return the leading words that name a command, one behind a group's name too."""
    command = _command(program)
    path: tuple[str, ...] = ()
    for word in words:
        inner = getattr(command, "commands", {})
        if not inner or word.startswith("-"):
            break
        path = (*path, word)
        if word not in inner:
            break
        command = inner[word]
    return path


def test_every_command_and_option_in_the_documents_exists() -> None:
    lines = list(_command_lines())
    assert len(lines) > 12
    wrong: list[str] = []
    for document, (program, *words) in lines:
        options = _options(program, _path(program, words))
        said = [word.partition("=")[0] for word in words if word.startswith("-")]
        if options is None or not options.issuperset(said):
            wrong.append(f"{document}: {program} {' '.join(words)}")
    assert not wrong


def _paths(program: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command of a program, as the words that name it."""
    command = _command(program)
    for word in path:
        command = getattr(command, "commands", {})[word]
    yield path
    for word in getattr(command, "commands", {}):
        yield from _paths(program, (*path, word))


def test_options_named_alone_exist_somewhere() -> None:
    known: set[str] = set()
    for program in PROGRAMS:
        for path in _paths(program):
            known |= _options(program, path) or frozenset()
    for name in READERS:
        said = re.findall(r"`(--[a-z-]+)`", _text(name))
        assert set(said) <= known, name


def test_the_configuration_of_the_readme_is_read() -> None:
    blocks = [
        body for kind, body in FENCE.findall(_text("README.md")) if kind == "toml"
    ]
    assert len(blocks) == 1
    config = parse_config(blocks[0].encode(), "README.md")
    assert config.device == "gateway-1"
    shown = {line.partition("=")[0].strip() for line in blocks[0].splitlines()}
    sections = set(re.findall(r"^\[+(\w+)\]+", blocks[0], re.MULTILINE))
    fields = set(Config.__struct_fields__)
    assert fields <= shown | sections, "a field that the README does not show"


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", _text("Makefile"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "docs/testing.md"):
        text = _text(name)
        said = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
        assert said, name
        assert said <= targets, name


def test_modules_to_start_exist() -> None:
    for name in READERS:
        for module in re.findall(r"python -m ([\w.]+)", _text(name)):
            assert importlib.util.find_spec(module) is not None, module
