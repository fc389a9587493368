"""Functions of the Python interface on every kind of input, and their errors in the words of Python."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import FIXTURES, environment, matrix, succeed
from nqz.api.wording import in_python

MODEL = FIXTURES / "model.safetensors"
api: Any = nqz
"""To call with arguments of other types."""


def tensors():
    return {
        "w": matrix(64, 12),
        "half": matrix(40, 9, dtype="float16"),
        "brain": matrix(30, 8).astype(ml_dtypes.bfloat16),
        "bias": matrix(12),
        "ids": np.arange(7),
        "F": np.asfortranarray(matrix(20, 6)),
        "big": matrix(20, 6).astype(">f4"),
        "scale": np.float32(3.5),
    }


def test_a_mapping_is_the_model_that_it_would_make(tmp_path):
    given = tensors()
    native = {
        k: np.asarray(v, v.dtype.newbyteorder("=") if v.dtype == ">f4" else v.dtype, order="C")
        for k, v in given.items()
    }
    save_file(native, tmp_path / "m.safetensors")
    order = list(load_file(tmp_path / "m.safetensors"))
    data = nqz.encode(given, rate=5, metadata={"a": "b"})
    with nqz.open(data) as container:
        assert list(container) == list(given) and container.metadata == {"a": "b"}
        assert (
            isinstance(container["bias"], nqz.ExactTensor) and container["brain"].source_dtype == "bfloat16"
        )
        for name, value in given.items():
            assert container[name].shape == value.shape
            assert np.abs(np.asarray(container[name], "f8") - value.astype("f8")).max() < 0.5
        whole = {name: np.asarray(tensor) for name, tensor in container.items()}
    with nqz.open(nqz.encode(str(tmp_path / "m.safetensors"), rate=5)) as container:
        assert set(container) == set(order)
        for name, value in whole.items():
            assert np.array_equal(container[name], value), name
    assert len(nqz.open(nqz.encode({}, rate=3))) == 0


def test_files_are_encoded_as_on_the_command_line(tmp_path, capsys):
    for name in ("a.npy", "model.safetensors"):
        path = shutil.copy(FIXTURES / name, tmp_path)
        out = tmp_path / f"{name}.nqz"
        succeed(capsys, "encode", path, "-r", "4", "-o", out, "-q")
        expected = out.read_bytes()
        raw = Path(path).read_bytes()
        with open(path, "rb") as file:
            for source in (path, Path(path), raw, bytearray(raw), io.BytesIO(raw), file):
                assert nqz.encode(source, rate=4) == expected
    assert nqz.encode(path, out, rate=4, force=True) is None
    with pytest.raises(nqz.OutputExistsError, match="same file as an input"):
        nqz.encode(shutil.copy(path, tmp_path / "x"), tmp_path / "x", rate=4, force=True)
    with pytest.raises(nqz.UsageError, match="no \\.npy file"):
        nqz.encode(matrix(9, 3), tmp_path / "a.npy", rate=4)


def test_rules_and_shares_of_a_mapping():
    given = {"a.weight": matrix(80, 30), "b.weight": matrix(80, 30, seed=1), "b.bias": matrix(30)}
    by_text = nqz.encode(given, rate=4, rules=["b.weight=6", "a.*=axis:1"])
    assert by_text == nqz.encode(given, rate=4, rules={"b.weight": 6, "a.*": "axis:1"})
    with nqz.open(by_text) as container:
        assert container["a.weight"].axis == 1 and container["b.weight"].rate > 5.5
    with nqz.open(nqz.encode(given, rate=4, rules={"b.weight": "exact"})) as container:
        assert isinstance(container["b.weight"], nqz.ExactTensor)
    chosen = nqz.encode(given, rate=4, tensors="a.*")
    assert list(nqz.open(chosen)) == ["a.weight"]
    uneven = nqz.open(nqz.encode(given, rate=4, across={"*": 1, "a*": 100}))
    assert uneven["a.weight"].rate > uneven["b.weight"].rate + 1
    assert nqz.encode(given, rate=4, axis="auto") and nqz.encode(given, rate=4, across="size:0.5")


def test_decode_gives_an_array_or_one_for_each_name(tmp_path):
    a = matrix(64, 12)
    data = nqz.encode(a, rate=5)
    array = nqz.decode(data)
    assert isinstance(array, np.ndarray) and np.array_equal(array, nqz.open(data).matrix.decode())
    assert nqz.decode(data, dtype="float64", estimator="unbiased").dtype == np.float64
    model = nqz.encode(tensors(), tmp_path / "m.nqz", rate=5) or tmp_path / "m.nqz"
    found = nqz.decode(model)
    assert isinstance(found, dict) and list(found) == list(tensors())
    with nqz.open(model) as container:
        assert all(np.array_equal(found[name], tensor) for name, tensor in container.items())
        part = nqz.decode(container, tensors=["w", "b*"])
        assert list(part) == ["w", "brain", "bias", "big"]
    assert list(nqz.decode(nqz.encode({"only": a}, rate=4))) == ["only"]


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float32", "estimator": "unbiased"}, {"tensors": "layer.*"}]
)
def test_decode_writes_the_file_of_the_command_line(tmp_path, capsys, options):
    coded, expected = tmp_path / "m.nqz", tmp_path / "expected.safetensors"
    nqz.encode(MODEL, coded, rate=4)
    given = [x for key, value in options.items() for x in (f"--{key.removesuffix('s')}", value)]
    succeed(capsys, "decode", coded, "-o", expected, "-q", *given)
    assert nqz.decode(coded, tmp_path / "m.safetensors", **options) is None
    assert (tmp_path / "m.safetensors").read_bytes() == expected.read_bytes()
    stream = io.BytesIO()
    nqz.decode(coded.read_bytes(), stream, **options)
    assert stream.getvalue() == expected.read_bytes()
    with pytest.raises(nqz.OutputExistsError, match="use force=True"):
        nqz.decode(coded, tmp_path / "m.safetensors")
    with pytest.raises(nqz.UsageError, match="suffix"):
        nqz.decode(coded, tmp_path / "m.txt")


def test_reports_are_those_of_the_command_line(tmp_path, capsys):
    a, coded = FIXTURES / "a.npy", tmp_path / "a.nqz"
    nqz.encode(a, coded, rate=3)
    assert json.loads(succeed(capsys, "inspect", coded, "--json").out) == nqz.inspect(coded)
    assert nqz.inspect(coded.read_bytes()) == nqz.inspect(coded)
    told = json.loads(succeed(capsys, "verify", coded, "--against", a, "--json").out)
    told.pop("against")
    array = np.load(a)
    assert nqz.verify(coded, a) == told == nqz.verify(coded.read_bytes(), array)
    assert nqz.verify(coded)["ok"] is True
    told = json.loads(succeed(capsys, "compare", a, coded, "--json").out)
    told.pop("original")
    assert nqz.compare(a, coded) == told == nqz.compare(array, coded)
    options = ("-r", "2,3", "--lattice", "z", "--json", "--threads", "1")
    told = json.loads(succeed(capsys, "sweep", a, *options).out)
    found = nqz.sweep(a, rates=[2, 3], lattices="z", threads=1)
    assert found == told
    found = nqz.sweep(array, array[:, :9], rates=2, lattices=["z"])
    assert found["points"][0]["measured"]["against"] > 0


def test_a_mapping_is_verified_and_compared():
    given = tensors()
    data = nqz.encode(given, rate=5)
    assert nqz.verify(data, given)["ok"]
    assert {one["name"] for one in nqz.compare(given, data)["tensors"]} == set(given)
    weighted = nqz.compare(given, data, across={"*": 1.0, "w": 9.0})["tensors"]
    assert {one["sensitivity"] for one in weighted if one["name"] == "w"} == {9.0}
    with pytest.raises(nqz.UsageError, match="across must be a mapping"):
        nqz.compare(given, data, across="size")
    with nqz.open(data) as container:
        assert nqz.verify(container, given)["ok"] and nqz.inspect(container) == nqz.inspect(data)
        assert nqz.compare(given, container)["ok"] and len(container["w"]) == 64
    with pytest.raises(nqz.InputError, match="is closed"):
        nqz.verify(container)
    other = {**given, "w": given["w"][::-1]}
    with pytest.raises(nqz.VerifyError, match="'w'"):
        nqz.verify(data, other)
    with pytest.raises(nqz.VerifyError, match="'w'"):
        nqz.compare(other, data)
    report = nqz.verify(data, other, check=False)
    assert not report["ok"] and [one["name"] for one in report["tensors"] if not one["ok"]] == ["w"]
    assert nqz.compare(other, data, check=False)["ok"] is False


def test_a_model_in_several_files_is_compared(tmp_path):
    for folder, write in (("plain", save_file), ("coded", lambda one, to: nqz.encode(one, to, rate=4))):
        (tmp_path / folder).mkdir()
        for number, (name, array) in enumerate((("a", matrix(64, 30)), ("b", matrix(64, 20, seed=1))), 1):
            suffix = "nqz" if folder == "coded" else "safetensors"
            write({name: array}, tmp_path / folder / f"m-{number:05}-of-00002.{suffix}")
    found = nqz.compare(tmp_path / "plain", tmp_path / "coded")
    assert found["ok"] and [one["part"][:7] for one in found["tensors"]] == ["m-00001", "m-00002"]
    assert found["totals"]["matrices"] == 2


def test_a_program_that_ends_says_nothing(tmp_path):
    program = "import numpy, nqz; nqz.decode(nqz.encode(numpy.eye(64), rate=3)); nqz.inspect"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def shards(folder):
    """A model of two files and an index, and its tensors."""
    folder.mkdir()
    parts = {
        "model-00001-of-00002.safetensors": {"a.weight": matrix(40, 30), "a.bias": matrix(30)},
        "model-00002-of-00002.safetensors": {"b.weight": matrix(30, 20, seed=1)},
    }
    for name, part in parts.items():
        save_file(part, folder / name, {"format": "pt"})
    names = {key: name for name, part in parts.items() for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (folder / "LICENSE").write_text("free")
    return {key: value for part in parts.values() for key, value in part.items()}


def test_models_on_the_disk_are_folders(tmp_path, capsys):
    given = shards(tmp_path / "model")
    succeed(capsys, "encode", tmp_path / "model", "-r", "5", "-o", tmp_path / "expected", "-q")
    assert nqz.encode(tmp_path / "model", tmp_path / "coded", rate=5) is None
    for path in (tmp_path / "expected").iterdir():
        assert (tmp_path / "coded" / path.name).read_bytes() == path.read_bytes(), path.name
    with nqz.open(tmp_path / "coded") as container:
        assert set(container) == set(given)
    found = nqz.decode(tmp_path / "coded")
    assert isinstance(found, dict) and np.array_equal(found["a.bias"], given["a.bias"])
    assert nqz.decode(str(tmp_path / "coded"), tmp_path / "back") is None
    assert (tmp_path / "back" / "LICENSE").read_text() == "free"
    again = load_file(tmp_path / "back" / "model-00002-of-00002.safetensors")
    assert np.array_equal(again["b.weight"], found["b.weight"])
    assert (
        nqz.verify(tmp_path / "coded", tmp_path / "model")["ok"]
        and nqz.verify(tmp_path / "coded", given)["ok"]
    )
    assert len(nqz.compare(tmp_path / "model", tmp_path / "coded", across={"*": 2})["tensors"]) == 3
    files = sorted((tmp_path / "model").glob("*.safetensors"))
    nqz.encode(files, tmp_path / "listed", rate=5)
    assert nqz.inspect(tmp_path / "listed")["totals"]["tensors"] == 3
    with pytest.raises(nqz.UsageError, match="becomes a folder; give its path, to="):
        nqz.encode(tmp_path / "model", rate=5)
    with pytest.raises(nqz.OutputExistsError, match="force=True"):
        nqz.encode(tmp_path / "model", tmp_path / "coded", rate=5)
    for call in (nqz.decode, lambda source, to: nqz.encode(tmp_path / "model", to, rate=4)):
        with pytest.raises(nqz.UsageError, match="becomes a folder; name it without"):
            call(tmp_path / "coded", tmp_path / "out.safetensors")
    nqz.encode(tmp_path / "model", tmp_path / "coded", rate=4, force=True)


def test_warnings_point_to_the_caller():
    with pytest.warns(UserWarning, match="bits") as caught:
        nqz.encode(matrix(20, 40), rate=0.3, center=True)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "error, call, message",
    [
        (nqz.UsageError, lambda a, p: nqz.encode(a), "of rate=, error= and max_bytes="),
        (nqz.UsageError, lambda a, p: nqz.encode(a, rate=3, max_bytes=9), "of rate=, error= and max_bytes="),
        (nqz.UnsupportedError, lambda a, p: nqz.encode([1, 2], rate=3), r"convert it: x\.astype\('float64'\)$"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode(1j * a, rate=3), r"its parts: x\.real, x\.imag$"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode(str, rate=3), "is no array, but an object of type type"),
        (nqz.OperandError, lambda a, p: nqz.matmul(p, np.ones((7, 64), "f4")), "other axis, transpose the array$"),
        (nqz.OperandError, lambda a, p: nqz.matmul(p, np.ones(10, "f4")), "other axis, with encode axis=1$"),
        (nqz.OperandError, lambda a, p: nqz.matmul(p, np.ones(9, "f4")), r"\(see b\.T and axis= of encode\)"),
        (nqz.OperandError, lambda a, p: nqz.open(p).matrix.T @ nqz.open(p), "has no @: choose one of its matrices"),
        (nqz.UsageError, lambda a, p: nqz.encode(a, rate=3, threads=0), "threads 0: an integer from 1"),
        (nqz.UsageError, lambda a, p: nqz.open(p).matrix.decode(threads=-1), "threads -1"),
        (nqz.OutputExistsError, lambda a, p: nqz.encode(a, p, rate=3), "exists already; use force=True to"),
        (nqz.OperandError, lambda a, p: nqz.matmul(p, nqz.encode(a, rate=3, seed=2)), "the same seed="),
        (nqz.UnsupportedError, lambda a, p: nqz.open(FIXTURES / "a.npy"), "with nqz.encode"),
        (nqz.UsageError, lambda a, p: nqz.encode(a, rate=3, rules={"x": "y"}), "rule 'x=y'"),
        (nqz.UsageError, lambda a, p: api.encode(a, rate=3, rules={1: 2}), "rules"),
        (nqz.UsageError, lambda a, p: api.encode(a, rate=3, rules=3), "rules"),
        (nqz.UsageError, lambda a, p: api.encode(a, rate=3, tensors=[3]), "tensors"),
        (nqz.UsageError, lambda a, p: nqz.encode(a, rate=3, across="much"), "across 'much'"),
        (nqz.UsageError, lambda a, p: nqz.encode(a, max_bytes="12XB"), "max_bytes '12XB' is no size"),
        (nqz.UsageError, lambda a, p: api.encode(a, max_bytes=1.5), "max_bytes 1.5: an integer is needed"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": np.array(["x"])}, rate=3), "carries integers, booleans"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": None}, rate=3), "'a': is no array, but an object of"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode([None, a], rate=3), "is no array"),
        (nqz.UsageError, lambda a, p: nqz.encode({1: a}, rate=3), "cannot be called 1: it is no string"),
        (nqz.UsageError, lambda a, p: nqz.encode({"__metadata__": a}, rate=3), "kept for metadata"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": {"b": a}}, rate=3), "'a': is a mapping itself"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": a.astype("c16")}, rate=3), "'a': entries of complex128"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": [[1], [2, 3]]}, rate=3), "tensor 'a': is no array"),
        (nqz.UnsupportedError, lambda a, p: nqz.encode({"a": a, "b": a / 0}, rate=3), "tensor 'b'"),
        (nqz.UsageError, lambda a, p: nqz.decode(nqz.encode({"a": a, "b": a}, rate=3), "x.npy"), "tensors= for"),
        (nqz.UsageError, lambda a, p: nqz.decode(p, tensors="no"), "no tensor is called 'no'"),
        (nqz.UsageError, lambda a, p: nqz.decode(p, estimator="auto"), "estimator 'auto'"),
        (nqz.UsageError, lambda a, p: nqz.decode(p, dtype=int), "dtype"),
        (nqz.UsageError, lambda a, p: nqz.sweep(a, rates=[]), "at least one rate"),
        (nqz.UsageError, lambda a, p: api.sweep(a, rates=["x"]), "rates 'x': a number"),
        (nqz.UsageError, lambda a, p: nqz.sweep(a, axis=3), "axis 3"),
        (nqz.UsageError, lambda a, p: nqz.sweep(a, axis_against=1), "axis_against: needs"),
        (nqz.UsageError, lambda a, p: nqz.sweep({"a": a, "b": a}), "choose one with tensor="),
        (nqz.InputError, lambda a, p: nqz.verify(str(p) + "x"), "cannot open"),
        (nqz.InputError, lambda a, p: nqz.inspect("no/such.nqz"), "cannot open"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_errors_speak_python(tmp_path, error, call, message):
    a = matrix(64, 10)
    nqz.encode(a, tmp_path / "a.nqz", rate=3)
    with pytest.raises(error, match=message) as info:
        call(a, tmp_path / "a.nqz")
    assert not re.search(r"(?<!\w)--?[a-z]", str(info.value))


def test_what_cannot_be_reached_is_a_usage_error():
    with pytest.raises(nqz.UsageError, match="the smallest feasible total is 3") as info:
        nqz.encode({"a": matrix(50, 60), "b": matrix(50, 60)}, rate=3, rules=["a=6"])
    assert type(info.value) is nqz.UsageError


def test_a_dry_run_is_the_plan(tmp_path, capsys):
    model = {"a.weight": matrix(96, 64), "b.weight": matrix(64, 64), "bias": matrix(9)}
    save_file(model, tmp_path / "m.safetensors")
    options = {"max_bytes": "6kB", "rules": {"b.*": "exact"}, "axis": 1}
    plan = nqz.encode(model, dry_run=True, rate=3, rules={"b.*": "exact"})
    assert [one["kind"] for one in plan["tensors"]] == ["matrix", "exact", "exact"]
    assert plan["totals"]["matrices"] == 1 and plan["totals"]["bytes"] == plan["files"][0]["bytes"]
    with pytest.raises(nqz.UsageError, match="does not fit into 6000 bytes"):
        nqz.encode(tmp_path / "m.safetensors", dry_run=True, **options)
    options["max_bytes"] = "22kB"
    plan = nqz.encode(tmp_path / "m.safetensors", tmp_path / "m.nqz", dry_run=True, **options)
    assert not (tmp_path / "m.nqz").exists()
    words = [
        "encode",
        str(tmp_path / "m.safetensors"),
        "--max-bytes",
        "22kB",
        "--rule",
        "b.*=exact",
        "--axis",
        "1",
    ]
    printed = json.loads(succeed(capsys, *words, "--dry-run", "--json").out)
    assert plan == {key: printed[key] for key in ("tensors", "files", "totals")}
    nqz.encode(tmp_path / "m.safetensors", tmp_path / "m.nqz", **options)
    size = (tmp_path / "m.nqz").stat().st_size
    assert size <= 22_000 and abs(size - plan["totals"]["bytes"]) <= 0.003 * size + 400


def messages():
    """All constant texts of the package below the command line, that name an option."""
    for path in sorted((FIXTURES.parent / "nqz").rglob("*.py")):
        if "cli" in path.parts or path.name in ("wording.py", "help.py", "__main__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value:
                        yield path, part.value


def test_no_message_is_left_in_the_words_of_the_command_line():
    found = [(path, text) for path, text in messages() if re.search(r"(?<![\w-])--?[a-z]", text)]
    assert len(found) >= 8
    for path, text in found:
        assert not re.search(r"(?<![\w-])--?[a-z]", in_python(text)), (path, text)


def test_what_a_message_quotes_stays_as_it_is():
    text = "tensor '--seed -r': not with --seed, nor \"--axis\" in a--seed.npy"
    assert in_python(text) == "tensor '--seed -r': not with seed=, nor \"--axis\" in a--seed.npy"


def test_callers_whose_numpy_raises_get_answers():
    x = np.random.default_rng(1).standard_normal((64, 40)) * np.logspace(-300, 150, 40)
    with np.errstate(all="raise"):
        data = nqz.encode(x, rate=3)
        assert np.isfinite(nqz.decode(data)).all()
        product, _ = nqz.matmul(data, data, sigma=True)
        assert np.isnan(nqz.predicted_sigma(data, data)).any() and np.isfinite(product).all()
        with pytest.raises(nqz.UsageError):
            nqz.encode(x, rate=-1)
        assert set(np.geterr().values()) == {"raise"}
