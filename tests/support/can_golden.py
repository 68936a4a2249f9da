"""What the CAN detectors say of a made-up bus, as event bytes: the golden's maker.

``tests/agent/inspection/can-events.jsonl`` was written by this module before findings
learned of Modbus; events about CAN must stay as they were, byte for byte.
"""

from __future__ import annotations

import numpy as np

from agent.inspection.findings import View
from agent.inspection.frames import UnknownIdentifier, WrongShape
from agent.inspection.identifiers import IdentifierSeen
from agent.inspection.ocsf import Context, event
from agent.inspection.stage import Inspector
from protocols.can.uds import Identifier
from protocols.frames import CANFD_FDF, FrameBatch

SECOND = 10**9
START = 1_772_431_200 * SECOND  # 2026-03-02T06:00:00Z
ROWS = 400
SECONDS = 1300  # more than two ten-minute buckets


def can_events() -> list[bytes]:
    """Return every event of 1,300 seconds of three buses, in order."""
    inspector = Inspector(
        [
            UnknownIdentifier(frozenset({0, 1})),
            WrongShape(
                np.array([8, 4, 64, 0], np.int32),
                np.array([1, 0, 2, 0], np.uint8),
                frozenset({0, 1}),
            ),
            IdentifierSeen(),
        ]
    )
    context = Context("gw-7", ("can0", "body"), b"\x5a" * 32, "high", "1.2.3")
    chance = np.random.default_rng(11)
    said: list[bytes] = []
    for second in range(0, SECONDS, 100):
        now = START + second * SECOND
        view = _view(chance, now)
        found = inspector.inspect(view, now)
        said += [event(one, context, second // 500) for one in found]
    return said + [event(one, context, 9) for one in inspector.flush()]


def _view(chance: np.random.Generator, now: int) -> View:
    message = chance.integers(-2, 4, ROWS).astype(np.int32)
    ident = np.uint32(0x100) + message.astype(np.uint32) % np.uint32(97)
    remote = np.where(message == -2, np.uint32(0x40000000), np.uint32(0))
    frames = FrameBatch(
        now + np.sort(chance.integers(0, SECOND, ROWS)),
        chance.integers(0, 3, ROWS).astype(np.uint8),
        ident | remote,
        chance.choice(np.array([0, 4, 8], np.uint8), ROWS),
        chance.choice(np.array([0, CANFD_FDF], np.uint8), ROWS),
        np.zeros((ROWS, 8), np.uint8),
    )
    seen = Identifier(
        now, 1, 0x7E8, "uds:F190", 0xF190, b"LSVAA49J132047371",
        is_response=True, is_write=now % (300 * SECOND) == 0,
    )  # fmt: skip
    return View(frames, message, (), (seen,))
