"""What is true of each kind of file that matrices come from, whoever asks: a manifest, a command, the code of files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nqz.ground.dtypes import is_matrix_dtype


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
    bfloat16 : bool
        It can hold bfloat16.
    """

    name: str
    mark: bytes
    mark_at: int = 0
    alone: bool = False
    least_rank: int = 2
    metadata: bool = False
    any_layout: bool = False
    bfloat16: bool = False

    def has_mark(self, start: bytes | bytearray) -> bool:
        """Whether the first bytes of a file are those of this kind."""
        return start[self.mark_at : self.mark_at + len(self.mark)] == self.mark

    def is_matrix(self, shape: Sequence[int], dtype: str) -> bool:
        """Whether a tensor of such a file is a matrix to compress."""
        return is_matrix_dtype(dtype) and 0 not in shape and len(shape) >= self.least_rank


SOURCES = {
    kind.name: kind
    for kind in (
        SourceKind("npy", b"\x93NUMPY", alone=True, least_rank=1, any_layout=True),
        SourceKind("npz", b"PK\3\4", any_layout=True),
        SourceKind("safetensors", b"{", 8, metadata=True, bfloat16=True),
    )
}
"""All kinds of sources, by name. The names are part of the file format."""


def listed(names: Iterable[str] = SOURCES) -> str:
    """Suffixes in words: all of them, or those of some kinds."""
    *most, last = (f".{name}" for name in names)
    return f"{', '.join(most)} or {last}" if most else last


SEVERAL = tuple(kind.name for kind in SOURCES.values() if not kind.alone)
"""The kinds that hold any number of tensors."""

MAX_RANK = 64
MAX_EXTENT = (1 << 63) - 1
"""Bounds of a shape: dimensions, and indices of each."""

START_BYTES = max(kind.mark_at + len(kind.mark) for kind in SOURCES.values())
"""How many bytes of a file tell its kind."""
