"""Files that no writer makes, with right checksums: a wrong order, index, end record, manifest or size."""

from __future__ import annotations

import random
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest

from container_builder import (
    END,
    Container,
    assemble,
    exact,
    index,
    integers,
    offsets,
    record,
    split,
    tensor,
)
from container_builder import manifest as manifest_map
from nqz.format import tokens
from nqz.format.exct import decode_exact, zstd_pack
from nqz.format.manifest import EXACT, MATRIX, MAX_NAME_BYTES, Manifest, TensorInfo
from nqz.format.reader import ContainerReader
from nqz.format.records import Record
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError, UnsupportedError
from test_format_records import CHUNKS, DATA, FILE, PARTS, TENSORS, Counting, Memory, check, manifest, refused

W, EMPTY, IDS, FLAG = range(4)
NORM, MEAN, CHUNK = PARTS.tensors[W][:3]
PIECE = PARTS.tensors[IDS][0]


def opened(data):
    return ContainerReader(Memory(data), "f.nqz")


def changed(edit):
    """The file with other records of its tensors: edit(tensors) changes them in place."""
    parts = PARTS.replaced()
    edit(parts.tensors)
    return parts


@pytest.mark.parametrize("place", range(len(PARTS.records())))
def test_a_wrong_record_checksum_is_refused_even_if_the_digest_is_right(place):
    framed = [record(*part) for part in PARTS.records()]
    kind, payload = PARTS.records()[place]
    framed[place] = record(kind, payload, crc=int.from_bytes(framed[place][4:8], "little") ^ 1)
    data = assemble(framed, PARTS.packed_manifest(), PARTS.packed_index())
    with pytest.raises(
        CorruptError, match=f"the checksum of the record {kind} at byte {offsets(FILE)[place]}"
    ):
        opened(data).verify()


def test_a_manifest_beyond_the_bound_is_not_even_read(monkeypatch):
    parts = PARTS.replaced()
    parts.manifest["metadata"] = {"a": "x" * 100_000}
    data = parts.build()
    monkeypatch.setattr("nqz.format.reader.MAX_BYTES", 100_000)
    memory = Counting(data)
    with pytest.raises(CorruptError, match="more room for manifest or index than they take"):
        ContainerReader(memory, "f.nqz")
    assert sum(size for _, size in memory.reads) <= 16 + (64 << 10)
    monkeypatch.setattr("nqz.format.reader.MAX_BYTES", 101_000)
    check(data)


def test_an_index_beyond_the_bound_is_not_even_read():
    data = PARTS.replaced(index=PARTS.packed_index() + bytes(200_000)).build()
    memory = Counting(data)
    with pytest.raises(CorruptError, match="more room for manifest or index than they take"):
        ContainerReader(memory, "f.nqz")
    assert sum(size for _, size in memory.reads) <= 16 + (64 << 10)


@pytest.mark.parametrize("kind", ["NOTE", "NoTE", "TENS", "Norm", "ZZZZ"])
@pytest.mark.parametrize("place", range(5))
def test_unknown_critical_record_is_newer(kind, place):
    """Its tensor is refused when it is asked for, the others are not; the file, if it belongs to no tensor."""
    if place == 4:
        data = PARTS.replaced(leading=[("nOTE", b""), (kind, b"hello")]).build()
        refused(data, f"f.nqz: a record {kind}, which this release .* later one is needed", NewerFormatError)
        with pytest.raises(NewerFormatError, match=kind):
            opened(data)
        return
    for at in (0, len(PARTS.tensors[place])):
        data = changed(lambda tensors, at=at: tensors[place].insert(at, (kind, b"hello"))).build()
        name = TENSORS[place].name
        message = f"f.nqz: tensor '{name}': a record {kind}, which this release .* later one is needed"
        refused(data, message, NewerFormatError)
        reader = opened(data)
        with pytest.raises(NewerFormatError, match=message):
            reader.records(place)
        assert others(reader, place) == others(opened(FILE), place)


def others(reader, left_out):
    """What this layer reads of all tensors but one."""
    return [
        [reader.read(found) for found in reader.records(number)] for number in range(4) if number != left_out
    ]


@pytest.mark.parametrize("codec", ["nqz-2", "exact-2", "", "NQZ-1", "x" * 1000])
@pytest.mark.parametrize("parameters", [None, [], {"a": [1]}, 5])
def test_tensors_of_unknown_codecs_are_newer_and_the_others_are_read(codec, parameters):
    parts = PARTS.replaced()
    for place in (W, FLAG):
        parts.manifest["tensors"][place][0] = codec
        parts.manifest["tensors"][place][6] = parameters
        # names that the source cannot have, types of records of any kind
        parts.tensors[place] = [("ZZZZ", b"1"), ("EXCT", b""), ("NORM", b"2"), ("aaaa", b"3")]
    check_newer(parts.build(), "codec '")


@pytest.mark.parametrize("dtype", ["int4", "float128", "", "F32", "x" * 1000])
def test_tensors_of_unknown_dtypes_are_newer_and_the_others_are_read(dtype):
    parts = PARTS.replaced()
    for place, byte_order in ((W, "|"), (FLAG, "<")):
        parts.manifest["tensors"][place][3] = dtype
        parts.manifest["tensors"][place][5] = byte_order
    check_newer(parts.build(), "dtype '")


def check_newer(data, what):
    """Tensors W and FLAG of a file are not known to this release, the others are read."""
    refused(
        data,
        f"tensor 'w': {what}.* is not known to this release of nqz; a later one is needed",
        NewerFormatError,
    )
    reader = opened(data)
    assert [info.kind for info in reader.manifest.tensors] == ["unknown", "exact", "exact", "unknown"]
    assert [info.name for info in reader.manifest.tensors] == ["w", "empty", "ids", "flag"]
    for place in (W, FLAG):
        assert reader.manifest.tensors[place].shape == TENSORS[place].shape
        for ask in (reader.records, reader.span, lambda number: reader.find(number, "EXCT")):
            with pytest.raises(NewerFormatError, match=what):
                ask(place)
    assert list(decode_exact(reader, EMPTY)) == [] and b"".join(decode_exact(reader, IDS)) == DATA


