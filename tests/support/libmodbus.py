"""libmodbus (Debian's libmodbus5) through ctypes: a master and a device.

https://libmodbus.org, version 3.1; its functions are called as their manual pages say.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from typing import Self

import pytest

NAME = ctypes.util.find_library("modbus")
needs_libmodbus = pytest.mark.skipif(NAME is None, reason="needs libmodbus5")
ADU_BYTES_MAX = 260


def library() -> ctypes.CDLL:
    """Return the library with the types that matter."""
    lib = ctypes.CDLL(NAME, use_errno=True)
    lib.modbus_new_tcp.restype = ctypes.c_void_p
    lib.modbus_mapping_new.restype = ctypes.c_void_p
    return lib


class LibError(Exception):
    """What libmodbus says: its errno, less MODBUS_ENOBASE for exceptions."""

    def __init__(self) -> None:
        super().__init__(ctypes.get_errno() - 112345678)

    @property
    def exception(self) -> int:
        """Return the Modbus exception code."""
        return int(self.args[0])


class LibMaster:
    """A master."""

    def __init__(self, port: int, unit: int = 1) -> None:
        self._lib = library()
        self._context = ctypes.c_void_p(self._lib.modbus_new_tcp(b"127.0.0.1", port))
        self._lib.modbus_set_slave(self._context, unit)
        self._lib.modbus_set_response_timeout(self._context, 20, 0)
        self._checked(self._lib.modbus_connect(self._context))

    def _checked(self, result: int) -> int:
        if result < 0:
            raise LibError
        return result

    def registers(self, address: int, count: int) -> list[int]:
        """Function 3."""
        words = (ctypes.c_uint16 * count)()
        call = self._lib.modbus_read_registers
        self._checked(call(self._context, address, count, words))
        return list(words)

    def coils(self, address: int, count: int) -> list[int]:
        """Function 1."""
        bits = (ctypes.c_uint8 * count)()
        call = self._lib.modbus_read_bits
        self._checked(call(self._context, address, count, bits))
        return list(bits)

    def write(self, address: int, values: list[int]) -> None:
        """Function 16."""
        words = (ctypes.c_uint16 * len(values))(*values)
        call = self._lib.modbus_write_registers
        self._checked(call(self._context, address, len(values), words))

    def write_coil(self, address: int, value: int) -> None:
        """Function 5."""
        self._checked(self._lib.modbus_write_bit(self._context, address, value))

    def mask(self, address: int, and_mask: int, or_mask: int) -> None:
        """Function 22."""
        call = self._lib.modbus_mask_write_register
        self._checked(call(self._context, address, and_mask, or_mask))

    def write_read(
        self, at: int, values: list[int], from_: int, count: int
    ) -> list[int]:
        """Function 23."""
        words = (ctypes.c_uint16 * len(values))(*values)
        found = (ctypes.c_uint16 * count)()
        call = self._lib.modbus_write_and_read_registers
        self._checked(call(self._context, at, len(values), words, from_, count, found))
        return list(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.modbus_close(self._context)
        self._lib.modbus_free(self._context)


class LibDevice:
    """A device with 100 of everything, for one connection after the other."""

    def __init__(self) -> None:
        self._lib = library()
        self._context = ctypes.c_void_p(self._lib.modbus_new_tcp(b"127.0.0.1", 0))
        self._mapping = ctypes.c_void_p(self._lib.modbus_mapping_new(*[100] * 4))
        self._listener = self._lib.modbus_tcp_listen(self._context, 1)
        assert self._listener >= 0
        self.port = _port_of(self._listener)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        lib, query = self._lib, (ctypes.c_uint8 * ADU_BYTES_MAX)()
        listener = ctypes.c_int(self._listener)
        while lib.modbus_tcp_accept(self._context, ctypes.byref(listener)) >= 0:
            while (size := lib.modbus_receive(self._context, query)) >= 0:
                if size:
                    lib.modbus_reply(self._context, query, size, self._mapping)
            lib.modbus_close(self._context)


def _port_of(descriptor: int) -> int:
    import os
    import socket

    with socket.socket(fileno=os.dup(descriptor)) as sock:
        port: int = sock.getsockname()[1]
        return port
