"""`sluicegate provision`: a device asks for its certificate, and installs the answer.

Secrets are made here and stay here: nothing but public keys, digests and names is
printed, and no file that holds a secret is anybody's but the service's user's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from agent.adapters.certificates import facts
from agent.adapters.clock import BUILD_FLOOR_NS
from agent.adapters.configuration import read_config
from agent.adapters.enrolment import enrolments_of
from agent.adapters.enrolment_changes import changing
from agent.adapters.files import read_limited
from agent.adapters.identities import master_of, signer_of
from agent.adapters.ownership import as_owner
from agent.adapters.policy.loader import Paths
from agent.commands.status import moment
from agent.enrolling import ALONE, Expected, Times, check_answer, check_first
from agent.errors import BadInput, Refused
from policies.trust import TrustError
from policies.trust import begin as pinned
from protocols.enrolment import (
    ANSWER_BYTES_MAX,
    decode_answer,
    heard,
    open_request_file,
    spoken,
    unbase64,
)
from protocols.errors import WireError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.adapters.enrolment import Enrolments, Installed
    from protocols.enrolment import Answer, Where


def begin(config_file: Path, out: Path, tls_key: str, as_json: bool) -> int:
    """Make what is missing, write the request, tell its fingerprint."""
    kind = _kind(tls_key)
    paths, folder = _gateway(config_file)
    with as_owner(folder):
        signer = signer_of(paths, create=True)
        master_of(paths)
        with changing(enrolments_of(paths)) as enrolments:
            made = enrolments.begin(
                signer, paths.config.fleet, time.time_ns(), kind=kind
            )
    asked = open_request_file(made)
    _write_public(out, made)
    if as_json:
        told: dict[str, object] = {
            "device": asked.request.device,
            "fleet": asked.request.fleet,
            "request": str(out),
            "fingerprint": asked.digest,
            "ed25519": asked.request.ed25519,
            "tls_key": asked.request.tls_key,
        }
        return _json(told)
    _say(f"{out}: request of {asked.request.device}, fleet {asked.request.fleet}")
    _say(f"fingerprint: {spoken(asked.digest)}")
    _say("Bring the file to the operator; `sluicectl enrol answer` must tell the same")
    _say("fingerprint. Nothing in it is secret. Then: sluicegate provision install")
    return 0


def install(
    config_file: Path, answer_file: Path, fingerprint: str, as_json: bool
) -> int:
    """Check an answer against everything we know, and put it in place."""
    paths, folder = _gateway(config_file)
    answer = _answer(answer_file, fingerprint)
    with as_owner(folder), changing(enrolments_of(paths)) as enrolments:
        done = enrolments.finished(answer)
        if done is None:
            _check(paths, enrolments, answer, answer_file)
            done = enrolments.install(answer)
    return _told(paths, done, as_json)


def show(config_file: Path, as_json: bool) -> int:
    """Tell what is asked for and what is installed; 1 where nothing is installed."""
    paths, folder = _gateway(config_file)
    with as_owner(folder):
        enrolments = enrolments_of(paths)
        found, asked = enrolments.current(), enrolments.asked()
        if asked is not None and not as_json:
            _say(f"asked for: fingerprint {spoken(asked.digest)}")
        if found is not None:
            return _told(paths, found, as_json)
    if as_json:
        _json({"installed": False, "asked": asked.digest if asked else ""})
    else:
        _say("nothing is installed (sluicegate provision begin)")
    return 1


def _kind(tls_key: str) -> Where:
    """Return where the TLS key is to be; BadInput for what cannot be had."""
    match tls_key:
        case "file" | "tpm2":
            return tls_key
    if tls_key.startswith("pkcs11:"):
        reason = "Python's ssl cannot use a key behind PKCS#11"
        raise BadInput("", "--tls-key", reason, "docs/provisioning.md says what can")
    raise BadInput("", "--tls-key", "is neither file nor tpm2")


def _gateway(config_file: Path) -> tuple[Paths, Path]:
    """Return the paths and the folder of the state, which is made where it is not."""
    paths = Paths(str(config_file), read_config(config_file))
    return paths, paths.make_state_dir()


def _answer(file: Path, fingerprint: str) -> Answer:
    """Return the answer whose fingerprint a person has compared; BadInput otherwise."""
    hint = "`sluicectl enrol answer` makes one"
    try:
        answer = decode_answer(read_limited(file, ANSWER_BYTES_MAX, hint))
        digits = heard(fingerprint)
    except WireError as error:
        place = "--fingerprint" if error.what == "fingerprint" else ""
        raise BadInput(str(file), place, error.reason, hint) from None
    if not hmac.compare_digest(answer.fingerprint()[: len(digits)], digits):
        raise BadInput(
            str(file),
            "--fingerprint",
            "this is not the answer that the operator made",
            "compare with what `sluicectl enrol answer` printed; bring the file again",
        )
    return answer


def _check_root(enrolments: Enrolments, answer: Answer) -> None:
    """A pinned root stays pinned: without one, local policies would decide again."""
    before = enrolments.current()
    if before is not None and before.answer.root and not answer.root:
        raise Refused("root", "a trust root is pinned here, and the answer has none")


def _check(paths: Paths, enrolments: Enrolments, answer: Answer, file: Path) -> None:
    config = paths.config
    asked = enrolments.asked()
    if asked is None:
        hint = "sluicegate provision begin"
        raise BadInput(str(file), "", "nothing waits for an answer here", hint)
    expected = Expected(
        config.device, config.fleet, enrolments.pending_key(), asked.digest
    )
    try:
        check_answer(answer, expected, Times(time.time_ns(), BUILD_FLOOR_NS))
        check_first(answer)
        _check_root(enrolments, answer)
        if answer.root:
            pinned(unbase64("root", answer.root), config.fleet)
    except Refused as error:
        raise BadInput(str(file), error.rule, error.reason) from None
    except (TrustError, WireError) as error:
        raise BadInput(str(file), "root", error.reason) from None


def _told(paths: Paths, done: Installed, as_json: bool) -> int:
    """Say what is installed now, and what is left to do."""
    leaf, broker = facts(done.cert_file), done.answer.broker
    root = unbase64("root", done.answer.root)
    pin = hashlib.sha256(root).hexdigest() if root else ""
    where = f"{broker.host}:{broker.port}" if broker is not None else ""
    if as_json:
        told = {
            "installed": True,
            "device": done.answer.device,
            "fleet": done.answer.fleet,
            "broker": where,
            "not_after_ns": leaf.not_after_ns,
            "certificate_sha256": leaf.sha256,
            "root_sha256": pin,
            "renewable": done.is_renewable,
            "used": paths.config.mqtt.enrolled,
        }
        return _json(told)
    _say(f"certificate: {leaf.subject}, issued by {leaf.issuer}")
    _say(f"valid until: {moment(leaf.not_after_ns)}")
    if not done.is_renewable:
        _say(f"no renewal:  {ALONE}.")
        _say("             Enrol again with an answer that has its issuer in it, too:")
        _say("             sluicegate provision begin")
    _say(f"broker:      {where}")
    _say(f"trust root:  {spoken(pin) if pin else 'none: policies are local files'}")
    if not paths.config.mqtt.enrolled:
        _say(f"not used yet: put `enrolled = true` under [mqtt] in {paths.config_file}")
    return 0


def _write_public(out: Path, data: bytes) -> None:
    """Write what anybody may read; `-`: to standard output."""
    if str(out) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        # not through a link, and not into a device or pipe that lies there
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(out, flags, 0o644), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or "cannot be written"
        raise BadInput(str(out), "--out", reason) from None


def _json(told: dict[str, object]) -> int:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
