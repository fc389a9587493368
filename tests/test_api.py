"""The Python interface."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nqz
from cli_tools import FIXTURES, environment, matrix
from container_builder import preamble
from nqz.ground.dtypes import _TABLE, data_bytes, dtype_bits, to_safetensors


def relative(estimate, a, b):
    """Error of a product relative to ‖Ā‖²‖B̄‖²/n."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / len(a)
    return np.square(estimate - a.T @ b).sum() / scale


def test_the_docstring_example():
    a, b = np.random.default_rng(0).standard_normal((2, 512, 64))
    c = nqz.matmul(nqz.encode(a, rate=4), nqz.encode(b, rate=4))
    assert c.shape == (64, 64) and c.dtype == np.float64
    assert 0.002 < relative(c, a, b) < 0.03


def test_encode_to_bytes_path_and_file_object(tmp_path):
    a = matrix(100, 30)
    data = nqz.encode(a, rate=3)
    assert isinstance(data, bytes)
    assert nqz.encode(a, tmp_path / "a.nqz", rate=3) is None
    assert (tmp_path / "a.nqz").read_bytes() == data
    stream = io.BytesIO()
    nqz.encode(a, stream, rate=3)
    assert stream.getvalue() == data
    with open(tmp_path / "b.nqz", "wb") as file:
        nqz.encode(a, file, rate=3, threads=1)
    assert (tmp_path / "b.nqz").read_bytes() == data
    with pytest.raises(nqz.OutputExistsError):
        nqz.encode(a, tmp_path / "a.nqz", rate=3)
    nqz.encode(a, tmp_path / "a.nqz", rate=5, force=True)
    assert (tmp_path / "a.nqz").stat().st_size > len(data)


def test_the_file_and_the_array_give_the_same_bytes(tmp_path):
    from nqz.cli import run

    a = matrix(64, 12)
    np.save(tmp_path / "a.npy", a)
    assert run(["encode", str(tmp_path / "a.npy"), "-r", "3", "-q"]) == 0
    assert (tmp_path / "a.nqz").read_bytes() == nqz.encode(a, rate=3)


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "file", "BytesIO"])
def test_open_takes_many_things(tmp_path, kind):
    a = matrix(80, 20)
    data = nqz.encode(a, rate=4)
    path = tmp_path / "a.nqz"
    path.write_bytes(data)
    source = {
        "path": path,
        "string": str(path),
        "bytes": data,
        "BytesIO": io.BytesIO(data),
        "file": path.open("rb"),
    }[kind]
    with nqz.open(source) as container:
        assert list(container) == [""] and len(container) == 1
        found = container.matrix
        assert found is container[""]
        assert found.name == "" and found.shape == (80, 20) and found.dtype == "float32" and found.axis == 0
        assert found.rate == 8 * len(data) / a.size
        assert 0 < found.predicted_reconstruction < found.predicted_error < 1
        assert found.decode().shape == (80, 20)
    if kind == "file":
        assert not source.closed
        source.close()


def test_decode_types_and_estimators():
    a = matrix(128, 40, dtype="float16")
    matrix_ = nqz.open(nqz.encode(a, rate=8)).matrix
    assert matrix_.decode().dtype == np.float16
    for dtype in ("float32", np.float64, np.dtype(ml_dtypes.bfloat16)):
        back = matrix_.decode(dtype)
        assert back.dtype == np.dtype(dtype)
        assert np.abs(back.astype(np.float64) - a).max() < 0.1
    assert matrix_.decode(">f4").dtype == np.dtype(">f4")
    low = nqz.open(nqz.encode(a, rate=2, allocate="column")).matrix
    assert np.square(low.decode(float) - a).sum() < np.square(low.decode(float, "unbiased") - a).sum()
    for bad in ("int8", "no such type", complex, "bfloat17"):
        with pytest.raises(nqz.UsageError):
            matrix_.decode(bad)
    with pytest.raises(nqz.UsageError, match="estimator"):
        matrix_.decode(estimator="auto")


