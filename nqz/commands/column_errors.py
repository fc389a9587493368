"""How far the columns of a coded matrix are from their original, and how far they should be.

For a column of relative noise d, the energy of its reconstruction error has a relative variance of about
(2/n)(1 + 2d)/(1 + d)², from the noise itself and from its product with the signal. Where only m = κn
coordinates are kept, their share of the energy fluctuates too, alike for columns that are alike. The spread
between the columns is measured as well, and the larger of the two counts, up to a quarter of the error of each.

Beside the errors of a few loud columns, as where these have lattice scales of their own, those of all others may not
show: the others are summed by themselves, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nqz.commands.elsewhere.address import Address
from nqz.files.contract import SourceTensor
from nqz.files.vectors import VectorView
from nqz.ground.arithmetic import total
from nqz.ground.dtypes import widen
from nqz.ground.fleet import Fleet
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.stages import norms
from nqz.stages.panels import Panel

_FEW_COLUMNS = 8
_MOST_SPREAD = 0.25  # of the errors of columns about what is expected, relative to that
_LARGE = 1000  # exponent of norms of columns whose differences may be beyond float64
_STEP = 1 << 18  # entries rebuilt at a time
_LOUD = 16.0  # times what is expected of half of the columns: errors of others do not show beside that


@dataclass
class Errors:
    """Sums over columns of the errors of their reconstruction, to be compared with what is expected of them.

    Energies are in units of 4 ** exponent. Of the differences of a column's error and its expected one there are the
    sums that give their spread about any multiple of what is expected.

    Attributes
    ----------
    exponent : int
        A power of two near the norm of the loudest column.
    spent : float
        Energy of all errors.
    finite : bool
        Whether all are finite.
    square, mixed, expected_square : float
        Σ δ², Σ δ x and Σ x² over columns with x > 0 expected and x + δ measured.
    count : int
        Number of these.
    exact : bool
        Whether columns without energy, which come back exactly, did.
    among : ndarray of bool or None
        Which norm codes of the matrix have columns among these; None for all of them.
    others : Errors or None
        Those of all columns but some that are to have much larger errors, if there are such.
    """

    exponent: int
    spent: float = 0.0
    finite: bool = True
    square: float = 0.0
    mixed: float = 0.0
    expected_square: float = 0.0
    count: int = 0
    exact: bool = True
    among: npt.NDArray[np.bool_] | None = None
    others: Errors | None = None

    def add(self, errors: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> None:
        """Add columns: energies of their errors, and what is expected, 0 for columns without energy."""
        self.spent += float(errors.sum())
        self.finite = self.finite and bool(np.isfinite(errors).all())
        loud = expected > 0.0
        x = expected[loud]
        with np.errstate(over="ignore", invalid="ignore"):
            delta = errors[loud] - x
            self.square += float((delta * delta).sum())
            self.mixed += float((delta * x).sum())
        self.expected_square += float((x * x).sum())
        self.count += len(x)

    def spread(self, ratio: float) -> float:
        """Sum of the squares of what errors have beyond `ratio` times the expected ones."""
        more = 1.0 - ratio
        return max(0.0, self.square + more * (2.0 * self.mixed + more * self.expected_square))


def measured_errors(
    matrix: Matrix,
    original: SourceTensor,
    pool: Workers,
    done: Callable[[float], object] | None = None,
) -> Errors:
    """Energies of the errors of the reconstructed columns, before any rounding to a narrower type, summed.

    Parameters
    ----------
    matrix : Matrix
    original : SourceTensor
    pool : Workers
    done : callable, optional
        Called with the share of the columns compared since the last call.
    """
    view, p = original.vectors(matrix.header.axis), matrix.parameters
    histogram = matrix.histogram
    found = Errors(norms.loudest(histogram.codes) // norms.DOUBLING)
    expected = _Expected.of(matrix, found.exponent).error
    exponents = np.full(len(histogram.codes), found.exponent, np.int32)
    quiet = _quiet(matrix)
    if quiet is not None:
        own = norms.loudest(histogram.codes[quiet]) // norms.DOUBLING
        exponents[quiet] = own
        found.others = Errors(own, among=quiet)
        expected_of_others = np.where(quiet, _Expected.of(matrix, own).error, 0.0)

    def units(first: int, last: int) -> npt.NDArray[np.int32]:
        chosen: npt.NDArray[np.int32] = histogram.look_up(exponents, matrix.codes(slice(first, last)))
        return chosen

    if pool.fleet is not None and len(matrix.panels) > 1 and view.has_address:
        compared = _elsewhere(matrix, view, units, pool.fleet)
    else:
        compared = panel_energies(matrix, view, units, pool)
    for (first, last), measured in compared:
        codes, energies = matrix.codes(slice(first, last)), measured
        if quiet is not None and found.others is not None:
            chosen = histogram.look_up(quiet, codes)
            found.others.add(np.where(chosen, energies, 0.0), histogram.look_up(expected_of_others, codes))
            energies = np.ldexp(energies, np.where(chosen, 2 * (found.others.exponent - found.exponent), 0))
        found.add(energies, histogram.look_up(expected, codes))
        found.exact = found.exact and not energies[codes == norms.ZERO].any()
        if done is not None:
            done((last - first) / p.columns)
    return found


def panel_energies(
    matrix: Matrix,
    view: VectorView,
    units: Callable[[int, int], npt.NDArray[np.int32]],
    pool: Workers,
    panels: Iterable[int] | None = None,
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float64]]]:
    """Energies of the errors of columns, in units of 4 ** units(first, last), panel by panel, with where it lies."""
    n = matrix.parameters.n
    held: list[tuple[int, npt.NDArray[Any]]] = []  # first column and entries of the panel in the original

    def read(panel: Panel) -> None:
        buffer = pool.buffers.array("block", (n * panel.width,), view.dtype)
        held[:] = [(panel.first, view.read(panel.first, panel.last, buffer))]

    def compare(first: int, rebuilt: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        ((start, block),), last = held, first + rebuilt.shape[1]
        return _energies(block[:, first - start : last - start], rebuilt, view.entries, units(first, last))

    for panel, _, errors in matrix.blocks(pool, into=read, work=compare, step=_STEP, panels=panels):
        yield (panel.first, panel.last), np.concatenate(errors)


def _elsewhere(
    matrix: Matrix, view: VectorView, units: Callable[[int, int], npt.NDArray[np.int32]], fleet: Fleet
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float64]]]:
    """The same by workers, a panel each."""
    address, places = Address.of(matrix.reader), [matrix.panels.edges(i) for i in range(len(matrix.panels))]
    jobs = (
        (address, matrix.index, view, number, units(*place), fleet.threads)
        for number, place in enumerate(places)
    )
    yield from zip(places, fleet.map(compare_panel, jobs), strict=True)


def compare_panel(
    address: Address, index: int, view: VectorView, number: int, units: npt.NDArray[np.int32], threads: int
) -> npt.NDArray[np.float64]:
    """Energies of the errors of the columns of a panel, on a worker."""
    (reader, access), pool = address.open(), Workers(threads)
    try:
        matrix = open_matrix(reader, index)
        start = matrix.panels.edges(number)[0]
        own = panel_energies(matrix, view, lambda i, j: units[i - start : j - start], pool, [number])
        ((_, energies),) = own
        return energies
    finally:
        pool.close()
        access.close()


def _quiet(matrix: Matrix) -> npt.NDArray[np.bool_] | None:
    """Which norm codes are those of columns without much larger errors to expect than half of them have, if not all."""
    codes, counts = matrix.histogram.codes, matrix.histogram.counts
    alive = np.flatnonzero(codes != norms.ZERO)
    if not len(alive):
        return None
    median = alive[np.searchsorted(np.cumsum(counts[alive]), counts[alive].sum() / 2.0)]
    expected = _Expected.of(matrix, int(codes[median]) // norms.DOUBLING).error
    quiet: npt.NDArray[np.bool_] = expected <= _LOUD * expected[median]
    return None if quiet.all() else quiet


def _energies(
    block: npt.NDArray[Any], rebuilt: npt.NDArray[Any], dtype: str, exponent: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Energies of the differences of columns, each in units of 4 ** exponent; `rebuilt` is used up."""
    with np.errstate(over="ignore", invalid="ignore"):
        values, halved = widen(block, dtype), int(exponent.max(initial=0) > _LARGE)
        if halved:
            values, rebuilt = np.ldexp(values, -1), np.ldexp(rebuilt, -1, out=rebuilt)
        np.subtract(values, rebuilt, out=rebuilt)
        np.ldexp(rebuilt, halved - exponent, out=rebuilt)
        energies: npt.NDArray[np.float64] = np.einsum("ij,ij->j", rebuilt, rebuilt)
    return energies


