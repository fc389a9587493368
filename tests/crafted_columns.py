"""Crafted containers: norms and means, and the sequences of integers that they are made of, are wrong, or unusual."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from container_builder import integers
from crafted_case import CHUNK, OPEN, PRODUCT, Case, base, payload_cases
from nqz.format import tokens
from nqz.stages.codings.tables import TOTAL

Variants = Iterator[tuple[str, bytes, int | None]]


def cases() -> Iterator[Case]:
    """All of them."""
    for name in ("z", "e8", "conv4", "by-column", "voronoi-e8", "voronoi-leech"):
        yield from payload_cases(name, 0, norms(name), OPEN)
        yield from payload_cases(name, 1, means(name), OPEN)


def _norms_of(name: str) -> tuple[int, list[int]]:
    """Least code and offsets of a file, which are in form 0."""
    payload = base(name).records()[0][1]
    assert payload[4] == 0
    width, count = payload[5], base(name).manifest["tensors"][0][2][1]
    planes = np.frombuffer(payload, np.uint8, width * count, 6).reshape(width, count).astype(int)
    zigzag = (planes << 8 * np.arange(width)[:, None]).sum(axis=0)
    return struct.unpack_from("<i", payload)[0], (zigzag >> 1).tolist()


def _cuts(payload: bytes) -> Variants:
    for cut in range(len(payload)):
        yield f"cut at {cut}", payload[:cut], 5
    for more in (b"\0", b"\xff", bytes(8), payload):
        yield f"{len(more)} bytes of {more[:1].hex()} more", payload + more, 5
    yield "zeros", bytes(len(payload)), 5
    yield "ones", b"\xff" * len(payload), 5


def norms(name: str) -> Iterator[tuple]:
    """Payloads of NORM."""
    least, offsets = _norms_of(name)
    right = base(name).records()[0][1]
    column = base(name).manifest["tensors"][0][6][6] == "column"
    assert right == struct.pack("<i", least) + integers(offsets)
    yield from (found for found in _cuts(right) if found[0] != "zeros")

    def put(start: int, values: list[int], width: int | None = None) -> bytes:
        return struct.pack("<i", start) + integers(values, width)

    for start in (-(1 << 21) - 1, (1 << 21) + 1, -(1 << 31), (1 << 31) - 1, (1 << 21) - max(offsets) + 2):
        yield f"least code {start}", put(start, offsets)
    for value in (-1, -(2**31), -(2**63), (1 << 21) - least + 2, 2**31, 2**32, 2**32 + 1, 2**53, 2**63 - 1):
        yield f"an offset {value}", put(least, [offsets[0], value, *offsets[2:]])
    for count in (0, 1, len(offsets) - 1, len(offsets) + 1, 1000):
        yield f"{count} columns", put(least, (offsets * count)[:count] + [1] * (count - len(offsets) * count))
    yield "all zero: there is a chunk", put(0, [0] * len(offsets))
    yield "a column of no energy: the chunk is of more", put(least, [0, *offsets[1:]]), 5, CHUNK
    yield "in eight bytes each", put(least, offsets, 8), 0
    yield "from another least code", put(least - 7, [value + 7 for value in offsets]), 0
    # in proportion to the norms, classes and points stay as they are
    for up in (5120, -5120):
        yield f"codes {up:+}", put(least + up, offsets), 0 if column else 5, CHUNK
    # means in proportion to such norms are not finite
    yield "the greatest codes", put((1 << 21) - max(offsets) + 1, offsets), 5, OPEN
    yield "the least codes", put(-(1 << 21), offsets), 0 if column else 5, CHUNK
    for what, form in (("2", b"\2"), ("255", b"\xff"), ("1 of such bytes", b"\1")):
        yield f"form {what}", right[:4] + form + right[5:]
    for width in (0, 1, 3, 9, 255):
        yield f"width {width}", right[:5] + bytes([width]) + right[6:]
    for what, data, code in token_forms(offsets):
        yield f"tokens: {what}", right[:4] + data, code


def means(name: str) -> Iterator[tuple]:
    """Payloads of MEAN."""
    right = base(name).records()[1][1]
    count = base(name).manifest["tensors"][0][2][1]
    shift, q = right[2 : 2 + count], right[2 + count :]
    assert right[:2] == b"\0\1" and not any(shift)
    yield from (found for found in _cuts(right) if found[0] != "zeros")
    values = [1000, -20, 0, 7, 9, 11][:count]

    def put(shifts: list[int], numbers: list[int]) -> bytes:
        return integers(shifts) + integers(numbers)

    zeros = [0] * count
    yield "other means", put(zeros, values), 0
    yield "shifts", put([254 >> i for i in range(count)], values), 0
    for value in (-1, 256, 257, 2**31, 2**63 - 1, -(2**63)):
        yield f"a shift of {value}", put([0, value, *zeros[2:]], values)
    for what, number, code in (
        ("1.5", 1.5, 0), ("-0.0", -0.0, 0), ("the least", 5e-324, 0), ("great", 1e10, 0),
        ("NaN", float("nan"), 5),
        ("infinity", float("inf"), 5), ("-infinity", -float("inf"), 5),
    ):  # fmt: skip
        (bits,) = struct.unpack("<q", struct.pack("<d", number))
        yield f"exactly {what}", put([255, *zeros[1:]], [bits, *values[1:]]), code
    (bits,) = struct.unpack("<q", struct.pack("<d", 1.7976931348623157e308))
    yield "the greatest, whose product overflows", put([255, *zeros[1:]], [bits, *values[1:]]), 7, PRODUCT
    yield "a signaling NaN", put([255, *zeros[1:]], [0x7FF0000000000001, *values[1:]])
    for value in (2**63 - 1, -(2**63), 2**53 + 1):
        yield f"q = {value}", put(zeros, [value, *values[1:]]), 0
    yield "q first", q + shift
    for column in (number for number in range(count + 2) if number != count):
        yield f"{column} columns", put(([0] * 9)[:column], ([1] * 9)[:column])
        yield f"{column} shifts", put(([0] * 9)[:column], values)
        yield f"{column} of q", put(zeros, ([1] * 9)[:column])
    for which, start in (("shift", 0), ("q", 2 + count)):
        for form in (2, 255, 1):
            yield f"{which} of form {form}", right[:start] + bytes([form]) + right[start + 1 :]
        for width in (0, 9, 255):
            yield f"{which} of width {width}", right[: start + 1] + bytes([width]) + right[start + 2 :]
    for what, data, outcome in token_forms(values):
        yield f"q in tokens: {what}", integers(zeros) + data, outcome
    yield "shifts in tokens", b"\1" + tokens.pack(np.zeros(count, np.int64)) + integers(values), 0


class Tokens:
    """A sequence in form 1, in its parts."""

    def __init__(self, values: list[int]) -> None:
        data = tokens.pack(np.array(values, np.int64))
        self.low, self.least, self.greatest = data[:3]
        (self.state,) = struct.unpack_from("<I", data, 3)
        at = 7
        found = []
        for _ in range(2 + self.greatest - self.least + 1):
            value = shift = 0
            while True:
                value |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128:
                    break
            found.append(value)
        self.center, words, *self.frequencies = found
        self.words, self.raw = data[at : at + 2 * words], data[at + 2 * words :]

    def build(self, **wrong: object) -> bytes:
        """The bytes, with other parts; `center_bytes` and `count_bytes` in place of two varints."""
        part = {**self.__dict__, **wrong}
        head = bytes([part["low"], part["least"], part["greatest"]]) + struct.pack("<I", part["state"])
        numbers = part.get("center_bytes", varint(part["center"]))
        numbers += part.get("count_bytes", varint(len(part["words"]) // 2))
        return (
            b"\1" + head + numbers + b"".join(map(varint, part["frequencies"])) + part["words"] + part["raw"]
        )


def varint(value: int, more: int = 0) -> bytes:
    """A number as a varint, `more` bytes longer than need be."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value]) if not more else bytes([*out, value | 128, *[128] * (more - 1), 0])


