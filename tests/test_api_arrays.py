"""Compressed matrices and exact tensors behave as arrays of NumPy, and read only what is asked for."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nqz
from cli_tools import FIXTURES, matrix
from nqz.format.reader import ContainerReader


def compressed(array, **options):
    return nqz.open(coded(array, **options)).matrix


def coded(array, **options):
    return nqz.encode(array, **{"rate": 5, **options})


CODED = {
    "columns": coded(matrix(12, 9)),
    "rows": coded(matrix(9, 12), axis=1),
    "vector": coded(matrix(40)),
    "cube": coded(matrix(3, 5, 6)),
    "cube of rows": coded(matrix(6, 5, 3), axis=1),
    "halves": coded(
        matrix(64, 9, dtype="float16") * np.array([3, 0, 0.1, 2, 0, 0.1, 1, 0, 4], np.float16)
    ),  # some are dropped
    "doubles": coded(matrix(12, 9, dtype="float64") * 10.0 ** np.arange(-200, 250, 50)),
    "bfloat16": coded(matrix(12, 9).astype(ml_dtypes.bfloat16)),
    "float8": coded(matrix(12, 9).astype(ml_dtypes.float8_e4m3fn)),
}
SLICED = coded({"experts": matrix(4, 24, 16)}, axis=1, rules={"experts": "split"})
NAMES = [*CODED, *(f"{name}.T" for name in CODED)]


def opened(name):
    found = nqz.open(CODED[name.removesuffix(".T")]).matrix
    return found.T if name.endswith(".T") else found


def same(found, expected):
    """Whether two results are the same bits in the same form."""
    assert type(found) is type(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_attributes_are_those_of_the_decoded_array(name):
    m = opened(name)
    decoded = m.decode()
    for what in ("shape", "ndim", "size", "nbytes", "dtype"):
        assert getattr(m, what) == getattr(decoded, what), what
    assert len(m) == len(decoded)
    assert m.T.shape == decoded.T.shape and m.T.T.shape == m.shape
    same(m.T.decode(), decoded.T)
    same(np.asarray(m), decoded)
    assert isinstance(m.dtype, np.dtype)
    for found, expected in itertools.zip_longest(m, decoded):
        same(found, expected)


INDEXINGS = [
    np.s_[:, 3], np.s_[5:9], np.s_[2, 7], np.s_[-1], np.s_[:, -1], np.s_[...], np.s_[..., 2], np.s_[3, ...],
    np.s_[()], np.s_[::-1], np.s_[:, ::-2], np.s_[8:2:-3, 1:7:2], np.s_[20:], np.s_[3:3, 1], np.s_[None, :, 3],
    np.s_[:, None, 2:4], np.s_[[2, 0, 2]], np.s_[:, [5, 1, 1, 8]], np.s_[[1, 2, 3], [4, 5, 6]],
    np.s_[[[1], [2]], [4, 5]], np.s_[:, []], np.s_[[]],
    np.s_[np.arange(12) % 2 == 0], np.s_[:, np.arange(9) > 5], np.s_[np.arange(108).reshape(12, 9) % 7 == 0],
    np.s_[np.array(3)], np.s_[np.array(3), [1, 2]], np.s_[np.int8(-2), np.uint64(3)], np.s_[True], np.s_[False, 2],
    np.s_[:, (1, 2)], np.s_[[True] * 6 + [False] * 6, 0], np.s_[..., None], np.s_[[1, 2], ..., [2, 3]],
    np.s_[..., 1, 2],
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXINGS)
@pytest.mark.parametrize("name", ["columns", "rows.T", "doubles"])
def test_an_index_gives_what_it_gives_of_the_decoded_array(name, index):
    m = opened(name)
    same(m[index], m.decode()[index])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_index_gives_what_it_gives_of_the_decoded_array(data):
    m = opened(data.draw(st.sampled_from(NAMES)))
    basic = hnp.basic_indices(m.shape, allow_newaxis=True)
    fancy = hnp.integer_array_indices(m.shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
    index = data.draw(basic | fancy)
    same(m[index], m.decode()[index])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_index_of_a_tensor_in_slices_gives_what_it_gives_of_the_decoded_array(data):
    with nqz.open(SLICED) as container:
        tensor = container["experts"]
        basic = hnp.basic_indices(tensor.shape, allow_newaxis=True)
        fancy = hnp.integer_array_indices(tensor.shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
        index = data.draw(basic | fancy)
        same(tensor[index], tensor.decode()[index])


def test_a_tensor_in_slices_reads_those_asked_for_only(chunks_read):
    with nqz.open(SLICED) as container:
        tensor = container["experts"]
        assert isinstance(tensor, nqz.SlicedTensor) and tensor.shape == (4, 24, 16)
        whole = tensor.decode()
        for what in ("shape", "ndim", "size", "nbytes", "dtype"):
            assert getattr(tensor, what) == getattr(whole, what), what
        same(np.asarray(tensor), whole)
        same(tensor.stored(), whole)
        for index, count in ((np.s_[2], 1), (np.s_[1:3, :, 4], 2), (np.s_[0, 3, 5], 1), (np.s_[:, 5:5], 0)):
            chunks_read.clear()
            same(tensor[index], whole[index])
            assert len(chunks_read) == count


@pytest.mark.parametrize(
    "index", [(0, 0, 0), 12, -13, (0, 9), "name", 1.5, (..., ...), np.zeros(5, bool), [0.5], [12], None]
)
def test_what_numpy_refuses_is_refused_alike(index):
    m = opened("columns")
    decoded, error = m.decode(), None
    try:
        decoded[index]
    except IndexError as caught:
        error = str(caught)
    if error is None:
        same(m[index], decoded[index])
        return
    with pytest.raises(IndexError) as info:
        m[index]
    assert str(info.value) == error


@pytest.fixture
def chunks_read(monkeypatch):
    """The records of chunks that were read, by their offsets."""
    found: list[int] = []
    real = ContainerReader.view

    def view(self, record, expected_type=None):
        if record.type == "CHNK":
            found.append(record.offset)
        return real(self, record, expected_type)

    monkeypatch.setattr(ContainerReader, "view", view)
    return found


@pytest.mark.parametrize("axis", [0, 1])
def test_only_the_chunks_of_the_vectors_asked_for_are_read(monkeypatch, chunks_read, axis):
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 64 * 20)
    monkeypatch.setattr("nqz.stages.chunks.CHUNK_ENTRIES", 64 * 4)
    a = matrix(64, 100)
    m = compressed(a if axis == 0 else np.ascontiguousarray(a.T), axis=axis, allocate="column")
    m = m if axis == 0 else m.T
    whole = m.decode()
    every = len(set(chunks_read))
    assert every == 25

    def read(take):
        chunks_read.clear()
        found = take()
        assert len(chunks_read) == len(set(chunks_read))
        return found, len(chunks_read)

    for take, expected, most in (
        (lambda: m[:, 3], whole[:, 3], 1),
        (lambda: m[2, 7], whole[2, 7], 1),
        (lambda: m[:, [3, 99]], whole[:, [3, 99]], 2),
        (lambda: m[:, 40:60], whole[:, 40:60], 5),
        (lambda: m[:, np.arange(100) < 2], whole[:, :2], 2),
        (lambda: m[:, 5:5], whole[:, 5:5], 0),
        (lambda: m[3:3], whole[3:3], 0),
        (lambda: m[5:9], whole[5:9], every),
        (lambda: m.decode(columns=slice(20, 40)), whole[:, 20:40], 5),
        (lambda: m.decode(columns=[3, 4], rows=[1, 0]), whole[[1, 0]][:, [3, 4]], 2),
        (lambda: m.decode(rows=7), whole[7], every),
        (lambda: (len(m), m.shape, m.T, m.nbytes), None, 0),
    ):
        found, count = read(take)
        assert count <= most, count
        if expected is not None:
            same(found, expected)
    assert read(lambda: m[:, ::10])[1] >= 10


@pytest.mark.parametrize("name", ["columns", "rows", "cube", "cube of rows.T", "rows.T", "vector"])
@pytest.mark.parametrize("estimator", ["mmse", "unbiased"])
@pytest.mark.parametrize("dtype", [None, "float16", "float64", ">f4", ml_dtypes.bfloat16])
def test_parts_are_parts_of_the_whole_in_every_type(name, estimator, dtype):
    m = opened(name)
    whole = m.decode(dtype, estimator)
    same(m.decode(dtype, estimator, rows=slice(1, 3)), whole[1:3])
    same(m.decode(dtype, estimator, rows=[True, False] * (len(m) // 2) + [True] * (len(m) % 2)), whole[::2])
    if m.ndim > 1:
        same(m.decode(dtype, estimator, columns=[2, 0]), whole[..., [2, 0]])
        same(m.decode(dtype, estimator, columns=-1, rows=0), whole[0, ..., -1])
    out = np.empty_like(whole)
    assert m.decode(estimator=estimator, out=out) is out
    same(out, whole)
    for order in ("C", "F"):
        out = np.zeros(tuple(2 * extent for extent in m.shape), whole.dtype, order)[
            (slice(None, None, 2),) * m.ndim
        ]
        assert m.decode(dtype or m.dtype, estimator, out=out) is out
        same(np.array(out), np.array(whole))
    out = np.empty_like(whole[1:3])
    assert m.decode(estimator=estimator, rows=slice(1, 3), out=out) is out
    same(out, whole[1:3])


def test_magnitudes_at_both_ends_do_not_change_what_is_beside_them():
    a = np.clip(matrix(16, 3, dtype="float64"), -1, 1) * np.array([1.7e308, 5e-322, 1.0])
    for rate in (3, 8):
        m = compressed(a, rate=rate, allocate="column")
        for j in range(3):
            same(m[:, j], m.decode()[:, j])


@pytest.mark.parametrize(
    "bad",
    [
        {"columns": 9}, {"rows": [0, 12]}, {"columns": "x"}, {"rows": 1.5}, {"rows": [[1]]}, {"columns": [0.5]},
        {"columns": [True]}, {"out": [1]}, {"out": np.zeros((12, 9))[:, :8]}, {"out": np.zeros((12, 9), int)},
        {"dtype": "float64", "out": np.zeros((12, 9), "f4")}, {"columns": slice("a", "b")}, {"rows": slice(0, 9, 0)},
        {"out": np.broadcast_to(np.float32(0), (12, 9))}, {"columns": [0], "out": np.zeros((12, 9), "f4")},
    ],
)  # fmt: skip
def test_parts_that_make_no_sense_are_usage_errors(bad):
    with pytest.raises(nqz.UsageError):
        opened("columns").decode(**bad)


def test_columns_of_a_vector_are_refused():
    with pytest.raises(nqz.UsageError, match="choose rows"):
        opened("vector").decode(columns=[0])


def test_the_array_protocol():
    m = opened("columns")
    assert np.asarray(m, dtype="float64").dtype == np.float64
    same(np.asarray(m, "float64"), m.decode("float64"))
    same(np.asarray(m, "int32"), m.decode().astype("int32"))
    same(m.__array__(None), m.decode())
    assert np.mean(m) == np.mean(m.decode())
    with pytest.raises(ValueError, match="is decoded into a new one"):
        m.__array__(copy=False)
    same(np.from_dlpack(m), m.decode())
    for call in (lambda: m + 1, lambda: np.ones((12, 9)) - m, lambda: np.sqrt(m)):
        with pytest.raises(TypeError):
            call()


def test_repr_says_what_it_costs_and_what_error_to_expect():
    m = compressed(matrix(200, 64), rate=3)
    assert repr(m) == (
        f"<CompressedMatrix '' (200, 64) float32, {m.rate:.3g} bits an entry, "
        f"predicted product error {m.predicted_error:.3g}>"
    )
    container = nqz.open(nqz.encode(matrix(20, 6), rate=3))
    found = container.matrix
    assert repr(container) == "<Container '<bytes>', 1 tensor>" and container.nbytes > 100
    container.close()
    assert repr(found) == "<CompressedMatrix '' (20, 6) float32>"


def test_the_operator_is_matmul():
    a, b = matrix(60, 9), matrix(60, 7, seed=1)
    down, across = compressed(a), compressed(np.ascontiguousarray(a.T), axis=1)
    right = compressed(b)
    x = matrix(60, seed=2)
    same(down.T @ b, nqz.matmul(down, b))
    same(down.T @ x, nqz.matmul(down, x))
    same(b.T @ down, nqz.matmul(b, down))
    same(x @ down, nqz.matmul(x, down))
    same(down.T @ right, nqz.matmul(down, right))
    same(across @ b, nqz.matmul(across, b))
    same(across @ right, nqz.matmul(across, right))
    same(b.T @ across.T, nqz.matmul(b, across))
    stack = matrix(4, 3, 60, seed=3)
    found = stack @ across.T  # a linear layer whose weights are stored [out, in]
    assert found.shape == (4, 3, 9)
    assert np.abs(found - stack @ a).max() < 3
    same(found, nqz.matmul(stack.reshape(12, 60).T, across).reshape(4, 3, 9))
    one = compressed(x)
    assert np.ndim(one @ x) == 0 and abs(one @ x - x @ x) < 3
    same((down.T @ b.tolist()).astype("f4"), nqz.matmul(down, b.astype("f8")).astype("f4"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m @ np.ones((9, 2), "f4"), r"sum over axis 1, and the vectors lie along axis 0; .*axis=1"),
        (
            lambda m: np.ones((2, 9), "f4") @ m.T,
            r"sum over axis 0, and the vectors lie along axis 1; .*axis=1",
        ),
        (lambda m: m.T @ np.ones((2, 12, 3), "f4"), "at most 2"),
        (lambda m: m.T @ np.ones((11, 3), "f4"), "vectors of 12 and 11"),
        (lambda m: opened("cube") @ np.ones((6, 2), "f4"), "3 dimensions; nqz.matmul takes it"),
    ],
)
def test_an_operator_that_would_sum_over_the_other_axis_says_what_to_do(call, message):
    with pytest.raises(nqz.OperandError, match=message):
        call(opened("columns"))


def test_exact_tensors_are_arrays_too(tmp_path):
    from safetensors.numpy import load_file

    from nqz.cli import run

    path = tmp_path / "m.nqz"
    assert run(["encode", str(FIXTURES / "model.safetensors"), "-r", "4", "-o", str(path), "-q"]) == 0
    truth = load_file(FIXTURES / "model.safetensors")
    with nqz.open(path) as container:
        for name, tensor in container.items():
            decoded = tensor.decode()
            for what in ("shape", "ndim", "size", "nbytes", "dtype"):
                assert getattr(tensor, what) == getattr(decoded, what), what
            same(np.asarray(tensor), decoded)
            same(tensor.T.decode(), decoded.T)
            if decoded.ndim:
                assert len(tensor) == len(decoded)
                same(tensor[1:3], decoded[1:3])
                same(tensor[-1], decoded[-1])
            if isinstance(tensor, nqz.ExactTensor):
                same(decoded, truth[name])
        weight = container["layer.weight"]
        vector = matrix(weight.shape[weight.axis])
        same(vector @ weight, nqz.matmul(vector, weight))
        with nqz.open(nqz.encode({"v": vector, "w": matrix(len(vector), 5)}, rate=6)) as other:
            same(other["v"] @ other["w"], nqz.matmul(vector, other["w"]))
        scalar = container["scale"]
        assert scalar.shape == () and scalar[()] == truth["scale"]
        for call in (lambda: len(scalar), lambda: iter(scalar)):
            with pytest.raises(TypeError):
                call()
        assert repr(container["mask"]).startswith("<ExactTensor 'mask' (")
        assert np.asarray(container["mask"], "f4").dtype == np.float32


def test_a_step_may_be_beyond_all_integers_of_numpy():
    m = compressed(np.random.default_rng(0).standard_normal((20, 12)), rate=4)
    for step in (2**63, 10**30, -(10**30)):
        same(m[:, ::step], np.asarray(m)[:, ::step])
        same(m.T[::step], np.asarray(m).T[::step])
    assert m.decode(columns=slice(0, 9, 10**30)).shape == (20, 1)
