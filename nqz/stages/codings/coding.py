"""The contract of a coding, and what the codings of lattice points share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nqz.stages import scale

if TYPE_CHECKING:
    from nqz.stages.lattices import Lattice
    from nqz.stages.panels import Chunk
    from nqz.stages.parameters import Parameters

Sections = tuple[npt.NDArray[Any], ...]
"""The arrays of a chunk, in the order of the file; `nqz.format.chnk` lays them out."""


class Coder(ABC):
    """Codes the chunks of one matrix. A plain value: it can be pickled, and chunks may be coded anywhere, in any order."""

    @abstractmethod
    def columns(self, classes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """What the coder has to know of each column of a panel, from their classes; one number a column."""

    @abstractmethod
    def working_points(self, chunk: Chunk) -> int:
        """Points that are worked on for a chunk: its own, and those that fill up its last groups."""

    @abstractmethod
    def encode_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        factors: npt.NDArray[np.float32],
        u: npt.NDArray[np.float32],
        points: npt.NDArray[np.int32],
    ) -> tuple[Sections, tuple[int, int]]:
        """Code one chunk.

        Parameters
        ----------
        chunk : Chunk
        columns : ndarray
            What `columns` says of the panel's columns, in the order of the stream.
        factors : ndarray
            What `Coding.forward` says of them, in that order.
        u : ndarray, shape (chunk.count,)
            The chunk's piece of the panel's stream.
        points : ndarray, shape (working_points,)
            Working memory.

        Returns
        -------
        sections : tuple of ndarray
        moments : tuple of int
            Σ t y and Σ y² over the chunk, t the scaled entry in fixed point, where the coding needs them; else zeros.
        """

    @abstractmethod
    def sizes(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Lengths of those sections whose lengths follow from the parameters and the columns, in their order."""

    @abstractmethod
    def decode_chunk(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections, out: npt.NDArray[np.int32]
    ) -> None:
        """Points of a chunk to `out`, shape (chunk.count,); ValueError if the sections are inconsistent."""


class Coding(ABC):
    """A way from rotated columns to the arrays of chunks and back to integers; see the package for the contract.

    Attributes
    ----------
    name : str
        In files.
    allocations : tuple of str
        The ways to share scale among columns that it knows, the usual one first.
    """

    name: str
    allocations: tuple[str, ...]

    @abstractmethod
    def takes(self, lattice: Lattice) -> bool:
        """Whether it codes points of this lattice."""

    @abstractmethod
    def check(self, parameters: Parameters) -> None:
        """Raise ValueError unless the parameters are such as it can code with: lattice, allocation, and its own."""

    @abstractmethod
    def scaling(self, parameters: Parameters, codes: npt.NDArray[np.int64]) -> scale.Scaling:
        """What each column costs and how noisy it is, from its norm code: class, whether it is coded, relative noise."""

    @abstractmethod
    def forward(self, parameters: Parameters, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Factors from rotated columns, divided by 2 ** `scale.exponents`, to what `Coder.encode_chunk` takes."""

    @abstractmethod
    def unit(
        self, parameters: Parameters, codes: npt.NDArray[np.int64], exponent: int = 0
    ) -> npt.NDArray[np.float64]:
        """What one unit of a decoded point is worth, without bias, in each column, in units of 2 ** exponent."""

    @abstractmethod
    def coder(self, parameters: Parameters, classes: npt.NDArray[Any]) -> Coder:
        """A coder for columns of the given classes: here its tables are built."""

    def __reduce__(self) -> tuple[Callable[[str], Coding], tuple[Any, ...]]:
        return _by_name, (self.name,)  # there is one of each, in other processes too


class LatticeCoding(Coding):
    """What the codings of points of a dithered lattice share: one lattice scale Δ, and a class from e/Δ² + D."""

    def scaling(self, parameters: Parameters, codes: npt.NDArray[np.int64]) -> scale.Scaling:
        p = parameters
        return scale.scaling(codes, p.n, p.lattice, p.delta, p.allocate, p.lowest_class)

    def forward(self, parameters: Parameters, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return scale.forward(codes, parameters.delta, parameters.allocate)

    def unit(
        self, parameters: Parameters, codes: npt.NDArray[np.int64], exponent: int = 0
    ) -> npt.NDArray[np.float64]:
        return scale.backward(codes, parameters.delta, parameters.allocate, parameters.lattice, exponent)


def _by_name(name: str) -> Coding:
    from nqz.stages.codings import CODINGS

    return CODINGS[name]
