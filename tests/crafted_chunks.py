"""Crafted containers: chunks of all codings and zstd frames are wrong, or unusual; panels; claims to be large."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import zstandard

from container_builder import Container, exact, integers
from crafted_case import CHUNK, EXACT, OPEN, Case, base, changed, payload_cases, sound
from golden import parts_of
from nqz.stages.codings.voronoi import packing

Variants = Iterator[tuple[Any, ...]]
STATES = (0, 1, 65535, 65537, 2**31, 2**32 - 1)


def cases() -> Iterator[Case]:
    """All of them."""
    for name in ("z", "d4", "e8", "leech", "conv4", "conv4096", "by-column", "high-rate", "high-rate-leech"):
        yield from payload_cases(name, 2, entropy(name), CHUNK)
    for name in ("voronoi-z", "voronoi-d4", "voronoi-e8", "voronoi-leech", "voronoi-mixed"):
        yield from payload_cases(name, 2, voronoi(name), CHUNK)
    yield from payload_cases("trellis", 2, rings("trellis"), CHUNK)
    yield from payload_cases("trellis", 3, slopes("trellis"), CHUNK)
    for name, number in (("npz", 4), ("model", 6)):
        yield from payload_cases(name, number, frames(base(name).records()[number][1]), EXACT)
    yield from claims()


def panels() -> Iterator[Case]:
    """Of a matrix of two panels: few, since they take long."""
    norm, chunk, norm2, chunk2 = base("panels").records()
    for what, records, code, seen in (
        ("norms of the other panel", [norm2, chunk, norm, chunk2], 5, OPEN),
        ("chunk of the other panel", [norm, chunk2, norm2, chunk], 5, CHUNK),
        ("both panels swapped", [norm2, chunk2, norm, chunk], 5, OPEN),
        ("norms first", [norm, norm2, chunk, chunk2], 5, OPEN),
        ("the second panel missing", [norm, chunk], 5, OPEN),
        ("norms of the second panel missing", [norm, chunk, chunk2], 5, OPEN),
        ("chunk of the second panel missing", [norm, chunk, norm2], 5, OPEN),
        ("a panel more", [norm, chunk, norm2, chunk2, norm2, chunk2], 5, OPEN),
        ("a chunk more in the first", [norm, chunk, chunk, norm2, chunk2], 5, OPEN),
        ("means in the second", [norm, chunk, norm2, ("MEAN", integers([0] * 40) * 2), chunk2], 5, OPEN),
    ):
        yield Case("panels", "order", what, base("panels").replaced(tensors=[records]).build(), code, seen)


def _cuts(right: bytes) -> Variants:
    for cut in sorted(
        {0, 1, 3, 4, 7, 8, 11, 12, 13, len(right) // 2, len(right) - 3, len(right) - 2, len(right) - 1}
    ):
        yield f"cut at {cut}", right[:cut]
    for more in (b"\0", b"\0\0", b"\xff", bytes(100), right):
        yield f"{len(more)} bytes of {more[:1].hex()} more", right + more
    yield "zeros", bytes(len(right))
    yield "ones", b"\xff" * len(right)
    yield "back to front", right[::-1]


def entropy(name: str) -> Variants:
    """Of a chunk of one lane."""
    right = base(name).records()[2][1]
    state, words, escapes = struct.unpack_from("<III", right)
    yield from _cuts(right)

    def put(*head: int) -> bytes:
        return struct.pack("<III", *head) + right[12:]

    for value in {*STATES, state ^ 1, state ^ 2**31, state ^ 2**15}:
        yield f"state {value - state:+}", put(value, words, escapes)
    for value in (0, words - 1, words + 1, 2**15, 2**31, 2**31 - 1, 2**32 - 1):
        yield f"{value - words:+} words", put(state, value, escapes)
    for value in (1, 2, 2**31, 2**32 - 1):
        yield f"{value} bytes of escapes more", put(state, words, escapes + value)
    yield "a word less, two bytes of escapes more", put(state, words - 1, escapes + 2)
    yield "fields swapped", put(words, state, escapes)
    yield "escapes and words swapped", put(state, escapes, words)
    for at in range(12, 12 + 2 * words, 2):
        bad = bytearray(right)
        bad[at + at % 4 // 2] ^= 1 << at % 8
        yield f"a bit of word {(at - 12) // 2}", bytes(bad)
    swapped = right[14:16] + right[12:14]
    yield "two words swapped", right[:12] + swapped + right[16:]
    yield (
        "a word more",
        struct.pack("<III", state, words + 1, escapes)
        + right[12 : 12 + 2 * words]
        + b"ab"
        + right[12 + 2 * words :],
    )
    yield "escapes more", struct.pack("<III", state, words, escapes + 1) + right[12:] + b"\0"
    # other code bits make other contexts of what follows; any low bits are those of a point, but of leech
    low = 12 + 2 * words + {"high-rate": 5, "high-rate-leech": 5}.get(name, len(right))
    for at in range(
        12 + 2 * words, min(len(right) - escapes, low if name == "high-rate-leech" else len(right))
    ):
        # of one group of this file, what follows has the same intervals in its other context: another point
        same = name == "high-rate" and at == low - 2
        yield f"byte {at} of raw bits", _flipped(right, at, 1), 0 if at >= low or same else 5


def _flipped(data: bytes, at: int, bits: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def voronoi(name: str) -> Variants:
    """Of a chunk of one lane."""
    right = base(name).records()[2][1]
    state, words, *frequencies = struct.unpack_from("<II3H", right)
    yield from _cuts(right)

    def put(state: int, words: int, *frequencies: int) -> bytes:
        return struct.pack("<II3H", state, words, *frequencies) + right[14:]

    for value in {*STATES, state ^ 1, state ^ 2**31}:
        yield f"state {value - state:+}", put(value, words, *frequencies)
    for value in (words - 1, words + 1, 2**15, 2**31, 2**32 - 1):
        if value >= 0:
            yield f"{value - words:+} words", put(state, value, *frequencies)
    for which in range(3):
        for value in (0, 4096, 65535, 4096 - sum(frequencies) + frequencies[which]):
            yield (
                f"frequency {which}: {value}",
                put(state, words, *frequencies[:which], value, *frequencies[which + 1 :]),
            )
    for values in ((1365, 1365, 1366), (0, 0, 0), (65535,) * 3, (4096, 0, 0), (32768, 32768, 1)):
        yield f"frequencies {values}", put(state, words, *values)
    digits = right[14 + 2 * words :]
    yield "digits of ones", right[: 14 + 2 * words] + b"\xff" * len(digits)
    yield "digits of zeros", right[: 14 + 2 * words] + bytes(len(digits)), 0
    if _padded(name):
        yield "padding of the digits", _flipped(right, len(right) - 1, 0x80)
    yield (
        "a word more",
        struct.pack("<II3H", state, words + 1, *frequencies) + right[14 : 14 + 2 * words] + b"ab" + digits,
    )


def rings(name: str) -> Variants:
    """Of a chunk of rings."""
    right = base(name).records()[2][1]
    for what, payload in _cuts(right):
        yield what, payload, 0 if len(payload) == len(right) else 5
    for bits in (1, 0x80):
        yield f"a byte less {bits}", _flipped(right, len(right) // 3, bits), 0


def slopes(name: str) -> Variants:
    """Of slopes of columns of a length, all of which are kept."""
    right, (n, count) = base(name).records()[3][1], base(name).manifest["tensors"][0][2]
    one = 8 << ((n - 1).bit_length() + 1) // 2
    for what, payload in _cuts(right):
        if what != "zeros":
            yield what, payload
    for value in (-one, -one - 1, -(2**31), -(2**63), 3 * one + 1, 2**31, 2**62):
        yield f"a slope {value}", integers([value] + [0] * (count - 1))
    for value in (1 - one, 3 * one, 0):
        yield f"a slope {value}", integers([value] + [0] * (count - 1)), 0
    for number in (0, 1, count - 1, count + 1):
        yield f"{number} columns", integers([0] * number)


def _padded(name: str) -> bool:
    """Whether the last byte of the chunk has bits to spare."""
    (_, columns), parameters = base(name).manifest["tensors"][0][2], base(name).manifest["tensors"][0][6]
    (_, q), mix, *_ = parameters[5][1]
    group = 24 if parameters[4] == "leech" else 8
    rows = -(-parameters[2] * columns // group)
    digits, bits = packing(q)
    return -(-(rows * mix >> 16) * group // digits) * bits % 8 > 0


def frame(data: bytes, level: int = 3, **options: Any) -> bytes:
    """A zstd frame."""
    options = {"write_checksum": True, "write_content_size": True, **options}
    return zstandard.ZstdCompressor(level=level, **options).compress(data)


def frames(right: bytes) -> Variants:
    """Payloads of EXCT."""
    content = zstandard.ZstdDecompressor().decompress(right)
    for cut in range(len(right)):
        yield f"cut at {cut}", right[:cut]
    for more in (b"\0", right, b"\x50\x2a\x4d\x18" + bytes(4), b"\x28\xb5\x2f\xfd"):
        yield f"{len(more)} bytes of {more[:1].hex()} more", right + more
    yield "a skippable frame first", b"\x50\x2a\x4d\x18\4\0\0\0abcd" + right
    yield "a skippable frame", b"\x50\x2a\x4d\x18" + struct.pack("<I", len(right)) + right
    for size in (0, 1, len(content) - 1, len(content) + 1, 2 * len(content), 4 << 20, (4 << 20) + 1):
        yield f"a frame of {size} bytes", frame((content * (size // len(content) + 1))[:size])
    yield "no checksum", frame(content, write_checksum=False)
    yield "no size", frame(content, write_content_size=False)
    yield "the checksum is wrong", _flipped(right, len(right) - 1, 1)
    yield from _made_frames(content)
    for level in (1, 9, 19):
        yield f"level {level}", frame(content, level), 0
    for other in (b"content", bytes(len(content)), content[::-1]):
        data = (other * len(content))[: len(content)]
        yield f"other bytes {other[:1].hex()}", frame(data), 0
    for at in range(4, len(right)):
        yield (
            f"a bit of byte {at}",
            _flipped(right, at, 1 << at % 8),
            0 if at == 4 else 5,
        )  # bit 4 of the descriptor means nothing


def _made_frames(content: bytes) -> Variants:
    """Frames made by hand: descriptor, window, dictionary, size, blocks, checksum."""
    checksum = exact(content)[-4:]
    n = len(content)
    magic = b"\x28\xb5\x2f\xfd"

    def block(kind: int, size: int, data: bytes, last: bool = True) -> bytes:
        return (last | kind << 1 | size << 3).to_bytes(3, "little") + data

    def put(descriptor: int, fields: bytes, blocks: bytes, end: bytes = checksum) -> bytes:
        return magic + bytes([descriptor]) + fields + blocks + end

    raw = block(0, n, content)
    single, check = 0x20, 4
    yield "made by hand", put(single | check, bytes([n]), raw), 0
    yield (
        "blocks of single bytes",
        put(
            single | check,
            bytes([n]),
            b"".join(block(0, 1, bytes([x]), i == n - 1) for i, x in enumerate(content)),
        ),
        0,
    )
    yield (
        "an empty block last",
        put(single | check, bytes([n]), block(0, n, content, False) + block(0, 0, b"")),
        0,
    )
    yield "size in 8 bytes", put(0xC0 | single | check, n.to_bytes(8, "little"), raw), 0
    yield "size of 2**64 - 1", put(0xC0 | single | check, b"\xff" * 8, raw)
    yield "size of 2**63", put(0xC0 | single | check, (2**63).to_bytes(8, "little"), raw)
    yield "size of 2**30", put(0x80 | single | check, (2**30).to_bytes(4, "little"), raw)
    yield "dictionary 1", put(single | check | 1, b"\1" + bytes([n]), raw)
    yield "dictionary 2**31", put(single | check | 3, (2**31).to_bytes(4, "little") + bytes([n]), raw)
    yield "reserved bit", put(single | check | 8, bytes([n]), raw)
    for log, code in ((10, 0), (13, 0), (14, 5), (17, 5), (21, 5), (31, 5)):
        fields = bytes([log << 3]) + n.to_bytes(8, "little")
        yield f"a window of 2**{10 + log}", put(0xC0 | check, fields, raw), code
    yield "a window just too large", put(0xC0 | check, bytes([13 << 3 | 1]) + n.to_bytes(8, "little"), raw)
    yield "a reserved block", put(single | check, bytes([n]), block(3, n, content))
    yield (
        "more than it says",
        put(single | check, bytes([n]), block(0, n, content, False) + block(0, 1, b"x")),
    )
    yield "less than it says", put(single | check, bytes([n]), block(0, n - 1, content[:-1]))
    yield (
        "a bomb",
        put(single | check, bytes([n]), block(1, 128 << 10, b"x", False) * 2000 + block(1, 128 << 10, b"x")),
    )
    yield "a block too large", put(single | check, bytes([n]), block(1, (1 << 21) - 1, b"x"))
    yield "no last block", put(single | check, bytes([n]), block(0, n, content, False))
    yield "a compressed block of nothing", put(single | check, bytes([n]), block(2, 0, b""))
    yield "a compressed block of noise", put(single | check, bytes([n]), block(2, 40, bytes(range(40))))


def claims() -> Iterator[Case]:
    """Small files that claim much, with all records that a reader may count before it allocates."""
    quiet = struct.pack("<i", 0) + b"\1" + b"\0\0\0" + struct.pack("<I", 65536) + b"\0\0" + b"\x80\x20"

    def claimed(what: str, shape: list[int], records: list[tuple[str, bytes]], code: int = 5) -> Case:
        def edit(parts: Container) -> None:
            entry = parts.manifest["tensors"][0]
            entry[2], entry[6][2], entry[6][9], entry[6][12] = shape, 1, None, None
            parts.tensors[0] = records

        return Case("z", "claims", what, changed("z", edit), code)

    yield claimed("2**20 columns of no energy", [1, 2**20], [("NORM", quiet)], 0)
    yield claimed("2**20 + 1 columns, one record", [1, 2**20 + 1], [("NORM", quiet)])
    yield claimed("2**30 columns", [1, 2**30], [("NORM", quiet)])
    yield claimed("2**30 columns, two records", [1, 2**30], [("NORM", quiet)] * 2)
    yield claimed("2**62 columns", [1, 2**60], [("NORM", quiet)])
    yield claimed("a column of 2**60", [2**60, 1], [("NORM", quiet)])
    yield claimed("a column of 2**26 + 1", [2**26 + 1, 1], [("NORM", quiet)])
    yield claimed("64 columns of 2**26, one record", [2**26, 64], [("NORM", quiet)])
    yield claimed("a chunk more", [1, 2**20], [("NORM", quiet), ("CHNK", b"")])
    loud = struct.pack("<i", 1 << 14) + b"\0\1" + b"\2" * 16
    yield claimed("chunks that are not there", [2**20, 16], [("NORM", loud)])
    for name, shape in (("npz", [2**40]), ("npz", [2**55]), ("model", [2**50]), ("model", [2**22 + 1])):

        def edit(parts: Container, shape: list[int] = shape) -> None:
            parts.manifest["tensors"][2][2] = shape

        yield Case(name, "claims", f"exact {shape}", changed(name, edit), 5, OPEN - {"itself", "partner"})
    many = sound("no-tensors")
    parts = parts_of(many)
    entry = base("npz").manifest["tensors"][4]
    parts.manifest["tensors"] = [[entry[0], str(number), *entry[2:]] for number in range(300)]
    parts.tensors = [[] for _ in range(300)]
    yield Case("no-tensors", "claims", "300 empty tensors", parts.build(), 0)
