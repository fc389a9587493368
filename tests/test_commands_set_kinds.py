"""Part sets of every coding, type and input: what can be encoded can be in a set, with the predicted errors."""

from __future__ import annotations

import json
import sys
import types
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest

import nqz
from cli_tools import fail, succeed
from coded_cases import coded
from model_tools import make_model
from nqz.commands.opening import read_part_set
from nqz.files import arrays
from nqz.ground.errors import OperandError
from nqz.stages.codings import CODINGS
from test_commands_sets import Elsewhere

N, A, B = 640, 70, 50
KINDS: dict[str, dict[str, object]] = {
    **{name: {"coding": name} for name in CODINGS},
    "column": {"allocate": "column"},
    "kappa": {"coding": "entropy", "kappa": 0.5},
}
KINDS["voronoi"]["lattice"] = "e8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two related matrices whose rows are of different loudness, in parts of every kind of different lengths."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(7)
    loud = np.repeat([[0.5], [1.0], [4.0], [2.0]], N // 4, axis=0)
    x = (rng.standard_normal((N, A)) * loud + 0.5).astype(np.float32)
    y = (0.5 * x[:, :B] + loud * rng.standard_normal((N, B))).astype(np.float32)
    for name, array, parts in (("x", x, (3, 2)), ("y", y, (3, 1))):
        np.save(folder / f"{name}.npy", array)
        for kind, options in KINDS.items():
            nqz.encode_set(array, folder / f"{name}-{kind}.nqzset", rate=3, parts=parts, **options)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_sets_of_every_coding_have_the_errors_and_error_bars_that_are_predicted(folder, kind):
    x, y = (np.load(folder / name).astype(np.float64) for name in ("x.npy", "y.npy"))
    sets = folder / f"x-{kind}.nqzset", folder / f"y-{kind}.nqzset"
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    for estimator in ("auto", "unbiased"):
        found, sigma = nqz.matmul(*sets, estimator=estimator, sigma=True)
        error = np.square(found - x.T @ y).sum() / unit
        assert error == pytest.approx(nqz.predicted_error(*sets, estimator), rel=0.08)
        assert np.sqrt(np.square((found - x.T @ y) / sigma).mean()) == pytest.approx(1.0, abs=0.04)
    assert np.array_equal(found, nqz.matmul(*sets, estimator="unbiased", executor=Elsewhere()))


@pytest.mark.parametrize("kind", KINDS)
def test_sets_of_every_coding_keep_the_rate_and_are_decoded_and_verified(folder, kind):
    path, x = folder / f"x-{kind}.nqzset", np.load(folder / "x.npy")
    grid = read_part_set(str(path))
    assert grid.coordinates == (192, 192, 256)
    assert 2.8 < 8 * grid.file_bytes / x.size <= 3.0
    for part in grid.parts:
        p = coded((folder / part.file).read_bytes()).parameters
        assert (p.coding.name, p.allocate) == (grid.plan["coding"], grid.plan["allocate"])
        assert grid.plan["delta"] in (None, p.delta) and grid.plan["seed"] == 0
    assert nqz.verify(path, folder / "x.npy")["ok"]
    back = nqz.decode(path)
    for part, (rows, columns) in zip(grid.parts, grid.places(), strict=True):
        one = nqz.decode(folder / part.file)
        assert np.array_equal(back[rows.start : rows.stop, columns.start : columns.stop], one)


@pytest.mark.parametrize("kind", ["voronoi", "trellis"])
def test_an_error_is_reached_by_every_coding_and_workers_make_the_same_set(folder, tmp_path, kind):
    x = np.random.default_rng(0).standard_normal((512, 90)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    made = [
        nqz.encode_set(
            tmp_path / "x.npy", tmp_path / f"{name}.nqzset", error=0.05, parts=(2, 2), executor=executor,
            **KINDS[kind],
        )
        for name, executor in (("here", None), ("there", Elsewhere()))
    ]  # fmt: skip
    assert [part["digest"] for part in made[0]["parts"]] == [part["digest"] for part in made[1]["parts"]]
    back = nqz.encode_set(x, tmp_path / "y.nqzset", error=0.05, parts=(2, 1), seed=0, **KINDS[kind])
    found = nqz.matmul(tmp_path / "here.nqzset", tmp_path / "y.nqzset", estimator="mmse")
    unit = np.square(x - x.mean(0)).sum() ** 2 / 512
    assert back["bytes"] < x.nbytes / 8 and np.square(found - x.T @ x).sum() / unit < 0.07


def test_codings_of_both_sides_may_differ_as_those_of_files_may(folder):
    x, y = (np.load(folder / name).astype(np.float64) for name in ("x.npy", "y.npy"))
    sets = folder / "x-trellis.nqzset", folder / "y-entropy.nqzset"
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    error = np.square(nqz.matmul(*sets) - x.T @ y).sum() / unit
    assert error == pytest.approx(nqz.predicted_error(*sets), rel=0.08)


def test_noise_that_lies_where_its_partner_is_loud_is_predicted_where_a_set_is_decoded_too(folder, tmp_path):
    """In products with a single file, and with a set that is cut otherwise, by workers as well."""
    x, y = (np.load(folder / name).astype(np.float64) for name in ("x.npy", "y.npy"))
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    nqz.encode(folder / "y.npy", tmp_path / "y.nqz", rate=3, center=True)
    nqz.encode_set(folder / "y.npy", tmp_path / "y.nqzset", rate=3, parts=(4, 1), **KINDS["voronoi"])
    for name in ("y.nqz", "y.nqzset"):
        sides = folder / "x-voronoi.nqzset", tmp_path / name
        found, sigma = nqz.matmul(*sides, sigma=True)
        error = np.square(found - x.T @ y).sum() / unit
        assert error == pytest.approx(nqz.predicted_error(*sides), rel=0.08)
        assert np.sqrt(np.square((found - x.T @ y) / sigma).mean()) == pytest.approx(1.0, abs=0.04)
        assert np.array_equal(found, nqz.matmul(*sides, executor=Elsewhere()))


@pytest.mark.parametrize("kind", ["entropy", "voronoi"])
def test_products_with_a_file_are_predicted_where_parts_are_too_quiet_for_their_rate(folder, tmp_path, kind):
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    nqz.encode_set(x, tmp_path / "x.nqzset", rate=1, parts=(4, 1), **KINDS[kind])
    nqz.encode(y, tmp_path / "y.nqz", rate=0.8, center=True)
    sides = tmp_path / "x.nqzset", tmp_path / "y.nqz"
    x, y = x.astype(np.float64), y.astype(np.float64)
    unit = np.square(x - x.mean(0)).sum() * np.square(y - y.mean(0)).sum() / N
    found = nqz.matmul(*sides, estimator="unbiased")
    error = np.square(found - x.T @ y).sum() / unit
    assert error == pytest.approx(nqz.predicted_error(*sides, "unbiased"), rel=0.06)


@pytest.mark.parametrize(
    "dtype, order", [("bfloat16", "C"), ("float8_e4m3fn", "F"), ("float16", "F"), ("float64", "C")]
)
def test_parts_are_of_every_type_that_is_compressed(tmp_path, dtype, order):
    x = np.random.default_rng(1).standard_normal((200, 40)).astype(getattr(ml_dtypes, dtype, dtype))
    made = nqz.encode_set(np.asarray(x, order=order), tmp_path / "x.nqzset", rate=4, parts=(2, 2))
    assert made["dtype"] == dtype
    back = nqz.decode(tmp_path / "x.nqzset", tmp_path / "x.safetensors", dtype=dtype)
    assert back is None and nqz.verify(tmp_path / "x.nqzset", x)["ok"]
    found = nqz.matmul(tmp_path / "x.nqzset", tmp_path / "x.nqzset")
    wide = x.astype(np.float64)
    error = np.square(found - wide.T @ wide).sum() / np.square(wide.T @ wide).sum()
    assert error < 0.06  # most of so small parts is framing


def test_a_tensor_of_a_model_becomes_a_set_and_its_configuration_tells_the_axis(tmp_path, capsys):
    model = make_model(tmp_path / "m")
    name = "h.1.weight"
    out = succeed(
        capsys, "set", "create", model, "--tensor", name, "-r", "4", "--json", "-o", tmp_path / "w.nqzset"
    ).out
    [made] = json.loads(out)["sets"]
    assert made["axis"] == 1
    same = nqz.encode_set(model, tmp_path / "w.nqzset", tensor=name, rate=4, force=True)
    assert [part["digest"] for part in same["parts"]] == [part["digest"] for part in made["parts"]]
    assert "choose one with --tensor" in fail(capsys, 2, "set", "create", model, "-r", "4")


def test_options_of_encode_are_there_or_refused_with_a_reason(folder, capsys):
    source = folder / "x.npy"
    for words, said in (
        (["--max-bytes", "10kB"], "--max-bytes: every part is coded once"),
        (["--rule", "*=3", "-r", "3"], "--rule: is for files of several tensors"),
        (["--across", "size", "-r", "3"], "--across: is for files of several tensors"),
        (["--out-dir", "d", "-r", "3"], "--out-dir: a part set is a manifest with its parts beside it"),
        (["--dry-run", "-r", "3"], "--dry-run: to plan a part set all of it has to be read"),
        (["--coding", "trellis", "-r", "6"], "the trellis coding has at most"),
        (["--coding", "voronoi", "-r", "3"], "the voronoi coding needs one of"),
        (["--axis", "auto", "-r", "3"], "choose axis 0 (columns) or 1 (rows)"),
    ):
        assert said in fail(capsys, 2, "set", "create", source, *words, "-o", folder / "no.nqzset")
    with pytest.raises(nqz.UsageError, match="a mapping of strings"):
        nqz.encode_set(source, folder / "no.nqzset", rate=3, metadata={"a": 1})


def test_metadata_is_kept_in_every_part(tmp_path):
    made = nqz.encode_set(
        np.eye(64, dtype="f4"), tmp_path / "x.nqzset", rate=4, parts=(1, 2), metadata={"a": "b"}
    )
    for part in made["parts"]:
        with nqz.open(tmp_path / part["file"]) as container:
            assert container.metadata == {"a": "b"}


class ArrayOfZarr:
    """An array of Zarr as far as it is read: a shape, a type, chunks, and slices."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, (64, 32)

    def __getitem__(self, at):
        return self.array[at]


class Group:
    """A group of such arrays."""

    def __init__(self, **members):
        self.members = members

    def arrays(self):
        return iter(self.members.items())


@pytest.fixture
def zarr(monkeypatch):
    """What stands for the package zarr, which `make test-zarr` has."""
    module = types.ModuleType("zarr")
    module.found = {}
    module.open = lambda path, mode: module.found[path]
    monkeypatch.setitem(sys.modules, "zarr", module)
    return module


def test_an_array_of_zarr_is_encoded_and_becomes_a_set_by_its_path(tmp_path, capsys, monkeypatch, zarr):
    x = np.random.default_rng(2).standard_normal((200, 90)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    group = tmp_path / "d.zarr"
    (group / "x").mkdir(parents=True)
    for place in (group, group / "x"):
        (place / "zarr.json").write_text("{}")
    zarr.found = {str(group / "x"): ArrayOfZarr(x), str(group): Group(x=x, y=x)}
    succeed(capsys, "encode", tmp_path / "x.npy", "-r", "4", "-o", tmp_path / "same.nqz")
    succeed(capsys, "encode", group / "x", "-r", "4")
    assert (tmp_path / "x.nqz").read_bytes() == (tmp_path / "same.nqz").read_bytes()
    for source, to in ((group / "x", "a"), (tmp_path / "x.npy", "b")):
        succeed(capsys, "set", "create", source, "-r", "4", "--parts", "2x2", "-o", tmp_path / f"{to}.nqzset")
    parts = [read_part_set(str(tmp_path / f"{name}.nqzset")).parts for name in "ab"]
    assert [part[1:] for part in parts[0]] == [part[1:] for part in parts[1]]
    succeed(capsys, "verify", tmp_path / "x.nqz", "--against", group / "x")
    product = nqz.matmul(tmp_path / "x.nqz", tmp_path / "x.npy")
    succeed(capsys, "matmul", tmp_path / "x.nqz", group / "x", "-o", tmp_path / "c.npy")
    assert np.array_equal(np.load(tmp_path / "c.npy"), product)
    assert "is a group of 2 arrays of Zarr; name one of them, such as" in fail(
        capsys, 2, "encode", group, "-r", "4"
    )
    assert "is an array of Zarr, and not a .nqz container" in fail(capsys, 4, "decode", group / "x")
    zarr.found = {str(group / "x"): ArrayOfZarr(np.zeros((2, 3, 4)))}
    assert "has 3 dimensions; a matrix of two is needed" in fail(
        capsys, 4, "encode", group / "x", "-r", "4", "-f"
    )
    zarr.found = {}
    assert "cannot open" in fail(capsys, 3, "encode", group / "x", "-r", "4", "-f")
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert "pip install 'nqz[zarr]'" in fail(capsys, 2, "encode", group / "x", "-r", "4", "-f")


def test_addresses_of_arrays_are_told_by_their_names_and_outputs_stand_beside_them():
    assert arrays.format_at("s3://b/x.zarr/g/m") is arrays.FORMATS[0]
    assert arrays.format_at("s3://b/x/g/m") is None and arrays.format_at("no.zarr") is None
    for path, name in (
        ("d.zarr", "d"), ("a/d.zarr/g/m", "a/m"), ("s3://b/d.zarr/m/", "s3://b/m"), ("a/plain", "a/plain"),
    ):  # fmt: skip
        assert arrays.beside(path, arrays.FORMATS[0]) == name


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("along", ["vectors", "contracted"])
def test_shards_are_one_matrix_that_is_cut_anew(tmp_path, capsys, order, along):
    x = np.random.default_rng(3).standard_normal((256, 150)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    at = [0, 40, 41, 150] if along == "vectors" else [0, 100, 130, 256]
    shards = []
    for i, (low, high) in enumerate(pairwise(at)):
        shards.append(tmp_path / f"s{i}.npy")
        np.save(shards[-1], np.asarray(x[:, low:high] if along == "vectors" else x[low:high], order=order))
    whole = nqz.encode_set(tmp_path / "x.npy", tmp_path / "w.nqzset", rate=4, parts=(2, 2))
    words = [
        "set",
        "create",
        *shards,
        "-r",
        "4",
        "--parts",
        "2x2",
        "--along",
        along,
        "-o",
        tmp_path / "s.nqzset",
    ]
    succeed(capsys, *words)
    parts = read_part_set(str(tmp_path / "s.nqzset")).parts
    assert [part.digest for part in parts] == [part["digest"] for part in whole["parts"]]
    made = nqz.encode_set(
        shards, tmp_path / "e.nqzset", rate=4, parts=(2, 2), along=along, executor=Elsewhere()
    )
    assert [part["digest"] for part in made["parts"]] == [part["digest"] for part in whole["parts"]]
    np.save(shards[1], np.load(shards[1]).astype(">f4"))
    said = fail(capsys, OperandError.exit_code, *words, "-f")
    assert "are laid out in different ways" in said
