"""Files that no writer makes, with right checksums: a wrong order, index, end record, manifest or size."""

from __future__ import annotations

import hashlib
import random
import struct

import msgpack
import pytest

from nqz.format.exct import exact_pieces, zstd_pack
from nqz.format.head import PIECE, Manifest, TensorInfo
from nqz.format.reader import ContainerReader
from nqz.format.records import MAGIC, Record
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError
from test_format_records import (
    FILE,
    TENSORS,
    Memory,
    build,
    check,
    frame,
    join,
    lengths_of,
    manifest,
    refused,
    split,
    with_index,
    write_matrix,
)


def test_a_wrong_record_checksum_is_refused_even_if_the_digest_is_right():
    index = next(i for i, (kind, _) in enumerate(split(FILE)) if kind == b"CHNK")
    parts = [MAGIC + bytes(4)] + [frame(*record) for record in split(FILE)]
    parts[index + 1] = parts[index + 1][:-1] + bytes([parts[index + 1][-1] ^ 1])
    sums = b"".join(hashlib.sha256(part).digest() for part in parts)
    end = FILE[-60:-36] + hashlib.sha256(sums).digest()
    reader = ContainerReader(Memory(b"".join(parts) + frame(b"DONE", end)), "f.nqz")
    with pytest.raises(CorruptError, match="the checksum of the record CHNK at byte"):
        reader.verify()


def test_a_manifest_beyond_the_bound_is_not_even_read(monkeypatch):
    monkeypatch.setattr("nqz.format.reader.MAX_HEAD_BYTES", 100)
    refused(FILE, "record HEAD at byte 12: [0-9]+ bytes where at most 100 are allowed")


def test_unknown_critical_record_is_refused():
    records = split(FILE)
    for place, owner in ((1, 0), (2, 1), (6, 1), (7, 3)):
        lengths = lengths_of(records)
        before = sum(map(len, lengths[:owner])) + 1
        lengths[owner].insert(place - before, 5)
        data = join(with_index([*records[:place], (b"NOTE", b"hello"), *records[place:]], lengths))
        offset = 12 + sum(16 + len(payload) for _, payload in records[:place])
        refused(data, rf"record NOTE at byte {offset}: unknown critical record NOTE")
        reader = ContainerReader(Memory(data), "f.nqz")
        if owner:
            with pytest.raises(CorruptError, match="unknown critical record NOTE"):
                reader.records(owner - 1)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda r: r[:2] + r[3:], "MEAN after TENS"),
        (lambda r: [r[0], r[2], r[1], *r[3:]], "NORM outside"),
        (lambda r: [*r[:3], r[4], r[3], *r[5:]], "after CHNK"),
        (lambda r: [*r[:4], r[3], *r[4:]], "MEAN after MEAN"),
        (lambda r: [*r[:2], r[1], *r[2:]], "has no record NORM"),
        (lambda r: r[:1] + r[6:], "tensor 'w' begins"),
        (lambda r: r[:6] + r[8:], "of tensor 'ids' are missing"),
        (lambda r: r[:7] + r[8:], "of tensor 'flag' are missing"),
        (lambda r: [*r[:8], r[7], r[8]], "beyond the last tensor"),
        (lambda r: [*r[:5], r[6], r[5], *r[7:]], "CHNK outside"),
        (lambda r: [*r[:3], r[0], *r[3:]], "record HEAD at byte [0-9]+: out of order"),
        (lambda r: [*r[:3], r[-1], *r[3:]], "record INDX at byte [0-9]+: out of order"),
        (lambda r: [*r[:3], (b"DONE", bytes(56)), *r[3:]], "unknown critical record DONE"),
    ],
)
def test_records_out_of_order_are_refused(edit, match):
    records = edit(split(FILE))
    middle = [len(payload) for _, payload in records[1:-1]]
    # An index that adds up, so that the order itself is what is found wrong.
    refused(join(with_index(records, [[], middle, [], [], []])), match)


