"""The .npz format: what NumPy writes is read and written again; archives that are not what they seem are refused."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zipfile
import zlib
from dataclasses import dataclass

import ml_dtypes  # teaches NumPy bfloat16, which safetensors needs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nst
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import fail, listing, matrix, save, succeed
from nqz.commands.opening import open_file
from nqz.files import npz, unzip
from nqz.files import zip as zip_records
from nqz.files.access import FileAccess, MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.npy import build_header
from nqz.files.npz import NPZ
from nqz.files.sink import MatrixSink
from nqz.files.source import open_source
from nqz.ground.errors import CorruptError, DiskFullError, NqzError, UnsupportedError, UsageError


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


ARRAY = np.arange(12, dtype="<f4").reshape(3, 4)
CONTENT = npy(ARRAY)


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@dataclass
class Member:
    """A member of an archive built by hand; what is None is as it should be."""

    name: bytes = b"a.npy"
    data: bytes = CONTENT
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    local: dict | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    descriptor: bytes = b""
    offset: int | None = None
    before: bytes = b""
    disk: int = 0


def build(members, front=b"", gap=b"", tail=b"", end=None) -> bytes:
    """An archive of these members, with bytes in front, before the directory, and behind the end."""
    out, entries = bytearray(front), bytearray()
    for m in members:
        out += m.before
        packed = m.packed
        if packed is None:
            packed = deflate(m.data) if m.method == 8 else m.data
        crc = zlib.crc32(m.data) if m.crc is None else m.crc
        size = len(m.data) if m.size is None else m.size
        local = {
            "flags": m.flags,
            "method": m.method,
            "crc": crc,
            "packed": len(packed),
            "size": size,
            "name": m.name,
        }
        local |= m.local or {}
        offset = len(out) if m.offset is None else m.offset
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, local["flags"], local["method"], 0, 33, local["crc"],
                           local["packed"], local["size"], len(local["name"]), len(m.local_extra))  # fmt: skip
        out += local["name"] + m.local_extra + packed + m.descriptor
        entries += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, m.flags, m.method, 0, 33, crc, len(packed), size,
                               len(m.name), len(m.extra), 0, m.disk, 0, 0, offset)  # fmt: skip
        entries += m.name + m.extra
    out += gap
    fields = {
        "disk": 0,
        "here": len(members),
        "count": len(members),
        "size": len(entries),
        "begin": len(out),
        "comment": 0,
    }
    fields |= end or {}
    f = fields
    out += entries + struct.pack("<4s4H2LH", b"PK\5\6", f["disk"], f["disk"], f["here"], f["count"], f["size"],
                                 f["begin"], f["comment"])  # fmt: skip
    return bytes(out) + tail


def opened(content: bytes):
    return open_source(io.BytesIO(content))


def arrays_of(source) -> dict:
    return {
        t.name: np.frombuffer(b"".join(t.pieces(4099)), np.dtype(t.dtype).newbyteorder(t.byte_order)).reshape(
            t.shape, order="F" if t.fortran_order else "C"
        )
        for t in source.tensors
    }


def rebuilt(source) -> bytes:
    """The archive written of the tensors of a source."""
    specs = [TensorSpec(t.name, t.shape, t.dtype, t.fortran_order, t.byte_order) for t in source.tensors]
    access = MemoryAccess(bytearray())
    sink = MatrixSink(access, "npz", specs)
    for index in reversed(range(len(specs))):
        offset = 0
        for piece in source.tensors[index].pieces(10007):
            sink.write_bytes(index, offset, piece)
            offset += len(piece)
    sink.finish()
    assert access.size == sink.total_bytes
    return bytes(access._data)


class Pipe(io.RawIOBase):
    """What cannot seek: sizes and sums then follow the data."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.content += data
        return len(data)


def saved(arrays, save=np.savez, pipe=False) -> bytes:
    stream = Pipe() if pipe else io.BytesIO()
    save(stream, **arrays)
    return bytes(stream.content) if isinstance(stream, Pipe) else stream.getvalue()