@pytest.mark.parametrize(
    "shape, axis", [((60, 20), 0), ((20, 60), 1), ((5, 12, 20), 0), ((20, 5, 12), 1), ((900,), 0)]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_shapes_and_axes_come_back(shape, axis, order):
    a = np.asarray(matrix(*shape), order=order)
    back = nqz.open(nqz.encode(a, rate=8, axis=axis)).matrix.decode()
    assert back.shape == a.shape and back.dtype == a.dtype
    assert np.abs(back - a).max() < 0.1


def test_arrays_of_any_layout_are_taken():
    a = matrix(90, 40)
    for view in (a[::3, 1::2], a[::-1], a.T, a.astype(">f4"), np.broadcast_to(a[:, :1], (90, 7))):
        back = nqz.open(nqz.encode(view, rate=8)).matrix.decode()
        assert np.abs(back - view).max() < 0.4
    assert nqz.open(nqz.encode(a.tolist(), rate=4)).matrix.dtype == "float64"


def test_bfloat16_arrays():
    a = matrix(64, 24).astype(ml_dtypes.bfloat16)
    found = nqz.open(nqz.encode(a, rate=8)).matrix
    assert found.source_dtype == "bfloat16" and found.dtype == np.float32
    assert found.decode().dtype == np.float32
    assert found.decode(ml_dtypes.bfloat16).dtype == a.dtype


def test_a_model(tmp_path):
    from nqz.cli import run

    path = tmp_path / "m.nqz"
    assert run(["encode", str(FIXTURES / "model.safetensors"), "-r", "4", "-o", str(path), "-q"]) == 0
    from safetensors.numpy import load_file

    truth = load_file(FIXTURES / "model.safetensors")
    with nqz.open(path) as container:
        assert set(container) == set(truth) and "nothing" not in container
        assert container.metadata == {"format": "pt", "note": "made by fixtures/make.py"}
        assert isinstance(container["layer.weight"], nqz.CompressedMatrix)
        assert isinstance(container["mask"], nqz.ExactTensor)
        for name in ("layer.bias", "position_ids", "mask", "scale"):
            exact = container[name]
            assert exact.shape == truth[name].shape and exact.dtype == truth[name].dtype
            back = exact.decode()
            assert back.dtype == truth[name].dtype and np.array_equal(back, truth[name])
            assert exact.tobytes() == truth[name].tobytes()
        product = nqz.matmul(container["layer.weight"], container["layer.weight"])
        assert product.shape == (96, 96)
        with pytest.raises(nqz.OperandError, match="3 matrices"):
            nqz.matmul(container, container)
        with pytest.raises(nqz.OperandError, match="vectors of 96 and 128 entries"):
            nqz.matmul(container["layer.bias"], container["layer.weight"])
        with pytest.raises(KeyError):
            container["nothing"]


def test_exact_tensors_of_other_types(tmp_path):
    from safetensors.numpy import save_file

    from nqz.cli import run

    tensors = {
        "b": matrix(10).astype(ml_dtypes.bfloat16),
        "f8": matrix(6).astype(ml_dtypes.float8_e4m3fn),
        "empty": np.zeros((0, 3), np.float32),
    }
    save_file(tensors, tmp_path / "m.safetensors")
    assert run(["encode", str(tmp_path / "m.safetensors"), "-r", "4", "-q"]) == 0
    with nqz.open(tmp_path / "m.nqz") as container:
        assert container["b"].decode().dtype == np.float32
        assert np.array_equal(container["b"].decode(), tensors["b"].astype(np.float32))
        assert container["f8"].decode().dtype == ml_dtypes.float8_e4m3fn
        assert container["f8"].tobytes() == tensors["f8"].tobytes()
        assert container["empty"].decode().shape == (0, 3)
        for dtype in (np.float64, "float32", np.float16, ml_dtypes.bfloat16):
            for name, array in tensors.items():
                found = container[name].decode(dtype)
                assert found.dtype == dtype and np.array_equal(found, array.astype(dtype))
        for nonsense in ("int8", "x", 7):
            with pytest.raises(nqz.UsageError, match="is needed"):
                container["b"].decode(nonsense)
    np.savez(tmp_path / "m.npz", c=np.ones(3, complex), i=np.arange(3))
    with nqz.open(nqz.encode(tmp_path / "m.npz", rate=4)) as container:
        assert container["i"].decode("float32").tolist() == [0, 1, 2]
        with pytest.raises(nqz.UsageError, match="complex"):
            container["c"].decode("float32")


def test_matmul_takes_every_kind_of_operand(tmp_path):
    a = matrix(128, 20)
    b = a[:, :12] + 0.2 * matrix(128, 12, seed=1)
    data = nqz.encode(a, rate=5), nqz.encode(b, rate=5)
    (tmp_path / "b.nqz").write_bytes(data[1])
    np.save(tmp_path / "b.npy", b)
    truth = nqz.matmul(*data)
    assert truth.dtype == np.float32
    left, right = nqz.open(data[0]), nqz.open(tmp_path / "b.nqz")
    for other in (
        right,
        right.matrix,
        data[1],
        tmp_path / "b.nqz",
        str(tmp_path / "b.nqz"),
        io.BytesIO(data[1]),
    ):
        assert np.array_equal(nqz.matmul(left, other), truth)
    one_sided = nqz.matmul(left, b)
    assert relative(one_sided, a, b) < relative(truth, a, b)
    assert np.array_equal(nqz.matmul(left, tmp_path / "b.npy"), one_sided)
    assert np.allclose(nqz.matmul(b, left), one_sided.T)
    assert nqz.matmul(left, right, dtype="float64", threads=1).dtype == np.float64
    for estimator in ("mmse", "unbiased"):
        assert not np.array_equal(nqz.matmul(left, right, estimator=estimator), truth)


def test_predicted_error_of_a_product():
    a = matrix(512, 80)
    b = 0.7 * a + 0.7 * matrix(512, 80, seed=1)
    left, right = nqz.open(nqz.encode(a, rate=2)), nqz.open(nqz.encode(b, rate=3))
    errors = {}
    for estimator in ("auto", "mmse", "unbiased"):
        errors[estimator] = nqz.predicted_error(left, right, estimator)
        actual = relative(nqz.matmul(left, right, estimator=estimator, dtype=float), a, b)
        assert actual == pytest.approx(errors[estimator], rel=0.1)
    assert errors["auto"] <= min(errors["mmse"], errors["unbiased"]) * 1.001
    assert nqz.predicted_error(left, b) < errors["auto"]


encode: Any = nqz.encode
matmul: Any = nqz.matmul
open_: Any = nqz.open
"""To call with arguments of other types."""


@pytest.mark.parametrize(
    "error, call",
    [
        (nqz.UsageError, lambda a, data: nqz.encode(a, rate=float("nan"))),
        (nqz.UsageError, lambda a, data: encode(a, rate="much")),
        (nqz.UsageError, lambda a, data: nqz.encode(a, rate=2, axis=2)),
        (nqz.UsageError, lambda a, data: nqz.encode(a, rate=2, kappa=1.5)),
        (nqz.UsageError, lambda a, data: nqz.encode(a, rate=2, lattice="a2")),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, threads=0)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, threads="all")),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, seed="x")),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, seed=1.5)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, states=64.0)),
        (nqz.UsageError, lambda a, data: encode(a, max_bytes="x")),
        (nqz.UsageError, lambda a, data: encode(a, 5, rate=2)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, threads=10**30)),
        (nqz.UsageError, lambda a, data: encode(a, max_bytes=10**30)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, seed=10**30)),
        (nqz.UsageError, lambda a, data: encode(a, rate=10**400)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, center=a)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, lattice=a)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, coding=None)),
        (nqz.UsageError, lambda a, data: encode(a, rate=2, allocate=a)),
        (nqz.UsageError, lambda a, data: matmul(data, data, estimator=a)),
        (nqz.UsageError, lambda a, data: matmul(data, data, dtype=a)),
        (nqz.UsageError, lambda a, data: matmul(data, data, dtype="\ud800")),
        (nqz.UsageError, lambda a, data: matmul(data, data, threads=10**30)),
        (nqz.UnsupportedError, lambda a, data: encode([[1, 2], [3]], rate=2)),
        (nqz.UnsupportedError, lambda a, data: matmul(data, [[1, 2], [3]])),
        (nqz.UnsupportedError, lambda a, data: nqz.encode(a.astype(int), rate=2)),
        (nqz.UnsupportedError, lambda a, data: nqz.encode(np.array([object()]), rate=2)),
        (nqz.UnsupportedError, lambda a, data: nqz.encode(np.where(a > 2, np.nan, a), rate=2)),
        (nqz.UnsupportedError, lambda a, data: nqz.encode(np.ma.masked_less(a, 0), rate=2)),
        (nqz.InputError, lambda a, data: nqz.open("no/such/file.nqz")),
        (nqz.UsageError, lambda a, data: open_(17)),
        (nqz.UnsupportedError, lambda a, data: nqz.open(b"not a container")),
        (nqz.CorruptError, lambda a, data: nqz.open(b"\x80 not a container")),
        (nqz.CorruptError, lambda a, data: nqz.open(data[:-1])),
        (nqz.CorruptError, lambda a, data: nqz.open(data + b"x")),
        (nqz.NewerFormatError, lambda a, data: nqz.open(preamble(7) + data[16:])),
        (nqz.OperandError, lambda a, data: nqz.matmul(a, a)),
        (nqz.OperandError, lambda a, data: nqz.matmul(data, a[1:])),
        (nqz.OperandError, lambda a, data: nqz.matmul(data, nqz.encode(a, rate=2, seed=1))),
        (nqz.UnsupportedError, lambda a, data: nqz.matmul(data, a.astype(int))),
        (nqz.UsageError, lambda a, data: nqz.matmul(data, a, estimator="best")),
        (nqz.UsageError, lambda a, data: nqz.matmul(data, a, dtype="float16")),
        (nqz.UsageError, lambda a, data: nqz.predicted_error(data, a, "best")),
    ],
)
def test_bad_input_raises_errors_of_nqz(error, call):
    a = matrix(64, 10)
    with pytest.raises(error):
        call(a, nqz.encode(a, rate=3))


