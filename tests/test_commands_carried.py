"""Products with matrices that a container carries exactly: they are the plain side of an estimate."""

from __future__ import annotations

import gc
import json
import os

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import fail, matrix, save, succeed
from nqz.commands.carried import carried_tensor
from nqz.commands.opening import open_file
from nqz.format.tensors import PIECE


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """Containers of two models of three matrices each; in k.nqz the largest is carried exactly."""
    monkeypatch.chdir(tmp_path)
    tensors = {"h.weight": matrix(96, 64), "head.weight": matrix(150, 64, seed=1), "h.bias": matrix(9)}
    save_file({**tensors, "ids": np.arange(64)}, "m.safetensors")
    save(tmp_path / "x.npy", matrix(64, 12, seed=2))
    options = ["m.safetensors", "-r", "5", "--axis", "1", "-q"]
    succeed(capsys, "encode", *options, "-o", "c.nqz")
    succeed(capsys, "encode", *options, "--rule", "head.*=exact", "-o", "k.nqz", "--seed", "0")
    succeed(capsys, "encode", "x.npy", "-r", "6", "-q")
    return tmp_path


def test_an_exact_matrix_is_the_plain_side_of_a_product(folder, capsys):
    weight, x = load_file("m.safetensors")["head.weight"], np.load("x.npy")
    save(folder / "w.npy", weight)
    choice = ["--tensor-a", "head.weight", "-o"]
    succeed(capsys, "matmul", "k.nqz", "x.nqz", *choice, "p.npy", "-q")
    product = np.load("p.npy")
    assert product.shape == (150, 12)  # its rows are the vectors: that is what fits x
    assert np.corrcoef(product.ravel(), (weight @ x).ravel())[0, 1] > 0.999
    succeed(capsys, "matmul", "w.npy", "x.nqz", "--axis-a", "1", "-o", "q.npy", "-q")
    assert np.array_equal(product, np.load("q.npy"))
    succeed(
        capsys, "matmul", "x.nqz", "k.nqz", "--tensor-b", "head.weight", "--axis-b", "1", "-o", "t.npy", "-q"
    )
    assert np.array_equal(np.load("t.npy"), product.T)
    text = fail(capsys, 7, "matmul", "x.nqz", "k.nqz", "--tensor-b", "head.weight", "--axis-b", "0")
    assert "along its other axis, with --axis-b 1" in text


def test_pairs_of_equal_name_have_an_exact_matrix_on_one_side(folder, capsys):
    text = succeed(capsys, "matmul", "c.nqz", "k.nqz", "-o", "both.safetensors").err
    assert "both sides of 1 product (h.weight) are the same matrix: its diagonal comes from the norms" in text
    found = load_file("both.safetensors")
    assert {name: p.shape for name, p in found.items()} == {"h.weight": (96, 96), "head.weight": (150, 150)}
    weight = load_file("m.safetensors")["head.weight"]
    assert np.corrcoef(found["head.weight"].ravel(), (weight @ weight.T).ravel())[0, 1] > 0.99
    succeed(capsys, "matmul", "k.nqz", "k.nqz", "-o", "one.npy", "-q")  # exact by exact is left out
    assert np.load("one.npy").shape == (96, 96)


def test_what_has_the_same_name_goes_together_where_one_is_exact(folder, capsys):
    options = ["m.safetensors", "-r", "5", "--axis", "1", "-q"]
    succeed(capsys, "encode", *options, "--rule", "h.weight=exact", "-o", "h.nqz")
    succeed(capsys, "encode", *options, "--tensor", "h.weight", "-o", "one.nqz")
    succeed(capsys, "matmul", "h.nqz", "one.nqz", "-o", "p.npy", "-q")
    weight = load_file("m.safetensors")["h.weight"]
    assert np.corrcoef(np.load("p.npy").ravel(), (weight @ weight.T).ravel())[0, 1] > 0.99


def test_two_sides_that_are_not_compressed_are_refused_with_advice(folder, capsys):
    for arguments in (
        ["k.nqz", "x.npy", "--tensor-a", "head.weight"],
        ["k.nqz", "k.nqz", "--tensor-a", "head.weight", "--tensor-b", "head.weight"],
    ):
        text = fail(capsys, 7, "matmul", *arguments)
        assert "k.nqz: tensor 'head.weight' and " in text
        assert "neither is compressed" in text and "nqz decode" in text and "NumPy" in text
    for name, what in (("ids", "64 int64"), ("h.bias", "9 float32")):
        text = fail(capsys, 7, "matmul", "k.nqz", "x.nqz", "--tensor-a", name)
        assert f"tensor '{name}' is not a matrix of floating-point numbers ({what})" in text
    text = fail(capsys, 2, "matmul", "k.nqz", "x.npy", "--tensor-a", "h.weight", "--axis-a", "1")
    assert "--axis-a 1: k.nqz: tensor 'h.weight' is compressed" in text


