"""Part sets: one lattice scale for all parts, products whose parts may be added in any order, all commands on them."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import threading
from concurrent.futures import Executor, Future

import numpy as np
import pytest

import nqz
from coded_cases import coded
from nqz.cli import run
from nqz.commands.opening import open_collection
from nqz.commands.sets.factor import parted
from nqz.commands.sets.operand import SetOperand
from nqz.commands.sets.raw import Decoded, raw_sum
from nqz.format.part_set import PartSet
from nqz.ground.errors import (
    CorruptError,
    InputError,
    NqzError,
    OperandError,
    OutputExistsError,
    UnsupportedError,
    UsageError,
)
from nqz.ground.threads import Workers

N, A, B = 640, 130, 90


class Elsewhere(Executor):
    """Works on jobs here, but on what comes out of pickles of them; jobs from number `dies` on are lost."""

    def __init__(self, dies: int = 1 << 30) -> None:
        self.done, self.dies, self.bytes = 0, dies, 0

    def submit(self, function, /, *arguments):
        future = Future()
        self.done += 1
        if self.done > self.dies:
            future.set_exception(RuntimeError("killed"))
            return future
        arrived = pickle.loads(pickle.dumps((function, arguments)))  # noqa: S301
        try:
            sent = pickle.dumps(arrived[0](*arrived[1]))
            self.bytes = max(self.bytes, len(sent))
            future.set_result(pickle.loads(sent))  # noqa: S301
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A matrix whose rows are of different loudness, as batches are, and one that is related to it; in parts."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(7)
    loud = np.repeat([[0.5], [1.0], [4.0], [2.0]], N // 4, axis=0)
    x = (rng.standard_normal((N, A)) * loud + 0.5).astype(np.float32)
    y = (0.5 * x[:, :B] + loud * rng.standard_normal((N, B))).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", np.asfortranarray(y))
    nqz.encode_set(folder / "x.npy", folder / "x.nqzset", rate=3, parts=(4, 2), center=True)
    nqz.encode_set(folder / "y.npy", folder / "y.nqzset", rate=3, parts=(4, 3), center=True)
    return folder


def manifest(path):
    return PartSet.unpack(path.read_bytes(), str(path))


def test_all_parts_have_one_lattice_scale_and_together_the_rate(folder):
    grid, x = manifest(folder / "x.nqzset"), np.load(folder / "x.npy")
    parameters = [coded((folder / part.file).read_bytes()).parameters for part in grid.parts]
    assert {p.delta for p in parameters} == {grid.plan["delta"]}
    assert len({p.dither_key for p in parameters}) == len(parameters)
    rates = [
        8 * part.nbytes / (len(rows) * len(columns))
        for part, (rows, columns) in zip(grid.parts, grid.places(), strict=True)
    ]
    assert min(rates) < 2.2 and max(rates) > 3.5  # loud parts take more bits
    assert 2.7 < 8 * grid.file_bytes / x.size <= 3.0  # so small are they that framing is a share


@pytest.mark.parametrize("executor", [None, Elsewhere()], ids=["here", "elsewhere"])
@pytest.mark.parametrize("estimator", ["auto", "unbiased"])
def test_products_have_the_error_that_is_predicted_and_the_same_bytes_wherever_they_are_made(
    folder, executor, estimator
):
    x, y = (np.load(folder / name).astype(np.float64) for name in ("x.npy", "y.npy"))
    sets = folder / "x.nqzset", folder / "y.nqzset"
    found, sigma = nqz.matmul(*sets, estimator=estimator, sigma=True, executor=executor)
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    error = np.square(found - x.T @ y).sum() / unit
    assert error == pytest.approx(nqz.predicted_error(*sets, estimator), rel=0.12)
    assert np.sqrt(np.square((found - x.T @ y) / sigma).mean()) == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(found, nqz.matmul(*sets, estimator=estimator))


@pytest.mark.parametrize("nbytes", [1 << 25, 1 << 13], ids=["parts shared out", "rectangles shared out"])
@pytest.mark.parametrize("estimator", ["auto", "unbiased"])
def test_large_products_are_the_same_whoever_computes_what(folder, monkeypatch, estimator, nbytes):
    """As if θ were found from some columns; products that are computed in one piece, and in many."""
    sets = folder / "x.nqzset", folder / "y.nqzset"
    whole = nqz.matmul(*sets, estimator=estimator, sigma=True)
    monkeypatch.setattr("nqz.product.product._WHOLE", 1)
    monkeypatch.setattr("nqz.commands.rectangles.BYTES", nbytes)
    executor = Elsewhere()
    for found in (
        nqz.matmul(*sets, estimator=estimator, sigma=True),
        nqz.matmul(*sets, estimator=estimator, sigma=True, executor=executor),
    ):
        assert all(np.array_equal(one, other) for one, other in zip(found, whole, strict=True))
    assert executor.done > 4
    bars = nqz.predicted_sigma(*sets, estimator)
    assert np.abs(bars / whole[1] - 1).max() < 0.01  # less what is off by rounding
    gram = nqz.matmul(sets[0], sets[0], executor=executor)
    assert np.array_equal(gram, nqz.matmul(sets[0], sets[0]))


def test_an_entry_of_parts_that_overflows_is_named_wherever_it_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("nqz.product.product._WHOLE", 1)
    monkeypatch.setattr("nqz.commands.rectangles.BYTES", 1 << 12)
    x = np.random.default_rng(1).standard_normal((256, 70), np.float32)
    x[:, 50:] *= np.float32(1e30)
    np.save(tmp_path / "x.npy", x)
    nqz.encode_set(tmp_path / "x.npy", tmp_path / "x.nqzset", rate=3, parts=(2, 2))
    said = []
    for executor in (None, Elsewhere()):
        with pytest.raises(
            OperandError, match=r"entry \[5\d, 5\d\] overflows float32; use dtype='float64'"
        ) as error:
            nqz.matmul(tmp_path / "x.nqzset", tmp_path / "x.nqzset", executor=executor)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_raw_products_of_parts_add_up_in_any_order(folder):
    with (
        open_collection(folder / "x.nqzset", sets=True) as left,
        open_collection(folder / "y.nqzset", sets=True) as right,
    ):
        rows, columns, pool = np.array([0, 5, 64, 129]), np.arange(7, 88), Workers(1)
        decoded, first, second = Decoded(), parted(left), parted(right)
        sides = tuple(
            SetOperand(one.where, one.operands(other, pool))
            for one, other in ((first, second), (second, first))
        )
        whole = raw_sum(sides, rows, columns, range(4), decoded, pool)
        assert whole.dtype == np.int64
        cuts = range(3, 4), range(1), range(1, 3)
        pieces = [raw_sum(sides, rows, columns, cut, decoded, pool) for cut in cuts]
        assert np.array_equal(pieces[0] + pieces[1] + pieces[2], whole)
        assert np.array_equal(raw_sum(sides, rows[1:2], columns, range(4), decoded, pool), whole[1:2])


def test_nothing_of_a_product_stays_when_it_is_done(folder):
    before = threading.active_count()
    nqz.matmul(folder / "x.nqzset", folder / "y.nqzset", threads=8)
    assert threading.active_count() == before


def test_a_set_made_by_workers_is_the_one_made_here_and_little_comes_back(folder, tmp_path):
    for name in ("x.npy", "x.nqzset"):
        os.link(folder / name, tmp_path / name)
    executor = Elsewhere()
    nqz.encode_set(tmp_path / "x.npy", tmp_path / "again.nqzset", rate=3, parts=(4, 2), executor=executor)
    ours, theirs = manifest(tmp_path / "again.nqzset"), manifest(folder / "x.nqzset")
    assert [part[1:] for part in ours.parts] == [part[1:] for part in theirs.parts]
    assert executor.done == 2 * 8 and executor.bytes < 20_000
    assert ours.parts[0].file.startswith("again-")


def test_a_product_with_itself_is_symmetric_and_its_diagonal_is_near(folder):
    x = np.load(folder / "x.npy").astype(np.float64)
    found = nqz.matmul(folder / "x.nqzset", folder / "x.nqzset", dtype="float64")
    assert np.array_equal(found, found.T)
    assert np.allclose(np.diag(found), np.square(x).sum(axis=0), rtol=0.06)


def test_decoding_puts_every_part_in_its_place(folder, tmp_path):
    for name, order in (("x", "C"), ("y", "F")):
        grid = manifest(folder / f"{name}.nqzset")
        whole = nqz.decode(folder / f"{name}.nqzset")
        assert whole.flags[f"{order}_CONTIGUOUS"]
        for part, (rows, columns) in zip(grid.parts, grid.places(), strict=True):
            one = nqz.decode(folder / part.file)
            assert np.array_equal(whole[rows.start : rows.stop, columns.start : columns.stop], one)
        assert np.array_equal(nqz.decode(folder / f"{name}.nqzset", executor=Elsewhere()), whole)
        executor = Elsewhere()
        nqz.decode(folder / f"{name}.nqzset", tmp_path / f"{name}.npy", executor=executor)
        assert executor.done == 2 * len(grid.parts)  # checked, and rebuilt
        assert np.array_equal(np.load(tmp_path / f"{name}.npy"), whole)


@pytest.mark.parametrize("executor", [None, Elsewhere()], ids=["here", "elsewhere"])
def test_verify_compares_every_part_with_its_place_in_the_original(folder, executor):
    found = nqz.verify(folder / "y.nqzset", folder / "y.npy", executor=executor)
    assert found["ok"] and len(found["tensors"]) == 12
    assert all(tensor["same_bytes"] and tensor["measured"] > 0 for tensor in found["tensors"])
    other = folder / "other.npy"
    np.save(other, np.load(folder / "y.npy")[:, ::-1].copy())
    assert not nqz.verify(folder / "y.nqzset", other, check=False, executor=executor)["ok"]
    np.save(other, np.load(folder / "y.npy")[1:])
    with pytest.raises(InputError, match="is not one matrix of 640x90 float32"):
        nqz.verify(folder / "y.nqzset", other, executor=executor)


def copied(folder, tmp_path, name="x"):
    grid = manifest(folder / f"{name}.nqzset")
    for file in (f"{name}.nqzset", *(part.file for part in grid.parts)):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    return tmp_path / f"{name}.nqzset", [tmp_path / part.file for part in grid.parts]


def test_parts_that_are_damaged_exchanged_or_missing_are_noticed(folder, tmp_path):
    path, parts = copied(folder, tmp_path)
    first, second = parts[0].read_bytes(), parts[2].read_bytes()
    parts[0].write_bytes(second)
    parts[2].write_bytes(first)
    for use in (nqz.verify, nqz.decode, lambda path: nqz.matmul(path, path)):
        with pytest.raises(CorruptError, match=f"{parts[0].name}: is not the file that the manifest has"):
            use(path)
    parts[2].write_bytes(second)
    parts[0].write_bytes(first[:900] + bytes([first[900] ^ 1]) + first[901:])
    with pytest.raises(CorruptError):
        nqz.verify(path)
    parts[0].unlink()
    with pytest.raises(InputError, match=f"{parts[0].name}: cannot open"):
        nqz.verify(path)


def test_sets_are_taken_apart_and_put_together_without_a_part_being_read(folder, tmp_path, capsys):
    path, _ = copied(folder, tmp_path)
    assert run(["set", "split", str(path), "-q"]) == 0
    assert (
        run(["set", "split", str(path), "--along", "contracted", "-o", str(tmp_path / "k.nqzset"), "-q"]) == 0
    )
    pieces = [str(tmp_path / f"x-{j}.nqzset") for j in range(2)]
    assert run(["set", "concat", *pieces, "-o", str(tmp_path / "a.nqzset"), "-q"]) == 0
    pieces = [str(tmp_path / f"k-{k}.nqzset") for k in range(4)]
    joined = ["set", "concat", *pieces, "-o", str(tmp_path / "b.nqzset"), "--along", "contracted", "-q"]
    assert run(joined) == 0
    assert path.read_bytes() == (tmp_path / "a.nqzset").read_bytes() == (tmp_path / "b.nqzset").read_bytes()
    assert run(["set", "check", str(tmp_path / "x-1.nqzset")]) == 0
    assert "640x66 float32, 4x1 parts" in capsys.readouterr().out
    assert run(joined) == OutputExistsError.exit_code
    below = tmp_path / "below"
    below.mkdir()
    assert run(["set", "concat", pieces[0], "-o", str(below / "b.nqzset")]) == UsageError.exit_code
    assert "is not in its folder or below" in capsys.readouterr().err


def test_containers_of_different_scales_are_put_together_and_multiplied(tmp_path):
    """Their points are not worth the same, so raw products are not added as integers; in the order of the parts."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 400, 60)) * np.array([[[1.0]], [[3.0]]])
    for k in range(2):
        nqz.encode(x[k].astype("f4"), tmp_path / f"{k}.nqz", rate=3 + k, center=True)
    files = [str(tmp_path / f"{k}.nqz") for k in range(2)]
    target = tmp_path / "both.nqzset"
    assert run(["set", "concat", *files, "-o", str(target), "--along", "contracted", "-q"]) == 0
    assert (manifest(target).plan["delta"], manifest(target).plan["coding"]) == (None, "entropy")
    other = tmp_path / "y.nqzset"
    y = rng.standard_normal((800, 50)).astype("f4")
    np.save(tmp_path / "y.npy", y)
    nqz.encode_set(tmp_path / "y.npy", other, rate=6, parts=(2, 1), error=None)
    grid = manifest(other)
    if grid.coordinates != (400, 400):
        for k in range(2):
            np.save(tmp_path / f"y{k}.npy", y[400 * k : 400 * k + 400])
        ends = [tmp_path / f"y{k}.npy" for k in range(2)]
        nqz.encode_set(ends, other, rate=6, along="contracted", force=True)
    truth = np.concatenate(x).T @ y
    found = nqz.matmul(target, other, dtype="float64", estimator="unbiased")
    unit = np.square(x).sum() * np.square(y).sum() / 800
    assert np.square(found - truth).sum() / unit < 0.02
    elsewhere = nqz.matmul(target, other, dtype="float64", estimator="unbiased", executor=Elsewhere())
    assert np.array_equal(found, elsewhere)


