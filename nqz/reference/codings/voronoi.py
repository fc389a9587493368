"""Voronoi code Λ/qΛ with a set of scales against overload (docs/theory.md, section 6; docs/format.md, section 16).

A group is coded by the coset of its lattice point modulo qΛ: one digit to base q for every coordinate. The decoder
takes the member of the coset that lies in the Voronoi cell of qΛ (Conway & Sloane, A fast encoding method for lattice
codes and quantizers, 1983). A point outside the cell would come back as another (overload), so the encoder tries
coarser and coarser scales until it comes back as itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nqz.ground.corrupt import CorruptStream
from nqz.reference.arrays import Array, Bits, Ints, check, require, within
from nqz.reference.dither import Key, levels_of
from nqz.reference.fixed_point import UNIT, fixed_point, scaled
from nqz.reference.lattices import nested_lattice_of
from nqz.reference.lattices.contract import NestedLattice, from_blocks, to_blocks
from nqz.reference.layout import Place

SHRINK_LIMIT = 200


@dataclass(frozen=True, eq=False)
class Nest:
    """Moduli and scales of a Voronoi code; ValueError if they are out of range.

    Attributes
    ----------
    lattice : int
        Number of a lattice that has a Voronoi code.
    q : numpy.ndarray
        int32 [2], the two moduli, 2 to 4096.
    multiplier : numpy.ndarray
        int32 [2, 4], ascending scales of each modulus, 1 to 32767.
    """

    lattice: int
    q: Array
    multiplier: Array

    def __post_init__(self) -> None:
        nested_lattice_of(self.lattice)
        check({"q int32 [2]": self.q, "multiplier int32 [2, 4]": self.multiplier})
        require(within(self.q, 2, 4096), "q must be 2 to 4096")
        require(within(self.multiplier, 1, 32767), "multiplier must be 1 to 32767")


def member(lattice: NestedLattice, digits: Ints, level: Ints, q: Ints) -> Ints:
    """Return the fine coordinates [..., group] of the coset's member in the cell of qΛ around the dither."""
    x = lattice.fine * lattice.from_digits(digits) - level
    return x - lattice.fine * q * lattice.nearest_point(x, lattice.fine * q)


def check_nest(place: Place, nest: Nest, choice: Array) -> NestedLattice:
    """Return the lattice of a chunk; ValueError where the nest and the choice of its moduli do not fit the place."""
    require(place.lattice == nest.lattice, "the place and the nest are of different lattices")
    check({"choice uint8 [group rows]": choice}, **place.sizes)
    require(within(choice, 0, 1), "choice must be 0 or 1")
    return nested_lattice_of(nest.lattice)


def voronoi_encode(
    place: Place,
    key: Key,
    nest: Nest,
    choice: Array,
    u: Array,
    scale: Array,
    digits: Array,
    beta: Array,
    points: Array,
) -> tuple[int, int]:
    """Code a chunk at a fixed rate.

    Parameters
    ----------
    place, key, u, scale
        As in `dither_quantize`.
    nest : Nest
    choice : numpy.ndarray
        uint8 [group rows], which modulus a group row uses.
    digits : numpy.ndarray
        uint16 [P], written: digits below q.
    beta : numpy.ndarray
        uint8 [groups], written: the index of the scale of group row g, lane l at g · L + l.
    points : numpy.ndarray
        int32 [P], written: multiplier times fine coordinate.

    Returns
    -------
    tuple of int
        Sums of fixed-point entry times `points` and of the squares of `points`, over the N entries (int64).
    """
    lattice = check_nest(place, nest, choice)
    coded = {"digits uint16 [P]": digits, "beta uint8 [groups]": beta, "points int32 [P]": points}
    check({"u float32 [N]": u, "scale float32 [c]": scale, **coded}, **place.sizes)
    lanes, row = place.lanes, lattice.group * place.lanes
    forward = scale[place.columns(scale.size)[: place.count]]
    z = to_blocks(levels_of(place, key), lattice.group, lanes)
    base = nest.q.astype(np.int64)[choice][:, None, None]
    steps = nest.multiplier.astype(np.int64)[choice]  # [group rows, 4]

    def attempt(t: Ints) -> tuple[Ints, Ints, Bits]:
        point = lattice.nearest_point(t + z * (UNIT // lattice.fine), UNIT)
        digit = lattice.to_digits(point, base)
        back = member(lattice, digit, z, base)
        return digit, back, (back == lattice.fine * point - z).all(axis=-1)

    open_ = np.ones(z.shape[:2], dtype=bool)
    index = np.zeros(z.shape[:2], dtype=np.int64)
    chosen_digit, chosen = np.zeros_like(z), np.zeros_like(z)
    t = z
    for j in range(4 + SHRINK_LIMIT):
        if j < 4:
            factor = np.float32(1) / steps[:, j].astype(np.float32)
            v = scaled(u, forward, np.repeat(factor, row)[: place.count])
            t = to_blocks(fixed_point(v, place.positions), lattice.group, lanes)
        else:
            # Overload even at the coarsest scale: shrink the group until it fits; the zero point always does.
            t = (t * 15) >> 4 if j < 3 + SHRINK_LIMIT else np.zeros_like(t)
        digit, back, accepted = attempt(t)
        take = open_ & accepted
        index[take] = min(j, 3)
        chosen_digit[take], chosen[take] = digit[take], back[take]
        open_ &= ~accepted
        if not open_.any():
            break

    digits[...] = from_blocks(chosen_digit)
    beta[...] = index.reshape(-1)
    points[...] = from_blocks(np.take_along_axis(steps, index, axis=1)[..., None] * chosen)
    y = points[: place.count].astype(np.int64)
    return int(fixed_point(scaled(u, forward), place.count) @ y), int(y @ y)


def voronoi_decode(
    place: Place, key: Key, nest: Nest, choice: Array, digits: Array, beta: Array, out: Array
) -> None:
    """Decode what `voronoi_encode` coded: writes its `points` to `out`, int32 [P]; columns do not matter.

    Raises
    ------
    CorruptStream
        If a digit is not below its q, or an index of a scale not below 4.
    """
    lattice = check_nest(place, nest, choice)
    coded = {"digits uint16 [P]": digits, "beta uint8 [groups]": beta}
    check({**coded, "out int32 [P]": out}, **place.sizes)
    base = nest.q.astype(np.int64)[choice][:, None, None]
    digit = to_blocks(digits.astype(np.int64), lattice.group, place.lanes)
    if (digit >= base).any():
        raise CorruptStream("a digit is out of range")
    if (beta >= 4).any():
        raise CorruptStream("the index of a scale is out of range")
    level = to_blocks(levels_of(place, key), lattice.group, place.lanes)
    index = beta.reshape(-1, place.lanes).astype(np.int64)
    steps = np.take_along_axis(nest.multiplier.astype(np.int64)[choice], index, axis=1)
    out[...] = from_blocks(steps[..., None] * member(lattice, digit, level, base))
