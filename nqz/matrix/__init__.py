"""A coded tensor: one object for decode, verify, sweep, products and Python, with one loop over its blocks."""

from __future__ import annotations

from nqz.matrix.matrix import Matrix, open_matrix
from nqz.matrix.panels import CodedPanel, Columns

__all__ = ["CodedPanel", "Columns", "Matrix", "open_matrix"]
