"""Files and products made by the workers of an executor: byte for byte what this process makes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import nqz
from cli_tools import MANY
from nqz.ground.errors import InputError, OperandError, UsageError

SHORT = "ignore:.*vectors of only"


@pytest.fixture(scope="module")
def executor():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as found:
        yield found


class Files(NamedTuple):
    """Of the matrix, as it was and coded; and of the other."""

    plain: Path
    coded: Path
    other: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A matrix of two panels, some of its columns not worth their bits; and one of one panel."""
    folder = tmp_path_factory.mktemp("elsewhere")
    found = Files(folder / "x.npy", folder / "x.nqz", folder / "b.nqz")
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2100, 8200), np.float32) * rng.lognormal(0, 1, 8200).astype(np.float32) + 1
    np.save(found.plain, x.astype(np.float16))
    nqz.encode(found.plain, found.coded, rate=1.3, lattice="z")
    nqz.encode(rng.standard_normal((2100, 17), np.float32), found.other, rate=2, lattice="z")
    return found


def test_panels_coded_by_workers_are_the_file_that_one_process_makes(files, executor):
    """Rows that all workers add up, columns that they read out of them; the norms of all stay here."""
    made = nqz.encode(files.plain, rate=1.3, lattice="z", executor=executor)
    assert made == files.coded.read_bytes()


def test_workers_verify_panels_and_tell_of_damage(files, executor, tmp_path):
    assert nqz.verify(files.coded, executor=executor)["ok"]
    data = bytearray(files.coded.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "x.nqz"
    damaged.write_bytes(data)
    found = [nqz.verify(damaged, check=False, executor=one)["tensors"] for one in (executor, None)]
    assert found[0] == found[1] and found[0][0]["damaged"]


def test_workers_compare_panels_with_the_original_and_rebuild_them(files, executor, tmp_path):
    here, there = (nqz.verify(files.coded, files.plain, executor=one) for one in (None, executor))
    assert here == there and here["tensors"][0]["same_bytes"]
    for one, name in ((None, "here.npy"), (executor, "there.npy")):
        nqz.decode(files.coded, tmp_path / name, executor=one)
    assert (tmp_path / "here.npy").read_bytes() == (tmp_path / "there.npy").read_bytes()
    with pytest.raises(UsageError, match="give one as to="):
        nqz.decode(files.coded, executor=executor)


@pytest.mark.skipif(not MANY, reason="takes long")
@pytest.mark.filterwarnings(SHORT)
@pytest.mark.parametrize("order", ["C", "F"])
def test_very_many_vectors_are_measured_again_by_workers(tmp_path, executor, order):
    """Of each, nothing is held; where some are dropped, workers count those that are not."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 1_100_003), np.float32) * (rng.random(1_100_003) ** 4).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    options = {"rate": 2, "center": True, "lattice": "z"}
    assert nqz.encode(tmp_path / "x.npy", executor=executor, **options) == nqz.encode(
        tmp_path / "x.npy", **options
    )


@pytest.fixture
def little(monkeypatch):
    """Little is kept to find θ: products are not that small, and come in rectangles."""
    monkeypatch.setattr("nqz.product.product._WHOLE", 1 << 16)


def test_products_by_workers_are_those_of_one_process_and_so_are_error_bars(files, executor, little):
    ours = nqz.matmul(files.other, files.coded, sigma=True, executor=executor)
    here = nqz.matmul(files.other, files.coded, sigma=True)
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(ours, here, strict=True))


@pytest.mark.parametrize("columns", [3, 17])
def test_few_vectors_are_multiplied_by_workers_as_by_one_process(files, executor, columns):
    """With as few as are multiplied with chunks as these are decoded, and with a few more; one side is not coded."""
    b = np.random.default_rng(3).standard_normal((2100, columns)).astype(np.float32)
    np.save(files.plain.with_name("few.npy"), b)
    ours = nqz.matmul(files.coded, files.plain.with_name("few.npy"), executor=executor)
    assert np.array_equal(ours, nqz.matmul(files.coded, b))


def test_an_entry_that_overflows_on_a_worker_is_named(files, executor, little):
    loud = files.plain.with_name("loud.npy")
    np.save(loud, np.full((2100, 17), 3e38, np.float32))
    with pytest.raises(OperandError, match=r"entry \[\d+, \d+\] overflows float32; use dtype='float64'"):
        nqz.matmul(files.coded, loud, executor=executor)


def test_what_workers_cannot_open_is_refused(files, executor):
    with pytest.raises(UsageError, match="the workers of an executor read it by its path"):
        nqz.encode(np.ones((3, 4)), rate=2, executor=executor)
    with pytest.raises(UsageError, match="the workers of an executor read it by its path"):
        nqz.matmul(files.coded, np.ones((2100, 3)), executor=executor)


def test_a_worker_that_finds_another_file_says_so(files, executor):
    with nqz.open(files.coded) as container:
        found = files.coded.stat().st_mtime_ns
        os.utime(files.coded, ns=(found, found + 1))
        try:
            with pytest.raises(
                InputError, match="not the file that it was; workers must see the same storage"
            ):
                nqz.matmul(container, files.other, executor=executor)
        finally:
            os.utime(files.coded, ns=(found, found))
