"""The proxy between real sockets: order, sharing, refusal, what is handed over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from agent.adapters.modbus.proxy import ModbusProxy
from protocols.modbus.exchanges import NO_REPLY, Reason, Verdict
from protocols.modbus.peers import Peers
from tests.support.proxying import (
    ALLOW,
    DENY,
    PATIENCE_S,
    Asking,
    Client,
    Device,
    adu,
    allowing,
    counts,
    link_to,
    proxied,
    read,
    refusing,
    registers,
    write,
)

if TYPE_CHECKING:
    from agent.firewall.decision import Caller, Decision


def test_a_reply_passes_with_the_masters_identifier_and_unit() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(0xBEEF, 17, read(100, 2)))
        assert master.receive() == (0xBEEF, 17, b"\3\4\0\x64\0\x65")
        assert device.adus == [(17, read(100, 2))]


def test_ten_requests_in_one_segment_are_judged_and_answered_in_order() -> None:
    def odd_addresses(_: Caller, __: int, request: object) -> Decision:
        return DENY if request.address % 2 else ALLOW  # type: ignore[attr-defined]  # a Request

    judge = Asking(odd_addresses)
    with (
        Device() as device,
        proxied(device.port, judge) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(b"".join(adu(n, 1, read(n)) for n in range(10)))
        replies = [master.receive() for _ in range(10)]
    assert [tid for tid, _, _ in replies] == [*range(10)]
    assert [pdu for _, _, pdu in replies] == [
        b"\x83\1" if n % 2 else bytes([3, 2, 0, n]) for n in range(10)
    ]
    assert len(judge.judged) == 10
    assert [pdu for _, pdu in device.adus] == [read(n) for n in range(0, 10, 2)]


def test_32_masters_share_the_one_connection_that_the_device_allows() -> None:
    with (
        Device(single=True) as device,
        proxied(device.port, allowing()) as proxy,
    ):
        port, wrong = proxy.port("plc1"), list[int]()

        def poll(number: int) -> None:
            with Client(port) as master:
                for turn in range(10):
                    if master.ask(read(number * 10 + turn)) != registers(
                        read(number * 10 + turn)
                    ):
                        wrong.append(number)

        masters = [threading.Thread(target=poll, args=(n,)) for n in range(32)]
        for one in masters:
            one.start()
        for one in masters:
            one.join()
        assert not wrong
        assert (device.connections, device.refused) == (1, 0)
        assert counts(proxy).answered == 320
        assert counts(proxy).masters == 32


def test_a_refused_request_does_not_reach_the_device_and_is_answered() -> None:
    with (
        Device() as device,
        proxied(device.port, refusing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(write(1, 2)) == b"\x86\1"
        assert not device.adus
        assert counts(proxy).refused == 1
        assert counts(proxy).reasons[Reason.DENIED] == 1


def test_rules_are_swapped_in_mid_connection() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(write(1, 2)) == write(1, 2)
        proxy.use(refusing())
        assert master.ask(write(1, 3)) == b"\x86\1"
        proxy.use(allowing())
        assert master.ask(write(1, 4)) == write(1, 4)
        assert [pdu for _, pdu in device.adus] == [write(1, 2), write(1, 4)]


def test_without_a_policy_nothing_passes_or_reads_alone() -> None:
    with Device() as device:
        with (
            proxied(device.port, None) as proxy,
            Client(proxy.port("plc1")) as master,
        ):
            assert master.ask(read(1)) == b"\x83\1"
        with (
            proxied(device.port, None, without_policy="pass-reads") as proxy,
            Client(proxy.port("plc1")) as master,
        ):
            assert master.ask(read(1)) == b"\3\2\0\1"
            assert master.ask(write(1, 2)) == b"\x86\1"
        assert device.adus == [(1, read(1))]


def test_what_passed_is_handed_over_in_columns() -> None:
    woken = threading.Event()

    def writes(_: Caller, __: int, request: object) -> Decision:
        return DENY if request.is_write else ALLOW  # type: ignore[attr-defined]  # a Request

    with Device() as device, proxied(device.port, Asking(writes)) as proxy:
        proxy._log.wake = woken.set
        with Client(proxy.port("plc1")) as master:
            master.ask(read(7, 2))
            master.ask(write(7, 2), unit=9)
        assert woken.wait(PATIENCE_S)
        assert counts(proxy).requests == 2
        batch = proxy.take()
        assert batch is not None
        assert proxy.take() is None
    assert batch.unit.tolist() == [1, 9]
    assert batch.tid.tolist() == [1, 2]
    assert batch.verdict.tolist() == [Verdict.ALLOWED, Verdict.REFUSED]
    assert batch.rule.tolist() == [0, 1]
    assert batch.reason.tolist() == [Reason.NONE, Reason.DENIED]
    assert batch.request_size.tolist() == [5, 5]
    assert batch.reply_size.tolist() == [6, 0]
    assert batch.reply_at[1] == NO_REPLY
    at = batch.request_at[1]
    assert batch.chars[at : at + 5].tobytes() == write(7, 2)
    at = batch.reply_at[0]
    assert batch.chars[at : at + 6].tobytes() == b"\3\4\0\7\0\x08"
    assert batch.reply_ns[0] >= batch.time_ns[0]
    assert batch.reply_ns[1] == 0
    assert len(batch.chars) == 16 + 260
    assert np.all(batch.client == batch.client[0])
    assert batch.server[0] != batch.client[0] or batch.client[0] == 1


def test_two_links_are_two_devices() -> None:
    with Device() as one, Device(lambda _: b"\3\2\xff\xff") as two:
        links = [
            link_to(one.port),
            type(link_to(1))("plc2", 1, link_to(two.port).device, listen_port=0),
        ]
        proxy = ModbusProxy(links, Peers())
        proxy.use(allowing())
        proxy.start()
        with Client(proxy.port("plc1")) as first, Client(proxy.port("plc2")) as second:
            assert first.ask(read(1)) == b"\3\2\0\1"
            assert second.ask(read(1)) == b"\3\2\xff\xff"
        proxy.stop()
