"""Canonical JSON: one value has one byte sequence. PURE.

Rules: UTF-8 without a byte order mark; object keys sorted by code point; no white space; no floats, only integers within
±(2^53 - 1), so that every JSON reader sees the same number; no duplicate names. For the plain ASCII keys used here this
equals RFC 8785 (JCS).

The reader checks the size first, parses, then writes the value again and compares bytes: what is not canonical is refused. Who has a
schema that is written again as a whole takes `read_json` and compares once.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from crypto.errors import CanonicalJsonError

MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exactly (RFC 8259, section 6)
MAX_INTEGER_DIGITS = 17  # "-9007199254740991"


def canonical_json(value: Any) -> bytes:
    """The one byte sequence of a value made of objects, arrays, strings, integers, booleans and null."""
    _check(value)
    try:
        return _ENCODER.encode(value).encode()
    except (UnicodeEncodeError, RecursionError) as err:
        raise CanonicalJsonError(
            "The value has no canonical JSON form: a broken character or too deep a nest."
        ) from err


def read_canonical_json(data: bytes, limit_bytes: int, name: str) -> dict[str, Any]:
    """The object that `data` is the canonical form of; `name` says in errors which document it was."""
    value = read_json(data, limit_bytes, name)
    if canonical_json(value) != data:
        raise CanonicalJsonError(f"The {name} is not in canonical form.")
    return value


def read_json(data: bytes, limit_bytes: int, name: str) -> dict[str, Any]:
    """The object in `data`, which may have another form: the caller writes what he made of it again, and compares."""
    if len(data) > limit_bytes:
        raise CanonicalJsonError(f"The {name} is {len(data)} bytes long; {limit_bytes} is the limit.")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as err:
        raise CanonicalJsonError(f"The {name} is not JSON in UTF-8.") from err
    if not isinstance(value, dict):
        raise CanonicalJsonError(f"The {name} is not a JSON object.")
    return value


def _check(value: Any) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if item is None or isinstance(item, (str, bool)):  # not `str | bool`, which is made anew each time
            continue
        if isinstance(item, int):
            if abs(item) > MAX_INTEGER:
                raise CanonicalJsonError("An integer is too large for canonical JSON.")
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise CanonicalJsonError("An object key is not a string.")
            pending.extend(item.values())
        else:
            raise CanonicalJsonError(f"A value of type {type(item).__name__} has no canonical JSON form.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CanonicalJsonError("A JSON object names a key twice.")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise CanonicalJsonError("An integer is too large for canonical JSON.")
    return int(text)


def _refuse_number(_text: str) -> NoReturn:
    raise CanonicalJsonError("Canonical JSON holds no floats; write an integer or a string.")


# Made once: json.dumps and json.loads make them anew for each call with options.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number, parse_int=_integer
)
