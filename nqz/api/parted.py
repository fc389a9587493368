"""The matrix of a part set, for Python: one array, whose entries are decoded from the parts that they lie in."""

from __future__ import annotations

from typing import Any

import numpy as np

from nqz.api.arguments import canonical_name
from nqz.api.file import File
from nqz.api.indexing import Selection, length
from nqz.api.matrix import Array, CompressedMatrix, plain_view, typed
from nqz.api.resident import ResidentOperand
from nqz.api.wording import speaks_python
from nqz.commands.sets.factor import check_parts
from nqz.commands.sets.inspect import describe_set
from nqz.format.part_set import PartSet
from nqz.ground.cached import cached_property
from nqz.ground.dtypes import storage_dtype
from nqz.ground.threads import workers
from nqz.matrix import Matrix, open_matrix
from nqz.models.collection import Collection
from nqz.product.resident import Resident, expected_nbytes
from nqz.product.resident_parts import ResidentParts
from nqz.stages.panels import Panel


class MatrixInParts(CompressedMatrix):
    """The matrix of a part set.

    It is used as any compressed matrix: reads, products, `operand`, `to_dask`, pickling. Of its parts those that were
    used last are open.
    """

    def __init__(self, file: File, part: int = 0, index: int = 0, transposed: bool = False) -> None:
        super().__init__(file, part, index, transposed)
        self._file = file
        self._info = self._info._replace(shape=self._grid.shape)

    @property
    def _collection(self) -> Collection:
        return self._file.collection

    @property
    def _grid(self) -> PartSet:
        grid = self._collection.grid
        assert grid is not None
        return grid

    @cached_property
    def _matrix(self) -> Matrix:
        """The first part, once all are found to be those of the manifest."""
        check_parts(self._collection)
        return open_matrix(self.reader, self._index)

    @cached_property
    def _described(self) -> dict[str, Any]:
        return describe_set(self._collection)

    @cached_property
    def parts(self) -> list[CompressedMatrix]:
        """The matrices of its parts, as the manifest lists them."""
        return [CompressedMatrix(self._file, number, 0) for number in range(len(self._grid.parts))]

    def factor(self) -> Any:
        """What a product takes: all parts."""
        return self._collection, None

    @property
    def rate(self) -> float:
        """Bits per entry, all parts counted."""
        self._opened.require_open()
        return 8.0 * self._grid.file_bytes / self.size

    @property
    def partner(self) -> Any:
        """The other factor that it was coded for; None if parts differ in that."""
        self._opened.require_open()
        return self._described["partner"]

    @property
    def predicted_error(self) -> float:
        """See `CompressedMatrix`; nan if parts were coded for different partners."""
        self._opened.require_open()
        found = self._described["predicted"]["product"]
        return float("nan") if found is None else float(found)

    @property
    def predicted_reconstruction(self) -> float:
        """See `CompressedMatrix`."""
        self._opened.require_open()
        return float(self._described["predicted"]["reconstruction"])

    @speaks_python
    def operand(
        self, estimator: str = "mmse", *, exact: bool = False, threads: int | None = None
    ) -> ResidentOperand:
        """Take all parts into memory, to be multiplied with vectors any number of times: see `CompressedMatrix`."""
        _ = self._coded  # checks
        about = self._about_operand(estimator, exact, threads)
        held, across = [], len(self._grid.vectors)
        with workers(threads) as pool:
            for part in self.parts:
                with part._opened.unchanged():
                    held.append(Resident.of(part._coded, about.estimator, about.exact, pool))
        rows = tuple(tuple(held[first : first + across]) for first in range(0, len(held), across))
        return ResidentOperand(ResidentParts(rows), about, transposed=self.axis == 1)

    @property
    def operand_nbytes(self) -> int:
        """See `CompressedMatrix`."""
        _ = self._coded
        return sum(expected_nbytes(open_matrix(part.reader, 0)) for part in self.parts)

    def _stored(
        self, matrix: Matrix, name: str, estimator: str, out: Array | None, threads: int | None
    ) -> Array:
        target = None if out is None else plain_view(out, self._transposed, self._grid.shape)
        if target is None:
            target = np.empty(self._grid.shape, storage_dtype(name))
        vectors = target.T if self._grid.axis == 1 else target
        with workers(threads) as pool:
            for part, (rows, columns) in zip(self.parts, self._grid.places(), strict=True):
                place = vectors[rows.start : rows.stop, columns.start : columns.stop]

                def into(panel: Panel, place: Array = place) -> Array:
                    return place[:, panel.first : panel.last]

                with part._opened.unchanged():
                    for _ in part._coded.blocks(pool, estimator, name, into):
                        pass
        return target

    def _read(
        self,
        matrix: Matrix,
        needed: tuple[Selection, ...],
        wanted: np.dtype[Any],
        estimator: str,
        threads: int | None,
    ) -> Array:
        needed = needed[::-1] if self._transposed else needed
        found = typed(
            np.empty([length(one) for one in needed], storage_dtype(canonical_name(wanted))), wanted
        )
        for part, place in zip(self.parts, self._grid.places(), strict=True):
            ranges = place if self._grid.axis == 0 else place[::-1]
            cuts = [_within(one, own) for one, own in zip(needed, ranges, strict=True)]
            if all(length(local) for local, _ in cuts):
                local = tuple(cut for cut, _ in cuts)
                at = tuple(slice(first, first + length(cut)) for cut, first in cuts)
                found[at] = part._read(part._coded, local, wanted, estimator, threads)
        return found.T if self._transposed else found


def _within(selection: Selection, own: range) -> tuple[Selection, int]:
    """What a selection takes of some consecutive entries, counted from their first; and how much comes before."""
    if isinstance(selection, slice):
        numbers = range(selection.start, selection.stop, selection.step)
        before = len(range(selection.start, min(own.start, selection.stop), selection.step))
        rest = numbers[before:]
        local = range(rest.start - own.start, min(rest.stop, own.stop) - own.start, rest.step)
        return slice(local.start, max(local.stop, local.start), local.step), before
    low, high = np.searchsorted(selection, [own.start, own.stop]).tolist()
    return selection[low:high] - own.start, low