def test_damage_is_found_before_what_is_newer():
    parts = PARTS.replaced(preamble=PARTS.preamble)
    parts.manifest["source"] = "zarr"
    data = bytearray(parts.build())
    refused(bytes(data), "made from a 'zarr' file: a later release", NewerFormatError)
    data[offsets(bytes(data))[-3] + 40] ^= 1
    refused(bytes(data), "the checksum of the record MANI")


@pytest.mark.parametrize(
    ("place", "edit", "match"),
    [
        (W, lambda r: [], "'w': its records are not in the order NORM"),
        (W, lambda r: r[1:], "'w': its records are not in the order NORM"),
        (W, lambda r: [r[1], r[0], *r[2:]], "'w': its records are not in the order NORM"),
        (W, lambda r: [r[0], r[2], r[1], r[3]], "'w': its records are not in the order NORM"),
        (W, lambda r: [r[0], r[1], r[1], *r[2:]], "'w': its records are not in the order NORM"),
        (W, lambda r: [*r, r[0]], "'w': its records are not in the order NORM"),
        (W, lambda r: [*r, r[1]], "'w': its records are not in the order NORM"),
        (W, lambda r: [*r, PIECE], "'w': its records are not in the order NORM"),
        (W, lambda r: [PIECE], "'w': its records are not in the order NORM"),
        (W, lambda r: [("nOTE", b"")], "'w': its records are not in the order NORM"),
        (EMPTY, lambda r: [PIECE], "'empty': 1 records EXCT, its size calls for 0"),
        (EMPTY, lambda r: [NORM], "'empty': its records are not in the order EXCT"),
        (IDS, lambda r: [], "'ids': 0 records EXCT, its size calls for 1"),
        (IDS, lambda r: [*r, *r], "'ids': 2 records EXCT, its size calls for 1"),
        (IDS, lambda r: [*r, CHUNK], "'ids': its records are not in the order EXCT"),
        (IDS, lambda r: [CHUNK], "'ids': its records are not in the order EXCT"),
        (FLAG, lambda r: [], "'flag': 0 records EXCT, its size calls for 1"),
        (W, lambda r: [("MANI", b""), *r], "'w': a record MANI among those of tensors"),
        (IDS, lambda r: [*r, ("INDX", b"")], "'ids': a record INDX among those of tensors"),
        (FLAG, lambda r: [*r, ("DONE", bytes(64))], "'flag': a record DONE among those of tensors"),
    ],
)
def test_records_out_of_order_are_refused(place, edit, match):
    parts = PARTS.replaced()
    parts.tensors[place] = edit(parts.tensors[place])
    data = parts.build()
    refused(data, match)
    with pytest.raises(CorruptError, match=match):
        opened(data).records(place)
    for number in range(4):
        if number != place:
            opened(data).records(number)


def test_panels_of_a_matrix_are_alike():
    def panels(*kinds):
        return changed(lambda tensors: tensors.__setitem__(W, [(kind, b"x") for kind in kinds])).build()

    for kinds in (["NORM"], ["NORM"] * 3, ["NORM", "CHNK", "NORM"], ["NORM", "MEAN", "NORM", "MEAN", "CHNK"]):
        check(panels(*kinds))
    for kinds in (
        ["NORM", "MEAN", "NORM"],
        ["NORM", "NORM", "MEAN"],
        ["NORM", "CHNK", "NORM", "MEAN", "CHNK"],
    ):
        refused(panels(*kinds), "'w': its records are not in the order NORM")


@pytest.mark.parametrize("kind", ["NORM", "MEAN", "CHNK", "EXCT", "MANI", "INDX", "DONE"])
def test_records_of_no_tensor_are_optional(kind):
    for leading in ([(kind, b"x")], [("nOTE", b"x"), (kind, b"x"), ("nOTE", b"")]):
        data = PARTS.replaced(leading=leading).build()
        with pytest.raises(CorruptError, match=f"f.nqz: a record {kind} (that|among)"):
            opened(data)


@pytest.mark.parametrize(
    ("order", "match"),
    [
        ("IM", "the record MANI must be here"),
        ("MM", "the record INDX must be here"),
        ("II", "the record MANI must be here"),
        ("NI", "the record MANI must be here"),
        ("MN", "the record INDX must be here"),
        ("mI", "the record MANI must be here"),
    ],
)
def test_manifest_and_index_are_the_last_but_one(order, match):
    last = {
        "M": ("MANI", PARTS.packed_manifest()),
        "I": ("INDX", PARTS.packed_index()),
        "N": ("NORM", b"x"),
        "m": ("mANI", PARTS.packed_manifest()),
    }
    refused(with_last(*(last[letter] for letter in order)), match)


def with_last(first, second):
    """The file with two other records in the place of MANI and INDX."""
    framed = [record(*part) for part in PARTS.records()]
    start = sum(map(len, framed)) + 16
    body = FILE[:16] + b"".join(framed) + record(*first) + record(*second)
    end = (len(body) + END, start, start + len(record(*first)), len(framed) + 3)
    return body + record("DONE", struct.pack("<4Q", *end) + bytes(32))


TYPES, COUNTS, NUMBERS, LENGTHS = PARTS.sequences()
assert (TYPES, COUNTS, NUMBERS) == (["NORM", "MEAN", "CHNK", "EXCT"], [0, 4, 0, 1, 1], [0, 1, 2, 2, 3, 3])
BODY = b"".join(map(integers, (COUNTS, NUMBERS, LENGTHS)))


