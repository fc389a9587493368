"""Blocks of larger arrays, each compressed by itself, for formats that divide arrays in chunks."""

from __future__ import annotations

import json
import math
import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.container import open as open_container
from nqz.api.encoding import encode
from nqz.api.matrix import CompressedMatrix
from nqz.ground.errors import CorruptError, UnsupportedError, UsageError
from nqz.ground.sources import MAX_RANK

_KEY = "block"
"""Of the metadata: the shape of the block, and of the part of it that is coded, where these are not the matrix'."""

_TARGETS = ("rate", "error", "max_bytes")
_OPTIONS = (
    *_TARGETS, "lattice", "states", "coding", "window", "allocate", "center", "kappa", "partner", "seed",
)  # fmt: skip

_SAMPLE, _KEPT = 256, 16
"""So many entries of a block tell whether it is another, and of so many blocks they are kept."""


MOST = (1 << 31) - 1
"""Bytes of a block at most where nobody says how large it is to be, as of all buffers of numcodecs."""


def check_options(options: Mapping[str, Any], axis: Any = 0) -> None:
    """Raise UsageError for what `encode_block` does not take."""
    if type(axis) is not int:
        raise UsageError(f"the nqz codec has axis={axis!r:.40}; an integer is needed")
    unknown = set(options) - set(_OPTIONS)
    if unknown:
        raise UsageError(f"the nqz codec has no option {min(unknown)!r}; it has axis, {', '.join(_OPTIONS)}")
    if sum(options.get(name) is not None for name in _TARGETS) != 1:
        raise UsageError("the nqz codec needs one of rate, error and max_bytes")


def encode_block(array: npt.NDArray[Any], axis: int, options: Mapping[str, Any]) -> bytes:
    """Compress a block; what is constant along its ends, as beyond the end of an array, is left out, and comes back.

    Parameters
    ----------
    array : ndarray
        Of at least one dimension.
    axis : int
        Along which the vectors lie.
    options : mapping
        Of `nqz.encode`.

    Raises
    ------
    UnsupportedError
        There are entries that are not finite, elsewhere than at the ends.
    UsageError
        An option makes no sense, or there is no such axis.
    """
    if not -array.ndim <= axis < array.ndim:
        raise UsageError(f"the nqz codec has axis={axis}, and the array {array.ndim} of them")
    fill = array.reshape(-1)[-1] if array.size else array.dtype.type(0)
    inside = array[tuple(slice(0, length) for length in _lengths(array, fill))]
    matrix, plain = inside, array.ndim == 2
    if not plain:
        moved = np.moveaxis(inside, axis, 0)
        matrix = moved.reshape(moved.shape[0], -1) if inside.size else np.zeros((0, 0), array.dtype)
    metadata = {}
    if not plain or inside.shape != array.shape:
        metadata[_KEY] = json.dumps([array.shape, inside.shape, float(fill).hex()], separators=(",", ":"))
    if matrix.size and not np.isfinite(matrix).all():
        raise UnsupportedError(
            "a chunk has NaN or infinite entries, which nqz does not compress: beyond the end of an array they are "
            "left out; elsewhere fill them in, and keep a mask in an array of its own"
        )
    found: bytes = encode(
        matrix, axis=axis % 2 if plain else 0, metadata=metadata, threads=1,
        **{name: value for name, value in options.items() if value is not None},
    )  # fmt: skip
    return found


