"""The same bytes for any number of threads, any kernels, and any way in."""

from __future__ import annotations

import io

import numpy as np
import pytest

import nqz
from coded_cases import SCHEMES, coded, kept, scheme
from nqz.commands.decode import DecodeOptions, decode
from nqz.commands.encode import encode
from nqz.commands.matmul import MatmulOptions
from nqz.commands.multiply import multiply
from nqz.commands.options import EncodeOptions
from nqz.commands.pairs import pair_up
from nqz.commands.verify import verify
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source, open_source
from nqz.format.reader import ContainerReader
from nqz.ground.errors import UnsupportedError
from nqz.ground.threads import Workers, workers


@pytest.fixture(scope="module")
def matrices():
    """Two matrices of several chunks: some columns quiet, some dropped."""
    rng = np.random.default_rng(1)
    scale = rng.lognormal(0, 0.7, 3200)
    return [
        (rng.standard_normal((900, w), dtype=np.float32) * scale[:w]).astype(np.float32) for w in (3200, 1300)
    ]


@pytest.mark.parametrize("coding", ["entropy", "voronoi"])
def test_bytes_do_not_depend_on_threads(matrices, coding):
    results = []
    for threads in (1, 2, 3):
        files = [nqz.encode(x, rate=1.5, threads=threads, **scheme("e8", coding)) for x in matrices]
        assert coded(files[0]).panels.chunk_count > 2
        assert coding == "voronoi" or not kept(coded(files[0])).all()
        back = nqz.open(files[0]).matrix.decode(threads=threads)
        product = nqz.matmul(*files, threads=threads)
        results.append([files[0], files[1], back.tobytes(), product.tobytes()])
    assert results[0] == results[1] == results[2]


def test_products_with_few_vectors_do_not_depend_on_how(matrices, monkeypatch):
    """Products x'B and A'x, coded and plain, some columns dropped, chunks that end within columns."""
    rng = np.random.default_rng(6)
    big = nqz.encode(matrices[0], rate=1.5)
    vectors = rng.standard_normal((900, 5)).astype(np.float32)
    for few in (vectors, nqz.encode(vectors, rate=6), vectors[:, 0]):
        found = []
        for limit, threads in ((16, 1), (16, 3), (0, 2)):
            monkeypatch.setattr("nqz.product.few._FEW", limit)
            products = [nqz.matmul(big, few, threads=threads), nqz.matmul(few, big, threads=threads)]
            found.append([product.tobytes() for product in products])
        assert found[0] == found[1] == found[2]
        assert np.array_equal(products[0], products[1].T)


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_an_array_and_its_file_give_the_same_bytes(name, coding, tmp_path):
    x = np.random.default_rng(2).standard_normal((90, 31))
    for array in (x, np.asfortranarray(x), x.astype(">f4"), x[:, 0], x.reshape(9, 10, 31)):
        np.save(tmp_path / "x.npy", array)
        options = EncodeOptions(rate=2.5, **scheme(name, coding))
        found = []
        for source in (array_source(array), open_source(tmp_path / "x.npy")):
            data = bytearray()
            with source:
                report = encode(source, MemoryAccess(data), options, Workers(1))
            found.append(bytes(data[: report["file_bytes"]]))
        assert found[0] == found[1] == nqz.encode(array, rate=2.5, **scheme(name, coding))


@pytest.mark.parametrize("order, axis, dtype", [("C", 0, "<f4"), ("F", 0, "<f4"), ("C", 1, ">f2")])
def test_panels_and_pieces_of_a_file_give_the_same_bytes(tmp_path, monkeypatch, order, axis, dtype):
    """Several panels: rows in pieces from a file, columns where they are in memory, two threads or one."""
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 1 << 22)
    scale = np.random.default_rng(4).lognormal(0, 0.5, 80).astype(np.float32)
    x = np.random.default_rng(4).standard_normal((70_000, 80), np.float32) * scale
    x = np.asarray((x if axis == 0 else x.T).astype(dtype), order=order)
    np.save(tmp_path / "x.npy", x)
    options = EncodeOptions(rate=1.0, states=4, axis=axis)
    found = []
    for source, threads in ((array_source(x), 2), (open_source(tmp_path / "x.npy"), 3)):
        data = bytearray()
        with source, workers(threads) as pool:
            report = encode(source, MemoryAccess(data), options, pool)
        found.append(bytes(data[: report["file_bytes"]]))
    assert found[0] == found[1] == nqz.encode(x, rate=1.0, states=4, axis=axis, threads=1)
    matrix = coded(found[0])
    assert len(matrix.panels) > 1 and not kept(matrix).all()
    expected = nqz.open(found[0]).matrix.decode()
    for threads in (1, 3):
        out = bytearray()
        with workers(threads) as pool:
            decode(ContainerReader(MemoryAccess(found[0]), "x"), MemoryAccess(out), DecodeOptions(), pool)
        back = np.load(io.BytesIO(out))
        assert back.dtype == x.dtype and np.array_equal(back, expected)
    error = np.square(back.astype(np.float64) - x).mean()
    assert 0.05 < error / np.square(x.astype(np.float64)).mean() < 0.4


