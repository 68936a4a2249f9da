"""Root at the keyboard, files of the service: what root makes belongs to its user.

A folder of the service is its user's. Whoever works in it as root becomes that user for
the time, so that what is made has the right owner from its first moment on, and root
follows no link that the service's user has laid.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Be the owner of ``folder`` meanwhile, where we are root and it is another's."""
    facts = folder.stat()
    if os.geteuid() != 0 or facts.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups(_groups(facts.st_uid, facts.st_gid))
        os.setegid(facts.st_gid)
        os.seteuid(facts.st_uid)  # last: root alone may change the others
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _groups(user: int, group: int) -> list[int]:
    """Return the groups that the user is in: one of them may open the TPM."""
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:  # a user without a name
        return [group]
