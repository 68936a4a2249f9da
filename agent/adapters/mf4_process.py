"""MF4 in a process of its own.

asammdf's native code can crash the interpreter on a damaged file, prints tracebacks on
standard output and takes a second to import. None of that may reach us: a child reads
the file from its standard input and sends columns back; where it dies, the file is
refused by name.

Between the two: u32 length, then msgpack of ``[kind, ...]``; kinds are ``frames``,
``error`` and ``end``.
"""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgpack
import numpy as np

from protocols.errors import WireError
from protocols.frames import FrameBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
UNFINISHED_BYTES_MAX: Final = 256 * 1024 * 1024  # mended in memory
_LENGTH = struct.Struct("<I")
_COLUMNS: Final = ("time_ns", "bus", "ident", "size", "flags", "payload")


def has_asammdf() -> bool:
    """Tell whether the extra ``mf4`` is installed, without importing it."""
    return importlib.util.find_spec("asammdf") is not None


class Mf4Process:
    """Frames of an MF4 file, in order of time, read by a child process."""

    def __init__(self, source: BinaryIO, *, unfinished: bool) -> None:
        """Start the child on ``source``, a file with a descriptor, at its beginning."""
        self.buses: list[str] = []
        self.skipped: dict[str, int] = {}
        self.progress = 0.0
        source.seek(0)
        mode = "unfinished" if unfinished else "finished"
        # asammdf copies frames into named temporary files, and the child ends without
        # finalisers: its folder is ours to delete, or positions would stay on the disk.
        self._folder = tempfile.TemporaryDirectory(prefix="sluicegate-mf4-")
        python_path = os.pathsep.join(filter(None, sys.path))
        self._child = subprocess.Popen(  # noqa: S603  # own interpreter, fixed argv
            [sys.executable, "-P", "-m", "agent.adapters.mf4_process", mode],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": python_path,
                "TMPDIR": self._folder.name,
            },
        )

    def batches(self) -> Iterator[FrameBatch]:
        """Yield frames; WireError where the file, or the child, breaks."""
        pipe = self._child.stdout
        assert pipe is not None
        while True:
            head = pipe.read(_LENGTH.size)
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            body = pipe.read(size) if 0 < size <= MESSAGE_BYTES_MAX else b""
            if not size or len(body) != size:
                raise WireError("MF4 file", "damaged: its reader crashed on it")
            kind, *rest = msgpack.unpackb(body)
            if kind == "error":
                raise WireError(*rest)
            if kind == "end":
                self.skipped.update(rest[0])
                self.progress = 1.0
                return
            yield self._frames(*rest)

    def close(self) -> None:
        """End the child, and delete what it left behind."""
        self._child.kill()
        self._child.wait()
        self._folder.cleanup()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _frames(
        self, columns: list[bytes], width: int, buses: list[str], progress: float
    ) -> FrameBatch:
        self.buses[:] = buses
        self.progress = progress
        time_ns, bus, ident, size, flags, payload = columns
        return FrameBatch(
            np.frombuffer(time_ns, np.int64),
            np.frombuffer(bus, np.uint8),
            np.frombuffer(ident, np.uint32),
            np.frombuffer(size, np.uint8),
            np.frombuffer(flags, np.uint8),
            np.frombuffer(payload, np.uint8).reshape(-1, width),
        )


def _send(pipe: BinaryIO, *message: Any) -> None:  # noqa: ANN401  # msgpack takes any
    body = msgpack.packb(message)
    pipe.write(_LENGTH.pack(len(body)) + body)


def _serve(source: BinaryIO, pipe: BinaryIO, *, unfinished: bool) -> None:
    from agent.adapters.mf4 import Mf4Log  # noqa: PLC0415  # only the child wants it

    if unfinished:  # asammdf mends it in place: in memory, never the owner's file
        data = source.read(UNFINISHED_BYTES_MAX + 1)
        if len(data) > UNFINISHED_BYTES_MAX:
            raise WireError("MF4 file", "unfinished and too large to mend")
        source = io.BytesIO(data)
    log = Mf4Log(source)
    for batch in log.batches():
        columns = [getattr(batch, name).tobytes() for name in _COLUMNS]
        _send(pipe, "frames", columns, batch.width, log.buses, log.progress)
    _send(pipe, "end", log.skipped)


def main() -> None:
    """Be the child: MF4 on standard input, messages on standard output."""
    with os.fdopen(os.dup(1), "wb") as pipe:
        # What asammdf prints goes to standard error, which the parent closes.
        os.dup2(2, 1)
        try:
            source = os.fdopen(0, "rb", closefd=False)
            _serve(source, pipe, unfinished=sys.argv[1:] == ["unfinished"])
        except WireError as error:
            _send(pipe, "error", error.what, error.reason, error.offset)
        pipe.flush()
        os._exit(0)  # asammdf's finalisers may hang or crash; all is said


if __name__ == "__main__":
    main()
