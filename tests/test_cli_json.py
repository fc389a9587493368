"""What encode, decode and matmul did, as JSON: on standard output, or in a file."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import nqz
from cli_tools import FIXTURES, fail, invoke, listing, process, succeed
from nqz.cli import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with the fixtures, and a.nqz and model.nqz made from them."""
    monkeypatch.chdir(tmp_path)
    for file in ("a.npy", "b.npy", "model.safetensors"):
        shutil.copy(FIXTURES / file, tmp_path)
    for file in ("a.npy", "model.safetensors"):
        assert run(["encode", file, "-r", "3", "-q"]) == 0
    return tmp_path


def test_encode_reports_what_inspect_says_of_its_output(folder, capsys):
    for name in ("a.npy", "model.safetensors"):
        found = json.loads(succeed(capsys, "encode", name, "-r", "3", "-o", "x.nqz", "-f", "--json").out)
        inspected = json.loads(succeed(capsys, "inspect", "x.nqz", "--json").out)
        assert list(found) == [
            "command", "writer", "inputs", "outputs", "warnings", "data_bytes", "rate", "tensors",
        ]  # fmt: skip
        assert found["command"] == "encode" and found["inputs"] == [name] and found["warnings"] == []
        assert found["writer"] == f"nqz {nqz.__version__}"
        assert found["outputs"] == [{"name": "x.nqz", "bytes": os.path.getsize("x.nqz")}]
        for tensor in inspected["tensors"]:
            del tensor["norms"], tensor["means"]
        assert found["tensors"] == inspected["tensors"]
    plain = (folder / "model.safetensors").read_bytes()
    assert found["data_bytes"] == len(plain) - 8 - int.from_bytes(plain[:8], "little")
    rates = [tensor["rate"] for tensor in found["tensors"] if tensor["kind"] == "matrix"]
    assert min(rates) <= found["rate"] <= max(rates)


def test_decode_reports_types_and_errors_to_expect(folder, capsys):
    found = json.loads(
        succeed(
            capsys, "decode", "model.nqz", "-o", "x.npz", "--dtype", "float16", "--tensor", "layer.*",
            "--estimator", "unbiased", "--json", "-q",
        ).out
    )  # fmt: skip
    assert found["outputs"] == [{"name": "x.npz", "bytes": os.path.getsize("x.npz")}]
    assert (found["command"], found["inputs"], found["estimator"]) == ("decode", ["model.nqz"], "unbiased")
    arrays = np.load("x.npz")
    assert [(t["name"], tuple(t["shape"]), t["dtype"]) for t in found["tensors"]] == [
        (name, array.shape, array.dtype.name) for name, array in arrays.items()
    ]
    for tensor in found["tensors"]:
        assert (tensor["expected"] > 0.01) == (tensor["kind"] == "matrix")


def test_matmul_reports_rates_and_errors_to_expect(folder, capsys):
    text = succeed(capsys, "matmul", "a.nqz", "b.npy", "-o", "x.npy", "--json")
    found = json.loads(text.out)
    (product,) = found["products"]
    assert product["shape"] == [128, 96] and product["rates"][1] == 32.0 and found["estimator"] == "auto"
    with nqz.open("a.nqz") as a:
        assert product["rates"][0] == a.matrix.rate
        assert product["expected"] == pytest.approx(nqz.predicted_error(a, np.load("b.npy")))
    assert f"{product['expected']:.3g} of" in text.err
    itself = json.loads(succeed(capsys, "matmul", "a.nqz", "a.nqz", "-o", "y.npy", "--json").out)
    assert itself["warnings"] and itself["inputs"] == ["a.nqz", "a.nqz"]


ARGUMENTS = [["encode", "b.npy", "-r", "3"], ["decode", "a.nqz"], ["matmul", "a.nqz", "b.npy"]]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda words: words[0])
def test_a_file_has_the_report_where_standard_output_has_the_result(folder, capsys, arguments):
    suffix = "nqz" if arguments[0] == "encode" else "npy"
    plain = json.loads(succeed(capsys, *arguments, "-o", f"x.{suffix}", "--json").out)
    done = process(*arguments, "-o", "-", "--json", "report.json")
    assert done.returncode == 0 and done.stdout == (folder / f"x.{suffix}").read_bytes()
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert found["outputs"].pop()["name"] == "-" and plain["outputs"].pop()["name"] == f"x.{suffix}"
    assert found == plain
    before = listing(folder)
    for same in (["--json"], ["--json=-"], ["--json", "--quiet"], ["--json=/dev/stdout"]):
        done = process(*arguments, "-o", "-", *same)
        assert (done.returncode, done.stdout) == (2, b"") and b"--json report.json" in done.stderr
    assert process(*arguments, "-o", "/dev/stdout", "--json").returncode == 2
    assert listing(folder) == before


def test_what_follows_is_a_report_only_if_it_looks_so(folder, capsys):
    assert json.loads(succeed(capsys, "encode", "--json", "b.npy", "-r", "3").out)["inputs"] == ["b.npy"]
    succeed(capsys, "encode", "b.npy", "--json", "r.json", "-r", "3", "-f")
    succeed(capsys, "encode", "b.npy", "-r", "3", "-f", "--json=r")
    assert json.loads((folder / "r.json").read_text()) == json.loads((folder / "r").read_text())
    index = "nowhere.index.json"  # of a model, which is an input
    assert fail(capsys, 3, "encode", "--json", index, "-r", "3").startswith(f"{index}: ")
    assert "--json=FILE takes any name" in invoke(capsys, "matmul", "a.nqz", "b.npy", "--json", "report").err
    assert "--json > FILE" in invoke(capsys, "verify", "a.nqz", "--json", "report.json").err
    assert succeed(capsys, "encode", "b.npy", "-r", "3", "-o", "--json").out == ""
    assert "--json" in listing(folder)


def test_a_report_is_written_as_all_outputs_are(folder, capsys):
    (folder / "old.json").write_text("precious")
    before = listing(folder)
    arguments = ["encode", "b.npy", "-r", "3"]
    assert fail(capsys, 9, *arguments, "--json", "old.json").startswith("old.json: exists already")
    assert fail(capsys, 9, *arguments, "--json=b.npy", "-f").startswith("b.npy: is the same file as an input")
    assert "is the output" in fail(capsys, 2, *arguments, "-o", "r.json", "--json", "./r.json", "-f")
    assert "no folder" in fail(capsys, 10, *arguments, "--json", "nowhere/r.json")
    assert fail(capsys, 2, *arguments, "--json=").startswith("-o '': ")
    assert listing(folder) == before and (folder / "old.json").read_text() == "precious"
    succeed(capsys, *arguments, "--json", "old.json", "-f")
    assert json.loads((folder / "old.json").read_text())["command"] == "encode"
    failed = ["encode", "b.npy", "-r", "0.05", "--tensor", "x", "--json", "new.json", "-o", "new.nqz"]
    assert invoke(capsys, *failed).code == 2
    assert not {"new.json", "new.nqz"} & {*listing(folder)}


def test_warnings_are_in_the_report_even_if_nobody_hears_them(folder, capsys):
    np.save("short.npy", np.random.default_rng(0).standard_normal((2, 3000)))
    found = json.loads(succeed(capsys, "encode", "short.npy", "-r", "1", "--center", "-q", "--json").out)
    assert found["warnings"][0].startswith("short.npy: ")
