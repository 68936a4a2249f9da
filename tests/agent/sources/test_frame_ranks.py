"""A frame is worth what the items in it are worth, under the policy of now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.ranks import rank_of
from agent.records import Rank
from agent.sources.frame_ranks import WORDS, FrameRanks
from policies.files import load
from protocols.can.decode import decode
from protocols.frames import CAN_EFF_FLAG, FrameBatch
from tests.support.worlds import frames_of

if TYPE_CHECKING:
    from policies.compile import Compiled


def compiled() -> Compiled:
    buses = ("can0", "can1", "can2")
    return load("passenger-fleet", ("sim-vehicle",), buses=buses).compiled


def one_frame(bus: int, ident: int) -> FrameBatch:
    return FrameBatch(
        np.zeros(1, np.int64), np.full(1, bus, np.uint8), np.full(1, ident, np.uint32),
        np.full(1, 8, np.uint8), np.zeros(1, np.uint8), np.zeros((1, 8), np.uint8),
    )  # fmt: skip


def test_a_drive_is_ranked_as_its_samples_are() -> None:
    policy, frames = compiled(), frames_of(seconds=2)
    ranks = FrameRanks(policy)(frames)
    assert {int(rank) for rank in ranks} == {
        Rank.TELEMETRY, Rank.GENERAL, Rank.PERSONAL,
    }  # fmt: skip
    assert len(WORDS) == Rank.CONTROL
    items = policy.policy.items
    for number in range(0, len(frames), 37):  # each frame alone, by the decoder
        one = frames.take(slice(number, number + 1))
        found = decode(policy.plan, one).samples.item
        known = [int(items.label[n]) for n in found if items.classified[n]]
        least = max(map(rank_of, known), default=Rank.TELEMETRY)
        assert ranks[number] >= least  # a multiplexer may carry more another time


def test_diagnostics_are_worth_what_is_asked_of_them() -> None:
    ranks = FrameRanks(compiled())
    assert ranks(one_frame(1, 0x7E8)).tolist() == [Rank.PERSONAL]  # the VIN
    assert ranks(one_frame(1, CAN_EFF_FLAG | 0x18DA_F110)).tolist() == [Rank.PERSONAL]
    assert ranks(one_frame(0, 0x7E8)).tolist() == [Rank.TELEMETRY]
    assert ranks(one_frame(9, 0x123)).tolist() == [Rank.TELEMETRY]
