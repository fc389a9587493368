"""Arrays of Zarr, of xarray and of Dask: `make test-zarr`."""

from __future__ import annotations

import json
import multiprocessing
import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dask.array
import hypothesis.extra.numpy as npst
import numpy as np
import pytest
import xarray
import zarr
import zarr.testing.strategies as zst
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

import nqz
from nqz.cli import run
from nqz.numcodecs import Nqz
from nqz.zarr import NqzCodec, annotate

ROOT = Path(__file__).resolve().parents[2]


def gaussian(*shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def error(a, b):
    return np.square(a.astype(float) - b).sum() / np.square(a.astype(float)).sum()


def create(store, array, **options):
    options = {"serializer": NqzCodec(rate=4), "compressors": None, **options}
    made = zarr.create_array(store, shape=array.shape, dtype=array.dtype, **options)
    made[...] = array
    return made


@pytest.mark.parametrize("shards", [None, (512, 100)])
@pytest.mark.parametrize("fill", [0.0, np.nan])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_array_is_opened_by_the_name_of_its_codec(tmp_path, shards, fill, dtype):
    array = gaussian(1000, 250, dtype=dtype)
    create(tmp_path / "a.zarr", array, chunks=(256, 50), shards=shards, fill_value=fill)
    found = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert found[...].dtype == dtype and error(array, found[...]) < 0.006
    assert np.array_equal(found[17, 3:9], found[...][17, 3:9])
    assert found.nbytes_stored() < 4.6 / 8 * array.size


def test_metadata_keep_what_differs_from_the_defaults(tmp_path):
    codec = NqzCodec(error=0.01, axis=1, coding="trellis", window=14)
    create(tmp_path, gaussian(300, 200), chunks=(300, 200), serializer=codec)
    (kept,) = json.loads((tmp_path / "zarr.json").read_text())["codecs"]
    assert kept == {
        "name": "nqz",
        "configuration": {"error": 0.01, "axis": 1, "coding": "trellis", "window": 14},
    }
    (found,) = zarr.open_array(tmp_path).metadata.codecs
    assert found == codec


def test_each_chunk_is_a_container(tmp_path):
    array = gaussian(512, 100)
    create(tmp_path, array, chunks=(512, 50))
    assert (tmp_path / "c" / "0" / "1").read_bytes() == nqz.encode(array[:, 50:], rate=4)
    assert nqz.matmul(tmp_path / "c" / "0" / "0", tmp_path / "c" / "0" / "1").shape == (50, 50)


@pytest.mark.parametrize(
    "codec, array, message",
    [
        ({"rate": 4}, np.zeros((4, 4), np.int32), "float16, float32 and float64, not int32"),
        ({"rate": 4, "axis": 2}, np.zeros((4, 4)), "axis=2"),
        ({}, np.zeros((4, 4)), "one of rate, error and max_bytes"),
        ({"rate": 4, "error": 0.1}, np.zeros((4, 4)), "one of rate, error and max_bytes"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(codec, array, message):
    with pytest.raises(nqz.UsageError, match=message):
        create({}, array, chunks=(4, 4), serializer=NqzCodec(**codec))


def test_configurations_of_later_releases_are_refused():
    with pytest.raises(nqz.UsageError, match="'quality'"):
        NqzCodec.from_dict({"name": "nqz", "configuration": {"rate": 3, "quality": 1}})


def test_changing_a_part_of_a_chunk_warns():
    made = create({}, gaussian(64, 64), chunks=(64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made[...] = gaussian(64, 64) + 1
    with pytest.warns(UserWarning, match="second error"):
        made[3:5] = 0


def test_chunks_that_are_damaged_say_so(tmp_path):
    made = create(tmp_path, gaussian(64, 64), chunks=(64, 64))
    chunk = tmp_path / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-30])
    with pytest.raises(nqz.CorruptError):
        made[...]


def test_attributes_state_the_error(tmp_path):
    array = gaussian(1000, 100)
    made = create(tmp_path, array, chunks=(500, 50))
    expected, measured = annotate(made), annotate(made, array)
    assert expected["family"] == "quantization" and expected["rate"] == 4
    assert expected["relative_error_is"] == "predicted" and measured["relative_error_is"] == "measured"
    assert abs(expected["relative_error"] / measured["relative_error"] - 1) < 0.05
    assert measured["relative_error"] == pytest.approx(error(array, made[...]))
    assert zarr.open_array(tmp_path).attrs["lossy_compression"] == measured
    sharded = create({}, array, chunks=(500, 50), shards=(1000, 100))
    with pytest.raises(nqz.UsageError, match="shards"):
        annotate(sharded)
    with pytest.raises(nqz.UsageError, match="no nqz codec"):
        annotate(zarr.create_array({}, shape=(3, 3), dtype="float32"))
    with pytest.raises(nqz.UsageError, match="shape"):
        annotate(made, array[1:])


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_selection_is_that_of_the_whole(data):
    """With the strategies by which zarr tests itself."""
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=12))
    chunks = data.draw(zst.chunk_shapes(shape=shape))
    shards = data.draw(st.none() | zst.shard_shapes(shape=shape, chunk_shape=chunks))
    array = gaussian(*shape, dtype="float64")
    axis = data.draw(st.integers(0, len(shape) - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny matrices
        made = create({}, array, chunks=chunks, shards=shards, serializer=NqzCodec(rate=12, axis=axis))
        whole = made[...]
        index = data.draw(zst.basic_indices(shape=shape))
        assert np.array_equal(made[index], whole[index])
        zarr_index, np_index = data.draw(zst.orthogonal_indices(shape=shape))
        assert np.array_equal(made.oindex[zarr_index], whole[np_index])


def test_version_2_has_the_codec_of_numcodecs(tmp_path):
    array = gaussian(1000, 250)
    made = zarr.create_array(
        tmp_path,
        shape=array.shape,
        chunks=(512, 100),
        dtype="float32",
        compressors=Nqz(rate=4, axis=1),
        zarr_format=2,
    )
    made[...] = array
    found = zarr.open_array(tmp_path, zarr_format=2)
    assert error(array, found[...]) < 0.006 and found.nbytes_stored() < 4.3 / 8 * array.size
    assert json.loads((tmp_path / ".zarray").read_text())["compressor"] == {"id": "nqz", "axis": 1, "rate": 4}
    stated, measured = annotate(made), annotate(made, array)
    assert stated["rate"] == 4 and stated["axis"] == 1 and "id" not in stated
    assert stated["relative_error"] == pytest.approx(measured["relative_error"], rel=0.05)
    assert zarr.open_array(tmp_path, zarr_format=2).attrs["lossy_compression"] == measured
    with pytest.raises(nqz.UsageError, match="not int64"):
        Nqz(rate=4).encode(np.arange(9))
    with pytest.raises(nqz.UsageError, match="one of rate"):
        Nqz()
    with pytest.raises(nqz.UsageError, match="no option 'lattise'"):
        Nqz(rate=4, lattise="z")


def test_xarray_writes_and_reads_it(tmp_path):
    array = xarray.DataArray(gaussian(300, 130), dims=("time", "feature"), name="x")
    encoding = {"x": {"serializer": NqzCodec(rate=5), "compressors": None, "chunks": (300, 50)}}
    array.to_dataset().to_zarr(tmp_path / "x.zarr", encoding=encoding, zarr_format=3, consolidated=False)
    found = xarray.open_zarr(tmp_path / "x.zarr", consolidated=False)["x"]
    assert error(array.values, found.values) < 0.002 and found.dims == ("time", "feature")


def test_containers_are_arrays_of_dask(tmp_path):
    array = gaussian(512, 96)
    nqz.encode(array, tmp_path / "a.nqz", rate=6)
    nqz.encode(array, tmp_path / "b.nqz", rate=6, axis=1)
    nqz.encode_set(array, tmp_path / "c.nqzset", rate=6, parts=(2, 2))
    for name in ("a.nqz", "b.nqz", "c.nqzset"):
        matrix = nqz.open(tmp_path / name).matrix
        lazy = matrix.to_dask()
        assert lazy.dtype == "float32" and np.array_equal(
            lazy.compute(scheduler="processes"), matrix.decode()
        )
        assert np.array_equal(matrix.T.to_dask(chunks=(32, 128))[5:9].compute(), matrix.decode().T[5:9])
        values = svds(matrix.operand("mmse").as_linear_operator(), k=3)[1]
        assert np.allclose(
            np.sort(values), np.linalg.svd(matrix.decode(), compute_uv=False)[2::-1], rtol=1e-3
        )


@pytest.mark.parametrize("shards", [None, (256, 100)])
def test_an_array_becomes_a_part_set_here_and_by_workers(tmp_path, shards):
    array = gaussian(600, 350)
    np.save(tmp_path / "a.npy", array)
    made = zarr.create_array(
        tmp_path / "a.zarr", shape=array.shape, dtype=array.dtype, chunks=(128, 50), shards=shards
    )
    made[...] = array
    sources = {"file": tmp_path / "a.npy", "zarr": made, "dask": dask.array.from_zarr(tmp_path / "a.zarr")}
    found = {}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        for name, source in sources.items():
            for at, where in enumerate([None, executor]):
                folder = tmp_path / f"{name} {at}"
                folder.mkdir()
                nqz.encode_set(source, folder / "a.nqzset", rate=3, parts=(2, 2), executor=where)
                found[folder] = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert all(one == found[tmp_path / "file 0"] for one in found.values())


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_is_given_by_its_path_or_address_in_a_group_or_by_itself(
    tmp_path, capsys, monkeypatch, version
):
    monkeypatch.chdir(tmp_path)
    array = gaussian(512, 300)
    np.save("a.npy", array)
    nqz.encode("a.npy", "a.nqz", rate=4)
    group = zarr.open_group("d.zarr", mode="w", zarr_format=version)
    memory = f"memory://{tmp_path.name}/e.zarr/a"
    for made in (
        group.create_array("a", shape=array.shape, chunks=(100, 64), dtype="float32"),
        zarr.create_array(memory, shape=array.shape, chunks=(100, 64), dtype="float32", zarr_format=version),
    ):
        made[...] = array
    for source in ("d.zarr/a", memory):
        assert run(["encode", source, "-r", "4", "-o", "z.nqz", "-f"]) == 0
        assert Path("z.nqz").read_bytes() == Path("a.nqz").read_bytes()
        assert run(["verify", "z.nqz", "--against", source]) == 0
        assert run(["set", "create", source, "-r", "4", "--parts", "2x2", "-o", "z.nqzset", "-f"]) == 0
        assert run(["set", "create", "a.npy", "-r", "4", "--parts", "2x2", "-o", "z.nqzset"]) == 9
    group.create_array("b", shape=(3, 4, 5), dtype="float32")
    zarr.create_array("integers.zarr", shape=(64, 20), dtype="int32")
    capsys.readouterr()
    for source, said, status in (
        ("d.zarr", "is a group of 2 arrays of Zarr; name one of them, such as d.zarr/a", 2),
        ("d.zarr/b", "d.zarr/b: has 3 dimensions; a matrix of two is needed", 4),
        ("integers.zarr", "dtype int32", 4),
        (f"memory://{tmp_path.name}/none.zarr", "there is no array of Zarr", 3),
    ):
        assert run(["encode", source, "-r", "4", "-o", "no.nqz"]) == status
        assert said in capsys.readouterr().err


def test_the_examples_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "howto" / "zarr.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python zarr\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) >= 4
    exec(compile("\n".join(found), "zarr.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own page
    [block] = re.findall(r"^```console zarr\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for command in re.findall(r"^\$ nqz (.*)$", block, re.MULTILINE):
        assert run(command.split()) == 0
