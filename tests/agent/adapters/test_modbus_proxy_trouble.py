"""The proxy and its limits: devices that die or lie, masters that drip or flood."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from protocols.modbus.exchanges import Problem, Reason, Verdict
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
    proxied,
    read,
    registers,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.firewall.decision import Caller, Decision


def held() -> tuple[threading.Event, Callable[[bytes], bytes]]:
    """Return a device's answer that waits for the event."""
    go = threading.Event()

    def answer(pdu: bytes) -> bytes:
        go.wait(PATIENCE_S)
        return registers(pdu)

    return go, answer


def test_a_device_that_says_nothing_is_answered_for_and_its_late_reply_dropped() -> (
    None
):
    silent = threading.Event()

    def answer(pdu: bytes) -> bytes | None:
        return None if silent.is_set() else registers(pdu)

    silent.set()
    with (
        Device(answer) as device,
        proxied(device.port, allowing(), timeout_s=0.5) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\x83\x0b"
        silent.clear()
        device.say(adu(0, 1, b"\3\2\0\1"))  # our first identifier: late
        device.say(adu(999, 1, b"\3\2\0\1"))  # nobody asked
        assert master.ask(read(2)) == b"\3\2\0\2"
        now = counts(proxy)
        assert (now.timeouts, now.late, now.unsolicited) == (1, 1, 1)


def test_a_device_that_dies_is_answered_for_and_one_that_comes_back_is_used() -> None:
    device = Device()
    with (
        proxied(device.port, allowing(), limits={"backoff_s_max": 0.1}) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\3\2\0\1"
        device.die()
        assert master.ask(read(1)) in {b"\x83\x0a", b"\x83\x0b"}
        while not counts(proxy).connect_failures:
            master.ask(read(1))
        assert master.ask(read(1)) == b"\x83\x0a"
        with Device(port=device.port):
            while master.ask(read(1))[0] & 0x80:
                pass
            assert counts(proxy).connects == 2


def test_a_reply_that_does_not_fit_is_not_passed_on() -> None:
    for raw, bit in (
        (b"\4\2\0\1", Problem.FUNCTION),
        (b"\3\4\0\1\0\2", Problem.REPLY_LENGTH),
        (b"\3\2\0", Problem.LENGTH),
    ):

        def wrong(tid: int, unit: int, _: bytes, raw: bytes = raw) -> bytes:
            return adu(tid, unit, raw)

        with (
            Device(raw=wrong) as device,
            proxied(device.port, allowing()) as proxy,
            Client(proxy.port("plc1")) as master,
        ):
            assert master.ask(read(1)) == b"\x83\4"
            assert counts(proxy).bad_replies == 1
            assert counts(proxy).problems[bit.bit_length() - 1] >= 1


def test_a_reply_of_another_unit_is_not_passed_on() -> None:
    with (
        Device(raw=lambda tid, unit, _: adu(tid, unit + 1, b"\3\2\0\1")) as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\x83\4"


def test_a_device_whose_bytes_are_no_modbus_gets_a_new_connection() -> None:
    with (
        Device(raw=lambda *_: b"HTTP/1.1 400 Bad Request\r\n\r\n") as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(read(1)) == b"\x83\x0b"
        assert counts(proxy).framing_lost_device == 1


def test_bytes_that_are_no_modbus_close_that_master_and_no_other() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as other,
    ):
        with Client(proxy.port("plc1")) as master:
            master.send(b"GET / HTTP/1.1\r\n\r\n")
            assert master.ended()
        assert other.ask(read(1)) == b"\3\2\0\1"
        assert counts(proxy).framing_lost == 1
        assert not device.wrong


def test_a_master_that_drips_is_closed_and_nothing_half_is_forwarded() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing(), limits={"partial_s": 0.05}) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(1, 1, write(1, 2))[:-1])
        assert master.ended()
        assert counts(proxy).partial == 1
        assert not device.adus
        assert not device.wrong


def test_an_adu_may_come_byte_by_byte() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        for byte in adu(1, 1, read(5)):
            master.send(bytes([byte]))
        assert master.receive() == (1, 1, b"\3\2\0\5")


def test_masters_beyond_the_limit_are_closed_at_once() -> None:
    with (
        Device() as device,
        proxied(device.port, allowing(), limits={"clients": 2}) as proxy,
        Client(proxy.port("plc1")) as first,
        Client(proxy.port("plc1")) as second,
    ):
        assert first.ask(read(1))
        assert second.ask(read(1))
        with Client(proxy.port("plc1")) as third:
            assert third.ended()
        assert first.ask(read(1))
        assert counts(proxy).masters_refused == 1


def test_requests_beyond_the_queue_are_answered_with_busy_in_their_place() -> None:
    go, answer = held()
    with (
        Device(answer) as device,
        proxied(device.port, allowing(), limits={"queued_a_client": 3}) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(0, 1, read(0)))
        device.wait(1)
        master.send(b"".join(adu(n, 1, read(n)) for n in range(1, 6)))
        go.set()
        replies = [master.receive() for _ in range(6)]
        assert [tid for tid, _, _ in replies] == [*range(6)]
        assert [pdu for _, _, pdu in replies[-2:]] == [b"\x83\6"] * 2
        assert counts(proxy).busy == 2


def test_answer_drop_says_nothing_and_holds_nothing_up() -> None:
    drop = type(DENY)(Verdict.REFUSED, 1, Reason.DENIED, forward=False, exception=0)

    def writes(_: Caller, __: int, request: object) -> Decision:
        return drop if request.is_write else ALLOW  # type: ignore[attr-defined]  # a Request

    with (
        Device() as device,
        proxied(device.port, Asking(writes)) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(1, 1, write(1, 2)) + adu(2, 1, read(3)))
        assert master.receive() == (2, 1, b"\3\2\0\3")
        assert counts(proxy).dropped == 1


def test_a_judge_that_fails_refuses() -> None:
    def broken(*_: object) -> Decision:
        raise KeyError

    with (
        Device() as device,
        proxied(device.port, Asking(broken), without_policy="pass-reads") as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        assert master.ask(write(1, 2)) == b"\x86\4"
        assert master.ask(read(1)) == b"\x83\4"
        assert not device.adus
        assert counts(proxy).judge_faults == 2


def test_masters_reconnect_to_a_proxy_that_was_started_anew() -> None:
    with Device() as device:
        with (
            proxied(device.port, allowing()) as proxy,
            Client(proxy.port("plc1")) as master,
        ):
            port = proxy.port("plc1")
            assert master.ask(read(1)) == b"\3\2\0\1"
            proxy.stop()
            assert master.ended()
        with (
            proxied(device.port, allowing(), listen_port=port),
            Client(port) as master,
        ):
            assert master.ask(read(1)) == b"\3\2\0\1"
        assert not device.wrong


def test_stop_lets_what_is_under_way_end() -> None:
    go, answer = held()
    with (
        Device(answer) as device,
        proxied(device.port, allowing()) as proxy,
        Client(proxy.port("plc1")) as master,
    ):
        master.send(adu(1, 1, read(1)) + adu(2, 1, read(2)))
        device.wait(1)
        stopping = threading.Thread(target=proxy.stop)
        stopping.start()
        while counts(proxy).unreachable == 0:
            pass
        go.set()
        assert master.receive() == (1, 1, b"\3\2\0\1")
        assert master.receive() == (2, 1, b"\x83\x0a")
        stopping.join()
        assert len(device.adus) == 1