@pytest.mark.parametrize("change", [{"vectors": (65, 1 << 60)}, {"axis": 1}, {"dtype": "float64"}])
def test_a_manifest_that_says_other_things_than_its_parts_is_refused_by_all_who_read_it(
    folder, tmp_path, capsys, change
):
    path, _ = copied(folder, tmp_path)
    path.write_bytes(dataclasses.replace(manifest(path), **change).pack())
    for command in (
        ("inspect", path), ("inspect", path, "--json"), ("report", path), ("verify", path), ("set", "check", path),
        ("decode", path, "-o", tmp_path / "o.npy"), ("matmul", path, path, "-o", tmp_path / "o.npy"),
        ("set", "concat", path, "-o", tmp_path / "o.nqzset"),
    ):  # fmt: skip
        code = run([*map(str, command), "-q"])
        said = capsys.readouterr()
        assert code == 5 and "is not one matrix of" in said.err, command
    for ask in (nqz.inspect, nqz.decode, nqz.verify):
        with pytest.raises(CorruptError):
            ask(path)
    assert not list(tmp_path.glob("o.*")) and not (tmp_path / "x.html").exists()


def test_it_is_told_which_manifest_names_what_is_no_part(folder, tmp_path):
    path, _ = copied(folder, tmp_path)
    grid = manifest(path)
    for name, kind in (("x.nqzset", UnsupportedError), ("none.nqz", InputError)):
        parts = (grid.parts[0]._replace(file=name), *grid.parts[1:])
        path.write_bytes(dataclasses.replace(grid, parts=parts).pack())
        with pytest.raises(kind, match=rf"x\.nqzset: its part .*{name}: "):
            nqz.inspect(path)


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "y" * 235])
def test_a_set_that_nobody_could_read_is_not_made(folder, tmp_path, name):
    os.link(folder / "x.npy", tmp_path / "x.npy")
    with pytest.raises(UsageError, match="no name for the file of a part"):
        nqz.encode_set(tmp_path / "x.npy", tmp_path / f"{name}.nqzset", rate=3)
    assert os.listdir(tmp_path) == ["x.npy"]