def decode_block(
    data: bytes, axis: int, shape: tuple[int, ...] | None = None, dtype: Any = None, most: int = MOST
) -> npt.NDArray[Any]:
    """Rebuild a block.

    Parameters
    ----------
    data : bytes
        What `encode_block` gave.
    axis : int
        What it was encoded with.
    shape : tuple of int, optional
        That of the block; by default what `data` says.
    dtype : dtype, optional
        By default that of the matrix.
    most : int
        Bytes that it may have where `shape` is not given.

    Raises
    ------
    CorruptError
        It is damaged, or is a block of another array.
    """
    with open_container(data) as container:
        tensors = list(container.values())
        if len(tensors) != 1:
            raise CorruptError(f"a chunk has {len(tensors)} tensors, and is no chunk of an array")
        tensor = tensors[0]
        full: tuple[int, ...] = tensor.shape
        inside, fill, about = full, 0.0, (container.metadata or {}).get(_KEY)
        if about is not None:
            full, inside, fill = _described(about)
        wanted = tensor.dtype if dtype is None else dtype
        if shape is None and math.prod(full) * np.dtype(wanted).itemsize > most:
            raise CorruptError(f"a chunk says that it has shape {full}, which is more than {most} bytes")
        lengths = _matrix_of(inside, axis)
        # before anything is decoded, for what a container says may be any size
        if (
            full != (full if shape is None else tuple(shape))
            or lengths is None
            or not _holds(tensor, lengths)
        ):
            raise CorruptError(f"a chunk has shape {full}, and chunks of the array {shape}: it is another's")
        # without entries it is no matrix
        entries = (
            tensor.decode(wanted, threads=1) if isinstance(tensor, CompressedMatrix) else np.zeros(0, wanted)
        )
    if len(full) == 2:
        entries = entries.reshape(inside)
    else:
        others = [length for at, length in enumerate(inside) if at != axis % len(inside)]
        entries = np.moveaxis(entries.reshape(inside[axis], *others), 0, axis)
    if inside == full:
        return np.ascontiguousarray(entries)
    out = np.full(full, fill, dtype=entries.dtype)
    out[tuple(slice(0, length) for length in inside)] = entries
    return out


def _described(about: str) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """What metadata say of a block: its shape, that of the part that is coded, and what is in the rest."""
    try:
        full, inside, digits = json.loads(about)
        fill = float.fromhex(digits)
        fits = len(full) == len(inside) <= MAX_RANK and all(
            type(part) is type(length) is int and 0 <= part <= length < 1 << 62
            for part, length in zip(inside, full, strict=True)
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        fits = False
    if not fits:
        raise CorruptError(f"a chunk: the shape in its metadata is damaged: {about!r:.80}")
    return tuple(full), tuple(inside), fill


def _matrix_of(inside: tuple[int, ...], axis: int) -> tuple[int, int] | None:
    """The shape of the matrix that a part of a block is coded as; None if it has no such axis."""
    if not -len(inside) <= axis < len(inside):
        return None
    if len(inside) == 2:
        return inside[0], inside[1]
    return inside[axis], math.prod(length for at, length in enumerate(inside) if at != axis % len(inside))


def _holds(tensor: Any, lengths: tuple[int, int]) -> bool:
    """Whether a tensor is the matrix of such a shape; without entries it is of any shape without."""
    return tuple(tensor.shape) == lengths or 0 == math.prod(tensor.shape) == math.prod(lengths)


def _lengths(array: npt.NDArray[Any], fill: Any) -> list[int]:
    """How long a block is along each axis, without what is `fill` at its end."""
    other = ~np.isnan(array) if np.isnan(fill) else array != fill
    found = []
    for axis in range(array.ndim):
        somewhere = np.flatnonzero(other.any(axis=tuple(at for at in range(array.ndim) if at != axis)))
        found.append(int(somewhere[-1]) + 1 if len(somewhere) else 0)
    return found


class Again:
    """Tells blocks that have been decoded, and are coded again: their error is added to that of before."""

    def __init__(self) -> None:
        self._kept: deque[tuple[tuple[int, ...], npt.NDArray[Any]]] = deque(maxlen=_KEPT)

    def remember(self, array: npt.NDArray[Any]) -> None:
        """A block has been decoded."""
        sample = _sample(array)
        ordered = np.sort(sample)  # not np.unique, which imports numpy.ma
        if (
            np.count_nonzero(ordered[1:] != ordered[:-1]) >= _SAMPLE // 8
        ):  # else they could be equal by chance
            self._kept.append((array.shape, sample))

    def warn(self, array: npt.NDArray[Any]) -> None:
        """A block is going to be coded."""
        sample = _sample(array)
        for shape, kept in tuple(self._kept):
            if shape == array.shape and np.mean(sample == kept) > 0.25:
                warnings.warn(
                    "a chunk that had been compressed with loss is decoded, changed and compressed again, which adds a "
                    "second error to the first, so that a stated error is no longer true: write whole chunks, once, or "
                    "state it again",
                    stacklevel=2,
                )
                return


def _sample(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = array.reshape(-1)
    sample: npt.NDArray[Any] = flat[:: max(1, flat.size // _SAMPLE)][:_SAMPLE].copy()
    return sample