@pytest.mark.parametrize("n, rate", [(96, 2.0), (100, 0.5), (5000, 2.0), (4099, 0.6), (70_000, 2.0)])
def test_every_way_to_the_chunks_gives_the_same_bytes(tmp_path, monkeypatch, n, rate):
    """Contiguous vectors of few classes or many: chunk by chunk or a panel at a time, in runs or picked one by one."""
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 1 << 20)
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 1 << 17)
    rng = np.random.default_rng(n)
    count = 1_300_000 // n
    for spread in (0.0, 0.8):
        scale = rng.lognormal(0, spread, (count, 1)).astype(np.float32)
        x = rng.standard_normal((count, n), np.float32) * scale
        np.save(tmp_path / "x.npy", x)
        found = set()
        for settings in (
            {},
            {"_LONG": 0},
            {"_GAP": 0, "_SCATTERED": 1000},
            {"_SCATTERED": 0},
            {"_STEP": 3 * n},
        ):
            with monkeypatch.context() as patch, open_source(tmp_path / "x.npy") as file:
                for name, value in settings.items():
                    patch.setattr(f"nqz.commands.stream.{name}", value)
                for source, threads in ((array_source(x), 1), (file, 2)):
                    data = bytearray()
                    with workers(threads) as pool:
                        encode(source, MemoryAccess(data), EncodeOptions(rate=rate, states=4, axis=1), pool)
                    found.add(bytes(data))
        assert len(found) == 1
        across = coded(found.pop())
        down = coded(nqz.encode(np.ascontiguousarray(x.T), rate=rate, states=4))
        assert np.array_equal(across.codes(), down.codes()) and across.panels.chunk_count > 2
        error = np.square(nqz.open(data).matrix.decode() - x).sum()
        assert error == pytest.approx(across.predicted_reconstruction() * np.square(x).sum(), rel=0.02)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "options",
    [{"error": 0.05, "center": True, "lattice": "d4"}, {"rate": 8, "coding": "voronoi", "lattice": "e8"}],
    ids=str,
)
def test_columns_too_many_to_be_kept_give_the_same_records(monkeypatch, order, options):
    """Norms and means measured again for every panel, some columns of it dropped; the same in a product."""
    rng = np.random.default_rng(9)
    x = (rng.standard_normal((6, 200_003)) + 1) * rng.lognormal(0, 2, 200_003)
    x = np.asarray(x.astype(np.float32), order=order)
    few = nqz.encode(rng.standard_normal((6, 3)), rate=6)
    monkeypatch.setattr("nqz.stages.panels._COLUMNS", 30_000)
    found = []
    for held in (1 << 20, 1000):
        monkeypatch.setattr("nqz.stages.grid._HELD", held)
        for threads in (1, 3):
            data = nqz.encode(x, threads=threads, **options)
            matrix = coded(data)
            # of a rate, the size of the side information is known, or estimated: the last step of Δ may differ
            same = "error" in options or held == 1000
            records = [matrix.reader.read(r) for r in matrix.reader.records(0)] if same else []
            products = [nqz.matmul(few, x, threads=threads), nqz.matmul(x, few, threads=threads)]
            found.append([records, *(product.tobytes() for product in products)])
            assert "rate" not in options or 0.995 * options["rate"] < matrix.rate <= options["rate"]
    types = [record.type for record in matrix.reader.records(0)]
    assert types[:3] == ["NORM", "MEAN", "CHNK"] and types.count("NORM") == types.count("MEAN") == 7
    assert found[2] == found[3] and [f[1:] for f in found[:2]] == [f[1:] for f in found[2:]]
    if "error" in options:
        assert found[0] == found[2] and not kept(matrix).all()


