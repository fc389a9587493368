"""``nqz matmul --sigma``: standard deviations beside the product, both files whole or none."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import nqz
from cli_tools import fail, invoke, process, succeed
from coded_cases import pair
from model_tools import load
from nqz.files import unpublished
from nqz.files.output import Output, publish_together
from nqz.ground.errors import OutputError, OutputExistsError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with heavy.nqz, of which some columns are dropped, offset.nqz, and offset.npy."""
    monkeypatch.chdir(tmp_path)
    for kind in ("heavy", "offset"):
        a, _ = pair(kind, 384, 48, 40)
        np.save(f"{kind}.npy", a + np.float32(1e3 * (kind == "offset")))
        nqz.encode(f"{kind}.npy", f"{kind}.nqz", rate=1)
    return tmp_path


def test_they_have_type_and_layout_of_the_product(folder, capsys):
    report = json.loads(
        succeed(
            capsys, "matmul", "offset.nqz", "offset.nqz", "-o", "c.npy", "--sigma", "s.npy", "--json", "-q"
        ).out
    )
    found, sigma = np.load("c.npy"), np.load("s.npy")
    assert found.dtype == sigma.dtype == np.float32 and found.shape == sigma.shape == (48, 48)
    both = nqz.matmul("offset.nqz", "offset.nqz", sigma=True)
    assert np.array_equal(found, both[0]) and np.array_equal(sigma, both[1])
    assert report["outputs"] == [
        {"name": name, "bytes": os.path.getsize(name)} for name in ("c.npy", "s.npy")
    ]
    (product,) = report["products"]
    assert product["sigma"] == {
        "least": float(sigma.min()),
        "greatest": float(sigma.max()),
        "unknown": 0,
        "bound": None,
        "rounding": pytest.approx(product["sigma"]["rounding"]),
    }
    succeed(
        capsys, "matmul", "offset.nqz", "offset.nqz", "-o", "d.npy", "--sigma", "s.npz", "--dtype", "float64"
    )
    assert np.load("s.npz")["product"].dtype == np.float64
    plain = json.loads(
        succeed(capsys, "matmul", "offset.nqz", "offset.npy", "-o", "e.npy", "--json", "-q").out
    )
    assert plain["products"][0]["sigma"] is None


def test_entries_without_one_are_counted_and_bounded(folder, capsys):
    result = succeed(capsys, "matmul", "heavy.nqz", "offset.npy", "-o", "c.npy", "--sigma", "s.npy", "--json")
    sigma = np.load("s.npy")
    told = json.loads(result.out)["products"][0]["sigma"]
    unknown = int(np.isnan(sigma).sum())
    assert told["unknown"] == unknown > 0 and unknown % 48 == 0
    assert f"unknown (NaN) of {unknown} entries, off by {told['bound']:.3g} at most" in result.err
    assert f"standard deviations {told['least']:.3g} to {told['greatest']:.3g}" in result.err
    assert told["least"] == np.nanmin(sigma) and told["greatest"] == np.nanmax(sigma)
    a, b = (np.load(f"{kind}.npy").astype(np.float64) for kind in ("heavy", "offset"))
    error = np.abs(np.load("c.npy") - a.T @ b)
    assert error[np.isnan(sigma)].max() <= told["bound"]
    none = np.zeros((384, 3), np.float32)
    none[0] = 1e-20  # all of it is dropped beside a louder one
    none[:, 2] = pair("gauss")[0][:, 0]
    np.save("quiet.npy", none)
    succeed(capsys, "encode", "quiet.npy", "-r", "0.3", "-q")
    assert (
        "unknown (NaN) of 96 entries"
        in succeed(capsys, "matmul", "quiet.nqz", "heavy.npy", "-o", "q.npy", "--sigma", "p.npy").err
    )


def test_rounding_that_limits_is_warned_of(folder, capsys):
    arguments = ["matmul", "offset.nqz", "offset.npy", "-o", "c.npy", "--sigma", "s.npy", "-f", "--json"]
    result = succeed(capsys, "encode", "offset.npy", "-r", "6", "-f", "-q")
    result = succeed(capsys, *arguments)
    warning = (
        "100% of the entries are off by their rounding to float32 above all; --dtype float64 is more exact"
    )
    assert f"nqz: warning: {warning}" in result.err
    assert warning in json.loads(result.out)["warnings"]
    assert json.loads(result.out)["products"][0]["sigma"]["rounding"] == 1.0
    assert "warning" not in succeed(capsys, *arguments, "--dtype", "float64").err


def test_models_have_one_a_pair(folder, capsys):
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal((64, 12)) for name in ("one", "two")}
    nqz.encode(tensors, "m.nqz", rate=4)
    message = fail(capsys, 2, "matmul", "m.nqz", "m.nqz", "-o", "c.npz", "--sigma", "s.npy")
    assert message == "--sigma s.npy: 2 pairs of tensors: give --sigma OUT.safetensors"
    assert os.listdir(folder).count("c.npz") == 0
    result = succeed(capsys, "matmul", "m.nqz", "m.nqz", "-o", "c.npz", "--sigma", "s.safetensors", "--json")
    products = json.loads(result.out)["products"]
    found, sigma = np.load("c.npz"), load(folder / "s.safetensors")[0]
    with nqz.open("m.nqz") as container:
        for product in products:
            name = product["name"]
            _, expected = nqz.matmul(container[name], container[name], sigma=True)
            assert np.array_equal(sigma[name], expected) and found[name].shape == expected.shape
            assert product["sigma"]["greatest"] == expected.max()