def test_first_record_must_be_head():
    records = split(FILE)
    refused(join([records[1], records[0], *records[2:]]), "the first record must be HEAD")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: [*x[:1], x[1][:-1], x[1][-1:], *x[3:]], "does not list the records found"),
        (lambda x: [x[1], [], *x[2:]], "does not list the records found"),
        (lambda x: [x[0], [x[1][0] + 1, x[1][1] - 1, *x[1][2:]], *x[2:]], "does not list the records found"),
        (lambda x: [x[0], x[1][::-1], *x[2:]], "does not list the records found"),
        (lambda x: x[:-1], "expected 5 lists"),
        (lambda x: [*x, []], "expected 5 lists"),
        (lambda x: {"a": 1}, "expected 5 lists"),
        (lambda x: [*x[:4], [x[4][0] + 1]], "the records listed end at byte"),
        (lambda x: [*x[:4], [x[4][0], 0]], "but the end record counts"),
        (lambda x: [*x[:4], [-x[4][0]]], "lists of lengths"),
        (lambda x: [*x[:4], [float(x[4][0])]], "lists of lengths"),
        (lambda x: [*x[:4], x[4][0]], "lists of lengths"),
        (lambda x: [*x[:4], [(1 << 64) - 1]], "the records listed end at byte"),
        (lambda x: [x[0], list(range(50)), *x[2:]], "more than 15 items"),
        (lambda x: [x[0], list(range(200)), *x[2:]], "more than an index takes"),
        (lambda x: [x[0], [[[[]]]], *x[2:]], "lists of lengths"),
    ],
)
def test_a_wrong_index_with_right_checksums_is_refused(change, match):
    records = split(FILE)
    refused(join(with_index(records, change(lengths_of(records)))), match)


def test_a_wrong_index_is_noticed_on_random_access():
    records = split(FILE)
    lengths = lengths_of(records)
    lengths[1][3], lengths[1][4] = lengths[1][4], lengths[1][3]
    reader = ContainerReader(Memory(join(with_index(records, lengths))), "f.nqz")
    with pytest.raises(CorruptError, match=r"record CHNK at byte .*where the index says 1"):
        reader.records(0)
    with_note = split(build(lambda writer, place: writer.write("nOTE", b"hello") if place == 1 else None))
    lengths = lengths_of(with_note)
    lengths[3].insert(0, lengths[1].pop())
    data = join(with_index(with_note, lengths))
    with pytest.raises(CorruptError, match="an optional record in front of the first one of a tensor"):
        ContainerReader(Memory(data), "f.nqz").records(2)
    refused(data, "does not list the records found")
    lengths = lengths_of(records)
    lengths[2:4] = [lengths[3], []]
    reader = ContainerReader(Memory(join(with_index(records, lengths))), "f.nqz")
    with pytest.raises(CorruptError, match="beyond the last tensor"):
        reader.records(1)
    with pytest.raises(CorruptError, match="'ids' are missing"):
        reader.records(2)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"count": 9}, "counts"),
        ({"count": 11}, "counts"),
        ({"count": 0}, "counts 0 records"),
        ({"count": 1 << 63}, "counts"),
        ({"length": 0}, "end record"),
        ({"length": len(FILE) + 1}, "end record"),
        ({"index_offset": 0}, "places the index at byte 0"),
        ({"index_offset": 12}, "places the index at byte 12"),
        ({"index_offset": len(FILE)}, "places the index"),
        ({"index_offset": (1 << 64) - 1}, "places the index"),
        ({"index_offset": len(FILE) - 100}, "INDX"),
        ({"digest": bytes(32)}, "the digest at byte"),
    ],
)
def test_a_wrong_end_record_with_right_checksum_is_refused(fields, match):
    refused(join(split(FILE), **fields), match)


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_huge_declared_length_is_refused(length):
    for offset in (12, ContainerReader(Memory(FILE), "f").find(0, "CHNK")[0].offset):
        data = FILE[: offset + 4] + struct.pack("<Q", length) + FILE[offset + 12 :]
        refused(data, f"at byte {offset}")


def test_read_checks_the_record_it_is_given():
    reader = ContainerReader(Memory(FILE), "f.nqz")
    chunk = reader.find(0, "CHNK")[0]
    for record in (
        chunk._replace(length=chunk.length - 1),
        chunk._replace(type="NORM"),
        chunk._replace(offset=chunk.offset + 1),
        chunk._replace(length=1 << 60),
        Record("CHNK", -20, 4),
    ):
        with pytest.raises(CorruptError, match=r"^f\.nqz: "):
            reader.read(record)
    with pytest.raises(CorruptError, match="expected a record NORM"):
        reader.read(chunk, "NORM")


@pytest.mark.parametrize("sizes", [[800, 0], [400, 400], [799], [801], []])
def test_exact_tensors_of_other_sizes_are_refused(sizes):
    records = split(FILE)
    pieces = [(b"EXCT", zstd_pack(bytes(size))) for size in sizes]
    edited = [*records[:6], *pieces, *records[7:]]
    lengths = lengths_of(records)
    lengths[3] = [len(payload) for _, payload in pieces]
    refused(join(with_index(edited, lengths)), "EXCT|missing|flag")


