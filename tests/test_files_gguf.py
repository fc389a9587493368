"""Files of .gguf: read as the package gguf reads them, its quantized tensors decoded, and nothing taken on trust."""

from __future__ import annotations

import io
import itertools
import json
import struct
import sys
import tracemalloc

import gguf
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from cli_tools import fail, listing, matrix, succeed
from nqz.files import dequantized
from nqz.files import gguf as module
from nqz.files.source import open_source
from nqz.ground.errors import CorruptError, NqzError, UnsupportedError
from nqz.models.architecture import EMBEDDING, HEAD, layers

Q = gguf.GGMLQuantizationType
RNG = np.random.default_rng(5)


def blocks_of(kind, shape):
    """Bytes of a quantized tensor of a shape, such as the package writes: random, with scales that are finite."""
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    shape = (*shape[:-1], shape[-1] // block * nbytes)
    return RNG.integers(0, 60, shape, np.uint8)


def written(path, tensors=(), pairs=(), alignment=None):
    """A file of (name, array, type or None) and (method, key, value), by the package."""
    writer = gguf.GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for method, key, value in pairs:
        getattr(writer, f"add_{method}")(key, value)
    for name, array, kind in tensors:
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain():
    """A tensor of every type that is no quantized one."""
    bfloat16 = (RNG.standard_normal((3, 8)).astype("f4").view("u4") >> 16).astype("u2")
    return [
        ("blk.0.attn_q.weight", RNG.standard_normal((6, 40)).astype("f4"), None),
        ("half", RNG.standard_normal((2, 3, 5)).astype("f2"), None),
        ("brain", bfloat16.view(np.uint8).reshape(3, 16), Q.BF16),
        ("double", RNG.standard_normal((4, 4)), None),
        ("norm", RNG.standard_normal(7).astype("f4"), None),
        *((f"int{8 * size}", np.arange(6, dtype=f"i{size}"), None) for size in (1, 2, 4, 8)),
    ]


PAIRS = [
    ("string", "general.name", "Tiny ü"),
    ("uint32", "llama.block_count", 3),
    ("float32", "llama.eps", 1e-5),
    ("float64", "d", 0.1),
    ("bool", "b", True),
    ("int8", "i", -3),
    ("uint64", "u", 2**64 - 1),
    ("array", "tokenizer.ggml.tokens", ["a", "", "ccc"]),
    ("array", "scores", [1.5, 2.5]),
    ("string", "long", "x" * (module.MAX_TEXT + 1)),
]


@pytest.fixture
def small(tmp_path):
    """The bytes of a small file with a bit of everything."""
    tensors = [*plain()[:3], ("q", blocks_of(Q.Q8_0, (2, 64)), Q.Q8_0), ("last", np.ones(3, "f4"), None)]
    return written(tmp_path / "small.gguf", tensors, PAIRS[:-1]).read_bytes()


@pytest.mark.parametrize("alignment", [None, 64])
def test_it_is_what_the_package_reads(tmp_path, alignment):
    path = written(tmp_path / "x.gguf", plain(), PAIRS, alignment)
    theirs = gguf.GGUFReader(path).tensors
    with open_source(path) as source:
        assert [t.name for t in source.tensors] == [t.name for t in theirs]
        for ours, other in zip(source.tensors, theirs, strict=True):
            assert ours.shape == tuple(other.shape.tolist()[::-1])
            assert b"".join(ours.pieces(7)) == other.data.tobytes() and ours.quantized is None
        assert [t.dtype for t in source.tensors] == [
            "float32", "float16", "bfloat16", "float64", "float32", "int8", "int16", "int32", "int64",
        ]  # fmt: skip
        assert source.kind.name == "safetensors"


def test_values_become_metadata_and_arrays_and_long_texts_do_not(tmp_path):
    with open_source(written(tmp_path / "x.gguf", pairs=PAIRS)) as source:
        assert source.tensors == [] and source.metadata == {
            "general.architecture": "llama", "general.name": "Tiny ü", "llama.block_count": "3", "llama.eps": "1e-05",
            "d": "0.1", "b": "true", "i": "-3", "u": str(2**64 - 1),
        }  # fmt: skip


def decodable():
    for kind in Q:
        nbytes = gguf.GGML_QUANT_SIZES[kind][1]
        if kind.value not in module._DTYPES:
            try:
                gguf.dequantize(np.zeros(nbytes, np.uint8), kind)
            except NotImplementedError:
                continue
            yield kind


@pytest.mark.parametrize("kind", list(decodable()), ids=lambda kind: kind.name)
def test_quantized_tensors_are_decoded_as_the_package_does(tmp_path, kind, monkeypatch):
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    monkeypatch.setattr("nqz.files.dequantized._PIECE", 2 * block)
    data = blocks_of(kind, (3, 5 * block))
    path = written(tmp_path / "x.gguf", [("before", np.ones(3, "f4"), None), ("q", data, kind)])
    expected = gguf.dequantize(data, kind)
    with open_source(path) as source:
        tensor = source.tensors[1]
        assert (tensor.dtype, tensor.shape, tensor.quantized) == ("float32", (3, 5 * block), kind.name)
        assert b"".join(tensor.pieces()) == expected.tobytes()
        whole = expected.tobytes()
        for begin, end in (
            (0, 1),
            (5, 6),
            (4 * block - 3, 4 * block + 3),
            (7, len(whole) - 9),
            (8 * block, 16 * block),
        ):
            found = bytearray(end - begin)
            tensor._access.pread_into(found, begin)
            assert bytes(found) == whole[begin:end]
        for axis, vectors in ((0, expected), (1, expected.T)):
            view = tensor.vectors(axis)
            assert np.array_equal(view.read(1, view.count - 1), vectors[:, 1:-1], equal_nan=True)


def test_what_the_package_cannot_decode_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "x.gguf", [("q", blocks_of(Q.Q8_K, (1, 256)), Q.Q8_K)])
    with pytest.raises(
        UnsupportedError, match=r"x.gguf: tensor 'q': is quantized, of type 15; .* does not decode it"
    ):
        open_source(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"\1\0\0\0\0\0\0\0q") + 9 + 4 + 16
    data[at : at + 4] = struct.pack("<I", 4)
    with pytest.raises(UnsupportedError, match="of type 4; the package gguf does not know it"):
        open_source(io.BytesIO(data))


