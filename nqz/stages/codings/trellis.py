"""The box "mod Λc" of the trellis coding: rings of labels at a fixed rate, one after another, with tables for values.

There is no lattice: every entry of a rotated column becomes one of a few dozen values, by a path through a trellis that
closes on itself (see `nqz.reference.codings.ring`). What is left of Figure 1 is the dither, on labels: errors of
different columns are uncorrelated and have no mean. A column takes 1, 1½, … 4 bits an entry or none, by its norm: the
louder it is, the more. Its slope, what its values have of it along itself, is kept beside its norm: then nothing of the
error is along the column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz import kernels
from nqz.ground.arithmetic import GRID, exp2, round_log2
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.stages import dither, norms
from nqz.stages.chunks import Chunk
from nqz.stages.codings.coding import Coder, Coding, Exponent, MatrixParameters, Moments, Sections
from nqz.stages.codings.rings import Rings, constants, ring_columns
from nqz.stages.dependence import Dependence
from nqz.stages.lattices import Lattice
from nqz.stages.scale import ENERGY_STEP, Scaling, exponents

WINDOWS = (12, 14, 16)
"""Bits of a ring that an entry depends on, to choose among; 0 stands for what suits the rate."""

THRESHOLDS = {2: 106, 3: 512, 4: 768, 5: 1024, 6: 1280, 7: 1536, 8: 1792}
"""How far above the water level, in steps of norm codes, columns are that take so many half bits an entry, or more.

