"""The shape of the code is a test: size, purity, layers, names. No exception list."""

from __future__ import annotations

import ast
import gc
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "protocols", "policies", "fleet", "firmware_sim")
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
ALL_PYTHON = MODULES + sorted(
    p for name in ("tests", "bench") for p in (ROOT / name).rglob("*.py")
)
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
NESTING_MAX = 4

# Folders whose modules may await, open, sleep or look at a clock.
SHELLS = (
    "agent/adapters/",
    "agent/commands/",
    "agent/runtime.py",
    "agent/main.py",
    "fleet/",
    "firmware_sim/",
    "policies/files.py",  # reads policy, catalogue and binding files for both sides
    "protocols/can/database.py",  # cantools parses from text; the file is read here
)
IMPURE = {
    "asyncio", "socket", "ssl", "threading", "subprocess", "sqlite3", "tempfile",
    "time", "random", "select", "os", "shutil", "multiprocessing", "pathlib",
}  # fmt: skip
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    # Millions of nodes that stay: looking through them for rubbish takes most of it.
    gc.disable()
    try:
        return ast.parse(_source(path))
    finally:
        gc.enable()


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module: parsed and walked once for all checks."""
    nodes = tuple(ast.walk(_tree(path)))
    gc.freeze()  # they stay, and need not be looked through again
    return nodes


def _runtime_imports(tree: ast.Module) -> set[str]:
    """Top-level names of imports that run (imports under TYPE_CHECKING do not)."""
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            hidden.update(n for child in node.body for n in ast.walk(child))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_modules_are_at_most_400_lines() -> None:
    sizes = {_name(path): len(_source(path).splitlines()) for path in ALL_PYTHON}
    assert not {name: size for name, size in sizes.items() if size > LINES_MAX}


def test_functions_are_at_most_60_lines() -> None:
    assert not [
        f"{_name(path)}:{node.lineno}: {node.name}"
        for path in ALL_PYTHON
        for node in _nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def test_cores_do_no_io() -> None:
    """A core is given bytes and a time; it does not go and fetch them."""
    cores = [path for path in MODULES if not _name(path).startswith(SHELLS)]
    assert len(cores) > 100
    bad = [
        f"{_name(path)}: imports {', '.join(sorted(found))}"
        for path in cores
        if (found := _runtime_imports(_tree(path)) & IMPURE)
    ]
    bad += [
        f"{_name(path)}:{node.lineno}: open"
        for path in cores
        for node in _nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "open"
    ]
    assert not bad


def test_no_dangerous_calls_and_no_broad_except() -> None:
    assert not [
        f"{_name(path)}:{line}: {what}"
        for path in MODULES
        for node in _nodes(path)
        for line, what in _dangers(path, node)
    ]


def _dangers(path: Path, node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name in BANNED_CALLS or name in {"yaml.load", "os.system"}:
            yield node.lineno, name
        for keyword in node.keywords:
            value = keyword.value
            constant = isinstance(value, ast.Constant) and value.value is True
            if keyword.arg == "shell" and constant:
                yield node.lineno, "shell=True"
    elif isinstance(node, ast.Import | ast.ImportFrom):
        if "pickle" in ast.unparse(node):
            yield node.lineno, "pickle"
    elif isinstance(node, ast.ExceptHandler) and _name(path) != "agent/main.py":
        caught = "" if node.type is None else ast.unparse(node.type)
        if node.type is None or re.search(r"\b(Base)?Exception\b", caught):
            yield node.lineno, f"except {caught}"


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')", "exec('1')", "yaml.load(x)", "os.system('x')", "import pickle",
        "from pickle import loads", "run(x, shell=True)",
        "try:\n    x()\nexcept Exception:\n    pass",
        "try:\n    x()\nexcept:\n    pass",
        "try:\n    x()\nexcept (ValueError, BaseException):\n    pass",
    ],
)  # fmt: skip
def test_the_check_for_dangers_finds_them(line: str) -> None:
    path = ROOT / "agent" / "flow.py"
    assert [d for node in ast.walk(ast.parse(line)) for d in _dangers(path, node)]


def test_no_relative_imports() -> None:
    assert not [
        f"{_name(path)}:{node.lineno}"
        for path in MODULES
        for node in _nodes(path)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def test_every_exception_to_a_tool_has_a_code_and_a_reason() -> None:
    marked = [p for p in ALL_PYTHON if re.search(r"noqa|type: ignore", _source(p))]
    assert not [
        f"{_name(path)}:{line}: {what}"
        for path in marked
        for line, what in _unexplained(_source(path))
    ]


def _unexplained(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        for mark in re.finditer(r"(noqa|type: ignore)([^#]*)(#.*)?", token.string):
            has_code = re.match(r"(: ?[A-Z]+\d+|\[[a-z-]+)", mark.group(2).strip())
            has_reason = mark.group(3) or re.search(r"  ?[a-z]", mark.group(2))
            if not (has_code and has_reason):
                yield token.start[0], token.string


@pytest.mark.parametrize(
    ("comment", "is_bad"),
    [
        ("# noqa", True),
        ("# noqa: S101", True),
        ("# noqa: S101  the point of it", False),
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore[arg-type]  # theirs", False),
    ],
)
def test_the_check_for_reasons_finds_them(comment: str, is_bad: bool) -> None:
    assert bool([*_unexplained(f"x = 1  {comment}\n")]) == is_bad


def test_modules_do_not_take_the_names_of_the_standard_library() -> None:
    taken = {"inspect", "io", "select", "statistics", "types", "queue", "code", "token"}
    assert not [_name(p) for p in MODULES if p.stem in taken]


def test_gateway_side_never_opens_an_envelope_and_never_signs_a_policy() -> None:
    """Promise 3: the device can seal and cannot open; can verify and cannot sign."""
    words = re.compile(r"\b(\w*decrypt\w*|X25519PrivateKey|MLKEM768\w*PrivateKey)\b")
    hits = [
        f"{_name(p)}: {m.group(0)}"
        for p in MODULES
        if _name(p).startswith(("agent/", "protocols/", "policies/"))
        for m in words.finditer(p.read_text(encoding="utf-8"))
    ]
    assert not hits