def other(values, **places):
    """A list with other values in some places: _0=7 puts a 7 first."""
    return [places.get(f"_{number}", value) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"counts": [0, 3, 1, 1, 1]}, "'w': its records|'empty': 1 records|'empty': its records"),
        ({"counts": [0, 5, 0, 0, 1]}, "'w': its records"),
        ({"counts": [1, 3, 0, 1, 1]}, "a record NORM that belongs to no tensor"),
        ({"counts": [6, 0, 0, 0, 0]}, "a record NORM that belongs to no tensor"),
        ({"counts": [0, 4, 0, 1, 0]}, "do not have 6 records together"),
        ({"counts": [0, 4, 0, 1, 2]}, "do not have 6 records together"),
        ({"counts": [-1, 5, 0, 1, 1]}, "do not have 6 records together"),
        ({"counts": [0, 1 << 62, 1 << 62, 1 << 62, (1 << 62) + 6]}, "do not have 6 records together"),
        ({"counts": [0, 4, 0, 1]}, "left over|byte|index|integers|bytes where"),
        ({"counts": [0, 4, 0, 1, 1, 0]}, "form|width|left over|bytes"),
        ({"numbers": other(NUMBERS, _0=1, _1=0)}, "NORM at byte 16: 45 bytes; the index has MEAN of 45 bytes"),
        ({"numbers": other(NUMBERS, _0=1)}, "NORM at byte 16: 45 bytes; the index has MEAN of 45 bytes"),
        ({"numbers": other(NUMBERS, _5=4)}, "a record of no type"),
        ({"numbers": other(NUMBERS, _0=-1)}, "a record of no type"),
        ({"numbers": other(NUMBERS, _0=1 << 40)}, "a record of no type"),
        ({"types": ["NORM", "MEAN", "EXCT", "CHNK"]}, "CHNK at byte [0-9]+: 300 bytes; the index has EXCT of"),
        ({"types": ["NORM", "MEAN", "CHNK", "NORM"]}, "not different ones of four letters"),
        ({"types": ["NORM", "MEAN", "CHNK", "EXC1"]}, "not different ones of four letters"),
        ({"types": ["NORM", "MEAN", "CHNK", "EX\0T"]}, "not different ones of four letters"),
        ({"types": ["NORM", "MEAN", "CHNK", "EXÄT"]}, "not different ones of four letters"),
        ({"lengths": other(LENGTHS, _2=LENGTHS[2] + 8, _3=LENGTHS[3] - 1)}, "the index has CHNK of 308"),
        ({"lengths": other(LENGTHS, _2=LENGTHS[2] + 8)}, "the records listed do not end at byte"),
        ({"lengths": other(LENGTHS, _0=46)}, "NORM at byte 16: 45 bytes; the index has NORM of 46 bytes"),
        ({"lengths": other(LENGTHS, _0=53)}, "the records listed do not end at byte"),
        ({"lengths": other(LENGTHS, _0=-45)}, "longer than the file"),
        ({"lengths": other(LENGTHS, _0=1 << 60)}, "longer than the file"),
        ({"lengths": other(LENGTHS, _0=-(1 << 63))}, "longer than the file"),
        ({"lengths": other(LENGTHS, _2=LENGTHS[3], _3=LENGTHS[2])}, "CHNK at byte [0-9]+: 300 bytes; the index has"),
        ({"lengths": LENGTHS[:-1]}, "bytes where 12 are needed"),
        ({"lengths": [*LENGTHS, 0]}, "bytes are left over|byte"),
        ({"index": b""}, "ends too early"),
        ({"index": b"\4\0\0"}, "ends too early"),
        ({"index": b"\4\0\0\0NORMMEANCHNKEXC"}, "ends in its types"),
        ({"index": struct.pack("<I", 257) + bytes(2000)}, "ends in its types|more room"),
        ({"index": b"\xff\xff\xff\xff" + PARTS.packed_index()[4:]}, "ends in its types"),
        ({"index": PARTS.packed_index() + b"\0"}, "1 bytes are left over"),
        ({"index": PARTS.packed_index()[:-1]}, "bytes where 12 are needed"),
        ({"index": index(TYPES, COUNTS, NUMBERS, [])}, "0 bytes where 6 are needed"),
        ({"index": PARTS.packed_index()[:20] + b"\2" + BODY[1:]}, "the form of the integers is unknown"),
        ({"index": PARTS.packed_index()[:20] + b"\0\0" + BODY[2:]}, "the width of the integers is invalid"),
        ({"index": PARTS.packed_index()[:20] + b"\0\x09" + BODY[2:]}, "the width of the integers is invalid"),
        ({"index": PARTS.packed_index()[:20] + b"\0"}, "the width of the integers is invalid"),
        ({"index": PARTS.packed_index()[:20] + b"\1" + BODY[1:]}, "integers|number|head|frequencies|coded"),
    ],
)  # fmt: skip
def test_a_wrong_index_with_right_checksums_is_refused(fields, match):
    refused(PARTS.replaced(**fields).build(), match)


def test_an_index_may_be_in_either_form():
    """As other writers choose, and with types that no record has."""
    forms = [lambda values: b"\1" + tokens.pack(np.array(values)), lambda values: integers(values, 8)]
    for form in forms:
        types = [*TYPES, "nOTE"]
        payload = (
            struct.pack("<I", 5) + "".join(types).encode() + b"".join(map(form, (COUNTS, NUMBERS, LENGTHS)))
        )
        check(PARTS.replaced(index=payload).build())


def test_a_wrong_index_is_noticed_on_random_access():
    swapped = other(LENGTHS, _2=LENGTHS[3], _3=LENGTHS[2])
    reader = opened(PARTS.replaced(lengths=swapped).build())
    for chunk in reader.find(W, "CHNK"):
        with pytest.raises(
            CorruptError, match=f"no record CHNK of {chunk.length} bytes at byte {chunk.offset}"
        ):
            reader.read(chunk)
    assert b"".join(decode_exact(reader, IDS)) == DATA
    # one that differs in the padding alone, and one of another type
    longer = opened(PARTS.replaced(lengths=other(LENGTHS, _0=46)).build())
    with pytest.raises(CorruptError, match="no record NORM of 46 bytes at byte 16"):
        longer.read(longer.find(W, "NORM")[0])
    notes = changed(lambda tensors: tensors[IDS].insert(0, ("nOTE", PIECE[1])))
    numbers = notes.sequences()[2]
    numbers[-3:-1] = numbers[-2:-4:-1]
    data = notes.replaced(numbers=numbers).build()
    with pytest.raises(CorruptError, match="no record EXCT of"):
        list(decode_exact(opened(data), IDS))
    refused(data, "record nOTE at byte [0-9]+: [0-9]+ bytes; the index has EXCT")
    # records of another tensor
    reader = opened(PARTS.replaced(counts=[0, 4, 1, 0, 1]).build())
    for number, match in ((EMPTY, "'empty': 1 records EXCT"), (IDS, "'ids': 0 records EXCT")):
        with pytest.raises(CorruptError, match=match):
            reader.records(number)
    assert len(reader.records(W)) == 4


