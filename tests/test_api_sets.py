"""Part sets in Python: the one matrix that a set is reads as an array, and does whatever one of a single file does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import nqz
from nqz.ground.errors import CorruptError, InputError, UnsupportedError, UsageError
from test_commands_sets import Elsewhere

N, A = 200, 90
INDICES = (
    np.s_[:, 3], np.s_[5:9], np.s_[..., ::-2], np.s_[70:20:-3, 1::7], np.s_[[5, 190, 5], 2:80], np.s_[-1, -1],
    np.s_[[0, 64, 199], [89, 31, 0]], np.s_[:0], np.s_[np.arange(N) % 3 == 0], np.s_[None, 130],
)  # fmt: skip


@pytest.fixture(scope="module", params=[0, 1], ids=["columns", "rows"])
def path(request, tmp_path_factory):
    """A set in 3 x 2 parts, and what it is of."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, A)) * rng.lognormal(0, 1, (N, 1)) + 0.3
    np.save(folder / "x.npy", (x if request.param == 0 else x.T).astype(np.float32))
    nqz.encode_set(folder / "x.npy", folder / "x.nqzset", rate=4, parts=(3, 2), axis=request.param)
    return folder / "x.nqzset"


def test_it_reads_as_the_array_that_it_decodes_to(path):
    whole = nqz.decode(path)
    with nqz.open(path) as container:
        matrix = container.matrix
        assert list(container) == [""] and container.alone and len(container) == 1
        assert (matrix.shape, matrix.dtype, matrix.ndim) == (whole.shape, whole.dtype, 2)
        assert np.array_equal(np.asarray(matrix), whole) and np.array_equal(np.asarray(matrix.T), whole.T)
        out = np.empty_like(whole)
        assert matrix.decode(out=out) is out and np.array_equal(out, whole)
        assert np.array_equal(nqz.decode(container), whole)
        turned = whole if whole.shape == (N, A) else whole.T
        own = matrix if whole.shape == (N, A) else matrix.T
        for index in INDICES:
            assert np.array_equal(own[index], turned[index]), index
        assert np.array_equal(own.decode(columns=[80, 3], rows=slice(60, 70)), turned[60:70, [80, 3]])
        assert np.array_equal(
            matrix.decode("float64", "unbiased"), nqz.decode(path, dtype="float64", estimator="unbiased")
        )
        assert [row.tobytes() for row in matrix] == [row.tobytes() for row in whole]
        assert f"{matrix.rate:.3g} bits" in repr(matrix) and len(matrix) == len(whole)


def test_what_is_said_of_it_is_what_inspect_says(path):
    said = nqz.inspect(path)
    with nqz.open(path) as container:
        matrix = container[""]
        assert matrix.rate == said["whole"]["rate"] and matrix.axis == said["whole"]["axis"]
        assert matrix.predicted_error == said["whole"]["predicted"]["product"]
        assert matrix.predicted_reconstruction == said["whole"]["predicted"]["reconstruction"]
        assert matrix.partner == "equal" and matrix.T.axis == 1 - matrix.axis
        assert container.nbytes == said["file_bytes"]
        assert nqz.inspect(container) == said and nqz.verify(container)["ok"]


def test_products_and_operands_are_those_of_the_file(path):
    whole = nqz.decode(path).astype(np.float64)
    with nqz.open(path) as container:
        matrix = container.matrix
        own = matrix if matrix.axis == 0 else matrix.T  # vectors along axis 0
        values = whole if matrix.axis == 0 else whole.T
        x = np.random.default_rng(1).standard_normal((N, 5)).astype(np.float32)
        assert np.array_equal(own.T @ x, nqz.matmul(path, x)) and np.array_equal(
            x.T @ own, nqz.matmul(x, path)
        )
        assert np.array_equal(nqz.matmul(matrix, matrix), nqz.matmul(path, path))
        operand = own.operand()
        assert operand.shape == (N, A)
        assert own.operand_nbytes == pytest.approx(operand.nbytes, rel=0.05)
        y = np.random.default_rng(2).standard_normal((A, 3))
        assert np.allclose(operand @ y, values @ y, atol=1e-4)
        assert np.allclose(operand.T @ x, values.T @ x, atol=1e-4)
        assert np.vdot(operand @ y, x[:, :3]) == pytest.approx(np.vdot(y, operand.T @ x[:, :3]), rel=1e-6)
        again = pickle.loads(pickle.dumps(operand))  # noqa: S301
        assert np.array_equal(again @ y, operand @ y)


