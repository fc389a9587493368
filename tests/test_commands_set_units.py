"""Errors of part sets are told as those of the one matrix that they are: relative to energies around whole means."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nqz
from cli_tools import succeed

N, A, B = 640, 160, 120
MEANS = np.repeat([[0.0], [1.0], [2.0], [3.0]], N // 4, axis=0)


def written(folder, seed, **options):
    """Two related matrices, the parts of which have means of their own, as a set and in other forms; and their unit."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((N, A)) + MEANS).astype(np.float32)
    y = (rng.standard_normal((N, B)) + 0.2 * x[:, :B] + MEANS).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    nqz.encode_set(x, folder / "x.nqzset", rate=3, parts=(4, 2), seed=seed, **options)
    nqz.encode_set(y, folder / "y.nqzset", rate=3, parts=(4, 1), seed=seed, **options)
    nqz.encode(y, folder / "y.nqz", rate=3, center=True, seed=seed)
    x, y = x.astype(np.float64), y.astype(np.float64)
    return x, y, np.square(x - x.mean(0)).sum(), np.square(y - y.mean(0)).sum()


@pytest.mark.parametrize("options", [{"coding": "entropy"}, {"coding": "voronoi", "lattice": "e8"}])
def test_errors_of_parts_with_unlike_means_are_predicted_in_the_unit_of_the_whole(tmp_path, options):
    ratios = {"y.nqzset": [], "y.npy": [], "y.nqz": []}
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        x, y, left, right = written(folder, seed, **options)
        for name, found in ratios.items():
            sides = folder / "x.nqzset", folder / name
            error = np.square(nqz.matmul(*sides) - x.T @ y).sum() / (left * right / N)
            found.append(error / nqz.predicted_error(*sides))
    for found in ratios.values():
        assert np.mean(found) == pytest.approx(1.0, abs=0.04)


def test_what_is_said_of_a_set_alone_is_in_the_unit_of_the_whole(tmp_path, capsys):
    x, _, energy, _ = written(tmp_path, 0)
    lost = np.square(nqz.decode(tmp_path / "x.nqzset") - x).sum() / energy
    whole = json.loads(succeed(capsys, "inspect", tmp_path / "x.nqzset", "--json").out)["whole"]
    assert whole["predicted"]["reconstruction"] == pytest.approx(lost, rel=0.03)
    rng = np.random.default_rng(1)
    nqz.encode_set(
        rng.standard_normal((N, A)).astype(np.float32), tmp_path / "z.nqzset", rate=3, parts=(4, 2)
    )
    sides = tmp_path / "x.nqzset", tmp_path / "z.nqzset"
    assert whole["predicted"]["product"] == pytest.approx(nqz.predicted_error(*sides), rel=0.05)
    with nqz.open(tmp_path / "x.nqzset") as opened:
        assert opened.matrix.predicted_error == whole["predicted"]["product"]
    compared = succeed(capsys, "compare", tmp_path / "x.npy", tmp_path / "x.nqzset", "--json").out
    assert json.loads(compared)["totals"]["error"] == pytest.approx(lost, rel=0.001)
    assert json.loads(compared)["totals"]["energy_error"] == pytest.approx(lost, rel=0.001)


def test_noise_of_rings_has_nothing_to_do_with_the_means_of_parts(tmp_path):
    ratios = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        x, y, left, right = written(folder, seed, coding="trellis")
        sides = folder / "x.nqzset", folder / "y.nqz"
        error = np.square(nqz.matmul(*sides) - x.T @ y).sum() / (left * right / N)
        ratios.append(error / nqz.predicted_error(*sides))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)
