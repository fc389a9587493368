"""`nqz compare`: which tensors an error comes from, and what a bit would change."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cli_tools import fail, invoke, matrix, succeed

OF_MATRICES = [
    "axis", "rate", "bytes", "energy", "product", "sensitivity", "share", "energy_share", "more", "less",
]  # fmt: skip


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A file of three matrices of different sizes and energies, and a bias, in the current folder."""
    monkeypatch.chdir(tmp_path)
    tensors = {
        "large": matrix(256, 400),
        "loud": 50 * matrix(128, 96, seed=1),
        "small": matrix(256, 32, seed=2) * np.exp(0.5 * matrix(32, seed=3)),
        "bias": matrix(96, seed=4),
    }
    save_file(tensors, "m.safetensors")
    return tensors


def compared(capsys, *arguments):
    """What `nqz compare --json` finds, by tensor, and of all."""
    found = json.loads(succeed(capsys, "compare", *arguments, "--json").out)
    return {tensor["name"]: tensor for tensor in found["tensors"]}, found


def test_shares_and_totals_are_those_of_the_decoded_tensors(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    succeed(capsys, "decode", "m.nqz", "-o", "back.safetensors", "-q")
    tensors, found = compared(capsys, "m.safetensors", "m.nqz")
    back = load_file("back.safetensors")
    lost = {name: np.square(back[name] - model[name]).sum() for name in ("large", "loud", "small")}
    energy = {name: np.square(model[name] - model[name].mean(0)).sum() for name in lost}
    error = {name: lost[name] / energy[name] for name in lost}
    for name in lost:
        one = tensors[name]
        assert one["measured"] == pytest.approx(error[name], rel=2e-3)
        assert one["energy"] == pytest.approx(energy[name], rel=2e-3)
        assert one["share"] == pytest.approx(error[name] / sum(error.values()), rel=5e-3)
        assert one["energy_share"] == pytest.approx(lost[name] / sum(lost.values()), rel=5e-3)
    assert all(tensors["bias"][key] is None for key in OF_MATRICES)
    totals = found["totals"]
    assert totals["matrices"] == 3 and totals["exact"] == 1 and found["ok"] and found["left_out"] == []
    assert totals["entries"] == sum(model[name].size for name in lost)
    assert totals["bytes"] == sum(tensors[name]["bytes"] for name in lost)
    assert totals["rate"] == pytest.approx(8 * totals["bytes"] / totals["entries"])
    assert totals["error"] == pytest.approx(sum(error.values()) / 3, rel=5e-3)
    assert totals["energy_error"] == pytest.approx(sum(lost.values()) / sum(energy.values()), rel=5e-3)


@pytest.mark.parametrize(
    ("rate", "options", "within"),
    [
        (1.4, [], 0.12),  # of short vectors: norms and means are kept otherwise at other rates
        (3, [], 0.03),
        (3, ["--allocate", "column"], 0.05),
        (4, ["--coding", "voronoi", "--lattice", "e8"], 0.12),
        (2, ["--coding", "voronoi", "--lattice", "leech"], 0.3),
    ],
)
def test_a_bit_more_or_less_is_what_encoding_with_it_gives(model, capsys, rate, options, within):
    for step in (0, 1, -1):
        target = f"s{step}.nqz"
        succeed(capsys, "encode", "m.safetensors", "-r", str(rate + step), *options, "-o", target, "-q")
    tensors, found = compared(capsys, "m.safetensors", "s0.nqz")
    whole = found["totals"]["error"] * found["totals"]["matrices"]
    for key, step in (("more", 1), ("less", -1)):
        others, _ = compared(capsys, "m.safetensors", f"s{step}.nqz")
        for name in ("large", "loud", "small"):
            now, changed, other = tensors[name], tensors[name][key], others[name]
            assert changed["rate"] == pytest.approx(other["rate"], abs=0.06)
            assert changed["bytes"] == step * model[name].size / 8
            assert other["bytes"] - now["bytes"] == pytest.approx(changed["bytes"], abs=70)
            # the errors measured scatter by themselves
            assert changed["error"] == pytest.approx(other["measured"], rel=within + 0.03)
            assert changed["product"] == pytest.approx(other["product"], rel=within)
            assert changed["change"] == pytest.approx((changed["error"] - now["measured"]) / whole)
            assert changed["per_megabyte"] == pytest.approx(changed["change"] * 8e6 / model[name].size)


def test_rates_that_nobody_can_ask_for_are_left_out(model, capsys):
    for rate, missing in (("0.8", "less"), ("11.8", "more")):
        succeed(capsys, "encode", "m.safetensors", "-r", rate, "-f", "-q")
        tensors, _ = compared(capsys, "m.safetensors", "m.nqz")
        assert (
            tensors["large"][missing] is None and tensors["large"][{"less": "more", "more": "less"}[missing]]
        )
        assert succeed(capsys, "compare", "m.safetensors", "m.nqz").out.count(" ok") == 3


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("gain", lambda t: t["more"]["per_megabyte"]),
        ("cost", lambda t: t["less"]["per_megabyte"]),
        ("share", lambda t: -t["share"]),
        ("energy", lambda t: -t["energy_share"]),
        ("error", lambda t: -t["measured"]),
        ("rate", lambda t: -t["rate"]),
        ("size", lambda t: -t["bytes"]),
        ("name", lambda t: t["name"]),
    ],
)
def test_rows_are_sorted(model, capsys, sort, key):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    _, found = compared(capsys, "m.safetensors", "m.nqz", "--sort", sort)
    matrices = [tensor for tensor in found["tensors"] if tensor["kind"] == "matrix"]
    assert matrices == sorted(matrices, key=key)
    lines = succeed(capsys, "compare", "m.safetensors", "m.nqz", "--sort", sort).out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == [tensor["name"] for tensor in matrices]
    if sort == "gain":
        assert succeed(capsys, "compare", "m.safetensors", "m.nqz").out.splitlines() == lines
    if sort == "name":
        assert [tensor["name"] for tensor in found["tensors"]] == ["bias", "large", "loud", "small"]


