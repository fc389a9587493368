"""The container as a whole: its layout, reading it, and the detection of any damage."""

from __future__ import annotations

import hashlib
import random
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest

from nqz.format.exct import decode_exact, exact_pieces, zstd_pack
from nqz.format.head import PIECE, Manifest, TensorInfo
from nqz.format.msgpack import is_float, is_uint, pack_fields, unpack_fields
from nqz.format.reader import ContainerReader
from nqz.format.records import FRAMING, MAGIC, VERSION
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import CorruptError, NewerFormatError, NqzError

EXACT = bytes(random.Random(1).randbytes(800))
TENSORS = (
    TensorInfo("w", "matrix", (16, 16), "float32"),
    TensorInfo("empty", "exact", (0, 3), "int64"),
    TensorInfo("ids", "exact", (100,), "int64"),
    TensorInfo("flag", "exact", (), "bool", byte_order="|"),
)
PARAMETERS = {"axis": 0, "delta": 0.25}
CHUNKS = [random.Random(2).randbytes(300), random.Random(3).randbytes(1)]
SCHEMA = {"axis": is_uint, "delta": is_float}


class Memory:
    """The smallest access object."""

    def __init__(self, data=b""):
        self.data = bytearray(data)

    @property
    def size(self):
        return len(self.data)

    def pread_into(self, buffer, offset):
        assert offset >= 0 and offset + len(buffer) <= len(self.data), "read beyond the end"
        buffer[:] = self.data[offset : offset + len(buffer)]

    def pwrite(self, buffer, offset):
        self.data.extend(bytes(max(0, offset + len(buffer) - len(self.data))))
        self.data[offset : offset + len(buffer)] = buffer

    def truncate(self, size):
        del self.data[size:]


def manifest(tensors=TENSORS, source="safetensors", metadata=None):
    return Manifest(source, metadata, tuple(tensors), "nqz test")


def write_matrix(writer, chunks=CHUNKS, center=True):
    writer.write("TENS", pack_fields(PARAMETERS))
    writer.write("NORM", zstd_pack(b"norms" * 9))
    if center:
        writer.write("MEAN", zstd_pack(b"means" * 9))
    for chunk in chunks:
        writer.write("CHNK", chunk)


def build(extra=None):
    """A container of four tensors; `extra(writer, place)` may add records in places 0 to 4."""
    memory = Memory()
    writer = ContainerWriter(memory, manifest(metadata={"z": "1", "a": "ä"}))
    add = extra or (lambda writer, place: None)
    add(writer, 0)
    writer.begin(0)
    write_matrix(writer)
    add(writer, 1)
    writer.begin(1)
    writer.begin(2)
    for payload in exact_pieces([EXACT[:300], EXACT[300:]]):
        writer.write("EXCT", payload)
    add(writer, 2)
    writer.begin(3)
    for payload in exact_pieces([b"\1"]):
        writer.write("EXCT", payload)
    add(writer, 3)
    assert writer.projected_size() == writer.finish() == memory.size
    return bytes(memory.data)


FILE = build()


def check(data):
    """Verify a file and decode whatever in it this layer can decode."""
    reader = ContainerReader(Memory(data), "f.nqz")
    reader.verify()
    for index, info in enumerate(reader.manifest.tensors):
        if info.kind == "exact":
            assert len(b"".join(decode_exact(reader, index))) == info.nbytes
        else:
            unpack_fields(reader.read(reader.find(index, "TENS")[0]), SCHEMA)
            for record in reader.records(index):
                reader.read(record)
    return reader


def split(data):
    """Take a file apart, independently of the reader: [(type, payload)] of HEAD to INDX."""
    records = []
    offset = 12
    while True:
        kind, length = struct.unpack_from("<4sQ", data, offset)
        if kind == b"DONE":
            return records
        records.append((kind, data[offset + 12 : offset + 12 + length]))
        offset += 16 + length


def frame(kind, payload):
    body = kind + struct.pack("<Q", len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body))


def join(records, count=None, length=None, index_offset=None, digest=None, start=None):
    """Put a file together, independently of the writer, with right checksums throughout."""
    parts = [start or MAGIC + b"\0\0\0\0"] + [frame(*record) for record in records]
    total = sum(map(len, parts)) + 72
    end = struct.pack(
        "<QQQ",
        total if length is None else length,
        total - 72 - len(parts[-1]) if index_offset is None else index_offset,
        len(parts) if count is None else count,
    )
    sums = b"".join(hashlib.sha256(part).digest() for part in parts)
    parts.append(frame(b"DONE", end + (digest or hashlib.sha256(sums).digest())))
    return b"".join(parts)


