"""Notices that this process may be one of two: a fork, a resumed snapshot, a clone.

Two processes that hold one epoch's key and count on from one number use a nonce twice,
and AES-GCM then keeps nothing secret (NIST SP 800-38D, appendix A). So the sealer asks
``Lineage`` before every bundle and begins new epochs when the answer has changed. A
needless change costs announcements, a missed one costs secrets: signs are taken at
their worst. What gives no sign is told in ADR 7.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MADV_WIPEONFORK: Final = 18  # linux/mman.h; Python's mmap names it nowhere
NETLINK_KOBJECT_UEVENT: Final = 15  # linux/netlink.h
UEVENTS_OF_THE_KERNEL: Final = 1  # the group; 2 is udev's
RECEIVE_BYTES: Final = 8192  # UEVENT_BUFFER_SIZE is 2048
READS_MAX: Final = 64  # events taken at one look
VM_GENERATION: Final = b"\0NEW_VMGENID=1\0"  # drivers/virt/vmgenid.c, Linux 6.10
STEP_NS: Final = 1_000_000_000  # slewing stays far below that between two looks

Times = tuple[int, int, int]


def clocks() -> Times:
    """Return CLOCK_REALTIME, CLOCK_BOOTTIME and CLOCK_MONOTONIC, ns."""
    return (
        time.clock_gettime_ns(time.CLOCK_REALTIME),
        time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        time.clock_gettime_ns(time.CLOCK_MONOTONIC),
    )


class Lineage:
    """A number that changes when this process may have got a twin.

    The signs: a page that the kernel wipes in every child (madvise(2),
    MADV_WIPEONFORK), the process id, a step of the wall clock or a suspend since the
    last look, and the kernel's word that the virtual machine's generation changed.
    """

    def __init__(self, read_clocks: Callable[[], Times] = clocks) -> None:
        """Remember how things are now."""
        self.number = 0
        self.causes: dict[str, int] = {}  # why it changed -> how often
        self._clocks = read_clocks
        self._times = read_clocks()
        self._pid = os.getpid()
        self._page = _wiped_on_fork()
        self._events = _kernel_events()

    def __call__(self) -> int:
        """Look, and return the number."""
        if self._pid != os.getpid() or self._page[:1] != b"\1":
            self._pid = os.getpid()
            self._page[:1] = b"\1"
            # The child hears the kernel by itself: of a shared queue each event goes
            # to one of the two.
            self._close_events()
            self._events = _kernel_events()
            self._changed("fork")
        times = self._clocks()
        wall, boot, awake = (
            now - then for now, then in zip(times, self._times, strict=True)
        )
        self._times = times
        if abs(wall - boot) > STEP_NS:
            self._changed("clock step")
        if abs(boot - awake) > STEP_NS:
            self._changed("suspend")
        if self._heard():
            self._changed("machine generation")
        return self.number

    def _changed(self, cause: str) -> None:
        self.number += 1
        self.causes[cause] = self.causes.get(cause, 0) + 1

    def _heard(self) -> bool:
        """Tell whether the kernel said so, or may have where its queue ran over."""
        if self._events is None:
            return False
        heard = False
        for _ in range(READS_MAX):
            try:
                event, sender = self._events.recvfrom(RECEIVE_BYTES)
            except BlockingIOError:
                return heard
            except OSError:  # ENOBUFS: events were dropped
                return True
            heard = heard or (sender[0] == 0 and VM_GENERATION in event)
        return heard

    def _close_events(self) -> None:
        if self._events is not None:
            self._events.close()


def _wiped_on_fork() -> mmap.mmap:
    """Return a page that holds 1 here and 0 in every child, however it was made."""
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page[:1] = b"\1"
    with contextlib.suppress(OSError):  # before Linux 4.14: the process id remains
        page.madvise(MADV_WIPEONFORK)
    return page


def _kernel_events() -> socket.socket | None:
    """Return the kernel's events; None where a sandbox gives no such socket."""
    try:
        events = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT
        )
        events.setblocking(False)
        events.bind((0, UEVENTS_OF_THE_KERNEL))
    except OSError:
        return None
    return events