def test_bits_moved_to_the_first_row_lower_the_sum(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    _, gain = compared(capsys, "m.safetensors", "m.nqz")
    _, cost = compared(capsys, "m.safetensors", "m.nqz", "--sort", "cost")
    best, worst = gain["tensors"][0], cost["tensors"][0]
    assert (best["name"], worst["name"]) == ("loud", "large")
    # as many bytes from the large one as a bit more of the loud one takes
    moved = best["more"]["bytes"] / -worst["less"]["bytes"]
    rates = {"loud": 4.0, "large": 3.0 - moved, "small": 3.0}
    total = 0.0
    for name, rate in rates.items():
        save_file({name: model[name]}, f"{name}.safetensors")
        succeed(capsys, "encode", f"{name}.safetensors", "-r", str(rate), "-q")
        total += compared(capsys, f"{name}.safetensors", f"{name}.nqz")[0][name]["measured"]
    assert total < gain["totals"]["error"] * 3


def test_errors_count_by_sensitivity(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    with open("s.json", "w") as file:
        json.dump({"*": 1, "large": 8.0}, file)
    plain, _ = compared(capsys, "m.safetensors", "m.nqz")
    tensors, found = compared(capsys, "m.safetensors", "m.nqz", "--across", "s.json")
    weights = {"large": 8.0, "loud": 1.0, "small": 1.0}
    whole = sum(weights[name] * plain[name]["measured"] for name in weights)
    for name, weight in weights.items():
        one, before = tensors[name], plain[name]
        assert (before["sensitivity"], one["sensitivity"]) == (1.0, weight)
        assert one["measured"] == before["measured"] and one["energy_share"] == before["energy_share"]
        assert one["share"] == pytest.approx(weight * one["measured"] / whole)
        gained = one["more"]["error"] - one["measured"]
        assert one["more"]["change"] == pytest.approx(weight * gained / whole)
    assert found["totals"]["error"] == pytest.approx(whole / 10)
    text = succeed(capsys, "compare", "m.safetensors", "m.nqz", "--across", "s.json").out
    assert " % rms), weighted by sensitivity, of all energy" in text
    assert "the relative errors, each times its sensitivity of s.json, in" in text
    assert "sensitivity" not in succeed(capsys, "compare", "m.safetensors", "m.nqz").out
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "--tensor", "l*", "-o", "l.nqz", "-q")
    with open("s.json", "w") as file:
        json.dump({"l*": 1, "small": 2}, file)
    assert compared(capsys, "m.safetensors", "l.nqz", "--across", "s.json")[1]["totals"]["matrices"] == 2
    for content, message in (
        ('{"large": 1}', "no sensitivity for tensor 'loud' and 1 more"),
        ('{"*": 1, "x": 2}', "no tensor is called 'x'"),
        ('{"*": -1}', "a positive number is needed"),
    ):
        with open("s.json", "w") as file:
            file.write(content)
        assert message in fail(capsys, 2, "compare", "m.safetensors", "m.nqz", "--across", "s.json")
    assert "cannot read" in fail(capsys, 3, "compare", "m.safetensors", "m.nqz", "--across", "none.json")


def test_a_model_is_compared_part_by_part(model, tmp_path, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    for folder, suffix in (("plain", "safetensors"), ("coded", "nqz")):
        (tmp_path / folder).mkdir()
        for number, names in enumerate((("large", "bias"), ("loud", "small")), 1):
            part = f"{folder}/model-{number:05}-of-00002.safetensors"
            save_file({name: model[name] for name in names}, part)
            if suffix == "nqz":
                succeed(capsys, "encode", part, "-r", "3", "-q")
                (tmp_path / part).unlink()
    tensors, found = compared(capsys, "plain", "coded")
    assert [tensor["name"] for tensor in found["tensors"]] == ["loud", "small", "large", "bias"]
    assert {name: tensor["part"][:11] for name, tensor in tensors.items()} == {
        "large": "model-00001", "bias": "model-00001", "loud": "model-00002", "small": "model-00002",
    }  # fmt: skip
    assert found["totals"]["matrices"] == 3 and sum(
        t["share"] or 0 for t in found["tensors"]
    ) == pytest.approx(1)
    _, alone = compared(capsys, "m.safetensors", "coded")
    assert alone["left_out"] == [] and alone["totals"] == found["totals"]


def test_the_report_adds_up_what_it_shows(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    _, found = compared(capsys, "m.safetensors", "m.nqz")
    text = succeed(capsys, "compare", "m.safetensors", "m.nqz").out
    totals = found["totals"]
    assert f"3 matrices of {totals['entries']} entries at {totals['rate']:.4g} bits per entry" in text
    assert "1 tensor carried exactly" in text
    assert f"mean error {totals['error']:.4g} ({100 * math.sqrt(totals['error']):.3g} % rms)" in text


def test_a_single_array_and_files_without_matrices(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", matrix(128, 40))
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    tensors, _ = compared(capsys, "a.npy", "a.nqz")
    assert tensors[""]["share"] == tensors[""]["energy_share"] == 1.0
    assert succeed(capsys, "compare", "a.npy", "a.nqz").out.splitlines()[2].startswith("array ")
    np.save("zero.npy", np.ones((32, 4), "f4"))
    succeed(capsys, "encode", "zero.npy", "-r", "3", "-q")
    tensors, _ = compared(capsys, "zero.npy", "zero.nqz")
    assert tensors[""]["share"] == 0.0 and tensors[""]["measured"] == 0.0
    save_file({"v": matrix(9)}, "v.safetensors")
    succeed(capsys, "encode", "v.safetensors", "-r", "3", "-q")
    assert succeed(capsys, "compare", "v.safetensors", "v.nqz").out == "1 tensor carried exactly\n"


def test_energies_beyond_float64_are_null(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file({"huge": matrix(64, 4, dtype="float64") * 1e300, "b": matrix(64, 4)}, "h.safetensors")
    succeed(capsys, "encode", "h.safetensors", "-r", "4", "-q")
    tensors, found = compared(capsys, "h.safetensors", "h.nqz")
    assert tensors["huge"]["energy"] is None and tensors["huge"]["energy_share"] == 1.0
    assert 0 < found["totals"]["energy_error"] < 0.1


def test_tensors_of_one_side_only(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "--tensor", "l*", "-o", "l.nqz", "-q")
    result = succeed(capsys, "compare", "m.safetensors", "l.nqz")
    assert "note: 2 tensors are in m.safetensors only, such as " in result.err
    _, found = compared(capsys, "m.safetensors", "l.nqz")
    assert sorted(found["left_out"]) == ["bias", "small"]
    save_file({"large": model["large"]}, "other.safetensors")
    result = invoke(capsys, "compare", "other.safetensors", "l.nqz")
    assert result.code == 8 and "tensor 'loud': the original holds no such tensor" in result.err
    assert "OFF" in result.out


def test_what_is_off_or_damaged_is_told_with_the_status_of_verify(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    other = {**model, "large": model["large"] + 0.5 * matrix(256, 400, seed=9)}
    save_file(other, "other.safetensors")
    result = invoke(capsys, "compare", "other.safetensors", "m.nqz", "--json")
    assert result.code == 8 and "tensor 'large': error" in result.err
    found = {tensor["name"]: tensor for tensor in json.loads(result.out)["tensors"]}
    assert not found["large"]["ok"] and found["large"]["share"] > 0.8 and found["loud"]["ok"]
    save_file({**model, "small": model["small"].astype("float64")}, "wide.safetensors")
    result = invoke(capsys, "compare", "wide.safetensors", "m.nqz")
    assert result.code == 8 and "the original has dtype float64, not float32" in result.err
    with open("m.nqz", "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    result = invoke(capsys, "compare", "m.safetensors", "m.nqz")
    assert result.code == 5 and "damaged" in result.out
    result = invoke(capsys, "compare", "m.safetensors", "m.nqz", "--json")
    assert result.code == 5 and not json.loads(result.out)["ok"]


def test_inputs_of_another_kind(model, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    assert "is a .nqz container" in fail(capsys, 4, "compare", "m.nqz", "m.safetensors")
    assert "compress it first" in fail(capsys, 4, "compare", "m.safetensors", "m.safetensors")
    assert "not both" in fail(capsys, 2, "compare", "-", "-")
    assert json.loads(invoke(capsys, "compare", "m.safetensors", "none.nqz", "--json").out)["ok"] is False
    assert "the original comes first" in invoke(capsys, "compare", "a", "b", "c").err
