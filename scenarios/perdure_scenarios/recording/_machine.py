"""What differs between machines: the numbers of system calls, and the registers that hold them.

Of system calls, only those are named that may change files, or that open a way to change them unseen.
"""

from __future__ import annotations

import platform

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """One kind of processor under Linux. Registers are places in the array of words that PTRACE_GETREGSET gives."""

    audit_arch: int
    """The number by which seccomp tells it from others that the same processor may run."""

    words: int
    number: int
    result: int
    arguments: tuple[int, ...]
    calls: dict[str, int]
    reads: dict[str, int]
    """Calls that change nothing, and stop only where reads are to be struck."""

    number_is_apart: bool = False
    """Whether the number of the call is changed in a register set of its own (aarch64), not with the others."""


X86_64 = Machine(
    audit_arch=0xC000003E,
    words=27,
    number=15,  # orig_rax
    result=10,  # rax
    arguments=(14, 13, 12, 7, 9, 8),  # rdi rsi rdx r10 r8 r9
    calls={
        "write": 1,
        "open": 2,
        "mmap": 9,
        "ioctl": 16,
        "pwrite64": 18,
        "writev": 20,
        "msync": 26,
        "sendfile": 40,
        "fsync": 74,
        "fdatasync": 75,
        "truncate": 76,
        "ftruncate": 77,
        "rename": 82,
        "mkdir": 83,
        "rmdir": 84,
        "creat": 85,
        "link": 86,
        "unlink": 87,
        "symlink": 88,
        "mknod": 133,
        "sync": 162,
        "io_submit": 209,
        "openat": 257,
        "mkdirat": 258,
        "mknodat": 259,
        "unlinkat": 263,
        "renameat": 264,
        "linkat": 265,
        "symlinkat": 266,
        "splice": 275,
        "fallocate": 285,
        "pwritev": 296,
        "syncfs": 306,
        "renameat2": 316,
        "copy_file_range": 326,
        "pwritev2": 328,
        "io_uring_setup": 425,
        "openat2": 437,
    },
    reads={"read": 0, "pread64": 17, "readv": 19, "preadv": 295, "preadv2": 327},
)

AARCH64 = Machine(  # the generic table of Linux: no open, creat, mkdir, rmdir, rename, link, unlink, symlink, mknod
    audit_arch=0xC00000B7,
    words=34,
    number=8,  # x8
    result=0,  # x0
    arguments=(0, 1, 2, 3, 4, 5),
    number_is_apart=True,
    calls={
        "io_submit": 2,
        "ioctl": 29,
        "mknodat": 33,
        "mkdirat": 34,
        "unlinkat": 35,
        "symlinkat": 36,
        "linkat": 37,
        "renameat": 38,
        "truncate": 45,
        "ftruncate": 46,
        "fallocate": 47,
        "openat": 56,
        "write": 64,
        "writev": 66,
        "pwrite64": 68,
        "pwritev": 70,
        "sendfile": 71,
        "splice": 76,
        "sync": 81,
        "fsync": 82,
        "fdatasync": 83,
        "mmap": 222,
        "msync": 227,
        "syncfs": 267,
        "renameat2": 276,
        "copy_file_range": 285,
        "pwritev2": 287,
        "io_uring_setup": 425,
        "openat2": 437,
    },
    reads={"read": 63, "readv": 65, "pread64": 67, "preadv": 69, "preadv2": 286},
)

MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}


def this_machine() -> Machine | None:
    """The machine that runs this process; None if it is not one of those above."""
    return MACHINES.get(platform.machine())
