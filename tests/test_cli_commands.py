"""The commands and their options on good input."""

from __future__ import annotations

import json
import re

import ml_dtypes  # teaches NumPy bfloat16, which safetensors needs
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import FIXTURES, invoke, listing, matrix, save, succeed
from nqz.files.access import FileAccess

INSPECT_KEYS = [
    "name", "shape", "dtype", "kind", "slice", "same_as", "axis", "lattice", "coding", "rate_asked", "rate", "partner",
    "kappa", "alpha", "delta", "window", "rotation_seed", "dither_key", "norms", "means", "dropped", "chunks",
    "bytes", "predicted",
]  # fmt: skip


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two related matrices a.npy, b.npy in the current folder."""
    monkeypatch.chdir(tmp_path)
    a = matrix(128, 40)
    b = 0.5 * a[:, :24] + matrix(128, 24, seed=1)
    save(tmp_path / "a.npy", a)
    save(tmp_path / "b.npy", b)
    return a, b


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A copy of the fixture model.safetensors in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((FIXTURES / "model.safetensors").read_bytes())
    return tmp_path


def relative_error(estimate, truth, a, b):
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / len(a)
    return np.square(estimate.astype(np.float64) - truth).sum() / scale


def test_the_main_job(pair, tmp_path, capsys):
    a, b = pair
    result = succeed(capsys, "encode", "a.npy", "-r", "4")
    assert result.out == ""
    assert re.fullmatch(
        r"nqz: a\.npy -> a\.nqz: 128x40, \d\.\d\d bits per entry, \d+\.\dx smaller, "
        r"predicted product error 0\.\d+ of ‖Ā‖²‖B̄‖²/n \([\d.]+ % rms\)\n",
        result.err,
    )
    succeed(capsys, "encode", "b.npy", "-r", "4", "-q")
    result = succeed(capsys, "matmul", "a.nqz", "b.nqz", "-o", "c.npy")
    assert result.out == ""
    found = re.search(
        r"40 x 24 from (\S+) and (\S+) bits per entry: expected error (\S+) of ‖Ā‖²‖B̄‖²/n \(", result.err
    )
    expected = float(found.group(3))
    actual = relative_error(np.load("c.npy"), a.T.astype(np.float64) @ b, a, b)
    assert actual == pytest.approx(expected, rel=0.35)
    succeed(capsys, "decode", "a.nqz", "-o", "back.npy")
    back = np.load("back.npy")
    assert back.dtype == a.dtype and back.shape == a.shape
    with nqz.open("a.nqz") as container:
        predicted = container.matrix.predicted_reconstruction
    assert np.square(back - a).sum() / np.square(a - a.mean(0)).sum() == pytest.approx(predicted, rel=0.15)


def test_default_names_replace_the_suffix(model, pair, capsys):
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    succeed(capsys, "decode", "a.nqz", "-f", "-q")
    succeed(capsys, "decode", "model.nqz", "-f", "-q")
    assert listing(model) == ["a.npy", "a.nqz", "b.npy", "model.nqz", "model.safetensors"]
    assert np.load("a.npy").shape == (128, 40)
    assert set(load_file("model.safetensors")) >= {"layer.weight", "layer.bias"}


def test_quiet_leaves_payload_only(pair, capsys):
    assert succeed(capsys, "encode", "a.npy", "-r", "3", "-q").err == ""
    assert succeed(capsys, "encode", "b.npy", "-r", "3", "-q").err == ""
    assert succeed(capsys, "decode", "a.nqz", "-o", "d.npy", "-q").err == ""
    assert succeed(capsys, "matmul", "a.nqz", "b.nqz", "-o", "c.npy", "-q").err == ""
    for arguments in (["inspect", "a.nqz"], ["verify", "a.nqz"], ["verify", "a.nqz", "--against", "a.npy"]):
        result = succeed(capsys, *arguments, "-q", "--threads", "1")
        assert result.err == "" and result.out != ""


def test_standard_input_and_output(pair, tmp_path, capfdbinary, monkeypatch):
    run = nqz.cli.run
    assert run(["encode", "a.npy", "-r", "3", "-o", "a.nqz", "-q"]) == 0
    with open("a.npy", "rb") as stream:
        monkeypatch.setattr(
            "sys.stdin", type("Stdin", (), {"buffer": stream, "isatty": lambda self: False})()
        )
        assert run(["encode", "-", "-r", "3", "-o", "piped.nqz", "-q"]) == 0
    assert (tmp_path / "piped.nqz").read_bytes() == (tmp_path / "a.nqz").read_bytes()


def test_inspect_json_has_the_stable_keys(pair, capsys):
    a, _ = pair
    succeed(capsys, "encode", "a.npy", "-r", "3.5", "--seed", "7", "--lattice", "e8", "-q")
    found = json.loads(succeed(capsys, "inspect", "a.nqz", "--json").out)
    assert list(found) == ["format", "file_bytes", "source", "writer", "metadata", "set", "tensors", "totals"]
    assert found["format"] == 0
    (tensor,) = found["tensors"]
    assert list(tensor) == INSPECT_KEYS
    assert tensor["name"] == "" and tensor["shape"] == [128, 40] and tensor["dtype"] == "float32"
    assert tensor["kind"] == "matrix" and tensor["axis"] == 0
    assert tensor["lattice"] == "e8" and tensor["coding"] == "entropy"
    assert tensor["rate_asked"] == 3.5 and tensor["rate"] == 8 * found["file_bytes"] / a.size
    assert tensor["rotation_seed"] == 7 and re.fullmatch("[0-9a-f]{32}", tensor["dither_key"])
    # norms as they are stored: of short vectors roughly
    norms = np.linalg.norm(a - a.mean(0), axis=0)
    for key, value in (("min", norms.min()), ("median", np.median(norms)), ("max", norms.max())):
        assert tensor["norms"][key] == pytest.approx(value, rel=0.5)
        assert tensor["means"][key] == pytest.approx(getattr(np, key)(a.mean(0)), abs=1e-2)
    assert sum(v for k, v in tensor["bytes"].items() if k != "total") == tensor["bytes"]["total"]
    assert tensor["bytes"]["total"] < found["file_bytes"]
    assert 0 < tensor["predicted"]["reconstruction"] < tensor["predicted"]["product"] < 1
    assert tensor["alpha"] == pytest.approx(1 - tensor["predicted"]["reconstruction"])


def test_inspect_of_exact_tensors_has_nulls(model, capsys):
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    found = json.loads(succeed(capsys, "inspect", "model.nqz", "--json").out)
    kinds = {tensor["name"]: tensor["kind"] for tensor in found["tensors"]}
    assert kinds == {
        "embed.weight": "matrix", "layer.weight": "matrix", "layer.bias": "exact", "head.weight": "matrix",
        "position_ids": "exact", "mask": "exact", "scale": "exact",
    }  # fmt: skip
    for tensor in found["tensors"]:
        assert list(tensor) == INSPECT_KEYS
        if tensor["kind"] == "exact":
            assert all(tensor[key] is None for key in INSPECT_KEYS[4:] if key != "bytes")
            assert tensor["bytes"]["total"] > 0 and tensor["bytes"]["chunks"] is None


def test_inspect_without_centering_has_no_means(pair, capsys):
    succeed(capsys, "encode", "a.npy", "-r", "3", "--no-center", "-q")
    (tensor,) = json.loads(succeed(capsys, "inspect", "a.nqz", "--json").out)["tensors"]
    assert tensor["means"] is None and tensor["bytes"]["means"] == 0
    assert "not centered" in succeed(capsys, "inspect", "a.nqz").out


def test_inspect_leaves_the_coded_entries_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(4096, 256))
    succeed(capsys, "encode", "a.npy", "-r", "4", "--lattice", "z", "-q")
    count, read = 0, FileAccess.pread_into

    def counting(self, buffer, offset):
        nonlocal count
        count += memoryview(buffer).nbytes
        read(self, buffer, offset)

    monkeypatch.setattr(FileAccess, "pread_into", counting)
    succeed(capsys, "inspect", "a.nqz")
    # the last 64 KiB, where manifest and index are, norms and means
    assert 0 < count < (64 << 10) + 2000 and (tmp_path / "a.nqz").stat().st_size > 520_000


def test_inspect_table_names_every_tensor(model, capsys):
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    lines = succeed(capsys, "inspect", "model.nqz").out.splitlines()
    assert lines[0].startswith("model.nqz: format 0, ") and lines[0].endswith("7 tensors, from .safetensors")
    for name, kind in (("embed.weight", " conv"), ("position_ids", "exact")):
        (line,) = [line for line in lines if name in line]
        assert kind in line


def test_inspect_adds_up_what_it_lists(model, capsys):
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    found = json.loads(succeed(capsys, "inspect", "model.nqz", "--json").out)
    totals, matrices = found["totals"], [t for t in found["tensors"] if t["kind"] == "matrix"]
    sizes = [int(np.prod(t["shape"])) for t in matrices]
    original = sum(array.nbytes for array in load_file("model.safetensors").values())
    rate = sum(t["rate"] * size for t, size in zip(matrices, sizes, strict=True)) / sum(sizes)
    assert totals == {
        "tensors": 7, "matrices": 3, "exact": 4, "tied": 0, "entries": sum(sizes), "rate": pytest.approx(rate),
        "bytes": found["file_bytes"], "source_bytes": original,
        "times_smaller": pytest.approx(original / found["file_bytes"]),
    }  # fmt: skip
    line = succeed(capsys, "inspect", "model.nqz").out.split("\n\n")[2]
    assert line == (
        f"7 tensors, 3 of them compressed: {sum(sizes)} entries at {rate:.4g} bits per entry; "
        f"{found['file_bytes']} bytes, {original / found['file_bytes']:.1f}x smaller"
    )


def test_inspect_shows_some_of_the_tensors(model, capsys):
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    found = json.loads(
        succeed(capsys, "inspect", "model.nqz", "--json", "--tensor", "l*", "--tensor", "mask").out
    )
    assert [t["name"] for t in found["tensors"]] == ["layer.weight", "layer.bias", "mask"]
    assert found["totals"]["bytes"] == sum(t["bytes"]["total"] for t in found["tensors"])
    assert found["totals"]["matrices"] == 1 and found["totals"]["exact"] == 2
    one = succeed(capsys, "inspect", "model.nqz", "--tensor", "layer.weight").out
    assert "rotation seed" in one and "7 tensors" in one
    assert "no tensor is called 'w'" in invoke(capsys, "inspect", "model.nqz", "--tensor", "w").err


def test_inspect_of_a_model_has_its_parts_and_totals(model, capsys):
    (model / "m").mkdir()
    for number, (pattern, rate) in enumerate((("layer.*", "3"), ("embed*", "4")), 1):
        target = f"m/model-{number:05}-of-00002.nqz"
        succeed(capsys, "encode", "model.safetensors", "-r", rate, "--tensor", pattern, "-o", target, "-q")
    found = json.loads(succeed(capsys, "inspect", "m", "--json").out)
    sizes = [path.stat().st_size for path in sorted((model / "m").iterdir())]
    assert found["name"] == "m" and found["file_bytes"] == found["totals"]["bytes"] == sum(sizes)
    assert [(part["name"][:11], part["file_bytes"]) for part in found["parts"]] == [
        ("model-00001", sizes[0]), ("model-00002", sizes[1]),
    ]  # fmt: skip
    parts = {tensor["name"]: tensor["part"][:11] for tensor in found["tensors"]}
    assert parts == {
        "layer.weight": "model-00001", "layer.bias": "model-00001", "embed.weight": "model-00002",
    }  # fmt: skip
    assert found["totals"]["tensors"] == 3 and found["totals"]["matrices"] == 2
    one = json.loads(succeed(capsys, "inspect", "m", "--json", "--tensor", "*.bias").out)
    assert [tensor["name"] for tensor in one["tensors"]] == ["layer.bias"] and len(one["parts"]) == 2
    text = succeed(capsys, "inspect", "m", "--sort", "name").out.splitlines()
    assert (
        f"{sum(sizes)} bytes" in text[0]
        and " in 2 containers, " in text[0]
        and ", 3 tensors, from .safetensors" in text[0]
    )
    assert [line.split()[0] for line in text[4:7]] == sorted(parts)


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", ["embed.weight", "head.weight", "layer.bias", "layer.weight", "mask"]),
        ("size", ["embed.weight", "layer.weight", "head.weight", "layer.bias"]),
        ("entries", ["embed.weight", "layer.weight", "head.weight", "mask", "layer.bias", "position_ids"]),
        ("rate", None),
        ("error", None),
    ],
)
def test_inspect_sorts(model, capsys, sort, first):
    succeed(capsys, "encode", "model.safetensors", "-r", "3", "-q")
    tensors = json.loads(succeed(capsys, "inspect", "model.nqz", "--json", "--sort", sort).out)["tensors"]
    names = [t["name"] for t in tensors]
    if first is None:  # matrices, the largest first; then the others as they are in the file
        matrices = [t for t in tensors if t["kind"] == "matrix"]
        values = [t["rate"] if sort == "rate" else t["predicted"]["reconstruction"] for t in matrices]
        assert tensors[:3] == matrices and values == sorted(values, reverse=True)
        assert names[3:] == ["layer.bias", "position_ids", "mask", "scale"]
    else:
        assert names[: len(first)] == first
    lines = succeed(capsys, "inspect", "model.nqz", "--sort", sort).out.splitlines()
    assert [line.split()[0] for line in lines[4:11]] == names


def test_a_model_keeps_names_order_types_and_metadata(model, capsys):
    from safetensors import safe_open

    result = succeed(capsys, "encode", "model.safetensors", "-r", "4")
    assert "3 of 7 tensors compressed" in result.err
    succeed(capsys, "decode", "model.nqz", "-o", "back.safetensors", "-q")
    before, after = load_file("model.safetensors"), load_file("back.safetensors")
    with safe_open("back.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "note": "made by fixtures/make.py"}
    header = [(model / name).read_bytes() for name in ("model.safetensors", "back.safetensors")]
    names = [list(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])) for data in header]
    assert names[0] == names[1]
    assert before["embed.weight"].dtype == ml_dtypes.bfloat16
    for name, array in before.items():
        assert after[name].dtype == array.dtype and after[name].shape == array.shape
        if array.ndim < 2 or array.dtype.kind in "bi":
            assert np.array_equal(after[name], array)
        else:
            x, y = array.astype(np.float64), after[name].astype(np.float64)
            assert 0 < np.square(x - y).sum() < 0.02 * np.square(x).sum()


def test_tensor_selects_names_and_patterns(model, capsys):
    succeed(capsys, "encode", "model.safetensors", "-r", "4", "--tensor", "layer.*", "--tensor", "mask", "-q")
    found = json.loads(succeed(capsys, "inspect", "model.nqz", "--json").out)
    assert [tensor["name"] for tensor in found["tensors"]] == ["layer.weight", "layer.bias", "mask"]
    succeed(capsys, "decode", "model.nqz", "--tensor", "layer.weight", "-o", "layer.npy", "-q")
    assert np.load("layer.npy").shape == (128, 96)
    assert "3 tensors" in succeed(capsys, "verify", "model.nqz").out
    assert succeed(capsys, "verify", "model.nqz", "--against", "model.safetensors").out.count(" ok") == 3


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_the_suffix_chooses_the_format(pair, capsys, suffix):
    a, _ = pair
    succeed(capsys, "encode", "a.npy", "-r", "6", "-q")
    succeed(capsys, "decode", "a.nqz", "-o", f"x{suffix}", "--dtype", "float64", "-q")
    back = np.load("x.npy") if suffix == ".npy" else load_file("x.safetensors")["array"]
    assert back.dtype == np.float64 and np.abs(back - a).max() < 0.2


def test_decode_estimators_differ_by_the_shrinkage(pair, capsys):
    succeed(capsys, "encode", "a.npy", "-r", "2", "--allocate", "column", "--no-center", "-q")
    for estimator in ("mmse", "unbiased"):
        succeed(capsys, "decode", "a.nqz", "-o", f"{estimator}.npy", "--estimator", estimator, "-q")
    mmse, unbiased = np.load("mmse.npy"), np.load("unbiased.npy")
    (tensor,) = json.loads(succeed(capsys, "inspect", "a.nqz", "--json").out)["tensors"]
    assert np.abs(mmse - tensor["alpha"] * unbiased).max() < 1e-2 * np.abs(mmse).max()


@pytest.mark.parametrize("lattice", ["z", "d4", "e8"])
@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
def test_every_code_verifies(pair, capsys, lattice, coding):
    succeed(capsys, "encode", "a.npy", "-r", "3", "--lattice", lattice, "--coding", coding, "-q")
    found = json.loads(succeed(capsys, "verify", "a.nqz", "--against", "a.npy", "--json").out)
    (tensor,) = found["tensors"]
    assert found["ok"] and found["against"] == "a.npy"
    assert tensor["same_bytes"] is True and tensor["problem"] is None
    assert abs(tensor["measured"] / tensor["predicted"] - 1) <= tensor["allowed"] < 0.25


def test_options_reach_the_header(pair, capsys):
    succeed(capsys, "encode", "a.npy", "-r", "2", "--axis", "1", "--kappa", "0.5", "-q")
    (tensor,) = json.loads(succeed(capsys, "inspect", "a.nqz", "--json").out)["tensors"]
    assert tensor["axis"] == 1 and tensor["kappa"] == 0.5


def test_axis_makes_the_product_of_rows(pair, capsys):
    a, b = pair
    np.save("at.npy", np.ascontiguousarray(a.T))
    succeed(capsys, "encode", "at.npy", "-r", "6", "--axis", "1", "-q")
    succeed(capsys, "encode", "b.npy", "-r", "6", "-q")
    succeed(capsys, "matmul", "at.nqz", "b.nqz", "-o", "c.npy", "-q")
    assert relative_error(np.load("c.npy"), a.T @ b, a, b) < 0.01
    succeed(capsys, "matmul", "b.nqz", "at.npy", "--axis-b", "1", "-o", "d.npy", "-q")
    assert relative_error(np.load("d.npy"), b.T @ a, a, b) < 0.01


def test_a_vector_loses_its_axis(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a, b = matrix(1024), matrix(1024, 24, seed=1)
    np.save("v.npy", a)
    np.save("b.npy", b)
    succeed(capsys, "encode", "v.npy", "-r", "6", "-q")
    succeed(capsys, "encode", "b.npy", "-r", "6", "-q")
    succeed(capsys, "matmul", "v.nqz", "b.nqz", "-o", "vb.npy", "-q")
    succeed(capsys, "matmul", "b.nqz", "v.nqz", "-o", "bv.npy", "-q")
    succeed(capsys, "matmul", "v.nqz", "v.npy", "-o", "vv.npy", "-q")
    assert (
        np.load("vb.npy").shape == (24,)
        and np.load("bv.npy").shape == (24,)
        and np.load("vv.npy").shape == ()
    )
    assert np.load("vv.npy") == pytest.approx(a @ a, rel=0.05)


def test_a_plain_side_and_dtype(pair, capsys):
    a, b = pair
    succeed(capsys, "encode", "a.npy", "-r", "6", "-q")
    result = succeed(capsys, "matmul", "a.nqz", "b.npy", "-o", "c.npy", "--dtype", "float64")
    assert "and 32 bits per entry" in result.err
    assert np.load("c.npy").dtype == np.float64
    assert relative_error(np.load("c.npy"), a.T @ b, a, b) < 0.01


def test_a_matrix_times_itself_says_so(pair, capsys):
    a, _ = pair
    succeed(capsys, "encode", "a.npy", "-r", "4", "-q")
    result = succeed(capsys, "matmul", "a.nqz", "a.nqz", "-o", "gram.npy")
    assert "nqz: note: both sides are the same matrix" in result.err
    centered = a - a.mean(0)
    gram = np.load("gram.npy") - len(a) * np.outer(a.mean(0), a.mean(0))
    assert np.diag(gram) == pytest.approx(np.square(centered).sum(0), rel=0.1)


def test_pairs_of_equal_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    left = {
        "x": matrix(64, 8),
        "y": matrix(32, 4, seed=1),
        "only": matrix(16, 2, seed=2),
        "v": matrix(64, seed=3),
    }
    right = {"y": matrix(32, 6, seed=4), "x": matrix(64, 5, seed=5), "v": matrix(64, seed=6)}
    save_file(left, "l.safetensors")
    save_file(right, "r.safetensors")
    succeed(capsys, "encode", "l.safetensors", "-r", "6", "-q")
    succeed(capsys, "encode", "r.safetensors", "-r", "6", "-q")
    result = succeed(capsys, "matmul", "l.nqz", "r.nqz", "-o", "p.safetensors")
    assert "2 products" in result.err
    products = load_file("p.safetensors")
    assert {name: product.shape for name, product in products.items()} == {"x": (8, 5), "y": (4, 6)}
    for name, product in products.items():
        truth = left[name].T @ right[name]
        assert relative_error(product, truth, left[name], right[name]) < 0.02
    succeed(capsys, "matmul", "l.nqz", "r.nqz", "--tensor-a", "x", "--tensor-b", "x", "-o", "x.npy", "-q")
    assert np.array_equal(np.load("x.npy"), products["x"])


def test_verify_accepts_other_bytes_of_the_same_values(pair, capsys):
    a, _ = pair
    np.save("fortran.npy", np.asfortranarray(a))
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    (tensor,) = json.loads(succeed(capsys, "verify", "a.nqz", "--against", "fortran.npy", "--json").out)[
        "tensors"
    ]
    assert tensor["ok"] and tensor["same_bytes"] is False


def test_verify_of_a_single_column(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", matrix(2000))
    succeed(capsys, "encode", "v.npy", "-r", "3", "-q")
    (tensor,) = json.loads(succeed(capsys, "verify", "v.nqz", "--against", "v.npy", "--json").out)["tensors"]
    assert tensor["ok"] and 0.005 < tensor["standard_error"] < 0.05


def test_names_are_escaped_in_text_and_intact_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "a\x1b[31m\nb\u202e\u0007"
    save_file({name: matrix(32, 8), "[bold]m[/bold]": matrix(32, 8)}, "evil.safetensors")
    succeed(capsys, "encode", "evil.safetensors", "-r", "3", "-q")
    for arguments in (["inspect", "evil.nqz"], ["verify", "evil.nqz", "--against", "evil.safetensors"]):
        text = succeed(capsys, *arguments).out
        assert "a\\x1b[31m\\nb\\u202e\\x07" in text and "[bold]m[/bold]" in text
        assert not set(text) & {"\x1b", "\u202e", "\x07"}
        found = json.loads(succeed(capsys, *arguments, "--json").out)
        assert {tensor["name"] for tensor in found["tensors"]} == {name, "[bold]m[/bold]"}
    error = invoke(capsys, "decode", "evil.nqz", "--tensor", "x\x1b\ny", "-o", "out.npy").err
    assert "\x1b" not in error and error.count("\n") == 1


def test_values_beyond_float64_are_null_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("huge.npy", matrix(64, 4, dtype="float64") * 1e307)
    succeed(capsys, "encode", "huge.npy", "-r", "4", "-q")
    text = succeed(capsys, "inspect", "huge.nqz", "--json").out
    (tensor,) = json.loads(text, parse_constant=pytest.fail)["tensors"]
    assert tensor["norms"]["max"] is None or np.isfinite(tensor["norms"]["max"])
    assert succeed(capsys, "inspect", "huge.nqz").out
    assert succeed(capsys, "verify", "huge.nqz", "--against", "huge.npy").out.count(" ok") == 1


def test_a_warning_when_nothing_is_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", matrix(2, 3000))
    assert "nqz: warning: short.npy: " in succeed(capsys, "encode", "short.npy", "-r", "1", "--center").err


def test_version_and_help(capsys):
    assert succeed(capsys, "--version").out == f"nqz {nqz.__version__}\n"
    text = succeed(capsys, "--help").out
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130, 141, 143):
        assert re.search(rf"\b{code}\b", text)
    for name in ("encode", "decode", "matmul", "inspect", "verify"):
        assert name in text
        options = succeed(capsys, name, "--help").out
        assert "--quiet" in options and "--threads" in options
        assert ("--force" in options) == (name in ("encode", "decode", "matmul"))


def test_metadata_of_any_source(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.npy", matrix(64, 8))
    succeed(capsys, "encode", "m.npy", "-r", "3", "--metadata", "licence=CC0", "--metadata", "note=a=b", "-q")
    found = json.loads(succeed(capsys, "inspect", "m.nqz", "--json").out)
    assert found["metadata"] == {"licence": "CC0", "note": "a=b"} and found["source"] == "npy"
    succeed(capsys, "decode", "m.nqz", "-o", "m.safetensors", "-q")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "--metadata", "note=new", "-o", "n.nqz", "-q")
    with nqz.open("n.nqz") as container:
        assert container.metadata == {"licence": "CC0", "note": "new"}
    for wrong in (["licence"], ["=x"], ["a=1", "--metadata", "a=2"]):
        assert invoke(capsys, "encode", "m.npy", "-r", "3", "--metadata", *wrong, "-o", "w.nqz").code == 2


def test_metadata_of_arrays():
    data = nqz.encode(np.ones((4, 2)), rate=3, metadata={"from": "here"})
    with nqz.open(data) as container:
        assert container.metadata == {"from": "here"}
    with pytest.raises(nqz.UsageError, match="mapping of strings"):
        nqz.encode(np.ones((4, 2)), rate=3, metadata={"from": 1})
