"""A daemon's certificate is renewed while it runs: real broker, real processes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

import pytest

from agent.adapters.enrolment import Enrolments
from fleet.enrol.desk import Desk
from fleet.enrol.issuing import Issuer
from fleet.enrol.serve import Server
from fleet.link import BrokerOptions
from tests.support.broker import needs_mosquitto
from tests.support.enrolling import Daemon, Enrolling

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.alone,
    needs_mosquitto,
]


class Authority:
    """`enrol serve` in a thread; begins before the device asks."""

    def __init__(self, place: Enrolling, port: int, days: int = 90) -> None:
        cert, key = place.client("enrol-desk")
        options = BrokerOptions(
            "127.0.0.1", port, "enrol", str(place.folder / "broker.pem"), cert, key
        )
        issuer = Issuer(place.authority(), days)
        desk = Desk(place.fleet, place.folder / "devices", issuer)
        self.said: list[str] = []
        self._serving = threading.Event()
        self._server = Server(place.fleet, desk, options, self._show)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _show(self, what: str, detail: str) -> None:
        self.said.append(f"{what}: {detail}")
        self._serving.set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._server.run(60))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._serving.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()
        self._loop.close()


def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    place = Enrolling(tmp_path)
    with place.broker() as broker:
        place.aged(broker.port, days=90, age=75)
        before = Enrolments(place.state).current()
        assert before is not None
        old_key = before.key_file.read_bytes()
        with Authority(place, broker.port) as authority, Daemon(place) as daemon:
            daemon.until(
                lambda: (
                    Enrolments(place.state).standing().proved
                    and Enrolments(place.state).standing().current == "0002"
                ),
                "the second one is taken",
            )
            daemon.until(lambda: daemon.status().get("online"), "online again")
            daemon.until(lambda: not daemon.status()["problems"], "no problem")
            assert daemon.process.poll() is None
            assert authority.said[1:] == ["renewed: gw-1"]
        now = Enrolments(place.state).current()
        assert now is not None
        assert now.key_file.read_bytes() != old_key
        assert now.answer.broker == before.answer.broker
        assert not before.folder.exists()  # the former key is gone
        assert broker.log().count("as sluicegate-north-gw-1") == 2
