"""What a judge remembers, bounded: last values of registers, and what passed when.

It outlives a change of policy: a new rule counts what passed under an old rule of its
name, and a limited change is compared with what was read before, as far as the policy
before compared there, too.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.firewall.tables import Rate

PAGE: Final = 256  # addresses
PAGES_MAX: Final = 16_384  # 1 KiB each; beyond them the eldest is forgotten
FLYING_MAX: Final = 256  # writes under way to one table of a device
UNKNOWN: Final = -1

Place: TypeAlias = tuple[int, int, int]  # link, unit, table


class Memory:
    """One writer: a judge in its thread."""

    def __init__(self, pages_max: int = PAGES_MAX) -> None:
        """Begin with nothing."""
        self._pages: dict[tuple[Place, int], array[int]] = {}
        self._pages_max = pages_max
        self._passed: dict[str, deque[int]] = {}
        # Writes that no answer came to yet: address, count.
        self._flying: dict[Place, list[tuple[int, int]]] = {}
        self._compared: frozenset[object] = frozenset()  # places that are kept current
        self.forgotten = 0  # pages: what they held is unknown again

    def write_begins(self, place: Place, address: int, count: int) -> None:
        """Note a write under way: until its answer, what is there is not known."""
        flying = self._flying.setdefault(place, [])
        flying.append((address, count))
        if len(flying) > FLYING_MAX:
            first, size = flying.pop(0)
            self.learn(place, first, (UNKNOWN,) * size)

    def write_ends(self, place: Place, address: int, count: int) -> None:
        """Its answer came, or none will; ``learn`` follows."""
        flying = self._flying.get(place)
        if flying and (address, count) in flying:
            flying.remove((address, count))
            if not flying:
                self._flying.pop(place, None)

    def broadcast(self, link: int, table: int, address: int, count: int) -> None:
        """Forget, in all units of a line, what a write to unit 0 may have changed."""
        for (link_of, unit, table_of), _ in [*self._pages]:
            if (link_of, table_of) == (link, table) and unit:
                self.learn((link, unit, table), address, (UNKNOWN,) * count)

    def compares(self, places: frozenset[object]) -> None:
        """Forget values where a new judge compares what the one before it did not.

        That one did not learn what was written there: what is remembered may be long
        past, and a limited change would be measured from it. Any thread.
        """
        if not places <= self._compared:
            self._pages = {}
        self._compared = places

    def restart(self) -> None:
        """Wait for no answer that may have come while nobody judged. Any thread."""
        for place, flying in [*self._flying.items()]:
            for address, count in [*flying]:
                self.learn(place, address, (UNKNOWN,) * count)
        self._flying.clear()

    def learn_read(self, place: Place, address: int, values: Sequence[int]) -> None:
        """Remember what a read told, but not of what a write under way may change."""
        flying = self._flying.get(place)
        if not flying:
            self.learn(place, address, values)
            return
        before = self._each(place, address, len(values))
        kept = [
            was if _meets(flying, at, 1) else now
            for at, (was, now) in enumerate(zip(before, values, strict=True), address)
        ]
        self.learn(place, address, kept)

    def learn(self, place: Place, address: int, values: Sequence[int]) -> None:
        """Remember registers (or coils) from ``address`` on; UNKNOWN forgets one."""
        at = 0
        while at < len(values):
            number, first = divmod(address + at, PAGE)
            size = min(PAGE - first, len(values) - at)
            page = self._page(place, number)
            page[first : first + size] = array("i", values[at : at + size])
            at += size

    def last(self, place: Place, address: int, count: int) -> list[int] | None:
        """Return what is there, None where one of them is not known."""
        flying = self._flying.get(place)
        if flying and _meets(flying, address, count):
            return None
        return self.seen(place, address, count)

    def seen(self, place: Place, address: int, count: int) -> list[int] | None:
        """Return the same, whatever is under way."""
        out = self._each(place, address, count)
        return None if UNKNOWN in out else out

    def _each(self, place: Place, address: int, count: int) -> list[int]:
        out: list[int] = []
        while len(out) < count:
            number, first = divmod(address + len(out), PAGE)
            page = self._pages.get((place, number))
            size = min(PAGE - first, count - len(out))
            out += [UNKNOWN] * size if page is None else page[first : first + size]
        return out

    def is_full(self, name: str, rate: Rate, now_ns: int) -> bool:
        """Tell whether one more request would be too many for a rule."""
        passed = self._passed.get(name)
        if not passed:
            return False
        if passed[-1] > now_ns:  # the clock went back: as if it had been just now
            passed = self._passed[name] = deque(min(at, now_ns) for at in passed)
        while passed and now_ns - passed[0] >= rate.window_ns:
            passed.popleft()
        return len(passed) >= rate.count

    def passed(self, name: str, rate: Rate, now_ns: int) -> None:
        """Count a request that passed under a rule."""
        passed = self._passed.setdefault(name, deque())
        passed.append(now_ns)
        while len(passed) > rate.count:
            passed.popleft()

    def keep_only(self, names: frozenset[str]) -> None:
        """Forget the rates of rules that are no more.

        Any thread: a new judge is made while the one before it still decides.
        """
        for name in [*self._passed]:
            if name not in names:
                self._passed.pop(name, None)

    def _page(self, place: Place, number: int) -> array[int]:
        key, pages = (place, number), self._pages  # ``compares`` may put others there
        page = pages.get(key)
        if page is None:
            if len(pages) >= self._pages_max:
                del pages[next(iter(pages))]
                self.forgotten += 1
            page = pages[key] = array("i", [UNKNOWN]) * PAGE
        return page


def _meets(flying: list[tuple[int, int]], address: int, count: int) -> bool:
    return any(at < address + count and at + size > address for at, size in flying)
