"""`sluicegate identity`: the device's name and public key, for enrolment."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING

from agent.adapters.configuration import read_config
from agent.adapters.identities import signer_of
from agent.adapters.policy.loader import Paths

if TYPE_CHECKING:
    from pathlib import Path


def show(config_file: Path) -> int:
    """Print device and key in base64; the key is made where there is none yet."""
    paths = Paths(str(config_file), read_config(config_file))
    paths.make_state_dir()
    device = paths.config.device
    key = signer_of(paths).public_key()
    sys.stdout.write(f"{device} {base64.b64encode(key).decode()}\n")
    return 0