def check_round_trip(arrays, save, pipe):
    content = saved(arrays, save, pipe)
    with opened(content) as source:
        assert source.kind.name == "npz" and source.metadata is None
        assert [t.name for t in source.tensors] == np.load(io.BytesIO(content)).files == list(arrays)
        found = arrays_of(source)
        written = rebuilt(source)
    for again in (found, np.load(io.BytesIO(written))):
        assert list(again) == list(arrays)
        for name, array in arrays.items():
            assert again[name].dtype == array.dtype and again[name].shape == array.shape
            assert again[name].tobytes() == array.tobytes()
            assert again[name].flags.f_contiguous == array.flags.f_contiguous
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert archive.testzip() is None
    with opened(written) as source:
        assert rebuilt(source) == written


SAVES = [np.savez, np.savez_compressed]
MIXED = {
    "w": ARRAY,
    "fortran": np.asfortranarray(np.ones((5, 6), ">f8")),
    "x/y.npy": np.zeros((0, 3), "<f2"),
    "ü ∇": np.arange(3, dtype=">i4"),
    "flag": np.array(True),
    "z": np.array([1 + 2j], "<c16"),
    "big": np.zeros((300, 1000)),
    "": np.array([7], np.uint8),
}


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("save", SAVES)
def test_what_numpy_writes(save, pipe):
    check_round_trip(MIXED, save, pipe)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\/."), max_size=5)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        NAMES.filter(lambda name: name != "file"),
        st.tuples(
            nst.arrays(
                st.sampled_from(["<f4", ">f4", "<f2", "<f8", "|b1", "|i1", ">u2", "<i8", "<c8", ">c16"]),
                nst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
                elements={"allow_nan": False},
            ),
            st.sampled_from("CF"),
        ),
        max_size=4,
    ),
    st.sampled_from(SAVES),
    st.booleans(),
)
def test_any_arrays_round_trip(arrays, save, pipe):
    check_round_trip(
        {name: np.asarray(array, order=order) for name, (array, order) in arrays.items()}, save, pipe
    )


def test_stored_members_are_read_in_place_and_deflated_ones_from_a_temporary_file():
    with opened(build([Member(), Member(b"b.npy", method=8)])) as source:
        stored, deflated = source.tensors
        assert isinstance(stored._access, MemoryAccess) and isinstance(deflated._access, FileAccess)
        assert np.array_equal(stored.vectors(0).read(0, 4), ARRAY)
        assert np.array_equal(deflated.vectors(0).read(1, 3), ARRAY[:, 1:3])


def test_temporary_files_are_closed():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        opened(build([Member(method=8)])).close()
        open_file(io.BytesIO(build([Member(method=8)])), container=False).close()
        with pytest.raises(CorruptError):
            opened(build([Member(method=8), Member(b"b.npy", crc=1)]))
    assert len(os.listdir("/proc/self/fd")) == before


def test_full_disk_under_deflated_members(monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFullError, match=r"temporary copy of .*: cannot write: no space left"):
        opened(build([Member(method=8)]))
    opened(build([Member()])).close()


def test_order_is_that_of_the_directory():
    first, second = Member(b"z.npy"), Member(b"a.npy", npy(np.zeros(2)))
    content = build([first, second])
    # the entries exchanged, the members where they are
    begin = content.index(b"PK\1\2")
    length = 46 + len(first.name)
    swapped = (
        content[:begin] + content[begin + length : -22] + content[begin : begin + length] + content[-22:]
    )
    with opened(swapped) as source:
        assert [t.name for t in source.tensors] == np.load(io.BytesIO(swapped)).files == ["a", "z"]
        assert source.tensors[1].shape == (3, 4)


def test_an_empty_archive():
    with opened(saved({})) as source:
        assert source.tensors == [] and rebuilt(source) == saved({})


def test_extra_fields_of_other_programs_are_passed_over():
    time = struct.pack("<2HBL", 0x5455, 5, 1, 0)
    with opened(build([Member(extra=time, local_extra=time + b"\0\0\0")])) as source:
        assert source.tensors[0].shape == (3, 4)


# Refusals

WIDE = struct.pack("<2H2Q", 1, 16, len(CONTENT), len(CONTENT))
WIDE_DESCRIPTOR = struct.pack("<4sL2Q", b"PK\7\x08", zlib.crc32(CONTENT), len(CONTENT), len(CONTENT))
FULL = 0xFFFFFFFF


def described(signature=b"PK\7\x08", crc=None, size=None) -> bytes:
    size = len(CONTENT) if size is None else size
    return struct.pack("<4s3L", signature, zlib.crc32(CONTENT) if crc is None else crc, size, size)


