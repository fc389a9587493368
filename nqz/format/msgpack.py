"""Canonical msgpack: one byte string for each value, bounded in size, depth and number of items.

The msgpack library accepts much that a canonical format must not: duplicate keys, long forms of small
integers, NaN, timestamps. It also allocates what a header declares. So the bytes are walked once before
it sees them, and what it returns must pack to the same bytes again.
"""

from __future__ import annotations

import math
import reprlib
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nqz.ground.errors import CorruptError, NqzError, UnsupportedError

MAX_DEPTH = 8
MAX_BYTES = 1_000_000
MAX_ITEMS = 1 << 22

Checker = Callable[[Any], bool]

# Tag -> size of the length field that follows it.
_STRINGS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def pack(value: Any) -> bytes:
    """Pack a value of None, bool, int, float, str, bytes, sequences and maps with str keys.

    Raises
    ------
    UnsupportedError
        A string is not valid Unicode (it holds a lone surrogate).
    NqzError
        The value is of another type, not finite, or nested deeper than 8 (a fault of the caller).
    """
    import msgpack

    _check_packable(value, 1)
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    except UnicodeEncodeError:
        raise UnsupportedError("a name or a metadata string is not Unicode text (a lone surrogate)") from None


def unpack(data: bytes, where: str, max_bytes: int = MAX_BYTES, max_items: int = MAX_ITEMS) -> Any:
    """Unpack one canonical value that fills `data`.

    Parameters
    ----------
    data : bytes
    where : str
        File, record and offset, for messages.
    max_bytes, max_items : int
        Bounds on the size of `data` and on the items declared in all its arrays and maps together.

    Raises
    ------
    CorruptError
        The bytes are not canonical, or beyond a bound.
    """
    import msgpack

    if len(data) > max_bytes:
        raise CorruptError(f"{where}: {len(data)} bytes where at most {max_bytes} are allowed")
    fault = _scan(data, max_items)
    if fault:
        raise CorruptError(f"{where}: {fault}")
    try:
        value = msgpack.unpackb(data, raw=False, object_pairs_hook=_unique_pairs)
        canonical = msgpack.packb(value, use_bin_type=True) == data
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise CorruptError(f"{where}: not a canonical value: {error}") from None
    if not canonical:
        raise CorruptError(f"{where}: not in canonical form")
    return value


def pack_fields(fields: Mapping[str, Any]) -> bytes:
    """Pack the values of a map, in its order, as a list: the names are known from the format.

    Raises
    ------
    NqzError
        It does not fit into 1 MB, or a value cannot be packed.
    """
    data = pack(list(fields.values()))
    if len(data) > MAX_BYTES:
        raise NqzError(f"internal error: fields of {len(data)} bytes, at most {MAX_BYTES} are allowed")
    return data


def unpack_fields(data: bytes, schema: Mapping[str, Checker], where: str = "list") -> dict[str, Any]:
    """Unpack a canonical list of at most 1 MB: one value for every key of `schema`, in its order.

    Parameters
    ----------
    data : bytes
    schema : mapping of str to callable
        For every key a function that tells whether a value is acceptable: those of this module
        (`is_str`, `one_of` …) or any other. Its attribute ``expects``, if any, goes into the message.
    where : str
        File, record and offset, for messages.

    Raises
    ------
    CorruptError
        The bytes are not canonical, values are missing or superfluous, or one is refused.
    """
    values = unpack(data, where)
    if not isinstance(values, list):
        raise CorruptError(f"{where}: a list is required")
    if len(values) != len(schema):
        names = ", ".join(schema)
        raise CorruptError(f"{where}: {len(values)} values, expected exactly {len(schema)}: {names}")
    fields = dict(zip(schema, values, strict=True))
    check_fields(fields, schema, where)
    return fields


def check_fields(value: Any, schema: Mapping[str, Checker], where: str) -> None:
    """Raise CorruptError unless `value` is a map with the keys of `schema`, in order, and proper values."""
    if not isinstance(value, dict):
        raise CorruptError(f"{where}: a map is required")
    if list(value) != list(schema):
        raise CorruptError(
            f"{where}: the keys are {reprlib.repr(list(value))}, expected {', '.join(schema)}, in this order"
        )
    for key, accepts in schema.items():
        if not accepts(value[key]):
            expects = getattr(accepts, "expects", "another value")
            raise CorruptError(f"{where}: {key} is {reprlib.repr(value[key])}, expected {expects}")


def checker(expects: str) -> Callable[[Checker], Checker]:
    """Attach to a checker what it expects, in words."""

    def attach(function: Checker) -> Checker:
        function.expects = expects  # type: ignore[attr-defined]
        return function

    return attach


