"""``--cluster`` without a cluster: what is refused, and that nothing imports Dask before it is asked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nqz.cli import run


@pytest.fixture
def array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32))
    assert run(["encode", "a.npy", "-r", "3", "-q"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["encode", "a.npy", "-r", "3", "-o", "b.nqz"],
        ["matmul", "a.nqz", "a.nqz", "-o", "c.npy"],
        ["verify", "a.nqz"],
        ["set", "create", "a.npy", "-r", "3"],
        ["search", "a.nqz", "a.npy"],
    ],
    ids=lambda words: words[0],
)
def test_a_cluster_takes_an_address_and_a_package(array, words, capsys, monkeypatch):
    assert run([*words, "--cluster", "there"]) == 2
    assert "a scheduler of Dask, such as tcp://HOST:8786, or local:N is needed" in capsys.readouterr().err
    assert run([*words, "--cluster", "local:0"]) == 2
    monkeypatch.setitem(sys.modules, "distributed", None)  # as where it is not installed
    assert run([*words, "--cluster", "local:2"]) == 2
    assert "pip install 'nqz[dask]'" in capsys.readouterr().err
    assert {path.name for path in array.iterdir()} == {"a.npy", "a.nqz"}


def test_a_plan_is_worked_out_without_a_cluster(array, capsys):
    assert run(["encode", "a.npy", "-r", "3", "--dry-run", "--cluster", "tcp://nowhere:1"]) == 2
    assert "needs no --cluster" in capsys.readouterr().err