MANI_AT, INDX_AT, DONE_AT = offsets(FILE)[-3:]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"records": 8}, "the form of the integers is unknown"),
        ({"records": 10}, "the form of the integers is unknown"),
        ({"records": 0}, "counts 0 records"),
        ({"records": 2}, "counts 2 records"),
        ({"records": 3}, "bytes are left over"),
        ({"records": 1 << 26}, "counts 67108864 records"),
        ({"records": (1 << 26) + 1}, "counts 67108865 records"),
        ({"records": 1 << 63}, "counts"),
        ({"records": (1 << 64) - 1}, "counts"),
        ({"file_length": 0}, "end record"),
        ({"file_length": len(FILE) - 8}, "end record"),
        ({"file_length": len(FILE) + 1}, "end record"),
        ({"file_length": (1 << 64) - 1}, "end record"),
        ({"manifest_offset": 0}, "places manifest and index at bytes 0 and"),
        ({"manifest_offset": 8}, "places manifest and index at bytes 8 and"),
        ({"manifest_offset": 16}, "counts 9 records"),
        ({"manifest_offset": 16, "records": 3}, "record NORM at byte 16: the record MANI must be here"),
        ({"manifest_offset": MANI_AT + 1}, "places manifest and index"),
        ({"manifest_offset": MANI_AT - 8}, "byte"),
        ({"manifest_offset": MANI_AT + 8}, "byte"),
        ({"manifest_offset": INDX_AT}, "places manifest and index"),
        ({"manifest_offset": INDX_AT - 8}, "places manifest and index"),
        ({"manifest_offset": DONE_AT}, "places manifest and index"),
        ({"manifest_offset": (1 << 64) - 8}, "places manifest and index"),
        ({"index_offset": 0}, "places manifest and index"),
        ({"index_offset": 16}, "places manifest and index"),
        ({"index_offset": MANI_AT}, "places manifest and index"),
        ({"index_offset": INDX_AT + 4}, "places manifest and index"),
        ({"index_offset": INDX_AT + 8}, "byte"),
        ({"index_offset": INDX_AT - 8}, "byte"),
        ({"index_offset": DONE_AT}, "places manifest and index"),
        ({"index_offset": DONE_AT - 8}, "places manifest and index"),
        ({"index_offset": len(FILE)}, "places manifest and index"),
        ({"index_offset": (1 << 64) - 8}, "places manifest and index"),
        ({"manifest_offset": INDX_AT, "index_offset": MANI_AT}, "places manifest and index"),
        ({"digest": bytes(32)}, "the digest at byte"),
        ({"digest": FILE[-32:-1] + bytes([FILE[-1] ^ 1])}, "the digest at byte"),
    ],
)  # fmt: skip
def test_a_wrong_end_record_with_right_checksum_is_refused(fields, match):
    refused(PARTS.replaced(end=fields).build(), match)


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_an_end_record_of_another_length_is_refused(length):
    payload = (FILE[-64:] + bytes(8))[:length]
    refused(FILE[:DONE_AT] + record("DONE", payload), "end record|truncated|damaged")


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, 1 << 63, (1 << 64) - 16, (1 << 64) - 1])
@pytest.mark.parametrize("place", range(len(split(FILE))))
def test_a_huge_declared_length_is_refused(length, place):
    """In the header of each record, its checksum right or not; nothing is allocated for it."""
    starts = [*offsets(FILE), len(FILE)]
    offset, end = starts[place : place + 2]
    kind, payload = split(FILE)[place]
    for data in (
        FILE[: offset + 8] + struct.pack("<Q", length) + FILE[offset + 16 :],
        FILE[:offset] + record(kind, payload, length=length) + FILE[end:],
    ):
        tracemalloc.start()
        refused(data, f"at byte {offset}|end record")
        assert tracemalloc.get_traced_memory()[1] < 500_000
        tracemalloc.stop()


def test_read_checks_the_record_it_is_given():
    reader = opened(FILE)
    chunk = reader.find(0, "CHNK")[0]
    for found in (
        chunk._replace(length=chunk.length - 1),
        chunk._replace(type="NORM"),
        chunk._replace(offset=chunk.offset + 1),
        chunk._replace(offset=chunk.offset + 8),
        chunk._replace(length=1 << 60),
        Record("CHNK", -20, 4),
        Record("CHNK", 0, 4),
        Record("DONE", len(FILE) - 8, 64),
    ):
        with pytest.raises(CorruptError, match=r"^f\.nqz: "):
            reader.read(found)
    with pytest.raises(CorruptError, match="expected a record NORM"):
        reader.read(chunk, "NORM")
    assert reader.read(chunk, "CHNK") == CHUNKS[0]


@pytest.mark.parametrize("sizes", [[800, 0], [400, 400], [799], [801], []])
def test_exact_tensors_of_other_sizes_are_refused(sizes):
    parts = PARTS.replaced()
    parts.tensors[IDS] = [("EXCT", zstd_pack(bytes(size))) for size in sizes]
    refused(
        parts.build(), "EXCT at byte [0-9]+: a zstd frame of|'ids': [0-9] records EXCT, its size calls for 1"
    )


@pytest.mark.parametrize(("extra", "count"), [(1, 1), (1, 3), (0, 2), (0, 0), (1, 0)])
def test_exact_tensors_with_too_few_pieces_are_refused(extra, count):
    size = (4 << 20) + extra
    pieces = [("EXCT", exact(bytes(4 << 20))), ("EXCT", exact(b"\0"))]
    entries = manifest_map([tensor("large", (size,))])
    check(Container(entries, [pieces[: 1 + extra]]).build())
    data = Container(entries, [[*pieces, pieces[1]][:count]]).build()
    match = f"'large': {count} records EXCT, its size calls for {1 + extra}"
    refused(data, match)
    with pytest.raises(CorruptError, match=match):
        opened(data).records(0)


def test_a_shape_allocates_nothing():
    """Sizes that nobody has, of tensors without records."""
    for shape in ([1 << 62], [1 << 31, 1 << 31], [(1 << 63) - 1]):
        entries = manifest_map([tensor("a", shape)])
        refused(Container(entries, [[]]).build(), "'a': 0 records EXCT, its size calls for [0-9]+")
    check(Container(manifest_map([tensor("a", [(1 << 63) - 1] * 63 + [0])]), [[]]).build())