UNSUPPORTED = [
    ([Member(b"/etc/a.npy")], "'/etc/a.npy': its name is an absolute path; rename"),
    ([Member(b"C:/a.npy")], "absolute"),
    ([Member(b"../a.npy")], "leads out of its folder"),
    ([Member(b"x/../../a.npy")], "leads out"),
    ([Member(b"x/...npy")], None),
    ([Member(b"x\\a.npy")], "contains a backslash"),
    ([Member(b"a.txt", b"text")], "'a.txt': is no array"),
    ([Member(b"a.NPY")], "is no array"),
    ([Member(), Member(b"x/", b"")], "'x/': is a folder"),
    ([Member(flags=1)], "'a.npy': is encrypted"),
    ([Member(flags=1 << 5)], "features of zip"),
    ([Member(flags=1 << 13)], "features of zip"),
    ([Member(disk=1)], "features of zip"),
    ([Member(method=12, packed=b"x")], "method 12; use numpy.savez"),
    ([Member(method=93, packed=b"x")], "method 93"),
    ([Member(method=123, packed=b"x")], "method 123"),
    ([Member(data=npy(np.array([None]), allow_pickle=True))], "'a.npy': holds Python objects"),
    ([Member(data=npy(np.zeros(2, "M8[s]")))], "'a.npy': dtype"),
    ([Member(data=npy(np.zeros(2, [("x", "f4")])))], "'a.npy': has a structured dtype"),
    ([Member(data=CONTENT[:6] + b"\4\0" + CONTENT[8:])], "'a.npy': .npy format version 4.0"),
]
CORRUPT = [
    ([Member(b"a\0b.npy")], {}, "read in two ways"),
    ([Member(b"a.npy\0")], {}, "read in two ways"),
    ([Member(), Member()], {}, "two members are called 'a.npy'"),
    ([Member(b"\xff.npy", flags=0x800)], {}, "directory is damaged"),
    ([Member(data=b"")], {}, "'a.npy': is not a .npy file"),
    ([Member(data=b"\x80\x04N.")], {}, "'a.npy': is not a .npy file"),
    ([Member(data=CONTENT[:-1])], {}, "'a.npy': truncated: 1 data byte is missing of 48"),
    ([Member(data=CONTENT + b"x")], {}, "'a.npy': 1 byte follows the data"),
    ([Member(method=8, data=CONTENT[:-1])], {}, "'a.npy': truncated: 1 data byte"),
    ([Member(method=8, data=CONTENT + b"x")], {}, "1 byte follows the data"),
    ([Member(crc=5)], {}, "'a.npy': damaged: its CRC-32"),
    ([Member(method=8, crc=5)], {}, "'a.npy': damaged: its CRC-32"),
    # sizes that lie
    ([Member(size=len(CONTENT) + 1)], {}, "is stored, in"),
    ([Member(method=8, size=len(CONTENT) - 1)], {}, "inflates to more than the 175"),
    ([Member(method=8, size=len(CONTENT) + 1)], {}, "inflates to 176 of 177"),
    ([Member(method=8, data=CONTENT, packed=deflate(CONTENT + b"x"))], {}, "inflates to more than the 176"),
    ([Member(method=8, data=CONTENT, packed=deflate(CONTENT[:-1]))], {}, "inflates to 175 of 176"),
    ([Member(method=8, data=CONTENT, packed=deflate(CONTENT)[:-1])], {}, "is cut short"),
    (
        [Member(method=8, data=CONTENT, packed=deflate(CONTENT) + b"x")],
        {},
        "bytes follow the end of its deflated",
    ),
    ([Member(method=8, data=CONTENT, packed=b"\xff" * 50)], {}, "deflated data is damaged"),
    ([Member(method=8, data=CONTENT, packed=b"")], {}, "cannot hold the 176"),
    ([Member(method=8, data=CONTENT, packed=b"x", size=2000)], {}, "1 deflated byte cannot hold the 2000"),
    # local headers that say something else
    ([Member(local={"name": b"b.npy"})], {}, "another name, method or flags"),
    ([Member(local={"method": 8})], {}, "another name"),
    ([Member(local={"flags": 0x800})], {}, "another name"),
    ([Member(local={"size": 1})], {}, "another size or CRC"),
    ([Member(local={"crc": 1})], {}, "another size or CRC"),
    ([Member(local={"packed": FULL, "size": FULL})], {}, "lacks the sizes of 64 bits"),
    ([Member(local={"packed": FULL, "size": FULL}, local_extra=WIDE[:12])], {}, "lacks the sizes"),
    (
        [Member(local={"packed": FULL, "size": FULL}, local_extra=struct.pack("<2H2Q", 1, 16, 1, 1))],
        {},
        "another size",
    ),
    ([Member(local={"packed": 0, "size": 0})], {}, "another size"),
    ([Member(local_extra=struct.pack("<2H2Q", 1, 16, len(CONTENT), 1))], {}, "another size"),
    ([Member(flags=8, local_extra=WIDE, descriptor=described())], {}, "reaches into|what follows"),
    ([Member(flags=8, local={"size": 3}, descriptor=described())], {}, "another size"),
    ([Member(flags=8, descriptor=described(crc=1))], {}, "what follows its data states"),
    ([Member(flags=8, descriptor=described(size=1))], {}, "what follows its data"),
    ([Member(flags=8, descriptor=described(b"PK\7\7"))], {}, "what follows its data"),
    ([Member(flags=8)], {}, "reaches into the zip directory"),
    ([Member(flags=8), Member(b"b.npy")], {}, "what follows its data"),
    # bytes without a meaning, or with two
    ([Member()], {"front": b"PK\3\4\x14\0\0\0" + b"#" * 30}, "before it 38 bytes belong to no member"),
    ([Member(), Member(b"b.npy", before=b"hidden")], {}, "'b.npy': before it 6 bytes"),
    ([Member()], {"gap": b"hidden"}, "before the zip directory 6 bytes belong to no"),
    ([Member(), Member(b"b.npy", offset=0)], {}, "overlaps another member at byte 0"),
    ([Member(offset=7)], {}, "before it 7 bytes"),
    ([Member(), Member(b"b.npy", offset=230)], {}, "before it belong|no member"),
    ([Member(packed=CONTENT[:100], data=CONTENT)], {}, "is stored, in 100 bytes"),
    ([Member()], {"tail": b"x"}, "bytes follow the zip archive"),
    ([Member()], {"tail": b"x" * 70000}, "bytes follow the zip archive"),
    ([Member()], {"end": {"comment": 5}}, "a comment of 5 bytes"),
    ([Member()], {"end": {"count": 2, "here": 2}}, "lists 1 member, its end record 2"),
    ([Member(), Member(b"b.npy")], {"end": {"count": 1, "here": 1}}, "lists 2 members"),
    ([Member()], {"end": {"begin": 1}}, "is said to be at byte 1"),
    ([Member()], {"end": {"begin": FULL}}, "is said to be at"),
    ([Member()], {"end": {"size": 7}}, "is said to be at"),
]