Half a bit more takes 4 ** -K e, per bit, from the error of columns that had K bits, the first bit ¾ e: bits go where
that is most."""

MOST = max(THRESHOLDS.values())
"""Where columns have the most bits."""

SPREAD = 64
"""What is measured of the noise of a class is kept in such parts of an octave."""

SPREADS = (-32, 127)
"""The least and the greatest of these."""

PARTS = 1 << 16
"""Denominator of the share of columns that are raised."""

_LIMIT = 2 * norms.LIMIT
_GOLDEN = 40503  # of 65536: multiples of it are spread evenly
_BENT = 0.015
"""Of the noise, what that of two alike columns has in common: 0.018 at cosine 1, less as soon as they differ."""

_ENTRY_UNIT = 4096  # fixed-point units in a standard deviation, as the kernels measure moments

_LARGEST = 4.0  # that a slope may make values
_USUAL = 1  # of `SPREAD` parts of an octave, noise may be off: it is chance, as a rule
_DEAFEST = 16.0  # noise of a column, relative to it


@dataclass(frozen=True)
class Water:
    """How the columns of a matrix share bits: what the coding's own parameters in its header say.

    Attributes
    ----------
    window : int
        One of `WINDOWS`, or 0.
    level : int
        Water level, a norm code.
    raised : int
        Of 65536 columns that are less than a step of their norm codes below one of the `THRESHOLDS`, so many are taken
        for louder by that step when they are coded, for rates in between; readers see their norm codes alone.
    spread : tuple of int
        Of each class from 2 half bits on, how much noise its columns have, in 64ths of an octave above what those of
        Gaussian entries have; nothing where it is as usual in all.
    """

    window: int
    level: int
    raised: int = 0
    spread: tuple[int, ...] = ()

    def check(self) -> None:
        """Raise ValueError unless all values are within the format's limits."""
        if self.window not in (0, *WINDOWS):
            raise ValueError("the window of the trellis is none of the known ones")
        if abs(self.level) > _LIMIT:
            raise ValueError("the water level is out of range")
        if self.spread and (len(self.spread) != len(THRESHOLDS) or not any(self.spread)):
            raise ValueError("the noise of classes is malformed")
        if not all(SPREADS[0] <= part <= SPREADS[1] for part in self.spread):
            raise ValueError("the noise of a class is out of range")

    @property
    def noise(self) -> npt.NDArray[np.float64]:
        """Relative noise by half bits an entry, infinite where there are none."""
        usual = [constants(k, self.window).noise for k in THRESHOLDS]
        more = exp2(GRID // SPREAD * np.array(self.spread or [0] * len(usual), np.int64))
        return np.array([np.inf, np.inf, *(more * usual)])

    def classes(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Half bits an entry of columns of these norm codes."""
        edges = np.array(list(THRESHOLDS.values()))
        found = np.searchsorted(edges, np.where(codes == norms.ZERO, -(1 << 40), codes - self.level), "right")
        return np.where(found > 0, found + 1, 0)

    def below(self, codes: npt.NDArray[Any], step: int) -> npt.NDArray[np.bool_]:
        """Which norm codes are less than a step below a threshold."""
        wide = codes.astype(np.int64)
        found: npt.NDArray[np.bool_] = (self.classes(wide + step) > self.classes(wide)) & (
            codes != norms.ZERO
        )
        return found

    def kept_codes(self, codes: npt.NDArray[Any], first: int, step: int) -> npt.NDArray[Any]:
        """Norm codes of columns, the first of which has this number, as they are to be kept, in multiples of a step."""
        if not self.raised:
            return codes
        place = (np.arange(first, first + len(codes), dtype=np.int64) * _GOLDEN) % PARTS
        moved: npt.NDArray[Any] = codes + step * (self.below(codes, step) & (place < self.raised))
        return moved.astype(codes.dtype)

    def kept_histogram(self, histogram: norms.Histogram, step: int) -> norms.Histogram:
        """The same of all columns, counted: about, since their numbers decide which are raised."""
        if not self.raised:
            return histogram
        codes, counts = histogram.codes, histogram.counts
        below = self.below(codes, step)  # of which there are raised ones, and others
        several = np.where(below, np.maximum(counts * self.raised // PARTS, 1), 0)
        left = np.where(below, np.maximum(counts - several, self.raised < PARTS), counts)
        parts = (codes, left), (codes + step, several)
        return norms.Histogram.joined([norms.Histogram.counted(c[x > 0], x[x > 0]) for c, x in parts])


class _Trellis(Coding):
    name = "trellis"
    allocations = ("matrix",)
    gains = True
    windows = WINDOWS
    most_point = 127
    most_rate = 4.25  # a little more than the values take: norms and means come on top of them

    def takes(self, lattice: Lattice | None) -> bool:
        return lattice is None

    def check(self, parameters: MatrixParameters) -> None:
        p = parameters
        if p.lattice is not None:
            raise ValueError("the trellis coding has no lattice")
        if (p.allocate, p.delta, p.lowest_class) != ("matrix", 0, 0):
            raise ValueError("the trellis coding has no lattice scale")
        if p.m != p.n:
            raise ValueError("the trellis coding keeps all coordinates")
        if not isinstance(p.coding_parameters, Water):
            raise ValueError("the coding and its parameters disagree")
        p.coding_parameters.check()

    def scaling(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> Scaling:
        codes, water = np.asarray(codes, np.int64), water_of(parameters)
        classes = water.classes(codes)
        ratio = np.where(codes == norms.ZERO, 0, ENERGY_STEP * (codes - water.level))
        return Scaling(ratio, water.noise[classes], classes, classes > 0)

    def least_bits(
        self, parameters: MatrixParameters, classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        return classes / 2.0

    def cut(self, parameters: MatrixParameters, kept: int) -> list[int]:
        n = parameters.n
        together = ring_columns(n)
        size = max(1, CHUNK_ENTRIES // (n * together)) * together
        full, rest = divmod(kept, size)
        return [size * n] * full + [rest * n] * (rest > 0)

    def forward(self, parameters: MatrixParameters, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """To a variance of one."""
        norm = GRID // norms.DOUBLING * (codes - norms.DOUBLING * exponents(codes).astype(np.int64))
        scale = math.sqrt(parameters.n) / exp2(np.where(codes == norms.ZERO, 0, norm))
        found: npt.NDArray[np.float32] = scale.astype(np.float32)
        return found

    def unit(
        self, parameters: MatrixParameters, codes: npt.NDArray[np.int64], exponent: Exponent = 0
    ) -> npt.NDArray[np.float64]:
        """A standard deviation over that of values, but for the slope of the column."""
        codes, water = np.asarray(codes, np.int64), water_of(parameters)
        worth = np.array([0.0 if k < 2 else constants(k, water.window).unit for k in range(9)])
        silent = codes == norms.ZERO
        scale = exp2(np.where(silent, 0, GRID // norms.DOUBLING * codes - GRID * exponent))
        found: npt.NDArray[np.float64] = scale * (worth[water.classes(codes)] / math.sqrt(parameters.n))
        return np.where(silent, 0.0, found)

    def gain(self, parameters: MatrixParameters, gains: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        step = gain_step(parameters.n)
        if gains.min(initial=0) * step <= -1.0 or gains.max(initial=0) * step > _LARGEST - 1.0:
            raise ValueError("the slope of a column is out of range")
        return np.asarray(1.0 + gains * step, np.float64)

    def kept_codes(
        self, parameters: MatrixParameters, codes: npt.NDArray[Any], first: int
    ) -> npt.NDArray[Any]:
        return water_of(parameters).kept_codes(codes, first, parameters.norm_step)

    def kept_histogram(self, parameters: MatrixParameters, histogram: norms.Histogram) -> norms.Histogram:
        return water_of(parameters).kept_histogram(histogram, parameters.norm_step)

    def highest_codes(self, parameters: MatrixParameters, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Those that may be raised are."""
        water = water_of(parameters)
        return replace(water, raised=PARTS if water.raised else 0).kept_codes(codes, 0, parameters.norm_step)

    def measured(self, parameters: MatrixParameters, noise: npt.NDArray[np.float64]) -> Water:
        """With the noise that classes have, as far as that is more than chance."""
        water, spread = water_of(parameters), []
        for k in THRESHOLDS:
            energy, found = noise[:, k].tolist() if k < noise.shape[1] else (0.0, 0.0)
            usual = energy * constants(k, water.window).noise
            part = int(round_log2(np.array([found / usual]), SPREAD)[0]) if found > 0.0 and usual > 0.0 else 0
            spread.append(0 if abs(part) <= _USUAL else min(max(part, SPREADS[0]), SPREADS[1]))
        return replace(water, spread=tuple(spread) if any(spread) else ())

    def dependence(self, parameters: MatrixParameters) -> Callable[[], Dependence]:
        """Nothing of the noise is along the column."""
        return partial(_dependence, parameters.n)

    def coder(self, parameters: MatrixParameters, classes: npt.NDArray[Any]) -> TrellisCoder:
        p = parameters
        return TrellisCoder(p.n, water_of(p).window, dither.halves(p.dither_key))


TRELLIS = _Trellis()


def water_of(parameters: MatrixParameters) -> Water:
    """How the columns of a matrix share bits."""
    assert isinstance(parameters.coding_parameters, Water)  # see `check`
    return parameters.coding_parameters


def gain_step(n: int) -> float:
    """To what slopes are rounded: about 1 / (8 √n), an eighth of the noise of a sum over the column."""
    return math.ldexp(1.0, -3 - ((n - 1).bit_length() + 1) // 2)


def _dependence(n: int) -> Dependence:
    rounded = n * gain_step(n) ** 2 / 12.0
    return Dependence(along=rounded, bent=_BENT, across=True)


@lru_cache(maxsize=4)
def _ring_code(window: int, key: tuple[int, int]) -> kernels.RingCode:
    """The code of a matrix: all of its panels have the same."""
    return kernels.RingCode(window, dither.labels(key))


@dataclass(frozen=True, eq=False)
class TrellisCoder(Coder):
    """Codes chunks, which are whole columns.

    Attributes
    ----------
    n : int
        Length of a column.
    window : int
        See `Water`.
    key : tuple of int
        Of the dither.
    """

    n: int
    window: int
    key: tuple[int, int]

    def columns(self, classes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Half bits an entry."""
        return classes.astype(np.int32)

    def working_points(self, chunk: Chunk) -> int:
        """None: entries are coded as they are."""
        return 0

    @property
    def _code(self) -> kernels.RingCode:
        return _ring_code(self.window, self.key)

    def _first(self, chunk: Chunk) -> int:
        """Number of the first ring of a chunk: as many for each chunk as a full one of equal columns has."""
        return chunk.number * max(1, CHUNK_ENTRIES // (self.n * ring_columns(self.n)))

    def _half_bits(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Half bits an entry of the columns of a chunk."""
        return columns[chunk.start // self.n : (chunk.start + chunk.count) // self.n]

    def encode_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        factors: npt.NDArray[np.float32],
        u: npt.NDArray[np.float32],
        points: npt.NDArray[np.int32],
    ) -> tuple[Sections, Moments]:
        """Find the best paths: the bytes of the rings."""
        half_bits, first = self._half_bits(chunk, columns), chunk.start // self.n
        rings = Rings.of(half_bits, self.n)
        scaled = u.reshape(-1, self.n) * factors[first : first + len(half_bits), np.newaxis]
        data, moments = np.empty(rings.bytes, np.uint8), np.empty((len(half_bits), 3), np.int64)
        kernels.ring_encode(
            self._code,
            rings.lengths,
            rings.half_bits,
            self._first(chunk),
            scaled.reshape(-1),
            self.n,
            data,
            moments,
        )
        cross, square, energy = moments.T
        return (data,), np.stack(
            [self._gains(half_bits, energy, cross), energy, _noise(cross, square, energy)], axis=1
        )

    def _gains(
        self, half_bits: npt.NDArray[np.int32], energy: npt.NDArray[np.int64], cross: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Codes of the slopes: energy over what values have of the column, in units of what it mostly is."""
        unit = np.array([0.0 if k < 2 else constants(k, self.window).unit for k in range(9)])[half_bits]
        step, found = gain_step(self.n), np.ones(len(half_bits))
        np.divide(energy.astype(np.float64), _ENTRY_UNIT * (cross * unit), out=found, where=cross > 0)
        codes = np.floor((np.minimum(found, _LARGEST) - 1.0) / step + 0.5).astype(np.int64)
        least, most = -math.ceil(1.0 / step) + 1, math.floor((_LARGEST - 1.0) / step)
        return np.clip(codes, least, most)

    def sizes(self, chunk: Chunk, columns: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Bytes of the rings."""
        return (Rings.of(self._half_bits(chunk, columns), self.n).bytes,)

    def _rings(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections
    ) -> tuple[kernels.RingCode, npt.NDArray[np.int64], npt.NDArray[np.int32], int, npt.NDArray[Any]]:
        """What all kernels take that read a chunk."""
        (data,) = sections
        rings = Rings.of(self._half_bits(chunk, columns), self.n)
        return self._code, rings.lengths, rings.half_bits, self._first(chunk), data

    def decode_chunk(
        self, chunk: Chunk, columns: npt.NDArray[np.int32], sections: Sections, out: npt.NDArray[np.int32]
    ) -> None:
        """See `Coder`."""
        kernels.ring_decode(*self._rings(chunk, columns, sections), out)

    def multiply_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        sections: Sections,
        vectors: npt.NDArray[np.int16],
    ) -> npt.NDArray[np.int64]:
        """See `Coder`: values are multiplied where they are decoded."""
        out = np.empty((chunk.count // self.n, len(vectors)), np.int64)
        kernels.ring_products(*self._rings(chunk, columns, sections), vectors, out)
        return out

    def sum_chunk(
        self,
        chunk: Chunk,
        columns: npt.NDArray[np.int32],
        sections: Sections,
        weights: npt.NDArray[np.int16],
        m: int,
    ) -> npt.NDArray[np.int64]:
        """See `Coder`: columns are weighted where they are decoded."""
        out = np.empty((len(weights), m), np.int64)
        kernels.ring_sums(*self._rings(chunk, columns, sections), weights, out)
        return out


def _noise(
    cross: npt.NDArray[np.int64], square: npt.NDArray[np.int64], energy: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Energies of what values leave of columns when their slopes are divided out; sums of x v, v² and x²."""
    share, whole = np.full(len(cross), 1.0 + _DEAFEST), energy.astype(np.float64)
    across = cross.astype(np.float64)
    np.divide(whole * square, across * across, out=share, where=cross > 0)
    return np.floor(whole * np.clip(share - 1.0, 0.0, _DEAFEST) + 0.5).astype(np.int64)
