"""Lattices, transforms and codings: what their contracts promise, for every one that is registered."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nqz import kernels
from nqz.format import chnk, header
from nqz.plan.search import PLANNERS
from nqz.reference.codings import ring_codes
from nqz.stages import center, norms
from nqz.stages.codings import CODINGS, trellis
from nqz.stages.codings.nesting import Nesting
from nqz.stages.codings.trellis import Water
from nqz.stages.lattices import DEFAULT, DEFAULT_STATES, FAMILIES, LATTICES, choose
from nqz.stages.parameters import Parameters
from nqz.stages.transforms import TRANSFORMS
from nqz.stages.transforms.hadamard2 import signs

ALL = [*LATTICES.values(), *TRANSFORMS.values(), *CODINGS.values()]
PARAMETERS = Parameters(
    n=50, columns=7, m=40, transform=TRANSFORMS["hadamard-2"], lattice=LATTICES["e8"], coding=CODINGS["voronoi"],
    allocate="column", delta=-32768, lowest_class=0, mean_digits=2,
    norm_step=1, rotation_seed=9, dither_key=bytes(range(16)),
    coding_parameters=Nesting((3, 4), 77, ((1, 2, 3, 4), (2, 3, 4, 5)), 0.98, 1.01),
)  # fmt: skip


SUITED = {
    "entropy": replace(PARAMETERS, coding=CODINGS["entropy"], coding_parameters=None),
    "voronoi": PARAMETERS,
    "trellis": replace(
        PARAMETERS, coding=CODINGS["trellis"], coding_parameters=Water(0, -1200), lattice=None, m=PARAMETERS.n,
        allocate="matrix", delta=0,
    ),
}  # fmt: skip
"""Parameters by coding, for each such as it takes."""


@pytest.mark.parametrize("thing", ALL, ids=lambda thing: thing.name)
def test_there_is_one_of_each_in_every_process(thing):
    assert pickle.loads(pickle.dumps(thing)) is thing  # noqa: S301


def test_parameters_are_plain_values():
    again = pickle.loads(pickle.dumps(PARAMETERS))  # noqa: S301
    assert again == PARAMETERS and again.lattice is PARAMETERS.lattice and again.coding is PARAMETERS.coding
    again.check()


def test_numbers_of_lattices_are_their_own():
    numbers = [lattice.number for lattice in LATTICES.values()]
    assert len(set(numbers)) == len(numbers) and max(numbers) < 64


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=lambda lattice: lattice.name)
def test_constants_of_a_lattice_fit_together(lattice):
    assert lattice.group % lattice.block == 0
    assert lattice.second_moment > 0 and lattice.fine in (4, 8, 16)
    assert lattice.ahead_below <= lattice.modelled_below
    if lattice.voronoi is not None:
        cells = [
            *lattice.voronoi.cells.values(),
            *(row for pair in lattice.voronoi.mixed.values() for row in pair),
        ]
        assert min(lattice.voronoi.cells) == 2 and list(lattice.voronoi.cells) == sorted(
            lattice.voronoi.cells
        )
        assert all(len(row) == 4 and list(row) == sorted(row) for row in cells)


def test_the_theory_states_moments_and_ideal_excesses():
    text = (Path(__file__).parent.parent / "docs" / "theory.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(LATTICES)
    for name, moment, excess in rows:
        lattice = LATTICES[name]
        assert f"{lattice.second_moment:.6f}" == moment
        # standard errors below 0.01 %, and the last digit that is shown
        ideal = 0.5 * np.log2(2 * np.pi * np.e * lattice.second_moment / lattice.side**2)
        assert abs(ideal - float(excess)) < 0.00015


def test_families_cover_all_lattices():
    assert [lattice for family in FAMILIES.values() for lattice in family] != []
    assert {lattice.name for family in FAMILIES.values() for lattice in family} == set(LATTICES)
    assert choose(DEFAULT).states == DEFAULT_STATES
    assert choose("conv", 16) is LATTICES["conv16"] and choose("leech") is LATTICES["leech"]


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=lambda transform: transform.name)
@pytest.mark.parametrize("n", [1, 6, 33, 96, 128])
def test_transforms_rotate_what_is_centered_and_restore_it(transform, n):
    rng = np.random.default_rng(n)
    x, mean = rng.standard_normal((n, 9)).astype(np.float32), rng.standard_normal(9)
    exponent = rng.integers(-3, 3, 9).astype(np.int32)
    place = np.array([3, -1, 0, 1, 2, 4, 5, 7, 6])
    together, apart = np.empty((8, n), np.float32), np.empty((8, n), np.float32)
    transform.center_rotate(x, False, mean, exponent, 5, together, place)
    center.center(x, False, mean, exponent, apart, place)
    transform.rotate(apart, 5)
    assert np.array_equal(together, apart)
    points = np.rint(together * 1024).astype(np.int32)
    back = np.empty((n, 9))
    transform.restore(points, 5, np.ldexp(1.0, exponent - 10), mean, back, place)
    assert np.abs(np.delete(back - x, 1, axis=1)).max() < 0.1
    assert np.array_equal(back[:, 1], np.full(n, mean[1]))


def test_hadamard_2_undoes_itself():
    u = np.random.default_rng(2).standard_normal((4, 40)).astype(np.float32)
    v = u.copy()
    TRANSFORMS["hadamard-2"].rotate(v, 1)
    kernels.rotate(v, signs(1, 40), True)
    assert np.abs(u - v).max() < 1e-5


def test_rings_are_measured_in_the_units_of_the_reference():
    assert trellis.WINDOWS == ring_codes.WINDOWS and trellis._ENTRY_UNIT == ring_codes.ENTRY_UNIT
    assert set(trellis.THRESHOLDS) == set(ring_codes.BITS2)


def test_every_coding_has_a_layout_parameters_and_a_planner():
    assert set(chnk.LAYOUTS) == set(header._CODING_PARAMETERS) == set(PLANNERS) == set(CODINGS)


@pytest.mark.parametrize("coding", CODINGS.values(), ids=lambda coding: coding.name)
def test_codings_check_what_they_are_given(coding):
    with pytest.raises(ValueError, match="disagree"):
        replace(SUITED[coding.name], coding_parameters="something").check()
    with pytest.raises(ValueError, match=r"scale is out of range|no lattice scale"):
        replace(SUITED[coding.name], delta=1 << 40).check()
    with pytest.raises(ValueError, match="lattice"):
        other = None if SUITED[coding.name].lattice else LATTICES["e8"]
        replace(SUITED[coding.name], lattice=other).check()
    assert all(coding.allocations.count(way) == 1 for way in coding.allocations)


@pytest.mark.parametrize("coding", CODINGS.values(), ids=lambda coding: coding.name)
def test_columns_are_scaled_by_their_norms_alone(coding):
    p = SUITED[coding.name]
    p.check()
    codes = np.array([norms.ZERO, -500, 0, 0, 700])
    found = coding.scaling(p, codes)
    assert found.kept.tolist() == [False, True, True, True, True]
    assert np.isinf(found.noise[0]) and np.isfinite(found.noise[1:]).all()
    one = [coding.scaling(p, codes[i : i + 1]) for i in range(5)]
    assert found.noise.tolist() == [float(x.noise[0]) for x in one]
    assert found.classes.tolist() == [int(x.classes[0]) for x in one]
    units = coding.unit(p, codes, 3)
    assert units.tolist() == [float(coding.unit(p, codes[i : i + 1], 3)[0]) for i in range(5)]
    assert np.array_equal(coding.unit(p, codes), 8 * units)
    assert sum(coding.cut(p, 30000)) == 30000 * p.m and coding.cut(p, 0) == []
