"""Which arguments are within their limits, as the contracts lay them down: asked by the model, never of a backend."""

from __future__ import annotations

from perdure import MAX_SEQUENCE_NR, Claims


def valid_id(persistence_id: str, claims: Claims) -> bool:
    limit = claims.persistence_id_length_max
    if limit is not None and len(persistence_id) > limit:
        return False
    return bool(persistence_id) and is_unicode(persistence_id)


def valid_number(number: int) -> bool:
    return 0 <= number <= MAX_SEQUENCE_NR


def is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
