"""A reader of what Akka.NET's default serializer, Newtonsoft's Json.NET, stores: into plain values.

An object becomes a dict with its `$type`, as it stands there. `$id` and `$ref` become references to one and the same
dict or list, `$values` a list, bytes `bytes`, and `{"$": "I21"}` the number in it. Akka.NET leaves out properties that
have their default value: a dict without `Message` says that it is 0 or null there, so use `dict.get`.
"""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from ._serializer import NO_SERIALIZER_ID

NEWTONSOFT_ID: Final = 1

_DIGITS_OF_A_DOUBLE: Final = 17
_BYTES: Final = "System.Byte[],"
_NUMBER: Final = re.compile(
    r"I(-?[0-9]+)|F(-?[0-9]+(?:\.[0-9]+)?(?:E[+-]?[0-9]+)?|NaN|-?Infinity)|M(-?[0-9]+(?:\.[0-9]+)?)"
)


class NewtonsoftReader:
    """Reads serializer 1, and rows that name none. The manifest is not needed: the types stand in the JSON."""

    def __init__(self, identifier: int = NEWTONSOFT_ID) -> None:
        self._identifier = identifier

    @property
    def identifier(self) -> int:
        return self._identifier

    def from_bytes(self, data: bytes, manifest: str) -> object:
        text = data.decode()
        parsed = json.loads(text, object_pairs_hook=_object, parse_float=_fraction, parse_constant=_no_constant)
        return _Document().value(parsed)


READERS: Final = (NewtonsoftReader(NEWTONSOFT_ID), NewtonsoftReader(NO_SERIALIZER_ID))


class _Document:
    """One document: what has an `$id` is remembered before its content is read, since it may refer to itself."""

    def __init__(self) -> None:
        self._named: dict[str, object] = {}

    def value(self, parsed: Any) -> Any:
        if isinstance(parsed, list):
            return [self.value(one) for one in parsed]
        return self._of_object(parsed) if isinstance(parsed, dict) else parsed

    def _of_object(self, parsed: dict[str, Any]) -> object:
        if "$ref" in parsed:
            return self._referred(parsed)
        if "$" in parsed:
            return _number(parsed)
        if "$values" in parsed:
            return self._list(parsed)
        if "$value" in parsed and str(parsed.get("$type")).startswith(_BYTES):
            return base64.b64decode(_text("$value", parsed["$value"]), validate=True)
        return self._dict(parsed)

    def _referred(self, parsed: dict[str, Any]) -> object:
        if len(parsed) > 1:
            raise ValueError(f"a $ref stands alone, and here are {', '.join(parsed)}")
        name = _text("$ref", parsed["$ref"])
        if name not in self._named:
            raise ValueError(f"$ref {name!r} refers to nothing before it")
        return self._named[name]

    def _list(self, parsed: dict[str, Any]) -> list[object]:
        extra = parsed.keys() - {"$id", "$type", "$values"}
        if extra or not isinstance(parsed["$values"], list):
            raise ValueError(f"$values is a list and has only $id and $type beside it, not {', '.join(extra)}")
        made: list[object] = []
        self._remember(parsed, made)
        made.extend(map(self.value, parsed["$values"]))
        return made

    def _dict(self, parsed: dict[str, Any]) -> dict[str, object]:
        made: dict[str, object] = {}
        self._remember(parsed, made)
        made.update((key, self.value(one)) for key, one in parsed.items() if key != "$id")
        return made

    def _remember(self, parsed: dict[str, Any], made: object) -> None:
        if "$id" not in parsed:
            return
        name = _text("$id", parsed["$id"])
        if name in self._named:
            raise ValueError(f"$id {name!r} is given twice")
        self._named[name] = made


def _number(parsed: dict[str, Any]) -> int | float | Decimal:
    """Akka.NET's own form of numbers that JSON would confuse: Int32, Single and Decimal."""
    text = _text("$", parsed["$"])
    if len(parsed) > 1:
        raise ValueError(f"a number {text!r} stands alone, and here are {', '.join(parsed)}")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no number of Akka.NET: those begin with I, F or M, and digits follow")
    int32, single, exact = match.groups()
    if int32 is not None:
        return _int32(int(int32))
    return float(single) if single is not None else Decimal(exact)


def _int32(number: int) -> int:
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"I{number} is out of range: an Int32 of .NET has 32 bits")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"a name occurs twice in one object: {', '.join(name for name, _ in pairs)}")
    return made


def _fraction(text: str) -> float | Decimal:
    """17 digits say which double it is. More of them are those of a decimal, and so is what no double can hold."""
    exact = Decimal(text)
    number = float(exact)
    fits = len(exact.as_tuple().digits) <= _DIGITS_OF_A_DOUBLE and abs(number) != float("inf")
    return number if fits and bool(number) == bool(exact) else exact


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON; Json.NET writes such numbers as text")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is text, not {value!r}")
    return value
