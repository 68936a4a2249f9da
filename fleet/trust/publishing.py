"""Bundle and timestamp to the broker: retained, QoS 1, its answers looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fleet.errors import Unavailable
from fleet.link import connect
from protocols.topics import policy_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleet.link import BrokerOptions

ATTEMPTS: Final = 5
PAUSE_S: Final = 1.0
BUNDLE: Final = "bundle"
STAMP: Final = "timestamp"


async def publish(
    options: BrokerOptions, fleet: str, parts: Mapping[str, bytes]
) -> None:
    """Publish retained messages by part (bundle, timestamp), in order.

    Unavailable where the broker is away for five attempts, or refuses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _once(options, fleet, parts)
        except Unavailable as error:
            if attempt == ATTEMPTS:
                reason = f"signed, not published: {error.reason}; publish it again"
                raise Unavailable(error.what, reason) from None
        await asyncio.sleep(PAUSE_S)
    return None


async def _once(options: BrokerOptions, fleet: str, parts: Mapping[str, bytes]) -> None:
    link = await connect(options, session_s=0)
    try:
        for part, message in parts.items():
            await link.publish(policy_topic(fleet, part), message, retain=True)
            if link.refused:
                raise Unavailable("mqtt", link.refused)
    finally:
        await link.close()
