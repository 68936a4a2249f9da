"""The one module here that reads files: policies, catalogues, bindings, databases.

Shipped catalogues, examples and the built-in ``lockdown`` policy come out of the
package. Everything else is pure and takes bytes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from policies.catalogue import CatalogueSet
from policies.compile import Compiled, compile_policy
from policies.errors import PolicyError, nearest, shown
from policies.floor import Violation, check_floor
from policies.lint.linting import lint
from policies.parse import (
    CATALOGUE_BYTES_MAX,
    Document,
    parse_bindings,
    parse_catalogue,
    parse_floor,
    parse_policy,
)
from policies.representative import representative
from protocols.can.database import load_database
from protocols.errors import DatabaseError, WireError
from protocols.held import Held
from protocols.modbus.sunspec import parse_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from policies.lint.findings import Finding
    from policies.model import Bindings, Catalogue, Policy
    from policies.yaml_tree import Path as Place
    from protocols.can.database import Database
    from protocols.modbus.sunspec import ModelDefinition

LOCKDOWN: Final = "lockdown"  # the built-in policy: nothing leaves
EVERY_BUS: Final = "*"
OPEN_BUSES: Final = ("can0", "can1", "can2", "can3")  # where nothing names any bus
SUNSPEC_PACKAGE: Final = "sunspec2"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A compiled policy with what lint and the floor say of it."""

    compiled: Compiled
    findings: tuple[Finding, ...]
    violations: tuple[Violation, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that refuse the policy."""
        return tuple(finding for finding in self.findings if finding.is_error)


def load(
    policy: Path | str | None,
    bindings: Sequence[Path | str] = (),
    floor: Path | str | None = None,
    database_folder: Path | None = None,
    *,
    buses: tuple[str, ...] | None = None,
    links: tuple[str, ...] | None = None,
) -> Loaded:
    """Read and compile a policy with its bindings; see ``load_text``.

    ``policy``: a file, the name of a shipped example, or None for ``lockdown``.
    ``bindings``: files, or names of shipped ones.
    """
    file, text = policy_text(policy)
    folder = Path(file).parent if Path(file).is_file() else None
    return load_text(
        text,
        file,
        bindings,
        floor,
        database_folder,
        buses=buses,
        links=links,
        catalogue_folder=folder,
    )


def load_unbound(
    policy: Path | str | None, floor: Path | str | None = None, also: Sequence[str] = ()
) -> Loaded:
    """Compile a policy against one item for every pattern of its catalogues.

    For whoever has no bindings at hand: see ``policies.representative``. ``also``:
    items to be there beside them.
    """
    file, text = policy_text(policy)
    folder = Path(file).parent if Path(file).is_file() else None
    document = parse_policy(text, file)
    known = CatalogueSet(_catalogues(document, folder, {}))
    bound = representative(document, known, also)
    return load_text(text, file, [bound], floor, catalogue_folder=folder)


def load_text(
    text: bytes,
    file: str,
    bindings: Sequence[Path | str | Document[Bindings]] = (),
    floor: Path | str | None = None,
    database_folder: Path | None = None,
    *,
    buses: tuple[str, ...] | None = None,
    links: tuple[str, ...] | None = None,
    catalogue_folder: Path | None = None,
    catalogues: Mapping[str, bytes] | None = None,
) -> Loaded:
    """Compile the text of a policy, however it came here, and lint it.

    ``catalogues``: texts that came with the policy, by the name that it gives them.
    CAN databases are looked for in ``database_folder``, then beside the bindings file.
    ``buses`` and ``links`` are the names behind ``FrameBatch.bus`` and
    ``TransactionBatch.link``; None takes those that the bindings name, in their order
    (``*`` then means those, or ``OPEN_BUSES`` where there are none). PolicyError (file,
    line, path, reason) whatever is wrong in any of the files; findings of lint and
    violations of the floor are returned, not raised.
    """
    document = parse_policy(text, file)
    bound = [_bindings(one) for one in bindings]
    documents = [one for one, _ in bound]
    databases: dict[str, Database] = {}
    for one, folder in bound:
        _databases(one, folder, database_folder, databases)
    compiled = compile_policy(
        document,
        _catalogues(document, catalogue_folder, catalogues or {}),
        documents,
        databases,
        buses_of(documents) if buses is None else buses,
        links_of(documents) if links is None else links,
        _models(documents),
    )
    violations: tuple[Violation, ...] = ()
    if floor is not None:
        floor_file = Path(floor)
        violations = tuple(
            check_floor(compiled, parse_floor(_read(floor_file), str(floor)))
        )
    return Loaded(compiled, lint(compiled), violations)


def shipped(kind: str) -> tuple[str, ...]:
    """Return the names of shipped files.

    ``kind``: ``catalogues``, ``examples`` (policies), ``bindings`` or ``tests``.
    """
    folder = kind if kind == "catalogues" else "examples"
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("policies").joinpath(folder).iterdir()
        if entry.name.endswith(".yaml")
    )
    if kind in {"bindings", "tests"}:
        return tuple(n for n in names if n.endswith(f".{kind}"))
    return tuple(n for n in names if not n.endswith((".bindings", ".floor", ".tests")))


def shipped_text(kind: str, name: str) -> bytes:
    """Return the bytes of a shipped file; PolicyError where there is none."""
    folder = kind if kind == "catalogues" else "examples"
    if name not in shipped(kind):
        known = shipped(kind)
        hint = nearest(name, known) or f"shipped: {', '.join(known)}"
        raise PolicyError(name, 0, "", "no such file", hint)
    return files("policies").joinpath(folder, f"{name}.yaml").read_bytes()


def schema_of(name: str) -> bytes:
    """Return a shipped JSON Schema: policy, catalogue, bindings or floor."""
    return files("policies").joinpath("schema", f"{name}.json").read_bytes()


def write_shipped(folder: str, name: str, body: bytes) -> Path:
    """Write a generated file into the source tree and return its path."""
    path = Path(__file__).parent / folder / name
    path.write_bytes(body)
    return path


def buses_of(documents: Sequence[Document[Bindings]]) -> tuple[str, ...]:
    """Return the bus names that bindings use, in order of their first use."""
    named: dict[str, None] = {}
    is_open = False
    for document in documents:
        model = document.model
        used = [one.bus for one in model.can] + [one.bus for one in model.diagnostics]
        for bus in used:
            names = [bus] if isinstance(bus, str) else bus
            is_open |= EVERY_BUS in names
            named |= {name: None for name in names if name != EVERY_BUS}
    return tuple(named) or (OPEN_BUSES if is_open else ())


def bus_names(bindings: Sequence[Path | str]) -> tuple[tuple[str, ...], bool]:
    """Return the bus names that bindings use, and whether one says ``*``.

    Who reads then says which buses there are (``load``: ``buses``).
    """
    models = [_bindings(one)[0].model for one in bindings]
    said = [b.bus for m in models for b in m.can]
    said += [b.bus for m in models for b in m.diagnostics]
    names = [n for bus in said for n in ([bus] if isinstance(bus, str) else bus)]
    named = dict.fromkeys(name for name in names if name != EVERY_BUS)
    return tuple(named), EVERY_BUS in names


def link_names(bindings: Sequence[Path | str]) -> tuple[str, ...]:
    """Return the link names that bindings use; see ``load``: ``links``."""
    return links_of([_bindings(one)[0] for one in bindings])


def links_of(documents: Sequence[Document[Bindings]]) -> tuple[str, ...]:
    """Return the link names that bindings use, in order of their first use."""
    links: list[str] = []
    for document in documents:
        links += [one.link for one in document.model.modbus]
        links += [one.link for one in document.model.sunspec]
    return tuple(dict.fromkeys(links))


def _read(path: Path, hint: str = "") -> bytes:
    """Return a file's bytes, one more than any parser takes at most.

    ``hint``: what to do where there is no such file.
    """
    try:
        # O_NONBLOCK: a pipe put in its place must not hold up a start or a reload
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PolicyError(str(path), 0, "", "is no regular file")
            return stream.read(CATALOGUE_BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        absent = isinstance(error, FileNotFoundError)
        raise PolicyError(str(path), 0, "", reason, hint if absent else "") from None
    except ValueError as error:
        if isinstance(error, PolicyError):
            raise
        # a name with a zero byte
        raise PolicyError(str(path), 0, "", "is no name of a file") from None


def _read_named(source: Path | str, kind: str) -> bytes:
    """Read a file; where there is none, the error tells the shipped names."""
    known = tuple(one.removesuffix(f".{kind}") for one in shipped(kind))
    name = Path(source).name.removesuffix(".yaml").removesuffix(f".{kind}")
    near = nearest(name, known) or f"shipped: {', '.join(known)}"
    hint = f"the shipped one is named {shown(name)}" if name in known else near
    return _read(Path(source), hint)


def policy_text(policy: Path | str | None) -> tuple[str, bytes]:
    """Return where a policy is and its bytes: a file, or a shipped one by name."""
    if policy is None:
        return LOCKDOWN, shipped_text("examples", LOCKDOWN)
    if isinstance(policy, str) and policy in shipped("examples"):
        return policy, shipped_text("examples", policy)
    return str(policy), _read_named(policy, "examples")


def _bindings(
    source: Path | str | Document[Bindings],
) -> tuple[Document[Bindings], Path | None]:
    """Return parsed bindings and the folder of their file."""
    if isinstance(source, Document):
        return source, None
    if isinstance(source, str):
        name = source.removesuffix(".bindings") + ".bindings"
        if name in shipped("bindings"):
            folder = Path(str(files("policies").joinpath("examples")))
            return parse_bindings(shipped_text("bindings", name), name), folder
    body = _read_named(source, "bindings")
    return parse_bindings(body, str(source)), Path(source).parent


_held: Final[Held[Document[Catalogue]]] = Held()


def _catalogue(text: bytes, file: str) -> Document[Catalogue]:
    return _held.of(file, text, lambda: parse_catalogue(text, file))


def _catalogues(
    document: Document[Policy], folder: Path | None, given: Mapping[str, bytes]
) -> list[Document[Catalogue]]:
    out: list[Document[Catalogue]] = []
    for number, name in enumerate(document.model.catalogues):
        here: Place = ("catalogues", number)
        if name in shipped("catalogues"):
            out.append(_catalogue(shipped_text("catalogues", name), name))
        elif name in given:
            out.append(_catalogue(given[name], name))
        elif name.endswith(".yaml") and folder is not None:
            path = folder / name
            try:
                out.append(_catalogue(_read(path), str(path)))
            except PolicyError as error:
                if error.line:
                    raise
                raise document.error(here, f"{path}: {error.reason}") from None
        else:
            known = shipped("catalogues")
            hint = nearest(name, known) or f"shipped: {', '.join(known)}"
            reason = f"no such catalogue: {shown(name)}"
            raise document.error(here, reason, hint)
    return out


def _databases(
    document: Document[Bindings],
    folder: Path | None,
    database_folder: Path | None,
    known: dict[str, Database],
) -> None:
    """Load the CAN databases that one bindings file names, into ``known``."""
    for number, binding in enumerate(document.model.can):
        name = binding.database
        if name in known:
            continue
        here: Place = ("can", number, "database")
        places = [f / name for f in (database_folder, folder) if f is not None]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            hint = "put it beside the bindings, or name its folder"
            raise document.error(here, f"no such file: {shown(name)}", hint)
        try:
            known[name] = load_database(found)
        except DatabaseError as error:
            raise document.error(here, str(error)) from None


def _models(documents: Sequence[Document[Bindings]]) -> dict[int, ModelDefinition]:
    """Load the published SunSpec models that the bindings name; unknown ones: not."""
    out: dict[int, ModelDefinition] = {}
    for document in documents:
        for number, one in enumerate(document.model.sunspec):
            try:
                out |= sunspec_models({one.model} - set(out))
            except WireError as error:
                here: Place = ("sunspec", number, "model")
                raise document.error(here, str(error)) from None
    return out


def sunspec_models(numbers: Iterable[int]) -> dict[int, ModelDefinition]:
    """Return published SunSpec models by number; those that there are not: left out."""
    out: dict[int, ModelDefinition] = {}
    for number in numbers:
        name = f"models/json/model_{number}.json"
        try:
            body = files(SUNSPEC_PACKAGE).joinpath(name).read_bytes()
        except (FileNotFoundError, ModuleNotFoundError):
            continue  # the binding is refused with its line
        out[number] = parse_model(msgspec.json.decode(body, type=dict))
    return out