def test_tensors_side_by_side_give_the_same_bytes(tmp_path, monkeypatch):
    """Small tensors and large ones in turn, exact ones among them, some of them empty."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(8)
    tensors = {f"m{i:02}": rng.standard_normal((30 + 7 * i, 40), np.float32) for i in range(12)}
    tensors |= {f"m{i:02}.bias": rng.standard_normal(50 * i).astype(np.float32) for i in range(12)}
    tensors["m03.ids"] = rng.integers(0, 1000, 3_000_000).astype(np.int32)
    tensors["m07.wide"] = rng.standard_normal((300, 400), np.float32)
    path = tmp_path / "x.safetensors"
    save_file(tensors, path)
    others = {
        name: rng.standard_normal((len(x), 9), np.float32) for name, x in tensors.items() if x.ndim == 2
    }
    save_file(others, tmp_path / "y.safetensors")
    found = set()
    for threads, small in ((1, 1 << 21), (2, 1 << 21), (5, 1 << 21), (3, 3000), (2, 0)):
        for module in ("encode", "decode", "verify", "multiply"):
            monkeypatch.setattr(f"nqz.commands.{module}.SMALL", small)
        data, back, product = bytearray(), bytearray(), bytearray()
        with (
            workers(threads) as pool,
            open_source(path) as source,
            open_source(tmp_path / "y.safetensors") as other,
        ):
            report = encode(source, MemoryAccess(data), EncodeOptions(rate=3), pool)
            reader = ContainerReader(MemoryAccess(bytes(data)), "x")
            report |= decode(reader, MemoryAccess(back), DecodeOptions(), pool)
            checked = verify(reader, source, pool)
            pairs = pair_up(reader, other)
            report |= multiply(pairs, MemoryAccess(product), "safetensors", MatmulOptions(), pool)
        assert report["matrices"] == 13 and report["exact"] == 13 and checked["ok"]
        found.add((bytes(data), bytes(back), bytes(product), str(report), str(checked)))
    assert len(found) == 1
    monkeypatch.undo()
    broken = tensors | {
        "m05": np.full((40, 40), np.nan, np.float32),
        "m09": np.full((40, 40), np.inf, np.float32),
    }
    save_file(broken, path)
    for threads in (1, 3):
        with (
            workers(threads) as pool,
            open_source(path) as source,
            pytest.raises(UnsupportedError, match="'m05'"),
        ):
            encode(source, MemoryAccess(bytearray()), EncodeOptions(rate=3), pool)


@pytest.mark.parametrize("name, coding", SCHEMES)
def test_points_do_not_depend_on_storage(name, coding):
    """Layout and axis change the container's header and dither key only: the data is seen the same way."""
    x = np.random.default_rng(3).standard_normal((70, 24)).astype(np.float32)
    across = coded(nqz.encode(np.ascontiguousarray(x.T), rate=2, axis=1, **scheme(name, coding)))
    down = coded(nqz.encode(x, rate=2, **scheme(name, coding)))
    assert np.array_equal(across.codes(), down.codes())
    assert np.array_equal(across.means(slice(None)), down.means(slice(None)))
    assert across.parameters.n == down.parameters.n and across.parameters.columns == down.parameters.columns


def test_small_panels_and_chunks_decode(monkeypatch):
    """Many panels of few columns, columns longer than a chunk, the last chunk a single group."""
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 4000)
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 520)
    rng = np.random.default_rng(4)
    x = (rng.standard_normal((700, 23)) * rng.lognormal(0, 1, 23)).astype(np.float32)
    y = rng.standard_normal((700, 9)).astype(np.float32)
    for coding in ("entropy", "voronoi"):
        files = [nqz.encode(z, rate=6, **scheme("e8", coding)) for z in (x, y)]
        matrix = coded(files[0])
        assert len(matrix.panels) == 5 and matrix.panels.chunk_count > 20
        back = nqz.open(files[0]).matrix.decode("float64")
        assert np.square(back - x).sum() == pytest.approx(
            matrix.predicted_reconstruction() * np.square(x - x.mean(axis=0)).sum(), rel=0.06
        )
        product = nqz.matmul(*files)
        assert np.square(product - x.T @ y).sum() < 0.01 * np.square(x).sum() * np.square(y).sum() / 700


def test_dither_keys_differ_as_soon_as_anything_does():
    x = np.random.default_rng(5).standard_normal((40, 12)).astype(np.float32)
    y = x.copy()
    y[3, 3] += 1e-6
    variants = [
        {},
        {"rate": 2.5},
        {"seed": 1},
        {"axis": 1},
        {"center": True},
        {"lattice": "d4"},
        {"allocate": "column"},
        {"kappa": 0.5},
        {"lattice": "e8"},
        {"lattice": "e8", "coding": "voronoi"},
        {"lattice": "conv", "states": 4},
    ]
    files = [nqz.encode(x, **{"rate": 3, **options}) for options in variants]
    files += [nqz.encode(y, rate=3), nqz.encode(x.astype(np.float64), rate=3)]
    keys = [coded(data).parameters.dither_key for data in files]
    assert len(set(keys)) == len(keys)
    assert coded(nqz.encode(x.copy(), rate=3)).parameters.dither_key == keys[0]


def test_dither_keys_depend_on_the_name(tmp_path):
    from safetensors.numpy import save_file

    x = np.random.default_rng(5).standard_normal((40, 12)).astype(np.float32)
    save_file({"first": x, "second": x}, tmp_path / "x.safetensors")
    data = bytearray()
    with open_source(tmp_path / "x.safetensors") as source:
        report = encode(source, MemoryAccess(data), EncodeOptions(rate=3), Workers(1))
    with nqz.open(bytes(data[: report["file_bytes"]])) as container:
        back = [container[name].decode() for name in ("first", "second")]
    assert not np.array_equal(*back)
