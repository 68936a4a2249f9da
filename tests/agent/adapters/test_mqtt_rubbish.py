"""A broker that answers rubbish is a broker that is away, on either side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import agent.errors
import fleet.errors
from agent.adapters import mqtt
from fleet import link

if TYPE_CHECKING:
    from types import ModuleType

CONNACK, SUBACK = 0x20, 0x90  # MQTT 5.0, 3.2 and 3.9
SIDES = [
    pytest.param(mqtt, mqtt.MqttOptions, agent.errors, id="agent"),
    pytest.param(link, link.BrokerOptions, fleet.errors, id="fleet"),
]


def packet(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


@pytest.mark.parametrize("codes", [b"", b"\x01\x01"], ids=["none", "two"])
@pytest.mark.parametrize(("side", "options", "errors"), SIDES)
def test_an_answer_of_other_topics_than_were_asked_for(
    side: ModuleType, options: Any, errors: ModuleType, codes: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(CONNACK, bytes(3)))
        asked = await reader.read(4096)
        writer.write(packet(SUBACK, asked[2:4] + b"\0" + codes))
        await reader.read()
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        there = await side.connect(options("127.0.0.1", port, "gw"))
        try:
            with pytest.raises(errors.Unavailable, match=f"{len(codes)} topics of 1"):
                await there.subscribe(["x"])
        finally:
            await there.close()
            server.close()

    asyncio.run(story())
