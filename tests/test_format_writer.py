"""The writer: rollback, sizes known in advance, and refusal of calls out of order."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.format.msgpack import pack
from nqz.format.reader import ContainerReader
from nqz.format.records import PREAMBLE_SIZE, framed, record_size, seal
from nqz.format.tensors import MATRIX, TensorInfo
from nqz.format.writer import ContainerWriter, Draft
from nqz.ground.errors import NqzError
from test_format_records import (
    CHUNKS,
    PARAMETERS,
    TENSORS,
    Memory,
    build,
    check,
    manifest,
    write_matrix,
)

W = TENSORS[0]


def start(tensors=(W,), memory=None):
    return ContainerWriter(memory or Memory(), manifest(tensors))


def finished(tensors, steps):
    memory = Memory()
    writer = start(tensors, memory)
    steps(writer)
    assert writer.finish() == memory.size
    return bytes(memory.data)


def two_matrices(first, second):
    tensors = (W, TensorInfo(MATRIX, "v", (4,), "float64"))

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
        writer.parameters = [1] * 1000
        writer.write("NORM", b"")
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
        writer.write("NORM", b"")
        writer.rollback(before)
        assert writer.size == PREAMBLE_SIZE and writer.parameters is None
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
    """The index counts chunks where other records come; that is no more than a few bytes."""
    writer = start()
    writer.begin(0)
    projected = writer.projected_size([3, 5, 7], len(pack(PARAMETERS)) - 1)
    writer.parameters = PARAMETERS
    assert writer.projected_size([3, 5, 7]) == projected
    for record_type, length in (("NORM", 3), ("MEAN", 5), ("CHNK", 7)):
        writer.write(record_type, bytes(length))
    assert projected <= writer.projected_size() == writer.finish() <= projected + 16


@pytest.mark.parametrize("extra", range(9))
def test_projected_size_with_more_in_the_manifest(extra):
    writer = start()
    writer.begin(0)
    writer.write("NORM", b"")
    writer.parameters = [b"x" * 10]
    projected = writer.projected_size(extra=extra)
    writer.parameters = [b"x" * (10 + extra)]
    assert writer.projected_size() == projected == writer.finish()


def test_tensor_bytes_count_the_framing_and_the_parameters():
    for draft in (False, True):
        writer = Draft() if draft else start((W, TENSORS[1]))
        if not draft:
            writer.begin(0)
        assert writer.tensor_bytes() == 0 and writer.parameters is None
        writer.write("NORM", b"12345")
        assert writer.tensor_bytes() == record_size(5) == 16 + 8
        writer.write("CHNK", b"123", bytearray(4), memoryview(b"56"))
        assert writer.tensor_bytes() == framed(5, 9) == 24 + 32
        writer.parameters = PARAMETERS
        assert writer.tensor_bytes() == 56 + len(pack(PARAMETERS)) and writer.parameters == PARAMETERS
    writer = start((W, TENSORS[1]))
    writer.begin(0)
    write_matrix(writer)
    writer.begin(1)
    assert writer.tensor_bytes() == 0 and writer.parameters is None


def test_a_draft_is_appended_as_it_was_written():
    draft = Draft()
    write_matrix(draft, [b"other"])
    mark = draft.mark()
    draft.write("CHNK", b"more")
    draft.rollback(mark)
    draft.rollback(0)
    write_matrix(draft)

    def appended(writer):
        for record in draft.records:
            writer.add(record)
        writer.parameters = draft.parameters

    tensors, steps = two_matrices(appended, write_matrix)
    assert finished(tensors, steps) == finished(*two_matrices(write_matrix, write_matrix))


def test_a_sealed_record_is_written_anywhere_alike():
    expected = build(lambda writer, place: writer.write("nOTE", b"ab", b"c") if place < 4 else None)
    record = seal("nOTE", b"abc")
    assert build(lambda writer, place: writer.add(record) if place < 4 else None) == expected
    assert record.length == 3 and len(record.data) == 24 and expected.count(record.data) == 4


def test_payloads_of_several_buffers():
    array = np.arange(30_000, dtype=np.uint32)
    memory = Memory()
    writer = start(memory=memory)
    writer.begin(0)
    writer.parameters = PARAMETERS
    writer.write("NORM")
    writer.write("CHNK", array)
    writer.write("CHNK", b"ab", b"", array[:3].reshape(1, 3), np.empty((0, 2)))
    writer.finish()
    reader = ContainerReader(memory, "f")
    reader.verify()
    assert reader.read(reader.records(0)[0]) == b""
    assert [reader.read(r) for r in reader.find(0, "CHNK")] == [array.tobytes(), b"ab" + array[:3].tobytes()]


def test_space_reserved_in_advance_is_cut_off():
    memory = Memory(bytes(100_000))
    writer = start(memory=memory)
    writer.begin(0)
    write_matrix(writer)
    assert writer.finish() == memory.size < 100_000
    check(memory.data)


def refuse(*calls, match="internal error"):
    for call in calls:
        with pytest.raises(NqzError, match=match):
            call()


def test_calls_out_of_order_are_refused():
    writer = start(TENSORS)
    refuse(lambda: writer.begin(1), lambda: writer.write("NORM", b""), writer.finish)
    writer.begin(0)
    for record_type in ("TEN", "TENSO", "TEN1", "TÉNS", ""):
        refuse(lambda kind=record_type: writer.write(kind, b""))
    refuse(lambda: writer.begin(1), lambda: writer.begin(0), writer.finish)
    write_matrix(writer)
    writer.parameters = None
    refuse(lambda: writer.begin(1), match="a matrix needs parameters, and nothing else has them")
    writer.parameters = PARAMETERS
    writer.begin(1)
    writer.parameters = PARAMETERS
    refuse(lambda: writer.begin(2), match="a matrix needs parameters, and nothing else has them")
    writer.parameters = None
    writer.begin(2)
    refuse(lambda: writer.begin(3), match="0 records EXCT, its size calls for 1")
    writer.write("EXCT", b"")
    writer.begin(3)
    refuse(writer.finish, match="0 records EXCT, its size calls for 1")
    writer.write("EXCT", b"")
    writer.finish()
    refuse(writer.finish, lambda: writer.write("nOTE", b""), lambda: writer.rollback(writer.mark()))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("kinds", ["CHNK NORM", "NORM EXCT EXCT", "NOTE", "MANI", "DONE", "NORM INDX"])
def test_records_that_a_reader_would_refuse_are_not_written(number, kinds):
    """In a matrix, in an exact tensor of no bytes and in one of some, whatever comes then."""
    tensors = (W, *TENSORS[1:3])
    for then in (lambda writer: writer.begin(number + 1), ContainerWriter.finish):
        writer = start(tensors[: number + 1] if then is ContainerWriter.finish else (*tensors, TENSORS[3]))
        for tensor in range(number + 1):
            writer.begin(tensor)
            if tensor == 0:
                writer.parameters = PARAMETERS
            right = ["NORM"] if tensor == 0 else []
            for kind in kinds.split() if tensor == number else right:
                writer.write(kind, b"")
        refuse(lambda then=then, writer=writer: then(writer), match=f"internal error: tensor {number}: ")


def test_files_begin_with_what_belongs_to_no_tensor():
    writer = start()
    for kind in ("NORM", "EXCT", "MANI", "NOTE", "noT"):
        refuse(lambda kind=kind: writer.write(kind, b""))
    writer.write("nOTE", b"hello")
    writer.begin(0)
    write_matrix(writer)
    writer.finish()


def test_an_index_of_many_types_is_bounded():
    memory = Memory()
    writer = start((), memory)
    for number in range(256):
        writer.write("z" + chr(65 + number // 26) * 2 + chr(97 + number % 26), b"")
    writer.finish()
    check(memory.data)


def test_a_container_without_tensors():
    memory = Memory()
    ContainerWriter(memory, manifest(())).finish()
    assert check(memory.data).manifest.tensors == ()
