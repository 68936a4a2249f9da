"""Secrets that systemd hands over: files in a folder that only this process may read.

A path in the configuration may be ``credential:NAME`` (systemd.exec(5), CREDENTIALS).
The unit says where it comes from, ``LoadCredential=NAME:FILE`` or, sealed to this
machine, ``LoadCredentialEncrypted=NAME:FILE``; the daemon's user need not be able to
read FILE. Without systemd there are none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from agent.config import CREDENTIAL, credential_name
from agent.errors import BadInput

VARIABLE: Final = "CREDENTIALS_DIRECTORY"
# Root's, and an ACL lets the unit's user in: its mask stands where the group's bits do.
MODES: Final = frozenset({0o400, 0o440})


def credential_path(config_file: str, text: str) -> str:
    """Return the file of ``credential:NAME``; BadInput where systemd gave none."""
    name = credential_name(text, config_file)
    folder = _folder()
    if folder is None:
        hint = "start it by its unit; a check by hand: systemd-run -p LoadCredential="
        reason = "systemd gave this process no credentials"
        raise BadInput(config_file, CREDENTIAL + name, reason, hint)
    file = folder / name
    if not file.exists():
        hint = f"LoadCredential={name}:FILE in a drop-in of the unit"
        reason = "systemd gave no such credential"
        raise BadInput(config_file, CREDENTIAL + name, reason, hint)
    return str(file)


def is_credential(path: Path, mode: int, owner: int) -> bool:
    """Tell whether the file that was opened at ``path`` is one that systemd gave.

    ``mode`` and ``owner`` are those of the open file. Nobody but root and the unit's
    user can reach into the folder, and nobody can write there.
    """
    folder = _folder()
    if folder is None or path.parent != folder or mode & 0o777 not in MODES:
        return False
    try:
        facts = folder.stat()
    except OSError:
        return False
    ours = {0, os.geteuid()}
    return not facts.st_mode & 0o027 and {facts.st_uid, owner} <= ours


def _folder() -> Path | None:
    told = os.environ.get(VARIABLE, "")
    return Path(told) if told.startswith("/") else None
