"""The box "mod Λc": the classical nested code Λ/qΛ of Conway & Sloane, with scales β against overload.

A group of entries is scaled by the least of four multipliers b for which nothing overloads: the point decoded from
the index of λ in Λ/qΛ is λ - z itself. Any rate comes from mixing two adjacent values of q, group row by group row.
Choosing b sees the dither and shrinks the estimate, so the gain g = E[uû]/E[u²] is recorded and the decoder divides
by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import GRID
from nqz.stages import dither
from nqz.stages.chunks import Chunk
from nqz.stages.codings import nested_noise
from nqz.stages.codings.coding import (
    Exponent,
    LatticeCoder,
    LatticeCoding,
    MatrixParameters,
    Sections,
    lattice_of,
)
from nqz.stages.codings.nesting import Nesting
from nqz.stages.codings.tables import TOTAL
from nqz.stages.dependence import Dependence
from nqz.stages.lattices import Lattice
from nqz.stages.scale import Scaling

_FINENESS = 64
"""About Δ⁻² in units of the variance of a column, for each (q + 1)²: from 64 to 256 are in use."""


@lru_cache(maxsize=4096)
def packing(q: int) -> tuple[int, int]:
    """The best packing of base-q digits: (digits a word, bits a word), at most 63 bits."""
    best = (1, (q - 1).bit_length())
    power = 1
    for digits in range(1, 64):
        power *= q
        bits = (power - 1).bit_length()
        if bits > 63:
            break
        if bits * best[0] < best[1] * digits:
            best = (digits, bits)
    return best


def digit_bytes(count: int, q: int) -> int:
    """Bytes of `count` packed digits."""
    digits, bits = packing(q)
    return ((count + digits - 1) // digits * bits + 7) // 8


def digit_bits(q: int) -> float:
    """Bits an entry of packed digits."""
    digits, bits = packing(q)
    return bits / digits


class _Voronoi(LatticeCoding):
    name = "voronoi"
    allocations = ("column",)

    def takes_lattice(self, lattice: Lattice) -> bool:
        return lattice.voronoi is not None

    def check_own(self, parameters: MatrixParameters) -> None:
        if not isinstance(parameters.coding_parameters, Nesting):
            raise ValueError("the coding and its parameters disagree")
        if not self.takes(parameters.lattice):
            raise ValueError("a lattice without a Voronoi code")
        if parameters.allocate not in self.allocations:
            raise ValueError("a Voronoi code scales every column by its norm")
        nesting: Nesting = parameters.coding_parameters
        nesting.check()
        length = (_FINENESS * parameters.n * nesting.q[1] ** 2).bit_length()
        if not -(length + 3) <= 2 * parameters.delta / GRID <= 4 - length:
            raise ValueError("the lattice scale does not suit the nesting ratios")

    def scaling(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> Scaling:
        found = super().scaling(parameters, codes)
        # what was measured, and not less than a lattice of this scale leaves
        noise = np.where(found.kept, np.maximum(_nesting(parameters).noise, found.noise), np.inf)
        return Scaling(found.log_ratio, noise, found.classes, found.kept)

    def unit(
        self, parameters: MatrixParameters, codes: npt.NDArray[np.int64], exponent: Exponent = 0
    ) -> npt.NDArray[np.float64]:
        return super().unit(parameters, codes, exponent) / _nesting(parameters).gain

    def dependence(self, parameters: MatrixParameters) -> Callable[[], Dependence]:
        """Of groups as loud as they come."""
        return partial(nested_noise.dependence, parameters, _nesting(parameters))

    def least_bits(
        self, parameters: MatrixParameters, classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        return np.full(len(classes), digit_bits(min(_nesting(parameters).q)))

    def coder(self, parameters: MatrixParameters, classes: npt.NDArray[Any]) -> VoronoiCoder:
        p = parameters
        return VoronoiCoder(lattice_of(p), p.m, dither.halves(p.dither_key), _nesting(p))


VORONOI = _Voronoi()


def _nesting(parameters: MatrixParameters) -> Nesting:
    assert isinstance(parameters.coding_parameters, Nesting)  # see `check`
    return parameters.coding_parameters


@dataclass(frozen=True, eq=False)
class VoronoiCoder(LatticeCoder):
    """Codes chunks with a nested code."""

    nesting: Nesting

    def columns(self, classes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Nothing: all columns are coded alike."""
        return np.zeros(len(classes), np.int32)

    def _choice(self, chunk: Chunk) -> npt.NDArray[np.uint8]:
        return self.nesting.choice(self.working_points(chunk) // (self.lattice.group * chunk.lanes))

    def _nest(self) -> kernels.Nest:
        q, multipliers = np.array(self.nesting.q, np.int32), np.array(self.nesting.multipliers, np.int32)
        return kernels.Nest(self.lattice.number, q, multipliers)

    def encode_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        factors: npt.NDArray[np.float32],
        u: npt.NDArray[np.float32],
        points: npt.NDArray[np.int32],
    ) -> tuple[Sections, tuple[int, ...]]:
        """Code classes of nearest points: states, frequencies and words of the multipliers, digits of each q.

        Measured are Σ t y and Σ y², t the scaled entry in fixed point.
        """
        choice, size = self._choice(chunk), len(points)
        digits, beta = np.empty(size, np.uint16), np.empty(size // self.lattice.group, np.uint8)
        place, key = self.place(chunk), kernels.Key(*self.key)
        moments = kernels.voronoi_encode(place, key, self._nest(), choice, u, factors, digits, beta, points)
        frequency = _frequencies(beta)
        states, words = kernels.rans_encode(beta, _cumulative(frequency), chunk.lanes)
        rows = digits.reshape(len(choice), -1)
        packed = [
            kernels.pack_digits(np.ascontiguousarray(rows[choice == which]).ravel(), q, *packing(q))
            for which, q in enumerate(self.nesting.q)
        ]
        return (states, frequency[:3], words, *packed), moments

    def sizes(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Bytes of the digits of each q."""
        choice = self._choice(chunk)
        larger, row = int(np.count_nonzero(choice)), self.lattice.group * chunk.lanes
        counts = (len(choice) - larger) * row, larger * row
        return tuple(digit_bytes(count, q) for count, q in zip(counts, self.nesting.q, strict=True))

    def decode_chunk(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections, out: npt.NDArray[np.int32]
    ) -> None:
        """See `Coder`."""
        states, frequency, words, *packed = sections
        cumulative = _cumulative(
            np.append(frequency.astype(np.int64), TOTAL - int(frequency.sum(dtype=np.int64)))
        )
        choice, lanes, size = self._choice(chunk), chunk.lanes, self.working_points(chunk)
        beta = kernels.rans_decode(len(choice) * lanes, cumulative, lanes, states, words)
        digits = np.empty((len(choice), self.lattice.group * lanes), np.uint16)
        for which, (q, data) in enumerate(zip(self.nesting.q, packed, strict=True)):
            chosen = choice == which
            count = int(chosen.sum()) * digits.shape[1]
            found = kernels.unpack_digits(data, count, q, *packing(q))
            digits[chosen] = found.reshape(-1, digits.shape[1])
        points = out if size == chunk.count else np.empty(size, np.int32)
        # as one column: they do not matter
        counter, key = dither.counter(chunk.number), kernels.Key(*self.key)
        place = kernels.Place(self.lattice.number, chunk.count, 0, chunk.count, lanes, counter)
        kernels.voronoi_decode(place, key, self._nest(), choice, digits.ravel(), beta, points)
        if points is not out:
            out[:] = points[: chunk.count]


def _frequencies(beta: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Frequencies out of TOTAL, each at least 1, of the four indices of scales."""
    count = np.bincount(beta, minlength=4)
    frequency = np.maximum(1, count * TOTAL // len(beta))
    frequency[count.argmax()] += TOTAL - frequency.sum()
    return frequency


def _cumulative(frequency: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """Their sums; ValueError if one of them is not positive."""
    if (frequency < 1).any():
        raise ValueError("the frequencies of the scale index are invalid")
    return np.concatenate([[0], np.cumsum(frequency)]).astype(np.uint16)
