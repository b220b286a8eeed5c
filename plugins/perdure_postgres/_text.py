"""Text as PostgreSQL can hold it: every character but NUL, for which two others stand.

PostgreSQL refuses U+0000 in text, though ids, tags and manifests may hold it. It is stored as U+0001 U+0002, and U+0001
as U+0001 U+0001. Text without either, which is nearly all, is stored as it is.
"""

from __future__ import annotations

import re

_ESCAPED = {"\1\1": "\1", "\1\2": "\0"}


def stored(text: str) -> str:
    """The text as a column holds it."""
    if "\0" not in text and "\1" not in text:
        return text
    return text.replace("\1", "\1\1").replace("\0", "\1\2")


def loaded(text: str) -> str:
    """The text that a column holds. Raises `ValueError` for one that `stored` never gives."""
    return re.sub("\1.?", _unescaped, text, flags=re.DOTALL) if "\1" in text else text


def _unescaped(found: re.Match[str]) -> str:
    try:
        return _ESCAPED[found[0]]
    except KeyError:
        raise ValueError(f"{found.string!r} holds U+0001 without a second U+0001 or a U+0002 behind it") from None