@pytest.mark.parametrize(("members", "words"), UNSUPPORTED)
def test_what_is_not_supported(members, words):
    if words is None:
        opened(build(members)).close()
        return
    with pytest.raises(UnsupportedError, match=words) as caught:
        opened(build(members))
    assert str(caught.value).startswith("<file object>: member ")


@pytest.mark.parametrize(("members", "options", "words"), CORRUPT)
def test_what_is_corrupt(members, options, words):
    with pytest.raises(CorruptError, match=words):
        opened(build(members, **options))


def test_what_is_built_by_hand_is_proper_otherwise():
    for members in (
        [Member()],
        [Member(method=8)],
        [Member(flags=8, descriptor=described())],
        [Member(flags=8, local={"crc": 0, "packed": 0, "size": 0}, descriptor=described())],
        [Member(local={"packed": FULL, "size": FULL}, local_extra=WIDE)],
        [Member(local_extra=WIDE)],
        [
            Member(
                flags=8,
                local={"crc": 0, "packed": 0, "size": 0},
                local_extra=WIDE,
                descriptor=WIDE_DESCRIPTOR,
            )
        ],
        [Member("ü.npy".encode(), flags=0x800)],
        [Member("ü.npy".encode("cp437"))],
    ):
        with opened(build(members)) as source:
            assert np.array_equal(arrays_of(source)[source.tensors[0].name], ARRAY)


def test_parts_of_archives_are_not_supported():
    for end in ({"disk": 1}, {"here": 0}):
        with pytest.raises(UnsupportedError, match="one part of a zip archive"):
            opened(build([Member()], end=end))


