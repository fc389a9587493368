"""Bits divided between the two sides of a product, and partners of other rates: what is predicted is what comes."""

from __future__ import annotations

import json
import math
import os
import shlex

import numpy as np
import pytest

import nqz
from coded_cases import coded
from nqz.cli import run
from nqz.plan.limit import R_STAR, gamma, pair_limit, shift
from nqz.stages.partner import common_kappa, nominal, nominal_error

RNG = np.random.default_rng(3)
WIDE, NARROW = (RNG.standard_normal((1024, count)).astype(np.float32) for count in (450, 50))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", WIDE)
    np.save("a narrow.npy", NARROW)
    return "wide.npy", "a narrow.npy"


def printed(capsys, *words):
    assert run(list(map(str, words))) == 0
    return capsys.readouterr().out


def measured(a, b):
    exact = a.T.astype(np.float64) @ b
    centered = [x - x.mean(0, dtype=np.float64) for x in (a, b)]
    whole = np.square(centered[0]).sum() * np.square(centered[1]).sum() / len(a)
    return lambda estimate: float(np.square(exact - estimate).sum() / whole)


def test_the_limit_of_pairs_is_gamma_for_equal_rates_and_a_power_of_four_for_an_exact_side():
    for rate in (0.1, 0.5, R_STAR, 1.0, 3.0, 9.0):
        assert pair_limit(rate, rate) == pytest.approx(gamma(rate), rel=1e-9)
        assert pair_limit(rate, math.inf) == pair_limit(math.inf, rate) == pytest.approx(4.0**-rate)
    assert pair_limit(0.3, 3.0) == pair_limit(3.0, 0.3)
    assert 4.0**-0.3 < pair_limit(0.3, 6.0) < pair_limit(0.3, 3.0) < gamma(0.3)


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.3, 3.0), (1.5, 6.0), (2.0, math.inf)])
def test_the_shift_is_what_both_rates_were_lowered_by(rates):
    assert shift(pair_limit(rates[0] - 0.05, rates[1] - 0.05), *rates) == pytest.approx(0.05, abs=1e-6)


def test_both_sides_of_a_pair_of_rates_keep_the_same_coordinates():
    low, high = (nqz.encode(WIDE, rate=r, partner=p) for r, p in ((0.4, 2.5), (2.5, 0.4)))
    kappas = {coded(data).parameters.kappa for data in (low, high)}
    assert len(kappas) == 1 and 0.5 < kappas.pop() < 1.0
    assert common_kappa(0.4, 2.5) == common_kappa(2.5, 0.4)
    for rates in ((0.3, 0.3), (0.75, 6.0), (2.0, 3.0)):
        best = nominal_error(*rates, common_kappa(*rates))
        assert all(best <= nominal_error(*rates, k / 64) for k in range(1, 65))


def test_the_nominal_curve_is_that_of_files():
    for rate in (0.5, 1.0, 2.0, 4.0):
        matrix = coded(nqz.encode(np.random.default_rng(1).standard_normal((8192, 64)), rate=rate, kappa=1.0))
        spent = rate - 8 * sum(matrix.reader.sizes(0)[kind] for kind in ("NORM", "MEAN")) / matrix.entries
        assert 1 - nominal(spent) == pytest.approx(1 - matrix.shrinkage(), rel=0.02)


@pytest.mark.parametrize("partner", ["equal", "exact", 0.3, 3.0])
@pytest.mark.parametrize("options", [{}, {"lattice": "e8", "coding": "voronoi"}], ids=str)
def test_the_partner_is_in_the_file_and_predicted_with(partner, options, tmp_path):
    data = nqz.encode(WIDE, rate=0.6, partner=partner, **options)
    matrix = nqz.open(data)[""] if hasattr(nqz.open(data), "keys") else nqz.open(data)
    assert matrix.partner == partner
    (tensor,) = nqz.inspect(data)["tensors"]
    assert tensor["partner"] == partner
    assert tensor["predicted"]["product"] == pytest.approx(matrix.predicted_error)
    rate = 0.6 if partner == "equal" else partner
    other = NARROW if partner == "exact" else nqz.encode(NARROW, rate=rate, partner=0.6, **options)
    expected = nqz.predicted_error(data, other, "mmse")
    assert matrix.predicted_error == pytest.approx(expected, rel=0.08)
    assert measured(WIDE, NARROW)(nqz.matmul(data, other)) == pytest.approx(expected, rel=0.08)


