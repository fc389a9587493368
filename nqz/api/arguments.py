"""What callers give: checked here, so that whatever is wrong with an argument is an error of nqz that names it."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeAlias

import numpy as np

from nqz.files.access import MemoryAccess
from nqz.ground.dtypes import MATRIX_DTYPES, from_numpy, is_matrix_dtype, numpy_name
from nqz.ground.errors import UsageError
from nqz.ground.sizes import read_size

Path: TypeAlias = "str | os.PathLike[str]"
Source: TypeAlias = "Path | bytes | bytearray | memoryview | IO[bytes]"
"""A file: its path, an open binary file, or its contents."""

Target: TypeAlias = "Path | IO[bytes]"
"""Where a file is written to."""


Rules: TypeAlias = "Mapping[str, float | str] | Sequence[str]"
"""What becomes of some tensors."""


def rule_texts(value: Any) -> tuple[str, ...]:
    """Rules as ``PATTERN=ITEM``; none for None."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and isinstance(item, (str, int, float)) for key, item in value.items()):
            return tuple(f"{key}={item}" for key, item in value.items())
        raise UsageError(
            f"rules {_shown(value)}: names or shell patterns are needed, with a rate or a word each"
        )
    return patterns(value, "rules")


def is_file(value: Any) -> bool:
    """Whether it is a path, a binary file object, or the contents of a file, and no array."""
    kinds = (str, bytes, bytearray, memoryview, os.PathLike)
    return isinstance(value, kinds) or hasattr(value, "read") or is_stored(value)


def is_stored(value: Any) -> bool:
    """Whether it is an object of fsspec, open or not."""
    return hasattr(value, "fs") and isinstance(getattr(value, "path", None), str)


def patterns(value: Any, name: str) -> tuple[str, ...]:
    """Strings, one or several; none for None."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise UsageError(f"{name} {_shown(value)}: a string, or several, are needed")


def numbers(values: Any, name: str, kind: type[float]) -> list[Any]:
    """Numbers, one or several."""
    several = [values] if isinstance(values, (int, float)) else values
    try:
        return [(whole if kind is int else real)(value, name) for value in several]
    except TypeError:
        raise UsageError(f"{name} {_shown(values)}: numbers are needed") from None


def real(value: Any, name: str) -> Any:
    """A number as a float; None as it is."""
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} {_shown(value)}: a number is needed") from None


def whole(value: Any, name: str, *, optional: bool = False) -> Any:
    """An integer; None as it is where it is `optional`."""
    if value is None and optional:
        return None
    try:
        return operator.index(value) + 0  # a bool is an integer, too
    except TypeError:
        raise UsageError(f"{name} {_shown(value)}: an integer is needed") from None


def size(value: Any, name: str) -> Any:
    """A number of bytes, perhaps as a text with a unit; None as it is."""
    if not isinstance(value, str):
        return whole(value, name, optional=True)
    try:
        return read_size(value)
    except UsageError as error:
        raise UsageError(f"{name} {error}") from None


def word(value: Any, name: str, *, optional: bool = False) -> Any:
    """A string; None as it is where it is `optional`."""
    if isinstance(value, str) or (value is None and optional):
        return value
    raise UsageError(f"{name} {_shown(value)}: a string is needed")


def texts(value: Any, name: str) -> dict[str, str]:
    """A mapping of strings to strings; None as an empty one."""
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(x, str) for pair in value.items() for x in pair):
        return dict(value)
    raise UsageError(f"{name} {_shown(value)}: a mapping of strings to strings is needed")


def flag(value: Any, name: str) -> bool:
    """A truth value."""
    try:
        return bool(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} {_shown(value)}: True or False is needed") from None


def float_type(dtype: Any) -> np.dtype[Any]:
    """A floating-point type that matrices may have; `UsageError` for any other."""
    try:
        wanted: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):  # a string with half of a surrogate pair is a ValueError
        known = isinstance(dtype, str) and dtype in MATRIX_DTYPES and numpy_name(dtype) is None
        advice = f"; pass ml_dtypes.{dtype}" if known else ""
        raise UsageError(f"dtype {_shown(dtype)}: a floating-point type is needed{advice}") from None
    if not is_matrix_dtype(canonical_name(wanted)):
        raise UsageError(f"dtype {wanted}: one of {', '.join(MATRIX_DTYPES)} is needed")
    return wanted


def array_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An array to write to, once it is found to be one of this shape and type."""
    if not isinstance(out, np.ndarray) or not out.flags.writeable:
        raise UsageError(f"out {_shown(type(out).__name__)}: an array of numpy that can be written is needed")
    if out.shape != shape or out.dtype != dtype:
        raise UsageError(f"out: is of shape {out.shape} and {out.dtype}, and {shape} and {dtype} are needed")
    return out


def canonical_name(dtype: np.dtype[Any]) -> str:
    """Name of a type in a container; empty for one that it does not know."""
    known = from_numpy(dtype)
    return "" if known is None else known[0]


def as_target(source: Any) -> Any:
    """Bytes as a file in memory; paths and file objects as they are."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return MemoryAccess(memoryview(source).toreadonly(), "<bytes>")
    return source


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