def test_it_can_be_pickled(path):
    whole = nqz.decode(path)
    with nqz.open(path) as container:
        matrix, again = container.matrix, pickle.loads(pickle.dumps(container.matrix.T))  # noqa: S301
        assert np.array_equal(again.decode(), whole.T)
    with pytest.raises(InputError, match="closed"):
        matrix.decode()


def test_searches_take_sets_however_they_are_cut(path):
    x = np.load(path.with_suffix(".npy"))
    values = x if x.shape == (N, A) else x.T
    queries = values[:, [7, 60, 89]] + 0.01
    for executor in (None, Elsewhere()):
        found = nqz.topk(path, queries, 2, metric="cosine", axis=0, executor=executor)
        assert found.indices[:, 0].tolist() == [7, 60, 89] and (found.certain >= 1).all()
    exact = (values.T.astype(np.float64) @ queries) / np.linalg.norm(values, axis=0)[:, None]
    exact /= np.linalg.norm(queries, axis=0)
    scores = np.take_along_axis(exact, found.indices.T, axis=0).T
    assert np.allclose(found.scores, scores, atol=0.02)
    reranked = nqz.topk(path, queries, 2, metric="cosine", axis=0, rerank=path.with_suffix(".npy"))
    assert reranked.indices[:, 0].tolist() == [7, 60, 89] and (reranked.sigma == 0).all()
    with nqz.open(path) as container:
        assert np.array_equal(
            nqz.topk(container.matrix, queries, 2, metric="cosine", axis=0).indices, found.indices
        )
        with pytest.raises(UnsupportedError, match="its vectors are cut into 3 parts each"):
            nqz.topk(container.matrix.operand(), queries, 2)


def test_sets_are_queries_and_operands_of_sets_cut_across_are_searched(path, tmp_path):
    x = np.load(path.with_suffix(".npy"))
    axis = 0 if x.shape == (N, A) else 1
    nqz.encode_set(path.with_suffix(".npy"), tmp_path / "j.nqzset", rate=4, parts=(1, 3), axis=axis)
    queries = np.ascontiguousarray(x[:, 3:5] if axis == 0 else x[3:5])
    with nqz.open(tmp_path / "j.nqzset") as container:
        held = nqz.topk(container.matrix.operand(), queries, 3, axis=axis)
    found = nqz.topk(tmp_path / "j.nqzset", queries, 3, axis=axis)
    assert np.array_equal(held.indices, found.indices) and np.array_equal(held.scores, found.scores)
    asked = nqz.topk(tmp_path / "j.nqzset", path, 1, metric="cosine")
    assert np.mean(asked.indices[:, 0] == np.arange(A)) > 0.9


def test_what_is_wrong_is_said(path, tmp_path):
    for name in path.parent.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    copy = tmp_path / path.name
    part = next(name for name in sorted(tmp_path.iterdir()) if name.suffix == ".nqz")
    with pytest.raises(UsageError, match="is a part set, of one matrix without a name"):
        nqz.decode(copy, tensors="w")
    with pytest.raises(UnsupportedError, match="is a part set, compressed already"):
        nqz.sweep(copy)
    other = sorted(tmp_path.glob("*.nqz"))[1]
    part.write_bytes(other.read_bytes())
    with (
        nqz.open(copy) as container,
        pytest.raises(CorruptError, match="is not the file that the manifest has"),
    ):
        container.matrix.decode()
