"""The batch that tests of tap, firewall and detectors get is the simulation's truth."""

from __future__ import annotations

import numpy as np

from protocols.modbus.exchanges import NO_REPLY, Problem
from tests.support.network_pairs import PAIRING, network_pairs


def test_every_row_lies_where_the_batch_says() -> None:
    assert (
        Problem.PROTOCOL | Problem.UNSOLICITED | Problem.UNANSWERED | Problem.REPEATED
    ) == PAIRING
    batch, truth = network_pairs("plant-network-short", 20)
    assert len(batch) == len(truth.rows) > 100
    assert (np.diff(batch.time_ns) >= 0).all()
    chars = batch.chars.tobytes()
    for i, row in enumerate(truth.rows):
        at, size = int(batch.request_at[i]), int(batch.request_size[i])
        assert chars[at : at + size] == row.pdu
        at, size = int(batch.reply_at[i]), int(batch.reply_size[i])
        assert chars[at : at + size] == row.reply
        assert truth.links[batch.link[i]] == row.plc
    assert (batch.reply_at > NO_REPLY).all()
    names = {truth.peers.name(int(one)) for one in np.unique(batch.client)}
    assert names == {"10.20.0.21", "10.20.0.41"}