def test_fuzzed_files_with_right_checksums_raise_only_nqz_errors():
    rng = random.Random(7)
    refusals = 0
    for _ in range(3000):
        parts = PARTS.replaced()
        records = [[kind, bytearray(payload)] for kind, payload in parts.records()]
        mani, indx = bytearray(parts.packed_manifest()), bytearray(parts.packed_index())
        for _ in range(rng.randint(1, 3)):
            # Every other time one of those that this layer interprets.
            inner = [payload for _, payload in records]
            payload = rng.choice([mani, indx] if rng.random() < 0.5 or not inner else inner)
            action = rng.randrange(6)
            if action == 0 and payload:
                payload[rng.randrange(len(payload))] = rng.choice(b"\x00\x01\x7f\x80\xc1\xd4\xdd\xdf\xff")
            elif action == 1 and payload:
                payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
            elif action == 2:
                del payload[rng.randrange(len(payload) + 1) :]
            elif action == 3:
                payload[rng.randrange(len(payload) + 1) :] = rng.randbytes(rng.randrange(9))
            elif action == 4 and records:
                records.insert(rng.randrange(len(records) + 1), list(rng.choice(records)))
            elif len(records) > 1:
                del records[rng.randrange(len(records))]
        framed = [record(kind, bytes(payload)) for kind, payload in records]
        try:
            check(assemble(framed, bytes(mani), bytes(indx)))
        except NqzError:
            refusals += 1
    assert 2000 < refusals < 3000


def test_fuzzed_fields_with_right_checksums_raise_only_nqz_errors():
    """Values of the manifest and integers of index and end record, which random bytes hardly meet."""
    rng = random.Random(8)
    junk = [
        None,
        True,
        0,
        1,
        -1,
        1 << 62,
        (1 << 64) - 1,
        -(1 << 63),
        0.5,
        "",
        "x",
        "C",
        "<",
        b"",
        b"x" * 16,
        [],
        [[]],
    ]
    junk += [
        {},
        {"a": 1},
        [0],
        ["a"],
        [b"x" * 16, 0, 1],
        "nqz-1",
        "exact-1",
        "float32",
        "bool",
        "int64",
        "|",
        "npz",
    ]
    refusals = 0
    for _ in range(3000):
        parts = PARTS.replaced()
        names = ("types", "counts", "numbers", "lengths")
        index_fields = dict(zip(names, map(list, PARTS.sequences()), strict=True))
        for _ in range(rng.randint(1, 2)):
            action, entry = rng.randrange(4), rng.choice(parts.manifest["tensors"])
            if action == 0:
                parts.manifest[rng.choice([key for key in parts.manifest if key != "tensors"])] = rng.choice(
                    junk
                )
            elif action == 1 and isinstance(entry, list):
                entry[rng.randrange(len(entry))] = rng.choice(junk)
            elif action == 2:
                values = index_fields[rng.choice(names[1:])]
                values[rng.randrange(len(values))] = rng.choice(
                    [-1, 0, 1, 2, 5, 8, 45, 1 << 40, (1 << 63) - 1]
                )
            else:
                key = rng.choice(["file_length", "manifest_offset", "index_offset", "records"])
                parts.end[key] = rng.choice(
                    [0, 3, 8, 9, 16, MANI_AT, INDX_AT, DONE_AT, 1 << 40, (1 << 64) - 8]
                )
        try:
            check(parts.replaced(**index_fields).build())
        except NqzError:
            refusals += 1
    assert 2000 < refusals < 3000


LONG_NAME = "é" * (MAX_NAME_BYTES // 2)


@pytest.mark.parametrize(
    ("tensors", "options", "match"),
    [
        ([TENSORS[0], TENSORS[0]], {}, "two tensors"),
        ([TensorInfo(MATRIX, "w", (2,), "int32")], {}, "floating-point"),
        ([TensorInfo(MATRIX, "w", (0, 2), "float32")], {}, "floating-point"),
        ([TensorInfo(MATRIX, "w", (), "float32")], {}, "floating-point"),
        ([TensorInfo("lossy", "w", (2,), "float32")], {}, "codec 'lossy' is not known"),
        ([TensorInfo(EXACT, "w", (2,), "object")], {}, "dtype 'object' is not known"),
        ([TensorInfo(EXACT, "w", (-2,), "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1,) * 65, "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1 << 63,), "int8", byte_order="|")], {}, "shape"),
        ([TensorInfo(EXACT, "w", (1 << 61,), "int32")], {}, "more bytes than a file can have"),
        ([TensorInfo(EXACT, "w", (2,), "int8")], {}, "byte order"),
        ([TensorInfo(EXACT, "w", (2,), "int16", byte_order="|")], {}, "byte order"),
        ([TensorInfo(EXACT, "w", (2,), "int16", order="A")], {}, "order"),
        ([TensorInfo(EXACT, LONG_NAME + "x", (2,), "int16")], {}, "name is not a string of at most 65536 bytes"),
        ([TensorInfo(EXACT, "w", (2,), "int16", parameters=[1])], {}, "parameters"),
        ([TENSORS[0]], {"source": "npy"}, ".npy"),
        (TENSORS[:0], {"source": "npy"}, ".npy"),
        ([TensorInfo(EXACT, "", (2,), "bfloat16")], {"source": "npy"}, "bfloat16 entries, which a .npy"),
        ([TensorInfo(EXACT, "a", (2,), "bfloat16")], {"source": "npz"}, "bfloat16 entries, which a .npz"),
        ([TensorInfo(EXACT, "a", (2,), "complex128")], {}, "complex128 entries, which a .safetensors"),
        ([TensorInfo(EXACT, "a", (2,), "int16", order="F")], {}, "Fortran or big-endian order"),
        ([TensorInfo(EXACT, "a", (2,), "int16", byte_order=">")], {}, "Fortran or big-endian order"),
        ([TensorInfo(EXACT, "__metadata__", (2,), "int16")], {}, "kept for metadata"),
        *(
            ([TensorInfo(EXACT, name, (2,), "int16")], {"source": "npz"}, match)
            for name, match in [
                ("a\0b", "NUL"),
                ("a\\b", "backslash"),
                ("/a", "absolute path"),
                ("c:/a", "absolute path"),
                ("a/../b", "leads out of its folder"),
                ("..", "leads out of its folder"),
                ("x" * 65532, "too long"),
            ]
        ),
        ([], {"source": "hdf5"}, "'hdf5' file"),
        ([], {"metadata": {"a": 1}}, "metadata"),
        ([], {"metadata": {"a": "\ud800"}}, "surrogate"),
        ([TensorInfo(EXACT, "\ud800", (2,), "int16")], {}, "surrogate"),
        ([], {"metadata": {"a": "x" * (64 << 20)}}, "at most 67108864"),
        ([], {"extensions": {"a": [[[[[[[1]]]]]]]}}, "nested deeper than 8"),
        ([], {"extensions": {"a": [0] * 1025}}, "1025 exceeds"),
        ([], {"part": (bytes(15), 0, 1)}, "set is"),
        ([], {"part": (bytes(16), 1, 1)}, "set is"),
    ],
)  # fmt: skip
def test_manifests_outside_the_format_cannot_be_written(tensors, options, match):
    with pytest.raises(UnsupportedError, match=match):
        ContainerWriter(Memory(), manifest(tensors, **options))


