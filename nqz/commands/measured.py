"""A matrix that has been measured: norm codes and means of any of its columns."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.commands.measure import measure_columns
from nqz.files.vectors import VectorView
from nqz.ground.errors import InputError
from nqz.ground.threads import Workers
from nqz.stages.center import Digits, Means
from nqz.stages.norms import Histogram
from nqz.stages.panels import panel_columns
from nqz.stages.parameters import Parameters
from nqz.stages.statistics import Statistics
from nqz.stages.sums import Found

Columns = slice | npt.NDArray[Any]
"""Which columns: a range, or their numbers, ascending."""

_KEPT = 2  # panels that are kept once they were measured again


class MeasuredMatrix:
    """Norm codes and means of the columns of a matrix: as they were found, or measured again where they are too many.

    It can be pickled, and asked by several threads.

    Parameters
    ----------
    view : VectorView
    statistics : Statistics
        Of all of it.
    where : str
        File and tensor, for messages.
    pool : Workers, optional
        Threads to work with.
    kept : tuple, optional
        Where norm codes are not kept as they are found, and too many to be held: parameters, whose coding says how they
        are kept, and the statistics as they were found.
    """

    def __init__(
        self,
        view: VectorView,
        statistics: Statistics,
        where: str,
        pool: Workers | None = None,
        kept: tuple[Parameters, Statistics] | None = None,
    ):
        self.view, self.statistics, self.where = view, statistics, where
        self._pool, self._kept, self._lock = pool, kept, threading.Lock()
        self._panels: dict[int, Found] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return MeasuredMatrix, (self.view, self.statistics, self.where, None, self._kept)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.statistics.columns

    @property
    def histogram(self) -> Histogram:
        """The norm codes of all columns, counted."""
        return self.statistics.histogram

    def codes(self, columns: Columns) -> npt.NDArray[np.int32]:
        """Norm codes of columns."""
        return self.found(columns).codes

    def means(self, columns: Columns) -> npt.NDArray[np.float64]:
        """Means of columns as they were found, zero if the matrix is not centered."""
        return self.found(columns).means()

    def kept_means(self, columns: Columns, digits: Digits | None) -> Means:
        """Means of columns as they are kept, with so many digits; None for a matrix that is not centered."""
        found = self.found(columns)
        return Means.rounded(found.mean, found.codes, self.statistics.n, digits)

    def found(self, columns: Columns) -> Found:
        """Norm codes and means of columns.

        Raises
        ------
        InputError
            The file has changed since it was measured.
        """
        held = self.statistics.held
        if held is not None:
            return held.chosen(columns)
        width = panel_columns(self.statistics.n)
        if isinstance(columns, slice):
            first, last, _ = columns.indices(self.statistics.columns)
            panels = range(first // width, -(-last // width))
            return Found.joined(
                [
                    self._panel(panel).chosen(slice(max(first - panel * width, 0), last - panel * width))
                    for panel in panels
                ]
            )
        owner = columns // width
        return Found.joined(
            [
                self._panel(panel).chosen(columns[owner == panel] - panel * width)
                for panel in sorted(set(owner.tolist()))
            ]
        )

    def _panel(self, panel: int) -> Found:
        """A panel, measured again unless that was done lately."""
        with self._lock:
            width = panel_columns(self.statistics.n)
            found = self._panels.pop(panel, None) or self.measured(
                panel * width, min((panel + 1) * width, self.statistics.columns)
            )
            self._panels[panel] = found  # the latest is the last
            while len(self._panels) > _KEPT:
                del self._panels[next(iter(self._panels))]
            return found

    def measured(self, first: int, last: int) -> Found:
        """Columns first … last - 1 measured again, where they are not `held`; see `found`."""
        p, statistics = self._kept or (None, self.statistics)
        found = measure_columns(self.view, statistics.center, self.where, first, last, self._pool)
        found = found.rounded(statistics.rounding)
        known, codes = statistics.histogram.codes, Histogram.of(found.codes).codes
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        if not np.array_equal(known[place], codes):
            raise self._changed()
        return found if p is None else Found(p.coding.kept_codes(p, found.codes, first), found.mean)

    def coded(self, parameters: Parameters) -> MeasuredMatrix:
        """The matrix with norm codes as its coding keeps them."""
        coding, held = parameters.coding, self.statistics.held
        if held is None:
            counted = coding.kept_histogram(parameters, self.histogram)
            if counted is self.histogram:
                return self
            statistics = replace(self.statistics, columns_found=counted)
            return MeasuredMatrix(
                self.view, statistics, self.where, self._pool, (parameters, self.statistics)
            )
        codes = coding.kept_codes(parameters, held.codes, 0)
        if codes is held.codes:
            return self
        statistics = replace(self.statistics, columns_found=Found(codes, held.mean))
        return MeasuredMatrix(self.view, statistics, self.where, self._pool)

    def check(self, histogram: Histogram) -> None:
        """Raise InputError unless these are the norm codes of all columns."""
        known = self.statistics.histogram
        if self._kept is not None:  # counted alike as they are found and as they are kept
            p, found = self._kept
            known, histogram = (
                Histogram.joined([Histogram.counted(p.coding.highest_codes(p, h.codes), h.counts)])
                for h in (found.histogram, histogram)
            )
        if not (
            np.array_equal(known.codes, histogram.codes) and np.array_equal(known.counts, histogram.counts)
        ):
            raise self._changed()

    def _changed(self) -> InputError:
        return InputError(f"{self.where}: seems to have changed while being read")
