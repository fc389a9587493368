"""Crafted containers: the manifest is wrong, or unusual, in one value, or in its form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from container_builder import Container
from crafted_case import CARRIED, EXACT, OPEN, PRODUCT, Case, base, changed

KINDS: list[Any] = [None, True, 0, -1, 1.5, "", "x", b"", b"x", [], [1], {}, {"a": 1}, 2**64 - 1]
"""Values of every kind."""

DEEP: Any = [[[[[[[[[1]]]]]]]]]
NEWER = CARRIED
"""A tensor of which a later release knows more is shown, and refused where it is asked for."""

FIELDS = ("codec", "name", "shape", "dtype", "order", "byte_order", "parameters", "extensions")


def cases() -> Iterator[Case]:
    """All of them."""
    for name in ("z", "npz", "model"):
        yield from forms(name)
        yield from maps(name)
        for tensor in range(len(base(name).manifest["tensors"])):
            yield from kinds(name, tensor)
            yield from values(name, tensor)
    yield from float8()
    yield from names()
    yield from sources()


def forms(name: str) -> Iterator[Case]:
    """Bytes that are no canonical msgpack, or no map."""
    right = base(name).packed_manifest()
    key = msgpack.packb("writer")
    end = right.index(key) + len(key)
    writer = msgpack.unpackb(right)["writer"].encode()
    start, rest = right[:end], right[end + 1 + len(writer) :]  # around the value of the key
    packed: dict[str, bytes] = {
        "empty": b"", "nil": b"\xc0", "never used byte": b"\xc1", "a list": msgpack.packb([1, 2]),
        "a number": b"\0",
        "an array without end": b"\xdd\xff\xff\xff\xff", "a map without end": b"\xdf\xff\xff\xff\xff",
        "a string without end": b"\xdb\xff\xff\xff\xff", "bytes without end": b"\xc6\xff\xff\xff\xff",
        "map in long form": b"\xde\0" + bytes([right[0] & 15]) + right[1:],
        "one key less declared": bytes([right[0] - 1]) + right[1:],
        "one key more declared": bytes([right[0] + 1]) + right[1:], "twice": right + right,
        "a byte more": right + b"\0",
        "zeros": bytes(len(right)), "text": b"{" * len(right),
    }  # fmt: skip
    for what, value in (
        ("a long string", b"\xd9" + bytes([len(writer)]) + writer),
        ("a longer string", b"\xda\0" + bytes([len(writer)]) + writer),
        ("no UTF-8", b"\xa2\xff\xfe"), ("a surrogate", b"\xa3\xed\xa0\x80"),
        ("an overlong letter", b"\xa2\xc1\x81"),
        ("bytes", b"\xc4\1x"), ("a timestamp", b"\xd6\xff\0\0\0\0"), ("an extension type", b"\xd4\1\0"),
        ("nothing", b""),
        ("a string cut short", b"\xdb\x7f\xff\xff\xff"), ("an array", b"\x91\xa1x"), ("0xc1", b"\xc1"),
    ):  # fmt: skip
        packed[f"writer: {what}"] = start + value + rest
    key = msgpack.packb("extensions")
    at = right.index(key) + len(key)
    for what, value in (
        ("NaN", b"\xcb\x7f\xf8" + bytes(6)), ("infinity", b"\xcb\x7f\xf0" + bytes(6)),
        ("float32", b"\xca\0\0\0\0"),
        ("a long number", b"\xcc\1"), ("a longer number", b"\xcf" + bytes(8)), ("a signed number", b"\xd0\1"),
        ("a long negative", b"\xd1\xff\xff"),
        ("a long array", b"\xdc\0\1\xc0"), ("a timestamp", b"\xd6\xff\0\0\0\0"),
        ("12-byte timestamp", b"\xc7\x0c\xff" + bytes(12)),
        ("long bytes", b"\xc5\0\1x"), ("a map of numbers", b"\x81\1\1"), ("a map of bytes", b"\x81\xc4\1a\1"),
        ("equal keys", b"\x82\xa1a\1\xa1a\2"),
        ("1025 items", msgpack.packb([0] * 1025)), ("too deep", msgpack.packb(DEEP[0])),
        ("declared 2**32 - 1 items", b"\xdd\xff\xff\xff\xff"),
        ("deep without end", b"\x91" * 200), ("maps without end", b"\x81\xa1a" * 5000),
    ):  # fmt: skip
        packed[f"extensions: {what}"] = right[:at] + b"\x81\xa1x" + value + right[at + 1 :]
    for cut in sorted({1, 2, 7, 8, len(right) // 2, len(right) - 1}):
        packed[f"cut at {cut}"] = right[:cut]
    for what, data in packed.items():
        yield Case(name, "MANI", what, base(name).replaced(manifest=data).build())
    allowed: list[Any] = [
        1.5,
        -(2**63),
        2**64 - 1,
        [0] * 1024,
        DEEP[0][0][0],
        {"": {"": None}},
        b"",
        "ü",
        True,
        -0.0,
        5e-324,
    ]
    for number, value in enumerate(allowed):
        yield Case(
            name,
            "MANI",
            f"extensions: allowed value {number}",
            changed(name, _set("extensions", {"x": value})),
            0,
        )


def _set(key: str, value: Any) -> Callable[[Container], None]:
    return lambda parts: parts.manifest.__setitem__(key, value)


def maps(name: str) -> Iterator[Case]:
    """Keys and values of the map."""
    right = base(name).manifest
    for key in right:
        others = [item for item in right if item != key]
        for what, keys in (("without", others), ("last", [*others, key]), ("first", [key, *others])):
            if list(right) != keys:
                value = {k: right[k] for k in keys}
                yield Case(name, "MANI", f"{what} {key}", base(name).replaced(manifest=value).build())
        renamed = {k + "_" if k == key else k: value for k, value in right.items()}
        yield Case(name, "MANI", f"other name for {key}", base(name).replaced(manifest=renamed).build())
        twice = base(name).packed_manifest() + msgpack.packb(key) + msgpack.packb(right[key])
        yield Case(
            name,
            "MANI",
            f"{key} twice",
            base(name).replaced(manifest=bytes([right_head(right) + 1]) + twice[1:]).build(),
        )
    yield Case(name, "MANI", "a key more", base(name).replaced(manifest={**right, "more": None}).build())
    good_ones: dict[str, list[Any]] = {
        "source": [], "metadata": [None, {}], "set": [None], "writer": ["", "x"], "extensions": [{}, {"a": 1}],
        "tensors": [],
    }  # fmt: skip
    for key, good in good_ones.items():
        for value in KINDS:
            # names that are not known are newer
            code = (
                0
                if value in good and type(value) in map(type, good)
                else 6
                if key == "source" and isinstance(value, str)
                else 5
            )
            yield Case(name, "MANI", f"{key}: {value!r}", changed(name, _set(key, value)), code)
    part = [bytes(16), 0, 1]
    sets: list[tuple[Any, int]] = [
        (part, 0), ([bytes(16), 2**64 - 2, 2**64 - 1], 0), ([bytes(16), 1, 1], 5), ([bytes(16), 2, 1], 5),
        ([bytes(15), 0, 1], 5),
        ([bytes(17), 0, 1], 5), (["0" * 16, 0, 1], 5), ([bytes(16), -1, 1], 5), ([bytes(16), 0, 0], 5),
        ([bytes(16), 0.0, 1], 5),
        ([bytes(16), False, True], 5), ([bytes(16), 0], 5), ([bytes(16), 0, 1, 2], 5), ([0, 1, bytes(16)], 5),
        ([None] * 3, 5), ([part], 5),
    ]  # fmt: skip
    for value, code in sets:
        yield Case(name, "MANI", f"set: {value!r}", changed(name, _set("set", value)), code)
    metadata: list[tuple[Any, int]] = [
        ({"a": ""}, 0),
        ({"": "ü\0"}, 0),
        ({"a": 1}, 5),
        ({"a": None}, 5),
        ({"a": ["b"]}, 5),
        ([["a", "b"]], 5),
    ]
    for value, code in metadata:
        yield Case(name, "MANI", f"metadata: {value!r}", changed(name, _set("metadata", value)), code)


def right_head(value: dict[str, Any]) -> int:
    """The byte that a small map begins with."""
    return 0x80 | len(value)


def _in(tensor: int, field: int | str, value: Any) -> Callable[[Container], None]:
    place = FIELDS.index(field) if isinstance(field, str) else field
    return lambda parts: parts.manifest["tensors"][tensor].__setitem__(place, value)


def kinds(name: str, tensor: int) -> Iterator[Case]:
    """Values of other kinds in the entry of a tensor, and entries of other lengths."""
    right = base(name).manifest["tensors"][tensor]
    exact = right[0] == "exact-1"

    def case(what: str, value: Any, code: int = 5, seen: frozenset[str] = OPEN) -> Case:
        return Case(
            name,
            "MANI",
            f"tensor {tensor}: {what}",
            changed(name, lambda parts: parts.manifest["tensors"].__setitem__(tensor, value)),
            code,
            seen,
        )

    for value in [
        *KINDS,
        dict(zip(FIELDS, right, strict=True)),
        [right],
        right[::-1],
        right[:-1],
        right[1:],
        [*right, None],
        [right[0], *right],
    ]:
        yield case(f"an entry {str(value)[:30]}", value)
    for place, field in enumerate(FIELDS):
        for value in KINDS:
            code, seen = 5, OPEN
            if field in ("codec", "dtype") and isinstance(value, str):
                code, seen = 6, newer_seen(name, tensor)
            elif isinstance(value, {"name": str, "extensions": dict}.get(field, ())) and (field, name) != (
                "name",
                "z",
            ):
                code = 0
            elif field == "shape" and value in ([], [1]):
                code, seen = _shape_code(right, value)
            elif value == right[place] and type(value) is type(right[place]):
                continue
            elif field == "parameters" and not exact and value is not None:
                seen = OPEN  # noticed when the matrix is opened
            yield case(f"{field}: {value!r}", [*right[:place], value, *right[place + 1 :]], code, seen)


def newer_seen(name: str, tensor: int) -> frozenset[str]:
    """Who refuses a tensor of which only a later release knows the codec or type."""
    matrices = [entry[0] == "nqz-1" for entry in base(name).manifest["tensors"]]
    return NEWER - {"inspect"} | (PRODUCT if matrices[tensor] and sum(matrices) == 1 else frozenset())


def _shape_code(entry: list[Any], shape: list[int]) -> tuple[int, frozenset[str]]:
    """What comes of a shape of one entry, or of none, that the records are not of."""
    if entry[0] == "nqz-1":
        return 5, OPEN
    before, after = math.prod(entry[2]), math.prod(shape)
    return (0, OPEN) if before == after else (5, EXACT if before and after else CARRIED)


def values(name: str, tensor: int) -> Iterator[Case]:
    """Values of the right kind that do not belong there."""
    right = base(name).manifest["tensors"][tensor]
    codec, _, shape, dtype, *_ = right
    exact = codec == "exact-1"

    def case(field: str, value: Any, code: int = 5, seen: frozenset[str] = OPEN) -> Case:
        shown = f"tensor {tensor}: {field} {str(value)[:40]}"
        return Case(name, "MANI", shown, changed(name, _in(tensor, field, value)), code, seen)

    for value in ("nqz-2", "exact-2", "NQZ-1", "nqz-1 ", "x" * 1000):
        yield case("codec", value, 6, newer_seen(name, tensor))
    yield case("codec", "nqz-1" if exact else "exact-1")
    for value in ("float128", "Float32", "f4", "x" * 1000, "float8"):
        yield case("dtype", value, 6, newer_seen(name, tensor))
    for value in ("f", "A", "CF", "K"):
        yield case("order", value)
    for value in ("=", "<>", "!"):
        yield case("byte_order", value)
    small = dtype in ("bool", "int8", "uint8")
    yield case("byte_order", "<" if small else "|")
    if name == "model":
        yield case("order", "F")
        yield case("byte_order", ">")
    else:
        yield case("order", "F" if right[4] == "C" else "C", 0)
        if not small:
            yield case("byte_order", ">" if right[5] == "<" else "<", 0)
    huge = [
        [2**63],
        [2**64 - 1],
        [-1],
        [2**62, 2],
        [2**31, 2**31, 2**31],
        [2**32] * 2,
        [2**63 - 1] * 64,
        [1] * 65,
        [1.0],
        ["1"],
        [None],
        [[1]],
        [True],
    ]
    for extents in huge:
        yield case("shape", extents)
    # sizes that a file may declare, whose records are not there
    seen = OPEN if not exact else CARRIED
    for extents in (
        [2**56],
        [2**31, 2**24],
        [*shape[:-1], 2**40] if shape and 0 not in shape else [2**40],
        [1, 2**30],
        [2**30, 1],
    ):
        yield case("shape", extents, 5, seen)
    yield case(
        "shape", [*shape, 0] if not exact or 0 not in shape else [1], 5, OPEN if not exact else CARRIED
    )
    yield case("shape", [1] * (64 - len(shape)) + shape, 0)
    yield case("parameters", [] if exact else None)
    yield case("extensions", {"x": DEEP[0][0][0]})
    yield case("extensions", {"x": DEEP[0][0][0][0][0]}, 0)
    if exact:
        yield from _other_dtypes(name, tensor, dtype)
    else:
        # of eight bits or less with another byte order than they have
        for value in (
            "int32",
            "uint8",
            "bool",
            "complex64",
            "float8_e5m2",
            "float8_e8m0fnu",
            "float4_e2m1fn",
        ):
            yield case("dtype", value)


_SIZES = {
    "bool": 1, "uint8": 1, "float8_e5m2": 1, "float4_e2m1fn": 0.5, "float6_e2m3fn": 0.75, "int16": 2,
    "uint16": 2, "float16": 2,
    "bfloat16": 2, "int32": 4, "float32": 4, "int64": 8, "complex128": 16,
}  # fmt: skip


def _other_dtypes(name: str, tensor: int, dtype: str) -> Iterator[Case]:
    """Types of an exact tensor: those that the source has not, those of another size, those of the same."""
    empty = 0 in base(name).manifest["tensors"][tensor][2]
    small = ["float8_e5m2", "float4_e2m1fn", "float6_e2m3fn", "bfloat16"]
    foreign = small if name == "npz" else ["complex128"]
    for other in [*small, "complex128", "bool", "uint8", "int16", "float32", "int64"]:
        if other == dtype:
            continue
        code, seen = (5, OPEN) if other in foreign else (5, EXACT)
        if empty and other in foreign:  # such a file can be read, but asks for another kind of output
            code, seen = (0, OPEN) if other == "bfloat16" else (4, frozenset({"decode"}))
        elif empty or (other not in foreign and _SIZES[other] == _SIZES[dtype]):
            code = 0

        def edit(parts: Container, other: str = other) -> None:
            found = parts.manifest["tensors"][tensor]
            found[3], found[5] = other, "|" if _SIZES[other] <= 1 else "<"

        yield Case(name, "MANI", f"tensor {tensor}: dtype {other}", changed(name, edit), code, seen)


def float8() -> Iterator[Case]:
    """Another type for a matrix of float8."""
    for value, order, code in (
        ("float8_e5m2", "|", 0), ("float8_e5m2fnuz", "|", 0), ("bfloat16", "<", 0), ("float8_e8m0fnu", "|", 5),
        ("uint8", "|", 5), ("float8_e4m3fn", "<", 5), ("float16", "|", 5), ("float8_e3m4", "|", 6),
    ):  # fmt: skip

        def edit(parts: Container, value: str = value, order: str = order) -> None:
            found = parts.manifest["tensors"][0]
            found[3], found[5] = value, order

        seen = newer_seen("float8", 0) if code == 6 else OPEN
        yield Case("float8", "MANI", f"dtype {value}, order {order}", changed("float8", edit), code, seen)


def names() -> Iterator[Case]:
    """Names that are too long, occur twice, or that files of the source cannot have."""
    for name, tensor in (("npz", 1), ("model", 2)):
        first = base(name).manifest["tensors"][0][1]
        tries = [
            (first, 5), ("x" * 65536, 5 if name == "npz" else 0), ("x" * 65537, 5), ("ü" * 32769, 5),
            ("x" * 65531, 0), ("x" * 65532, 5 if name == "npz" else 0),
            ("a\0b", 5 if name == "npz" else 0), ("a\\b", 5 if name == "npz" else 0),
            ("/a", 5 if name == "npz" else 0), ("C:/a", 5 if name == "npz" else 0),
            ("../a", 5 if name == "npz" else 0), ("a/../b", 5 if name == "npz" else 0),
            ("..", 5 if name == "npz" else 0), ("a/..", 5 if name == "npz" else 0),
            ("C:a", 0), ("..a", 0), ("a\n\x1b[31mb", 0), ("\u202e\u2066", 0), ("-rf", 0), ("%s{0}", 0),
            ("__metadata__", 0 if name == "npz" else 5), ("a/b/", 0),
        ]  # fmt: skip
        for value, code in tries:
            yield Case(
                name,
                "MANI",
                f"name {value[:20]!r} of {len(value)}",
                changed(name, _in(tensor, "name", value)),
                code,
            )
    for value in ("x", "array", "../x"):
        yield Case("z", "MANI", f"name {value!r}", changed("z", _in(0, "name", value)))


def sources() -> Iterator[Case]:
    """The format of another source."""
    for name, source, code in (
        ("z", "npz", 0), ("z", "safetensors", 0), ("npz", "npy", 5), ("npz", "safetensors", 5),
        ("model", "npy", 5),
        ("no-tensors", "npy", 5), ("no-tensors", "npz", 0), ("z", "gguf", 6), ("model", "NPY", 6),
        ("exact", "npz", 5), ("fortran", "safetensors", 5),
        ("big-endian", "safetensors", 5), ("fortran", "npz", 0), ("vector", "npz", 0),
        ("vector", "safetensors", 0),
    ):  # fmt: skip
        yield Case(name, "MANI", f"source {source}", changed(name, _set("source", source)), code)
    data = changed("model", _set("source", "npz"))
    # which has no bfloat16: decoding asks for another type
    yield Case("model", "MANI", "source npz", data, 4, frozenset({"decode"}))
    for name in ("z", "npz"):
        entry = base(name).manifest["tensors"][0]
        for what, tensors in (
            ("no tensors", []),
            ("one more", [*base(name).manifest["tensors"], [*entry[:1], "other", *entry[2:]]]),
        ):
            yield Case(name, "MANI", what, changed(name, _set("tensors", tensors)))