@pytest.mark.parametrize(
    ("tensors", "options"),
    [
        ([TensorInfo(EXACT, "", (2,), "complex128", "F", ">")], {"source": "npy"}),
        ([TensorInfo(MATRIX, "", (2,), "bfloat16")], {"source": "npy", "metadata": {"a": "b"}}),
        ([TensorInfo(MATRIX, "c:a/..b", (2,), "bfloat16")], {"source": "npz", "metadata": {}}),
        ([TensorInfo(EXACT, "x" * 65531, (2,), "int16")], {"source": "npz"}),
        ([TensorInfo(EXACT, LONG_NAME, (3,), "float6_e2m3fn", byte_order="|")], {}),
        ([TensorInfo(EXACT, "/../a\0\\", (1,) * 64, "int16")], {}),
        ([TensorInfo(EXACT, "w", ((1 << 63) - 1,), "uint8", byte_order="|")], {}),
        ([], {"extensions": {"a": [[[[[[1]]]]]], "b": [0] * 1024}}),
    ],
)  # fmt: skip
def test_manifests_at_the_bounds_can_be_written_and_read(tensors, options):
    made = manifest(tensors, **options)
    ContainerWriter(Memory(), made)
    waiting = made._replace(
        tensors=tuple(t._replace(parameters=[]) if t.codec == MATRIX else t for t in tensors)
    )
    assert Manifest.unpack(waiting.pack(), "here") == waiting


def manifest_without(key):
    return lambda h: {name: value for name, value in h.items() if name != key}


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda h: h | {"extra": 1}, "7 keys, expected exactly"),
        (lambda h: {"extra": 1} | h, "the keys are"),
        *((manifest_without(key), "the keys are|keys, expected|not a canonical value") for key in PARTS.manifest),
        (lambda h: dict(reversed(h.items())), "the keys are"),
        (lambda h: {k: h[k] for k in ("metadata", "source", *list(h)[2:])}, "in this order"),
        (lambda h: {k: h[k] for k in (*list(h)[:4], "tensors", "extensions")}, "the keys are"),
        (lambda h: {}, "the keys are"),
        (lambda h: [h], "not a canonical value"),
        (lambda h: list(h.values()), "not a canonical value"),
        (lambda h: None, "not a canonical value"),
        (lambda h: 5, "not a canonical value"),
        (lambda h: h | {"source": ["npy"]}, "source is"),
        (lambda h: h | {"source": None}, "source is"),
        (lambda h: h | {"metadata": {"a": 1}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": {"b": "c"}}}, "metadata is"),
        (lambda h: h | {"metadata": {"a": b"b"}}, "metadata is"),
        (lambda h: h | {"metadata": [["a", "b"]]}, "metadata is"),
        (lambda h: h | {"metadata": {1: "b"}}, "not a canonical value"),
        (lambda h: h | {"metadata": {b"a": "b"}}, "metadata is"),
        (lambda h: h | {"set": []}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0, 1, 2]}, "set is"),
        (lambda h: h | {"set": [bytes(17), 0, 1]}, "set is"),
        (lambda h: h | {"set": ["x" * 16, 0, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 1, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), -1, 1]}, "set is"),
        (lambda h: h | {"set": [bytes(16), False, True]}, "set is"),
        (lambda h: h | {"set": [bytes(16), 0.0, 1]}, "set is"),
        (lambda h: h | {"set": {"id": 1}}, "set is"),
        (lambda h: h | {"writer": b"x"}, "writer is"),
        (lambda h: h | {"writer": None}, "writer is"),
        (lambda h: h | {"extensions": None}, "extensions is"),
        (lambda h: h | {"extensions": []}, "extensions is"),
        (lambda h: h | {"extensions": {b"a": 1}}, "a key of a map is not a string"),
        (lambda h: h | {"extensions": {"a": {b"a": 1}}}, "a key of a map is not a string"),
        (lambda h: h | {"extensions": {"a": float("nan")}}, "not finite"),
        (lambda h: h | {"extensions": {"a": [[[[[[[1]]]]]]]}}, "nested deeper than 8"),
        (lambda h: h | {"tensors": {}}, "not a canonical value"),
        (lambda h: h | {"tensors": None}, "not a canonical value"),
        (lambda h: h | {"tensors": "abc"}, "not a canonical value"),
    ],
)  # fmt: skip
def test_manifests_outside_the_format_are_refused(edit, match):
    refused(PARTS.replaced(manifest=edit(dict(PARTS.manifest))).build(), match)


@pytest.mark.parametrize("source", ["hdf5", "", "NPY", "x" * 100_000])
def test_unknown_sources_are_newer(source):
    data = PARTS.replaced(manifest={**PARTS.manifest, "source": source}).build()
    message = refused(data, "made from a '.* file: a later release of nqz is needed", NewerFormatError)
    assert len(message) < 300


