"""What the tests of kernels compare with: the reference, remembered, is the reference."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import nqz.reference
from kernel_cases import assert_same, chunk
from nqz.kernels import CorruptStream
from remembered import Remembered


def counted():
    """A module of one function that writes, returns and raises, and how often it was called."""
    calls = []

    def work(x, out, scale=1):
        calls.append(scale)
        out[: len(x)] = scale * x
        if scale < 0:
            raise CorruptStream("scale below zero")
        return out.sum(), x + scale

    return SimpleNamespace(work=work, constant=7), calls


def test_a_call_is_worked_out_once_and_does_the_same_again():
    module, calls = counted()
    remembered = Remembered(module)
    x = np.arange(3.0)
    assert remembered.constant == 7
    for call in (
        lambda out: remembered.work(x, out, 2),
        lambda out: remembered.work(x, out, scale=2),
        lambda out: remembered.work(scale=2, out=out, x=x),
    ):
        out = np.full(4, 9.0)
        total, array = call(out)
        assert total == 15 and array.tolist() == [2, 3, 4] and out.tolist() == [0, 2, 4, 9]
        array[:] = 0  # what is done to a result stays with whom it was given to
    for _ in range(2):
        out = np.zeros(3)
        with pytest.raises(CorruptStream, match="below zero"):
            remembered.work(x, out, -1)
        assert out.tolist() == [0, -1, -2]
    assert calls == [2, -1]


def test_calls_that_differ_in_anything_are_worked_out():
    module, calls = counted()
    remembered = Remembered(module)
    x, out = np.arange(4.0), np.zeros(4)
    read_only = x.copy()
    read_only.setflags(write=False)
    several = [x, x[:3], x.astype(np.float32), x[::2], x[::-1], -x, x.reshape(4, 1)[:, 0], read_only]
    for array in several:
        remembered.work(array, out.copy(), 1)
        remembered.work(array, out.copy(), 1.0)
    remembered.work(x, out + 1, 1)
    # the column of a matrix is the same contiguous array
    assert len(calls) == 2 * (len(several) - 1) + 1


def test_old_results_make_room():
    module, calls = counted()
    remembered = Remembered(module, limit=3000)
    for scale in (1, 2, 3, 4, 3, 4, 1):
        remembered.work(np.zeros(2), np.zeros(2), scale)
    assert calls == [1, 2, 3, 4, 1]


@pytest.mark.parametrize("lattice", [2, 3, 38])
def test_values_are_told_apart_by_what_they_hold(lattice):
    remembered = Remembered(nqz.reference)
    case = chunk(np.random.default_rng(1), lattice, 200, 2, 30)
    other = case.changed(rice=case.tables["rice"] + np.int32(1))
    for _ in range(2):
        for each in (case, other):
            streams = each.encode(nqz.reference)
            assert_same(each.encode(remembered), streams)
            assert_same([each.decode(remembered, streams)], [each.points])
            with pytest.raises(CorruptStream):
                each.decode(remembered, [streams[0] + np.uint32(1), *streams[1:]])