def test_parts_that_other_sets_have_stay_when_making_them_again_fails(folder, tmp_path):
    path, parts = copied(folder, tmp_path)
    os.link(folder / "x.npy", tmp_path / "x.npy")
    assert run(["set", "split", str(path), "-q"]) == 0
    path.unlink()
    with pytest.raises(NqzError, match="a worker of the executor was lost"):
        nqz.encode_set(tmp_path / "x.npy", path, rate=3, parts=(4, 2), executor=Elsewhere(12))
    assert all(part.exists() for part in parts)
    assert run(["set", "check", str(tmp_path / "x-0.nqzset"), "-q"]) == 0


def test_a_damaged_manifest_is_replaced_by_force_and_parts_that_are_there_stay(folder, tmp_path, capsys):
    path, parts = copied(folder, tmp_path)
    np.save(tmp_path / "x.npy", np.load(folder / "x.npy"))
    before, words = path.read_bytes(), ["set", "create", str(tmp_path / "x.npy"), "-o", str(path)]
    for text in (before[:-20], b"", before.replace(b'"nqz_set": 0', b'"nqz_set": 9')):
        assert text != before
        path.write_bytes(text)
        assert run([*words, "-r", "3", "--parts", "4x2"]) == OutputExistsError.exit_code
        assert path.read_bytes() == text
        capsys.readouterr()
        assert run([*words, "-r", "3", "--parts", "4x2", "-f"]) == 0
        assert "it is to be replaced" in capsys.readouterr().err
        assert path.read_bytes() == before
        path.write_bytes(text)
        with pytest.warns(UserWarning, match="it is to be replaced"):
            nqz.encode_set(tmp_path / "x.npy", path, rate=2, force=True)
        assert run(["set", "check", str(path), "-q"]) == 0
    assert all(part.exists() for part in parts)