@pytest.mark.parametrize("dtype", ["bfloat16", ">f8"])
def test_data_is_read_from_a_temporary_file_that_goes_with_the_product(tmp_path, dtype):
    array = np.asfortranarray(matrix(1500, 1000)).astype(dtype)
    kept = {"w": array, "v": matrix(1500, 3)}
    path = tmp_path / "w.npz" if dtype == ">f8" else tmp_path / "w.safetensors"
    np.savez(path, **kept) if dtype == ">f8" else save_file({**kept, "w": np.ascontiguousarray(array)}, path)
    nqz.encode(path, tmp_path / "w.nqz", rate=4, rules={"w": "exact"})
    assert array.nbytes > PIECE // 2
    before = len(os.listdir("/dev/fd"))
    with open_file(tmp_path / "w.nqz") as opened:
        number = next(i for i, info in enumerate(opened.content.manifest.tensors) if info.name == "w")
        tensor, data = carried_tensor(opened.content, number)
        view = tensor.vectors(0)
        assert len(os.listdir("/dev/fd")) == before + 1  # nothing is decoded before it is read
        block = view.read(7, 11)
        values = block.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else block
        assert np.array_equal(np.asarray(values, float), np.asarray(array[:, 7:11], float))
        assert len(os.listdir("/dev/fd")) > before + 1
        data.close()
        del view, tensor  # which may have a copy in another order
    assert len(os.listdir("/dev/fd")) == before


def test_damage_of_an_exact_matrix_is_found_by_a_product(folder, capsys):
    data = bytearray((folder / "k.nqz").read_bytes())
    with open_file("k.nqz") as opened:
        names = [info.name for info in opened.content.manifest.tensors]
        (record,) = opened.content.find(names.index("head.weight"), "EXCT")
        data[record.offset + 2000] ^= 1
    (folder / "d.nqz").write_bytes(data)
    text = fail(capsys, 5, "matmul", "d.nqz", "x.nqz", "--tensor-a", "head.weight", "-o", "p.npy")
    assert "d.nqz: damaged: the checksum of the record EXCT" in text and not (folder / "p.npy").exists()


def test_exact_matrices_multiply_in_python_as_arrays(folder):
    x = np.load("x.npy")
    with nqz.open("k.nqz") as container, nqz.open("x.nqz") as other:
        exact, coded = container["head.weight"], container["h.weight"]
        array = exact.decode()
        assert np.array_equal(exact @ x, array @ x) and np.array_equal(x.T @ exact.T, x.T @ array.T)
        assert np.array_equal(exact.T @ np.ones(150), array.T @ np.ones(150))
        assert np.array_equal(exact @ exact.T, array @ array.T)
        assert np.array_equal(container["ids"] @ exact.T, np.arange(64) @ array.T)
        product = nqz.matmul(exact.T, other.matrix)
        assert product.shape == (150, 12) and np.array_equal(product, exact @ other.matrix)
        assert np.array_equal(product, nqz.matmul(array.T, other.matrix))
        assert np.array_equal(coded @ exact.T, nqz.matmul(coded, array.T))
        with pytest.raises(nqz.OperandError, match="neither is compressed"):
            nqz.matmul(exact, x)
    gc.collect()


@pytest.mark.parametrize("source", ["file", "model"])
def test_exact_bfloat16_is_widened_where_a_file_has_no_such_type(tmp_path, monkeypatch, capsys, source):
    monkeypatch.chdir(tmp_path)
    values = matrix(300, 8000).astype(ml_dtypes.bfloat16)  # more than one piece
    values[0, :3] = np.inf, -np.inf, np.nan
    small = matrix(50).astype(ml_dtypes.float8_e4m3fn)
    os.mkdir("model")
    save_file({"w": matrix(64, 16), "big": values, "f8": small}, "model/m.safetensors")
    inputs, outputs = ("model", "model-nqz") if source == "model" else ("model/m.safetensors", "m.nqz")
    succeed(capsys, "encode", inputs, "-o", outputs, "-r", "4", "--rule", "big=exact", "-q")
    line = fail(capsys, 4, "decode", outputs, "--tensor", "big", "-o", "big.npy")
    assert line == "tensor 'big': .npy has no bfloat16; choose --dtype float32, or write .safetensors"
    for dtype in ("float32", "float64"):
        for name, array in (("big", values), ("f8", small)):
            arguments = ["decode", outputs, "--tensor", name, "-o", f"{name}.npy", "--dtype", dtype, "-f"]
            done = succeed(capsys, *arguments, "--json", "report.json").err
            found = np.load(f"{name}.npy")
            assert found.dtype == dtype and np.array_equal(found, array.astype(dtype), equal_nan=True)
            with open("report.json") as file:
                assert json.load(file)["tensors"][0]["dtype"] == dtype and f"{dtype}, exact" in done
            os.remove("report.json")
    # a file that has the type keeps it
    succeed(capsys, "decode", outputs, "--tensor", "big", "-o", "b.safetensors", "--dtype", "float32", "-q")
    assert load_file("b.safetensors")["big"].tobytes() == values.tobytes()