NOT_EIGHT = (
    "tensor 2: [0-9]+ values, expected exactly 8: codec, name, shape, dtype, order, byte_order, parameters"
)
NO_LIST = "tensor 2: a list is required"


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda e: 1, NO_LIST),
        (lambda e: None, NO_LIST),
        (lambda e: "abcdefgh", NO_LIST),
        (lambda e: b"abcdefgh", NO_LIST),
        (lambda e: [], NOT_EIGHT),
        (lambda e: [e], NOT_EIGHT),
        (lambda e: e[:-1], NOT_EIGHT),
        (lambda e: e[1:], NOT_EIGHT),
        (lambda e: [*e, None], NOT_EIGHT),
        (lambda e: e + e, NOT_EIGHT),
        (lambda e: dict(zip("abcdefgh", e, strict=True)), NO_LIST),
        (lambda e: e[::-1], "tensor 2: codec is {}"),
        (lambda e: [*e[:4], e[5], e[4], *e[6:]], "tensor 2: order is"),
        (lambda e: [e[0], None, *e[2:]], "tensor 2: the name is not|tensor 2: name is"),
        (lambda e: [e[0], b"ids", *e[2:]], "tensor 2: the name is not|tensor 2: name is"),
        (lambda e: [e[0], ["ids"], *e[2:]], "tensor 2: the name is not|tensor 2: name is"),
        (lambda e: [e[0], "w", *e[2:]], "two tensors have the name 'w'"),
        (lambda e: [e[0], "x" * 65537, *e[2:]], "the name is not a string of at most 65536 bytes"),
        (lambda e: [e[0], "é" * 32769, *e[2:]], "the name is not a string of at most 65536 bytes"),
        (lambda e: [e[0], "__metadata__", *e[2:]], "'__metadata__' is kept for metadata"),
        (lambda e: [None, *e[1:]], "tensor 2: codec is"),
        (lambda e: [b"exact-1", *e[1:]], "tensor 2: codec is"),
        (lambda e: [1, *e[1:]], "tensor 2: codec is"),
        (lambda e: [[], *e[1:]], "tensor 2: codec is"),
        (lambda e: ["nqz-1", *e[1:]], "a matrix needs a floating-point dtype"),
        (lambda e: ["nqz-1", *e[1:3], "float32", *e[4:]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:2], 100, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], {}, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], "", *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], b"\x64", *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], None, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [[100]], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [True], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [100.0], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [-1], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [1] * 65, *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [1 << 63], *e[3:]], "tensor 2: shape is"),
        (lambda e: [*e[:2], [(1 << 63) - 1] * 64, *e[3:]], "more bytes than a file can have"),
        (lambda e: [*e[:2], [1 << 60], *e[3:]], "more bytes than a file can have"),
        (lambda e: [*e[:2], [[[[[[[]]]]]]], *e[3:]], "shape is"),
        (lambda e: [*e[:3], None, *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], ["int64"], *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], b"int64", *e[4:]], "tensor 2: dtype is"),
        (lambda e: [*e[:3], "complex128", *e[4:]], "complex128 entries, which a .safetensors file cannot have"),
        (lambda e: [*e[:4], "A", *e[5:]], "tensor 2: order is"),
        (lambda e: [*e[:4], 0, *e[5:]], "tensor 2: order is"),
        (lambda e: [*e[:4], "F", *e[5:]], "Fortran or big-endian order, which a .safetensors file cannot"),
        (lambda e: [*e[:5], ">", *e[6:]], "Fortran or big-endian order, which a .safetensors file cannot"),
        (lambda e: [*e[:5], "=", *e[6:]], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], None, *e[6:]], "tensor 2: byte_order is"),
        (lambda e: [*e[:5], "|", *e[6:]], "int64 with byte order |"),
        (lambda e: [*e[:6], [], e[7]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:6], False, e[7]], "a matrix has parameters, and nothing else has"),
        (lambda e: [*e[:7], None], "extensions"),
        (lambda e: [*e[:7], []], "extensions"),
        (lambda e: [*e[:7], "x"], "extensions"),
        (lambda e: [*e[:7], {b"a": 1}], "a key of a map is not a string"),
        (lambda e: [*e[:7], {"a": [[[[[1]]]]]}], "nested deeper than 8"),
        (lambda e: [*e[:7], {"a": float("inf")}], "not finite"),
        (lambda e: ["later-1", *e[1:6], [[[[[[1]]]]]], {}], "nested deeper than 8"),
        (lambda e: ["later-1", *e[1:6], {b"a": 1}, {}], "a key of a map is not a string"),
        (lambda e: ["later-1", *e[1:6], [0] * 1025, {}], "1025 exceeds|more than 1024 items"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seen", [False, True], ids=["first", "after one alike"])
def test_entries_of_the_manifest_outside_the_format_are_refused(edit, match, seen):
    """Also behind an entry that is alike: then less of it is looked at."""
    entries = {**PARTS.manifest, "tensors": list(PARTS.manifest["tensors"])}
    if seen:
        entries["tensors"][1] = [*entries["tensors"][2]]
        entries["tensors"][1][1] = "alike"
    entries["tensors"][2] = edit(entries["tensors"][2])
    with pytest.raises(CorruptError, match=match) as caught:
        Manifest.unpack(msgpack.packb(entries), "here")
    assert str(caught.value).startswith("here: ") and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "entry",
    [
        {"exact-1": 0, "x": 0, "": 0, "bool": 0, "C": 0, "|": 0, "p": 0, "e": 0},
        ["exact-1", "x", "", "bool", "C", "|", None, {}],
    ],
    ids=["map", "string"],
)
def test_no_map_is_an_entry_and_no_string_a_shape(entry):
    """Where what they yield one by one is what an entry before has."""
    entries = manifest_map([tensor("a", (), "bool"), entry])
    with pytest.raises(CorruptError, match=r"tensor 1: (a list is required|shape is '')"):
        Manifest.unpack(msgpack.packb(entries), "here")


