"""Files that no writer makes, with right checksums: a wrong order, index, end record, manifest or size."""

from __future__ import annotations

import random
import struct
import tracemalloc

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
from nqz.format.reader import ContainerReader
from nqz.format.records import Record
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError
from test_format_records import CHUNKS, DATA, FILE, PARTS, TENSORS, Counting, Memory, check, refused

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
        (W, lambda r: [("MANI", b""), *r], "'w': a record MANI in front of the manifest"),
        (IDS, lambda r: [*r, ("INDX", b"")], "'ids': a record INDX in front of the manifest"),
        (FLAG, lambda r: [*r, ("DONE", bytes(64))], "'flag': a record DONE in front of the manifest"),
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
        with pytest.raises(CorruptError, match=rf"f.nqz: a record {kind} (that|in front)"):
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
