"""A coded tensor: one object for decode, verify, sweep, products and Python, with one loop over its blocks."""

from __future__ import annotations

from nqz.matrix.matrix import Matrix
from nqz.matrix.opening import open_matrix
from nqz.matrix.panels import CodedPanel, Columns
from nqz.matrix.told import Told

__all__ = ["CodedPanel", "Columns", "Matrix", "Told", "open_matrix"]