def measured_error(matrix: Matrix, errors: Errors) -> float:
    """‖A - Â‖² / ‖Ā‖² from the `measured_errors`; infinite for an error where there should be none."""
    energies = matrix.histogram.energies(norms.DOUBLING * errors.exponent)
    whole = total(energies if errors.among is None else energies[errors.among])
    return 0.0 if errors.spent == 0.0 else errors.spent / whole if whole > 0.0 else math.inf


class _Expected(NamedTuple):
    """By the norm codes of a matrix: energy of a column, its relative noise d and w (0 if dropped), expected error."""

    energy: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    shrink: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]

    @classmethod
    def of(cls, matrix: Matrix, exponent: int) -> _Expected:
        """Energies in units of 4 ** exponent."""
        side = matrix.side
        energy = norms.energy(side.histogram.codes, norms.DOUBLING * exponent)
        alive = np.isfinite(side.noise)
        shrink = np.where(alive, 1.0 / (1.0 + side.noise), 0.0)
        return cls(energy, np.where(alive, side.noise, 0.0), shrink, energy * (1.0 - side.kappa * shrink))


def expected_error(matrix: Matrix, errors: Errors) -> float:
    """Expected energy of the errors of the columns that were measured, relative to the energy of these."""
    energy, _, _, expected = _Expected.of(matrix, errors.exponent)
    counts = matrix.histogram.counts if errors.among is None else matrix.histogram.counts * errors.among
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [np.where(counts > 0, x, 0.0) * counts for x in (expected, energy)]
    spent, whole = map(total, parts)
    return spent / whole if whole > 0.0 else 0.0


def standard_error(matrix: Matrix, errors: Errors) -> float:
    """Relative standard error of the measured reconstruction error."""
    p, counts = matrix.parameters, matrix.histogram.counts
    energy, d, shrink, expected = _Expected.of(matrix, errors.exponent)
    if errors.among is not None:
        counts = counts[errors.among]
        energy, d, shrink, expected = (x[errors.among] for x in (energy, d, shrink, expected))
    whole = total(counts * expected)
    if whole <= 0.0:
        return 0.0
    own = total(counts * np.square(energy * p.kappa * shrink * d * shrink) * (1.0 + 2.0 * d))
    # the share of the energy that the kept coordinates have, common to columns that are alike
    share = total(counts * energy * shrink * (2.0 - shrink)) * math.sqrt(
        2.0 * p.kappa * (1.0 - p.kappa) / p.n
    )
    theory, between = own * 2.0 / p.m + share * share, 0.0
    if errors.count >= _FEW_COLUMNS and errors.finite:
        between = errors.spread(errors.spent / whole) * errors.count / (errors.count - 1)
        # a column that is off by more is no accident, and must not excuse itself
        between = min(between, _MOST_SPREAD**2 * errors.expected_square)
    return math.sqrt(max(theory, between)) / whole
