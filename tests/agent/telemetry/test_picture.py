"""Two looks at an agent, as `top` shows them."""

from __future__ import annotations

from agent.commands.top_text import bar, lines_of, rate, size
from agent.telemetry.exposed import parse_page
from agent.telemetry.picture import Look, pictured

STATE: dict[str, object] = {
    "device": "gw-1", "agent": "0.1.0", "policy_name": "p", "policy_version": 3,
    "policy_state": "active", "clock": "high", "online": False, "boot": "aa",
    "problems": ["bus can1: interface is down"],
}  # fmt: skip


def page(sent: int, frames: int, found: int) -> str:
    of = 'destination="oem",label="G2",rule="r",action="encrypt"'
    return (
        f'sluicegate_samples_total{{{of},outcome="sent"}} {sent}\n'
        f'sluicegate_samples_total{{{of},outcome="kept_back"}} 7\n'
        'sluicegate_samples_total{destination="",label="G2",rule="",action="",'
        'outcome="read"} 99\n'
        f'sluicegate_bytes_total{{{of},outcome="sent"}} {sent * 10}\n'
        f'sluicegate_bus_frames_total{{bus="can0"}} {frames}\n'
        'sluicegate_bus_info{bus="can0",state="error-active"} 1\n'
        'sluicegate_bus_info{bus="can1",state="down"} 1\n'
        'sluicegate_lost_total{cause="bus can0"} 4\n'
        'sluicegate_lost_total{cause="bus can0 controller"} 2\n'
        f'sluicegate_findings_total{{detector="C1",level="alert"}} {found}\n'
        "sluicegate_spool_bytes 512\nsluicegate_spool_bytes_max 1024\n"
        "sluicegate_autonomy_hours 36\n"
    )


def look(seconds: float, sent: int, frames: int, found: int, boot: str = "aa") -> Look:
    state = {**STATE, "boot": boot}
    return Look(state, parse_page(page(sent, frames, found)), int(seconds * 1e9))


def test_rates_are_growth_over_time() -> None:
    shown = pictured(look(10, 100, 1000, 1), look(12, 300, 9000, 2))
    (flow,) = shown.destinations
    assert flow.name == ("oem",)
    assert (flow.rate, flow.bytes_a_s) == (100.0, 1000.0)
    assert flow.samples == {"sent": 300, "kept_back": 7}
    assert [label.name for label in shown.labels] == [("oem", "G2")]
    can0, can1 = shown.buses
    assert (can0.state, can0.rate, can0.frames, can0.lost) == (
        "error-active", 4000.0, 9000, 6,
    )  # fmt: skip
    assert (can1.name, can1.state, can1.frames) == ("can1", "down", 0)
    (told,) = shown.findings
    assert (told.count, told.a_minute) == (2, 30.0)
    assert shown.lost == {"bus can0": 4, "bus can0 controller": 2}


def test_another_start_gives_no_rate() -> None:
    for before in (None, look(10, 100, 1000, 1, boot="bb"), look(12, 1, 1, 1)):
        shown = pictured(before, look(12, 300, 9000, 2))
        assert shown.destinations[0].rate is None
    fell = pictured(look(10, 500, 9999, 9), look(12, 300, 9000, 2))
    assert fell.buses[0].rate is None
    assert fell.findings[0].a_minute is None


def test_the_lines_say_all_of_it() -> None:
    shown = pictured(look(10, 100, 1000, 1), look(12, 300, 9000, 2))
    text = "\n".join(lines_of(shown, 0))
    for words in ("OFFLINE", "p 3 (active)", "[############------------]", "36 h",
                  "can0  error-active      4000", "oem          G2", "C1        alert",
                  "bus can1: interface is down"):  # fmt: skip
        assert words in text
    assert max(map(len, lines_of(shown, 40))) <= 40
    odd = Look({**STATE, "device": "\x1b[2J"}, parse_page(""), 0)
    assert "\x1b" not in "".join(lines_of(pictured(None, odd), 0))


def test_figures_are_short() -> None:
    assert [rate(v) for v in (None, 0.0, 0.1234, 99.94, 12345.6)] == [
        "-", "0", "0.123", "99.9", "12346",
    ]  # fmt: skip
    assert [size(v) for v in (0, 1023, 1536, 5 * 2**40)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 TiB",
    ]  # fmt: skip
    assert bar(0.0) == "-" * 24
    assert bar(1.0) == "#" * 24
