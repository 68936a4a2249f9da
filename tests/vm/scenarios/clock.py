"""The clock jumps years ahead and back: permissions never grow, and it recovers."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Final

from tests.vm.gateway import CLASSIC, FLEXIBLE, POLICY, Site

if TYPE_CHECKING:
    from tests.vm.guest import Guest

YEARS: Final = 10 * 365 * 86_400
FRAMES: Final = 100
BEFORE_BUILD: Final = "2019-05-01 00:00:00"
# Classic frames leave under a consent only; FD frames always.
CONSENT: Final = """\
consents:
  battery:
    about: What the battery does goes to the maker.
    categories: [energy.state]
    purpose: service
    at_most: 30d
rules:
"""
RULE: Final = f"""\
  - {{name: agreed, to: oem, purpose: service, do: [encrypt],
     match: {{item: {CLASSIC}, category: energy.state, consent: battery}}}}
  - {{name: battery, match: {{item: {FLEXIBLE}, category: energy.state}}, to: oem,
     purpose: safety, do: [encrypt]}}
"""
ADJ_STATUS, STA_UNSYNC = 0x10, 0x40  # linux/timex.h


def guest(g: Guest) -> None:
    """Jump, send, look at what came out; at the end a time server has the last word."""
    site = Site(g)
    head, tail = POLICY.split("rules:\n")
    events = tail[: tail.index("  - {name: battery")]
    site.configure(
        policy=head + CONSENT + events + RULE + POLICY[POLICY.index("ret") :]
    )
    site.begin()
    agree(site)
    burst(site, 0, "consent given", classic=True)
    right_s, mono_s = time.time(), time.monotonic()

    g.run("date", "-s", f"@{int(right_s + YEARS)}")
    seen = told(site, "far in the future", "closed")
    g.check("ten years ahead: status tells", True, told=seen)
    # the recipient's card has expired by this clock: nothing leaves at all
    burst(site, 1000, "ten years ahead", classic=False, fd=False)

    g.run("date", "-s", BEFORE_BUILD)
    seen = told(site, "before known past", but="closed")
    g.check("before the build: status tells", True, told=seen)
    burst(site, 2000, "before the build", classic=False)
    site.restart()
    g.until("online", lambda: site.status().get("online"))
    burst(site, 3000, "before the build, started anew", classic=False)

    g.run("date", "-s", f"@{right_s + time.monotonic() - mono_s:.3f}")
    kept_by_a_time_server()
    told(site, but="clock")
    burst(site, 4000, "right again, nobody has agreed anew", classic=False)
    agree(site)
    burst(site, 5000, "right again, agreed anew", classic=True)
    site.drained()
    report = site.verified()
    g.check("audit verify holds", not report["problems"], problems=report["problems"],
            notes=report["notes"])  # fmt: skip


def told(site: Site, *words: str, but: str = "\0") -> str:
    """Return what is wrong, once status names all of ``words`` and ``but`` no more.

    The daemon looks at its clock every few seconds, at a time server every 30.
    """

    def seen() -> bool:
        problems = site.problems()
        answers = bool(site.status())
        return answers and but not in problems and all(w in problems for w in words)

    site.g.until(f"status names {words}, not {but!r}", seen, 150)
    return site.problems()


def agree(site: Site) -> None:
    """A person agrees, for an hour."""
    user = ("runuser", "-u", "sluicegate", "--", "sluicegate")
    site.g.run(*user, "consent", "give", "battery", "--for", "1h")
    site.g.until(
        "the consent is on",
        lambda: [c for c in site.status().get("consents", ()) if c["state"] == "on"],
    )


def burst(site: Site, first: int, when: str, *, classic: bool, fd: bool = True) -> None:
    """Send on both buses; told is what came out, against what may."""
    g, numbers = site.g, range(first, first + FRAMES)
    before = site.samples()
    site.send(numbers)
    site.send(numbers, fd=True)
    site.read(before + 2 * FRAMES)
    for item, may, what in (
        (CLASSIC, classic, "needs consent"),
        (FLEXIBLE, fd, "needs none"),
    ):
        if may:
            g.until(
                f"{when}: what {what}",
                lambda item=item: site.came(item, numbers) == FRAMES,
            )
        else:
            time.sleep(3)
        came, word = site.came(item, numbers), "leaves" if may else "does not leave"
        g.check(f"{when}: what {what} {word}", came == may * FRAMES, samples=came)


def kept_by_a_time_server() -> None:
    """Say to the kernel what a time daemon says: the clock is synchronised."""
    timex = (ctypes.c_char * 256)()
    fields = ctypes.cast(timex, ctypes.POINTER(ctypes.c_long))
    fields[0] = ADJ_STATUS | 0x4 | 0x8  # and maximum and estimated error: none
    ctypes.CDLL(None).adjtimex(timex)
