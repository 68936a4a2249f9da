"""From root to another user, for good, with the capabilities that it shall have."""

from __future__ import annotations

import ctypes
import os
import pwd
from typing import TYPE_CHECKING, Final

from agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection

# linux/capability.h, linux/prctl.h
CAPABILITIES: Final = {"cap_net_bind_service": 10, "cap_net_raw": 13}
VERSION_3: Final = 0x20080522
PR_SET_KEEPCAPS: Final = 8


def become(uid: int, gid: int, keep: Collection[str] = ()) -> None:
    """Become ``uid`` with its groups; of root's capabilities only ``keep`` stay.

    There is no way back. Unavailable where the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = [CAPABILITIES[name] for name in keep if name in CAPABILITIES]
    try:
        try:
            os.initgroups(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:  # a user without a name has no further groups
            os.setgroups([])
        os.setresgid(gid, gid, gid)
        if numbers:
            libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise Unavailable("user", error.strerror or "cannot be changed") from None
    if numbers:
        mask = sum(1 << number for number in numbers)
        header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
        if libc.capset(header, data) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise Unavailable("capabilities", reason)
