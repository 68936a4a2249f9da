"""`sluicegate identity`: the device's name and public key, for enrolment."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from agent.adapters.files import read_limited
from agent.adapters.identities import signer_of
from agent.adapters.policy.loader import Paths
from agent.config import parse_config
from agent.limits import CONFIG_BYTES_MAX


def show(config_file: Path) -> int:
    """Print device and key in base64; the key is made where there is none yet."""
    text = read_limited(config_file, CONFIG_BYTES_MAX, "name it with --config")
    paths = Paths(str(config_file), parse_config(text, str(config_file)))
    folder = Path(paths.of(paths.config.state_dir))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    device = paths.config.device
    key = signer_of(paths).public_key()
    sys.stdout.write(f"{device} {base64.b64encode(key).decode()}\n")
    return 0
