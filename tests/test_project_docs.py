"""What the documents name is there: files, links and goals of make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GOALS = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if not link.startswith(("https://", "#")):
            assert ((ROOT / page).parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:nqz|tests|benchmarks|docs|fixtures)/[\w./-]*)`", read(page)):
        assert "NAME" in name or (ROOT / name).exists(), name
        folder, _, _ = name.partition("NAME")
        assert (ROOT / folder).exists() or "NAME" not in name, name


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/format.md", "docs/theory.md"])
def test_tests_that_are_named_exist(page):
    tests = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")}
    for name in re.findall(r"`(test_\w+)`", read(page)):
        assert any(f"\ndef {name}(" in text for text in tests.values()), name


@pytest.mark.parametrize("page", PAGES)
def test_goals_that_are_named_exist(page):
    for goal in re.findall(r"(?:^|`)make ([\w-]+)", read(page), re.MULTILINE):
        assert goal in GOALS, goal


def test_the_layers_shown_are_those_that_are_checked():
    from test_project_imports import LAYERS

    text = read("docs/architecture.md")
    (picture,) = re.findall(r"## The layers\n.*?\n\n((?:    [^\n]*\n)+)", text, re.DOTALL)
    rows = [row.strip() for row in picture.splitlines() if row[4] != " "]
    shown = [sorted(re.findall(r"\w+", re.split(r"\s{2,}", row)[0])) for row in rows]
    # between the lowest, `_version`, and `nqz` itself
    assert shown == [sorted({*layer} - {"adapters"}) for layer in reversed(LAYERS[1:-1])]