def test_a_partner_makes_a_product_better():
    def error(partners, rates):
        files = [
            NARROW if rate is None else nqz.encode(x, rate=rate, partner=partner)
            for x, rate, partner in zip((WIDE, NARROW), rates, partners, strict=True)
        ]
        return nqz.predicted_error(*files, "mmse")

    assert error(("exact", None), (0.5, None)) < 0.95 * error(("equal", None), (0.5, None))
    assert error((3.0, 0.5), (0.5, 3.0)) < 0.97 * error(("equal", "equal"), (0.5, 3.0))


@pytest.mark.parametrize("error", [0.7, 0.4, 0.05])
@pytest.mark.parametrize("partner", ["exact", 4.0])
def test_an_error_is_met_with_the_partner(error, partner):
    found = coded(nqz.encode(WIDE, error=error, partner=partner)).predicted_product()
    assert 0.99 * error <= found <= error


@pytest.mark.parametrize("partner", ["alike", "", 0.0, -1, 13, float("nan"), float("inf"), None, [3]])
def test_other_partners_are_refused(partner):
    with pytest.raises(nqz.UsageError, match="partner"):
        nqz.encode(WIDE, rate=1, partner=partner)


def test_matmul_says_what_another_partner_would_gain(files, capsys):
    for name, rate in zip(files, (0.5, 3), strict=True):
        assert run(["encode", name, "-r", str(rate), "-q"]) == 0
    assert run(["matmul", "wide.nqz", "a narrow.npy", "-o", "c.npy"]) == 0
    assert "--partner exact for wide.nqz would be worth 0." in capsys.readouterr().err
    assert run(["matmul", "wide.nqz", "a narrow.nqz", "-o", "c.npy", "-f"]) == 0
    said = capsys.readouterr().err
    assert "the product uses those that both have; encode --partner 3" in said and said.count("note") == 1
    for name, rate, partner in zip(files, (0.5, 3), ("3", "0.5"), strict=True):
        assert run(["encode", name, "-r", str(rate), "--partner", partner, "-q", "-f"]) == 0
    assert run(["matmul", "wide.nqz", "a narrow.nqz", "-o", "c.npy", "-f"]) == 0
    assert "note" not in capsys.readouterr().err