def test_the_two_are_two_files(folder, capsys):
    product = ["matmul", "heavy.nqz", "heavy.npy"]
    assert fail(capsys, 2, *product, "-o", "c.npy", "--sigma", "./c.npy") == (
        "--sigma: c.npy carries the product; name another file, as in --sigma sigma.npy"
    )
    for extra in (["--sigma", "-"], ["-o", "-", "--sigma", "/dev/stdout"]):
        assert "standard output carries the product" in fail(capsys, 2, *product, *extra)
    assert fail(capsys, 2, *product, "-o", "c.npy", "--sigma", "") == (
        "--sigma '': the name of the output is empty"
    )
    assert "the suffix of the output" in fail(capsys, 2, *product, "-o", "c.npy", "--sigma", "s.txt")
    assert "s.npy is the output" in fail(
        capsys, 2, *product, "-o", "c.npy", "--sigma", "s.npy", "--json=s.npy"
    )
    assert "is the same file as an input" in fail(
        capsys, 9, *product, "-o", "c.npy", "--sigma", "heavy.npy", "-f"
    )
    assert sorted(os.listdir()) == ["heavy.npy", "heavy.nqz", "offset.npy", "offset.nqz"]


def test_either_may_go_to_standard_output(folder):
    for outputs, name in ((["--sigma", "s.npy"], "s.npy"), (["-o", "c.npy", "--sigma", "-"], "c.npy")):
        result = process("matmul", "heavy.nqz", "heavy.npy", *outputs)
        assert result.returncode == 0, result.stderr
        there = np.load(name)
        assert len(result.stdout) == os.path.getsize(name)
        assert np.isnan(there).any() == (name == "s.npy")


def test_nothing_is_replaced_without_force(folder, capsys):
    product = ["matmul", "heavy.nqz", "heavy.npy", "-o", "c.npy", "--sigma", "s.npy"]
    (folder / "s.npy").write_bytes(b"old")
    assert "s.npy: exists already" in fail(capsys, 9, *product)
    assert not (folder / "c.npy").exists()
    succeed(capsys, *product, "-f")
    assert np.load("s.npy").shape == np.load("c.npy").shape


def test_neither_appears_where_an_entry_overflows(folder, capsys):
    np.save("loud.npy", np.load("heavy.npy") * np.float32(1e20))
    assert invoke(capsys, "encode", "loud.npy", "-r", "2", "-q").code == 0
    assert "overflows float32" in fail(
        capsys, 7, "matmul", "loud.nqz", "loud.npy", "-o", "c.npy", "--sigma", "s.npy"
    )
    assert not {"c.npy", "s.npy"} & set(os.listdir())


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("before", [(), ("c",), ("s",), ("c", "s")])
def test_all_or_none_is_published(tmp_path, monkeypatch, before, unnamed):
    """Where the second one cannot appear after all, the first is taken back; what it replaced is there again."""
    monkeypatch.setattr(unpublished, "UNNAMED", unnamed)
    for name in before:
        (tmp_path / name).write_bytes(b"old " + name.encode())

    def publish(count):
        original, calls = unpublished.Unpublished.publish, []

        def failing(self, replace):
            calls.append(self)
            if len(calls) == count:
                raise OutputError("no more room for names")
            original(self, replace)

        with monkeypatch.context() as patch:
            patch.setattr(unpublished.Unpublished, "publish", failing)
            with Output(tmp_path / "c", force=True) as one, Output(tmp_path / "s", force=True) as two:
                for output in (one, two):
                    output.access.pwrite(b"new", 0)
                publish_together([one, two])

    for count in (1, 2):
        with pytest.raises(OutputError, match="no more room"):
            publish(count)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            name: b"old " + name.encode() for name in before
        }
    publish(3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"c": b"new", "s": b"new"}


def test_a_file_that_appears_meanwhile_is_not_replaced_nor_the_other_one_left(tmp_path):
    with Output(tmp_path / "c") as one, Output(tmp_path / "s") as two:
        (tmp_path / "s").write_bytes(b"theirs")
        with pytest.raises(OutputExistsError):
            publish_together([one, two])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"s": b"theirs"}


def test_no_file_appears_where_the_reader_of_the_product_has_gone(folder):
    program = (
        "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); from nqz.cli import main; "
        "sys.argv = ['nqz', 'matmul', 'heavy.nqz', 'heavy.npy', '--sigma', 's.npy', '-q']; sys.exit(main())"
    )
    result = process(program=program)
    assert result.returncode in (141, -13), result
    assert "s.npy" not in os.listdir()
