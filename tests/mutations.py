"""Random changes to the parts of a container, for tests/fuzz_containers.py."""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import golden
from container_builder import Container, Parts, integers
from crafted_case import base
from crafted_columns import Tokens
from nqz.format import integers as sequences
from nqz.format import tokens

NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    127,
    128,
    255,
    256,
    4095,
    4096,
    65535,
    65536,
    2**20,
    2**21,
    2**24,
    2**26,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
]
NUMBERS += [2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
FLOATS = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e-6, 0.5, 1e3, 1e6, 1e300, 1.7976931348623157e308]
KINDS: list[Any] = [
    None,
    True,
    False,
    "",
    "x",
    b"",
    bytes(16),
    [],
    {},
    {"a": None},
    [[]],
    "z",
    "e8",
    "leech",
    "conv8",
    "F",
    ">",
    "float64",
]
TYPES = ["NORM", "MEAN", "CHNK", "GAIN", "EXCT", "MANI", "DONE", "NEWS", "nEWS", "norm", "zZZZ"]
NAMES = sorted({*golden.GOLDEN} - {"panels", "conv4096"})

Change = Callable[[random.Random, Container], str]


@cache
def pool() -> dict[str, list[bytes]]:
    """Payloads of all golden files, by type."""
    found: dict[str, list[bytes]] = {}
    for name in NAMES:
        for kind, payload in base(name).records():
            found.setdefault(kind, []).append(payload)
    return found


def mutated(rng: random.Random) -> tuple[list[str], bytes]:
    """A golden file with a few changes, and what they are."""
    name = rng.choice(NAMES)
    parts = base(name)
    what = [name]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        try:
            what.append(rng.choices(*zip(*CHANGES, strict=True))[0](rng, parts))
        except (
            IndexError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            struct.error,
            AssertionError,
        ) as error:
            what.append(
                f"nothing: {type(error).__name__}"
            )  # what is changed is no longer there, or of another kind
    try:
        data = parts.build()
    except (ValueError, TypeError, OverflowError, KeyError, struct.error, UnicodeEncodeError) as error:
        return [*what, f"not built: {type(error).__name__}"], golden.load(name)
    if rng.random() < 0.04:
        data = changed_bytes(rng, data)
        what.append("bytes of the file")
    return what, data


