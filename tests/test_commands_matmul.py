"""Products of containers: the expected error is the real one; one-sided, with itself, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from coded_cases import KINDS, SCHEMES, Truth, centered, coded, encoded, pair, scheme
from container_builder import taken_apart
from nqz.commands.factors import Coded
from nqz.commands.matmul import MatmulOptions, prepare
from nqz.commands.multiply import multiply
from nqz.commands.pairs import Pair, pair_up
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source
from nqz.format.header import SCHEMA
from nqz.format.reader import ContainerReader
from nqz.ground.errors import OperandError, UsageError
from nqz.ground.threads import Workers, workers
from nqz.stages import norms
from nqz.stages.estimate import ESTIMATORS

SEEDS = 6


def ratio(a, b, make, estimator, proportional=False):
    """Mean real over mean expected error of some seeds, and what it may be off by: 2 % or 4 deviations.

    A standard deviation of products as small as these is up to 1.35 times that of the formula.
    """
    truth = Truth(a, b)
    real, expected = [], []
    for seed in range(SEEDS):
        left, right = make(seed)
        real.append(truth.error(nqz.matmul(left, right, estimator=estimator, dtype="float64")))
        expected.append(nqz.predicted_error(left, right, estimator))
    deviation = truth.proportional if proportional else truth.deviation
    return np.mean(real) / np.mean(expected), max(0.02, 4 * 1.35 * deviation / np.sqrt(SEEDS))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_expected_error_is_the_real_one(kind, estimator):
    a, b = pair(kind)

    def make(seed):
        return encoded(a, rate=2, seed=seed), encoded(b, rate=2.5, seed=seed)

    found, allowed = ratio(a, b, make, estimator)
    assert found == pytest.approx(1, abs=allowed)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name, coding", SCHEMES)
def test_expected_error_for_every_scheme(name, coding, estimator):
    a, b = pair("gauss")

    def make(seed):
        return (
            encoded(a, rate=2.2, seed=seed, **scheme(name, coding)),
            encoded(b, rate=3, seed=seed, **scheme(name, coding)),
        )

    found, allowed = ratio(a, b, make, estimator)
    assert found == pytest.approx(1, abs=allowed)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["gauss", "offset", "signs", "related"])
def test_expected_error_when_coordinates_are_dropped(kind, estimator):
    """Different rates, so different κ, on both sides: the files meet on the smaller set."""
    a, b = pair(kind)
    files = encoded(a, rate=0.7), encoded(b, rate=0.9)
    kappas = [coded(data).parameters.kappa for data in files]
    assert 0 < kappas[0] < kappas[1] <= 1

    def make(seed):
        return encoded(a, rate=0.7, seed=seed), encoded(b, rate=0.9, seed=seed)

    found, allowed = ratio(a, b, make, estimator)
    # what a prediction learns from so noisy an estimate of a small product varies by 6 %
    assert found == pytest.approx(1, abs=4 * np.hypot(allowed / 4, 0.06 / np.sqrt(SEEDS)))


@pytest.mark.parametrize("allocate", ["matrix", "column"])
def test_expected_error_of_quiet_and_dropped_columns(allocate):
    rng = np.random.default_rng(7)
    a, b = ((rng.standard_normal((400, 60)) * rng.lognormal(0, 1, 60)).astype(np.float32) for _ in range(2))

    def make(seed):
        return tuple(encoded(x, rate=1.5, seed=seed, allocate=allocate) for x in (a, b))

    found, allowed = ratio(a, b, make, "auto", allocate == "column")
    assert found == pytest.approx(1, abs=allowed)


def test_water_filling_pays_on_columns_of_different_energy():
    rng = np.random.default_rng(8)
    a, b = ((rng.standard_normal((400, 60)) * rng.lognormal(0, 1, 60)).astype(np.float32) for _ in range(2))
    truth = Truth(a, b)
    errors = [
        truth.error(nqz.matmul(*(encoded(x, rate=2, allocate=how) for x in (a, b))))
        for how in ("matrix", "column")
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_sided_products(estimator):
    a, b = pair("related")
    truth = Truth(a, b)
    for make in (lambda s: (encoded(a, rate=2, seed=s), b), lambda s: (a, encoded(b, rate=2, seed=s))):
        found, allowed = ratio(a, b, make, estimator)
        assert found == pytest.approx(1, abs=allowed)
    both = nqz.predicted_error(encoded(a, rate=2), encoded(b, rate=2), estimator)
    one = nqz.predicted_error(encoded(a, rate=2), b, estimator)
    assert one < 0.8 * both and truth.signal > 1


def test_one_sided_products_of_extreme_columns():
    """A plain side with constant and zero columns, of all magnitudes, against a coded one."""
    rng = np.random.default_rng(2)
    a = rng.standard_normal((200, 12))
    b = rng.standard_normal((200, 6)) * 10.0 ** np.array([-200, -9, 0, 9, 100, 0])
    b[:, 5] = 3.0
    found = nqz.matmul(encoded(a, rate=8, center=True), b)
    true = a.T @ b
    scale = (
        np.sqrt(np.square(a).sum(axis=0))[:, None] * np.sqrt(np.square(b / b[0]).sum(axis=0)) * np.abs(b[0])
    )
    assert np.abs(found - true)[:, 5].max() <= 0.02
    assert (np.abs(found - true)[:, :5] <= 0.03 * scale[:, :5]).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["gauss", "heavy", "offset"])
def test_a_file_times_itself(kind, estimator):
    a, _ = pair(kind, 1024, 64)
    truth, u = Truth(a, a), centered(a)
    energy = np.square(u).sum(axis=0)
    off = ~np.eye(64, dtype=bool)
    real, expected = [], []
    for seed in range(SEEDS):
        data = encoded(a, rate=2, seed=seed)
        gram = nqz.matmul(data, data, estimator=estimator, dtype="float64")
        assert np.array_equal(gram, gram.T)
        diagonal = np.diag(gram) - 1024 * np.square(a.astype(np.float64).mean(axis=0))
        assert np.abs(diagonal / energy - 1).max() <= 0.003
        real.append(np.square(truth.product - gram)[off].sum() / truth.scale)
        expected.append(nqz.predicted_error(data, data, estimator))
    # a symmetric product has half as many independent entries
    allowed = max(0.02, 4 * np.sqrt(2) * truth.deviation / np.sqrt(SEEDS))
    assert np.mean(real) / np.mean(expected) == pytest.approx(1, abs=allowed)


def test_a_file_times_itself_says_so():
    data = nqz.encode(pair("gauss")[0], rate=2)
    plan = prepare(Pair("", Coded(coded(data), "x"), Coded(coded(data), "x")), MatmulOptions(), Workers(1))
    assert plan.same


def test_dropped_columns_are_mentioned_and_count_as_zero():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((300, 20)), rng.standard_normal((300, 9))
    a[:, 3] = 7 + 1e-3 * rng.standard_normal(300)
    files = nqz.encode(a, rate=2, center=True), nqz.encode(b, rate=2, center=True)
    plan = prepare(Pair("", *(Coded(coded(data), "x") for data in files)), MatmulOptions(), Workers(1))
    assert any("1 of 20 vectors" in note for note in plan.notes)
    product = nqz.matmul(*files)
    rounded = 300 * a[:, 3].mean() * float(coded(files[1]).mean_steps(slice(None)).max()) / 2
    assert rounded < 2  # the entries are of the order of 300 * 7 * 0.06
    assert product[3] == pytest.approx(300 * a[:, 3].mean() * b.mean(axis=0), abs=rounded + 1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name, coding", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 3.3])
def test_products_of_constant_columns_come_from_their_means(value, name, coding):
    a, b = np.full((512, 20), value), np.random.default_rng(1).standard_normal((512, 9))
    left, right = (nqz.encode(x, rate=3, **scheme(name, coding)) for x in (a, b))
    for x, y, truth in (
        (left, right, a.T @ b), (right, left, b.T @ a), (left, left, a.T @ a), (left, b, a.T @ b), (b, left, b.T @ a),
    ):  # fmt: skip
        assert nqz.matmul(x, y, dtype="float64") == pytest.approx(
            truth, abs=0.02 * max(1.0, abs(truth).max())
        )
        assert nqz.predicted_error(x, y) == 0.0


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e-310])
def test_extreme_magnitudes(scale):
    a, b = pair("related", 200, 12, 10)
    a = a.astype(np.float64)
    partner = b.astype(np.float64) / max(scale, 1e-300)
    product = nqz.matmul(nqz.encode(a * scale, rate=4), nqz.encode(partner, rate=4))
    truth = Truth(a, b)
    assert truth.error(product * (max(scale, 1e-300) / scale)) < 0.05


def test_overflow_is_an_error_that_names_the_entry():
    x = np.full((4, 3), 1e30, np.float32) * np.arange(1, 4, dtype=np.float32)
    with pytest.raises(OperandError, match=r"\[0, 0\] overflows float32; use dtype='float64'"):
        nqz.matmul(nqz.encode(x, rate=2), nqz.encode(x * 2, rate=2))
    y = x.astype(np.float64) * 1e130
    with pytest.raises(OperandError, match=r"\[0, 0\] overflows float64; scale the inputs"):
        nqz.matmul(nqz.encode(y, rate=2), nqz.encode(y * 2, rate=2))


@pytest.mark.parametrize(
    "seeds, lengths, reason", [((0, 1), (50, 50), "seed"), ((0, 0), (50, 51), "50 and 51")]
)
def test_operands_that_do_not_fit_are_refused(seeds, lengths, reason):
    rng = np.random.default_rng(0)
    files = [
        nqz.encode(rng.standard_normal((n, 6)), rate=3, seed=s) for n, s in zip(lengths, seeds, strict=True)
    ]
    with pytest.raises(OperandError, match=reason):
        nqz.matmul(*files)
    if lengths[0] != lengths[1]:
        with pytest.raises(OperandError, match=reason):
            nqz.matmul(files[0], rng.standard_normal((lengths[1], 4)))
        with pytest.raises(OperandError, match="51 and 50"):
            nqz.matmul(rng.standard_normal((lengths[1], 4)), files[0])


def test_centered_and_uncentered_operands_mix():
    """What an uncentered side adds by the means of the other is estimated from its points."""
    a, b = (x + 3 for x in pair("gauss"))
    uncentered = nqz.encode(a, rate=3, center=False), nqz.encode(b, rate=3, center=False)
    truth = np.float64(a).T @ b
    for which, (left, right) in enumerate(
        [(uncentered[0], nqz.encode(b, rate=3)), (nqz.encode(a, rate=3), uncentered[1])]
    ):
        whole, rest = np.float64((a, b)[which]), np.float64((b, a)[which])
        scale = np.square(whole).sum() * np.square(rest - rest.mean(axis=0)).sum() / len(a)
        error = np.square(nqz.matmul(left, right, dtype="float64") - truth).sum() / scale
        assert error == pytest.approx(nqz.predicted_error(left, right), rel=0.25)
    scale = np.square(a, dtype=float).sum() * np.square(b, dtype=float).sum() / len(a)
    for left, right in [(uncentered[0], b), (a, uncentered[1])]:  # a plain side follows the other
        error = np.square(nqz.matmul(left, right) - truth).sum() / scale
        assert error < 3 * nqz.predicted_error(left, right)


def test_the_same_dither_on_two_matrices_is_refused(monkeypatch):
    monkeypatch.setattr("nqz.stages.dither.key", lambda *_: bytes(16))
    a, b = pair("gauss", 60, 8, 8)
    files = nqz.encode(a, rate=3), nqz.encode(b, rate=3)
    assert coded(files[0]).parameters.dither_key == coded(files[1]).parameters.dither_key
    with pytest.raises(OperandError, match="same dither"):
        nqz.matmul(*files)
    with pytest.raises(OperandError, match="same dither"):  # also at another rate of the same matrix
        nqz.matmul(files[0], nqz.encode(a, rate=2))


def test_the_bias_that_a_shared_dither_would_bring(monkeypatch):
    """Why it is refused: errors of the two sides coincide, and the product is off by many deviations."""
    a, _ = pair("equal", 256, 12, 12)
    with monkeypatch.context() as patched:
        patched.setattr("nqz.stages.dither.key", lambda *_: bytes(16))
        files = nqz.encode(a, rate=1.5, kappa=1.0), nqz.encode(a + np.float32(1e-3), rate=1.5, kappa=1.0)
        patched.setattr("nqz.commands.matmul._is_same", lambda *_: False)
        shared = nqz.matmul(*files, estimator="unbiased", dtype="float64")
    apart = nqz.matmul(
        nqz.encode(a, rate=1.5, kappa=1.0),
        nqz.encode(a + np.float32(1e-3), rate=1.5, kappa=1.0),
        estimator="unbiased",
        dtype="float64",
    )
    true = a.astype(np.float64).T @ (a + np.float32(1e-3)).astype(np.float64)
    assert np.trace(shared - true) > 5 * abs(np.trace(apart - true))


def test_shapes_follow_numpy():
    rng = np.random.default_rng(3)
    matrix, vector = rng.standard_normal((40, 6)), rng.standard_normal(40)
    coded_matrix, coded_vector = nqz.encode(matrix, rate=4), nqz.encode(vector, rate=4)
    assert nqz.matmul(coded_matrix, coded_vector).shape == (6,)
    assert nqz.matmul(coded_vector, coded_matrix).shape == (6,)
    assert nqz.matmul(coded_vector, nqz.encode(vector + 1, rate=4)).shape == ()
    assert nqz.matmul(coded_matrix, matrix).shape == (6, 6)
    across = nqz.encode(rng.standard_normal((7, 5, 8)), rate=4, axis=1)
    assert nqz.matmul(across, coded_matrix).shape == (7, 6)


@pytest.mark.parametrize(
    "types, result", [("ff", "float32"), ("ee", "float32"), ("fd", "float64"), ("dd", "float64")]
)
def test_types_of_the_product(types, result):
    rng = np.random.default_rng(3)
    files = [nqz.encode(rng.standard_normal((30, 5)).astype(t), rate=4) for t in types]
    assert nqz.matmul(*files).dtype == result
    assert nqz.matmul(*files, dtype="float64").dtype == np.float64


def test_products_that_make_no_sense_are_refused():
    a = np.random.default_rng(0).standard_normal((30, 4))
    reader = ContainerReader(MemoryAccess(memoryview(nqz.encode(a, rate=3)), "a"), "a")
    with pytest.raises(OperandError, match="neither"):
        pair_up(array_source(a), array_source(a))
    with pytest.raises(UsageError, match="estimator"):
        (made,) = pair_up(reader, array_source(a))
        prepare(made, MatmulOptions(estimator="best"), Workers(1))
    with pytest.raises(UsageError, match="no tensor"):
        pair_up(reader, array_source(a), tensor_a="x")


def test_norms_are_all_that_the_diagonal_knows():
    """The diagonal comes from the norm codes, exactly."""
    a = np.random.default_rng(1).standard_normal((1100, 9))
    data = nqz.encode(a, rate=3, center=False)
    gram = nqz.matmul(data, data)
    assert np.allclose(np.diag(gram), norms.energy(coded(data).codes()), rtol=1e-15)


@pytest.mark.parametrize("columns", [(40, 30), (5000, 4000)])
def test_progress_adds_up(columns):
    rng = np.random.default_rng(8)
    files = [nqz.encode(rng.standard_normal((64, width), dtype=np.float32), rate=2.0) for width in columns]
    readers = [ContainerReader(MemoryAccess(file), "memory") for file in files]
    shares: list[float] = []
    with workers(2) as pool:
        multiply(
            pair_up(*readers), MemoryAccess(bytearray()), "npy", MatmulOptions(), pool,
            lambda name, share: shares.append(share),
        )  # fmt: skip
    assert sum(shares) == pytest.approx(1.0) and min(shares) >= 0.0


@pytest.mark.parametrize("lattice", ["z", "conv"])
def test_columns_that_are_all_noise_tell_nothing(lattice):
    """So few bits that there is nothing but noise; and, as others may write it, Δ beyond 10⁶⁰ times the data."""
    x = np.random.default_rng(7).standard_normal((8, 60)).astype(np.float32)
    written = nqz.encode(x, rate=0.05, lattice=lattice, allocate="column", kappa=0.1)
    assert 1e3 < coded(written).norm_scaling.noise.min() < 1e9
    parts = taken_apart(written)
    values = parts.manifest["tensors"][0][6]
    values[list(SCHEMA).index("delta")] = 200 * 4096
    data = parts.build()
    assert coded(data).norm_scaling.noise.min() > 1e100
    assert np.isfinite(nqz.matmul(written, written)).all()
    assert np.isfinite(nqz.matmul(data, data)).all()
    assert 0 <= nqz.predicted_error(data, data) <= 1
    assert nqz.predicted_error(data, x) == pytest.approx(1, rel=1e-3)
