"""The shape of the code is a test: size, purity, layers, names. No exception list."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

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


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("path", ALL_PYTHON, ids=_name)
def test_module_is_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", ALL_PYTHON, ids=_name)
def test_functions_are_at_most_60_lines(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize(
    "path", [p for p in MODULES if not _name(p).startswith(SHELLS)], ids=_name
)
def test_core_does_no_io(path: Path) -> None:
    """A core is given bytes and a time; it does not go and fetch them."""
    assert not _runtime_imports(_tree(path)) & IMPURE
    opened = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "open"
    ]
    assert not opened


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_dangerous_calls_and_no_broad_except(path: Path) -> None:
    bad: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in BANNED_CALLS or name in {"yaml.load", "os.system"}:
                bad.append(f"line {node.lineno}: {name}")
            bad += [
                f"line {node.lineno}: shell=True"
                for keyword in node.keywords
                if keyword.arg == "shell"
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is True
            ]
        if isinstance(node, ast.Import | ast.ImportFrom) and "pickle" in ast.unparse(
            node
        ):
            bad.append(f"line {node.lineno}: pickle")
        if isinstance(node, ast.ExceptHandler) and _name(path) != "agent/main.py":
            caught = "" if node.type is None else ast.unparse(node.type)
            if node.type is None or re.search(r"\b(Base)?Exception\b", caught):
                bad.append(f"line {node.lineno}: except {caught}")
    assert not bad


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_relative_imports(path: Path) -> None:
    assert not [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]


@pytest.mark.parametrize("path", ALL_PYTHON, ids=_name)
def test_every_exception_to_a_tool_has_a_code_and_a_reason(path: Path) -> None:
    bad: list[str] = []
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        for mark in re.finditer(r"(noqa|type: ignore)([^#]*)(#.*)?", token.string):
            has_code = re.match(r"(: ?[A-Z]+\d+|\[[a-z-]+)", mark.group(2).strip())
            has_reason = mark.group(3) or re.search(r"  ?[a-z]", mark.group(2))
            if not (has_code and has_reason):
                bad.append(f"line {token.start[0]}: {token.string}")
    assert not bad


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