def any_number(rng: random.Random, near: int = 0) -> int:
    """A number that may be at a bound of something."""
    how = rng.randrange(5)
    if how == 0:
        return near + rng.choice((-1, 1, 2, -2, 8, -8))
    if how == 1:
        return near ^ 1 << rng.randrange(64)
    if how == 2:
        return rng.choice((near * 2, near // 2, -near, near * 256))
    value = rng.choice(NUMBERS) + rng.choice((0, 0, 0, 1, -1))
    return -value if rng.random() < 0.2 else value


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a few of them changed, added, or missing."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        how = rng.randrange(7)
        if how == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how == 2:
            del out[at:]
        elif how == 3:
            del out[at : at + rng.choice((1, 2, 4, 8))]
        elif how == 4:
            out[at:at] = bytes(
                rng.choice((0, 255, rng.randrange(256))) for _ in range(rng.choice((1, 2, 4, 8)))
            )
        elif how == 5:
            size = rng.choice((1, 2, 4, 8))
            out[at : at + size] = (any_number(rng) % (1 << 8 * size)).to_bytes(size, "little")
        elif len(out) > 4:
            other = rng.randrange(len(out))
            out[at : at + 4], out[other : other + 4] = out[other : other + 4], out[at : at + 4]
    return bytes(out)


def _place(rng: random.Random, parts: Container) -> tuple[Parts, int]:
    """Some record: the list that it is in, and its place there."""
    records = rng.choice([found for found in [parts.leading, *parts.tensors] if found])
    return records, rng.randrange(len(records))


def payload(rng: random.Random, parts: Container) -> str:
    """Change bytes of a payload."""
    records, at = _place(rng, parts)
    kind, data = records[at]
    records[at] = kind, changed_bytes(rng, data)
    return f"bytes of {kind}"


def other_payload(rng: random.Random, parts: Container) -> str:
    """Take a payload of another file."""
    records, at = _place(rng, parts)
    kind = records[at][0]
    records[at] = kind, rng.choice(pool().get(kind, [b""]))
    return f"other {kind}"


def records(rng: random.Random, parts: Container) -> str:
    """Change the order, the number, or a type of the records."""
    chosen, at = _place(rng, parts)
    how = rng.choice(("without", "twice", "swapped", "moved", "type", "inserted"))
    kind = chosen[at][0]
    if how == "without":
        del chosen[at]
    elif how == "twice":
        chosen.insert(rng.randrange(len(chosen) + 1), chosen[at])
    elif how == "swapped":
        other, to = _place(rng, parts)
        chosen[at], other[to] = other[to], chosen[at]
    elif how == "moved":
        to = rng.choice([parts.leading, *parts.tensors])
        to.insert(rng.randrange(len(to) + 1), chosen.pop(at))
    elif how == "type":
        chosen[at] = rng.choice(TYPES), chosen[at][1]
    else:
        chosen.insert(at, (rng.choice(TYPES), rng.choice((b"", b"abc", bytes(100), chosen[at][1]))))
    return f"{kind} {how}"


def _another(rng: random.Random, value: Any) -> Any:
    """Another value, mostly of the same kind."""
    if rng.random() < 0.1:
        return rng.choice([*KINDS, any_number(rng), rng.choice(FLOATS)])
    if isinstance(value, bool) or value is None:
        return rng.choice(KINDS)
    if isinstance(value, int):
        return any_number(rng, value)
    if isinstance(value, float):
        return rng.choice([*FLOATS, value * 2, -value, value + 1e-9, 1 / value if value else 1.0])
    if isinstance(value, str):
        return rng.choice(
            [
                value + "x",
                value[:-1],
                value.upper(),
                "\0",
                "../" + value,
                *(k for k in KINDS if isinstance(k, str)),
            ]
        )
    if isinstance(value, bytes):
        return changed_bytes(rng, value)
    if isinstance(value, list):
        value = copy.deepcopy(value)
        how = rng.randrange(4)
        if how == 0 or not value:
            value.insert(rng.randrange(len(value) + 1), rng.choice([*KINDS, any_number(rng)]))
        elif how == 1:
            del value[rng.randrange(len(value))]
        elif how == 2:
            value.append(value[0])
        else:
            rng.shuffle(value)
        return value
    return {**value, rng.choice(("x", "", "tensors")): rng.choice(KINDS)}


def _change_within(rng: random.Random, value: Any) -> None:
    """Change something in a map or list, at any depth."""
    while True:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.2:
            value[key] = _another(rng, inner)
            return
        value = inner


def manifest(rng: random.Random, parts: Container) -> str:
    """Change a value of the manifest."""
    if rng.random() < 0.1 or isinstance(parts.manifest, bytes):
        parts.manifest = changed_bytes(rng, parts.packed_manifest())
        return "bytes of MANI"
    _change_within(rng, parts.manifest if rng.random() < 0.3 else rng.choice(parts.manifest["tensors"]))
    return "manifest"


def parameters(rng: random.Random, parts: Container) -> str:
    """Change a value of the parameters of a matrix."""
    assert isinstance(parts.manifest, dict)
    found = rng.choice([entry[6] for entry in parts.manifest["tensors"] if entry[6]])
    _change_within(rng, found)
    return "parameters"


def shape(rng: random.Random, parts: Container) -> str:
    """Change a shape a little, and make it large now and then."""
    assert isinstance(parts.manifest, dict)
    entry = rng.choice(parts.manifest["tensors"])
    at = rng.randrange(len(entry[2]))
    entry[2][at] = any_number(rng, entry[2][at]) if rng.random() < 0.5 else rng.randrange(64)
    return f"shape {entry[2]}"


def sequence(rng: random.Random, parts: Container) -> str:
    """Change integers of NORM or MEAN, or the form that they take."""
    tensor = rng.randrange(len(parts.tensors))
    places = [i for i, (kind, _) in enumerate(parts.tensors[tensor]) if kind in ("NORM", "MEAN")]
    at = rng.choice(places)
    kind, data = parts.tensors[tensor][at]
    count = _columns(parts, tensor)
    assert count < 10_000, "shapes that were changed before may be of any size"
    head, rest = (data[:4], data[4:]) if kind == "NORM" else (b"", data)
    lists: list[list[int]] = []
    for _ in range(1 if kind == "NORM" else 2):
        values, rest = sequences.unpack(rest, count)
        lists.append(values.tolist())
    chosen = rng.choice(lists)
    for _ in range(rng.choice((1, 1, 3))):
        place = rng.randrange(len(chosen))
        chosen[place] = any_number(rng, chosen[place])
    if kind == "NORM" and rng.random() < 0.3:
        head = struct.pack("<i", any_number(rng, struct.unpack("<i", head)[0]))
    parts.tensors[tensor][at] = kind, head + b"".join(_packed(rng, values) for values in lists)
    return f"integers of {kind}"


def _packed(rng: random.Random, values: list[int]) -> bytes:
    if rng.random() < 0.5:
        return integers(values)
    if rng.random() < 0.5:
        return b"\1" + tokens.pack(np.array(values, np.int64))
    t = Tokens(values)
    name = rng.choice(("low", "least", "greatest", "state", "center", "frequencies", "words", "raw"))
    value = getattr(t, name)
    if isinstance(value, bytes):
        return t.build(**{name: changed_bytes(rng, value)})
    if isinstance(value, list):
        value[rng.randrange(len(value))] += rng.choice((1, -1, 4096))
        return t.build(frequencies=value)
    return t.build(
        **{name: any_number(rng, value) % (256 if name in ("low", "least", "greatest") else 2**32)}
    )


def _columns(parts: Container, tensor: int) -> int:
    assert isinstance(parts.manifest, dict)
    entry = parts.manifest["tensors"][tensor]
    extents = entry[2]
    return 1 if len(extents) == 1 else int(extents[-1] if entry[6][0] == 0 else extents[0])


def index(rng: random.Random, parts: Container) -> str:
    """Change a number of the index, or its bytes."""
    if rng.random() < 0.3:
        parts.index = changed_bytes(rng, parts.packed_index())
        return "bytes of INDX"
    names = ("types", "counts", "numbers", "lengths")
    found = dict(zip(names, parts.sequences(), strict=True))
    name = rng.choice(names)
    values = list(getattr(parts, name) or found[name])
    at = rng.randrange(len(values))
    values[at] = rng.choice([*TYPES, "    "]) if name == "types" else any_number(rng, values[at])
    if name == "lengths" and rng.random() < 0.5 and len(values) > 1:  # the sum stays
        values[at] = found[name][at] + 8
        values[at - 1] = found[name][at - 1] - 8
    setattr(parts, name, values)
    return name


def end(rng: random.Random, parts: Container) -> str:
    """Change a field of the end record."""
    name = rng.choice(("file_length", "manifest_offset", "index_offset", "records"))
    size = len(parts.build())
    parts.end[name] = any_number(rng, rng.choice((size, size - 80, 16, len(parts.records()) + 3))) % 2**64
    return name


def chunk(rng: random.Random, parts: Container) -> str:
    """Change the head of a chunk: its states, its counts, its frequencies."""
    found = [
        (records, i) for records in parts.tensors for i, (kind, _) in enumerate(records) if kind == "CHNK"
    ]
    chosen, at = rng.choice(found)
    kind, data = chosen[at]
    place = rng.randrange(0, min(len(data) - 4, 16), 2)
    size = rng.choice((2, 4))
    old = int.from_bytes(data[place : place + size], "little")
    new = (any_number(rng, old) % (1 << 8 * size)).to_bytes(size, "little")
    chosen[at] = kind, data[:place] + new + data[place + size :]
    return f"head of CHNK at {place}"


def preamble(rng: random.Random, parts: Container) -> str:
    """Change the preamble."""
    parts.preamble = changed_bytes(rng, parts.preamble)
    return "preamble"


CHANGES: list[tuple[Change, int]] = [
    (payload, 20), (other_payload, 5), (records, 8), (manifest, 10), (parameters, 16), (shape, 6),
    (sequence, 14), (index, 8), (end, 2),
    (chunk, 10), (preamble, 1),
]  # fmt: skip
"""What is done, and how often."""
