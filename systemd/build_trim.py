"""What dependencies bring and the daemon never loads: left out of the package.

`tests/systemd/packaging` imports every module of ours in the built tree and runs every
command, so that a line too many here is seen.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Final

# Whole distributions, and who asks for them but does not load them for us.
DISTRIBUTIONS: Final = {
    "markdown-it-py": "rich, to show Markdown",
    "mdurl": "markdown-it-py",
    "pycparser": "cffi, to read C; cryptography brings what it compiled",
    "pygments": "rich, to colour source code",
    "urllib3": "tuf, to fetch over HTTP: our metadata comes over MQTT",
}

# Paths within site-packages; `*` also matches across `/`.
PATHS: Final = (
    "*/tests/*",
    "*/test_data/*",
    "*/conftest.py",
    "*.pyi",
    "*.pxd",
    "*.pyx",
    "*.c",
    "*.h",
    "*.a",
    "*/py.typed",
    "numpy/_pyinstaller/*",
    "numpy/distutils/*",
    "numpy/f2py/*",
    "numpy/random/_examples/*",
    "numpy/_core/*_tests.*",
    "*/.gitignore",
    "securesystemslib/_vendor/*.sh",
    "serial/tools/*",
    "serial/__main__.py",
    "zstandard/_cffi.*",  # the second of two backends
    "*.dist-info/RECORD",  # says what pip would remove; dpkg knows better
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/entry_points.txt",  # no command of a dependency is installed
    "*.dist-info/sboms/*",  # ours says the same
)


def is_kept(path: str) -> bool:
    """Tell whether a file (relative to site-packages) belongs into the package."""
    return not any(fnmatch(path, pattern) for pattern in PATHS)