def test_a_folder_of_a_set_given_as_a_model_is_refused_with_the_name_of_its_manifest(
    folder, tmp_path, capsys
):
    path, parts = copied(folder, tmp_path)
    whole = str(tmp_path)
    for words in (["inspect", whole], ["verify", whole], ["decode", whole, "-o", str(tmp_path / "z")]):
        assert run(words) == UnsupportedError.exit_code
        assert f"x.nqzset, and no model; give the manifest: {path}" in capsys.readouterr().err
    with pytest.raises(UnsupportedError, match=f"give the manifest: {path}"):
        nqz.open(tmp_path)
    assert run(["encode", whole, "-r", "2", "-o", str(tmp_path / "z")]) == UnsupportedError.exit_code
    assert f"decompress it first, with nqz decode {path}" in capsys.readouterr().err
    (tmp_path / "y.nqzset").write_bytes(b"damaged")
    assert run(["inspect", whole]) == UnsupportedError.exit_code
    assert "2 part sets, such as x.nqzset" in capsys.readouterr().err
    nqz.encode({"w": np.load(folder / "x.npy")}, tmp_path / "model.nqz", rate=2)
    for part in parts:
        part.unlink()
    assert run(["inspect", whole]) == 0  # a model, whatever lies beside it
    (tmp_path / "model.nqz").unlink()
    assert run(["inspect", whole]) == UnsupportedError.exit_code  # parts may be in folders below
    assert "give the manifest" in capsys.readouterr().err


