"""Crafted containers: a value of the parameters of a matrix is wrong, or unusual."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from crafted_case import CHUNK, OPEN, Case, base, changed
from crafted_manifest import DEEP, KINDS

BASES = (
    "z",
    "e8",
    "leech",
    "conv4",
    "by-column",
    "voronoi-z",
    "voronoi-d4",
    "voronoi-e8",
    "voronoi-leech",
    "trellis",
)
FIELDS = (
    "axis", "rate", "kept", "transform", "lattice", "coding", "allocate", "delta", "lowest_class", "mean_digits",
    "norm_step", "partner", "mean_reference", "octaves", "digest", "dither_key",
)  # fmt: skip
WITHOUT_LATTICE = ("kept", "lattice", "coding", "allocate", "delta", "lowest_class", "octaves")
"""What is otherwise where there is no lattice."""

NEWER = OPEN - {"inspect"}
"""What only a later release reads is listed all the same."""

ALONE = OPEN - {"partner"}
FOREIGN = frozenset({"partner"})
Variant = tuple[Any, int, frozenset[str]]


def cases() -> Iterator[Case]:
    """All of them."""
    for name in BASES:
        right = base(name).manifest["tensors"][0][6]
        for what, value in (
            ("one value less", right[:-1]), ("first value missing", right[1:]),
            ("one value more", [*right, None]), ("in a list", [right]),
            ("in reverse", right[::-1]), ("as a map", dict(zip(FIELDS, right, strict=True))), ("none", []),
            ("nested", DEEP[0][0]),
        ):  # fmt: skip
            yield Case(name, "parameters", what, _with(name, value))
        for place in range(len(right) - 1):
            swapped = [*right[:place], right[place + 1], right[place], *right[place + 2 :]]
            # two numbers, two keys: what they stand for is not seen in them
            code = {"lowest_class": 0, "mean_digits": None, "digest": None}.get(FIELDS[place], 5)
            if FIELDS[place] == "lowest_class" and name == "trellis":
                code = 5  # which has none
            if code is not None and swapped != right:
                what = f"{FIELDS[place]} and {FIELDS[place + 1]} swapped"
                yield Case(name, "parameters", what, _with(name, swapped), code)
        for place, field in enumerate(FIELDS):
            if name == "trellis" and field not in WITHOUT_LATTICE:
                continue  # as in the others
            yield from _kinds(name, right, place)
            for value, code, seen in variants(name, right, field):
                data = _with(name, [*right[:place], value, *right[place + 1 :]])
                yield Case(name, "parameters", f"{field}: {str(value)[:60]}", data, code, seen)


def _with(name: str, parameters: Any) -> bytes:
    return changed(name, lambda parts: parts.manifest["tensors"][0].__setitem__(6, parameters))


def _kinds(name: str, right: list[Any], place: int) -> Iterator[Case]:
    field = FIELDS[place]
    for value in KINDS:
        if value == right[place] and type(value) is type(right[place]):
            continue
        if isinstance(value, str) and field in ("lattice", "allocate"):
            code, seen = 6, NEWER
        elif (field, value) == ("rate", 1.5):
            code, seen = 0, OPEN
        elif (
            field in ("lowest_class", "mean_digits", "mean_reference", "octaves", "delta", "axis")
            and type(value) is int
            and value in (0, -1)
            and not (name == "trellis" and field in ("lowest_class", "octaves", "delta"))
        ):
            continue  # among the variants
        elif field == "mean_reference" and value is None:
            code, seen = 0, OPEN
        elif field == "mean_digits" and value is None:
            code, seen = 5, OPEN  # there are records MEAN
        elif field == "partner" and (isinstance(value, str) or (type(value) is float and value > 0)):
            code, seen = (6, NEWER) if isinstance(value, str) else (0, OPEN)
        else:
            code, seen = 5, OPEN
        data = _with(name, [*right[:place], value, *right[place + 1 :]])
        yield Case(name, "parameters", f"{field}: {value!r}", data, code, seen)


def variants(name: str, right: list[Any], field: str) -> Iterator[Variant]:
    """Values of a field of the right kind: with what comes of them, and who notices."""
    entropy = not name.startswith(("voronoi", "trellis"))
    n = base(name).manifest["tensors"][0][2][0]
    if field == "axis":
        yield from ((value, 5, OPEN) for value in (1, 2, 255, 2**63))
    elif field == "rate":
        yield from ((value, 0, OPEN) for value in (64.0, 5e-324, 1e-9, 1e308))
        yield from ((value, 5, OPEN) for value in (0.0, -0.0, -1.0, -5e-324))
    elif field == "kept":
        yield from ((value, 5, OPEN) for value in (0, n + 1, 2 * n, 2**32, 2**63, 2**64 - 1))
        yield n // 4, 5, OPEN if name == "trellis" else CHUNK
    elif field == "transform":
        yield from _transforms(right[3])
    elif field == "lattice":
        yield from (
            (value, 6, NEWER)
            for value in ("E8", "z ", "conv", "conv2", "conv8192", "conv04", "a2", "x" * 1000)
        )
        other = {"z": "leech", "e8": "leech", "leech": "e8", "conv4": "z", "by-column": "leech"}.get(name)
        if other:
            yield other, 5, CHUNK
        if name == "trellis":
            yield from ((value, 5, OPEN) for value in ("z", "e8", "conv4"))
    elif field == "coding":
        yield from _codings(name, right)
    elif field == "allocate":
        yield from ((value, 6, NEWER) for value in ("Matrix", "columns", "row"))
        if not entropy:
            yield "column" if name == "trellis" else "matrix", 5, OPEN
    elif field in ("delta", "lowest_class", "octaves") and name == "trellis":
        yield from ((value, 5, OPEN) for value in (0, 1, 30))
    elif field == "delta":
        yield from _deltas(name, right, n)
    elif field == "lowest_class":
        yield from ((value, 5, OPEN) for value in (-1, 1025, 2**31, 2**63, 2**64 - 1, 0.0))
        yield 1024, 5, OPEN  # all are dropped, and there is a chunk
        yield 0, 0, OPEN
    elif field == "mean_digits":
        yield from ((value, 0, OPEN) for value in (0, 64, -8))
        yield from ((value, 5, OPEN) for value in (-9, 65, 2**31, 2**63, -(2**63)))
    elif field == "norm_step":
        yield from ((value, 5, OPEN) for value in (0, 3, 6, -2, 16384, 2**31, 2**63))
    elif field == "partner":
        yield from ((value, 0, OPEN) for value in ("exact", 3.0, 5e-324, 1e308))
        yield from ((value, 6, NEWER) for value in ("Equal", "", "3", "x" * 1000))
        yield from ((value, 5, OPEN) for value in (0.0, -0.0, -3.0, 3, None))
    elif field == "mean_reference":
        yield from ((value, 0, OPEN) for value in (0, -1, 2**21, -(2**21)))
        yield from ((value, 5, OPEN) for value in (2**21 + 1, -(2**21) - 1, 2**31, 2**63, 0.0))
    elif field == "octaves":
        yield from ((value, 5, OPEN) for value in (-1, 31, 2**31, 2**63, 30.0))
        if right[6] == "column":
            yield from ((value, 5, OPEN) for value in (0, 30))
        else:
            yield from ((value, 5, seen) for value, seen in ((None, OPEN), (0, CHUNK)))
    elif field == "digest":
        yield from ((value, 5, OPEN) for value in (bytes(15), bytes(17), bytes(32), "0" * 16))
        yield bytes(16), 0, OPEN
    elif field == "dither_key":
        yield from ((value, 5, OPEN) for value in (bytes(15), bytes(17), bytes(32), "0" * 16))
        # contexts of the entropy coding follow the dither; any digits are those of a point
        yield bytes(16), 5 if entropy else 0, CHUNK


def _transforms(right: list[Any]) -> Iterator[Variant]:
    name, seed = right[0], right[1][0]
    yield from (
        ([other, [seed]], 6, NEWER) for other in ("hadamard-1", "hadamard-3", "", "Hadamard-2", "x" * 1000)
    )
    yield from (([name, [value]], 7, FOREIGN) for value in (seed + 1, 2**63, 2**64 - 1))
    wrong = (
        [name], [name, []], [name, [seed, seed]], [name, seed], [name, [-1]], [name, [1.0]], [name, ["1"]],
        [name, [None]], [name, [True]],
        [name, [[seed]]], [seed, name], [[seed], name], [name, [seed], 1], [None, [seed]], [1, [seed]],
        [b"hadamard-2", [seed]],
    )  # fmt: skip
    yield from ((value, 5, OPEN) for value in wrong)


def _codings(name: str, right: list[Any]) -> Iterator[Variant]:
    coding, own = right[5]
    yield from (([other, own], 6, NEWER) for other in ("Entropy", "", "fixed", "x" * 1000))
    wrong: list[Any] = [
        [coding],
        [coding, None],
        [coding, own, own],
        [own, coding],
        [[coding, own]],
        [coding, [None]],
        [coding, {}],
        [coding, [own]],
    ]
    yield from ((value, 5, OPEN) for value in wrong if value != [coding, own])
    if coding == "trellis":
        yield from ((["trellis", value], code, seen) for value, code, seen in _waters(own))
        yield from (([other, []], 5, OPEN) for other in ("entropy", "voronoi"))
        return
    nested = base("voronoi-e8").manifest["tensors"][0][6][5][1]
    if coding == "entropy":
        yield ["entropy", [0]], 5, OPEN
        yield ["voronoi", []], 5, OPEN
        yield ["voronoi", nested], 5, OPEN  # not with this scale, or lattice
        return
    yield ["entropy", own], 5, OPEN
    yield ["entropy", []], 5, CHUNK
    yield from ((["voronoi", value], code, seen) for value, code, seen in _nestings(own))


def _waters(right: list[Any]) -> Iterator[Variant]:
    window, level, spread = right
    yield from (
        ([value, level, spread], 5, OPEN)
        for value in (1, 13, 15, 18, -12, 2**31, 2**63, 12.0, None, "12", [12], True)
    )
    yield from (
        ([window, value, spread], 5, OPEN)
        for value in (
            2**22 + 1,
            -(2**22) - 1,
            2**31,
            2**63,
            -(2**63),
            float(level),
            None,
            str(level),
            [level],
        )
    )
    few = [0, 0, 0, 0, 0, 1]
    yield from (
        ([window, level, value], 5, OPEN)
        for value in (
            None, 0, "", b"1234567", few, [*few, 0, 0], [*few, 128], [*few, -33], [*few, 2**63], [*few, 1.0],
            [*few, None], [*few, [0]], [0] * 7, [few],
        )
    )  # fmt: skip
    yield from (([window, level, value], 0, OPEN) for value in ([], [*few, -32], [*few, 127]))
    yield from (
        ([], 5, OPEN),
        ([window], 5, OPEN),
        ([window, level], 5, OPEN),
        ([level, window, spread], 5, OPEN),
    )
    yield [0, level, spread], 0, OPEN
    yield [16, level, spread], 0, OPEN  # any bytes are those of some values
    # chunks are of other classes
    yield from (([window, level + move, spread], 5, CHUNK) for move in (-2000, -300))
    yield [window, level + 10**6, spread], 5, OPEN  # all are dropped, and there is a chunk


def _nestings(right: list[Any]) -> Iterator[Variant]:
    (q, q1), mix, multipliers, *_ = right

    def other(place: int, value: Any, code: int = 5, seen: frozenset[str] = OPEN) -> Variant:
        return [*right[:place], value, *right[place + 1 :]], code, seen

    for value in (
        [q, q], [q, q + 2], [q + 1, q], [1, 2], [0, 1], [-2, -1], [4096, 4097], [2**31, 2**31 + 1], [q],
        [q, q1, q1 + 1], [float(q), float(q1)],
        q, [], None, [[q], [q1]], [True, 2], [2**63, 2**63 + 1],
    ):  # fmt: skip
        yield other(0, value)
    yield from (other(1, value) for value in (-1, 65537, 2**31, 2**64 - 1, 0.5, None, [mix], True, "1"))
    first, second = multipliers
    for row in (
        [0, *first[1:]],
        [*first[:3], 4097],
        [-1, *first[1:]],
        first[:3],
        [*first, 4096],
        [4, 3, 2, 1],
        [1.0, 2.0, 3.0, 4.0],
        [True, 2, 3, 4],
        [2**31] * 4,
        [],
        None,
        [[1]] * 4,
    ):
        yield other(2, [row, second])
        yield other(2, [first, row])
    yield from (other(2, value) for value in ([], [first], [first, second, second], first, None))
    yield from (other(2, [row, row], 0) for row in ([1, 1, 1, 1], [4096] * 4, [1, 2, 3, 4096]))
    yield from (
        other(3, value) for value in (0.0, -1.0, 0.00099999999, 1000.0000000001, 1e300, 5e-324, 1, None, "1")
    )
    yield from (other(3, value, 0) for value in (0.001, 1000.0))
    yield from (other(4, value) for value in (0.0, -1.0, 5e-324, 9.99999e-7, 1000000.0001, 1e308, 1, None))
    yield from (other(4, value, 0) for value in (1e-6, 1e6))
    yield right[:-1], 5, OPEN
    yield [*right, None], 5, OPEN
    yield right[::-1], 5, OPEN
    deeper = copy.deepcopy(right)
    deeper[2][0][0] = [first[0]]
    yield deeper, 5, OPEN


def _deltas(name: str, right: list[Any], n: int) -> Iterator[Variant]:
    delta = right[7]
    limit = 8192 * 4096
    yield from (
        (value, 5, OPEN)
        for value in (limit + 1, -limit - 1, 2**31, -(2**31), 2**63, -(2**63), float(delta), str(delta))
    )
    if name.startswith("voronoi"):
        (_, q1), *_ = right[5][1]
        b = (64 * n * q1 * q1).bit_length()
        low, high = -2048 * (b + 3), -2048 * (b - 4)
        yield from ((value, 5, OPEN) for value in (low - 1, high + 1, low - 82 * 4096, 0, limit, -limit))
        yield from ((value, 0, OPEN) for value in (low, high))
    else:
        # far too fine: the chunk is too short for the bits of the classes
        yield -limit, 5, CHUNK
