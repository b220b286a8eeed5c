"""What a directory holds, as a value: the names of its files with their contents, and its directories.

Two names of one file are two files here, and owners, times and permissions are not part of it. How an image comes onto
a real disk is in `scratch.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

from .contents import Content, content_of

WIDTH = 1 << 128


class Image:
    """Files by path and the directories that hold them; paths are relative and use `/`, without one at the end.

    The directory itself is always there and not named. `digest` is equal for equal images, in every process.
    """

    __slots__ = ("digest", "directories", "files")

    def __init__(self, files: Mapping[str, Content], directories: Iterable[str] = ()) -> None:
        self.files = files
        self.directories = frozenset(directories)
        self.digest = digest_of(files, self.directories)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        sizes = [f"{path} ({content.size} bytes)" for path, content in sorted(self.files.items())]
        return f"Image({', '.join(sizes + [f'{path}/' for path in sorted(self.directories)])})"

    def plain(self) -> dict[str, bytes]:
        """As `Trace.before` has it: directories end in `/`. So the image may be the start of another trace."""
        plain = {f"{path}/": b"" for path in sorted(self.directories)}
        return plain | {path: bytes(content) for path, content in sorted(self.files.items())}


def image_from(plain: Mapping[str, bytes]) -> Image:
    """The image of what `plain` gives. Directories on the way to a file need not be named."""
    files = {path: content_of(data) for path, data in plain.items() if not path.endswith("/")}
    named = [path.rstrip("/") for path in plain if path.endswith("/")]
    return Image(files, {*named, *(above for path in [*files, *named] for above in _above(path))})


def digest_of(files: Mapping[str, Content], directories: Iterable[str]) -> bytes:
    """The sum of what each path adds: contents are not looked at again, only their digests."""
    total = sum(_share(path, content.digest) for path, content in files.items())
    total += sum(_share(path, None) for path in directories)
    return (total % WIDTH).to_bytes(16, "big")


@lru_cache(maxsize=1 << 16)
def _share(path: str, digest: int | None) -> int:
    kind = b"d" if digest is None else b"f%d" % digest
    return int.from_bytes(blake2b(b"%s %s" % (kind, path.encode(errors="surrogateescape")), digest_size=16).digest())


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
