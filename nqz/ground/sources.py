"""What is true of each kind of file that matrices come from, whoever asks: a manifest, a command, the code of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nqz.ground.dtypes import is_matrix_dtype, to_npy_descr, to_safetensors

_ZIP_NAME_BYTES = 0xFFFF


@dataclass(frozen=True)
class SourceKind:
    """A kind of file, by the facts on which the rest of the program depends.

    Attributes
    ----------
    name : str
        What manifests call it; its suffix without the dot.
    mark, mark_at : bytes, int
        What every such file has at this offset. Where the offset is not 0, the bytes before are a length.
    alone : bool
        It holds exactly one array, which has no name. The rate then counts the whole container, and what cannot be
        compressed is refused, where tensors of a file of several are carried exactly.
    least_rank : int
        Dimensions from which on a tensor of floating-point numbers is a matrix. Below, it is carried exactly.
    metadata : bool
        It may carry a map of strings beside its tensors.
    any_layout : bool
        It can hold Fortran-order and big-endian arrays, which then keep their form.
    holds : callable
        holds(dtype) tells whether it can hold entries of a type.
    name_fault : callable
        name_fault(name) tells why a tensor cannot have a name, None if it can.
    """

    name: str
    mark: bytes
    mark_at: int = 0
    alone: bool = False
    least_rank: int = 2
    metadata: bool = False
    any_layout: bool = False
    holds: Callable[[str], bool] = lambda dtype: to_npy_descr(dtype, "<") is not None
    name_fault: Callable[[str], str | None] = lambda name: None

    def tensor_fault(self, dtype: str, order: str, byte_order: str, exact: bool) -> str | None:
        """Tell why it cannot hold a tensor, None if it can."""
        if exact and not self.holds(dtype):  # matrices can be converted
            return f"{dtype} entries"
        if not self.any_layout and (order == "F" or byte_order == ">"):
            return "Fortran or big-endian order"
        return None

    def has_mark(self, start: bytes | bytearray) -> bool:
        """Whether the first bytes of a file are those of this kind."""
        return start[self.mark_at : self.mark_at + len(self.mark)] == self.mark

    def is_matrix(self, shape: Sequence[int], dtype: str) -> bool:
        """Whether a tensor of such a file is a matrix to compress."""
        return is_matrix_dtype(dtype) and 0 not in shape and len(shape) >= self.least_rank


def path_fault(name: str) -> str | None:
    """Tell what is wrong with a name where archives are unpacked, if anything."""
    if "\0" in name:
        return "contains a NUL"
    if "\\" in name:
        return "contains a backslash"
    if name.startswith("/") or re.match("[A-Za-z]:/", name):
        return "is an absolute path"
    return "leads out of its folder" if ".." in name.split("/") else None


def _npz_name_fault(name: str) -> str | None:
    if len(name.encode()) + len(".npy") > _ZIP_NAME_BYTES:
        return "is too long"
    return path_fault(name)


SOURCES = {
    kind.name: kind
    for kind in (
        SourceKind(
            "npy",
            b"\x93NUMPY",
            alone=True,
            least_rank=1,
            any_layout=True,
            name_fault=lambda name: "is a name" if name else None,
        ),
        SourceKind("npz", b"PK\3\4", any_layout=True, name_fault=_npz_name_fault),
        SourceKind(
            "safetensors",
            b"{",
            8,
            metadata=True,
            holds=lambda dtype: to_safetensors(dtype) is not None,
            name_fault=lambda name: "is kept for metadata" if name == "__metadata__" else None,
        ),
    )
}
"""All kinds of sources, by name. The names are part of the file format."""


READ = (*SOURCES, "gguf")
"""What can be read, by suffix. What a .gguf file has counts as if a .safetensors file had it, which is written."""


def listed(names: Iterable[str] = READ) -> str:
    """Suffixes in words: of all that can be read, or some."""
    *most, last = (f".{name}" for name in names)
    return f"{', '.join(most)} or {last}" if most else last


SEVERAL = tuple(kind.name for kind in SOURCES.values() if not kind.alone)
"""The kinds that hold any number of tensors."""

SEVERAL_READ = (*SEVERAL, *(name for name in READ if name not in SOURCES))
"""The suffixes of files that do."""

MAX_RANK = 64
MAX_EXTENT = (1 << 63) - 1
"""Bounds of a shape: dimensions, and indices of each."""

START_BYTES = max(kind.mark_at + len(kind.mark) for kind in SOURCES.values())
"""How many bytes of a file tell its kind."""