def test_exact_tensors_with_too_few_pieces_are_refused():
    large = TensorInfo("large", "exact", (PIECE + 1,), "uint8", byte_order="|")
    memory = Memory()
    writer = ContainerWriter(memory, manifest([large, TENSORS[0]]))
    writer.begin(0)
    for payload in exact_pieces([bytes(PIECE + 1)]):
        writer.write("EXCT", payload)
    writer.begin(1)
    write_matrix(writer)
    writer.finish()
    records = split(memory.data)
    too_few = "'large' has 1 records EXCT, its size calls for 2"
    for removed, match in (([2], too_few), ([1, 2], "'large' begins")):
        edited = [record for i, record in enumerate(records) if i not in removed]
        lengths = lengths_of(records)
        lengths[1] = lengths[1][: -len(removed)]
        data = join(with_index(edited, lengths))
        refused(data, match)
        with pytest.raises(CorruptError, match="'large'"):
            ContainerReader(Memory(data), "f.nqz").records(0)


def test_fuzzed_files_with_right_checksums_raise_only_nqz_errors():
    rng = random.Random(7)
    refusals = 0
    for _ in range(3000):
        records = [[kind, bytearray(payload)] for kind, payload in split(FILE)]
        for _ in range(rng.randint(1, 3)):
            # Every other time one of those that this layer interprets.
            _, payload = rng.choice(records if rng.random() < 0.5 else [records[0], records[1], records[-1]])
            action = rng.randrange(6)
            if action == 0 and payload:
                payload[rng.randrange(len(payload))] = rng.choice(b"\x00\x01\x7f\x80\xc1\xd4\xdd\xdf\xff")
            elif action == 1 and payload:
                payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
            elif action == 2:
                del payload[rng.randrange(len(payload) + 1) :]
            elif action == 3:
                payload[rng.randrange(len(payload) + 1) :] = rng.randbytes(rng.randrange(9))
            elif action == 4:
                records.insert(rng.randrange(len(records) + 1), list(rng.choice(records)))
            elif len(records) > 1:
                del records[rng.randrange(len(records))]
        data = join([(kind, bytes(payload)) for kind, payload in records])
        try:
            check(data)
        except NqzError:
            refusals += 1
    assert refusals > 2500


@pytest.mark.parametrize(
    ("tensors", "options", "match"),
    [
        ([TENSORS[0], TENSORS[0]], {}, "two tensors"),
        ([TensorInfo("w", "matrix", (2,), "int32")], {}, "floating-point"),
        ([TensorInfo("w", "matrix", (0, 2), "float32")], {}, "floating-point"),
        ([TensorInfo("w", "matrix", (), "float32")], {}, "floating-point"),
        ([TensorInfo("w", "lossy", (2,), "float32")], {}, "kind"),
        ([TensorInfo("w", "exact", (2,), "object")], {}, "dtype"),
        ([TensorInfo("w", "exact", (-2,), "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo("w", "exact", (1,) * 65, "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo("w", "exact", (2,), "int8")], {}, "byte order"),
        ([TensorInfo("w", "exact", (2,), "int16", byte_order="|")], {}, "byte order"),
        ([TENSORS[0]], {"source": "npy"}, ".npy"),
        (TENSORS[:0], {"source": "npy"}, ".npy"),
        ([TensorInfo("", "matrix", (2,), "float32")], {"source": "npy", "metadata": {}}, ".npy"),
        ([TENSORS[0]], {"source": "npz", "metadata": {}}, "a .npz file has no metadata"),
        ([], {"source": "hdf5"}, "source"),
        ([], {"metadata": {"a": 1}}, "metadata"),
        ([], {"metadata": {"a": "\ud800"}}, "surrogate"),
        ([], {"metadata": {"a": "x" * 100_000_001}}, "100000000"),
    ],
)
def test_manifests_outside_the_format_cannot_be_written(tensors, options, match):
    with pytest.raises(UnsupportedError, match=match):
        ContainerWriter(Memory(), manifest(tensors, **options))


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda h: h | {"extra": 1}, "the keys are"),
        (lambda h: {k: h[k] for k in ("source", "metadata", "tensors")}, "the keys are"),
        (lambda h: {k: h[k] for k in ("writer", "source", "metadata", "tensors")}, "in this order"),
        (lambda h: {}, "the keys are"),
        (lambda h: [h], "a map is required"),
        (lambda h: list(h.values()), "a map is required"),
        (lambda h: None, "a map is required"),
        (lambda h: h | {"source": ["npy"]}, "source is"),
        (lambda h: h | {"metadata": {"a": 1}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": {"b": "c"}}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": b"b"}}, "metadata is"),
        (lambda h: h | {"metadata": [["a", "b"]]}, "metadata is"),
        (lambda h: h | {"metadata": {1: "b"}}, "not a canonical value"),
        (lambda h: h | {"metadata": {b"a": "b"}}, "a key is not a string"),
        (lambda h: h | {"tensors": {}}, "tensors is"),
        (lambda h: h | {"tensors": None}, "tensors is"),
        (lambda h: h | {"writer": b"x"}, "writer is"),
    ],
)
def test_manifests_outside_the_format_are_refused(edit, match):
    records = split(FILE)
    head = msgpack.packb(edit(msgpack.unpackb(records[0][1])))
    refused(join([(b"HEAD", head), *records[1:]]), match)