def test_without_the_package_only_quantized_tensors_are_refused(tmp_path, monkeypatch):
    good = written(tmp_path / "good.gguf", plain(), PAIRS)
    quantized = written(tmp_path / "q.gguf", [("q", blocks_of(Q.Q4_1, (2, 32)), Q.Q4_1)])
    dequantized._known.cache_clear()
    monkeypatch.setitem(sys.modules, "gguf", None)
    with open_source(good) as source:
        assert len(source.tensors) == 9
    with pytest.raises(UnsupportedError, match=r"pip install 'nqz\[gguf\]'"):
        open_source(quantized)


def test_encode_decode_and_the_other_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weight = matrix(96, 64)
    written(
        tmp_path / "m.gguf", [("blk.0.attn_q.weight", weight, None), ("norm", matrix(64), None)], PAIRS[:2]
    )
    assert "1 of 2 tensors compressed" in succeed(capsys, "encode", "m.gguf", "-r", "4").err
    assert succeed(capsys, "verify", "m.nqz", "--against", "m.gguf").out.count(" ok") == 2
    assert "1 matrix of 6144 entries" in succeed(capsys, "compare", "m.gguf", "m.nqz").out
    assert succeed(capsys, "decode", "m.nqz").err.startswith("nqz: m.nqz -> m.safetensors")
    back = load_file("m.safetensors")
    assert (
        back["blk.0.attn_q.weight"].shape == (96, 64)
        and 0 < np.abs(back["blk.0.attn_q.weight"] - weight).max() < 1
    )
    with safe_open("m.safetensors", "np") as file:
        assert file.metadata()["general.name"] == "Tiny ü"
    np.save("b.npy", matrix(96, 5))
    succeed(capsys, "matmul", "m.gguf", "m.nqz", "--tensor-a", "blk.0.attn_q.weight", "-o", "p.npy")
    assert np.load("p.npy").shape == (64, 64)
    assert "compress it first" in fail(capsys, 4, "decode", "m.gguf")
    assert "must be .npy, .npz or .safetensors" in fail(capsys, 2, "decode", "m.nqz", "-o", "x.gguf")
    assert "no .gguf file; name it .nqz" in fail(capsys, 2, "encode", "m.gguf", "-r", "3", "-o", "x.gguf")
    found = json.loads(succeed(capsys, "inspect", "m.nqz", "--json").out)
    assert found["source"] == "safetensors" and found["metadata"]["llama.block_count"] == "3"


