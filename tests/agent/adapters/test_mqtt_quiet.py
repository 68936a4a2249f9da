"""A flood of messages is no flood of log lines, on either side of the broker."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiomqtt
import pytest

from agent.adapters import mqtt
from fleet import link

if TYPE_CHECKING:
    from types import ModuleType


@pytest.mark.parametrize("side", [mqtt, link], ids=["agent", "fleet"])
def test_messages_that_find_the_queue_full_are_not_logged(
    side: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async def flooded() -> int:
        client = aiomqtt.Client(
            "127.0.0.1", max_queued_incoming_messages=1, logger=side._QUIET
        )
        message = aiomqtt.client.mqtt.MQTTMessage(topic=b"a")
        for _ in range(100):
            client._on_message(client._client, None, message)
        return client._queue.qsize()

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(flooded()) == 1
    assert caplog.records == []