def test_a_container_is_a_set_of_one_part(folder, tmp_path):
    x = np.load(folder / "x.npy")
    np.save(tmp_path / "x.npy", x)
    nqz.encode_set(tmp_path / "x.npy", tmp_path / "x.nqzset", rate=3, parts=(1, 2))
    nqz.encode(x, tmp_path / "x.nqz", rate=4, center=True)
    found = nqz.matmul(tmp_path / "x.nqzset", tmp_path / "x.nqz")
    assert np.square(found - x.T @ x).sum() / np.square(x.T @ x).sum() < 0.01


@pytest.fixture(scope="module")
def beside(folder, tmp_path_factory):
    """The matrices of `folder` as they were, in one file each, and as sets that are cut otherwise."""
    own = tmp_path_factory.mktemp("beside")
    for name in "xy":
        source = folder / f"{name}.npy"
        os.link(source, own / source.name)
        nqz.encode(source, own / f"{name}.nqz", rate=3, center=True)
        nqz.encode_set(source, own / f"{name}.nqzset", rate=3, parts=(3 if name == "x" else 1, 2))
    return own


@pytest.mark.parametrize(
    "a, b",
    [
        ("sets/x.nqzset", "y.npy"),  # cut as the parts are
        ("x.npy", "sets/y.nqzset"),
        ("y.nqzset", "x.npy"),
        ("sets/x.nqzset", "y.nqz"),  # decoded
        ("x.nqz", "sets/y.nqzset"),
        ("x.nqz", "y.nqzset"),  # in one part along the contracted axis, as a file is
        ("x.nqzset", "sets/y.nqzset"),  # both decoded
    ],
)
@pytest.mark.parametrize("estimator", ["auto", "unbiased"])
def test_sets_are_multiplied_with_files_arrays_and_sets_that_are_cut_otherwise(
    folder, beside, a, b, estimator
):
    x, y = (np.load(beside / f"{name.split('.')[0][-1]}.npy").astype(np.float64) for name in (a, b))
    files = [folder / name[5:] if name.startswith("sets/") else beside / name for name in (a, b)]
    found, sigma = nqz.matmul(*files, estimator=estimator, sigma=True, dtype="float64")
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    error = np.square(found - x.T @ y).sum() / unit
    assert error == pytest.approx(nqz.predicted_error(*files, estimator), rel=0.06)
    assert np.sqrt(np.square((found - x.T @ y) / sigma).mean()) == pytest.approx(1.0, abs=0.03)
    turned = nqz.matmul(*files[::-1], estimator=estimator, dtype="float64", executor=Elsewhere())
    assert np.allclose(turned.T, found, rtol=1e-9, atol=1e-9 * np.abs(found).max())
    elsewhere = nqz.matmul(*files, estimator=estimator, sigma=True, dtype="float64", executor=Elsewhere())
    assert np.array_equal(elsewhere[0], found) and np.array_equal(elsewhere[1], sigma)