def with_index(records, lengths):
    return [*records[:-1], (b"INDX", msgpack.packb(lengths))]


def lengths_of(records):
    return msgpack.unpackb(records[-1][1])


def refused(data, match, error=CorruptError):
    with pytest.raises(error, match=match) as caught:
        check(data)
    assert str(caught.value).startswith("f.nqz: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_layout_is_the_specified_one():
    assert VERSION == 0 and MAGIC == b"\x8eNQZ\r\n\x1a\n" and FRAMING == 16
    assert join(split(FILE)) == FILE
    kinds = [kind for kind, _ in split(FILE)]
    assert kinds == [b"HEAD", b"TENS", b"NORM", b"MEAN", b"CHNK", b"CHNK", b"EXCT", b"EXCT", b"INDX"]
    head = msgpack.unpackb(split(FILE)[0][1])
    assert list(head) == ["source", "metadata", "tensors", "writer"]
    assert list(head["metadata"].items()) == [("z", "1"), ("a", "ä")]
    assert head["tensors"] == [
        ["w", "matrix", [16, 16], "float32", "C", "<"],
        ["empty", "exact", [0, 3], "int64", "C", "<"],
        ["ids", "exact", [100], "int64", "C", "<"],
        ["flag", "exact", [], "bool", "C", "|"],
    ]
    assert split(FILE)[1][1] == b"\x92\x00\xcb" + struct.pack(">d", 0.25)
    sizes = [len(payload) for _, payload in split(FILE)]
    assert lengths_of(split(FILE)) == [[], sizes[1:6], [], sizes[6:7], sizes[7:8]]


def test_reader_returns_what_was_written():
    reader = check(FILE)
    assert reader.manifest == manifest(metadata={"z": "1", "a": "ä"})
    assert [r.type for r in reader.records(0)] == ["TENS", "NORM", "MEAN", "CHNK", "CHNK"]
    assert [reader.read(r, "CHNK") for r in reader.find(0, "CHNK")] == CHUNKS
    assert unpack_fields(reader.read(reader.find(0, "TENS")[0]), SCHEMA) == PARAMETERS
    assert reader.records(1) == [] and list(decode_exact(reader, 1, 0)) == []
    assert b"".join(decode_exact(reader, 2, 800)) == EXACT
    assert b"".join(decode_exact(reader, 3)) == b"\1"
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reader.read, reader.find(0, "CHNK") * 20)) == CHUNKS * 20


def test_opening_reads_only_the_ends_and_the_manifest():
    reads = []

    class Counting(Memory):
        def pread_into(self, buffer, offset):
            reads.append((offset, len(buffer)))
            super().pread_into(buffer, offset)

    ContainerReader(Counting(FILE), "f.nqz")
    head = 12 + 16 + len(split(FILE)[0][1])
    index = len(FILE) - 72 - 16 - len(split(FILE)[-1][1])
    assert reads and all(offset + size <= head or offset >= index for offset, size in reads)


def test_every_flipped_bit_is_detected():
    assert 1000 < len(FILE) < 2500
    for position in range(len(FILE)):
        for bit in range(8):
            damaged = bytearray(FILE)
            damaged[position] ^= 1 << bit
            with pytest.raises((CorruptError, NewerFormatError)):
                ContainerReader(Memory(damaged), "f.nqz").verify()


def test_a_flipped_bit_in_a_payload_is_detected_on_reading_it():
    record = ContainerReader(Memory(FILE), "f.nqz").find(0, "CHNK")[0]
    damaged = bytearray(FILE)
    damaged[record.offset + 20] ^= 1
    reader = ContainerReader(Memory(damaged), "f.nqz")
    with pytest.raises(CorruptError, match=f"f.nqz: damaged: .* CHNK at byte {record.offset} does not match"):
        reader.read(reader.find(0, "CHNK")[0])


def test_every_truncation_is_detected():
    messages = [refused(FILE[:length], ".") for length in range(len(FILE))]
    assert "empty file" in messages[0]
    assert all("truncated" in message for message in messages[1:])
    assert "at byte" in messages[-1]


@pytest.mark.parametrize("tail", [b"\0", b"\n", bytes(72), FILE, FILE[-72:]])
def test_trailing_bytes_and_concatenations_are_refused(tail):
    message = refused(FILE + tail, "follow the end record")
    assert f"{len(tail)} bytes follow" in message and f"at byte {len(FILE)}" in message


