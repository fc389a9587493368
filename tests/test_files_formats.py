"""What the contract of a format of files promises, for every format of the registry."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest

from nqz.files.access import MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.formats import FORMATS, READERS
from nqz.files.sink import MatrixSink
from nqz.files.source import open_source
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError
from nqz.ground.sources import READ, SOURCES, START_BYTES

every_format = pytest.mark.parametrize("known", FORMATS.values(), ids=FORMATS)


def specs_of(known, **options):
    specs = [TensorSpec("", (3, 4), "float32", **options)]
    return (
        specs
        if known.kind.alone
        else [*specs, TensorSpec("x", (), "bool"), TensorSpec("y", (0, 2), "int64", **options)]
    )


def written(known, specs, metadata=None):
    access = MemoryAccess(bytearray())
    sink = MatrixSink(access, known.kind.name, specs, metadata)
    for index in reversed(range(len(specs))):
        sink.write_bytes(index, 0, bytes(range(specs[index].nbytes)))
    sink.finish()
    assert access.size == sink.total_bytes
    return bytes(access._data)


def test_every_kind_of_source_has_its_format():
    assert [known.kind for known in FORMATS.values()] == list(SOURCES.values()) and list(FORMATS) == list(
        SOURCES
    )
    assert sorted(known.name for known in READERS) == sorted(READ) and set(SOURCES) <= set(READ)
    assert all(known.kind.name in SOURCES for known in READERS)


@every_format
def test_what_is_written_is_told_apart_and_read_again(known):
    specs, metadata = specs_of(known), {"k": "v"} if known.kind.metadata else None
    content = written(known, specs, metadata)
    assert [other for other in READERS if other.sniff(content[:START_BYTES], len(content))] == [known]
    with open_source(io.BytesIO(content)) as source:
        assert source.kind is known.kind and source.metadata == metadata
        for tensor, spec in zip(source.tensors, specs, strict=True):
            assert (tensor.name, tensor.shape, tensor.dtype) == (spec.name, spec.shape, spec.dtype)
            assert b"".join(tensor.pieces(5)) == bytes(range(spec.nbytes))
    assert written(known, specs, metadata) == content


@every_format
def test_every_byte_of_a_layout_has_one_meaning(known):
    specs = specs_of(known)
    layout = known.lay_out(specs, None)
    ranges = [(offset, offset + len(data)) for offset, data in layout.parts]
    ranges += [(at, at + spec.nbytes) for at, spec in zip(layout.offsets, specs, strict=True)]
    ranges = sorted(r for r in ranges if r[0] < r[1])
    assert ranges[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(ranges))
    access = MemoryAccess(bytearray(layout.size))
    final = [(offset, offset + len(data)) for offset, data in layout.closing(access)]
    assert max(end for _, end in ranges + final) == layout.size


@every_format
def test_a_file_cut_short_is_corrupt_and_so_is_one_with_more(known):
    content = written(known, specs_of(known))
    for length in range(len(content)):
        with pytest.raises(CorruptError):
            open_source(io.BytesIO(content[:length]))
    with pytest.raises(CorruptError):
        open_source(io.BytesIO(content + b"x"))


@every_format
def test_facts_are_true_of_what_is_written(known):
    for options, fact in (({"fortran_order": True}, "any_layout"), ({"byte_order": ">"}, "any_layout")):
        specs = specs_of(known, **options)
        if getattr(known.kind, fact):
            with open_source(io.BytesIO(written(known, specs))) as source:
                assert source.tensors[0].fortran_order == specs[0].fortran_order
                assert source.tensors[0].byte_order == specs[0].byte_order
        else:
            with pytest.raises(UnsupportedError, match="tensor"):
                written(known, specs)
    halves = [TensorSpec("", (2,), "bfloat16")]
    if known.kind.holds("bfloat16"):
        written(known, halves)
    else:
        with pytest.raises(UnsupportedError, match=r"cannot hold bfloat16; write \.safetensors"):
            written(known, halves)
    if known.kind.alone:
        with pytest.raises(NqzError, match="one array"):
            written(known, [TensorSpec("a", (), "int8"), TensorSpec("b", (), "int8")])


def test_arrays_of_least_rank_are_matrices():
    for kind in SOURCES.values():
        for rank in range(4):
            assert kind.is_matrix((2,) * rank, "float32") == (rank >= kind.least_rank)
        assert not kind.is_matrix((2, 0), "float32") and not kind.is_matrix((2, 2), "int8")
        assert kind.least_rank >= 1