def test_of_many_products_that_would_gain_the_one_that_would_most_is_named(tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    save_file(
        {name: WIDE[:, :count] + k for k, (name, count) in enumerate((("x", 60), ("y", 90)))}, "m.safetensors"
    )
    assert run(["encode", "m.safetensors", "-r", "0.5", "-q"]) == 0
    assert run(["matmul", "m.nqz", "m.safetensors", "-o", "p.safetensors"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "--partner" in line]
    assert len(said) == 1 and "; 2 products of 2 would gain from another --partner" in said[0]


@pytest.mark.parametrize("bits", [0.6, 2.0])
def test_the_commands_of_a_plan_give_what_it_says(files, capsys, bits):
    found = json.loads(printed(capsys, "plan", *files, "--bits", bits, "--json", "-q"))
    text = printed(capsys, "plan", *files, "--bits", bits, "-q")
    commands = [line for line in text.splitlines() if line.startswith("nqz ")]
    assert [shlex.split(line)[1:] for line in commands] == [side["arguments"] for side in found["sides"]]
    for line in commands:
        assert run([*shlex.split(line)[1:], "-q"]) == 0
    sizes = [len(open(name, "rb").read()) for name in ("wide.nqz", "a narrow.nqz")]  # noqa: SIM115
    assert 8 * (sum(sizes) - 900) <= bits * (WIDE.size + NARROW.size)
    predicted = nqz.predicted_error("wide.nqz", "a narrow.nqz", "mmse")
    assert predicted == pytest.approx(found["error"], rel=0.03)  # by the energy of this product
    assert found["error"] < found["error_equal"] and found["gain"] > 0.1
    kappas = [nqz.inspect(name)["tensors"][0]["kappa"] for name in ("wide.nqz", "a narrow.nqz")]
    assert kappas == pytest.approx([found["kappa"]] * 2, abs=2e-3)


def test_noises_are_in_proportion_to_numbers_of_columns_at_high_rate():
    found = nqz.plan_product(WIDE, NARROW, bits=5)
    wide, narrow = (side["rate"] for side in found["sides"])
    assert narrow - wide == pytest.approx(0.5 * math.log2(9), abs=0.06)
    assert found["bits"] == pytest.approx(5, abs=0.002)


@pytest.mark.parametrize(
    "error, size", [(0.05, (1024, 450, 50)), (0.9, (512, 128, 96)), (0.9, (256, 12, 7)), (1e-4, (256, 12, 7))]
)
def test_a_plan_for_an_error_takes_as_few_bits_as_reach_it(error, size):
    n, *counts = size
    sides = [np.random.default_rng(count).standard_normal((n, count)) for count in counts]
    found = nqz.plan_product(*sides, error=error, lattice="z")
    assert 0.99 * error <= found["error"] <= error
    fewer = nqz.plan_product(*sides, bits=found["bits"] - 0.02, lattice="z")
    assert fewer["error"] > error


def test_constant_matrices_have_nothing_to_divide(tmp_path, capsys):
    np.save(tmp_path / "c.npy", np.ones((1024, 5), np.float32))
    np.save(tmp_path / "n.npy", NARROW)
    found = json.loads(
        printed(capsys, "plan", tmp_path / "c.npy", tmp_path / "n.npy", "--bits", 2, "--json", "-q")
    )
    assert found["error"] == found["gain"] == 0.0
    assert [side["rate"] for side in found["sides"]] == [2.0, 2.0]


def test_the_commands_of_a_plan_take_the_tensors_that_it_names_alone(tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    names = ("w*", "w[0]", "w?", "w0", "-w", "[", 'it\'s "w"')
    save_file({name: NARROW[:64, k : k + 2] for k, name in enumerate(names)}, "m.safetensors")
    for a, b in zip(names[::2], names[1::2], strict=False):
        words = ["m.safetensors", "m.safetensors", f"--tensor-a={a}", f"--tensor-b={b}", "--lattice", "z"]
        text = printed(capsys, "plan", *words, "--bits", 4, "-q")
        for name, line in zip((a, b), text.splitlines()[-2:], strict=True):
            assert run([*shlex.split(line)[1:], "-q", "-f"]) == 0
            with nqz.open(shlex.split(line)[-1]) as container:
                assert list(container) == [name]


def test_a_plan_prints_no_commands_that_cannot_be_run(tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    np.save("n.npy", NARROW[:64])
    save_file({"e": np.stack([NARROW[:64], NARROW[64:128]])}, "e.safetensors")
    os.mkfifo("pipe")
    assert run(["plan", "n.npy", "e.safetensors", "--tensor-b", "e[1]", "--bits", "2"]) == 4
    assert "'e[1]' is one slice of a tensor" in capsys.readouterr().err
    for name in ("pipe", "/dev/stdin", "/dev/fd/0"):
        assert run(["plan", "n.npy", name, "--bits", "2"]) == 2
        assert f"{name} cannot be planned with" in capsys.readouterr().err


def test_the_report_of_a_plan_is_replaced_if_asked(files, capsys):
    words = ["plan", *files, "--bits", "2", "--lattice", "z", "--json", "r.json"]
    printed(capsys, *words)
    before = open("r.json").read()  # noqa: SIM115
    assert run(words) == 9 and "--force (-f)" in capsys.readouterr().err
    printed(capsys, *words, "-f", "--axis-a", "0")
    assert json.load(open("r.json")) == json.loads(before)  # noqa: SIM115


def test_a_plan_of_what_cannot_be_is_refused(files, capsys):
    for words, message in (
        ([*files], "--bits"),
        ([*files, "--bits", "2", "--error", "0.1"], "only one"),
        ([*files, "--bits", "13"], "bits per entry"),
        ([*files, "--error", "1"], "below 1"),
        (["-", files[0], "--bits", "2"], "standard input"),
        ([files[0], files[0], "--bits", "2"], "both sides"),
        ([*files, "--axis-b", "1", "--bits", "2"], "cannot be multiplied"),
    ):
        assert run(["plan", *words]) in (2, 7)
        assert message in capsys.readouterr().err