NOT_SIX_VALUES = "tensor 2: a list of name, kind, shape, dtype, order, byte_order is required"


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda e: 1, NOT_SIX_VALUES),
        (lambda e: None, NOT_SIX_VALUES),
        (lambda e: "abcdef", NOT_SIX_VALUES),
        (lambda e: b"abcdef", NOT_SIX_VALUES),
        (lambda e: [], NOT_SIX_VALUES),
        (lambda e: [e], NOT_SIX_VALUES),
        (lambda e: e[:-1], NOT_SIX_VALUES),
        (lambda e: e[1:], NOT_SIX_VALUES),
        (lambda e: [*e, None], NOT_SIX_VALUES),
        (lambda e: e + e, NOT_SIX_VALUES),
        (
            lambda e: dict(zip(("name", "kind", "shape", "dtype", "order", "byte_order"), e, strict=True)),
            NOT_SIX_VALUES,
        ),
        (lambda e: e[::-1], "tensor 2: kind is 'C'"),
        (lambda e: [e[1], e[0], *e[2:]], "tensor 2: kind is"),
        (lambda e: [*e[:4], e[5], e[4]], "tensor 2: order is"),
        (lambda e: [None, *e[1:]], "tensor 2: name is"),
        (lambda e: [b"ids", *e[1:]], "tensor 2: name is"),
        (lambda e: [["ids"], *e[1:]], "tensor 2: name is"),
        (lambda e: [e[0], "lossy", *e[2:]], "tensor 2: kind is"),
        (lambda e: [e[0], None, *e[2:]], "tensor 2: kind is"),
        (lambda e: [*e[:2], 100, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], {}, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], b"\x64", *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [[100]], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [True], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [100.0], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [-1], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [1] * 65, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [(1 << 64) - 1] * 64, *e[3:]], "record"),
        (lambda e: [*e[:2], [[[[[[[]]]]]]], *e[3:]], "nested deeper than 8"),
        (lambda e: [*e[:3], "object", *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], ["int64"], *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:4], "A", e[5]], "tensor 2: order is"),
        (lambda e: [*e[:4], 0, e[5]], "tensor 2: order is"),
        (lambda e: [*e[:5], "="], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], None], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], "|"], "byte order"),
    ],
)
def test_entries_of_the_manifest_outside_the_format_are_refused(edit, match):
    records = split(FILE)
    head = msgpack.unpackb(records[0][1])
    head["tensors"][2] = edit(head["tensors"][2])
    refused(join([(b"HEAD", msgpack.packb(head)), *records[1:]]), match)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"\x96\xa3ids", b"\xdc\x00\x06\xa3ids", "canonical form"),
        (b"\x96\xa3ids", b"\xdd\x00\x00\x00\x06\xa3ids", "canonical form"),
        (b"\x96\xa3ids", b"\x96\xd9\x03ids", "canonical form"),
        (b"\x96\xa3ids", b"\x96\xa3id\xff", "not a canonical value"),
        (b"\x96\xa3ids", b"\x97\xa3ids", "cut short"),
        (b"\x96\xa3ids", b"\x95\xa3ids", "9 bytes follow the value"),
        (b"\x96\xa3ids", b"\xdd\xff\xff\xff\xff\xa3ids", "more items than there are bytes"),
        (b"\x91\x64\xa5int64", b"\x91\xcc\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\x91\xd0\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\x00\x01\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\xff\xff\x64\xa5int64", "more items than there are bytes"),
        (b"\x84\xa6source", b"\xde\x00\x04\xa6source", "canonical form"),
        (b"\xa6source", b"\xd9\x06source", "canonical form"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdc\x00\x04", "canonical form"),
        (b"\x82\xa1z\xa11\xa1a", b"\x82\xa1z\xa11\xa1z", "a key occurs twice"),
        (b"\x82\xa1z\xa11\xa1a", b"\xde\x00\x02\xa1z\xa11\xa1a", "canonical form"),
        (b"\xa6writer", b"\xa6source", "a key occurs twice"),
    ],
)
def test_manifests_in_another_form_are_refused(old, new, match):
    records = split(FILE)
    head = records[0][1]
    assert head.count(old) == 1
    refused(join([(b"HEAD", head.replace(old, new)), *records[1:]]), match)


def test_manifests_cut_short_or_too_long_are_refused():
    head = split(FILE)[0][1]
    assert Manifest.unpack(head, "here").pack() == head
    for data in [head + b"\0", head + head, *(head[:length] for length in range(len(head)))]:
        with pytest.raises(CorruptError, match=r"^here: "):
            Manifest.unpack(data, "here")
