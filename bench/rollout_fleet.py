"""One process of simulated gateways, told what to do by lines of JSON.

In (standard input): ``{"do": "mark" | "tell" | "stop"}``. Out (standard output), one
line for each and one when all are connected: what the devices did since the last mark.
It ends at ``stop``, at the end of its input, or after LIFE_S.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

from bench.rollout_device import Settings, SimDevice, World
from bench.rollout_mqtt import Client
from protocols.topics import policy_topic, up_topic

RAMP: Final = 100  # connections that are being made at once
CONNECT_S: Final = 30.0
PING_S: Final = 300.0
LIFE_S: Final = 3600.0


class Member:
    """A device and its connection."""

    def __init__(self, name: str, world: World, inbox: Inbox) -> None:
        """Take a name; nothing is connected yet."""
        self.name = name
        self._world = world
        self._inbox = inbox
        self._topic = up_topic(world.settings.fleet, name, "ack")
        self.client: Client | None = None
        self.device = SimDevice(name, world, self._say)

    async def connect(self, port: int) -> None:
        """Connect and subscribe; ConnectionError or TimeoutError where it fails."""
        topics = [policy_topic(self._world.settings.fleet, "bundle")]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, client = await loop.create_connection(
                lambda: Client(self.name, topics, self._take, self._kept),
                "127.0.0.1", port,
            )  # fmt: skip
            self.client = client
            await client.ready

    def _take(self, topic: str, body: bytes) -> None:
        del topic
        self._inbox.put(self, body)

    def _say(self, ack: bytes) -> None:
        if self.client is not None:
            self.client.publish(self._topic, ack)

    def _kept(self) -> None:
        books = self._world.books
        books.counts["acknowledged"] += 1
        books.last_ack_s = time.monotonic()


class Inbox:
    """Bundles that wait for this process: the newest of each device, as in the daemon.

    One is dealt with between two looks at the connections.
    """

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Member, bytes] = {}
        self._came = asyncio.Event()
        self.received = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, member: Member, body: bytes) -> None:
        """Let a bundle wait; it takes the place of an older one."""
        self.received += 1
        self._waiting[member] = body
        self._came.set()

    async def work(self) -> None:
        """Deal with what waits, for ever."""
        while True:
            await self._came.wait()
            if not self._waiting:
                self._came.clear()
                continue
            member = next(iter(self._waiting))
            member.device.take(self._waiting.pop(member))
            await asyncio.sleep(0)


class Fleet:
    """The devices of this process."""

    def __init__(self, names: list[str], world: World) -> None:
        """Make the devices; their keys are made here."""
        self._world = world
        self.inbox = Inbox()
        self._members = [Member(name, world, self.inbox) for name in names]

    async def connect(self, port: int) -> int:
        """Connect them all, RAMP at once; return how many could not."""
        ramp = asyncio.Semaphore(RAMP)

        async def one(member: Member) -> bool:
            async with ramp:
                try:
                    await member.connect(port)
                except (OSError, TimeoutError):
                    return False
                return True

        made = await asyncio.gather(*map(one, self._members))
        return made.count(False)

    def mark(self) -> None:
        """Begin a new step."""
        self._world.books.mark()
        self.inbox.received = 0

    async def ping(self) -> None:
        """Keep the connections alive."""
        while True:
            await asyncio.sleep(PING_S)
            for member in self._members:
                if member.client is not None:
                    member.client.ping()

    def told(self) -> dict[str, Any]:
        """Return what the devices did since the last mark."""
        books = self._world.books
        clients = [one.client for one in self._members if one.client is not None]
        decides: dict[str, int] = {}
        for member in self._members:
            version = str(member.device.active)
            decides[version] = decides.get(version, 0) + 1
        return {
            "counts": dict(books.counts),
            "received": self.inbox.received,
            "waiting": len(self.inbox),
            "first_message_s": books.first_message_s,
            "last_message_s": books.last_message_s,
            "last_ack_s": books.last_ack_s,
            "unacknowledged": sum(one.unacknowledged for one in clients),
            "lost": sum(one.is_lost for one in clients),
            "trials": sum(one.device.is_on_trial for one in self._members),
            "decides": decides,  # by version
        }

    def close(self) -> None:
        """Close every connection."""
        for member in self._members:
            if member.client is not None:
                member.client.close()


def settings_of(plain: dict[str, Any]) -> Settings:
    """Return the settings that the bench wrote."""
    return Settings(
        fleet=plain["fleet"],
        root=b64decode(plain["root"]),
        databases=Path(plain["databases"]),
        floors={name: Path(file) for name, file in plain["floors"].items()},
        refusing=plain["refusing"],
        reverting=plain["reverting"],
        groups=tuple(plain["groups"]),
    )


async def serve(plain: dict[str, Any]) -> None:
    """Connect and do as told."""
    fleet = Fleet(plain["names"], World(settings_of(plain)))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    failed = await fleet.connect(plain["port"])
    print(json.dumps({"connected": len(plain["names"]) - failed}), flush=True)
    tasks = [asyncio.create_task(one) for one in (fleet.ping(), fleet.inbox.work())]
    try:
        async with asyncio.timeout(LIFE_S):
            while line := await reader.readline():
                wanted = json.loads(line)["do"]
                if wanted == "stop":
                    break
                print(json.dumps(fleet.told()), flush=True)
                if wanted == "mark":
                    fleet.mark()
    finally:
        failed_tasks = [one for one in tasks if one.done()]
        for task in tasks:
            task.cancel()
        fleet.close()
        for task in failed_tasks:
            await task  # a bug of a device ends the process with its own words


def main() -> int:
    """Read the settings from the file that is named and serve."""
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
