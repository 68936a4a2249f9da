"""What makes a device itself: its signing key, and the master of its pseudonyms.

Made at the first start in ``state_dir``, unless the owner brings them (``[identity]``):
what is brought is never made, so that a file that is away does not make another device.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.adapters.device_key import load, load_or_create
from agent.adapters.files import make_once, read_secret
from agent.adapters.token_key import SCHEME, token_key
from agent.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from agent.adapters.policy.loader import Paths
    from agent.ports import Signer

MASTER_BYTES: Final = 32


def signer_of(paths: Paths, *, create: bool = False) -> Signer:
    """Return the device's key; BadInput, Unavailable as ``device_key`` raises them.

    ``create``: a key behind PKCS#11 is made where the token has none.
    """
    config = paths.config
    if config.identity.key.startswith(SCHEME):
        return token_key(
            config.device,
            config.identity.key,
            paths.config_file,
            paths.of,
            create=create,
        )
    if config.identity.key:
        return load(Path(paths.of(config.identity.key)), config.device)
    return load_or_create(
        Path(paths.of(config.state_dir)) / "device.key", config.device
    )


def master_of(paths: Paths) -> bytes:
    """Return the 32-byte master key of the pseudonyms.

    BadInput where it is none, Unavailable where the first one cannot be written.
    """
    brought = paths.config.identity.pseudonyms
    file = Path(
        paths.of(brought)
        if brought
        else Path(paths.of(paths.config.state_dir)) / "pseudonym.key"
    )
    if not brought and not file.exists():
        try:
            make_once(file, lambda: secrets.token_bytes(MASTER_BYTES))
        except OSError as error:
            reason = f"{file.name}: {error.strerror}"
            raise Unavailable("pseudonyms", reason) from None
    master = read_secret(file, MASTER_BYTES)
    if len(master) != MASTER_BYTES:
        raise BadInput(str(file), "", f"has not {MASTER_BYTES} bytes", "restore it")
    return master
