"""A coded tensor: one object for decode, verify, sweep, products and Python, with one loop over its blocks."""

from __future__ import annotations

from nqz.matrix.matrix import Columns, Matrix, open_matrix

__all__ = ["Columns", "Matrix", "open_matrix"]
