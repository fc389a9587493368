"""The contract of a coding, and what the codings of lattice points share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import GRID
from nqz.ground.layout import padded
from nqz.stages import dither, scale
from nqz.stages.chunks import Chunk, cut
from nqz.stages.dependence import Dependence
from nqz.stages.lattices import LATTICES, Lattice
from nqz.stages.norms import Histogram

_MAX_DELTA = 8192 * GRID

Moments = tuple[int, ...] | npt.NDArray[np.int64]
"""What a coding measures while it codes a chunk: sums, for its planner, or numbers for each column."""

Exponent = int | npt.NDArray[np.int64]
"""Of a power of two: one, or one for each column."""

Sections = tuple[npt.NDArray[Any], ...]
"""The arrays of a chunk, in the order of the file; `nqz.format.chnk` lays them out."""


class MatrixParameters(Protocol):
    """What a coding sees of the parameters of a matrix; see `nqz.stages.parameters`."""

    @property
    def n(self) -> int:
        """Length of a column."""

    @property
    def m(self) -> int:
        """Kept coordinates of each."""

    @property
    def lattice(self) -> Lattice | None:
        """The fine lattice, if there is one."""

    @property
    def allocate(self) -> str:
        """How columns share the scale."""

    @property
    def delta(self) -> int:
        """Code of the lattice scale."""

    @property
    def lowest_class(self) -> int:
        """Columns of lower classes are dropped."""

    @property
    def octaves(self) -> int:
        """Of the energy of the loudest columns above the lattice scale."""

    @property
    def norm_step(self) -> int:
        """Of what norm codes differ by multiples."""

    @property
    def dither_key(self) -> bytes:
        """Key of the dither."""

    @property
    def coding_parameters(self) -> Any:
        """The coding's own parameters."""


