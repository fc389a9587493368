"""What callers give to be encoded: an array, a mapping of names to arrays, or a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from nqz.api.arguments import as_target, is_file
from nqz.api.interchange import as_plain
from nqz.commands.opening import Opened, is_model, open_file
from nqz.files.access import MemoryAccess
from nqz.files.contract import Source
from nqz.files.rectangle import is_sliceable, sliceable_tensor
from nqz.files.source import array_source, refuse_masked
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.urls import suffix


def is_model_source(source: Any) -> bool:
    """Whether it is a model on the disk: a folder, an index, or a list of files."""
    return is_model(source) or are_files(source)


def are_files(source: Any) -> bool:
    """Whether it is a list of files, and no array."""
    return isinstance(source, (list, tuple)) and len(source) > 0 and all(map(is_file, source))


def folder(to: Any) -> str:
    """The folder that a model is written to."""
    if isinstance(to, (str, os.PathLike)):
        path = os.fsdecode(to)
        found = suffix(path)
        if found in (*SOURCES, "nqz"):  # whoever opens it would take it for a file
            raise UsageError(f"{to}: a model becomes a folder; name it without .{found}")
        return path
    raise UsageError("a model on the disk becomes a folder; give its path, to=")


def opened_source(source: Any) -> Opened:
    """What is to be encoded, open."""
    if is_file(source):
        return open_file(as_target(source), container=False)
    content = model_source(source) if isinstance(source, Mapping) else _array(source)
    return Opened(content, MemoryAccess(b"", content.name))


def opened_array(value: Any, name: str = "<array>") -> Opened:
    """An array, open: read by slices where it is not in memory."""
    plain = isinstance(value, np.ndarray) and (value.flags.c_contiguous or value.flags.f_contiguous)
    if not plain and is_sliceable(value):
        refuse_masked(value, name)
        memory = MemoryAccess(b"", name)
        return Opened(Source(SOURCES["npy"], name, [sliceable_tensor(value, name)], None, memory), memory)
    return Opened(_array(value, name), MemoryAccess(b"", name))


def model_source(tensors: Mapping[str, Any], name: str = "<mapping>") -> Source:
    """Arrays in memory, as the .safetensors file that they would make.

    Raises
    ------
    UsageError
        A name is none.
    UnsupportedError
        A value is no array, or of a type that such a file cannot hold.
    """
    kind, found = SOURCES["safetensors"], []
    for key, value in tensors.items():
        fault = kind.name_fault(key) if isinstance(key, str) else "is no string"
        if fault is not None:
            raise UsageError(f"{name}: a tensor cannot be called {key!r}: it {fault}")
        where = f"{name}: tensor {key!r}"
        if isinstance(value, Mapping):
            raise UnsupportedError(f"{where}: is a mapping itself; every array needs a name of its own")
        [tensor] = _array(value, where, in_order=True).tensors
        if not kind.holds(tensor.dtype):
            raise UnsupportedError(f"{where}: entries of {tensor.dtype} are not supported in a mapping")
        tensor.name = key
        found.append(tensor)
    return Source(kind, name, found, None, MemoryAccess(b"", name))


def _array(value: Any, name: str = "<array>", *, in_order: bool = False) -> Source:
    """An array in memory as a source; `in_order`: little-endian and in C order, copied if it is not."""
    plain = as_plain(value, name)
    array = plain.array
    refuse_masked(array, name)
    if in_order:
        little = array.dtype.newbyteorder("<") if array.dtype.kind in "iufc" else array.dtype
        array = np.asarray(array, little, order="C")
    return array_source(array, name, dtype=plain.dtype)
