"""Figure 1 can be read: what the first lines of the package of stages name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nqz import kernels, stages

ROOT = Path(__file__).resolve().parent.parent
LINES = re.findall(r"^\|.*\|$", stages.__doc__, re.MULTILINE)
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in LINES[2:]]


def names(cell: str) -> list[str]:
    """What a cell lists."""
    return [] if cell == "-" else cell.split(", ")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_box_names_is_there(row):
    _, here, reference, native, theory, layout = map(names, row)
    assert here and all((ROOT / "nqz/stages" / name).exists() for name in here)
    assert all((ROOT / "nqz/reference" / name).exists() for name in reference)
    assert all(callable(getattr(kernels, name)) for name in native)
    for page, sections in (("theory", theory), ("format", layout)):
        text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
        assert all(re.search(rf"^##+ {number}\. ", text, re.MULTILINE) for number in sections)


def test_every_stage_is_a_box_or_named():
    named = {name.split("/")[0] for row in ROWS for name in names(row[1])}
    named |= {"__init__.py", "__pycache__"} | {
        f"{name}.py" for name in re.findall(r"`(\w+)[`.]", stages.__doc__)
    }
    assert {path.name for path in (ROOT / "nqz/stages").iterdir()} <= named


def test_the_architecture_shows_the_same_table():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| box \|.*\n\|[-|]*\n((?:\|.*\n)*)", text, re.MULTILINE)
    plain = re.sub(r"`(?:nqz/(?:stages|reference)/)?|§", "", table).replace("—", "-")
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in plain.splitlines()]
    assert shown[: len(ROWS)] == ROWS
    assert all(row[1].startswith(("nqz/product/", "nqz/plan/")) for row in shown[len(ROWS) :])
