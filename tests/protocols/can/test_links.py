"""The table of CAN interfaces follows what the kernel tells, rename included."""

from __future__ import annotations

from protocols.can.links import LINKS_MAX, LinkTable
from protocols.can.netlink import CanLink, LinkTold


def told(name: str, index: int, *, gone: bool = False, is_can: bool = True) -> LinkTold:
    return LinkTold(CanLink(name=name, index=index, is_can=is_can), gone, 0)


def test_links_come_go_and_change_their_names() -> None:
    table = LinkTable()
    assert not table.named("can0").exists
    table.take(told("can0", 5))
    table.take(told("can1", 6))
    table.take(told("eth0", 2, is_can=False))
    assert table.named("can0").index == 5
    assert not table.named("eth0").exists
    table.take(told("diag", 5))
    assert not table.named("can0").exists
    link = table.numbered(5)
    assert link is not None
    assert link.name == "diag"
    assert table.is_renamed(5)
    table.take(told("can0", 6))  # the other one takes the name
    assert table.named("can0").index == 6
    table.take(told("diag", 5, gone=True))
    assert table.numbered(5) is None
    assert not table.is_renamed(5)
    table.missing("can0")
    assert not table.named("can0").exists
    table.take(told("can0", 9))
    table.clear()
    assert not table.named("can0").exists


def test_an_alternative_name_is_a_name() -> None:
    table = LinkTable()
    link = CanLink(name="can0", index=5, is_can=True, names=("powertrain",))
    table.take(LinkTold(link, False, 0))
    assert table.named("powertrain").index == 5


def test_the_table_is_bounded() -> None:
    table = LinkTable()
    for index in range(LINKS_MAX + 10):
        table.take(told(f"can{index}", index))
    assert table.named(f"can{LINKS_MAX - 1}").exists
    assert not table.named(f"can{LINKS_MAX}").exists
