"""Elementary functions: against decimal arithmetic, the same bits whatever processor, BLAS and threads do."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coded_cases import enabled_features
from nqz import kernels
from nqz.ground.arithmetic import GRID, exp, exp2, log2, round_log2, total

CONTEXT = decimal.Context(prec=60)
LN2 = CONTEXT.ln(Decimal(2))


def ulps(got, true: Decimal) -> float:
    """Distance from the true value in units in the last place."""
    return float(abs(Decimal(float(got)) - true) / Decimal(float(np.spacing(abs(float(true))))))


@settings(max_examples=300, deadline=None)
@given(st.floats(-699, 700))
def test_exp_is_within_two_ulp(x):
    assert ulps(exp(x), CONTEXT.exp(Decimal(x))) <= 2


def test_exp_of_very_negative_arguments_is_zero():
    assert exp([-701.0, -1e300, 0.0]).tolist() == [0.0, 0.0, 1.0]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.floats(1e-300, 1e300), st.floats(0.5, 2)))
@example(1.3700787691740557)  # 3.01 ulp
def test_log2_is_within_four_ulp(x):
    true = CONTEXT.divide(CONTEXT.ln(Decimal(x)), LN2)
    assert ulps(log2(x), true) <= 4 if true else log2(x) == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(-1000 * GRID, 1000 * GRID))
def test_exp2_is_within_a_few_ulp_of_the_grid(code):
    assert ulps(exp2(code), CONTEXT.power(Decimal(2), Decimal(code) / GRID)) <= 6


def test_the_grid_is_increasing_and_its_octaves_are_exact():
    values = exp2(np.arange(-GRID, 2 * GRID + 1))
    assert (np.diff(values) > 0).all()
    assert values[::GRID].tolist() == [0.5, 1.0, 2.0, 4.0]
    assert np.array_equal(values[GRID:], 2 * values[:-GRID])


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-300, 1e300), st.sampled_from([1, 4, 256, 2048]))
def test_round_log2_gives_the_nearest_step(x, steps):
    true = CONTEXT.divide(CONTEXT.ln(Decimal(x)), LN2) * steps
    assert abs(Decimal(int(round_log2(x, steps))) - true) <= Decimal("0.5") + Decimal("1e-9")


def test_round_log2_is_monotone_and_exact_on_the_grid():
    for steps in (4, 256, 2048):
        codes = np.arange(-3 * steps, 3 * steps)
        assert np.array_equal(round_log2(exp2(codes * (GRID // steps)), steps), codes)
        edges = np.sort(np.concatenate([exp2(np.arange(-GRID, GRID)) * f for f in (1 - 1e-16, 1, 1 + 3e-16)]))
        assert (np.diff(round_log2(edges, steps)) >= 0).all()


def test_total_adds_in_order():
    x = np.array([1e16, 1.0, 1.0, -1e16, 3.0] * 50)
    expected = 0.0
    for value in x.tolist():
        expected += value
    assert total(x) == expected != float(np.sum(x[::-1]))
    assert total([]) == 0.0


def run(**changes: str) -> list[str]:
    """Fingerprint, kernels and CPU features of a process with a changed environment."""
    import nqz

    environment = {**os.environ, **changes}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(nqz.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    script = Path(__file__).with_name("coded_cases.py")
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def chosen() -> list[str]:
    """Fingerprint and kernels of a process that may choose."""
    return run()[:2]


@pytest.fixture(scope="module")
def plain(chosen) -> str:
    return chosen[0]


def test_bytes_do_not_depend_on_the_features_numpy_uses(plain):
    features = enabled_features()
    digest, _, left = [*run(NPY_DISABLE_CPU_FEATURES=" ".join(features)), ""][:3]
    assert digest == plain
    assert left == "", "the features were not disabled, so nothing was tested"


@pytest.mark.parametrize(
    "changes",
    [
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "3"},
    ],
    ids=lambda changes: changes["OPENBLAS_CORETYPE"],
)
def test_bytes_do_not_depend_on_blas(plain, changes):
    assert run(**changes)[0] == plain


@pytest.mark.parametrize("name", kernels.implementations())
def test_bytes_do_not_depend_on_the_kernels(chosen, name):
    digest, used = chosen if chosen[1].split(":")[-1] == name else run(NQZ_KERNELS=name)[:2]
    assert used.split(":")[-1] == name
    assert digest == chosen[0]
