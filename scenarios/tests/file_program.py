"""Does to files what it is told, in as many ways as there are calls for it: run by the tests under the recorder.

`python file_program.py DIRECTORY NUMBERS...`: four numbers are one operation, and one that fails does nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading

NAMES = ("a", "b", "d/a", "d/b", "d/e/a")
FOLDERS = ("d", "d/e", "f")
FLAGS = (0, os.O_APPEND, os.O_DSYNC, os.O_SYNC, os.O_TRUNC, os.O_APPEND | os.O_DSYNC)
PUNCH_HOLE, ZERO, COLLAPSE, INSERT = 3, 0x10, 8, 0x20

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def operate(opened: list[int], code: int, one: int, two: int, three: int) -> None:
    name, other = NAMES[one % len(NAMES)], NAMES[two % len(NAMES)]
    folder = FOLDERS[one % len(FOLDERS)]
    content = bytes([65 + three % 26]) * (1 + 37 * three % 9000)
    file = opened[two % len(opened)]
    match code:
        case 0 | 1 | 2:
            opened.append(os.open(name, os.O_RDWR | os.O_CREAT | FLAGS[three % len(FLAGS)], 0o600))
        case 3:
            os.write(file, content)
        case 4:
            os.pwrite(file, content, 100 * one)
        case 5:
            os.writev(file, [content, b"", b"end", content])
        case 6:
            os.pwritev(file, [b"begin", content], 50 * one)
        case 7:
            os.pwritev(file, [content], 10 * one, os.RWF_DSYNC)
        case 8:
            os.ftruncate(file, 77 * one)
        case 9:
            os.truncate(name, 33 * two)
        case 10:
            os.posix_fallocate(file, 10 * one, 1 + 10 * three)
        case 11:
            libc.fallocate(file, PUNCH_HOLE, 10 * one, 1 + 10 * three)
            libc.fallocate(file, ZERO, 20 * one, 1 + 10 * three)
        case 12:
            libc.fallocate(file, COLLAPSE if one % 2 else INSERT, 0, 4096)
        case 13:
            os.mkdir(folder)
        case 14:
            os.rmdir(folder)
        case 15:
            os.unlink(name)
        case 16 | 17:
            os.rename(name, other)
        case 18:
            os.rename(folder, FOLDERS[two % len(FOLDERS)])
        case 19:
            os.link(name, other)
        case 20:
            os.fsync(file)
        case 21:
            os.fdatasync(file)
        case 22:
            opened.append(os.dup(file))
        case 23:
            os.lseek(file, 30 * one, os.SEEK_SET)
        case 24:
            os.sendfile(file, opened[one % len(opened)], 0, 500)
        case 25:
            os.copy_file_range(opened[one % len(opened)], file, 300, 0, 40 * three)
        case 26:
            splice(file, content[:4000], 11 * one if three % 2 else None)
        case 27:
            by_directory(folder, content)
        case 28:
            in_thread(file, content)
        case 29:
            in_child(file, content)
        case _:
            sync_folder(folder)


def splice(file: int, content: bytes, offset: int | None) -> None:
    read, write = os.pipe()
    try:
        os.write(write, content)
        os.splice(read, file, len(content), offset_dst=offset)
    finally:
        os.close(read)
        os.close(write)


def by_directory(folder: str, content: bytes) -> None:
    """Relative to a descriptor, and from another working directory."""
    base, here = os.open(folder, os.O_RDONLY), os.getcwd()
    try:
        with contextlib.suppress(OSError):
            os.mkdir("e", dir_fd=base)
        with open(os.open("a", os.O_WRONLY | os.O_CREAT, dir_fd=base), "wb", buffering=0) as file:
            file.write(content)
        os.chdir(folder)
        os.rename("a", "b")
        os.link("b", "../x")
        os.unlink("x", dir_fd=os.open("..", os.O_RDONLY))
    finally:
        os.chdir(here)
        os.close(base)


def in_thread(file: int, content: bytes) -> None:
    """Several threads at once, each at a place of its own."""
    threads = [threading.Thread(target=pwrite, args=(file, content[:100], 100 * place)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def pwrite(file: int, content: bytes, offset: int) -> None:
    with contextlib.suppress(OSError):
        os.pwrite(file, content, offset)


def in_child(file: int, content: bytes) -> None:
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.write(file, content)
        os._exit(0)
    os.waitpid(pid, 0)


def sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    numbers = [int(number) for number in sys.argv[2:]]
    opened = [os.open("a", os.O_RDWR | os.O_CREAT, 0o600)]
    for place in range(0, len(numbers) - 3, 4):
        with contextlib.suppress(OSError):
            operate(opened, numbers[place] % 31, *numbers[place + 1 : place + 4])
