"""Facts to make pages of, and pages taken apart."""

from __future__ import annotations

import copy
from html.parser import HTMLParser

import numpy as np

from cli_tools import matrix
from nqz.commands.opening import open_collection
from nqz.commands.report import gather
from nqz.files.access import MemoryAccess
from nqz.ground.threads import workers

EVIL = "</script><img src=x onerror=alert(1)>"
BIDI = "\u202egnp\u0000\n|`*"


def model() -> dict[str, np.ndarray]:
    """Tensors of which some are remarkable: with quiet vectors, and with loud ones."""
    quiet, loud = matrix(64, 48, seed=1), matrix(64, 48, seed=2)
    quiet[:, :20] *= 1e-4
    loud[:, :3] *= 100
    exact = np.arange(4000, dtype=np.int32) ** 2
    return {
        "plain": matrix(64, 200), "quiet": quiet, "loud": loud, "bias": matrix(48, seed=3),
        "wide": matrix(128, 160, seed=4), "steps": exact,
    }  # fmt: skip


def facts(data: bytes, against=None, **options) -> dict:
    """What a page of a container is made of."""
    with workers(1) as pool, open_collection(MemoryAccess(data, "m.nqz"), container=True) as collection:
        if against is None:
            return gather([("m.nqz", collection)], pool, command="nqz report m.nqz", **options)
        with open_collection(against, container=False) as original:
            return gather(
                [("m.nqz", collection)],
                pool,
                original=("m.safetensors", original),
                command="nqz report m.nqz",
            )


def many(
    found: dict, number: int, name="model.layers.{}.self_attention.query_key_value_projection.weight"
) -> dict:
    """The same facts with as many tensors, each like one of those that are there."""
    found = copy.deepcopy(found)
    inspected = found["files"][0]["inspected"]
    several = [one for one in inspected["tensors"] if one["kind"] == "matrix"]
    inspected["tensors"] = [
        {**copy.deepcopy(several[k % len(several)]), "name": name.format(k)} for k in range(number)
    ]
    for k, one in enumerate(inspected["tensors"]):
        one["bytes"]["total"] += k
    inspected["totals"].update(tensors=number, matrices=number, exact=0)
    return found


class Parsed(HTMLParser):
    """A page: its elements with their attributes, its text, and whether every element that opens is closed."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, (tag, self._open[-3:])
        self._open.pop()

    def handle_data(self, data):
        self.text.setdefault(self._open[-1] if self._open else "", []).append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind, of those that have some words in their class or others."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag
            and all(value in (attributes.get(key.rstrip("_")) or "").split() for key, value in wanted.items())
        ]
