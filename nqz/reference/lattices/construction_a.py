"""Construction A, {λ in Zⁿ : λ mod 2 is a codeword}: what the lattices of binary codes share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nqz.reference.arrays import Ints

Checks = Mapping[int, tuple[int, ...]]
"""Parity coordinates of a group, and the information coordinates whose sum has the same parity."""


def nearest_even(x: Ints, unit: Ints | int) -> tuple[Ints, Ints, Ints]:
    """Return the nearest even point, what an odd coordinate costs more, and the step to the nearest odd one."""
    r = (x + unit) % (2 * unit) - unit
    even: Ints = np.floor_divide(x - r, unit)
    return even, unit - 2 * np.abs(r), np.where(r >= 0, 1, -1)


def to_digits(point: Ints, q: Ints | int, checks: Checks) -> Ints:
    """Return the digits of the coset modulo qΛ of points [..., group]: information modulo q, and halves of the rest."""
    value: Ints = point.copy()
    for j, information in checks.items():
        value[..., j] = (point[..., j] - point[..., information].sum(axis=-1)) // 2
    digits: Ints = value % q
    return digits


def from_digits(digits: Ints, checks: Checks) -> Ints:
    """Return a point of the coset of digits [..., group]."""
    point: Ints = digits.copy()
    for j, information in checks.items():
        point[..., j] = digits[..., information].sum(axis=-1) + 2 * digits[..., j]
    return point
