"""The writer: rollback, sizes known in advance, and refusal of calls out of order."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.format.head import TensorInfo
from nqz.format.msgpack import pack_fields
from nqz.format.reader import ContainerReader
from nqz.format.records import FRAMING
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import NqzError
from test_format_records import CHUNKS, TENSORS, Memory, check, manifest, write_matrix

MATRIX = TENSORS[0]


def start(tensors=(MATRIX,), memory=None):
    return ContainerWriter(memory or Memory(), manifest(tensors))


def finished(tensors, steps):
    memory = Memory()
    writer = start(tensors, memory)
    steps(writer)
    assert writer.finish() == memory.size
    return bytes(memory.data)


def two_matrices(first, second):
    tensors = (MATRIX, TensorInfo("v", "matrix", (4,), "float64"))

    def steps(writer):
        writer.begin(0)
        first(writer)
        writer.begin(1)
        second(writer)

    return tensors, steps


def test_rollback_leaves_no_trace():
    def plain(writer):
        write_matrix(writer)

    def repeated(writer):
        mark = writer.mark()
        write_matrix(writer, [bytes(100_000)] * 3, center=False)
        writer.write("nOTE", b"x")
        writer.rollback(mark)
        mark = writer.mark()
        writer.write("TENS", b"")
        writer.rollback(mark)
        write_matrix(writer, CHUNKS[:1])
        mark = writer.mark()
        writer.write("CHNK", bytes(5000))
        writer.rollback(mark)
        writer.write("CHNK", CHUNKS[1])

    expected = finished(*two_matrices(plain, plain))
    assert finished(*two_matrices(repeated, plain)) == expected
    # In the last tensor the file had been longer than it is in the end.
    assert finished(*two_matrices(plain, repeated)) == expected
    check(expected)


def test_rollback_across_tensors():
    def steps(writer):
        before = writer.mark()
        writer.write("nOTE", b"early")
        writer.begin(0)
        write_matrix(writer)
        writer.begin(1)
        writer.write("TENS", b"")
        writer.rollback(before)
        assert writer.tensor_bytes() == writer.size
        plain[1](writer)

    plain = two_matrices(write_matrix, write_matrix)
    assert finished(plain[0], steps) == finished(*plain)


def test_rollback_refuses_other_marks():
    writer = start()
    writer.begin(0)
    early = writer.mark()
    write_matrix(writer)
    late = writer.mark()
    writer.rollback(early)
    for mark in (late, None, 5):
        with pytest.raises(NqzError, match="no such mark"):
            writer.rollback(mark)


@pytest.mark.parametrize("lengths", [[], [0], [1, 127, 128, 255, 256], [65535, 65536], [3] * 40, [1] * 66000])
def test_projected_size_is_the_final_size(lengths):
    memory = Memory()
    writer = start(memory=memory)
    writer.begin(0)
    write_matrix(writer)
    projected = writer.projected_size(lengths)
    for length in lengths:
        writer.write("CHNK", bytes(length))
    assert writer.projected_size() == projected == writer.finish() == memory.size


def test_projected_size_before_anything_is_written():
    writer = start()
    writer.begin(0)
    projected = writer.projected_size([3, 5, 7])
    for record_type, length in (("TENS", 3), ("NORM", 5), ("CHNK", 7)):
        writer.write(record_type, bytes(length))
    assert writer.finish() == projected


def test_tensor_bytes_count_the_framing():
    writer = start((MATRIX, TENSORS[1]))
    writer.begin(0)
    assert writer.tensor_bytes() == 0
    writer.write("TENS", b"12345")
    assert writer.tensor_bytes() == 5 + FRAMING
    writer.write("NORM", b"123", bytearray(4), memoryview(b"56"))
    assert writer.tensor_bytes() == 5 + 9 + 2 * FRAMING
    writer.begin(1)
    assert writer.tensor_bytes() == 0


def test_payloads_of_several_buffers():
    array = np.arange(30_000, dtype=np.uint32)
    memory = Memory()
    writer = start(memory=memory)
    writer.begin(0)
    writer.write("TENS", pack_fields({"axis": 0, "delta": 1.0}))
    writer.write("NORM")
    writer.write("CHNK", array)
    writer.write("CHNK", b"ab", b"", array[:3].reshape(1, 3), np.empty((0, 2)))
    writer.finish()
    reader = ContainerReader(memory, "f")
    reader.verify()
    assert reader.read(reader.records(0)[1]) == b""
    assert [reader.read(r) for r in reader.find(0, "CHNK")] == [array.tobytes(), b"ab" + array[:3].tobytes()]


def test_space_reserved_in_advance_is_cut_off():
    memory = Memory(bytes(100_000))
    writer = start(memory=memory)
    writer.begin(0)
    write_matrix(writer)
    assert writer.finish() == memory.size < 100_000
    check(memory.data)


def test_calls_out_of_order_are_refused():
    writer = start(TENSORS)
    calls = [
        lambda: writer.begin(1),
        lambda: writer.write("TENS", b""),
        writer.finish,
    ]
    for call in calls:
        with pytest.raises(NqzError, match="internal error"):
            call()
    writer.begin(0)
    for record_type in ("nOTE", "CHNK", "EXCT", "HEAD", "DONE", "NOTE", "TEN", "TENSO", "TEN1", "TÉNS"):
        with pytest.raises(NqzError, match="internal error"):
            writer.write(record_type, b"")
    for call in (lambda: writer.begin(1), lambda: writer.begin(0), writer.finish):
        with pytest.raises(NqzError, match="internal error"):
            call()
    write_matrix(writer)
    writer.begin(1)
    for record_type in ("EXCT", "CHNK", "nOTE"):
        with pytest.raises(NqzError, match="internal error"):
            writer.write(record_type, b"")
    writer.begin(2)
    with pytest.raises(NqzError, match="no records"):
        writer.begin(3)
    writer.write("EXCT", b"")
    with pytest.raises(NqzError, match="internal error"):
        writer.write("EXCT", b"")
    writer.begin(3)
    with pytest.raises(NqzError, match="no records"):
        writer.finish()
    writer.write("EXCT", b"")
    writer.finish()
    for call in (writer.finish, lambda: writer.write("nOTE", b"")):
        with pytest.raises(NqzError, match="internal error"):
            call()


def test_a_container_without_tensors():
    memory = Memory()
    ContainerWriter(memory, manifest(())).finish()
    assert check(memory.data).manifest.tensors == ()
