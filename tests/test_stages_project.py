"""Rotation and projection: isometries, shared by all files of one seed, and random enough."""

from __future__ import annotations

import numpy as np
import pytest

from nqz import kernels
from nqz.stages import project
from nqz.stages.transforms.hadamard2 import HADAMARD2, signs


@pytest.mark.parametrize("n", [1, 2, 3, 7, 11, 63, 96, 384, 769, 1000])
def test_rotation_keeps_inner_products_and_can_be_undone(n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((6, n)).astype(np.float32)
    u = x.copy()
    HADAMARD2.rotate(u, 9)
    gram = x.astype(np.float64) @ x.T
    assert np.abs(u.astype(np.float64) @ u.T - gram).max() <= 3e-6 * np.abs(gram).max()
    if n > 3:
        assert np.abs(u - x).max() > 0.1
    kernels.rotate(u, signs(9, u.shape[1]), True)
    assert np.abs(u - x).max() <= 1e-5


def test_signs_depend_on_seed_length_and_round():
    drawn = [signs(seed, n)[r].tobytes() for seed, n in ((0, 640), (1, 640), (0, 639)) for r in (0, 1)]
    assert len(set(drawn)) == 6


def test_kept_sets_are_nested_sorted_and_of_the_right_size():
    for seed, n in ((0, 100), (3, 1023)):
        previous: set[int] = set()
        for m in (1, 2, n // 3, n // 2, n - 1):
            chosen = project.kept(seed, n, m)
            assert len(chosen) == m and (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < n
            assert previous <= set(chosen.tolist())
            previous = set(chosen.tolist())
    assert project.kept(0, 100, 100) is None


def test_kept_sets_are_uniform():
    """Every coordinate, and every pair at distance n/2, is as likely as any other, to 5 deviations."""
    n, m, seeds = 64, 16, 1500
    single, double = np.zeros(n), 0
    for seed in range(seeds):
        inside = np.zeros(n, bool)
        inside[project.kept(seed, n, m)] = True
        single += inside
        double += int((inside[: n // 2] & inside[n // 2 :]).sum())
    p = m / n
    assert np.abs(single - seeds * p).max() <= 5 * np.sqrt(seeds * p * (1 - p))
    both = seeds * n / 2 * m * (m - 1) / (n * (n - 1))
    assert abs(double - both) <= 5 * np.sqrt(both)


def test_files_meet_on_the_smaller_kept_set():
    for m, smaller in ((100, 40), (70, 69), (5, 5), (99, 1)):
        place = project.meet(7, 100, m, smaller)
        all_kept = np.arange(100) if m == 100 else project.kept(7, 100, m)
        met = all_kept if place is None else all_kept[place]
        assert np.array_equal(met, project.kept(7, 100, smaller))


def test_embed_is_the_transpose_of_project():
    rng = np.random.default_rng(1)
    u, v = rng.standard_normal((3, 50)), rng.standard_normal((3, 20))
    assert np.allclose((project.project(u, 4, 20) * v).sum(), (u * project.embed(v, 4, 50)).sum(), rtol=1e-12)
    assert project.project(u, 4, 50) is u and project.embed(u, 4, 50) is u
