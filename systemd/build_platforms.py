"""What the package is built for: Debian 12's Python on three architectures.

Shared by the scripts of this folder; standard library only.
"""

from __future__ import annotations

from typing import Final

PYTHON_VERSION: Final = (3, 11)  # of Debian 12, the release that the package is for
GLIBC_MINOR: Final = 36  # Debian 12 has glibc 2.36
GLIBC_MINOR_OLDEST: Final = 17  # manylinux2014, the oldest that wheels of today name
MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}


def platform_tags(architecture: str) -> list[str]:
    """Return the wheel platforms (PEP 600) that run on this Debian architecture."""
    if architecture == "any":  # wheels of pure Python only
        return []
    machine = MACHINES[architecture]
    minors = range(GLIBC_MINOR, GLIBC_MINOR_OLDEST - 1, -1)
    return [f"manylinux_2_{minor}_{machine}" for minor in minors] + [
        f"manylinux2014_{machine}"
    ]


def pip_target(architecture: str) -> list[str]:
    """Return pip's options that choose wheels for Debian 12 on this architecture."""
    options = ["--only-binary", ":all:", "--implementation", "cp"]
    options += ["--python-version", "{}.{}".format(*PYTHON_VERSION)]
    for tag in platform_tags(architecture) or ["any"]:
        options += ["--platform", tag]
    return options
