"""Modbus/TCP Security (MB-TCP-Security-v21): TLS on either side of a proxy.

TLS 1.2 or 1.3, certificates on both sides of the listener (R-08), and the role of the
master out of its certificate (R-21 to R-23). What the role may do is the policy's.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from agent.errors import BadInput

if TYPE_CHECKING:
    from agent.adapters.modbus.proxy_settings import ClientTls, ServerTls


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """Return the listener's context; BadInput where a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # no renegotiation that an attacker could begin; no compression (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    # A resumed session would bring the certificate of its first connection: each
    # connection shows its own, so that a changed role holds at once.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load(context, tls.cert_file, tls.key_file)
    _trust(context, tls.ca_file)
    return context


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """Return the context towards the device; BadInput where a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, tls.ca_file)
    if tls.cert_file:
        _load(context, tls.cert_file, tls.key_file or tls.cert_file)
    return context


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(ca_file, "", _reason(error), "PEM certificates") from None


def _load(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    def refuse() -> str:  # OpenSSL would ask on the terminal, where nobody sits
        raise BadInput(key_file, "", "the key is encrypted", "a key without password")

    try:
        context.load_cert_chain(cert_file, key_file, password=refuse)
    except (OSError, ssl.SSLError) as error:
        place = f"with {key_file}"
        raise BadInput(cert_file, place, _reason(error), "PEM files") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not usable"
    return error.strerror or "cannot be read"
