"""Targets other than a rate: an error, a number of bytes; and the choice of κ and of the dropped columns."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import coded, kept
from nqz.plan import entropy
from nqz.plan.search import PLANNERS
from nqz.stages import norms
from nqz.stages.codings import CODINGS
from nqz.stages.lattices import LATTICES

RNG = np.random.default_rng(12)
GAUSS = RNG.standard_normal((512, 300)).astype(np.float32)
LOUD = (GAUSS * RNG.lognormal(0, 1, 300)).astype(np.float32)


@pytest.mark.parametrize("error", [0.9, 0.6, 0.3, 0.1, 0.01, 1e-4])
@pytest.mark.parametrize(
    "options",
    [{}, {"lattice": "z"}, {"allocate": "column"}, {"lattice": "e8", "coding": "voronoi"}],
    ids=str,
)
@pytest.mark.parametrize("x", [GAUSS, LOUD], ids=["gauss", "loud"])
def test_error_is_met_and_no_bits_are_wasted(x, options, error):
    found = coded(nqz.encode(x, error=error, **options)).predicted_product()
    assert found <= error
    assert found >= 0.93 * error if options.get("coding") == "voronoi" else found >= 0.995 * error


def test_an_error_that_kappa_rules_out_is_refused():
    assert coded(nqz.encode(GAUSS, error=0.4, kappa=0.7)).predicted_product() == pytest.approx(0.4, rel=0.005)
    with pytest.raises(nqz.UsageError, match=r"error of 0\.2 .* kappa"):
        nqz.encode(GAUSS, error=0.2, kappa=0.7)


def test_a_smaller_error_takes_a_larger_file():
    sizes = [len(nqz.encode(GAUSS, error=error)) for error in (0.9, 0.5, 0.2, 0.05, 0.01, 1e-3)]
    assert sizes == sorted(sizes) and sizes[0] * 10 < sizes[-1]


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
@pytest.mark.parametrize("size", [2500, 10_000, 40_001, 100_000])
def test_max_bytes_is_kept_and_used(size, coding):
    data = nqz.encode(GAUSS, max_bytes=size, lattice="e8", coding=coding)
    assert (0.985 if size > 5000 else 0.96) * size <= len(data) <= size


def test_max_bytes_of_a_file_of_many_tensors(tmp_path):
    from safetensors.numpy import save_file

    tensors = {"a": GAUSS, "b": LOUD, "bias": np.arange(5000, dtype=np.float32), "ids": np.arange(700)}
    save_file(tensors, tmp_path / "m.safetensors")
    from nqz.cli import run

    for size in (60_000, 150_000):
        assert run(["encode", str(tmp_path / "m.safetensors"), "--max-bytes", str(size), "-q", "-f"]) == 0
        written = (tmp_path / "m.nqz").stat().st_size
        assert 0.98 * size <= written <= size


def test_what_cannot_fit_is_refused():
    with pytest.raises(nqz.UsageError, match="does not fit into 300 bytes"):
        nqz.encode(GAUSS, max_bytes=300)
    plenty = nqz.encode(GAUSS, max_bytes=10**9)
    assert len(plenty) <= 12 * GAUSS.size / 8


@pytest.mark.parametrize(
    "targets",
    [{}, {"rate": 2, "error": 0.1}, {"rate": 2, "max_bytes": 5000}, {"error": 0.1, "max_bytes": 5000}],
)
def test_exactly_one_target_is_needed(targets):
    with pytest.raises(nqz.UsageError, match="is needed" if not targets else "give only one of"):
        nqz.encode(GAUSS, **targets)


@pytest.mark.parametrize(
    "targets", [{"error": 0.0}, {"error": 1.0}, {"error": float("nan")}, {"max_bytes": 0}]
)
def test_targets_out_of_range_are_refused(targets):
    with pytest.raises(nqz.UsageError, match="needed"):
        nqz.encode(GAUSS, **targets)


def test_time_sharing_is_for_low_rates_and_helps():
    low, high = (coded(nqz.encode(GAUSS, rate=rate)) for rate in (0.4, 2.0))
    assert low.parameters.kappa < 0.7 and high.parameters.kappa == 1.0
    forced = coded(nqz.encode(GAUSS, rate=0.4, kappa=1.0))
    assert forced.parameters.kappa == 1.0
    assert low.predicted_product() < forced.predicted_product()


def test_only_columns_that_do_not_pay_for_their_bits_are_dropped():
    """The rule of reverse water-filling, x²/(1 + x) < 2 ln 2 R(x), with a margin towards keeping."""
    matrix = coded(nqz.encode(LOUD, rate=1.0))
    coded_columns, p = kept(matrix), matrix.parameters
    assert 0 < (~coded_columns).sum() < len(coded_columns)
    x = norms.energy(matrix.codes()) / p.n / (p.lattice.second_moment * 4.0 ** (p.delta / 4096))
    gain = x * x / (1 + x)
    bits = 0.5 * np.log2(1 + x)
    assert (gain[~coded_columns] < 2 * np.log(2) * (bits[~coded_columns] + 0.05)).all()
    codes = matrix.codes()
    assert codes[~coded_columns].max() <= codes[coded_columns].min() + 64


def test_the_drop_rule_is_near_its_optimum():
    """No other threshold lowers the expected error at the same rate by more than three percent."""
    codes = coded(nqz.encode(LOUD, rate=1.0)).codes()
    lattice, n = LATTICES["conv128"], len(LOUD)
    budget = 1.0 * LOUD.size

    def error(lowest):
        columns = entropy.Columns(n, norms.Histogram.of(codes), lattice, "matrix", lowest)
        delta, _ = columns.solve(n, budget)
        return 1 - columns.shrinkage(delta) ** 2

    ours = entropy.lowest_class(lattice)
    best = min(error(lowest) for lowest in range(ours - 12, ours + 13))
    assert error(ours) <= 1.03 * best


def test_every_coding_has_a_planner():
    assert PLANNERS.keys() == CODINGS.keys()