@pytest.mark.parametrize("save", SAVES)
def test_every_truncation_is_corrupt(save):
    content = saved({"a": ARRAY, "b": np.arange(3)}, save)
    for length in range(len(content)):
        with pytest.raises(CorruptError):
            opened(content[:length])


@pytest.mark.parametrize("save", SAVES)
def test_every_bit_of_the_data_counts(save):
    content = saved({"a": ARRAY}, save)
    begin = 30 + 5 + 20
    for position in range(begin, content.index(b"PK\1\2")):
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(NqzError):
            opened(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAVES), st.booleans(), st.data())
def test_damage_raises_only_errors_of_nqz(save, pipe, data):
    content = bytearray(saved({"a": ARRAY, "b": np.arange(3)}, save, pipe))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with opened(bytes(content)) as source:
            assert all(sum(map(len, t.pieces())) == t.nbytes for t in source.tensors)
        message = "read"
    except NqzError as error:
        message = str(error)
    assert message and "\n" not in message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_raise_only_errors_of_nqz(data):
    for start in (b"PK\3\4", b"PK\5\6"):
        with pytest.raises(NqzError):
            opened(start + data)


def bomb(shape, size, count=1) -> bytes:
    """Members of zeros, `size` bytes of them, with a header for `shape`."""
    header = build_header(TensorSpec("", shape, "float32"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc, packed = zlib.crc32(header), bytearray(packer.compress(header))
    for first in range(0, size, 1 << 20):
        piece = bytes(min(1 << 20, size - first))
        crc, packed = zlib.crc32(piece, crc), packed + packer.compress(piece)
    packed += packer.flush()
    total = len(header) + int(np.prod(shape, dtype=object)) * 4
    return build(
        [Member(b"%d.npy" % i, b"", 8, packed=bytes(packed), crc=crc, size=total) for i in range(count)]
    )


def test_a_bomb_is_refused_before_anything_is_written(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: pytest.fail("nothing should be written"))
    with pytest.raises(CorruptError, match="deflated bytes cannot hold"):
        opened(bomb((1 << 10, 1 << 18), 1 << 16))
    zeros = bomb((1 << 10, 1 << 10), 1 << 22)
    member = Member(b"a.npy", CONTENT, 8, packed=zeros[35 : zeros.index(b"PK\1\2")])
    with pytest.raises(CorruptError, match=r"'a.npy': inflates to more than the 176 bytes"):
        opened(build([member]))


def test_a_member_never_writes_more_than_it_states(monkeypatch):
    content = bomb((10, 1 << 10), (10 << 12) + 100_000)
    written = []
    monkeypatch.setattr(FileAccess, "pwrite", lambda self, data, offset: written.append(len(data)))
    with pytest.raises(CorruptError, match="inflates to more than"):
        opened(content)
    assert sum(written) <= 10 << 12


def test_a_huge_directory_is_not_read(monkeypatch):
    for module in (zip_records, unzip):
        monkeypatch.setattr(module, "MAX_DIRECTORY", 100)
    opened(build([Member()])).close()
    with pytest.raises(UnsupportedError, match=r"a zip directory of \d+ bytes; nqz reads up to 100"):
        opened(build([Member(), Member(b"b.npy")]))
    with pytest.raises(UnsupportedError, match=r"directory of the .npz file would take"):
        MatrixSink(MemoryAccess(bytearray()), "npz", [TensorSpec(name, (1,), "int8") for name in "abc"])


# Archives beyond 4 GiB, or 65 534 members


class Sparse:
    """Memory of which only what is written is kept, in pieces; the rest is zeros."""

    identity = None
    name = "sparse"

    def __init__(self):
        self.size, self._parts = 0, {}

    def reserve(self, size):
        self.size = size

    def close(self):
        pass

    def pwrite(self, data, offset):
        self._parts[offset] = bytes(data)

    def pread_into(self, buffer, offset):
        view = memoryview(buffer).cast("B")
        assert offset + len(view) <= self.size
        view[:] = bytes(len(view))
        for begin, part in self._parts.items():
            first, last = max(begin, offset), min(begin + len(part), offset + len(view))
            if first < last:
                view[first - offset : last - offset] = part[first - begin : last - begin]


def test_sizes_and_offsets_of_64_bits(monkeypatch):
    monkeypatch.setattr(npz, "_check", lambda *arguments: None)
    monkeypatch.setattr(zlib, "crc32", lambda data, value=0: 7)
    monkeypatch.setattr(zip_records, "_PIECE", 1 << 30)
    monkeypatch.setattr(zip_records, "read", small_reads(zip_records.read))
    specs = [TensorSpec("a", (5, 1 << 30), "int8"), TensorSpec("b", (3,), "int8")]
    access = Sparse()
    sink = MatrixSink(access, "npz", specs)
    sink.finish()
    source = NPZ.read(access, "x.npz")
    assert [(t.name, t.shape, t.offset) for t in source.tensors] == [
        (spec.name, spec.shape, offset) for spec, offset in zip(specs, sink._layout.offsets, strict=True)
    ]
    with zipfile.ZipFile(unzip._Stream(access)) as archive:
        big, small = archive.infolist()
        assert big.file_size == (5 << 30) + 128 and small.header_offset > 5 << 30


def small_reads(read):
    """Reading without the memory for large pieces."""
    return lambda access, offset, count: read(access, offset, min(count, 1 << 20))


def test_many_members(monkeypatch):
    for module in (zip_records, unzip):
        monkeypatch.setattr(module, "FULL16", 100)  # 65 535 take a while
    specs = [TensorSpec(str(i), (1,), "uint8") for i in range(200)]
    access = MemoryAccess(bytearray())
    sink = MatrixSink(access, "npz", specs)
    sink.finish()
    content = bytes(access._data)
    assert len(np.load(io.BytesIO(content)).files) == 200
    with opened(content) as source:
        assert [t.name for t in source.tensors] == [spec.name for spec in specs]
    place = content.rindex(b"PK\6\6")
    for position, value in (
        (place + 24, 5),
        (place + 4, 45),
        (len(content) - 22 - 20 + 8, 1),
        (len(content) - 10, 5),
    ):
        damaged = bytearray(content)
        damaged[position] ^= value
        with pytest.raises(NqzError, match=r"second end record|do not agree|one part|is said to be at"):
            opened(bytes(damaged))


# Writing


@pytest.mark.parametrize(
    ("specs", "error", "words"),
    [
        (
            [TensorSpec("a", (1,), "float8_e5m2")],
            UnsupportedError,
            "'a': a .npy file cannot hold float8_e5m2; write",
        ),
        ([TensorSpec("a", (1,), "int8")] * 2, UsageError, "two tensors are named 'a'"),
        ([TensorSpec("../a", (1,), "int8")], UnsupportedError, "its name leads out .* write .safetensors"),
        ([TensorSpec("/a", (1,), "int8")], UnsupportedError, "absolute"),
        ([TensorSpec("a\0", (1,), "int8")], UnsupportedError, "contains a NUL"),
        ([TensorSpec("a\\b", (1,), "int8")], UnsupportedError, "backslash"),
        ([TensorSpec("ü" * 40_000, (1,), "int8")], UnsupportedError, "too long"),
    ],
)
def test_what_cannot_be_written(specs, error, words):
    with pytest.raises(error, match=words):
        MatrixSink(MemoryAccess(bytearray()), "npz", specs)


def test_written_bytes_are_fixed():
    access = MemoryAccess(bytearray())
    sink = MatrixSink(access, "npz", [TensorSpec("a", (3, 4), "float32")])
    sink.write_bytes(0, 0, ARRAY)
    sink.finish()
    crc = zlib.crc32(CONTENT)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, crc, 176, 176, 5, 0) + b"a.npy"
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 0x314, 20, 0, 0, 0, 33, crc, 176, 176, 5, 0, 0, 0, 0, 0o100644 << 16, 0
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 51, 211, 0)
    assert bytes(access._data) == local + CONTENT + entry + b"a.npy" + end


