"""A compressed matrix in memory as a factor: of its file nothing is read any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import Coded, CodedOperand, Factor
from nqz.ground.arithmetic import pieces
from nqz.ground.layout import CHUNK_ENTRIES
from nqz.ground.threads import Workers
from nqz.product.integers import SHIFT, Integers, joined
from nqz.product.operand import Operand
from nqz.product.resident import Resident
from nqz.product.stream import Stream


class HeldOperand(CodedOperand):
    """A matrix in memory as an operand.

    Parameters
    ----------
    resident : Resident
    means_needed : bool
        See `CodedOperand`.
    """

    def __init__(self, resident: Resident, means_needed: bool = False):
        self._resident = resident
        super().__init__(resident.told.matrix, means_needed)
        self.norm_variances = resident.norm_variances

    def in_memory(self, first: int, last: int) -> list[tuple[int, Integers]] | None:
        """See `Operand`."""
        return self._resident.block(first, last)

    def stream(self, first: int, last: int, pool: Workers) -> Stream:
        """See `Operand`."""
        whole = joined(self._resident.block(first, last))

        def read(rows: slice) -> tuple[int, NDArray[np.int32]]:
            points = whole.rows[rows].astype(np.int32)
            if whole.high is not None:
                points += whole.high[rows].astype(np.int32) << SHIFT
            for i, k, value in whole.rest.within(rows.start, rows.stop):
                points[i, k] += value
            return rows.start * self.m, points.reshape(-1)

        return Stream(np.arange(last - first), list(_rows(last - first, self.m)), read)


def _rows(count: int, m: int) -> Iterator[slice]:
    yield from pieces(count, max(1, CHUNK_ENTRIES // max(1, m)))


@dataclass(frozen=True)
class Held(Coded):
    """A compressed factor in memory.

    Attributes
    ----------
    resident : Resident
    """

    resident: Resident

    @classmethod
    def of(cls, resident: Resident) -> Held:
        """A matrix in memory."""
        matrix = resident.told.matrix
        return cls(matrix, matrix.reader.name, resident)

    def operand(self, partner: Factor, pool: Workers) -> Operand:
        """See `Coded`."""
        return HeldOperand(self.resident, isinstance(partner, Coded) and partner.matrix.centered)
