"""Units of stored numbers that the stages and the reference both work in; the grid of lattice scales is `GRID`."""

NORM_STEPS = 256
"""Steps an octave of energy: a norm code c stands for ‖ā‖² = 2 ** (c / 256)."""

NORM_ZERO = -(1 << 31)
"""Norm code of a column whose energy is zero."""

FIXED_POINT = 256
"""Fixed-point units in one integer step of a lattice, in which nearest points are searched."""

MIN_RATE, MAX_RATE = 0.05, 12.0
"""Rates that can be asked for, bits an entry."""