def test_quantized_tensors_are_compressed_on_request(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weight = gguf.quantize(matrix(96, 64), Q.Q8_0)
    tensors = [("blk.0.ffn_up.weight", weight, Q.Q8_0), ("norm", matrix(64), None), ("v", matrix(8, 9), None)]
    written(tmp_path / "m.gguf", tensors)
    line = fail(capsys, 4, "encode", "m.gguf", "-r", "4")
    assert "m.gguf: 1 tensor is quantized already, such as 'blk.0.ffn_up.weight', Q8_0" in line
    assert "--dequantize" in line and listing(tmp_path) == ["m.gguf"]
    succeed(capsys, "encode", "m.gguf", "-r", "4", "--tensor", "[nv]*", "-o", "rest.nqz")
    succeed(capsys, "encode", "m.gguf", "-r", "4", "--rule", "blk*=skip", "-o", "rest.nqz", "-f")
    assert "decoded from Q8_0" in succeed(capsys, "encode", "m.gguf", "-r", "4", "--dequantize").err
    assert succeed(capsys, "verify", "m.nqz", "--against", "m.gguf").out.count(" same ") == 3
    succeed(capsys, "decode", "m.nqz", "-q")
    back = load_file("m.safetensors")["blk.0.ffn_up.weight"]
    original = gguf.dequantize(weight, Q.Q8_0)
    assert 0 < np.square(back - original).sum() < 0.01 * np.square(original).sum()
    assert "conv128" in succeed(capsys, "sweep", "m.gguf", "-r", "3", "--tensor", "blk.0.ffn_up.weight").out
    with_infinity = bytearray((tmp_path / "m.gguf").read_bytes())
    at = with_infinity.index(weight.tobytes()[:34])
    with_infinity[at : at + 2] = np.float16(np.inf).tobytes()
    (tmp_path / "m.gguf").write_bytes(with_infinity)
    assert "entry [0, 0] is infinity" in fail(capsys, 4, "encode", "m.gguf", "-r", "4", "--dequantize", "-f")


def test_experts_that_are_quantized_are_compressed_one_by_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    experts = matrix(3 * 96, 64).reshape(3, 96, 64)
    kept = gguf.quantize(experts, Q.Q8_0)
    written(tmp_path / "m.gguf", [("blk.0.ffn_up_exps.weight", kept, Q.Q8_0)])
    line = fail(capsys, 4, "encode", "m.gguf", "-r", "4")
    assert "1 tensor is quantized already, such as 'blk.0.ffn_up_exps.weight', Q8_0" in line
    succeed(capsys, "encode", "m.gguf", "-r", "4", "--axis", "auto", "--dequantize", "-q")
    assert succeed(capsys, "compare", "m.gguf", "m.nqz").out.count(" ok") == 3
    succeed(capsys, "decode", "m.nqz", "-q")
    back, original = load_file("m.safetensors")["blk.0.ffn_up_exps.weight"], gguf.dequantize(kept, Q.Q8_0)
    assert back.shape == (3, 96, 64) and np.square(back - original).sum() < 0.01 * np.square(original).sum()


def test_bytes_are_those_of_the_same_tensors_in_a_safetensors_file(tmp_path, monkeypatch, capsys):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    tensors = {"a": matrix(40, 30), "b": matrix(9, seed=1)}
    written(tmp_path / "m.gguf", [(name, array, None) for name, array in tensors.items()])
    save_file(tensors, "m.safetensors", {"general.architecture": "llama"})
    for suffix in ("gguf", "safetensors"):
        succeed(capsys, "encode", f"m.{suffix}", "-r", "3", "-o", f"{suffix}.nqz", "-q")
    assert (tmp_path / "gguf.nqz").read_bytes() == (tmp_path / "safetensors.nqz").read_bytes()


def test_every_truncation_is_corrupt(small):
    with open_source(io.BytesIO(small)):
        pass
    end = len(small) - 20  # 12 bytes of data, then zeros, which need not be there
    for length in itertools.chain(range(0, end, 3), range(end - 8, end)):
        with pytest.raises(CorruptError):
            open_source(io.BytesIO(small[:length]))
    with open_source(io.BytesIO(small[:end])) as source:
        assert b"".join(source.tensors[-1].pieces()) == np.ones(3, "f4").tobytes()
    for more in (b"\0", b"x", bytes(64)):
        with pytest.raises(CorruptError):
            open_source(io.BytesIO(small + more))


def test_damage_raises_only_errors_of_nqz(small):
    header = small.index(b"last") + 40
    outcomes, lines = set(), []
    for at in range(header):
        for value in (small[at] ^ 1, small[at] ^ 0x80, 0xFF):
            data = bytearray(small)
            data[at] = value
            try:
                with open_source(io.BytesIO(data)) as source:
                    for tensor in source.tensors:
                        for _ in tensor.pieces():
                            pass
                outcomes.add("read")
            except NqzError as error:
                outcomes.add(type(error).__name__)
                lines.append(str(error))
    assert outcomes == {"read", "CorruptError", "UnsupportedError"}
    assert not any("\n" in line for line in lines)


def header(tensors=0, pairs=0, version=3, rest=b""):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def text(value):
    return struct.pack("<Q", len(value)) + value


def tensor(name=b"t", shape=(1,), kind=0, begin=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, begin)


def whole(start, data=b""):
    return start + bytes(-len(start) % 32) + data


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (header(2**60), CorruptError, "tensors in a file of 24 bytes"),
        (header(0, 2**62), CorruptError, "keys in a file of 24 bytes"),
        (header(1, 0, rest=bytes(30)), CorruptError, "truncated"),
        (header(2**18, rest=bytes(24 << 18)), UnsupportedError, "262144 tensors; nqz takes up to"),
        (header(version=1), UnsupportedError, "version 1; nqz reads versions 2 and 3"),
        (header(version=4), UnsupportedError, "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedError, "big-endian"),
        (header(0, 1, rest=text(b"k") + struct.pack("<IIQ", 9, 8, 2**61)), CorruptError, "strings"),
        (header(0, 1, rest=text(b"k") + struct.pack("<IIQ", 9, 4, 2**62)), CorruptError, "truncated"),
        (header(0, 1, rest=text(b"k") + struct.pack("<IIQ", 9, 8, 99) + bytes(792)), UnsupportedError, "99 strings"),
        (header(0, 1, rest=text(b"k") + struct.pack("<IIQ", 9, 9, 0)), CorruptError, "array of the type 9"),
        (header(0, 1, rest=text(b"k") + struct.pack("<I", 13) + bytes(9)), CorruptError, "unknown type 13"),
        (header(0, 1, rest=text(b"k") + struct.pack("<IQ", 8, 2**63) + b"x"), CorruptError, "truncated"),
        (header(0, 1, rest=struct.pack("<Q", 70000) + bytes(80000)), CorruptError, "a key of more than 65536 bytes"),
        (header(0, 1, rest=text(b"\xff\xfe") + bytes(9)), CorruptError, "a key is not UTF-8"),
        (header(0, 2, rest=2 * (text(b"k" * 600) + bytes(5))), UnsupportedError, "names and texts of more than"),
        (header(0, 2, rest=2 * (text(b"k") + struct.pack("<IB", 0, 1))), CorruptError, "'k' occurs twice"),
        (header(0, 1, rest=text(b"general.alignment") + struct.pack("<II", 4, 48)), CorruptError, "no power of two"),
        (header(0, 1, rest=text(b"general.alignment") + struct.pack("<II", 4, 0)), CorruptError, "no power of two"),
        (header(0, 1, rest=text(b"general.alignment") + struct.pack("<IQ", 10, 32)), CorruptError, "type uint32"),
        (header(0, 1, rest=text(b"general.alignment") + struct.pack("<II", 4, 2**31)), UnsupportedError, "up to"),
        (whole(header(1, rest=tensor(shape=(1,) * 5)), bytes(4)), CorruptError, "5 dimensions"),
        (whole(header(1, rest=tensor(shape=(2**63, 2**63)))), CorruptError, "an extent of"),
        (whole(header(1, rest=tensor(shape=(2**62, 2**62)))), CorruptError, "data bytes are missing"),
        (whole(header(1, rest=tensor(begin=4)), bytes(8)), CorruptError, "begins at 4, which is no multiple of 32"),
        (whole(header(1, rest=tensor(begin=32)), bytes(36)), CorruptError, "leaves 32 bytes to none"),
        (whole(header(2, rest=tensor() + tensor(b"u")), bytes(4)), CorruptError, "overlaps another"),
        (whole(header(2, rest=tensor() + tensor(begin=32)), bytes(36)), CorruptError, "two tensors are named 't'"),
        (whole(header(2, rest=tensor() + tensor(b"u", begin=32)), bytes(8) + b"x" + bytes(27)), CorruptError, "not 0"),
        (whole(header(1, rest=tensor(shape=(33,), kind=8)), bytes(99)), CorruptError, "multiples of 32 entries"),
        (whole(header(1, rest=tensor(shape=(), kind=8)), bytes(99)), CorruptError, "multiples of 32 entries"),
        (whole(header(1, rest=tensor(b"__metadata__")), bytes(4)), UnsupportedError, "is kept for metadata"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_sizes_that_lie_and_names_that_play_tricks(content, error, match, monkeypatch):
    monkeypatch.setattr(module, "MAX_STRINGS", 98)
    monkeypatch.setattr(module, "MAX_TEXTS", 1000)
    tracemalloc.start()
    try:
        with pytest.raises(error, match=match):
            open_source(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_scalars_empty_tensors_and_data_in_another_order(tmp_path):
    rest = tensor(b"a", (), begin=32) + tensor(b"b", (0, 5), begin=0) + tensor(b"c", (2,), begin=0)
    content = whole(header(3, rest=rest), struct.pack("<2f", 1, 2) + bytes(24) + struct.pack("<f", 3))
    with open_source(io.BytesIO(content)) as source:
        shapes = {t.name: (t.shape, b"".join(t.pieces())) for t in source.tensors}
    assert shapes == {
        "a": ((), struct.pack("<f", 3)), "b": ((5, 0), b""), "c": ((2,), struct.pack("<2f", 1, 2)),
    }  # fmt: skip


def test_as_many_tensors_as_make_a_safetensors_file_of_it(tmp_path):
    """The 9th byte is the number of tensors, and that of 123 is the mark of another format."""
    with open_source(
        written(tmp_path / "x.gguf", [(f"t{i}", np.ones(1, "f4"), None) for i in range(123)])
    ) as source:
        assert len(source.tensors) == 123


def test_names_of_gguf_say_what_embeds_and_what_heads():
    shapes = {
        "token_embd.weight": (99, 8),
        "output.weight": (99, 8),
        "blk.0.attn_q.weight": (8, 8),
        "output_norm.weight": (8,),
    }
    found = layers(shapes.items())
    assert [(one.axis, one.role) for one in found] == [(1, EMBEDDING), (1, HEAD), (1, ""), (0, "")]


def test_a_vocabulary_costs_little():
    words = b"".join(text(b"w%d" % i) for i in range(50_000))
    content = header(0, 1, rest=text(b"tokens") + struct.pack("<IIQ", 9, 8, 50_000) + words)
    tracemalloc.start()
    with open_source(io.BytesIO(content)) as source:
        assert source.metadata is None
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
