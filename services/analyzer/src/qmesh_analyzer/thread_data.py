"""Thread-local data of shared libraries, allocated before a process limits its memory.

A library's block is allocated when a thread first touches it: libstdc++'s at the first exception, for one. When there is no
memory left by then, the loader ends the process ("cannot allocate memory for thread-local data: ABORT"), and the exception
that was on its way is never seen.
"""

from __future__ import annotations

import ctypes
import sys


class _Library(ctypes.Structure):
    """`struct dl_phdr_info` of dl_iterate_phdr(3)."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("num_headers", ctypes.c_uint16),
        ("loads", ctypes.c_ulonglong),
        ("unloads", ctypes.c_ulonglong),
        ("module", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
    )


class _Index(ctypes.Structure):
    """`tls_index` of the ELF ABI for thread-local storage: the byte of a module that is asked for."""

    _fields_ = (("module", ctypes.c_ulong), ("offset", ctypes.c_ulong))


_VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p)


def unallocated() -> list[int]:
    """Numbers of the loaded modules whose thread-local data the calling thread does not have yet."""
    modules: list[int] = []

    def visit(library: ctypes._Pointer[_Library], _size: int, _data: int | None) -> int:
        if library.contents.module and not library.contents.data:
            modules.append(library.contents.module)
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(_VISIT(visit), None)
    return modules


def allocate() -> None:
    """Allocates the calling thread's data of every library that is loaded by now; only Linux loads them so."""
    if sys.platform != "linux":
        return
    touch = ctypes.CDLL(None)["__tls_get_addr"]
    touch.restype = ctypes.c_void_p
    for module in unallocated():
        touch(ctypes.byref(_Index(module, 0)))
