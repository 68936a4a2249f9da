"""Trust in policies: bytes, a time and what was trusted go in; a decision comes out.

It verifies and cannot sign (promise 3): all signing is in ``fleet/``. It reads no file,
no clock and no socket. A refusal is a ``TrustError`` and changes nothing.

    trusted = begin(root, fleet)                       # the pinned first root
    files = open_bundle(message)                       # sizes and form only
    trusted, offered = offer(trusted, files, now_ns)   # the TUF client workflow
    policy = offered.policy(version, device)           # what the rollout wants
    kept = proof(trusted, policy)                      # store both; at boot:
    trusted, offered = reopen(stored, root, fleet)
    policy = reverify(trusted, kept)

tuf costs 60 ms and 8 MiB: the first call imports it, not this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.errors import TrustError
from policies.trust.model import RULES, Fresh, Offer, SignedPolicy, Terms, Trusted
from protocols.bundle import BundleError, parse_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RULES",
    "Fresh",
    "Offer",
    "SignedPolicy",
    "Terms",
    "TrustError",
    "Trusted",
    "advance",
    "begin",
    "combined",
    "freshness",
    "offer",
    "open_bundle",
    "proof",
    "reopen",
    "reverify",
    "told_by_proof",
]


def open_bundle(message: bytes) -> dict[str, bytes]:
    """Return the files of a message; nothing of them is verified yet. TrustError."""
    try:
        return parse_bundle(message)
    except BundleError as error:
        raise TrustError(error.rule, error.reason) from None


def begin(root: bytes, fleet: str) -> Trusted:
    """Return what is trusted before the first update: the pinned root of the fleet."""
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.begin(root, fleet)


def offer(
    trusted: Trusted, files: Mapping[str, bytes], now_ns: int
) -> tuple[Trusted, Offer]:
    """Verify an update at ``now_ns`` (ns since the epoch); see ``workflow.offer``."""
    from policies.trust import workflow  # noqa: PLC0415  # see above

    return workflow.offer(trusted, files, now_ns)


def combined(
    bundle: Mapping[str, bytes], renewal: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return the bundle with the newer of the two timestamps, to be offered as one.

    The two are retained in two topics and come in any order. Nothing is verified here.
    """
    from policies.trust import workflow  # noqa: PLC0415  # see above

    return workflow.combined(bundle, renewal)


def proof(trusted: Trusted, policy: SignedPolicy) -> bytes:
    """Return the bytes to keep beside an active policy, for ``reverify``."""
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.proof(trusted, policy)


def reverify(trusted: Trusted, kept: bytes) -> SignedPolicy:
    """Return the policy of a stored proof, verified again; expiry is no question here.

    The proof's root must stand in the chain of ``trusted``.
    """
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.reverify(trusted, kept)


def told_by_proof(kept: bytes) -> tuple[int, int, int]:
    """Return what a stored proof tells, NOT verified: a bound, never a permission.

    (root version, policy version, highest min_version that is signed with it).
    """
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.told_by_proof(kept)


def reopen(stored: bytes, root: bytes, fleet: str) -> tuple[Trusted, Offer | None]:
    """Return what ``Trusted.encode`` stored, verified again from the pinned root.

    The offer is what the stored metadata say, None before the first update; compare its
    ``expires_ns`` with the clock before taking anything new from it.
    """
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.reopen(stored, root, fleet)


def freshness(trusted: Trusted, answer: bytes, nonce: str, device: str) -> Fresh:
    """Return a freshness answer that our fleet's timestamp role gave to our nonce."""
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.freshness(trusted, answer, nonce, device)


def advance(trusted: Trusted, fresh: Fresh) -> Trusted:
    """Return ``trusted`` with the answer's time as its floor."""
    from policies.trust import keeping  # noqa: PLC0415  # see above

    return keeping.advance(trusted, fresh)
