"""Which frames of a bus the bindings need: pairs for the kernel's filter. Pure.

The kernel lets a frame through where ``received & mask == ident & mask`` for one pair
(linux/can.h, struct can_filter). A filter saves work; it decides nothing, and what it
keeps off is seen by no detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from protocols.frames import CAN_EFF_FLAG, CAN_EFF_MASK, CAN_SFF_MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.compile import Compiled

Pairs: TypeAlias = tuple[tuple[int, int], ...]

# Those on which ISO-TP is put together: 7DF, 7E0-7EF, 18DAxxxx and 18DBxxxx.
DIAGNOSTIC: Final[Pairs] = (
    (0x7DF, CAN_EFF_FLAG | CAN_SFF_MASK),
    (0x7E0, CAN_EFF_FLAG | 0x7F0),
    (CAN_EFF_FLAG | 0x18DA_0000, CAN_EFF_FLAG | 0x1FFE_0000),
)


def exactly(idents: Iterable[int]) -> Pairs:
    """Return the pairs of these identifiers, with CAN_EFF_FLAG where extended.

    Remote frames of an identifier pass too: the inspection wants to see them.
    """
    return tuple(
        (ident & (CAN_EFF_FLAG | CAN_EFF_MASK), CAN_EFF_FLAG | CAN_EFF_MASK)
        if ident & CAN_EFF_FLAG
        else (ident & CAN_SFF_MASK, CAN_EFF_FLAG | CAN_SFF_MASK)
        for ident in sorted(set(idents))
    )


def needed(compiled: Compiled, bus: int) -> Pairs:
    """Return the pairs of all that an item of this bus is made of."""
    messages, count = compiled.plan.messages, compiled.plan.count[:-2]
    bound = np.flatnonzero((messages.bus == bus) & (count > 0))
    asked = any(one.bus == bus for one in compiled.diagnostics)
    return (*exactly(messages.ident[bound].tolist()), *(DIAGNOSTIC if asked else ()))