@pytest.fixture
def exact_of_every_type(tmp_path):
    """A file with an exact tensor of eight entries of every type that .safetensors has, by name of the type."""
    names = [name for name in _TABLE if to_safetensors(name) is not None]
    header: dict[str, Any] = {}
    begin = 0
    for name in names:
        end = begin + data_bytes((8,), name)
        header[name] = {"dtype": to_safetensors(name), "shape": [8], "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    path = tmp_path / "types.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(n % 127 for n in range(begin)))
    from nqz.cli import run

    assert run(["encode", str(path), "-r", "4", "-q"]) == 0
    return path.with_suffix(".nqz")


def test_exact_tensors_of_every_type_decode_or_say_what_does(exact_of_every_type):
    with nqz.open(exact_of_every_type) as container:
        assert len(container) == len(_TABLE) - 1
        for name, tensor in container.items():
            assert len(tensor.tobytes()) == data_bytes((8,), name)
            if dtype_bits(name) < 8:
                with pytest.raises(
                    nqz.UnsupportedError, match=f"'{name}': .* are packed, [46] bits each; tobytes"
                ):
                    tensor.decode()
            else:
                array = tensor.decode()
                assert array.shape == (8,)
                assert name == "bfloat16" or array.tobytes() == tensor.tobytes()


