"""What the modules of crafted containers share: a case, what is expected of the commands, and how records are put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import golden
from container_builder import Container, assemble, record

OPERATIONS = ("decode", "verify", "inspect", "api", "itself", "partner", "copy")
"""Commands; open and decode by the Python interface; a product with itself, with a sound file, with its own base."""

PRODUCT = frozenset({"itself", "partner", "copy"})
OPEN = frozenset(OPERATIONS)
"""Noticed when the file is opened, or when a matrix is: all need that."""

CARRIED = OPEN - PRODUCT
"""In the index or the entry of an exact tensor."""

CHUNK = OPEN - {"inspect"}
EXACT = CARRIED - {"inspect"}
FILE = frozenset({"decode", "verify"})
"""In what only those see who read the file from end to end."""

PARTNERS = {
    **dict.fromkeys(("z", "e8", "leech", "conv4", "by-column"), "partner"),
    **dict.fromkeys(("voronoi-z", "voronoi-e8", "voronoi-d4", "voronoi-leech"), "partner"),
    "trellis": "trellis-partner",
    "model": "optional",
    "optional": "model",
}
"""Sound files that go with a base."""


class Case(NamedTuple):
    """A container that is wrong, or unusual, in one thing.

    Attributes
    ----------
    base : str
        The golden file that it is made from.
    record : str
        Type of the record that is wrong, or what else of the file is.
    what : str
        What is wrong.
    data : bytes
    code : int
        Exit code of those who notice; 0 for what is allowed.
    seen : frozenset of str
        Which of `OPERATIONS` notice.
    """

    base: str
    record: str
    what: str
    data: bytes
    code: int = 5
    seen: frozenset[str] = OPEN

    @property
    def name(self) -> str:
        """The case in a word."""
        return f"{self.base}/{self.record}/{self.what}"

    def expected(self) -> dict[str, int]:
        """Exit code of each operation."""
        sound = 0 if has_matrix(self.base) else 7
        # what has the same dither and is not the same is refused, be it damaged or not
        found = {"itself": sound, "partner": sound, "copy": 7}
        return {
            name: self.code if self.code and name in self.seen else found.get(name, 0)
            for name in OPERATIONS
            if name not in PRODUCT or self._multiplied(name)
        }

    def _multiplied(self, operation: str) -> bool:
        """Whether a product is tried: not with another file that is not of the same shape, nor of a million columns."""
        if self.base == "panels" or self.record == "claims":
            return False
        if operation == "itself":
            return True
        read = ("NORM", "MEAN", "CHNK", "GAIN", "parameters", "MANI")[: 4 if operation == "copy" else 6]
        return self.record in read and self.base in PARTNERS


@cache
def _base(name: str) -> tuple[bytes, Container]:
    data = golden.load(name)
    return data, golden.parts_of(data)


def base(name: str) -> Container:
    """The parts of a golden file, to be changed."""
    return _base(name)[1].replaced()


def sound(name: str) -> bytes:
    """A golden file."""
    return _base(name)[0]


def has_matrix(name: str) -> bool:
    """Whether a golden file has something to multiply."""
    return any(entry[0] in ("nqz-1", "slice-1") for entry in _base(name)[1].manifest["tensors"])


def kind_seen(parts: Container, number: int) -> frozenset[str]:
    """Who reads record `number` of a file."""
    kind = parts.records()[number][0]
    return {"NORM": OPEN, "MEAN": OPEN, "CHNK": CHUNK, "GAIN": CHUNK, "EXCT": EXACT}.get(kind, FILE)


def tensor_seen(parts: Container, tensor: int) -> frozenset[str]:
    """Who looks at a tensor of a file."""
    return OPEN if parts.manifest["tensors"][tensor][0] == "nqz-1" else CARRIED


def reframed(parts: Container, number: int, **wrong: Any) -> bytes:
    """The file with the header of record `number` of it wrong, and what the index says right."""
    framed = [record(*part) for part in parts.records()]
    kind, payload = parts.records()[number]
    framed[number] = record(wrong.pop("kind", kind), payload, **wrong)
    return assemble(framed, parts.packed_manifest(), parts.packed_index(), parts.preamble)


def changed(name: str, edit: Callable[[Container], object]) -> bytes:
    """A golden file, changed."""
    parts = base(name)
    edit(parts)
    return parts.build()


def payload_cases(
    name: str, number: int, variants: Iterable[tuple[Any, ...]], seen: frozenset[str]
) -> Iterator[Case]:
    """Cases of other payloads of record `number`: what, payload, and perhaps code and who sees it."""
    kind = base(name).records()[number][0]
    for what, payload, *more in variants:
        parts = base(name)
        at = number - len(parts.leading)
        for records in [parts.leading] if at < 0 else parts.tensors:
            if at < 0 or at < len(records):
                records[at] = (kind, payload)
                break
            at -= len(records)
        code, other = (*more, None, None)[:2]
        yield Case(
            name, kind, what, parts.build(), 5 if code is None else code, seen if other is None else other
        )
