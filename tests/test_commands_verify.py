"""The statistics of `verify`: sums that are added up panel by panel."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nqz
from cli_tools import invoke, succeed
from coded_cases import coded, verified
from nqz.commands.column_errors import Errors, measured_error, measured_errors, standard_error
from nqz.files.source import array_source
from nqz.ground.errors import VerifyError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(77)


def test_the_spread_is_that_of_the_residuals():
    expected = np.where(RNG.random(500) < 0.1, 0.0, RNG.exponential(3.0, 500))
    errors = expected * (1.3 + 0.01 * RNG.standard_normal(500)) + (expected == 0) * 0.25
    found = Errors(0)
    for part in np.array_split(np.arange(500), 7):
        found.add(errors[part], expected[part])
    loud = expected > 0
    assert found.count == loud.sum() and found.spent == pytest.approx(errors.sum(), rel=1e-14)
    for ratio in (0.0, 1.0, errors.sum() / expected.sum(), 40.0):
        residual = errors[loud] - ratio * expected[loud]
        assert found.spread(ratio) == pytest.approx(np.square(residual).sum(), rel=1e-9)
    found.add(np.array([np.inf]), np.array([1.0]))
    assert not found.finite


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 2},
        {"rate": 2, "kappa": 0.6},
        {"rate": 1.2},
        {"rate": 3, "coding": "voronoi", "lattice": "e8"},
    ],
)
def test_errors_are_those_of_the_decoded_matrix_in_all_panels(options, monkeypatch):
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 120 * 40)
    x = RNG.standard_normal((120, 90)) * np.exp(RNG.standard_normal(90))
    x[:, 7] = 3.0
    data = nqz.encode(x, **options)
    whole = coded(data)
    assert len(whole.panels) == 3
    pool = Workers(2)
    expected = measured_errors(whole, array_source(x).tensors[0], pool)
    back = nqz.open(data).matrix.decode("float64")
    energy = np.ldexp(np.square(back - x).sum(axis=0), -2 * expected.exponent)
    assert expected.exact and expected.spent == pytest.approx(energy.sum(), rel=1e-12)
    # columns of equal energies and as many errors, taken by themselves
    side = whole.side
    noise, codes = side.noise_at(whole.codes()), whole.codes()
    shrink = np.where(np.isfinite(noise), 1 / (1 + noise), 0.0)
    norm = np.where(codes == codes.min(), 0.0, np.exp2(codes / 256.0 - 2 * expected.exponent))
    predicted = norm * (1 - side.kappa * shrink)
    loud = predicted > 0
    residual = (energy - energy.sum() / predicted.sum() * predicted)[loud]
    between = np.square(residual).sum() * loud.sum() / (loud.sum() - 1)
    assert measured_error(whole, expected) == pytest.approx(energy.sum() / norm.sum(), rel=1e-9)
    assert standard_error(whole, expected) >= 0.999999 * np.sqrt(between) / predicted.sum()
    pool.close()


@pytest.mark.parametrize("change", [1e3, 3.0, 1e150])
@pytest.mark.parametrize("columns", [1, 10, 300])
def test_columns_that_are_off_do_not_excuse_themselves(change, columns):
    x = RNG.standard_normal((200, 300))
    data = nqz.encode(x, rate=3)
    verified(coded(data).reader, array_source(x))
    other = x.copy()
    other[:, :columns] *= change
    with pytest.raises(VerifyError, match="of the energy where"):
        verified(coded(data).reader, array_source(other))


@pytest.mark.parametrize("options", [{}, {"allocate": "column"}], ids=["matrix", "column"])
def test_beside_loud_columns_the_errors_of_the_others_are_seen(options):
    """A column of a hundred million times the others: a tenth more error in these is 10**-18 of all."""
    x = RNG.standard_normal((512, 64))
    x[:, 5] *= 1e8
    data = nqz.encode(x, rate=4, **options)
    nqz.verify(data, against=x)
    changed = x + 0.05 * RNG.standard_normal(x.shape) * (np.arange(64) != 5)
    with pytest.raises(VerifyError, match="of the energy of all vectors but loud ones, where"):
        nqz.verify(data, against=changed)
    for scale in (1e-290, 1e290):
        nqz.verify(nqz.encode(x * scale, rate=4, **options), against=x * scale)


def failed(capsys, code, *arguments):
    """Run a command line that must end with this status."""
    result = invoke(capsys, *arguments)
    assert result.code == code, result
    return result


def test_a_limit_of_ones_own_fails_beside_the_prediction(tmp_path, capsys):
    x = np.random.default_rng(4).standard_normal((256, 40)).astype(np.float32)
    path, original, other = tmp_path / "a.nqz", tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(original, x)
    np.save(other, x[:, 1:])
    data = nqz.encode(x, rate=4)
    path.write_bytes(data)
    (measured,) = (tensor["measured"] for tensor in nqz.verify(data, against=x)["tensors"])
    loose, tight = str(1.01 * measured), str(0.99 * measured)
    for command in (("verify", path, "--against", original), ("compare", original, path)):
        succeed(capsys, *command, "--max-error", loose)
        done = failed(capsys, 8, *command, "--max-error", tight, "--json")
        assert f"error {measured:.4g} of the energy" in done.err
        report = json.loads(done.out)
        assert not report["ok"]
        assert report["max_error"] == float(tight)
        assert "at most is wanted" in report["tensors"][0]["problem"]
    # nothing that is not measured passes
    failed(capsys, 8, "verify", path, "--against", other, "--max-error", "1e9", "--json")
    path.write_bytes(data[:-200] + bytes([data[-200] ^ 1]) + data[-199:])
    failed(capsys, 5, "verify", path, "--against", original, "--max-error", "1e9", "--json")
    for limit in ("nan", "-1", "inf"):
        assert (
            "--max-error"
            in failed(capsys, 2, "verify", path, "--against", original, "--max-error", limit).err
        )
    assert "--against" in failed(capsys, 2, "verify", path, "--max-error", "1").err


def test_a_limit_of_ones_own_in_python():
    x = np.random.default_rng(4).standard_normal((256, 40)).astype(np.float32)
    data = nqz.encode(x, rate=4)
    assert nqz.verify(data, against=x, max_error=0.1)["ok"]
    assert not nqz.verify(data, against=x, max_error=1e-4, check=False)["ok"]
    assert not nqz.compare(x, data, max_error=1e-4, check=False)["ok"]
    with pytest.raises(nqz.VerifyError, match=r"where 0\.0001 at most is wanted"):
        nqz.verify(data, against=x, max_error=1e-4)
    with pytest.raises(nqz.UsageError, match="max_error"):
        nqz.verify(data, max_error=1e-4)
    with pytest.raises(nqz.UsageError, match="max_error"):
        nqz.verify(data, against=x, max_error=-1)
