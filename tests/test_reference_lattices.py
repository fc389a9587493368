"""Every lattice of the reference keeps the contract of `nqz.reference.lattices.contract`."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.reference.fixed_point import UNIT
from nqz.reference.lattices import FAMILIES, LATTICES, NESTED
from nqz.reference.lattices.contract import from_blocks, to_blocks
from nqz.stages import lattices

EVERY = list(LATTICES.values())
SMALL = [lattice for lattice in EVERY if lattice.number < 40]
MODELLED = [lattice for lattice in SMALL if lattice.models_code]
LANES = 4


def names(chosen):
    return [lattice.name for lattice in chosen]


def fixed(lattice, groups=30):
    """Fixed-point coordinates of a chunk, [P]."""
    return np.random.default_rng(lattice.number).integers(-2000, 2000, groups * lattice.group * LANES)


def blocks_of(lattice):
    """Nearest points of a chunk, [T, lanes, block]."""
    return to_blocks(lattice.quantize(fixed(lattice), LANES, UNIT), lattice.block, LANES)


def states_of(lattice, index):
    state = np.zeros_like(index)
    for t in range(1, len(index)):
        state[t] = lattice.next_state(state[t - 1], index[t - 1])
    return state


@pytest.mark.parametrize("lattice", SMALL, ids=names(SMALL))
def test_states_and_indices_name_the_residues_of_points(lattice):
    point = blocks_of(lattice)
    index = lattice.index_of(point)
    assert index.shape == point.shape[:2]
    assert (index >= 0).all() and (index < 1 << lattice.code_bits).all()
    assert (lattice.residues(states_of(lattice, index), index) == point % (16 // lattice.fine)).all()


@pytest.mark.parametrize("lattice", SMALL, ids=names(SMALL))
def test_points_are_their_own_nearest_points(lattice):
    point = from_blocks(blocks_of(lattice))
    assert (lattice.nearest(UNIT * point, LANES, UNIT) == point).all()


@pytest.mark.parametrize(
    "lattice", [lattice for lattice in SMALL if lattice.number >= 32], ids=lambda lattice: lattice.name
)
def test_metrics_of_8_bits_find_points_nearly_as_near(lattice):
    """0.0005 bit are 0.07 % of squared distances."""
    x = np.random.default_rng(lattice.number).integers(-(1 << 14), 1 << 14, 1 << 16)
    found, nearest = (
        np.square((UNIT * point - x) / UNIT).mean()
        for point in (lattice.quantize(x, LANES, UNIT), lattice.nearest(x, LANES, UNIT))
    )
    assert 1.0 <= found / nearest < 1.0015


@pytest.mark.parametrize("lattice", NESTED.values(), ids=names(NESTED.values()))
def test_digits_name_cosets_of_which_one_point_lies_in_the_cell(lattice):
    point = to_blocks(from_blocks(blocks_of(lattice)), lattice.group, LANES)
    for q in (2, 3, 64):
        digits = lattice.to_digits(point, q)
        assert (digits >= 0).all() and (digits < q).all()
        other = lattice.from_digits(digits)
        assert (lattice.to_digits(other, q) == digits).all()
        # The difference is in q times the lattice: its nearest point there is itself.
        assert (q * lattice.nearest_point(other - point, q) == other - point).all()


@pytest.mark.parametrize("lattice", MODELLED, ids=names(MODELLED))
def test_chances_are_those_of_the_residues(lattice):
    """Where one residue is certain at each coordinate, so are the bits of the index."""
    point = blocks_of(lattice)
    index = lattice.index_of(point)
    state, residue = states_of(lattice, index), point % (16 // lattice.fine)
    weight = 65535 * (residue[..., None] == np.arange(16 // lattice.fine))
    chances = lattice.chances(weight)
    assert len(chances) == lattice.code_bits
    for b, chance in enumerate(chances):
        branch = lattice.branch(state, index >> (b + 1))
        p1 = np.take_along_axis(chance, branch[..., None], axis=-1)[..., 0]
        assert (p1 == np.where(index >> b & 1, 4095, 1)).all()


@pytest.mark.parametrize("lattice", EVERY, ids=names(EVERY))
def test_constants_fit_together(lattice):
    assert lattice.group % lattice.block == 0 and UNIT % lattice.fine == 0 and 16 % lattice.fine == 0
    assert LATTICES[lattice.number] is lattice
    assert (lattice.number in NESTED) == hasattr(lattice, "to_digits")
    assert sum(lattice in family for family in FAMILIES.values()) == 1


@pytest.mark.parametrize("lattice", EVERY, ids=names(EVERY))
def test_the_stages_mean_the_same_lattice(lattice):
    stage = lattices.LATTICES[lattice.name]
    assert (stage.number, stage.fine, stage.group) == (lattice.number, lattice.fine, lattice.group)
    assert stage.second_moment == lattice.second_moment
    assert stage.code_bits * lattice.block == lattice.code_bits
    assert stage.last_follows == lattice.last_follows
    assert (stage.voronoi is not None) == (lattice.number in NESTED)
    assert (stage.modelled_below > 0) <= lattice.models_code


def test_there_are_as_many_lattices_in_the_stages():
    assert sorted(lattices.LATTICES) == sorted(names(EVERY))


@pytest.mark.parametrize("lattice", SMALL, ids=names(SMALL))
def test_the_period_of_the_dither_is_one_of_the_lattice(lattice):
    """What makes levels 0 to 15 uniform modulo the lattice, for one dimension at a time."""
    period = 16 // lattice.fine * (2 if lattice.last_follows else 1)
    for at in range(lattice.group):
        point = np.zeros(lattice.group * LANES, dtype=np.int64)
        point[at * LANES] = period
        assert (lattice.quantize(UNIT * point, LANES, UNIT) == point).all()
