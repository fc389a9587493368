"""The manifest of a part set (``.nqzset``): which containers are the parts of one matrix, and where each belongs.

Text, so that people and scheduling scripts can read it; in one form for each value, so that its digest means something.
docs/format.md has the specification.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn

from nqz.ground import digests
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import CorruptError, NewerFormatError
from nqz.stages.parameters import Parameters

SUFFIX = "nqzset"
VERSION = 0
MOST_BYTES = 256 << 20
"""Of the text."""

MOST_PARTS = 1 << 20
_MOST = 1 << 62  # any number
_MARK = b'{"nqz_set": '
_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"(?!\.{1,2}/|.*/\.{1,2}/)[^/\\\x00-\x1f]{1,250}(?:/[^/\\\x00-\x1f]{1,250}){0,31}")
_VERSION = re.compile(rb'\{"nqz_set": ([1-9][0-9]{0,8})[,}]')
_PART = re.compile(rb'  \["[^"\\\n]*(?:\\.[^"\\\n]*){0,16128}", [^",\[\n]{1,40}, "[^"\n]{0,80}"\](?:,|\],)\n')
_MOST_TAIL = 128  # bytes behind the parts
_MOST_HEAD = 256  # quotation marks and colons before the parts, and brackets
Wrong = Callable[[str], NoReturn]
"""Raises what is wrong."""

Settings = dict[str, Any]
"""Of the parameters of parts, those that a manifest says; None where parts differ, and for what they do not have."""

_PLAN = {
    "coding": str, "lattice": str, "allocate": str, "delta": int, "lowest_class": int, "seed": int,
}  # fmt: skip


def settings(p: Parameters) -> Settings:
    """What a manifest says of the parameters of a part."""
    lattice, delta, lowest = None, None, None
    if p.lattice is not None:
        lattice, delta, lowest = p.lattice.name, p.delta, p.lowest_class
    values = p.coding.name, lattice, p.allocate, delta, lowest, p.rotation_seed
    return dict(zip(_PLAN, values, strict=True))


def common(found: Iterable[Settings]) -> Settings:
    """What several have alike."""
    first, *others = found
    return {key: x if all(one[key] == x for one in others) else None for key, x in first.items()}


def agrees(found: Settings, plan: Settings) -> bool:
    """Whether a part has what a manifest says of all."""
    return all(value is None or found[key] == value for key, value in plan.items())


class PartEntry(NamedTuple):
    """What the manifest says of a part: its file, relative to the folder of the manifest, its bytes and its digest."""

    file: str
    nbytes: int
    digest: str


@dataclass(frozen=True)
class PartSet:
    """A matrix in parts, cut along both axes.

    Attributes
    ----------
    axis : int
        Axis of the matrix along which its vectors lie.
    dtype : str
    coordinates, vectors : tuple of int
        How many of each every part has, along the contracted axis and across it.
    plan : dict
        What all parts were coded with, see `settings`.
    parts : tuple of PartEntry
        Those with the first coordinates first, in the order of their vectors.
    """

    axis: int
    dtype: str
    coordinates: tuple[int, ...]
    vectors: tuple[int, ...]
    plan: Settings
    parts: tuple[PartEntry, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        n, count = sum(self.coordinates), sum(self.vectors)
        return (n, count) if self.axis == 0 else (count, n)

    @property
    def digest(self) -> str:
        """Of all that the manifest says, the digests of the parts included."""
        return digests.of(b"nqz part set 0\0" + self._text().encode()).hex()

    @property
    def file_bytes(self) -> int:
        """Of all parts together."""
        return sum(part.nbytes for part in self.parts)

    def places(self) -> list[tuple[range, range]]:
        """Coordinates and vectors of each part."""
        rows, columns = (list(accumulate(own, initial=0)) for own in (self.coordinates, self.vectors))
        return [
            (range(rows[k], rows[k + 1]), range(columns[j], columns[j + 1]))
            for k in range(len(self.coordinates))
            for j in range(len(self.vectors))
        ]

    def pack(self) -> bytes:
        """The text of the file."""
        return f'{self._text()},\n "digest": "{self.digest}"}}\n'.encode()

    def _text(self) -> str:
        head = {
            "nqz_set": VERSION, "axis": self.axis, "dtype": self.dtype, "coordinates": list(self.coordinates),
            "vectors": list(self.vectors), "plan": self.plan,
        }  # fmt: skip
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        parts = ",\n  ".join(json.dumps(list(part)) for part in self.parts)
        return "{" + ",\n ".join([*lines, f'"parts": [\n  {parts}]'])

    @classmethod
    def unpack(cls, text: bytes, where: str) -> PartSet:
        """Read a manifest.

        Raises
        ------
        CorruptError
            It is damaged, or not in the one form that it may have.
        NewerFormatError
            A later release wrote it.
        """
        form = "is not in the form that a manifest has: it is damaged, or was changed by hand; write it with nqz set"

        def wrong(what: str) -> NoReturn:
            raise CorruptError(f"{where}: {what}")

        if not text.startswith(_MARK):
            wrong(f"is no manifest of a part set (.{SUFFIX}), or it is damaged")
        if newer := _VERSION.match(text):
            raise NewerFormatError(
                f"{where}: a part set of version {int(newer[1])}; this release reads version {VERSION}"
            )
        if not _is_bounded(text):
            wrong(form)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            wrong("damaged: it is no JSON")
        if (
            not isinstance(found, dict)
            or type(found.get("nqz_set")) is not int
            or found["nqz_set"] != VERSION
        ):
            wrong("is no manifest of a part set")
        keys = ["nqz_set", "axis", "dtype", "coordinates", "vectors", "plan", "parts", "digest"]
        if list(found) != keys:
            wrong(f"damaged: it has to have {', '.join(keys)}, in this order")
        if type(found["axis"]) is not int or found["axis"] not in (0, 1):
            wrong(f"axis {found['axis']!r} is neither 0 nor 1")
        if not isinstance(found["dtype"], str) or not is_matrix_dtype(found["dtype"]):
            wrong(f"dtype {found['dtype']!r:.40} is not one that is compressed")
        for key in ("coordinates", "vectors"):
            own = found[key]
            if not isinstance(own, list) or not own or not all(_is_count(x) for x in own):
                wrong(f"{key} are no lengths of parts")
        _check_plan(found["plan"], wrong)
        parts = _parts(found["parts"], wrong)
        if len(parts) != len(found["coordinates"]) * len(found["vectors"]):
            wrong(
                f"{len(parts)} parts where {len(found['coordinates'])} x {len(found['vectors'])} are needed"
            )
        if len({part.file for part in parts}) != len(parts):
            wrong("names a file twice")
        made = cls(
            found["axis"], found["dtype"], tuple(found["coordinates"]), tuple(found["vectors"]), found["plan"], parts
        )  # fmt: skip
        if max(sum(made.coordinates), sum(made.vectors)) >= _MOST:
            wrong("its parts are larger than any matrix")
        if not text.startswith(made._text().encode()):
            wrong(form)
        if found["digest"] != made.digest:
            wrong("damaged: its digest is wrong")
        if made.pack() != text:
            wrong(form)
        return made


def _is_bounded(text: bytes) -> bool:
    """Whether a text has no more parts than a set may have, so that it can be taken apart in bounded memory."""
    at = text.find(b"\n  [") + 1
    counts = [text.count(mark, 0, at) for mark in (b",", b'"', b":", b"[", b"{")]
    if not at or counts[0] > 2 * MOST_PARTS + _MOST_HEAD or max(counts[1:]) > _MOST_HEAD:
        return False
    parts = 0
    while found := _PART.match(text, at):
        at, parts = found.end(), parts + 1
    return parts <= MOST_PARTS and len(text) - at <= _MOST_TAIL


def _is_count(x: object) -> bool:
    return type(x) is int and 0 < x < _MOST


def _check_plan(plan: Any, wrong: Wrong) -> None:
    good = isinstance(plan, dict) and list(plan) == list(_PLAN)
    if not good or any(type(plan[key]) not in (kind, type(None)) for key, kind in _PLAN.items()):
        wrong(f"plan has to have {', '.join(_PLAN)}")
    if any(abs(value) >= _MOST for value in plan.values() if type(value) is int):
        wrong("a number of the plan is out of range")


def _parts(found: Any, wrong: Wrong) -> tuple[PartEntry, ...]:
    parts = []
    if not isinstance(found, list):
        wrong("parts are no list")
    for entry in found:
        if not isinstance(entry, list) or len(entry) != 3:
            wrong("a part has to have a file, a number of bytes and a digest")
        name, nbytes, digest = entry
        if not is_part_name(name):
            wrong(f"part {name!r:.80} is no name of a file beside the manifest, or in a folder there")
        if not _is_count(nbytes) or not isinstance(digest, str) or not _HEX.fullmatch(digest):
            wrong(f"part {name!r}: the number of bytes or the digest is none")
        parts.append(PartEntry(name, nbytes, digest))
    return tuple(parts)


def is_part_name(name: object) -> bool:
    """Whether a name stays in the folder of the manifest, or in one below."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name.split("/")[-1] in (".", ".."):
        return False
    try:
        return bool(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # half of a character
        return False