class Coder(ABC):
    """Codes the chunks of one matrix: a plain value, so chunks may be coded in any process, in any order."""

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
    ) -> tuple[Sections, Moments]:
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
        moments : tuple of int, or ndarray of int64
            What the coding measures while it codes, for its planner; empty where there is nothing to measure. Of a
            coding with `Coding.gains`, for each column in the order of the stream: its gain, and energies of the column
            and of its noise, in units of n for a column of which the norm is as its code says.
        """

    @abstractmethod
    def sizes(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Lengths of those sections whose lengths follow from the parameters and the columns, in their order."""

    def multiply_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        sections: Sections,
        vectors: npt.NDArray[np.int16],
    ) -> npt.NDArray[np.int64]:
        """Exact products of a chunk's columns with vectors, modulo 2⁶⁴, where chunks are whole columns.

        Parameters
        ----------
        vectors : ndarray, shape (b, m)

        Returns
        -------
        ndarray, shape (columns, b)

        Notes
        -----
        By decoding them; a coding that knows better does so.
        """
        points = np.empty(chunk.count, np.int32)
        self.decode_chunk(chunk, columns, sections, points)
        out = np.empty((chunk.count // vectors.shape[1], len(vectors)), np.int64)
        kernels.point_products(points, 0, vectors.astype(np.int32), out)
        return out

    def sum_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        sections: Sections,
        weights: npt.NDArray[np.int16],
        m: int,
    ) -> npt.NDArray[np.int64]:
        """Exact sums of a chunk's columns, of m coordinates, times vectors of weights; see `multiply_chunk`.

        Parameters
        ----------
        weights : ndarray, shape (b, columns)

        Returns
        -------
        ndarray, shape (b, m)
        """
        points = np.empty(chunk.count, np.int32)
        self.decode_chunk(chunk, columns, sections, points)
        found: npt.NDArray[np.int64] = weights.astype(np.int64) @ points.reshape(-1, m).astype(np.int64)
        return found

    @abstractmethod
    def decode_chunk(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections, out: npt.NDArray[np.int32]
    ) -> None:
        """Points of a chunk to `out`, shape (chunk.count,); ValueError if the sections are inconsistent.

        Where `Coding.most_point` is told, `out` may be int8, too.
        """


class Coding(ABC):
    """A way from rotated columns to the arrays of chunks and back to integers; see the package for the contract.

    Attributes
    ----------
    name : str
        In files.
    allocations : tuple of str
        The ways to share scale among columns that it knows, the usual one first.
    gains : bool
        Whether every column has a gain of its own, known once it is coded and kept in a record.
    windows : tuple of int
        The windows that users may choose among.
    most_rate : float
        Bits an entry beyond which it makes no use of more.
    most_point : int, optional
        The largest magnitude of a decoded point, at most 127, where chunks are whole columns and can be multiplied.
    """

    name: str
    allocations: tuple[str, ...]
    gains: bool = False
    windows: tuple[int, ...] = ()
    most_rate: float = math.inf
    most_point: int | None = None

    @abstractmethod
    def takes(self, lattice: Lattice | None) -> bool:
        """Whether it codes points of this lattice; None for values that are no lattice's."""

    @abstractmethod
    def check(self, parameters: MatrixParameters) -> None:
        """Raise ValueError unless the parameters are such as it can code with: lattice, allocation, and its own."""

    @abstractmethod
    def scaling(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> scale.Scaling:
        """What each column costs and how noisy it is, from its norm code: whether it is coded, class, noise."""

    @abstractmethod
    def least_bits(
        self, parameters: MatrixParameters, classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Bits an entry that columns of these classes take at least, whatever they hold."""

    @abstractmethod
    def cut(self, parameters: MatrixParameters, kept: int) -> list[int]:
        """Sizes of the chunks that the stream of a panel with so many kept columns is cut into."""

    @abstractmethod
    def forward(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Factors from rotated columns, divided by 2 ** `scale.exponents`, to what `Coder.encode_chunk` takes."""

    @abstractmethod
    def unit(
        self, parameters: MatrixParameters, codes: npt.NDArray[np.int64], exponent: Exponent = 0
    ) -> npt.NDArray[np.float64]:
        """What one unit of a decoded point is worth, without bias, in each column, in units of 2 ** exponent."""

    def gain(self, parameters: MatrixParameters, gains: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Factors on `unit` for columns of such `gains`; ValueError if they are out of range."""
        return np.ones(len(gains))

    def measured(self, parameters: MatrixParameters, noise: npt.NDArray[np.float64]) -> Any:
        """The coding's own parameters with what was measured of all columns.

        Parameters
        ----------
        noise : ndarray, shape (2, classes)
            By class, energies of the columns and of their noise, in the same units.
        """
        return parameters.coding_parameters

    def kept_codes(
        self, parameters: MatrixParameters, codes: npt.NDArray[Any], first: int
    ) -> npt.NDArray[Any]:
        """Norm codes of columns, the first of which has this number, as they are to be kept."""
        return codes

    def kept_histogram(self, parameters: MatrixParameters, histogram: Histogram) -> Histogram:
        """The same of all columns, counted; about, where their numbers decide."""
        return histogram

    def highest_codes(self, parameters: MatrixParameters, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What `kept_codes` may make of codes at most, of such codes and of those that it makes of them."""
        return codes

    def dependence(self, parameters: MatrixParameters) -> Callable[[], Dependence] | None:
        """Finds what noise has to do with the data beyond their norms; None where it is nothing."""
        return None

    @abstractmethod
    def coder(self, parameters: MatrixParameters, classes: npt.NDArray[Any]) -> Coder:
        """A coder for columns of the given classes: here its tables are built."""

    def __reduce__(self) -> tuple[Callable[[str], Coding], tuple[Any, ...]]:
        return _by_name, (self.name,)  # there is one of each, in other processes too


@dataclass(frozen=True, eq=False)
class LatticeCoder(Coder):
    """What the coders of points of a dithered lattice share.

    Attributes
    ----------
    lattice : Lattice
    m : int
        Kept coordinates of a column.
    key : tuple of int
        Of the dither.
    """

    lattice: Lattice
    m: int
    key: tuple[int, int]

    def working_points(self, chunk: Chunk) -> int:
        """Whole groups on all lanes."""
        return padded(chunk.count, self.lattice.group, chunk.lanes)

    def place(self, chunk: Chunk) -> kernels.Place:
        """Where a chunk lies in its panel, on its lanes and in the dither, for the kernels."""
        counter = dither.counter(chunk.number)
        return kernels.Place(self.lattice.number, chunk.count, chunk.start, self.m, chunk.lanes, counter)


def lattice_of(parameters: MatrixParameters) -> Lattice:
    """The lattice of a coding that has one."""
    assert parameters.lattice is not None  # see `LatticeCoding.check`
    return parameters.lattice


class LatticeCoding(Coding):
    """What the codings of points of a dithered lattice share: one lattice scale Δ, and a class from e/Δ² + D."""

    def takes(self, lattice: Lattice | None) -> bool:
        """Whether it is a lattice, and one for it."""
        return lattice is not None and self.takes_lattice(lattice)

    def takes_lattice(self, lattice: Lattice) -> bool:
        """Whether it codes points of this lattice."""
        return True

    def check(self, parameters: MatrixParameters) -> None:
        """Lattice, lattice scale and lowest class, and what `check_own` says."""
        p = parameters
        if p.lattice is None or p.lattice is not LATTICES.get(p.lattice.name):
            raise ValueError("unknown lattice")
        if abs(p.delta) > _MAX_DELTA:
            raise ValueError("the lattice scale is out of range")
        if not 0 <= p.lowest_class <= 1024:
            raise ValueError("the lowest class is out of range")
        self.check_own(p)

    @abstractmethod
    def check_own(self, parameters: MatrixParameters) -> None:
        """Raise ValueError unless the lattice and the allocation are ones for it, and its own parameters are right."""

    def cut(self, parameters: MatrixParameters, kept: int) -> list[int]:
        """2²⁰ entries each, the last one fewer."""
        return cut(kept * parameters.m)

    def scaling(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> scale.Scaling:
        """From e/Δ² + D."""
        p = parameters
        return scale.scaling(codes, p.n, lattice_of(p), p.delta, p.allocate, p.lowest_class, p.octaves)

    def forward(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """To fixed point in units of Δ."""
        p = parameters
        return scale.forward(codes, p.n, p.delta, p.allocate, p.octaves)

    def unit(
        self, parameters: MatrixParameters, codes: npt.NDArray[np.int64], exponent: Exponent = 0
    ) -> npt.NDArray[np.float64]:
        """Δ / F."""
        p = parameters
        return scale.backward(codes, p.n, p.delta, p.allocate, lattice_of(p), exponent, p.octaves)


CODINGS: dict[str, Coding] = {}
"""All of them by name, as the package registers them."""


def _by_name(name: str) -> Coding:
    return CODINGS[name]
