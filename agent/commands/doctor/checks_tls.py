"""TLS towards the broker: our files, our certificate, the broker's."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.certificates import Certificate, chain_facts, facts, load_chain
from agent.adapters.enrolment import enrolments_of
from agent.commands.doctor.model import Check, bad, enrol, good, put, quoted, run, warn
from agent.commands.doctor.pem import public_key_in, public_key_of
from agent.commands.status import moment
from agent.config import is_loopback
from agent.enrolling import ALONE
from agent.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.commands.doctor.context import Context
    from agent.commands.doctor.model import Found
    from agent.config import Mqtt

SOON_NS: Final = 30 * 86_400 * 10**9
SOON_SHARE: Final = 5  # of a short life, the last fifth: it is renewed before that
# X509_V_ERR of OpenSSL (x509_vfy.h)
NOT_YET: Final = 9
EXPIRED: Final = 10
NAMES: Final = frozenset({62, 64})  # host name, address
TIMES: Final = frozenset({NOT_YET, EXPIRED})


def _mqtt(context: Context) -> Mqtt:
    return context.paths.config.mqtt


def _anew(context: Context, otherwise: str) -> str:
    """Return how TLS files come: by an enrolment, or as the owner brings them."""
    config = context.paths.config
    return (
        enrol(context.config_file, config.device) if config.mqtt.enrolled else otherwise
    )


def _plaintext(context: Context) -> Iterable[Found]:
    mqtt = _mqtt(context)
    if mqtt.ca_file:
        yield good("TLS")
    elif is_loopback(mqtt.host):
        yield good("the broker is on this machine")
    else:
        fix = 'set `ca_file = "FILE"` under `[mqtt]`, and remove `allow_plaintext`'
        yield warn(f"what is sent to {mqtt.host} is not hidden from the network", fix)


def _named(context: Context) -> Iterator[tuple[str, Path]]:
    mqtt = _mqtt(context)
    if mqtt.ca_file:
        for field in ("ca_file", "cert_file", "key_file"):
            name = getattr(mqtt, field)
            if name:
                yield field, Path(context.paths.of(name))


def _files(context: Context) -> Iterable[Found]:
    named = dict(_named(context))
    wrong = False
    for field, file in named.items():
        try:
            if field == "key_file":
                public_key_of(str(file))
            else:
                load_chain(file)
        except BadInput as error:
            wrong = True
            yield bad(str(error), _bring(context, field, file), field)
    if named and not wrong:
        yield good("every file can be read")


def _bring(context: Context, field: str, file: Path) -> str:
    if file.exists() and not os.access(file, os.R_OK):
        place, group = quoted(file), context.user.group
        return run(f"chgrp {group} {place}", f"chmod g+r {place}")
    what = {
        "ca_file": "the certificate of the authority that signed the broker's",
        "cert_file": "the device's certificate",
        "key_file": "the device's private key",
    }
    return _anew(context, f"copy {what[field]}, as PEM, to {quoted(file)}")


def _secret(context: Context) -> Iterable[Found]:
    file = dict(_named(context)).get("key_file")
    if file is None:
        return
    told, place = file.stat(), quoted(file)
    mode = stat.S_IMODE(told.st_mode)
    by_group = mode & stat.S_IRWXG and told.st_gid != os.getegid()
    if mode & stat.S_IRWXO or by_group:
        said = f"{file}: others may read this key (mode {mode:04o})"
        if told.st_uid == os.geteuid():
            yield bad(said, run(f"chmod 600 {place}"))
        else:
            owner = f"root:{context.user.group}"
            yield bad(said, run(f"chown {owner} {place}", f"chmod 640 {place}"))
    else:
        yield good(f"mode {mode:04o}")


def _own(context: Context) -> Path | None:
    return dict(_named(context)).get("cert_file")


def _key(context: Context) -> Iterable[Found]:
    mqtt, of, own = _mqtt(context), context.paths.of, _own(context)
    if own is None:
        return
    key = of(mqtt.key_file)
    if public_key_of(key) != public_key_in(load_chain(own)[0]):
        said = f"{key} does not belong to the certificate {own}"
        yield bad(said, _anew(context, f"copy the key of {own} to {quoted(key)}"))
    else:
        yield good("the key belongs to the certificate")


def _lifetime(one: Certificate, now_ns: int) -> tuple[str, str]:
    """Return (verdict, words) on how long a certificate is good."""
    ends = moment(one.not_after_ns)
    if now_ns < one.not_before_ns:
        return "early", f"not valid before {moment(one.not_before_ns)}"
    if now_ns > one.not_after_ns:
        return "over", f"expired at {ends}"
    life_ns = one.not_after_ns - one.not_before_ns
    if one.not_after_ns - now_ns < min(SOON_NS, life_ns // SOON_SHARE):
        return "soon", f"ends at {ends}"
    return "", f"good until {ends}"


def _expiry(context: Context) -> Iterable[Found]:
    own = _own(context)
    if own is None:
        return
    verdict, said = _lifetime(facts(own), context.host.clock.now_ns())
    fix = f"enrol again, and copy the new certificate to {quoted(own)}"
    fix = _anew(context, fix)
    if verdict == "early":
        fix = run("timedatectl set-ntp true") + f", or {fix}"
    told = f"{own}: {said}"
    if verdict in {"early", "over"}:
        yield bad(told, fix)
    elif verdict == "soon":
        yield warn(told, fix)
    else:
        yield good(told)


def _renewal(context: Context) -> Iterable[Found]:
    config = context.paths.config
    found = enrolments_of(context.paths).current() if config.mqtt.enrolled else None
    if found is None:
        return
    if found.is_renewable:
        yield good("its issuer is known")
    else:
        fix = enrol(context.config_file, config.device)
        yield warn(f"{found.cert_file}: {ALONE}", fix)


def _authority(context: Context) -> Iterable[Found]:
    named = dict(_named(context))
    if not named:
        return
    file, now_ns = named["ca_file"], context.host.clock.now_ns()
    found = [_lifetime(one, now_ns) for one in chain_facts(file)]
    fix = f"copy the authority's new certificate, as PEM, to {quoted(file)}"
    fix = _anew(context, fix)
    usable = [said for verdict, said in found if verdict in {"", "soon"}]
    if not usable:
        yield bad(f"{file}: {found[0][1]}", fix)
    elif all(verdict for verdict, _ in found):
        yield warn(f"{file}: {usable[0]}", fix)
    else:
        yield good(f"{file}: {usable[0]}")


def _handshake(context: Context) -> Iterable[Found]:
    mqtt = _mqtt(context)
    if not mqtt.ca_file:
        return
    shaken = context.handshake
    if shaken.code >= 0:
        yield good("the broker speaks TLS 1.2 or 1.3")
    else:
        said = f"{mqtt.host}:{mqtt.port}: {shaken.reason}: no TLS there that we speak"
        yield bad(
            said, "set `port = PORT` under `[mqtt]`, where PORT is the broker's for TLS"
        )


def _ca(context: Context) -> Iterable[Found]:
    mqtt = _mqtt(context)
    if not mqtt.ca_file:
        return
    shaken, file = context.handshake, context.paths.of(mqtt.ca_file)
    if shaken.code and shaken.code not in NAMES | TIMES:
        said = (
            f"{file} is not the authority of the broker's certificate: {shaken.reason}"
        )
        fix = f"copy the certificate of {shaken.issuer}, as PEM, to {quoted(file)}"
        yield bad(said, _anew(context, fix))
    else:
        yield good(f"{file} is the authority of the broker's certificate")


def _name(context: Context) -> Iterable[Found]:
    mqtt = _mqtt(context)
    if not mqtt.ca_file:
        return
    shaken = context.handshake
    if shaken.code in NAMES:
        names = ", ".join(shaken.names) or "no name"
        said = f"the broker's certificate is for {names}, not for {mqtt.host}"
        fix = "give the broker a certificate with its name"
        if shaken.names and not mqtt.enrolled:
            fix = put("host", shaken.names[0], "[mqtt]")
        yield bad(said, fix)
    else:
        yield good(f"the broker's certificate is for {mqtt.host}")


def _server(context: Context) -> Iterable[Found]:
    mqtt = _mqtt(context)
    if not mqtt.ca_file:
        return
    shaken = context.handshake
    ends = moment(shaken.not_after_ns)
    renew = f"give the broker at {mqtt.host}:{mqtt.port} a new certificate"
    if shaken.code == NOT_YET:
        fix = run("timedatectl set-ntp true") + f", or {renew}"
        yield bad("the broker's certificate is not valid yet", fix)
    elif shaken.code == EXPIRED:
        yield bad(f"the broker's certificate expired at {ends}", renew)
    elif context.host.clock.now_ns() + SOON_NS > shaken.not_after_ns:
        yield warn(f"the broker's certificate ends at {ends}", renew)
    else:
        yield good(f"good until {ends}")


FILES: Final = ("config.parse", "tls.files")
WAY: Final = (*FILES, "tls.key", "broker.port")
CHECKS: Final = (
    Check(
        "tls.plaintext",
        "whether what leaves is hidden from the network",
        "whoever is on the way reads who sends how much when (the data are sealed)",
        "set `ca_file` under `[mqtt]`",
        _plaintext,
        ("config.parse",),
    ),
    Check(
        "tls.files",
        "whether the files of TLS can be read and are PEM",
        "nothing is sent",
        "copy what is named to its place, or enrol",
        _files,
        ("config.parse", "broker.enrolment"),
    ),
    Check(
        "tls.secret",
        "who may read the private key",
        "others can pass for this device",
        "`chmod 600`",
        _secret,
        FILES,
    ),
    Check(
        "tls.key",
        "whether the private key belongs to the certificate",
        "nothing is sent",
        "copy the key of the certificate to its place",
        _key,
        FILES,
    ),
    Check(
        "tls.expiry",
        "how long our certificate is good",
        "the broker does not let us in",
        "enrol again, copy the new certificate",
        _expiry,
        (*FILES, "clock.floor"),
    ),
    Check(
        "tls.renewal",
        "whether we know who may renew our certificate",
        "no renewal is taken: the broker does not let us in when it has expired",
        "enrol again; the answer has the issuer's certificate, too",
        _renewal,
        ("config.parse", "broker.enrolment"),
    ),
    Check(
        "tls.authority",
        "how long the authority's certificate is good",
        "the broker is not believed",
        "copy the authority's new certificate",
        _authority,
        (*FILES, "clock.floor"),
    ),
    Check(
        "tls.handshake",
        "whether the broker speaks TLS on its port",
        "nothing is sent",
        "set `port` under `[mqtt]` to the broker's port for TLS",
        _handshake,
        WAY,
    ),
    Check(
        "tls.ca",
        "whether the broker's certificate is of our authority",
        "the broker is not believed: nothing is sent",
        "copy the certificate of the broker's authority to `ca_file`",
        _ca,
        (*WAY, "tls.handshake", "tls.authority"),
    ),
    Check(
        "tls.name",
        "whether the broker's certificate is for its name",
        "the broker is not believed: nothing is sent",
        "set `host` under `[mqtt]` to a name of the certificate",
        _name,
        (*WAY, "tls.handshake", "tls.ca"),
    ),
    Check(
        "tls.server",
        "how long the broker's certificate is good",
        "the broker is not believed: nothing is sent",
        "give the broker a new certificate",
        _server,
        (*WAY, "tls.handshake", "tls.ca"),
    ),
)
