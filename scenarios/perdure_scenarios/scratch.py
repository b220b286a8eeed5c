"""Images on a disk: a scratch directory that is made equal to one image after the other.

Nothing that lies there is trusted, not even sizes and times: whoever looked at the last image may have changed
anything. What is equal is left alone, so that images that differ little cost little.
"""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from pathlib import Path

from .contents import PAGE, Content, content_of
from .images import Image

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
READ_AND_WRITE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
CREATE = READ_AND_WRITE | os.O_CREAT | os.O_EXCL


def materialise(image: Image, directory: str | Path) -> None:
    """Make a directory hold the image and nothing else. Nobody may use the directory meanwhile."""
    _fill(image, str(directory), "", _tree(image))


def read_image(directory: str | Path) -> Image:
    """What a directory holds. Anything but files and directories is an error: an image cannot hold it."""
    files: dict[str, Content] = {}
    directories: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(directory, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    directories.append(path)
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    files[path] = content_of(Path(entry.path).read_bytes())
                else:
                    raise ValueError(f"{entry.path} is neither a file nor a directory; an image holds nothing else")
    return Image(files, directories)


def digest_of_directory(directory: str | Path) -> bytes:
    """Equal for directories that hold equal files, and quicker than to read an image, which is only to be compared.
    Raises as `read_image` does."""
    digest = blake2b(digest_size=16)
    waiting = [str(directory)]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = os.fsencode(os.path.relpath(entry.path, directory))
                if entry.is_dir(follow_symlinks=False):
                    digest.update(b"d%d %b" % (len(path), path))
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    content = Path(entry.path).read_bytes()
                    digest.update(b"f%d %d %b" % (len(path), len(content), path))
                    digest.update(content)
                else:
                    raise ValueError(f"{entry.path} is neither a file nor a directory; an image holds nothing else")
    return digest.digest()


def _tree(image: Image) -> dict[str, dict[str, Content | None]]:
    """Folder by folder what has to be there; None for a directory."""
    tree: dict[str, dict[str, Content | None]] = {"": {}}
    for path in image.directories:
        tree.setdefault(path, {})
        _put(tree, path, None)
    for path, content in image.files.items():
        _put(tree, path, content)
    return tree


def _put(tree: dict[str, dict[str, Content | None]], path: str, content: Content | None) -> None:
    folder, _, name = path.rpartition("/")
    tree.setdefault(folder, {})[name] = content


def _fill(image: Image, directory: str, folder: str, tree: dict[str, dict[str, Content | None]]) -> None:
    """Strays first: a name may have been a file and become a directory."""
    wanted = tree[folder]
    here = os.path.join(directory, folder) if folder else directory
    there = _without_strays(here, wanted)
    for name, content in wanted.items():
        path = f"{here}/{name}"
        if content is not None:
            _file(path, content, name in there)
            continue
        if name not in there:
            os.mkdir(path)
        _with_mode(path, os.stat(path).st_mode, DIRECTORY_MODE)
        _fill(image, directory, f"{folder}/{name}" if folder else name, tree)


def _without_strays(here: str, wanted: dict[str, Content | None]) -> set[str]:
    """Remove what must not be there; the names that remain, each of the kind that is wanted."""
    remaining = set()
    with os.scandir(here) as entries:
        for entry in list(entries):
            is_directory = entry.is_dir(follow_symlinks=False)
            fits = is_directory or entry.is_file(follow_symlinks=False)
            if fits and entry.name in wanted and (wanted[entry.name] is None) == is_directory:
                remaining.add(entry.name)
            elif is_directory:
                _remove_tree(entry.path)
            else:
                os.unlink(entry.path)
    return remaining


def _remove_tree(path: str) -> None:
    os.chmod(path, DIRECTORY_MODE)
    with os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.path)
            else:
                os.unlink(entry.path)
    os.rmdir(path)


def _file(path: str, content: Content, exists: bool) -> None:
    """A file that cannot be opened, or that has a second name through which writes would be seen, is made anew."""
    descriptor = _opened(path) if exists else os.open(path, CREATE, FILE_MODE)
    try:
        found = os.fstat(descriptor)
        _with_mode(path, found.st_mode, FILE_MODE)
        _contents(descriptor, found.st_size, content)
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    try:
        descriptor = os.open(path, READ_AND_WRITE)
    except PermissionError:
        descriptor = -1
    if descriptor >= 0 and os.fstat(descriptor).st_nlink == 1:
        return descriptor
    if descriptor >= 0:
        os.close(descriptor)
    os.unlink(path)
    return os.open(path, CREATE, FILE_MODE)


def _with_mode(path: str, found: int, wanted: int) -> None:
    if stat.S_IMODE(found) != wanted:
        os.chmod(path, wanted)


def _contents(descriptor: int, size: int, content: Content) -> None:
    """Compare with what is there, and write what lies between the first and the last page that differ: a look has
    changed most of them or none, and each call costs more than a page."""
    with open(descriptor, "r+b", buffering=0, closefd=False) as file:
        there = file.read(content.size + 1) if size else b""
        wanted = bytes(content)
        if there == wanted:
            return
        if size > content.size:
            file.truncate(content.size)
        differing = [
            start
            for start in range(0, len(wanted), PAGE)
            if there[start : start + PAGE] != wanted[start : start + PAGE]
        ]
        if differing:
            file.seek(differing[0])
            _write_all(descriptor, wanted[differing[0] : differing[-1] + PAGE])


def _write_all(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]
