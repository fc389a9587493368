"""What README.md and the pages of docs/ show works as shown."""

from __future__ import annotations

import re

import pytest

from page_blocks import ROOT, blocks, prepare, run_page

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if blocks(page.read_text(encoding="utf-8"))
)
# what depends on tuning, or is as wide as what it shows
DIGITS = re.compile(r"[0-9a-f]{32}|[0-9.]+(?:e-?\d+)?|[ ─]+")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder as a page finds it."""
    found = tmp_path / "page"
    found.mkdir()
    for name, value in prepare(found).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(found)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_examples_do_what_is_shown(page, folder):
    for command, printed in run_page(ROOT / page):
        assert DIGITS.sub("#", printed.strip()) == DIGITS.sub("#", command.shown.strip()), command.line


def test_pages_with_examples_are_found():
    assert {"README.md", "docs/api.md", "docs/tutorial.md"} <= {*PAGES}
