"""SunSpec layouts and values; pysunspec2 is the oracle for every published model."""

from __future__ import annotations

import json
import struct
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sunspec2.device as oracle
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.modbus.decode import DecodedRegisters, compile_points, decode
from protocols.modbus.plan import coalesce
from protocols.modbus.sunspec import (
    BASES,
    MARKER,
    ModelDefinition,
    ModelPlace,
    discover,
    head_registers,
    parse_model,
    points_of,
)
from protocols.samples import TransactionBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = files("sunspec2") / "models" / "json"
MODELS = sorted(
    int(entry.name[6:-5])
    for entry in FOLDER.iterdir()
    if entry.name.startswith("model_") and entry.name.endswith(".json")
)
BASE = 40_000
REPEATS = 2


def definition_of(model: int) -> ModelDefinition:
    return parse_model(json.loads((FOLDER / f"model_{model}.json").read_text("utf-8")))


def built(model: int, **values: object) -> tuple[oracle.Model, list[int]]:
    """A model with values, and its registers as pysunspec2 encodes them."""
    found = oracle.Model(model, data=values)
    assert not found.error_info
    image = found.get_mb()
    return found, list(struct.unpack(f">{len(image) // 2}H", image))


def leaves(group: oracle.Group, prefix: str = "") -> Iterator[tuple[str, oracle.Point]]:
    for name, point in group.points.items():
        yield prefix + name, point
    for name, inner in group.groups.items():
        if isinstance(inner, list):
            for index, repeat in enumerate(inner):
                yield from leaves(repeat, f"{prefix}{name}[{index}].")
        else:
            yield from leaves(inner, f"{prefix}{name}.")


def count_names(definition: ModelDefinition) -> set[str]:
    groups, names = [definition.group], set()
    while groups:
        group = groups.pop()
        groups += group.groups
        if isinstance(group.count, str):
            names.add(group.count)
    return names


def read_back(
    model: int, registers: Sequence[int], names: Sequence[str]
) -> DecodedRegisters:
    """Bind, plan, read and decode, as the poller and the data path do."""
    definition = definition_of(model)
    place = ModelPlace(model, BASE, len(registers) - 2)
    points = points_of(
        definition,
        place,
        {name: item for item, name in enumerate(names)},
        link=0,
        unit=1,
        head=registers[: head_registers(definition)],
    )
    reads = coalesce(points)
    parts = [registers[r.address - BASE :][: r.count] for r in reads]
    assert [len(part) for part in parts] == [read.count for read in reads]
    batch = TransactionBatch(
        np.zeros(len(reads), np.int64),
        np.zeros(len(reads), np.uint8),
        np.ones(len(reads), np.uint8),
        np.full(len(reads), 3, np.uint8),
        np.full(len(reads), 4, np.uint8),
        np.array([read.address for read in reads], np.uint16),
        np.array([read.count for read in reads], np.uint16),
        np.zeros(len(reads), np.bool_),
        np.zeros(len(reads), np.uint8),
        np.cumsum([0, *map(len, parts)], dtype=np.int64),
        np.array([value for part in parts for value in part], np.uint16),
    )
    return decode(compile_points(points), batch)


@pytest.mark.parametrize("model", MODELS)
def test_every_point_of_every_published_model_lies_where_pysunspec2_has_it(
    model: int,
) -> None:
    definition = definition_of(model)
    counts = dict.fromkeys(count_names(definition), REPEATS)
    found, registers = built(model, **counts)
    wanted = {
        name: point
        for name, point in leaves(found)
        if point.pdef["type"] != "pad" and point.len <= 125
    }
    place = ModelPlace(model, BASE, len(registers) - 2)
    head = registers[: head_registers(definition)]
    points = points_of(
        definition, place, dict.fromkeys(wanted, 0), link=0, unit=1, head=head
    )
    assert len(points) == len(wanted) > 0
    for point, (name, expected) in zip(points, wanted.items(), strict=True):
        assert point.address == BASE + expected.offset, name
        assert point.registers == expected.len, name
        factor = expected.pdef.get("sf")
        if isinstance(factor, str) and point.kind.name == "FLOAT":
            where = expected.group.points.get(factor) or found.points[factor]
            assert point.scale_factor == BASE + where.offset, name


@given(
    amps=st.integers(0, 65534),
    watts=st.integers(-32767, 32767),
    energy=st.integers(1, 2**32 - 1),
    factors=st.tuples(*[st.integers(-10, 10)] * 3),
)
def test_values_of_an_inverter(
    amps: int, watts: int, energy: int, factors: tuple[int, int, int]
) -> None:
    found, registers = built(
        103, A=amps, W=watts, WH=energy, St=4,
        A_SF=factors[0], W_SF=factors[1], WH_SF=factors[2],
    )  # fmt: skip
    names = ["A", "W", "WH", "St", "AphA", "PF", "A_SF"]
    got = read_back(103, registers, names)
    values = dict(
        zip(got.samples.item.tolist(), got.samples.value.tolist(), strict=True)
    )
    # AphA and PF are not implemented.
    assert set(values) == {0, 1, 2, 3, 6}
    assert got.invalid == 2
    for item, name in ((0, "A"), (1, "W"), (2, "WH")):
        # The oracle rounds to the scale factor's digits; we divide once.
        assert values[item] == pytest.approx(found.points[name].cvalue, rel=1e-12)
    assert values[3] == 4
    assert values[6] == factors[0]


