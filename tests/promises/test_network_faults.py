"""Networks that lie: half-open connections, slow brokers, names that are gone."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import needs_mosquitto
from tests.support.gateway import Gateway, Settings
from tests.support.net_faults import Middle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [needs_mosquitto, pytest.mark.slow, pytest.mark.alone]
KEEPALIVE_S = 5
NAME = "broker.sluicegate.test"
# The daemon's own view of /etc/hosts, which the test changes while it runs.
OWN_HOSTS = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


def configure(gateway: Gateway, **mqtt: object) -> None:
    file = gateway.folder / "gw.toml"
    lines = "".join(f"{name} = {value}\n" for name, value in mqtt.items())
    file.write_text(file.read_text().replace("[mqtt]\n", f"[mqtt]\n{lines}"))


def test_a_half_open_connection_is_given_up_and_nothing_is_lost(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, Middle(gateway.broker.port) as middle:
        gateway.settings = Settings(through=middle.port)
        gateway.write_config()
        configure(gateway, keepalive_s=KEEPALIVE_S)
        gateway.start()
        gateway.drive()
        gateway.until(lambda: gateway.collector.counts["data"] >= 5)
        middle.swallow()
        gateway.until(lambda: gateway.metric("online") == 0, 4 * KEEPALIVE_S + 30)
        waiting = gateway.metric("spool_records")
        gateway.until(lambda: gateway.metric("spool_records") > waiting)
        middle.heal()
        gateway.until(lambda: gateway.metric("online") == 1, 90)
        gateway.park()
        gateway.drained()
        assert gateway.metric("lost_total") == 0
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
        assert middle.accepted >= 2


def test_a_slow_broker_slows_what_leaves_and_not_what_is_read(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway, Middle(gateway.broker.port) as middle:
        gateway.settings = Settings(through=middle.port)
        gateway.write_config()
        gateway.start()
        gateway.until(lambda: gateway.metric("online") == 1)
        middle.throttle(1_000)  # far below what the policy lets out
        gateway.drive(3.0)
        gateway.until(lambda: gateway.metric("spool_records") >= 30)
        before = gateway.metric("samples_total")
        gateway.until(lambda: gateway.metric("samples_total") > before + 500)
        assert gateway.metric("lost_total") == 0
        assert gateway.problems() == ""
        gateway.park()
        middle.heal()
        gateway.drained()
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []


def may_unshare() -> bool:
    if os.geteuid() != 0:
        return False
    words = [*OWN_HOSTS[:4], 'mount --bind "$0" /etc/hosts', "/etc/hosts"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs a mount namespace of its own")
def test_a_name_that_is_gone_is_asked_for_until_it_is_there(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    with Gateway(tmp_path) as gateway:
        configure(gateway, host=f'"{NAME}"', allow_plaintext="true")
        gateway.start((*OWN_HOSTS, str(hosts)))
        gateway.drive()
        gateway.until(lambda: gateway.metric("spool_records") >= 5)
        assert "mqtt" in gateway.problems()
        with hosts.open("a") as file:
            file.write(f"127.0.0.1 {NAME}\n")
        gateway.until(lambda: gateway.collector.counts["data"] >= 5, 90)
        hosts.write_text("127.0.0.1 localhost\n")  # gone again, and the link breaks
        gateway.broker.kill()
        gateway.broker.start()
        gateway.until(lambda: gateway.metric("online") == 0)
        waiting = gateway.metric("spool_records")
        gateway.until(lambda: gateway.metric("spool_records") > waiting)
        assert gateway.metric("online") == 0
        with hosts.open("a") as file:
            file.write(f"127.0.0.1 {NAME}\n")
        gateway.until(lambda: gateway.metric("online") == 1, 90)
        gateway.park()
        gateway.drained()
        assert gateway.metric("lost_total") == 0
        assert gateway.stop() == 0
        assert gateway.collector.problems() == []
