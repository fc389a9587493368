"""Containers and tensors are pickled by their address; threads and children read them side by side."""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nqz
from cli_tools import matrix, process


@pytest.fixture
def path(tmp_path):
    """A file of a matrix and an exact tensor."""
    nqz.encode({"w": matrix(60, 20), "bias": matrix(20)}, tmp_path / "m.nqz", rate=4)
    return tmp_path / "m.nqz"


def travelled(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301


@pytest.mark.parametrize("copied", [travelled, copy.deepcopy])
@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_containers_and_tensors_travel(path, copied, kind):
    with nqz.open(path if kind == "path" else path.read_bytes()) as container:
        expected = {name: np.asarray(tensor) for name, tensor in container.items()}
        w = container["w"]
        again, tensor, transposed = copied(container), copied(w), copied(w.T)
        exact = copied(container["bias"])
    # each is open by itself
    with again:
        assert list(again) == list(expected)
        assert all(np.array_equal(again[name], value) for name, value in expected.items())
    assert np.array_equal(tensor, expected["w"]) and tensor.name == "w" and tensor.axis == 0
    assert np.array_equal(transposed, expected["w"].T)
    assert np.array_equal(exact, expected["bias"])


def test_a_pickle_of_a_path_is_small_and_opens_it_once(path, monkeypatch):
    with nqz.open(path) as container:
        whole = pickle.dumps([container, *container.values(), container["w"].T])
    assert len(whole) < 1000
    os.chdir(path.parent.parent)  # the address is absolute
    opened = []
    monkeypatch.setattr(
        "nqz.api.file.open_collection",
        lambda *given, real=sys.modules["nqz.api.file"].open_collection, **more: (
            opened.append(1),
            real(*given, **more),
        )[1],
    )
    found = pickle.loads(whole)  # noqa: S301
    assert len(opened) == 1
    found[0].close()
    with pytest.raises(nqz.InputError, match="is closed"):
        found[1].decode()


def test_another_file_at_the_address_is_told(path):
    with nqz.open(path) as container:
        pickled = pickle.dumps(container["w"])
    nqz.encode({"w": matrix(60, 20, seed=1), "bias": matrix(20)}, path, rate=4, force=True)
    with pytest.raises(nqz.InputError, match="is not the file that was pickled"):
        pickle.loads(pickled)  # noqa: S301
    path.unlink()
    with pytest.raises(nqz.InputError, match="cannot open"):
        pickle.loads(pickled)  # noqa: S301


def test_a_shallow_copy_shares_the_open_file(path):
    container = nqz.open(path)
    shared = copy.copy(container["w"])
    assert np.array_equal(shared, container["w"])
    container.close()
    with pytest.raises(nqz.InputError, match="is closed"):
        shared.decode()


def test_what_has_no_address_says_so(path):
    with open(path, "rb") as file:
        for source in (file, io.BytesIO(path.read_bytes())):
            with nqz.open(source) as container:
                for one in (container, container["w"], container["bias"]):
                    with pytest.raises(nqz.UnsupportedError, match="open it by its path"):
                        pickle.dumps(one)


def test_closed_containers_are_not_pickled(path):
    for source in (path, path.read_bytes()):
        container = nqz.open(source)
        tensor = container["w"]
        container.close()
        for one in (container, tensor):
            for call in (pickle.dumps, copy.deepcopy):
                with pytest.raises(nqz.InputError, match="is closed"):
                    call(one)


def test_everything_of_a_closed_container_says_so(path):
    for source in (path, path.read_bytes()):
        container = nqz.open(source)
        w, bias = container["w"], container["bias"]
        container.close()
        for call in (
            lambda: w[:, 3], lambda: w[2, 3], lambda: w[:, :0], lambda: np.asarray(w), lambda: w.decode(rows=3),
            lambda: list(w), lambda: w.T @ np.ones((60, 2), "f4"), lambda: np.ones(60, "f4") @ w, w.T.decode,
            lambda: w.T[3], lambda: w.rate, lambda: w.axis, lambda: w.predicted_error, lambda: bias[0],
            lambda: np.asarray(bias), bias.T.decode, lambda: nqz.decode(container), lambda: nqz.matmul(w, w),
            lambda: container["w"], lambda: list(container), container.__enter__, lambda: dict(container),
            lambda: bias @ bias,
        ):  # fmt: skip
            with pytest.raises(nqz.InputError, match="is closed, and can no longer be read"):
                call()
        assert (
            repr(w) == "<CompressedMatrix 'w' (60, 20) float32>"
            and repr(bias) == "<ExactTensor 'bias' (20,) float32>"
        )
        assert w.shape == (60, 20) and w.T.shape == (20, 60) and len(w) == 60 and w.nbytes == 4800


def test_tensors_in_slices_travel_and_close_like_others(tmp_path):
    nqz.encode({"e": matrix(3, 40, 20)}, tmp_path / "e.nqz", rate=4, rules={"e": "split"})
    container = nqz.open(tmp_path / "e.nqz")
    tensor = container["e"]
    assert isinstance(tensor, nqz.SlicedTensor)
    whole = tensor.decode()
    for again in (travelled(tensor), copy.deepcopy(tensor), travelled(container)["e"]):
        assert again.shape == (3, 40, 20) and np.array_equal(again[1], whole[1])
    container.close()
    for call in (
        tensor.decode,
        tensor.stored,
        lambda: tensor[0],
        lambda: np.asarray(tensor),
        lambda: list(tensor),
    ):
        with pytest.raises(nqz.InputError, match="is closed"):
            call()
    assert repr(tensor).startswith("<SlicedTensor 'e' (3, 40, 20) float32")


def column(tensor, index):
    return tensor[:, index]


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_tensors_go_to_other_processes(path, start):
    with nqz.open(path) as container:
        w = container["w"]
        expected = w.decode()
        with ProcessPoolExecutor(2, multiprocessing.get_context(start)) as pool:
            found = list(pool.map(column, [w] * 4, range(4)))
    assert all(np.array_equal(one, expected[:, i]) for i, one in enumerate(found))


def test_a_model_travels_and_reads_as_one_container(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    given = {"a": matrix(40, 8), "b": matrix(40, 6, seed=1), "c": matrix(5)}
    nqz.encode({"a": given["a"], "c": given["c"]}, folder / "one.nqz", rate=6)
    nqz.encode({"b": given["b"]}, folder / "two.nqz", rate=6)
    with nqz.open(folder) as container, travelled(container) as again:
        for found in (container, again):
            assert sorted(found) == ["a", "b", "c"] and found.nbytes > 600
            assert all(np.abs(np.asarray(found[name]) - value).max() < 0.5 for name, value in given.items())
        product = container["a"].T @ container["b"]
        assert np.array_equal(product, nqz.matmul(again["a"], again["b"]))
        tensor = travelled(container["b"])
    assert np.array_equal(tensor, nqz.decode(folder)["b"])
    with nqz.open([folder / "one.nqz", folder / "two.nqz"]) as container:
        assert sorted(container) == ["a", "b", "c"] and sorted(travelled(container)) == ["a", "b", "c"]
    assert {one["name"] for one in nqz.inspect(folder)["tensors"]} == set(given)
    assert nqz.verify(folder, given)["ok"]
    nqz.encode({"b": given["a"]}, folder / "two.nqz", rate=6, force=True)
    with pytest.raises(nqz.InputError, match="not the file that was pickled"):
        travelled(tensor)


def test_containers_that_are_not_closed_leave_no_descriptors(path):
    def descriptors():
        return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))

    for _ in range(3):
        nqz.open(path)["w"].decode()
    before = descriptors()
    for _ in range(50):
        nqz.open(path)["w"][:, 3]
    assert descriptors() <= before + 2