def test_bytes_in_front_are_refused():
    refused(b"\n" + FILE, "not an nqz file")


def test_a_file_that_changes_is_noticed():
    memory = Memory(FILE)
    reader = ContainerReader(memory, "f.nqz")
    memory.data[:] = join(split(FILE), digest=bytes(32))
    with pytest.raises(CorruptError, match="changed while it was being read"):
        reader.verify()


def test_a_gap_between_records_is_refused():
    end = len(FILE) - 72
    patched = struct.pack("<Q", len(FILE) + 1) + FILE[end + 20 : end + 68]
    refused(FILE[:end] + b"\0" + frame(b"DONE", patched), "byte")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\x93NUMPY\1\0v\0{'descr'", "a .npy file"),
        (struct.pack("<Q", 20) + b'{"a":1}' + bytes(20), "a .safetensors file"),
        (FILE.replace(b"\r\n", b"\n"), "text mode"),
        (FILE.replace(b"\n", b"\r\n"), "text mode"),
        (FILE.replace(b"\r\n", b"\r"), "text mode"),
        (bytes(b & 0x7F for b in FILE), "text mode"),
        (FILE.decode("latin-1").encode("utf-8"), "text mode"),
        (FILE.decode("utf-8", "replace").encode("utf-8"), "text mode"),
        (b"PK\3\4" + bytes(100), "not an nqz file"),
        (bytes(200), "not an nqz file"),
        (MAGIC + b"\0\0\0\0", "truncated"),
        (MAGIC + b"\0\0\0\0" + bytes(1 << 20), "no record begins at byte 12"),
    ],
)
def test_other_files_are_told_apart(data, match):
    refused(data, match)


def test_newer_version_names_both():
    for version in (1, 256, 65535):
        data = join(split(FILE), start=MAGIC + struct.pack("<HH", version, 0))
        message = refused(data, "later release", NewerFormatError)
        assert f"version {version} " in message and "reads version 0" in message


@pytest.mark.parametrize("reserved", [1, 0x8000])
def test_reserved_bytes_must_be_zero(reserved):
    refused(join(split(FILE), start=MAGIC + struct.pack("<HH", 0, reserved)), "reserved bytes at byte 10")


@pytest.mark.parametrize("place", range(4))
def test_unknown_optional_record_is_skipped(place):
    data = build(lambda writer, here: writer.write("nOTE", b"hello") if here == place else None)
    reader = check(data)
    owner = {0: None, 1: 0, 2: 2, 3: 3}[place]
    for index in range(4):
        assert len(reader.find(index, "nOTE")) == (index == owner)
    assert b"".join(decode_exact(reader, 2)) == EXACT


def test_verify_reports_progress():
    memory = Memory()
    writer = ContainerWriter(memory, manifest(TENSORS[:1]))
    writer.begin(0)
    write_matrix(writer, [bytes(700_000)] * 5)
    writer.finish()
    seen = []
    ContainerReader(memory, "f.nqz").verify(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (memory.size, memory.size) and 2 < len(seen) <= 5


def test_exact_tensors_in_pieces():
    raw = bytes(PIECE) + random.Random(5).randbytes(1000)
    info = TensorInfo("x", "exact", (len(raw),), "uint8", byte_order="|")
    memory = Memory()
    writer = ContainerWriter(memory, manifest([info]))
    writer.begin(0)
    payloads = list(exact_pieces([raw[i : i + 1_000_000] for i in range(0, len(raw), 1_000_000)]))
    assert payloads == list(exact_pieces([raw])) and len(payloads) == 2
    for payload in payloads:
        writer.write("EXCT", payload)
    writer.finish()
    reader = check(memory.data)
    assert [len(piece) for piece in decode_exact(reader, 0, len(raw))] == [PIECE, 1000]
    assert b"".join(decode_exact(reader, 0)) == raw
    with pytest.raises(NqzError, match="asked for 5"):
        list(decode_exact(reader, 0, 5))


def test_dtypes_are_those_of_the_document():
    from nqz.ground import dtypes

    text = (Path(__file__).parent.parent / "docs" / "format.md").read_text()
    table = text.split("| dtype | bits per entry |")[1].split("\n\n")[0]
    stated = {
        name: int(bits)
        for names, bits in re.findall(r"^\| (`.*`) \| (\d+) \|$", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert stated == {name: dtypes.data_bytes((8,), name) for name in dtypes._TABLE}