def test_a_safetensors_file_whose_length_spells_zip():
    for length in (0x4B50, 0x04034B50):
        if length < 1 << 20:
            content = struct.pack("<Q", length) + b"{}".ljust(length)
            with opened(content) as source:
                assert source.kind.name == "safetensors"
        assert not NPZ.sniff(struct.pack("<Q", length) + b"{", 100)


# Commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with model.npz."""
    monkeypatch.chdir(tmp_path)
    np.savez_compressed(
        "model.npz", w=matrix(64, 20), fortran=np.asfortranarray(matrix(64, 12, seed=1)).astype(">f8"),
        bias=matrix(20), ids=np.arange(5, dtype=">i8"), mask=np.array([True, False]),
        turned=np.asfortranarray(np.eye(3, dtype="i4")),
    )  # fmt: skip
    return tmp_path


def test_archive_to_container_and_back(folder, capsys):
    assert (
        "model.npz -> model.nqz: 2 of 6 tensors compressed"
        in succeed(capsys, "encode", "model.npz", "-r", "6").err
    )
    assert "6 tensors, from .npz" in succeed(capsys, "inspect", "model.nqz").out
    succeed(capsys, "verify", "model.nqz", "--against", "model.npz")
    fail(capsys, 9, "decode", "model.nqz", "-o", "model.npz")
    succeed(capsys, "decode", "model.nqz", "-f")  # model.npz, by default
    succeed(capsys, "decode", "model.nqz", "-o", "again.npz", "--threads", "3")
    assert (folder / "again.npz").read_bytes() == (folder / "model.npz").read_bytes()
    back = np.load("model.npz", allow_pickle=False)
    assert back.files == ["w", "fortran", "bias", "ids", "mask", "turned"]
    assert [back[n].dtype.str for n in back.files] == ["<f4", ">f8", "<f4", ">i8", "|b1", "<i4"]
    assert back["fortran"].flags.f_contiguous and back["turned"].flags.f_contiguous
    assert np.allclose(back["w"], matrix(64, 20), atol=0.2) and not np.array_equal(back["w"], matrix(64, 20))
    assert np.array_equal(back["bias"], matrix(20)) and np.array_equal(back["ids"], np.arange(5))
    assert np.array_equal(back["mask"], [True, False]) and np.array_equal(back["turned"], np.eye(3))
    with nqz.open("model.nqz") as container:
        assert list(container) == back.files and container.metadata is None