@pytest.mark.parametrize("kind", [bytes, str, io.BytesIO, "file"])
def test_nothing_is_read_from_a_closed_container(exact_of_every_type, tmp_path, kind):
    matrices = nqz.encode(matrix(64, 10), rate=3)
    (tmp_path / "a.nqz").write_bytes(matrices)
    for path in (tmp_path / "a.nqz", exact_of_every_type):
        with open(path, "rb") as file:
            if kind is not str and kind != "file":
                container = nqz.open(kind(path.read_bytes()))
            else:
                container = nqz.open(file if kind == "file" else str(path))
            tensors = list(container.values())
            container.close()
            container.close()
            for tensor in tensors:
                assert repr(tensor) and tensor.shape and tensor.source_dtype
                if isinstance(tensor, nqz.ExactTensor):
                    reads = [tensor.decode, tensor.tobytes]
                else:
                    reads = [
                        tensor.decode,
                        lambda: tensor.predicted_error,
                        lambda: tensor.predicted_reconstruction,
                        lambda: nqz.matmul(container, matrices),
                        lambda: nqz.predicted_error(matrices, tensor),
                        lambda: tensor.axis,
                        lambda: container[""].rate,
                    ]
                for read in reads:
                    if dtype_bits(tensor.source_dtype) < 8 and read == tensor.decode:
                        continue
                    with pytest.raises(nqz.InputError, match="is closed, and can no longer be read"):
                        read()


def test_integers_of_numpy_are_integers():
    a = matrix(64, 10)
    assert nqz.encode(a, rate=3, seed=np.int64(3), axis=np.uint8(1), states=np.int32(16)) == nqz.encode(
        a, rate=3, seed=3, axis=True, states=16
    )


@pytest.mark.filterwarnings("error")
def test_a_product_with_constant_columns_only():
    a = matrix(64, 10)
    assert np.allclose(nqz.matmul(nqz.encode(a, rate=8), np.ones((64, 2))), a.sum(0)[:, None], atol=0.1)


def test_damage_is_found_when_it_is_read():
    data = bytearray(nqz.encode(matrix(200, 30), rate=3))
    data[len(data) // 2] ^= 1
    with nqz.open(bytes(data)) as container, pytest.raises(nqz.CorruptError):
        container.matrix.decode()


def test_reading_is_lazy():
    a = matrix(64, 10)
    container = nqz.open(nqz.encode(a, rate=3))
    assert container.matrix.shape == (64, 10)
    done = subprocess.run(
        [sys.executable, "-c", "import nqz, sys; print(nqz.__version__); sys.exit('numpy' in sys.modules)"],
        env=environment(),
    )
    assert done.returncode == 0
    assert set(nqz.__all__) <= set(dir(nqz))
    for name in nqz.__all__:
        assert getattr(nqz, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = nqz.nothing
