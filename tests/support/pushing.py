"""The operator's side of a pushed policy, for one gateway of the promises.

fleet = Fleet()
with Gateway(tmp_path, fleet.settings()) as gateway:
    fleet.attach(gateway)
    gateway.start()
    fleet.push(2, rules=SPEED)          # signs, rolls out, publishes retained
    ack = fleet.until(lambda ack: ack.state == "active")
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from protocols.bundle import encode_bundle
from protocols.recipients import encode_card
from protocols.topics import down_topic, policy_topic
from tests.support.fleet_trust import FleetTrust
from tests.support.gateway import POLICY, REST, SPEED, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protocols.acks import Ack
    from tests.support.gateway import Gateway

QUICK = {"trial_s": 1, "uplink_s": 30}


class Fleet(FleetTrust):
    """A fleet's repository, and its hand on the broker."""

    def __init__(self, now_s: int = 0) -> None:
        super().__init__(name="test", now_s=now_s or int(time.time()))
        self.gateway: Gateway | None = None
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "operator", protocol=paho.MQTTv5
        )
        # seconds; paho sleeps through the end of what it waits for
        self._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # told as whole ones

    def settings(self, **more: object) -> Settings:
        return replace(Settings(), root=self.roots[0], **more)  # type: ignore[arg-type]  # fields by name

    def attach(self, gateway: Gateway) -> None:
        """Speak to the gateway's broker from here on."""
        self.gateway = gateway
        self._client.connect("127.0.0.1", gateway.broker.port)
        self._client.loop_start()

    def detach(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # --- what an operator does ------------------------------------------------------

    def list_policy(
        self,
        version: int,
        rules: str = SPEED + REST,
        terms: Mapping[str, int] | None = None,
        text: str = "",
        **more: object,
    ) -> bytes:
        """Add a policy with the gateway's cards to what is signed next."""
        assert self.gateway is not None
        body = (text or POLICY.format(version=version, rules=rules)).encode()
        cards = {one.name: encode_card(one.card()) for one in self.gateway.keys}
        return self.add_policy(
            version,
            text=body,
            name="whole-gateway",
            cards=cards,
            terms={**QUICK, **(terms or {})},
            **more,  # type: ignore[arg-type]  # fields by name
        )

    def push(self, version: int, rules: str = SPEED + REST, **more: object) -> bytes:
        """List a policy, roll it out to everybody, publish; return the message."""
        message = self.signed(version, rules, **more)
        self.send(message)
        return message

    def signed(self, version: int, rules: str = SPEED + REST, **more: object) -> bytes:
        """Return the bundle of a policy that is rolled out to everybody."""
        rollout = {
            name: more.pop(name)
            for name in ("stable", "attempt", "state", "upto")
            if name in more
        }
        self.list_policy(version, rules, **more)  # type: ignore[arg-type]  # the same
        self.roll_out(version, **rollout)  # type: ignore[arg-type]  # the same
        return self.message()

    def send(
        self, message: bytes, topic: str = "bundle", *, retain: bool = True
    ) -> None:
        """Publish a message on a policy topic, retained."""
        self._publish(policy_topic(self.name, topic), message, retain=retain)

    def send_renewal(self) -> None:
        self.send(encode_bundle(self.renew()), "timestamp")

    def send_answer(self, ack: Ack, **more: object) -> None:
        """Answer the nonce of an ack."""
        answer = self.answer(ack.nonce, ack.device, **more)  # type: ignore[arg-type]  # fields by name
        self._publish(down_topic(self.name, ack.device, "command"), answer)

    def _publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        told = self._client.publish(topic, body, qos=1, retain=retain)
        told.wait_for_publish(10)

    # --- what comes back ------------------------------------------------------------

    @property
    def acks(self) -> list[Ack]:
        assert self.gateway is not None
        return self.gateway.collector.acks

    def until(self, seen: Callable[[Ack], object]) -> Ack:
        """Wait for an ack that is as told, and return the newest such."""
        assert self.gateway is not None
        found: list[Ack] = []

        def look() -> bool:
            found[:] = [ack for ack in [*self.acks] if seen(ack)]
            return bool(found)

        self.gateway.until(look)
        return found[-1]

    def steps(self) -> list[str]:
        """Return the steps of pushed policies in the evidence log, in order."""
        assert self.gateway is not None
        entries = self.gateway.collector.entries("cfg.change")
        return [str(one["step"]) for one in entries if "digest" in one]
