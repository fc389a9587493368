"""A sweep over short vectors with means: errors of all points are relative to the same energies, as limits are."""

from __future__ import annotations

import numpy as np
import pytest

import nqz

RNG = np.random.default_rng(5)


def shifted(n, count, mean):
    """Columns with means of their own."""
    return (RNG.standard_normal((n, count)) + mean * (1 + RNG.standard_normal(count))).astype(np.float32)


def relative(x, centered):
    """Energy of columns, without their means or with them."""
    x = x.astype(np.float64)
    return np.square(x - x.mean(axis=0) if centered else x).sum()


def kept(x, rate):
    """Whether means are kept at some rate."""
    with nqz.open(nqz.encode(x, rate=rate, lattice="z")) as file:
        return file.reader.sizes(0).get("MEAN", 0) > 0


def test_errors_are_those_of_encode_where_no_means_are_kept():
    x = shifted(3, 1500, 5.0)
    report = nqz.sweep(x, rates=(2, 4), lattices=("z",))
    assert not report["warnings"] and not kept(x, 2) and not kept(x, 4)
    for point in report["points"]:
        with nqz.open(nqz.encode(x, rate=point["rate_asked"], lattice="z")) as file:
            assert point["error"] == pytest.approx(file[""].predicted_error, rel=1e-6)
        assert 1e-6 < point["limit"] < point["error"] < 0.5


def test_means_that_are_kept_at_some_rates_do_not_mix_units():
    a, b = shifted(8, 1500, 10.0), shifted(8, 300, 0.0)
    assert [kept(x, rate) for x in (a, b) for rate in (2, 4)] == [False, True, False, False]
    ratio = relative(a, False) / relative(a, True)
    report = nqz.sweep(a, against=b, rates=(2, 4), lattices=("z",))
    assert ratio > 50 and len(report["warnings"]) == 1 and "1 of 2 encodings" in report["warnings"][0]
    for point, factor in zip(report["points"], (ratio, 1.0), strict=True):
        rate = point["rate_asked"]
        both = [nqz.encode(x, rate=rate, lattice="z") for x in (a, b)]
        found = nqz.matmul(*both, dtype="float64")
        scale = relative(a, True) * relative(b, False) / len(a)  # as no encoding keeps means of b
        measured = np.square(found - a.astype(np.float64).T @ b.astype(np.float64)).sum() / scale
        assert point["measured"]["against"] == pytest.approx(measured, rel=1e-3)
        with nqz.open(both[0]) as file:
            own = file[""].predicted_reconstruction
        assert point["predicted"]["reconstruction"] == pytest.approx(own * factor, rel=0.01)
        assert point["measured"]["reconstruction"] == pytest.approx(own * factor, rel=0.1)
        assert point["error_equivalent"] is None or point["error_equivalent"] > point["limit"]
