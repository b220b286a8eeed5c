"""The requests of ptrace that a tracer needs, from ctypes. They work only in the thread that started the process."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import Any

from ._machine import Machine

ATTACH = 16
CONT, SYSCALL, SETOPTIONS, GETEVENTMSG, GETREGSET, SETREGSET = 7, 24, 0x4200, 0x4201, 0x4204, 0x4205
NT_PRSTATUS, NT_ARM_SYSTEM_CALL = 1, 0x404
TRACE_SYSGOOD, TRACE_FORK, TRACE_VFORK, TRACE_CLONE, TRACE_EXEC, TRACE_SECCOMP, EXITKILL = 1, 2, 4, 8, 16, 128, 1 << 20
OPTIONS = TRACE_SYSGOOD | TRACE_FORK | TRACE_VFORK | TRACE_CLONE | TRACE_EXEC | TRACE_SECCOMP | EXITKILL
EVENT_EXEC, EVENT_SECCOMP = 4, 7
NO_CALL = -1


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@cache
def _library() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    return library


def request(kind: int, tid: int, address: int | None = None, value: int | None = None) -> None:
    """Raises `ProcessLookupError` if the thread is gone, which a kill may bring about at any time."""
    if _library().ptrace(kind, tid, address, value) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace request {kind:#x} to {tid}: {os.strerror(number)}")


def event_message(tid: int) -> int:
    message = ctypes.c_ulong()
    request(GETEVENTMSG, tid, None, ctypes.addressof(message))
    return message.value


class Registers:
    """The registers of a stopped thread, as an array of words of 64 bits."""

    def __init__(self, machine: Machine, tid: int) -> None:
        self._machine, self._tid = machine, tid
        self._words = (ctypes.c_uint64 * machine.words)()
        self._vector = _Vector(ctypes.addressof(self._words), ctypes.sizeof(self._words))
        request(GETREGSET, tid, NT_PRSTATUS, ctypes.addressof(self._vector))

    @property
    def number(self) -> int:
        return int(self._words[self._machine.number])

    @property
    def arguments(self) -> tuple[int, ...]:
        return tuple(int(self._words[place]) for place in self._machine.arguments)

    @property
    def result(self) -> int:
        return ctypes.c_int64(self._words[self._machine.result]).value

    def set_argument(self, place: int, value: int) -> None:
        self._words[self._machine.arguments[place]] = value

    def set_result(self, value: int) -> None:
        self._words[self._machine.result] = value & 0xFFFFFFFFFFFFFFFF

    def skip_call(self) -> None:
        """Let the kernel carry out no call at all; what it then seems to have answered is set at its end."""
        if not self._machine.number_is_apart:
            self._words[self._machine.number] = NO_CALL & 0xFFFFFFFFFFFFFFFF
            return
        number = ctypes.c_int(NO_CALL)
        vector = _Vector(ctypes.addressof(number), ctypes.sizeof(number))
        request(SETREGSET, self._tid, NT_ARM_SYSTEM_CALL, ctypes.addressof(vector))

    def store(self) -> None:
        request(SETREGSET, self._tid, NT_PRSTATUS, ctypes.addressof(self._vector))


def read_memory(tid: int, address: int, size: int) -> bytes:
    descriptor = os.open(f"/proc/{tid}/mem", os.O_RDONLY)
    try:
        return os.pread(descriptor, size, address)
    finally:
        os.close(descriptor)


def write_memory(tid: int, address: int, content: bytes) -> None:
    descriptor = os.open(f"/proc/{tid}/mem", os.O_WRONLY)
    try:
        os.pwrite(descriptor, content, address)
    finally:
        os.close(descriptor)


def read_text(tid: int, address: int) -> str:
    """A text that ends in NUL, read page by page, since what follows its page may not be there."""
    text = b""
    while b"\0" not in text:
        text += read_memory(tid, address + len(text), 4096 - (address + len(text)) % 4096)
    return os.fsdecode(text.partition(b"\0")[0])


def read_word(tid: int, address: int) -> int:
    return int(struct.unpack("=Q", read_memory(tid, address, 8))[0])
