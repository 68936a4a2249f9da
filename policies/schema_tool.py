"""JSON Schemas of our files, for editors: ``python -m policies.schema_tool``.

They say what a field may hold; what must fit together, only the compiler knows. Written
to ``policies/schema/`` of the source tree; a test keeps them current.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from policies.model import Bindings, Catalogue, Policy
from policies.model_floor import Floor
from policies.model_test import PolicyTest
from policies.rollout import Rollout

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "policy": Policy,
    "catalogue": Catalogue,
    "bindings": Bindings,
    "floor": Floor,
    "policy-test": PolicyTest,
    "rollout": Rollout,
}
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> bytes:
    """Return the JSON Schema of one kind of file, as it is shipped."""
    document = {
        "$schema": DIALECT,
        "title": f"Sluicegate {name} file",
        **msgspec.json.schema(MODELS[name]),
    }
    _clean(document)
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _clean(part: object) -> None:
    """Take the indentation out of docstrings, as Python 3.13 does and 3.11 does not."""
    if isinstance(part, dict):
        if isinstance(text := part.get("description"), str):
            part["description"] = inspect.cleandoc(text)
        for one in part.values():
            _clean(one)
    elif isinstance(part, list):
        for one in part:
            _clean(one)


def main(names: list[str]) -> int:
    """Write the schemas (of ``names``, or all) and say where."""
    # Only this command writes; whoever asks for a schema's text needs no file.
    from policies.files import write_shipped  # noqa: PLC0415  # see above

    for name in names or MODELS:
        place = write_shipped("schema", f"{name}.json", schema_text(name))
        sys.stdout.write(f"{place}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