def token_forms(values: list[int]) -> Variants:
    """Sequences in form 1: the same integers, and damage to every field."""
    t = Tokens(values)
    right = t.build()
    yield "sound", right, 0
    for cut in range(1, len(right)):
        yield f"cut at {cut}", right[:cut], 5
    yield "a byte more", right + b"\0", 5
    for low in (59, 62, 63, 64, 128, 255):
        yield f"{low} low bits", t.build(low=low), 5
    yield "low bits less", t.build(low=t.low + 3), 5
    for least, greatest in (
        (t.greatest + 1, t.greatest),
        (252, 252),
        (t.least, 252),
        (255, 255),
        (t.least, 255),
    ):
        yield f"tokens {least} to {greatest}", t.build(least=least, greatest=greatest), 5
    yield "a token more", t.build(greatest=t.greatest + 1), 5
    yield "far tokens", t.build(least=251 - (t.greatest - t.least), greatest=251), 5
    for state in (0, 1, 65535, t.state ^ 1, t.state ^ 0x80000000, 2**32 - 1):
        yield f"state {state - t.state:+}", t.build(state=state), 5
    for more in (1, 2, 9, 12):
        yield f"center {more} bytes too long", t.build(center_bytes=varint(t.center, more)), 5
        yield (
            f"number of words {more} bytes too long",
            t.build(count_bytes=varint(len(t.words) // 2, more)),
            5,
        )
    yield "center of 65 bits", t.build(center_bytes=varint(2**64)), 5
    yield "center without end", t.build(center_bytes=b"\xff" * 40), 5
    for count in (1, 2, 1000, 2**31, 2**32 - 1, 2**32, 2**40):
        yield f"{count} words declared", t.build(count_bytes=varint(len(t.words) // 2 + count)), 5
    yield "a word more", t.build(words=t.words + b"\1\2"), 5
    yield from _token_frequencies(t)
    used = len(t.raw) * 8
    yield "raw bits missing", t.build(raw=t.raw[:-1]), 5
    yield "raw bits more", t.build(raw=t.raw + b"\0"), 5
    if used and not t.raw[-1] & 0x80:
        yield "padding of ones", t.build(raw=t.raw[:-1] + bytes([t.raw[-1] | 0x80])), 5


def _token_frequencies(t: Tokens) -> Variants:
    first, *rest = t.frequencies
    yield "frequencies of 4095", t.build(frequencies=[first - 1, *rest]), 5
    yield "frequencies of 4097", t.build(frequencies=[first + 1, *rest]), 5
    yield "frequencies of 0", t.build(frequencies=[0] * len(t.frequencies)), 5
    yield "a frequency of 8191", t.build(frequencies=[8191, *rest]), 5
    yield "a frequency of 2**32", t.build(frequencies=[2**32 + first, *rest]), 5
    yield "a frequency missing", t.build(frequencies=rest), 5
    yield "a frequency more", t.build(frequencies=[*t.frequencies, 0]), 5
    if rest and first != rest[-1]:
        yield "other frequencies", t.build(frequencies=t.frequencies[::-1]), 5
    assert sum(t.frequencies) == TOTAL
