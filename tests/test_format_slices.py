"""Slices in the manifest: what is read is what was written, and nothing else is a tensor in slices."""

from __future__ import annotations

import time

import msgpack
import pytest

from container_builder import manifest, tensor
from crafted_slices import EDITS
from golden import load, parts_of
from nqz.format.manifest import Manifest
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole, wholes
from nqz.format.tensors import EXACT, MATRIX, Slice, TensorInfo
from nqz.ground.errors import CorruptError, UnsupportedError
from test_format_records import Memory


def sliced(name, count, shape=(4, 3), **fields):
    return [
        TensorInfo(MATRIX, f"{name}[{i}]", shape, "float32", parameters=[], slice=Slice(i, count), **fields)
        for i in range(count)
    ]


def written(tensors):
    return Manifest("safetensors", None, tuple(tensors), "nqz test")


def test_what_was_written_is_read_again():
    tensors = [*sliced("w", 3), TensorInfo(EXACT, "b", (2,), "int16"), *sliced("v[1]", 1, (2, 3, 4))]
    found = Manifest.unpack(written(tensors).pack(), "f.nqz")
    assert found.tensors == tuple(tensors)
    assert wholes(found.tensors) == [
        Whole("w", (3, 4, 3), range(3), True),
        Whole("b", (2,), range(3, 4), False),
        Whole("v[1]", (1, 2, 3, 4), range(4, 5), True),
    ]
    assert [info.kind for info in found.tensors] == ["matrix"] * 3 + ["exact", "matrix"]
    assert [info.whole_name for info in found.tensors] == ["w"] * 3 + ["b", "v[1]"]


@pytest.mark.parametrize("what", EDITS)
def test_slices_outside_the_format_are_refused(what):
    parts = parts_of(load("slices"))
    EDITS[what](parts)
    with pytest.raises(CorruptError, match=r"f\.nqz: record MANI"):
        ContainerReader(Memory(parts.build()), "f.nqz")


def test_slices_that_are_not_a_tensor_cannot_be_written():
    for tensors in (
        sliced("w", 3)[:2],
        sliced("w", 3)[1:],
        [*sliced("w", 2), TensorInfo(EXACT, "w", (1,), "int16")],
    ):
        with pytest.raises(UnsupportedError, match="do not fit into a container"):
            written(tensors).check()


def test_many_slices_are_read_in_proportion():
    def seconds(tensors):
        data = msgpack.packb(manifest(tensors))
        start = time.process_time()
        Manifest.unpack(data, "f.nqz")
        return time.process_time() - start

    count, fields = 20_000, {"dtype": "float32", "byte_order": "<"}
    plain = [tensor(f"w[{i}]", (2, 2), codec="nqz-1", parameters=[], **fields) for i in range(count)]
    slices = [
        tensor(f"w[{i}]", (2, 2), codec="slice-1", parameters=[i, count, []], **fields) for i in range(count)
    ]
    assert min(seconds(slices) for _ in range(3)) < 3 * min(seconds(plain) for _ in range(3))
