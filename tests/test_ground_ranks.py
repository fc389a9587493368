"""Order statistics of numbers that are not held."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.ground.ranks import ranked

RNG = np.random.default_rng(8)
CASES = {
    "one": np.array([-3.5]),
    "zeros": np.array([0.0, -0.0, -0.0]),
    "normal": RNG.standard_normal(2001),
    "few different": RNG.integers(-3, 4, 900) * 1.0,
    "alike in their first bits": 1.0 + RNG.integers(0, 50, 1000) * 2.0**-52,
    "all magnitudes": np.ldexp(RNG.standard_normal(1000), RNG.integers(-1070, 1000, 1000)),
    "extreme": np.repeat([np.finfo(float).max, -np.finfo(float).max, 5e-324, -5e-324], 7),
}


@pytest.mark.parametrize("few", [0, 10, 300, 1 << 22])
@pytest.mark.parametrize("case", CASES)
def test_ranks_are_those_of_the_sorted_numbers(case, few, monkeypatch):
    monkeypatch.setattr("nqz.ground.ranks._FEW", few)
    x, calls = CASES[case], 0

    def parts():
        nonlocal calls
        calls += 1
        return np.array_split(x, 4)

    ranks = [0, (len(x) - 1) // 2, len(x) // 2, len(x) - 1, len(x) // 3]
    found = ranked(parts, len(x), ranks)
    assert found == np.sort(x)[ranks].tolist()
    assert not any(np.signbit(value) for value in found if value == 0)
    assert calls <= 4 and (calls == 1) is (len(x) <= few)
