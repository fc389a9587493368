"""How a matrix in a file is cut for the first pass: sums of floating-point numbers depend on their order."""

from __future__ import annotations

from dataclasses import dataclass

PIECE_BYTES = 4 << 20
"""Bytes that are summed by themselves."""

_BLOCK = 1 << 16  # columns whose energies are added by themselves, at least
_WIDE = 1 << 17  # columns beyond which a few rows of all are no longer summed at a time
_STRIPE = 1 << 15  # columns that are summed together then


@dataclass(frozen=True)
class Grid:
    """How a matrix in a file is cut for the first pass.

    A unit is a piece of 4 MiB of the file; where the entries of a column are apart and columns are very many, it is a
    stripe of columns instead, and each unit accounts for an equal share of the pieces, which are only hashed then.

    Attributes
    ----------
    n, columns : int
    piece : int
        Entries of a piece.
    contiguous : bool
        Whether the entries of a column follow one another in the file.
    """

    n: int
    columns: int
    piece: int
    contiguous: bool

    @property
    def entries(self) -> int:
        """Number of entries."""
        return self.n * self.columns

    @property
    def striped(self) -> bool:
        """Whether units are stripes of columns."""
        return not self.contiguous and self.columns > _WIDE

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return -(-self.entries // self.piece)

    @property
    def units(self) -> int:
        """Number of units."""
        return -(-self.columns // _STRIPE) if self.striped else self.pieces

    def stripe(self, unit: int) -> tuple[int, int]:
        """Columns of a stripe: the first, and the one behind the last."""
        return unit * _STRIPE, min((unit + 1) * _STRIPE, self.columns)

    def span(self, unit: int) -> tuple[int, int]:
        """Entries of a piece: the first, and the one behind the last."""
        return unit * self.piece, min((unit + 1) * self.piece, self.entries)

    def hashed(self, first: int, last: int) -> range:
        """Pieces that units first … last - 1 account for."""
        return range(first * self.pieces // self.units, last * self.pieces // self.units)

    def complete(self, last: int) -> int:
        """Columns all of whose entries are in units before `last`."""
        if last == self.units:
            return self.columns
        if self.striped:
            return last * _STRIPE
        return last * self.piece // self.n if self.contiguous else 0

    def block_end(self, base: int) -> int:
        """The column behind the block that begins with column `base`."""
        if self.striped:
            return min(base + _STRIPE, self.columns)
        if not self.contiguous:
            return self.columns
        unit = -(-(base + _BLOCK) * self.n // self.piece)
        return self.complete(min(unit, self.units))

    def block_from(self, column: int, base: int = 0) -> int:
        """The first column of the first block from `column` on; `base` is where an earlier one begins."""
        while base < column:
            base = self.block_end(base)
        return base
