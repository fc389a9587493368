"""docs/promises.md names, for each promise, tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
TEXT = (TESTS.parent / "docs/promises.md").read_text(encoding="utf-8")
ROWS = {
    int(number): proof for number, proof in re.findall(r"^\| (\d+) \| .* \| (.*) \|$", TEXT, re.MULTILINE)
}
COUNT = 65


@cache
def functions(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_promise_is_there_once():
    assert sorted(ROWS) == list(range(1, COUNT + 1))
    assert len(re.findall(r"^\| \d", TEXT, re.MULTILINE)) == COUNT


@pytest.mark.parametrize("number", sorted(ROWS))
def test_every_test_that_is_named_exists(number):
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", ROWS[number])
    assert named or ROWS[number].startswith("Does not arise yet: "), "no test and no reason"
    for file, function in named:
        assert (TESTS / file).is_file(), f"docs/promises.md, promise {number}: tests/{file} is not there"
        assert function in functions(TESTS / file), (
            f"docs/promises.md, promise {number}: no {function} in tests/{file}"
        )


def test_nothing_is_named_in_another_way():
    assert TEXT.count("test_") == 2 * len(re.findall(r"`test_\w+\.py::test_\w+`", TEXT))
