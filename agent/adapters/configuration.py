"""The gateway's one configuration file, as the daemon and every command read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.adapters.files import read_limited
from agent.config import parse_config
from agent.limits import CONFIG_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from agent.config import Config


def read_config(file: Path) -> Config:
    """Return the configuration; BadInput names file, place and reason."""
    text = read_limited(file, CONFIG_BYTES_MAX, "name it with --config")
    return parse_config(text, str(file))
