"""libmodbus on a serial line (pseudo-terminals), with everything on it written down."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import tty

from tests.support.libmodbus import ADU_BYTES_MAX, LibMaster, library

BAUD = 19_200


def _context(lib: ctypes.CDLL, path: str, unit: int) -> ctypes.c_void_p:
    lib.modbus_new_rtu.restype = ctypes.c_void_p
    made = ctypes.c_void_p(
        lib.modbus_new_rtu(path.encode(), BAUD, ctypes.c_char(b"N"), 8, 1)
    )
    lib.modbus_set_slave(made, unit)
    lib.modbus_set_response_timeout(made, 20, 0)
    assert lib.modbus_connect(made) >= 0
    return made


class LineMaster(LibMaster):
    """A master on a serial line."""

    def __init__(self, path: str, unit: int = 1) -> None:
        self._lib = library()
        self._context = _context(self._lib, path, unit)


class LineDevice:
    """A device with 100 of everything on a serial line."""

    def __init__(self, path: str, unit: int = 1) -> None:
        self._lib = library()
        self._context = _context(self._lib, path, unit)
        self._mapping = ctypes.c_void_p(self._lib.modbus_mapping_new(*[100] * 4))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        lib, query = self._lib, (ctypes.c_uint8 * ADU_BYTES_MAX)()
        while (size := lib.modbus_receive(self._context, query)) >= 0:
            if size:
                lib.modbus_reply(self._context, query, size, self._mapping)


class Line:
    """Two ends, and what was said between them, piece by piece in order."""

    def __init__(self) -> None:
        self._near, master = os.openpty()
        self._far, device = os.openpty()
        for end in (self._near, master, self._far, device):
            tty.setraw(end)
        self.master, self.device = os.ttyname(master), os.ttyname(device)
        self._held = (master, device)  # open, so that the ends stay there
        self.said: list[bytes] = []
        threading.Thread(target=self._relay, daemon=True).start()

    def _relay(self) -> None:
        other = {self._near: self._far, self._far: self._near}
        while True:
            for end in select.select(list(other), [], [])[0]:
                data = os.read(end, 256)
                self.said.append(data)
                os.write(other[end], data)