def test_many_threads_index_one_matrix(path):
    a = matrix(300, 500)
    nqz.encode(a, path, rate=3, force=True)
    with nqz.open(path) as container:
        m = container.matrix
        whole = m.decode()
        fresh = nqz.open(path).matrix
        begin = threading.Barrier(12)

        def work(number: int) -> bool:
            begin.wait(20)
            rng = np.random.default_rng(number)
            for _ in range(5):
                chosen = rng.integers(0, 500, 7)
                row = int(rng.integers(300))
                if not (
                    np.array_equal(fresh[:, chosen], whole[:, chosen])
                    and np.array_equal(fresh.T[chosen, row], whole[row, chosen])
                    and np.array_equal(m[row], whole[row])
                ):
                    return False
            return True

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            with ThreadPoolExecutor(12) as pool:
                assert all(pool.map(work, range(12)))
        finally:
            sys.setswitchinterval(interval)


def test_children_index_what_was_open_before_the_fork(path):
    program = """
import os, sys, threading, numpy as np, nqz, warnings
warnings.simplefilter("ignore")
with nqz.open(sys.argv[1]) as container:
    w = container["w"]
    expected = w.decode()
    for i in range(6):
        pid = os.fork()
        if not pid:
            try:
                good = (w[:, i] == expected[:, i]).all() and (np.asarray(container["w"].T) == expected.T).all()
                os._exit(0 if good else 5)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(4)
        assert (w[i] == expected[i]).all()
        assert os.waitpid(pid, 0)[1] == 0
"""
    done = process(path, program=program)
    assert done.returncode == 0, done.stderr.decode()


def test_a_path_relative_to_another_folder_is_the_same_file(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with nqz.open(Path(path.name)) as container:
        pickled = pickle.dumps(container["w"])
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).shape == (60, 20)  # noqa: S301
