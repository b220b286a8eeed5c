"""The seccomp filter: which system calls of a recorded process stop for the tracer. All others run at full speed.

It looks at numbers and flags only, since it cannot follow a pointer: opening for reading and private mappings pass.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from ._machine import Machine

LOAD, JUMP_EQUAL, JUMP_NOT_BELOW, JUMP_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, STOP = 0x7FFF0000, 0x7FF00000
FOREIGN = 1
"""Comes with a stop at a call of another machine's numbering (a 32-bit program), of which nothing is known."""

X32_CALLS = 0x40000000
OPEN_BITS = getattr(os, "O_ACCMODE", 3) | os.O_CREAT | os.O_TRUNC
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
PROT_WRITE, MAP_SHARED, MS_SYNC = 2, 1, 4

BITS: dict[str, Sequence[tuple[int, int]]] = {
    "open": [(1, OPEN_BITS)],
    "openat": [(2, OPEN_BITS)],
    "mmap": [(2, PROT_WRITE), (3, MAP_SHARED)],
    "msync": [(2, MS_SYNC)],
}
"""Calls that stop only if in each of these arguments one of these bits is set."""

VALUES: dict[str, tuple[int, Sequence[int]]] = {"ioctl": (1, [FICLONE, FICLONERANGE])}
"""Calls that stop only if this argument has one of these values."""


def filter_for(machine: Machine, reads: bool = False) -> bytes:
    """The filter as the kernel takes it: eight bytes an instruction. With `reads` these stop too."""
    program = [
        _line(LOAD, 4),
        _line(JUMP_EQUAL, machine.audit_arch, 1, 0),
        _line(RETURN, STOP | FOREIGN),
        _line(LOAD, 0),
    ]
    program += [_line(JUMP_NOT_BELOW, X32_CALLS, 0, 1), _line(RETURN, STOP | FOREIGN)]
    for name, number in (machine.calls | (machine.reads if reads else {})).items():
        block = [*_conditions(name), _line(RETURN, STOP)]
        program += [_line(JUMP_EQUAL, number, 0, len(block)), *block]
    return b"".join([*program, _line(RETURN, ALLOW)])


def _conditions(name: str) -> list[bytes]:
    """Instructions that let a call of this name pass, or fall through if it is to stop."""
    lines: list[bytes] = []
    for argument, bits in BITS.get(name, ()):
        lines += [_load(argument), _line(JUMP_BITS, bits, 1, 0), _line(RETURN, ALLOW)]
    if name in VALUES:
        argument, values = VALUES[name]
        lines.append(_load(argument))
        lines += [_line(JUMP_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
        lines.append(_line(RETURN, ALLOW))
    return lines


def _load(argument: int) -> bytes:
    """Load the lower half of an argument, on a machine that stores it first."""
    return _line(LOAD, 16 + 8 * argument)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
