"""The rollout as devices see it: the broker's retained bundle, verified from a root.

So that whoever may read the broker can look at a rollout, without the repository and
without any key. It verifies as a device that has seen nothing before.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from fleet.errors import BadInput, Unavailable
from fleet.link import connect
from policies.errors import TrustError
from policies.trust import begin, offer, open_bundle
from protocols.topics import policy_topic

if TYPE_CHECKING:
    from fleet.link import BrokerLink, BrokerOptions
    from policies.rollout import Rollout

WAIT_S: Final = 5.0  # for a retained message


async def seen_rollout(
    options: BrokerOptions, fleet: str, root: bytes, file: str
) -> Rollout:
    """Return the published rollout; Unavailable where there is none, or no good one.

    ``root``: the pinned root; ``file`` names it in the one line of BadInput.
    """
    topic = policy_topic(fleet, "bundle")
    try:
        trusted = begin(root, fleet)
    except TrustError as error:
        raise BadInput(file, "", str(error)) from None
    link = await connect(options, session_s=0)
    try:
        await link.subscribe([topic])
        async with asyncio.timeout(WAIT_S):
            message = await _first(link)
    except TimeoutError:
        raise Unavailable(topic, "nothing is published") from None
    finally:
        await link.close()
    try:
        _, offered = offer(trusted, open_bundle(message), time.time_ns())
    except TrustError as error:
        raise Unavailable(topic, f"is not to be trusted: {error}") from None
    if offered.rollout is None:
        raise Unavailable(topic, "holds no rollout")
    return offered.rollout


async def _first(link: BrokerLink) -> bytes:
    async for message in link.messages():
        link.acknowledge(message)
        if isinstance(message.payload, bytes):
            return message.payload
    raise Unavailable("mqtt", "the broker went away")
