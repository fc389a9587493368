"""Canonical msgpack: one byte string for each value, bounded in size, depth and number of items.

The msgpack library accepts much that a canonical format must not: duplicate keys, long forms of small integers, NaN,
extension types. So what it returns must pack to the same bytes again, and is looked at value by value where its form
is not known. It allocates what the header of an array declares, for which it is given a bound.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from nqz.ground.errors import CorruptError, NqzError, UnsupportedError

MAX_DEPTH = 8
MAX_ITEMS = 1024
"""Items of an array, but for the list of tensors."""

Checker = Callable[[Any], bool]


def pack(value: Any) -> bytes:
    """Pack a value of None, bool, int, float, str, bytes, sequences and maps with str keys.

    Raises
    ------
    UnsupportedError
        A string is not valid Unicode (it holds a lone surrogate).
    NqzError
        The value is of another type, not finite, or nested deeper than 8 (a fault of the caller).
    """
    fault = fault_of(value)
    if fault is not None:
        raise NqzError(f"internal error: {fault}")
    return packed(value)


def packed(value: Any) -> bytes:
    """Pack a value that is known to be packable, but for strings that are not Unicode."""
    import msgpack

    try:
        data: bytes = msgpack.packb(value, use_bin_type=True)
        return data
    except UnicodeEncodeError:
        raise UnsupportedError("a name or a metadata string is not Unicode text (a lone surrogate)") from None


class Source:
    """Values of a byte string, one after the other; no more memory is taken than a few times what is there.

    Parameters
    ----------
    data : bytes
    where : str
        File, record and offset, for messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        import msgpack

        self._where, self._size = where, len(data)
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=max(1, len(data)), max_array_len=MAX_ITEMS, max_map_len=len(data), max_ext_len=0
        )
        self._unpacker.feed(data)

    @property
    def position(self) -> int:
        """How many bytes have been taken."""
        return int(self._unpacker.tell())

    def next(self) -> Any:
        """The next value, whose form is not looked at yet."""
        return self._taken(self._unpacker.unpack)

    def several(self, count: int) -> list[Any]:
        """The next values, whose form is not looked at yet."""
        unpack = self._unpacker.unpack
        values: list[Any] = self._taken(lambda: [unpack() for _ in range(count)])
        return values

    def map(self) -> int:
        """The number of pairs of a map, which follow."""
        return self._count(self._unpacker.read_map_header, 2)

    def array(self) -> int:
        """The number of items of an array, which follow."""
        return self._count(self._unpacker.read_array_header, 1)

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.position != self._size:
            raise CorruptError(f"{self._where}: {self._size - self.position} bytes follow the value")

    def _count(self, read: Callable[[], Any], least: int) -> int:
        count = int(self._taken(read))
        if least * count > self._size - self.position:
            raise CorruptError(f"{self._where}: a collection declares more items than there are bytes")
        return count

    def _taken(self, read: Callable[[], Any]) -> Any:
        import msgpack

        try:
            return read()
        except msgpack.OutOfData:
            raise CorruptError(f"{self._where}: the value is cut short") from None
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise CorruptError(f"{self._where}: not a canonical value: {error}") from None


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


def named(values: Any, schema: Mapping[str, Checker], where: str) -> dict[str, Any]:
    """The values of a list by name: one proper value for every key of `schema`, in its order.

    Raises
    ------
    CorruptError
        Not a list, values are missing or superfluous, or one is refused.
    """
    if not isinstance(values, list):
        raise CorruptError(f"{where}: a list is required")
    if len(values) != len(schema):
        names = ", ".join(schema)
        raise CorruptError(f"{where}: {len(values)} values, expected exactly {len(schema)}: {names}")
    fields = dict(zip(schema, values, strict=True))
    check_fields(fields, schema, where)
    return fields


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


@checker("an integer")
def is_int(value: Any) -> bool:
    """Accept an integer from -2**63 to 2**64 - 1."""
    return type(value) is int


@checker("an integer, 0 or more")
def is_uint(value: Any) -> bool:
    """Accept an integer from 0 to 2**64 - 1."""
    return type(value) is int and value >= 0


@checker("a floating-point number")
def is_float(value: Any) -> bool:
    """Accept a float; it is finite, since others are not canonical."""
    return isinstance(value, float)


@checker("a name and a list of parameters")
def is_named_list(value: Any) -> bool:
    """Accept a list of a str and a list."""
    return isinstance(value, list) and [type(item) for item in value] == [str, list]


def one_of(*allowed: Any) -> Checker:
    """Accept a value that equals one of `allowed` and is of the same type."""

    @checker("one of " + ", ".join(map(repr, allowed)))
    def accepts(value: Any) -> bool:
        return any(type(value) is type(item) and value == item for item in allowed)

    return accepts


def optional(accepts_value: Checker) -> Checker:
    """Accept None or what `accepts_value` accepts."""

    @checker("nil or " + getattr(accepts_value, "expects", "another value"))
    def accepts(value: Any) -> bool:
        return value is None or accepts_value(value)

    return accepts


def either(*accepts_value: Checker) -> Checker:
    """Accept what one of some accepts."""

    @checker(" or ".join(getattr(one, "expects", "another value") for one in accepts_value))
    def accepts(value: Any) -> bool:
        return any(one(value) for one in accepts_value)

    return accepts


def fault_of(value: Any, depth: int = 1) -> str | None:
    """Say why a value cannot be in canonical form, None if it can."""
    # exact types: an extension type of the library is a tuple too
    if isinstance(value, Mapping) or type(value) in (list, tuple):
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH}"
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                return "a key of a map is not a string"
            value = value.values()
        elif len(value) > MAX_ITEMS:
            return f"an array of more than {MAX_ITEMS} items"
        return next((fault for item in value if (fault := fault_of(item, depth + 1)) is not None), None)
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number is not finite"
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 64 else "an integer does not fit into 64 bits"
    if value is None or isinstance(value, (str, bytes)):
        return None
    return f"a {type(value).__name__} cannot be packed"