@pytest.mark.parametrize(
    ("entry", "source", "match"),
    [
        (tensor("a", dtype="bfloat16", byte_order="<"), "npz", "bfloat16 entries, which a .npz file cannot have"),
        (tensor("a", dtype="float8_e5m2"), "npz", "float8_e5m2 entries, which a .npz file cannot have"),
        (tensor("", dtype="bfloat16", byte_order="<"), "npy", "bfloat16 entries, which a .npy file cannot have"),
        (tensor("a"), "npy", "'a' is a name, which a .npy file cannot have"),
        (tensor("a/../b"), "npz", "'a/../b' leads out of its folder, which a .npz file cannot have"),
        (tensor("/a"), "npz", "is an absolute path"),
        (tensor("c:/a"), "npz", "is an absolute path"),
        (tensor("a\\b"), "npz", "contains a backslash"),
        (tensor("a\0b"), "npz", "contains a NUL"),
        (tensor("x" * 65532), "npz", "is too long"),
    ],
)  # fmt: skip
def test_manifests_that_no_file_can_be_made_of_are_refused(entry, source, match):
    data = Container(manifest_map([entry], source), [[("EXCT", exact(b"abc"))]]).build()
    refused(data, match)


@pytest.mark.parametrize("count", [0, 2])
def test_an_array_alone_is_the_only_one(count):
    entries = [tensor("" if number == 0 else "x") for number in range(count)]
    data = Container(manifest_map(entries, "npy"), [[("EXCT", exact(b"abc"))]] * count).build()
    refused(data, "a .npy file has exactly one tensor|is a name")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"\x98\xa7exact-1\xa3ids", b"\xdc\x00\x08\xa7exact-1\xa3ids", "canonical form"),
        (b"\x98\xa7exact-1\xa3ids", b"\xdd\x00\x00\x00\x08\xa7exact-1\xa3ids", "canonical form"),
        (b"\xa3ids", b"\xd9\x03ids", "canonical form"),
        (b"\xa3ids", b"\xa3id\xff", "not a canonical value"),
        (b"\x98\xa7exact-1\xa3ids", b"\x99\xa7exact-1\xa3ids", "9 values"),
        (b"\x98\xa7exact-1\xa3ids", b"\x97\xa7exact-1\xa3ids", "7 values"),
        (b"\x98\xa7exact-1\xa3ids", b"\xdd\xff\xff\xff\xff\xa7exact-1\xa3ids", "exceeds"),
        (b"\x91\x64\xa5int64", b"\x91\xcc\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\x91\xd0\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\x00\x01\x64\xa5int64", "canonical form"),
        (b"\x91\x64\xa5int64", b"\xdc\xff\xff\x64\xa5int64", "exceeds"),
        (b"\x86\xa6source", b"\xde\x00\x06\xa6source", "canonical form"),
        (b"\x86\xa6source", b"\xdf\x00\x00\x00\x06\xa6source", "canonical form"),
        (b"\x86\xa6source", b"\xdf\xff\xff\xff\xff\xa6source", "more items than there are bytes"),
        (b"\x86\xa6source", b"\x87\xa6source", "7 keys"),
        (b"\x86\xa6source", b"\x85\xa6source", "the keys are|5 keys"),
        (b"\xa6source", b"\xd9\x06source", "canonical form"),
        (b"\xa6source", b"\xc4\x06source", "the keys are"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdc\x00\x04", "canonical form"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\x00\x00\x00\x04", "canonical form"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\xff\xff\xff\xff", "more items than there are bytes"),
        (b"\xa7tensors\x94", b"\xa7tensors\xdd\x00\x00\x01\x00", "byte"),
        (b"\xa7tensors\x94", b"\xa7tensors\x93", "26 bytes follow the value"),
        (b"\xa7tensors\x94", b"\xa7tensors\x95", "cut short"),
        (b"\x82\xa1z\xa11\xa1a", b"\x82\xa1z\xa11\xa1z", "canonical form"),
        (b"\x82\xa1z\xa11\xa1a", b"\xde\x00\x02\xa1z\xa11\xa1a", "canonical form"),
        (b"\xa6writer", b"\xa6source", "the keys are"),
        (b"\xc0\xa6writer", b"\xc1\xa6writer", "not a canonical value"),
        (b"\xaaextensions\x80", b"\xaaextensions\xde\x00\x00", "canonical form"),
        (b"\xaaextensions\x80", b"\xaaextensions\x82\xa1a\x01\xa1a\x01", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\x00\xca\x3e\x80\0\0", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\xd0\x00\xcb\x3f\xd0\0\0\0\0\0\0", "canonical form"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\x00\xcb\x7f\xf8\0\0\0\0\0\0", "not finite"),
        (b"\x00\xcb\x3f\xd0\0\0\0\0\0\0", b"\xd4\x05\x00\xcb\x3f\xd0\0\0\0\0\0\0", "not a canonical value|byte|cannot"),
    ],
)  # fmt: skip
def test_manifests_in_another_form_are_refused(old, new, match):
    payload = PARTS.packed_manifest()
    assert payload.count(old) == 1
    refused(PARTS.replaced(manifest=payload.replace(old, new)).build(), match)


def test_manifests_cut_short_or_too_long_are_refused():
    payload = PARTS.packed_manifest()
    assert Manifest.unpack(payload, "here").pack() == payload
    for data in [payload + b"\0", payload + payload, *(payload[:length] for length in range(len(payload)))]:
        with pytest.raises(CorruptError, match=r"^here: "):
            Manifest.unpack(data, "here")


def test_long_lists_are_compared_with_their_canonical_form():
    """In batches: an entry of each in another form."""
    count = 10_000
    plain = [
        tensor(f"t{number}", (0,), extensions={"a": 1} if number % 7 == 0 else None)
        for number in range(count)
    ]
    payload = msgpack.packb(manifest_map(plain))
    found = Manifest.unpack(payload, "here")
    assert found.pack() == payload and [info.name for info in found.tensors] == [entry[1] for entry in plain]
    for number in (0, 4095, 4096, 8191, 8192, count - 1):
        name = f"t{number}".encode()
        old = bytes([0xA0 | len(name)]) + name + b"\x91"
        assert payload.count(old) == 1
        with pytest.raises(CorruptError, match="canonical form"):
            Manifest.unpack(payload.replace(old, b"\xd9" + bytes([len(name)]) + name + b"\x91"), "here")
    twice = payload.replace(b"\xa5t9999\x91", b"\xa5t9998\x91")
    with pytest.raises(CorruptError, match="two tensors have the name 't9998'"):
        Manifest.unpack(twice, "here")