def test_from_pipe_to_pipe(folder, capsys, monkeypatch):
    content = (folder / "model.npz").read_bytes()
    coded, out = io.BytesIO(), io.BytesIO()

    class Standard:
        def __init__(self, stream):
            self.buffer = stream

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stdin", Standard(io.BytesIO(content)))
    monkeypatch.setattr("sys.stdout", Standard(coded))
    assert nqz.cli.run(["encode", "-", "-r", "4", "-q"]) == 0
    monkeypatch.setattr("sys.stdin", Standard(io.BytesIO(coded.getvalue())))
    monkeypatch.setattr("sys.stdout", Standard(out))
    assert nqz.cli.run(["decode", "-", "-q"]) == 0
    assert np.load(io.BytesIO(out.getvalue())).files[:2] == ["w", "fortran"]


def test_other_formats_of_the_output(folder, capsys):
    succeed(capsys, "encode", "model.npz", "-r", "6", "-q")
    for name in ("ids", "turned"):
        line = fail(capsys, 4, "decode", "model.nqz", "--tensor", name, "-o", "x.safetensors")
        assert line == f"tensor {name!r}: an exact Fortran-order or big-endian array stays .npz"
    succeed(
        capsys,
        "decode",
        "model.nqz",
        "--tensor",
        "w",
        "--tensor",
        "fortran",
        "--tensor",
        "bias",
        "-o",
        "x.safetensors",
    )
    assert load_file("x.safetensors")["fortran"].shape == (64, 12)
    succeed(capsys, "decode", "model.nqz", "--tensor", "fortran", "-o", "x.npy")
    array = np.load("x.npy")
    assert array.dtype == ">f8" and array.flags.f_contiguous
    assert "a .npy" in fail(capsys, 2, "decode", "model.nqz", "-o", "all.npy")
    save(folder / "one.npy", np.asfortranarray(matrix(40, 9)))
    succeed(capsys, "encode", "one.npy", "-r", "6", "-q")
    succeed(capsys, "decode", "one.nqz", "-o", "one.npz")
    assert np.load("one.npz").files == ["array"] and np.load("one.npz")["array"].flags.f_contiguous
    assert "must be .npy, .npz or .safetensors" in fail(capsys, 2, "decode", "model.nqz", "-o", "x.zip")


