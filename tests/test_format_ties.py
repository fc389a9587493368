"""Tensors that equal an earlier one in the manifest: what is read is what was written, and nothing else is a tie."""

from __future__ import annotations

import pytest

from crafted_ties import EDITS
from golden import load, parts_of
from nqz.format.exct import decode_exact
from nqz.format.manifest import Manifest
from nqz.format.reader import ContainerReader
from nqz.format.records import seal
from nqz.format.tensors import EXACT, MATRIX, Slice, TensorInfo
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError, UnsupportedError
from test_format_records import Memory


def written(*tensors):
    return Manifest("safetensors", None, tensors, "nqz test")


A = TensorInfo(MATRIX, "a", (4, 3), "float32", parameters=[])
B = TensorInfo(EXACT, "b", (2,), "int16")


def test_what_equals_another_is_read_with_its_codec_and_parameters():
    tensors = (A, B, A._replace(name="c", same_as=0), B._replace(name="d", same_as=1))
    data = written(*tensors).pack()
    found = Manifest.unpack(data, "f.nqz")
    assert found.tensors == tensors
    assert found.pack() == data
    assert [info.kind for info in found.tensors] == ["matrix", "exact", "matrix", "exact"]


@pytest.mark.parametrize("what", EDITS)
def test_ties_outside_the_format_are_refused(what):
    parts = parts_of(load("tied"))
    EDITS[what](parts)
    with pytest.raises(CorruptError, match=r"f\.nqz: record MANI"):
        ContainerReader(Memory(parts.build()), "f.nqz")


def test_ties_outside_the_format_cannot_be_written():
    part = A._replace(name="s[0]", slice=Slice(0, 1))
    for tensors in (
        (A, B, A._replace(name="c", same_as=1)),
        (A, A._replace(name="c", same_as=1)),
        (A, A._replace(name="c", same_as=0), A._replace(name="d", same_as=1)),
        (part, A._replace(same_as=0)),
    ):
        with pytest.raises(UnsupportedError, match=r"do not fit into a container: .*: equals tensor"):
            written(*tensors).check()


def test_what_equals_another_has_no_records_of_its_own():
    file = Memory()
    writer = ContainerWriter(file, written(B, B._replace(name="d", same_as=0)))
    writer.begin(0)
    from nqz.format.exct import exact_pieces

    (piece,) = exact_pieces([b"abcd"])
    writer.add(seal("EXCT", piece))
    writer.begin(1)
    writer.add(seal("nOTE", b"may stand anywhere"))
    mark = writer.mark()
    writer.add(seal("EXCT", piece))
    with pytest.raises(NqzError, match="a record EXCT of a tensor that has those of another"):
        writer.finish()
    writer.rollback(mark)
    writer.finish()
    reader = ContainerReader(file, "f.nqz")
    reader.verify()
    assert reader.span(1) == reader.span(0) and reader.sizes(1) == reader.sizes(0)
    assert b"".join(decode_exact(reader, 1)) == b"abcd"


@pytest.mark.parametrize(("kind", "error"), [("EXCT", CorruptError), ("NEWS", NewerFormatError)])
def test_records_of_its_own_are_refused_where_the_tensor_is_asked_for(kind, error):
    parts = parts_of(load("tied"))
    parts.tensors[4].append((kind, b"1"))
    reader = ContainerReader(Memory(parts.build()), "f.nqz")
    assert len(reader.span(2)) == len(reader.span(6)) == 1
    with pytest.raises(error, match=rf"tensor 'bias\.too': a record {kind}"):
        reader.span(4)
