"""Crafted containers: preamble, headers and order of records, index and end record are wrong, or unusual."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from container_builder import END, Container, assemble, index, integers, offsets, preamble, record, split
from crafted_case import FILE, OPEN, Case, base, kind_seen, reframed, sound, tensor_seen

BASES = ("z", "optional", "npz")
KNOWN = ("NORM", "MEAN", "CHNK", "GAIN", "EXCT", "MANI", "INDX", "DONE")


def cases() -> Iterator[Case]:
    """All of them."""
    for name in BASES:
        yield from preambles(name)
        yield from cut_and_joined(name)
        yield from headers(name)
        yield from last_headers(name)
        yield from orders(name)
        yield from indexes(name)
        yield from ends(name)


def preambles(name: str) -> Iterator[Case]:
    """Magic, version, features, CRC-32."""
    data, parts = sound(name), base(name)

    def with_start(what: str, start: bytes, code: int = 5) -> Case:
        return Case(name, "preamble", what, parts.replaced(preamble=start).build(), code)

    start = data[:16]
    for at in range(8):
        bad = bytearray(start)
        bad[at] ^= 1 << at % 8
        yield with_start(f"magic byte {at}", bytes(bad))
    for version in (1, 2, 255, 256, 65535):
        yield with_start(f"version {version}", preamble(version), 6)
        yield with_start(f"version {version}, CRC-32 of 0", start[:8] + preamble(version)[8:12] + start[12:])
    for bit in range(16):
        yield with_start(f"feature {bit}", preamble(0, 1 << bit), 6)
    yield with_start("all features", preamble(0, 65535), 6)
    for what, crc in (("0", 0), ("other", struct.unpack("<I", start[12:])[0] ^ 1), ("all ones", 2**32 - 1)):
        yield with_start(f"CRC-32 {what}", preamble(crc=crc))
    for what, mangled in (
        ("line ends", data.replace(b"\r\n", b"\n", 1)),
        ("seven bits", bytes([start[0] & 127]) + data[1:]),
        ("UTF-8", start[:8].decode("latin-1").encode() + data[8:]),
        ("twice", start + data),
        ("none", data[16:]),
    ):
        yield Case(name, "preamble", f"mangled: {what}", mangled)


def cut_and_joined(name: str) -> Iterator[Case]:
    """Files that end too early or too late."""
    data = sound(name)
    marks = {0, 1, 7, 8, 15, 16, 17, len(data) - 1, len(data) - 8, len(data) - END, len(data) - END + 16}
    for start in offsets(data):
        marks |= {start, start + 8, start + 16, start - 8}
    for mark in sorted(marks):
        yield Case(name, "file", f"cut at {mark}", data[:mark])
    for what, more in (
        ("a byte", b"\0"), ("zeros", bytes(8)), ("many zeros", bytes(END)), ("itself", data),
        ("an end", data[-END:]),
        ("a record", record("nOTE", b"")),
    ):  # fmt: skip
        yield Case(name, "file", f"{what} behind it", data + more)


def _wrong_headers(kind: str, payload: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    padding = -len(payload) % 8
    for other in (
        b"\0\0\0\0",
        b"NO M",
        b"N0RM",
        b"N\xd6RM",
        kind.lower().encode(),
        kind.swapcase().encode(),
        b"nEWS",
    ):
        yield f"type {other!r}", {"kind": other}
    for known in KNOWN:
        if known != kind:
            yield f"type {known} in its header", {"kind": known}
    n = len(payload)
    for length in {
        0,
        1,
        n - 1,
        n + 1,
        n + 8,
        n + padding,
        2**31,
        2**32,
        2**63,
        2**63 - 1,
        2**64 - 1,
        2**64 - 16,
    }:
        if length not in (n, -1):
            yield f"length {length - n:+}", {"length": length}
    for what, crc in (("0", 0), ("all ones", 2**32 - 1)):
        yield f"CRC-32 {what}", {"crc": crc}
    if padding:
        yield "padding of ones", {"padding": b"\xff" * padding}
        yield "padding, last bit", {"padding": bytes(padding - 1) + b"\x80"}


def headers(name: str) -> Iterator[Case]:
    """Headers and padding that are wrong, where the index is right."""
    parts = base(name)
    for number, (kind, payload) in enumerate(parts.records()):
        for what, wrong in _wrong_headers(kind, payload):
            yield Case(
                name, kind, f"{number}: {what}", reframed(parts, number, **wrong), 5, kind_seen(parts, number)
            )


def last_headers(name: str) -> Iterator[Case]:
    """The same of manifest, index and end record."""
    *records, mani, indx, done = split(sound(name))
    for number, (kind, payload) in enumerate((mani, indx, done)):
        for what, wrong in _wrong_headers(kind, payload):
            last = [record(*part) for part in (mani, indx, done)]
            last[number] = record(wrong.pop("kind", kind), payload, **wrong)
            start = [preamble(), *(record(*part) for part in records)]
            yield Case(name, kind, what, b"".join([*start, *last]))


def orders(name: str) -> Iterator[Case]:
    """Records that are missing, superfluous, swapped, or of other types, and an index that says so."""
    for tensor, records in enumerate(base(name).tensors):
        for place in range(len(records)):
            yield from _moved(name, tensor, place)
        for kind, code in (
            ("NORM", 5), ("MEAN", 5), ("CHNK", 5), ("GAIN", 5), ("EXCT", 5), ("MANI", 5), ("INDX", 5), ("DONE", 5),
            ("NEWS", 6),
            ("NeWS", 6), ("TENS", 6), ("nEWS", 0), ("neWS", 0), ("norm", 0),
        ):  # fmt: skip
            parts = base(name)
            seen = tensor_seen(parts, tensor)
            parts.tensors[tensor].append((kind, b"abc"))
            # what only a later release reads is listed all the same
            seen = seen - {"inspect"} if code == 6 else seen
            yield Case(name, "order", f"tensor {tensor}: a record {kind} more", parts.build(), code, seen)
    for kind, code in (
        ("NORM", 5),
        ("EXCT", 5),
        ("DONE", 5),
        ("MANI", 5),
        ("NEWS", 6),
        ("NeWS", 6),
        ("nEWS", 0),
    ):
        parts = base(name)
        parts.leading.append((kind, b"abc"))
        yield Case(name, "order", f"a record {kind} in front", parts.build(), code)
    parts = base(name)
    parts.tensors = [*parts.tensors[1:], []]
    if len(parts.tensors) > 1:
        yield Case(name, "order", "records of the next tensor", parts.build())


def _moved(name: str, tensor: int, place: int) -> Iterator[Case]:
    kind = base(name).tensors[tensor][place][0]
    optional = kind[0].islower()

    def case(what: str, edit: Any, code: int = 5, seen: frozenset[str] | None = None) -> Case:
        parts = base(name)
        seen = seen or tensor_seen(parts, tensor)
        edit(parts.tensors[tensor], parts)
        seen = seen - {"inspect"} if code == 6 else seen
        what = f"tensor {tensor}: {what} {kind} at {place}"
        return Case(name, "order", what, parts.build(), 0 if optional and code == 5 else code, seen)

    yield case("without", lambda records, _: records.pop(place))
    yield case("twice", lambda records, _: records.insert(place, records[place]))
    yield case("unknown type for", lambda records, _: records.__setitem__(place, ("NEWS", b"1")), 6)
    # what follows a record that is skipped is missing
    yield case(
        "optional type for", lambda records, _: records.__setitem__(place, ("nEWS", records[place][1]))
    )
    for other in ("NORM", "MEAN", "CHNK", "GAIN", "EXCT"):
        if other != kind and not optional:
            yield case(
                f"type {other} for",
                lambda records, _, other=other: records.__setitem__(place, (other, records[place][1])),
            )
    if place and not optional and base(name).tensors[tensor][place - 1][0] != kind:
        swapped = base(name).tensors[tensor][place - 1][0][0].islower()

        def swap(records: list[Any], _: Container) -> None:
            records[place - 1 : place + 1] = records[place - 1 : place + 1][::-1]

        yield case("swapped", swap, 0 if swapped else 5)
    if not optional:
        yield case(
            "moved to the file:", lambda records, parts: parts.leading.append(records.pop(place)), seen=OPEN
        )


def indexes(name: str) -> Iterator[Case]:
    """Payloads of INDX."""
    parts = base(name)
    types, counts, numbers, lengths = parts.sequences()
    right = parts.packed_index()

    def case(what: str, payload: bytes, code: int = 5) -> Case:
        return Case(name, "INDX", what, parts.replaced(index=payload).build(), code)

    for k in (0, len(types) - 1, len(types) + 1, 257, 2**31, 2**32 - 1):
        yield case(f"count of types {k}", struct.pack("<I", k) + right[4:])
    yield case("types twice", index([types[0], *types], counts, [n + 1 for n in numbers], lengths))
    yield case(
        "types in another order",
        index(types[::-1], counts, [len(types) - 1 - n for n in numbers], lengths),
        0,
    )
    yield case("a type that is not used", index([*types, "nEWS"], counts, numbers, lengths), 0)
    yield case(
        "257 types",
        index(
            [*types, *(f"n{chr(65 + i // 26)}{chr(65 + i % 26)}A" for i in range(257 - len(types)))],
            counts,
            numbers,
            lengths,
        ),
    )
    for other in ("\0\0\0\0", "NO M", "N\xd6RM", "1234"):
        yield case(f"type {other!r}", index([other, *types[1:]], counts, numbers, lengths))
    for what, stated in _other_counts(counts):
        yield case(f"counts: {what}", index(types, stated, numbers, lengths))
    for at in range(len(numbers)):
        for value in (-1, len(types), 255, 2**40, -(2**63)):
            yield case(
                f"number of record {at}: {value}",
                index(types, counts, [*numbers[:at], value, *numbers[at + 1 :]], lengths),
            )
        for value in (
            -1,
            lengths[at] + 8,
            lengths[at] - 8,
            2**31,
            2**40,
            2**62,
            2**63 - 1,
            -(2**63),
            -lengths[at],
        ):
            if value != lengths[at]:
                yield case(
                    f"length of record {at}: {value - lengths[at]:+}",
                    index(types, counts, numbers, [*lengths[:at], value, *lengths[at + 1 :]]),
                )
    yield from _index_forms(name, parts)
    for cut in {0, 1, 3, 4, 5, len(right) // 2, len(right) - 2, len(right) - 1}:
        yield case(f"cut at {cut}", right[:cut])
    for more in (b"\0", bytes(8), right):
        yield case(f"{len(more)} bytes more", right + more)


def _other_counts(counts: list[int]) -> Iterator[tuple[str, list[int]]]:
    for at in range(len(counts)):
        for by in (1, -1, 1000, 2**40, -(2**40), 2**62):
            yield f"{at} {by:+}", [*counts[:at], counts[at] + by, *counts[at + 1 :]]
    yield "one less", counts[:-1]
    yield "one more", [*counts, 0]
    if len(counts) > 3:
        yield (
            "sum of 2**64 more",
            [2**62, 2**62, 2**62, *counts[3:-1], 2**62 + sum(counts) - sum(counts[3:-1])],
        )
    yield "negative that adds up", [-1, *counts[1:-1], counts[-1] + counts[0] + 1]


def _index_forms(name: str, parts: Container) -> Iterator[Case]:
    """The same integers in other forms: all that are valid are allowed."""
    types, *sequences = parts.sequences()
    head = struct.pack("<I", len(types)) + "".join(types).encode()
    for which, what in enumerate(("counts", "numbers", "lengths")):
        packed = list(map(integers, sequences))
        for width in (2, 3, 8):
            packed[which] = integers(sequences[which], width)
            data = parts.replaced(index=head + b"".join(packed)).build()
            yield Case(name, "INDX", f"{what} of width {width}", data, 0)
        for form in (b"\x00\x00", b"\x00\x09", b"\x00\xff", b"\x02\x01", b"\xff\x01", b"\x01"):
            packed[which] = form + integers(sequences[which], 1)[2:]
            data = parts.replaced(index=head + b"".join(packed)).build()
            yield Case(name, "INDX", f"{what} of form {form.hex()}", data)


def ends(name: str) -> Iterator[Case]:
    """Fields of DONE, and its length."""
    data, parts = sound(name), base(name)
    fields = dict(
        zip(
            ("file_length", "manifest_offset", "index_offset", "records"),
            struct.unpack("<QQQQ", data[-64:-32]),
            strict=True,
        )
    )
    for field, right in fields.items():
        steps = {1, -1, 8, -8, 16, -16, right}
        values = {right + step for step in steps} | {
            0,
            16,
            2,
            2**26 + 1,
            2**31,
            2**32,
            2**63,
            2**64 - 1,
            2**64 - 8,
        }
        values |= set(fields.values())
        for value in sorted(v for v in values if 0 <= v < 2**64 and v != right):
            yield Case(name, "DONE", f"{field} {value - right:+}", parts.replaced(end={field: value}).build())
    for what, digest in (
        ("zeros", bytes(32)),
        ("one bit", bytes([data[-32] ^ 1]) + data[-31:]),
        ("last bit", data[-32:-1] + bytes([data[-1] ^ 128])),
    ):
        yield Case(name, "DONE", f"digest: {what}", parts.replaced(end={"digest": digest}).build(), 5, FILE)
    for cut in (0, 8, 32, 56, 63):
        yield Case(name, "DONE", f"of {cut} bytes", data[:-END] + record("DONE", data[-64 : -64 + cut]))
    for more in (b"\0", bytes(8)):
        yield Case(
            name, "DONE", f"of {64 + len(more)} bytes", data[:-END] + record("DONE", data[-64:] + more)
        )
    yield Case(name, "DONE", "twice", data + data[-END:])
    *records, mani, indx, _ = split(data)
    for what, last in (
        ("MANI twice", [mani, mani, indx]),
        ("INDX twice", [mani, indx, indx]),
        ("INDX in front of MANI", [indx, mani]),
    ):
        framed = [record(*part) for part in [*records, *last[:-2]]]
        yield Case(name, "order", what, assemble(framed, last[-2][1], last[-1][1]))