def test_an_archive_from_a_model(folder, capsys):
    bfloat16 = ml_dtypes.bfloat16
    save_file({"w": matrix(32, 8), "ids": np.arange(3)}, "plain.safetensors", {"k": "v"})
    save_file({"w": matrix(32, 8).astype(bfloat16), "bias": matrix(3)}, "half.safetensors")
    save_file({"w": matrix(32, 8), "bias": matrix(3).astype(bfloat16)}, "bias.safetensors")
    save_file({"../w": matrix(32, 8)}, "names.safetensors")
    for name in ("plain", "half", "bias", "names"):
        succeed(capsys, "encode", f"{name}.safetensors", "-r", "6", "-q")
    succeed(capsys, "decode", "plain.nqz", "-o", "plain.npz")
    assert sorted(np.load("plain.npz").files) == ["ids", "w"]
    line = fail(capsys, 4, "decode", "half.nqz", "-o", "half.npz")
    assert line == "tensor 'w': .npz has no bfloat16; choose --dtype float32, or write .safetensors"
    succeed(capsys, "decode", "half.nqz", "-o", "half.npz", "--dtype", "float32")
    line = fail(capsys, 4, "decode", "bias.nqz", "-o", "bias.npz")
    assert line == "tensor 'bias': .npz has no bfloat16; choose --dtype float32, or write .safetensors"
    assert "has no bfloat16" in fail(capsys, 4, "decode", "bias.nqz", "-o", "b.npz", "--dtype", "float16")
    assert "write .safetensors" in fail(capsys, 4, "decode", "names.nqz", "-o", "names.npz")
    assert [name for name in listing(folder) if name.endswith(".npz")] == [
        "half.npz",
        "model.npz",
        "plain.npz",
    ]


def test_products_of_archives(folder, capsys):
    np.savez("b.npz", w=matrix(64, 7, seed=2), fortran=matrix(64, 5, seed=3), ids=np.arange(3))
    succeed(capsys, "encode", "model.npz", "-r", "6", "-q")
    succeed(capsys, "encode", "b.npz", "-r", "6", "-q")
    succeed(capsys, "matmul", "model.nqz", "b.nqz", "-o", "c.npz", "-q")
    succeed(capsys, "matmul", "model.nqz", "b.npz", "-o", "d.safetensors", "-q")
    product, other = np.load("c.npz"), load_file("d.safetensors")
    assert product.files == ["w", "fortran"] and set(other) == {"w", "fortran"}
    assert product["w"].shape == (20, 7) and np.allclose(
        product["w"], matrix(64, 20).T @ matrix(64, 7, seed=2), atol=2
    )
    assert product["fortran"].dtype == np.float64
    assert "--tensor-a" in fail(capsys, 2, "matmul", "model.nqz", "b.npz", "-o", "c.npy")
    succeed(
        capsys, "matmul", "model.nqz", "b.npz", "--tensor-a", "w", "--tensor-b", "w", "-o", "one.npz", "-q"
    )
    assert np.load("one.npz").files == ["product"]
    succeed(capsys, "sweep", "b.npz", "--tensor", "w", "-r", "2", "--lattice", "z", "-q")


def test_exit_codes_and_names_of_members(folder, capsys):
    for members, code, words in (
        ([Member(b"esc\x1b.npy", crc=3)], 5, "bad.npz: member 'esc\\x1b.npy': damaged"),
        (
            [Member(data=npy(np.array([None]), allow_pickle=True))],
            4,
            "bad.npz: member 'a.npy': holds Python objects",
        ),
        ([Member(b"readme.txt", b"x")], 4, "bad.npz: member 'readme.txt': is no array"),
    ):
        (folder / "bad.npz").write_bytes(build(members))
        assert fail(capsys, code, "encode", "bad.npz", "-r", "2").startswith(words)
    assert "is a .npz file, and not a .nqz container" in fail(capsys, 4, "decode", "model.npz", "-o", "x.npy")
    assert listing(folder) == ["bad.npz", "model.npz"]


def test_an_empty_archive_makes_an_empty_container(folder, capsys):
    np.savez("none.npz")
    assert succeed(capsys, "encode", "none.npz", "-r", "2").err.endswith("none.npz -> none.nqz: no tensors\n")
    succeed(capsys, "decode", "none.nqz", "-o", "back.npz")
    assert (folder / "back.npz").read_bytes() == (folder / "none.npz").read_bytes()


def test_bytes_do_not_depend_on_how_members_are_packed(folder, capsys):
    arrays = dict(np.load("model.npz"))
    np.savez("stored.npz", **arrays)
    succeed(capsys, "encode", "model.npz", "-r", "3", "-q")
    succeed(capsys, "encode", "stored.npz", "-r", "3", "-q")
    assert (folder / "model.nqz").read_bytes() == (folder / "stored.nqz").read_bytes()
