"""The kernel's filter lets through what the bindings need, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.bus_filter import DIAGNOSTIC, exactly, needed
from policies.bindings import DiagnosticBinding
from protocols.can.database import parse_database
from protocols.can.isotp import Diagnostics
from protocols.can.plan import SignalBinding, compile_plan
from protocols.frames import CAN_EFF_FLAG, empty_frames

if TYPE_CHECKING:
    from agent.sources.bus_filter import Pairs
    from policies.compile import Compiled
    from protocols.frames import FrameBatch

DBC = b"""VERSION ""
BU_: ECU
BO_ 256 SPEEDS: 8 ECU
 SG_ FRONT : 0|16@1+ (0.01,0) [0|655] "km/h" ECU
BO_ 512 UNBOUND: 8 ECU
 SG_ REAR : 16|16@1+ (0.01,0) [0|655] "km/h" ECU
BO_ 2566844926 LONG: 8 ECU
 SG_ ENGINE : 0|16@1+ (1,0) [0|655] "" ECU
"""
IDENTS = st.one_of(
    st.integers(0, 0x7FF),
    st.integers(0, 0x1FFFFFFF).map(lambda one: one | CAN_EFF_FLAG),
)


def passes(ident: int, pairs: Pairs) -> bool:
    """As the kernel compares (linux/can.h, struct can_filter)."""
    return any(ident & mask == wanted & mask for wanted, mask in pairs)


def compiled(*diagnostics: DiagnosticBinding) -> Compiled:
    database = parse_database(DBC, "dbc", "t.dbc")
    plan = compile_plan(
        [
            SignalBinding(0, "SPEEDS", (("FRONT", 1.0),), 0),
            SignalBinding(1, "LONG", (("ENGINE", 1.0),), 1),
        ],
        {0: [database], 1: [database]},
    )
    made = SimpleNamespace(plan=plan, diagnostics=diagnostics)
    return cast("Compiled", made)


def test_only_messages_that_an_item_is_made_of_pass() -> None:
    assert needed(compiled(), 0) == exactly([256])
    assert needed(compiled(), 1) == exactly([2566844926])
    assert needed(compiled(), 2) == ()


def test_diagnostics_pass_where_an_item_comes_from_them() -> None:
    both = compiled(DiagnosticBinding(0, 2, did=0xF190))
    assert needed(both, 0) == (*exactly([256]), *DIAGNOSTIC)
    assert needed(both, 1) == exactly([2566844926])


@given(st.lists(IDENTS, max_size=20), IDENTS)
def test_an_exact_filter_is_exact(wanted: list[int], ident: int) -> None:
    pairs = exactly(wanted)
    assert passes(ident, pairs) == (ident in wanted)
    assert all(passes(one | 0x40000000, pairs) for one in wanted)


@given(IDENTS)
def test_what_may_be_iso_tp_passes(ident: int) -> None:
    def frame(ident: int) -> FrameBatch:
        one = empty_frames()
        return type(one)(
            np.zeros(1, np.int64), np.zeros(1, np.uint8), np.array([ident], np.uint32),
            np.full(1, 8, np.uint8), np.zeros(1, np.uint8), np.zeros((1, 8), np.uint8),
        )  # fmt: skip

    for one in (
        ident,
        0x7D0 + ident % 0x30,
        CAN_EFF_FLAG | 0x18D9_0000 | ident & 0x3FFFF,
    ):
        taken = bool(Diagnostics().candidates(frame(one))[0])
        assert passes(one, DIAGNOSTIC) == taken, hex(one)
