"""The contents of files as values: thousands of states of one directory share the pages in which they do not differ.

A content is never changed; `written` and `resized` give another one. Each knows a digest that is kept up to date from
the pages that changed alone. Equal contents have equal digests, however they came about.
"""

from __future__ import annotations

from hashlib import blake2b

PAGE = 4096
NOTHING = bytes(PAGE)


class Page:
    """A page at its place. `mark` is what it adds to the digest; a page of zeros adds nothing: holes cost nothing."""

    __slots__ = ("data", "mark")

    def __init__(self, number: int, data: bytes) -> None:
        self.data = data
        self.mark = 0
        if data != NOTHING:
            digest = blake2b(data, digest_size=16, salt=number.to_bytes(8, "big")).digest()
            self.mark = int.from_bytes(digest, "big")


BLANK = Page(0, NOTHING)

Known = dict[tuple[Page, int, int, bytes], Page]
"""What became of pages by writes, for those who make the same writes in many combinations."""


class Content:
    """The bytes of one file."""

    __slots__ = ("digest", "pages", "size")

    def __init__(self, size: int, pages: tuple[Page, ...], digest: int) -> None:
        self.size = size
        self.pages = pages
        self.digest = digest

    def __bytes__(self) -> bytes:
        return b"".join([page.data for page in self.pages])[: self.size]

    def written(self, offset: int, data: bytes, known: Known | None = None) -> Content:
        """The content after a write. A file that was shorter is filled with zeros up to the offset."""
        if not data:
            return self
        end = offset + len(data)
        pages = _of_length(self.pages, end)
        size = max(self.size, end)
        digest = self.digest + size - self.size
        for number in range(offset // PAGE, (end - 1) // PAGE + 1):
            old = pages[number]
            pages[number] = new = _overwritten(old, number, offset - number * PAGE, data, known)
            digest += new.mark - old.mark
        return Content(size, tuple(pages), digest)

    def resized(self, size: int) -> Content:
        """The content cut to a size, or filled with zeros up to it."""
        if size == self.size:
            return self
        pages = _of_length(self.pages, size)
        last, left = divmod(size, PAGE)
        if left and size < self.size:
            pages[last] = Page(last, pages[last].data[:left].ljust(PAGE, b"\0"))
        del pages[last + bool(left) :]
        return Content(size, tuple(pages), size + sum(page.mark for page in pages))


EMPTY = Content(0, (), 0)


def content_of(data: bytes) -> Content:
    return EMPTY.written(0, data)


def _of_length(pages: tuple[Page, ...], size: int) -> list[Page]:
    """At least as many pages as a size needs."""
    return [*pages, *[BLANK] * (-(-size // PAGE) - len(pages))]


def _overwritten(page: Page, number: int, at: int, data: bytes, known: Known | None) -> Page:
    """`at` is where the bytes begin, counted from the start of the page; they may begin before it and end behind it."""
    key = page, number, at, data
    if known is not None and key in known:
        return known[key]
    piece = data[max(-at, 0) : PAGE - at]
    start = max(at, 0)
    new = Page(number, page.data[:start] + piece + page.data[start + len(piece) :])
    if known is not None:
        known[key] = new
    return new