@checker("a string")
def is_str(value: Any) -> bool:
    """Accept a string."""
    return isinstance(value, str)


@checker("a byte string")
def is_bytes(value: Any) -> bool:
    """Accept a byte string."""
    return isinstance(value, bytes)


@checker("an integer, 0 or more")
def is_uint(value: Any) -> bool:
    """Accept an integer from 0 to 2**64 - 1."""
    return type(value) is int and value >= 0


@checker("a floating-point number")
def is_float(value: Any) -> bool:
    """Accept a float; it is finite, since others are not canonical."""
    return isinstance(value, float)


def one_of(*allowed: Any) -> Checker:
    """Accept a value that equals one of `allowed` and is of the same type."""

    @checker("one of " + ", ".join(map(repr, allowed)))
    def accepts(value: Any) -> bool:
        return any(type(value) is type(item) and value == item for item in allowed)

    return accepts


def list_of(accepts_item: Checker, count: int | None = None) -> Checker:
    """Accept a list of acceptable items, of exactly `count` if that is given."""

    @checker("a list" + (f" of {count} items" if count is not None else ""))
    def accepts(value: Any) -> bool:
        return isinstance(value, list) and count in (None, len(value)) and all(map(accepts_item, value))

    return accepts


def optional(accepts_value: Checker) -> Checker:
    """Accept None or what `accepts_value` accepts."""

    @checker("nil or " + getattr(accepts_value, "expects", "another value"))
    def accepts(value: Any) -> bool:
        return value is None or accepts_value(value)

    return accepts


def _unique_pairs(pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    # A TypeError for an unhashable key and a ValueError for the rest both become CorruptError above.
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice")
    if not all(isinstance(key, str) for key in fields):
        raise ValueError("a key is not a string")
    return fields


def _check_packable(value: Any, depth: int) -> None:
    # Exact types: an extension type of the library is a tuple too.
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        if depth > MAX_DEPTH:
            raise NqzError(f"internal error: a value is nested deeper than {MAX_DEPTH}")
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                raise NqzError("internal error: a key of a map is not a string")
            value = value.values()
        for item in value:
            _check_packable(item, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NqzError("internal error: a number is not finite")
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise NqzError("internal error: an integer does not fit into 64 bits")
    elif not (value is None or isinstance(value, (str, bytes))):
        raise NqzError(f"internal error: a {type(value).__name__} cannot be packed")


def _scan(data: bytes, max_items: int) -> str | None:
    """Walk over the tags; return what is wrong, or None. Allocates a stack of MAX_DEPTH counts."""
    end = len(data)
    position = 0
    remaining = outstanding = 1  # items still to come: in the innermost collection, and in all
    declared = 0
    stack: list[int] = []
    while True:
        while remaining == 0:
            if not stack:
                if position > end:
                    return "the value is cut short"
                return f"{end - position} bytes follow the value" if position < end else None
            remaining = stack.pop()
        if position >= end:
            return "the value is cut short"
        remaining -= 1
        outstanding -= 1
        tag = data[position]
        position += 1
        if tag < 0x80 or tag >= 0xE0 or tag in (0xC0, 0xC2, 0xC3):
            continue
        if tag in _INTEGERS:
            position += _INTEGERS[tag]
        elif tag == 0xCB:
            if position + 8 <= end and not math.isfinite(struct.unpack_from(">d", data, position)[0]):
                return "a number is not finite"
            position += 8
        elif 0xA0 <= tag < 0xC0:
            position += tag & 0x1F
        elif tag in _STRINGS:
            width = _STRINGS[tag]
            position += width + int.from_bytes(data[position : position + width], "big")
        elif tag < 0xA0 or tag in _ARRAYS or tag in _MAPS:
            is_map = tag < 0x90 or tag in _MAPS
            if tag < 0xA0:
                count = tag & 0x0F
            else:
                width = _MAPS[tag] if is_map else _ARRAYS[tag]
                count = int.from_bytes(data[position : position + width], "big")
                position += width
            count *= 2 if is_map else 1
            outstanding += count
            declared += count
            # Every item takes at least one byte, so more items than bytes cannot be.
            if outstanding > end - position:
                return "a collection declares more items than there are bytes"
            if declared > max_items:
                return f"more than {max_items} items"
            stack.append(remaining)
            if len(stack) > MAX_DEPTH:
                return f"nested deeper than {MAX_DEPTH}"
            remaining = count
        else:
            return f"the type 0x{tag:02x} is not allowed"