def test_a_vector_times_a_set_is_a_vector_and_an_array_of_three_dimensions_is_a_matrix(folder):
    x, y = np.load(folder / "x.npy"), nqz.decode(folder / "y.nqzset").astype(np.float64)
    found = nqz.matmul(x[:, 0], folder / "y.nqzset", estimator="unbiased", dtype="float64")
    assert found.shape == (B,)
    assert np.square(found - x[:, 0] @ y).sum() < 0.01 * np.square(x[:, 0] @ y).sum()
    stack = x.reshape(N // 4, 4, A)
    whole = nqz.matmul(x, folder / "y.nqzset")
    assert np.array_equal(nqz.matmul(stack, folder / "y.nqzset"), whole)


def test_an_axis_is_not_chosen_of_what_is_compressed(folder, tmp_path, capsys):
    for command, target in (("matmul", "p.npy"), ("report", "p.html")):
        for b in ("y.nqzset", "y.npy"):
            files = [str(folder / "x.nqzset"), str(folder / b), "--axis-a", "0", "-o", str(tmp_path / target)]
            assert run([command, *files, "-q"]) == 2
            assert "--axis-a 0: " in capsys.readouterr().err


def test_what_does_not_fit_together_is_refused(folder, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.load(folder / "x.npy"))
    for name, options, said in (
        ("seed", {"parts": (4, 1), "seed": 1}, "different seeds"),
        ("means", {"parts": (4, 1), "center": False}, "means are kept in some parts"),
    ):
        other = tmp_path / f"{name}.nqzset"
        nqz.encode_set(path, other, rate=2, **options)
        with pytest.raises(OperandError, match=said):
            nqz.matmul(folder / "x.nqzset", other)
    with pytest.raises(OperandError, match="vectors of 640 and 639 entries cannot be multiplied"):
        nqz.matmul(folder / "x.nqzset", np.load(path)[1:])
    with pytest.raises(UnsupportedError, match="is a part set, compressed already"):
        nqz.encode(folder / "x.nqzset", rate=2)
    for parts in (3, (3,), (2, 3, 4), "22"):
        with pytest.raises(UsageError, match=r"two numbers are needed, such as \(4, 8\)"):
            nqz.encode_set(path, tmp_path / "z.nqzset", rate=2, parts=parts)
    with pytest.raises(UsageError, match="along: is for several files"):
        nqz.encode_set(path, tmp_path / "z.nqzset", rate=2, along="contracted")
    with pytest.raises(UsageError, match="from 1x1 to 640x130 are possible"):
        nqz.encode_set(path, tmp_path / "z.nqzset", rate=2, parts=(641, 1))
    with pytest.raises(UsageError, match=r"a container is written, and no \.nqzset file"):
        nqz.encode(path, tmp_path / "z.nqzset", rate=2)
    with pytest.raises(UsageError, match=r"name it \.nqzset"):
        nqz.encode_set(path, tmp_path / "z.nqz", rate=2)


def test_copies_of_a_part_side_by_side_are_not_multiplied_with_each_other(folder, tmp_path):
    nqz.encode(np.load(folder / "x.npy"), tmp_path / "a.nqz", rate=1)
    shutil.copy(tmp_path / "a.nqz", tmp_path / "b.nqz")
    twice = str(tmp_path / "twice.nqzset")
    assert run(["set", "concat", str(tmp_path / "a.nqz"), str(tmp_path / "b.nqz"), "-o", twice, "-q"]) == 0
    assert nqz.decode(twice).shape == (N, 2 * A)
    with pytest.raises(OperandError, match="the same dither"):
        nqz.matmul(twice, twice)


def test_a_set_is_made_and_opened_by_addresses_of_files(folder, tmp_path):
    address = f"file://{tmp_path}/x.nqzset"
    nqz.encode_set(f"file://{folder}/x.npy", address, rate=2, parts=(1, 2))
    assert "x.nqzset" in os.listdir(tmp_path) and len(os.listdir(tmp_path)) == 3
    assert np.array_equal(nqz.decode(address), nqz.decode(tmp_path / "x.nqzset"))
    assert nqz.verify(address, executor=Elsewhere())["ok"]
    assert run(["set", "concat", address, "-o", str(tmp_path / "same.nqzset"), "-q"]) == 0
    assert manifest(tmp_path / "same.nqzset") == manifest(tmp_path / "x.nqzset")


@pytest.mark.parametrize("dies", [1, 5, 12])
def test_a_set_that_is_not_finished_leaves_nothing(folder, tmp_path, dies):
    """A worker is lost while parts are measured, or while they are coded; there was a set before, or not."""
    np.save(tmp_path / "x.npy", np.load(folder / "x.npy"))
    with pytest.raises(NqzError, match="a worker of the executor was lost"):
        nqz.encode_set(
            tmp_path / "x.npy", tmp_path / "x.nqzset", rate=3, parts=(4, 2), executor=Elsewhere(dies)
        )
    assert os.listdir(tmp_path) == ["x.npy"]
    path, parts = copied(folder, tmp_path)
    before = path.read_bytes()
    with pytest.raises(NqzError, match="a worker of the executor was lost"):
        nqz.encode_set(tmp_path / "x.npy", path, rate=2, parts=(4, 2), executor=Elsewhere(dies), force=True)
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted(["x.npy", "x.nqzset", *(part.name for part in parts)])


def test_the_command_says_what_a_set_is_and_which_of_its_options_are_for_what(folder, tmp_path, capsys):
    for name in ("x.npy", "y.npy"):
        np.save(tmp_path / name, np.ascontiguousarray(np.load(folder / name)))
    target = str(tmp_path / "both.nqzset")
    sources = [str(tmp_path / name) for name in ("x.npy", "y.npy")]
    assert run(["set", "create", *sources, "--error", "0.05", "-o", target, "--json"]) == 0
    out = capsys.readouterr().out
    [made] = json.loads(out)["sets"]
    assert made["shape"] == [640, 220] and made["vectors"] == [130, 90] and len(made["parts"]) == 2
    assert run(["inspect", target]) == 0
    assert "640x220 float32, vectors along axis 0" in capsys.readouterr().out
    assert run(["search", target, str(tmp_path / "x.npy"), "-k", "1"]) == 0
    capsys.readouterr()
    for words, said in (
        (["split", target, "-r", "3"], "--rate: is not for nqz set split"),
        (["check", target, "--parts", "2x2"], "--parts: is not for nqz set check"),
        (["check", target, "-o", "x"], "--output: is not for nqz set check"),
        (["check", target, "--json"], "--json: is not for nqz set check; nqz verify"),
        (
            ["concat", target, target, "-o", target, "--cluster", "local:2"],
            "--cluster: is not for nqz set concat",
        ),
        (["create", sources[0], "-r", "3", "--along", "contracted"], "--along: is for several files"),
        (["create", sources[0], "-r", "3", "--parts", "two"], "KxJ is needed"),
        (["create", sources[0], "-r", "3", "-o", "x.nqz"], "name it .nqzset"),
        (["concat", target], "name the new manifest, with -o"),
        (["create", "-", "-r", "3"], "standard input has no name"),
    ):
        assert run(["set", *words]) == UsageError.exit_code
        assert said in capsys.readouterr().err


def test_a_set_is_inspected_as_the_matrix_that_it_is_and_part_by_part(folder, capsys):
    x, found = np.load(folder / "x.npy").astype(np.float64), nqz.inspect(folder / "x.nqzset")
    whole, parts = found["whole"], found["tensors"]
    assert whole["shape"] == [N, A] and whole["cut"] == [4, 2] and whole["rate_asked"] == 3
    assert whole["rate"] == 8 * found["file_bytes"] / x.size
    assert whole["bytes"]["total"] == sum(part["bytes"]["total"] for part in parts)
    edges = np.cumsum(manifest(folder / "x.nqzset").coordinates)[:-1]
    norms = np.linalg.norm(np.concatenate([rows - rows.mean(0) for rows in np.split(x, edges)]), axis=0)
    assert whole["norms"]["median"] == pytest.approx(np.median(norms), rel=0.01)
    assert whole["means"]["max"] == pytest.approx(x.mean(0).max(), abs=0.01)
    errors = [np.square(x - nqz.decode(folder / "x.nqzset")).sum(), np.square(norms).sum()]
    assert whole["predicted"]["reconstruction"] == pytest.approx(errors[0] / errors[1], rel=0.05)
    assert run(["inspect", str(folder / "x.nqzset"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert run(["inspect", str(folder / "x.nqzset"), "--sort", "size"]) == 0
    assert "4x2, of 128 to 192 entries, and of 64 to 66 vectors" in capsys.readouterr().out


def test_parts_are_compared_with_their_places_and_count_by_their_energy(folder, tmp_path, capsys):
    x, back = (
        array.astype(np.float64) for array in (np.load(folder / "x.npy"), nqz.decode(folder / "x.nqzset"))
    )
    found = nqz.compare(folder / "x.npy", folder / "x.nqzset")
    edges = np.cumsum(manifest(folder / "x.nqzset").coordinates)[:-1]
    spent = [np.square(rows).sum() for rows in np.split(x - back, edges)]
    shares = [tensor["share"] for tensor in found["tensors"]]
    assert np.allclose(np.add(shares[::2], shares[1::2]), spent / np.sum(spent), atol=0.005)
    assert found["totals"]["error"] == pytest.approx(found["totals"]["energy_error"])
    assert all(tensor["more"]["change"] < 0 for tensor in found["tensors"]) and found["left_out"] == []
    (tmp_path / "across.json").write_text('{"*-0.nqz": 3, "*-1.nqz": 1}')
    assert run(["compare", *(str(folder / f"x.{end}") for end in ("npy", "nqzset")), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    across = ["--across", str(tmp_path / "across.json"), "--json"]
    assert run(["compare", *(str(folder / f"x.{end}") for end in ("npy", "nqzset")), *across]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["error"] != plain["totals"]["error"]
    assert run(["compare", str(folder / "y.npy"), str(folder / "x.nqzset")]) == InputError.exit_code


def test_what_differs_of_sets_is_told_of_the_whole_and_of_parts_where_they_are_cut_alike(
    folder, beside, tmp_path, capsys
):
    np.save(tmp_path / "x.npy", np.load(folder / "x.npy"))
    nqz.encode_set(tmp_path / "x.npy", tmp_path / "x.nqzset", rate=2, parts=(4, 2))
    same = nqz.diff(folder / "x.nqzset", folder / "x.nqzset")
    assert same["same"] and same["unchanged"] == 9
    found = nqz.diff(folder / "x.nqzset", tmp_path / "x.nqzset", against=folder / "x.npy")
    names = [one["name"] for one in found["changed"]]
    assert names == ["", *(f"part {k},{j}" for k in range(4) for j in range(2))]
    assert all(one["original"] is False and one["coded"] for one in found["changed"])
    assert all(one["measured"][0] < one["measured"][1] for one in found["changed"])
    assert [one["tensors"] for one in found["totals"]] == [1, 1]
    for other in ("x.nqz", "x.nqzset"):  # one file; another cut
        found = nqz.diff(folder / "x.nqzset", beside / other, against=folder / "x.npy")
        (one,) = found["changed"]
        assert one["name"] == "" and one["original"] is None and one["coded"]
        assert one["changes"]["cut"][0] == [4, 2] and None not in one["measured"]
    assert run(["diff", str(beside / "x.nqz"), str(folder / "x.nqzset")]) == 1
    assert "cut none -> 4x2" in capsys.readouterr().out


def test_a_report_of_a_set_is_of_the_one_matrix_that_it_is(folder):
    page = nqz.report(folder / "x.nqzset", against=folder / "x.npy", format="md")
    assert "640 × 130" in nqz.report(folder / "x.nqzset") and "in 4 × 2 parts" in nqz.report(
        folder / "x.nqzset"
    )
    assert "parts;" in page and "measured" in page
    assert "expected to be" in nqz.report(folder / "x.nqzset", folder / "y.npy", format="md")


def test_where_no_set_can_be_taken_it_is_said_what_can(folder, tmp_path, capsys, monkeypatch):
    source = str(folder / "x.nqzset")
    for words in (["encode", source, "-r", "2"], ["sweep", source], ["plan", source, source, "--bits", "4"]):
        assert run(words) == UnsupportedError.exit_code
        assert "what it was made from, or what nqz decode makes of it" in capsys.readouterr().err
    assert (
        run(["decode", source, str(folder / "y.nqzset"), "-o", str(tmp_path / "z")]) == UsageError.exit_code
    )
    assert "give it alone, or take each by itself, with --out-dir" in capsys.readouterr().err
    other = tmp_path / "x"
    other.write_bytes((folder / "x.nqzset").read_bytes())
    for given in (str(other), other.read_bytes()):
        with pytest.raises(
            UnsupportedError, match=r"is the manifest of a part set; give it by its path.* \.nqzset"
        ):
            nqz.open(given)
    for words in (
        ["decode", source, "--tensor", "w"],
        ["matmul", source, source, "--tensor-a", "w", "-o", "z.npy"],
    ):
        assert run(words) == UsageError.exit_code
        assert "is a part set, of one matrix without a name" in capsys.readouterr().err
