"""The Voronoi code: packing of digits, plans, gain and power."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import nqz
from coded_cases import NESTED, centered, chunk_bytes, coded, scheme
from nqz import kernels
from nqz.format import chnk
from nqz.ground.threads import Workers
from nqz.plan import voronoi as nest
from nqz.stages import norms
from nqz.stages.codings import nesting as nested
from nqz.stages.codings import voronoi as mod
from nqz.stages.codings.voronoi import VORONOI
from nqz.stages.lattices import LATTICES
from nqz.stages.parameters import Parameters
from nqz.stages.transforms import DEFAULT as TRANSFORM


@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 10, 31, 61, 100, 255, 256, 257, 1000, 2896, 4095, 4096])
def test_packing_is_the_best_within_63_bits(q):
    digits, bits = mod.packing(q)
    assert bits <= 63 and q**digits <= 1 << bits
    every = [(d, (q**d - 1).bit_length()) for d in range(1, 64)]
    assert Fraction(bits, digits) == min(Fraction(b, d) for d, b in every if b <= 63)


@pytest.mark.parametrize("count", [0, 1, 2, 13, 64, 1000])
def test_digit_bytes_are_those_of_the_kernels(count):
    for q in (2, 3, 5, 17, 4096):
        digits = np.random.default_rng(q).integers(0, q, count).astype(np.uint16)
        assert mod.digit_bytes(count, q) == len(kernels.pack_digits(digits, q, *mod.packing(q)))


def test_digit_bits_do_not_decrease():
    bits = [mod.digit_bits(q) for q in range(2, nested.MAX_Q + 1)]
    assert bits == sorted(bits)
    assert all(np.log2(q) <= b <= np.log2(q) * 1.12 for q, b in enumerate(bits, 2))


@pytest.mark.parametrize("mix", [0, 1, 777, 40000, nested.MIX])
def test_the_larger_ratio_is_spread_evenly(mix):
    nesting = nested.Nesting((3, 4), mix, ((1, 2, 3, 4), (1, 2, 3, 4)), 1.0, 1.0)
    for rows in (1, 10, 4096):
        chosen = nesting.choice(rows)
        assert chosen.dtype == np.uint8 and len(chosen) == rows and chosen.max(initial=0) <= 1
        parts = np.cumsum(chosen)
        assert np.abs(parts - np.arange(1, rows + 1) * mix / nested.MIX).max() < 1


@pytest.mark.parametrize("name", NESTED)
def test_scales_are_ascending_and_positive(name):
    for q in range(2, nested.MAX_Q):
        for row in nest.multipliers(LATTICES[name], q):
            assert len(row) == 4 and list(row) == sorted(row) and row[0] > 0 and row[3] <= 4096


def base(name, n=1000, columns=100):
    """Parameters before planning."""
    return Parameters(
        n=n,
        columns=columns,
        m=n,
        transform=TRANSFORM,
        lattice=LATTICES[name],
        coding=VORONOI,
        allocate="column",
        delta=0,
        lowest_class=0,
        mean_digits=None,
        norm_step=1,
        rotation_seed=0,
        dither_key=bytes(16),
        coding_parameters=None,
    )


@pytest.mark.parametrize("kappa", [None, 1.0, 0.4])
@pytest.mark.parametrize("name", NESTED)
def test_every_rate_has_valid_parameters(name, kappa):
    for rate in (0.01, 0.3, 0.9, 1.0, 1.5, 2.0, 3.7, 5.0, 8.0, 11.0, 12.0, 13.0, 40.0):
        planned = nest.fitted(base(name), 100, rate * 100_000, kappa)
        planned.check()
        assert 0.0 < planned.kappa <= 1.0
        if kappa is not None:
            assert planned.kappa == pytest.approx(kappa, abs=0.001)


@pytest.mark.parametrize("rate", [0.4, 1.3, 2.0, 3.1, 5.5])
@pytest.mark.parametrize("name", NESTED)
def test_plans_hit_the_budget(name, rate):
    """The chunks of Gaussian columns take what was planned, within 4 %: the rest is up to `adjust`."""
    x = np.random.default_rng(2).standard_normal((1000, 100)).astype(np.float32)
    matrix = coded(nqz.encode(x, rate=rate, **scheme(name, "voronoi")))
    bits = 8.0 * (chunk_bytes(matrix) + 18 * len(matrix.reader.find(0, "CHNK")))
    planned = nest.fitted(base(name), 100, bits, None)
    p, q = matrix.parameters, planned.coding_parameters
    level = sum(
        mod.digit_bits(r) * share
        for r, share in zip(q.q, (1 - q.mix / nested.MIX, q.mix / nested.MIX), strict=True)
    )
    real = p.coding_parameters
    used = sum(
        mod.digit_bits(r) * share
        for r, share in zip(real.q, (1 - real.mix / nested.MIX, real.mix / nested.MIX), strict=True)
    )
    assert planned.m * level == pytest.approx(p.m * used, rel=0.04)


@pytest.mark.parametrize("rate", [2.0, 3.5, 6.0])
@pytest.mark.parametrize("name", NESTED)
def test_gain_and_power_are_those_of_the_decoded_points(name, rate):
    """û / g has no bias along u, and its relative noise is what the header says."""
    x = np.random.default_rng(7).standard_normal((512, 80)).astype(np.float32)
    matrix = coded(nqz.encode(x, rate=rate, **scheme(name, "voronoi"), kappa=1.0))
    nesting = matrix.parameters.coding_parameters
    assert 0.8 < nesting.gain < 1.02
    back = np.empty(x.shape)
    for _ in matrix.blocks(Workers(1), "unbiased", into=lambda panel: back[:, panel.first : panel.last]):
        pass
    back -= matrix.means(slice(None))
    loud = np.sqrt(norms.energy(matrix.codes()))  # every column counts alike, as in the encoder
    u, back = centered(x) / loud, back / loud
    cross, share = (u * back).sum(), np.square(u).sum()
    assert cross / share == pytest.approx(1.0, abs=2e-6)
    assert np.square(back).sum() * share / cross**2 - 1.0 == pytest.approx(nesting.noise, rel=0.001)


@pytest.mark.parametrize(
    "change",
    [
        {"q": (1, 2)},
        {"q": (3, 5)},
        {"q": (4096, 4097)},
        {"mix": -1},
        {"mix": nested.MIX + 1},
        {"multipliers": ((1, 2, 3), (1, 2, 3, 4))},
        {"multipliers": ((0, 2, 3, 4), (1, 2, 3, 4))},
        {"multipliers": ((1, 2, 3, 4), (1, 3, 2, 4))},
        {"multipliers": ((1, 2, 3, 4), (1, 2, 3, 4097))},
        {"gain": 0.0},
        {"gain": float("nan")},
        {"gain": -1.0},
        {"gain": 1e4},
        {"power": -1.0},
        {"power": 1e7},
        {"power": float("nan")},
    ],
    ids=lambda change: str(next(iter(change.items()))),
)
def test_check_refuses(change):
    valid = {"q": (3, 4), "mix": 5, "multipliers": ((1, 2, 3, 4),) * 2, "gain": 1.0, "power": 1.1}
    nested.Nesting(**valid).check()
    with pytest.raises(ValueError):
        nested.Nesting(**{**valid, **change}).check()


@pytest.mark.parametrize("frequency", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (4094, 1, 1), (65535, 65535, 65535)])
def test_corrupt_multipliers_are_refused(frequency):
    array = np.random.default_rng(1).standard_normal((64, 8))
    matrix = coded(nqz.encode(array, rate=3, lattice="e8", coding="voronoi"))
    (panel,) = matrix.panels
    (chunk,), opened, coder = panel.panel.chunks, panel.opened, panel.coder
    payload = matrix.reader.read(matrix.reader.find(0, "CHNK")[0])
    sections = list(chnk.unpack("voronoi", payload, 1, coder.sizes(chunk, opened.coded)))
    out = np.empty(chunk.count, np.int32)
    coder.decode_chunk(chunk, opened.coded, sections, out)
    sections[1] = np.array(frequency, np.uint16)
    with pytest.raises(ValueError, match="frequencies of the scale index"):
        coder.decode_chunk(chunk, opened.coded, sections, out)
