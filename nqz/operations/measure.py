"""First pass over a tensor: content digest, column means and energies, and the search for non-finite entries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from nqz.codec.statistics import ColumnStatistics, total_energy
from nqz.errors import UnsupportedError

PIECE = 4 << 20
DIGEST_SIZE = 16


class PieceDigest:
    """The first 16 bytes of SHA-256 over the SHA-256s of consecutive 4 MiB pieces, whatever the sizes of the updates."""

    def __init__(self) -> None:
        self._outer = hashlib.sha256()
        self._inner = hashlib.sha256()
        self._room = PIECE

    def update(self, data) -> None:
        """Append bytes."""
        view = memoryview(data)
        while len(view):
            part = view[: self._room]
            self._inner.update(part)
            view = view[len(part) :]
            self._room -= len(part)
            if self._room == 0:
                self._outer.update(self._inner.digest())
                self._inner, self._room = hashlib.sha256(), PIECE

    def digest(self) -> bytes:
        """The digest of everything so far."""
        outer = self._outer.copy()
        if self._room < PIECE:
            outer.update(self._inner.digest())
        return outer.digest()[:DIGEST_SIZE]


@dataclass(frozen=True)
class Measured:
    """Result of the first pass: arrays of shape (columns,), energies in units of 4 ** exponent."""

    digest: bytes
    mean: np.ndarray
    energy: np.ndarray
    exponent: np.ndarray

    @property
    def total(self) -> tuple[float, int]:
        """Energy of the matrix as mantissa and exponent of two."""
        return total_energy(self.energy, self.exponent)


def measure(tensor, view, center: bool, where: str, progress=None) -> Measured:
    """Read a tensor once (twice if its magnitudes are extreme) and measure its columns.

    Parameters
    ----------
    tensor : SourceTensor
    view : VectorView
        Its vectors along the axis in question.
    center : bool
    where : str
        File and tensor, for messages.
    progress : callable, optional
        Called with the number of bytes read.

    Raises
    ------
    UnsupportedError
        An entry is not finite.
    """
    digest = PieceDigest()
    statistics = _pass(tensor, view, ColumnStatistics(view.count, center), digest, where, progress)
    exponent = statistics.rescaled()
    if exponent is not None:
        statistics = ColumnStatistics(view.count, center, exponent)
        _pass(tensor, view, statistics, None, where, None)
    mean, energy = statistics.result(view.length)
    return Measured(digest.digest(), mean, energy, statistics.exponent)


def _pass(tensor, view, statistics, digest, where, progress):
    bfloat16 = tensor.dtype == "bfloat16"
    for raw, coordinate, vector, block in view.slabs():
        if digest is not None:
            digest.update(raw)
        position = statistics.update(block, bfloat16, coordinate, vector)
        if position >= 0:
            i, j = divmod(position, block.shape[1])
            index = view.index(coordinate + i, vector + j)
            value = _kind(block[i, j], bfloat16)
            raise UnsupportedError(
                f"{where}: entry {list(index)} is {value}; nqz compresses finite values only, replace it first"
            )
        if progress is not None:
            progress(len(raw))
    return statistics


def _kind(value, bfloat16: bool) -> str:
    if bfloat16:
        value = (np.uint32(value) << np.uint32(16)).view(np.float32)
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
