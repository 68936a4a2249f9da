"""What is kept and comes back: the pinned root, the trusted set, proofs, answers."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from tuf.api.metadata import Root, Targets, Timestamp

from policies.errors import TrustError
from policies.trust.chain import check_chain, first_root
from policies.trust.content import bundle_name, listing, read_content, text_path
from policies.trust.metadata import binding, check_delegation, load, verify
from policies.trust.model import (
    Fresh,
    Offer,
    SignedPolicy,
    Trusted,
    decode_proof,
    decode_trusted,
    encode_proof,
)
from policies.trust.parts import TARGETS
from policies.trust.workflow import update
from protocols.errors import WireError
from protocols.freshness import answer_key_id, open_answer
from protocols.topics import check_name


def begin(root: bytes, fleet: str) -> Trusted:
    """Return the trust in a pinned root; expired or not: its successors may follow."""
    check_name("fleet", fleet)
    first_root(root, fleet)
    return Trusted(fleet, (root,))


def reopen(stored: bytes, root: bytes, fleet: str) -> tuple[Trusted, Offer | None]:
    """Return the stored trust through the same steps as an offer, without a time."""
    trusted = decode_trusted(stored)
    if trusted.fleet != fleet:
        raise TrustError("wrong-fleet", "what is stored is of another fleet")
    trusted = replace(trusted, roots=check_chain(trusted.roots, root, fleet))
    if not trusted.timestamp:
        return trusted, None
    again, offered = update(trusted, {}, None)
    if again != trusted:
        raise TrustError("format", "what is stored is not what was verified")
    return again, offered


def proof(trusted: Trusted, policy: SignedPolicy) -> bytes:
    """Return the metadata that name the policy, and its files."""
    targets = load(Targets, TARGETS, trusted.targets).signed
    listed = listing(targets).get(policy.version)
    if listed is None:
        raise TrustError("missing", f"policy {policy.version} is not listed")
    names = [bundle_name(path, one) for path, one in listed.files.items()]
    if any(name not in trusted.files for name in names):
        raise TrustError("missing", f"policy {policy.version} is not at hand")
    files = {name: trusted.files[name] for name in names}
    number = load(Root, "root", trusted.roots[-1]).signed.version
    return encode_proof(policy.version, number, trusted.targets, files)


def reverify(trusted: Trusted, kept: bytes) -> SignedPolicy:
    """Return the policy that the proof proves under the root of its time; TrustError.

    That root must be one of our chain; a fleet role that was rotated since is no reason
    to stop an active policy.
    """
    version, number, raw, files = decode_proof(kept)
    root = _root_of(trusted, number)
    metadata = load(Targets, TARGETS, raw)
    key_ids = verify(TARGETS, root, metadata, trusted.fleet)
    check_delegation(metadata.signed)
    people = binding("root", root).people
    signers = tuple(sorted({people[one] for one in key_ids}))
    listed = listing(metadata.signed)
    if version not in listed:
        raise TrustError("missing", f"{text_path(version)} is not listed")
    found = read_content({version: listed[version]}, None, signers, files).policies
    if version not in found:
        raise TrustError("missing", f"{text_path(version)} is not with its proof")
    return found[version]


def told_by_proof(kept: bytes) -> tuple[int, int, int]:
    """Return (root version, policy version, highest floor) of a proof, NOT verified."""
    version, number, raw, _ = decode_proof(kept)
    listed = listing(load(Targets, TARGETS, raw).signed)
    least = max((one.custom.min_version for one in listed.values()), default=0)
    return number, version, least


def freshness(trusted: Trusted, answer: bytes, nonce: str, device: str) -> Fresh:
    """Return an answer to our nonce by a timestamp key of the newest root; TrustError.

    An older timestamp than ours is no answer, a newer one is told as ``is_behind``.
    """
    root = load(Root, "root", trusted.roots[-1]).signed
    try:
        key_id = answer_key_id(answer)
        if key_id not in root.roles["timestamp"].keyids:
            raise TrustError(
                "key-id", "freshness: by a key that is not the timestamp's"
            )
        public = bytes.fromhex(root.keys[key_id].keyval["public"])
        told = open_answer(answer, public)
    except WireError as error:
        rule = "threshold" if "signature" in error.reason else "format"
        raise TrustError(rule, f"freshness: {error.reason}") from None
    if told.fleet != trusted.fleet:
        raise TrustError("wrong-fleet", "freshness: for another fleet")
    if told.device != device:
        raise TrustError("wrong-device", "freshness: for another device")
    if told.nonce != nonce:
        raise TrustError("replay", "freshness: answers another question")
    ours = _timestamp_version(trusted)
    if told.timestamp_version < ours:
        raise TrustError("rollback", "freshness: names an older timestamp than ours")
    digest = sha256(trusted.timestamp).digest()
    if told.timestamp_version == ours and told.timestamp_digest != digest:
        raise TrustError(
            "mix-and-match", "freshness: names another timestamp than ours"
        )
    return Fresh(
        told.time_ns,
        told.timestamp_version,
        told.timestamp_digest,
        told.timestamp_version > ours,
    )


def advance(trusted: Trusted, fresh: Fresh) -> Trusted:
    """Return the trust with the answer's time as floor of the clock."""
    floor_ns = max(trusted.time_floor_ns, fresh.time_ns)
    return replace(trusted, time_floor_ns=floor_ns)


def _timestamp_version(trusted: Trusted) -> int:
    if not trusted.timestamp:
        return 0
    return load(Timestamp, "timestamp", trusted.timestamp).signed.version


def _root_of(trusted: Trusted, number: int) -> Root:
    first = load(Root, "root", trusted.roots[0]).signed.version
    if not 0 <= number - first < len(trusted.roots):
        reason = f"root {number} of the proof is not in our chain"
        raise TrustError("root-chain", reason)
    return load(Root, "root", trusted.roots[number - first]).signed