def test_common_model_texts() -> None:
    _, registers = built(1, Mn="ACME", Md="Hub 3", SN="SN-0042", Vr="1.0", DA=3)
    got = read_back(1, registers, ["Mn", "Md", "SN", "Opt", "DA"])
    assert got.texts.text == (b"ACME", b"Hub 3", b"SN-0042")
    assert got.samples.value.tolist() == [3.0]
    assert got.invalid == 1  # Opt is not implemented


def test_a_repeating_group_that_fills_the_model() -> None:
    modules = [{"ID": i, "DCA": 10 * i, "DCWH": 100 * i} for i in range(1, 10)]
    found, registers = built(160, N=9, DCA_SF=-1, DCWH_SF=2, module=modules)
    names = [f"module[{i}].{name}" for i in range(9) for name in ("ID", "DCA", "DCWH")]
    got = read_back(160, registers, names)
    points = dict(leaves(found))
    expected = [points[name].cvalue for name in names]
    order = np.argsort(got.samples.item)
    assert got.samples.value[order].tolist() == pytest.approx(expected)
    assert got.invalid == 0


def test_nested_groups_counted_by_points() -> None:
    curves = [
        {"Pt": [{"V": 1000 + i, "Var": -i} for i in range(2)]},
        {"Pt": [{"V": 2000 + i, "Var": i} for i in range(2)]},
    ]
    _, registers = built(705, NPt=2, NCrv=2, V_SF=-2, DeptRef_SF=-1, Crv=curves)
    names = ["Crv[0].Pt[1].V", "Crv[1].Pt[0].Var", "Crv[1].Pt[1].V", "NPt"]
    got = read_back(705, registers, names)
    values = dict(
        zip(got.samples.item.tolist(), got.samples.value.tolist(), strict=True)
    )
    assert values == {0: 10.01, 1: 0.0, 2: 20.01, 3: 2.0}


def test_a_fixed_scale_factor_is_the_scale_and_the_raw_number_stays() -> None:
    found, registers = built(307, TmpAmb=-123)
    got = read_back(307, registers, ["TmpAmb"])
    assert got.samples.raw.tolist() == [-123]
    assert got.samples.value.tolist() == pytest.approx([found.points["TmpAmb"].cvalue])


@pytest.mark.parametrize("name", ["nosuch", "module[0].DCA", "Pad"])
def test_points_that_are_not_there_are_refused(name: str) -> None:
    _, registers = built(1)
    with pytest.raises(ValueError, match="point"):
        read_back(1, registers, [name])


def test_a_model_shorter_than_its_own_counts_is_the_devices_fault() -> None:
    _, registers = built(705, NPt=2, NCrv=2)
    with pytest.raises(WireError, match="shorter than its group Crv"):
        read_back(705, registers[:-4], ["NPt"])


def walk(memory: dict[int, int]) -> tuple[ModelPlace, ...]:
    chain = discover()
    address, count = next(chain)
    for _ in range(1000):
        registers = [memory.get(address + i) for i in range(count)]
        answer = [r for r in registers if r is not None]
        try:
            address, count = chain.send(answer if len(answer) == count else None)
        except StopIteration as end:
            found: tuple[ModelPlace, ...] = end.value
            return found
    raise AssertionError


def image(
    base: int, models: Sequence[tuple[int, int]], *, end: bool = True
) -> dict[int, int]:
    registers = list(MARKER)
    for model, length in models:
        registers += [model, length, *[0] * length]
    if end:
        registers += [0xFFFF, 0]
    return {base + i: register for i, register in enumerate(registers)}


@pytest.mark.parametrize("base", BASES)
def test_the_chain_is_found_at_each_base(base: int) -> None:
    found = walk(image(base, [(1, 66), (103, 50), (103, 50), (64001, 0)]))
    assert [(p.model, p.address - base, p.length) for p in found] == [
        (1, 2, 66), (103, 70, 50), (103, 122, 50), (64001, 174, 0)
    ]  # fmt: skip


def test_without_a_marker_there_are_no_models() -> None:
    assert walk({}) == ()
    assert walk(dict.fromkeys(range(60_000), 7)) == ()


@pytest.mark.parametrize(
    "memory",
    [
        image(0, [(1, 66)], end=False),
        image(0, [(1, 0)] * 200),
        image(50_000, [(1, 15_530)], end=False),
    ],
    ids=["cut", "endless", "beyond the last address"],
)
def test_a_broken_chain_is_refused(memory: dict[int, int]) -> None:
    with pytest.raises(WireError, match="SunSpec chain"):
        walk(memory)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40), st.data())
def test_any_registers_give_models_or_the_one_error(
    registers: list[int], data: st.DataObject
) -> None:
    chain = discover()
    address, count = next(chain)
    memory = [*MARKER, *registers]
    ended = ""
    while not ended:
        assert 0 <= address <= 65_536 - count
        start = (address - BASES[0]) % len(memory)
        answer = (memory * 3)[start : start + count]
        refused = data.draw(st.booleans()) if start else False
        try:
            address, count = chain.send(None if refused else answer)
        except StopIteration:
            ended = "models"
        except WireError:
            ended = "refused"


@pytest.mark.parametrize("document", [{}, {"id": 1}, {"id": "x", "group": {}}])
def test_what_is_no_model_definition_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(WireError, match="SunSpec model definition"):
        parse_model(document)
