"""How a matrix in a file is cut for the first pass: sums of floating-point numbers depend on their order."""

from __future__ import annotations

from dataclasses import dataclass

PIECE_BYTES = 4 << 20
"""Bytes that are summed by themselves."""

_HELD = 1 << 20  # columns up to which what is known of each is kept
_WIDE = 1 << 17  # columns beyond which a few rows of all are no longer summed at a time
_STRIPE = 1 << 15  # columns that are summed together then


@dataclass(frozen=True)
class Grid:
    """How a matrix in a file is cut for the first pass.

    A unit is a piece of 4 MiB of the file, with all of the columns that begin in it. Where the entries of a column are
    apart, it is the whole matrix, or, where columns are very many, a stripe of columns; each of these accounts for an
    equal share of the pieces, which are only hashed then.

    Attributes
    ----------
    n, columns : int
    piece : int
        Entries of a piece. Those of a column in each piece are summed by themselves, except in stripes.
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
    def held(self) -> bool:
        """Whether norm codes and means of all columns are kept; otherwise a panel's are measured again."""
        return self.columns <= _HELD or not (self.contiguous or self.striped)

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return -(-self.entries // self.piece)

    @property
    def units(self) -> int:
        """Number of units."""
        if self.contiguous:
            return self.pieces
        return -(-self.columns // _STRIPE) if self.striped else 1

    def begun(self, unit: int) -> tuple[int, int]:
        """Columns of a unit: the first, and the one behind the last."""
        if self.contiguous:
            start, stop = self.span(unit)
            return -(-start // self.n), -(-stop // self.n)
        width = _STRIPE if self.striped else self.columns
        return unit * width, min((unit + 1) * width, self.columns)

    def span(self, piece: int) -> tuple[int, int]:
        """Entries of a piece: the first, and the one behind the last."""
        return piece * self.piece, min((piece + 1) * self.piece, self.entries)

    def hashed(self, first: int, last: int) -> range:
        """Pieces that units first … last - 1 account for."""
        return range(first * self.pieces // self.units, last * self.pieces // self.units)
