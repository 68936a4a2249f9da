"""The system's limit of open files for this process."""

from __future__ import annotations

import contextlib
import resource


def allowed(wanted: int) -> int:
    """Raise the limit to ``wanted`` as far as we may; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, soft), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
