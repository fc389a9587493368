"""Pages of reports: they stand alone, are the same for the same input, and nothing in a name does harm."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import FIXTURES, matrix
from nqz.pages.findings import findings, position
from nqz.pages.html import page
from nqz.pages.render import render
from nqz.pages.table import MOST
from nqz.pages.treemap import squarified
from page_tools import BIDI, EVIL, Parsed, facts, many, model


@pytest.fixture(scope="module")
def coded():
    return nqz.encode(model(), rate=3, threads=1)


@pytest.fixture(scope="module")
def found(coded):
    return facts(coded)


@pytest.fixture(scope="module")
def measured(coded, tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "m.safetensors"
    save_file(model(), path)
    return facts(coded, str(path))


def test_a_page_asks_for_nothing_from_outside(measured):
    text = page(measured)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|\bfetch\b|XMLHttp|import\(", text)
    parsed = Parsed(text)
    for tag, attributes in parsed.elements:
        assert not attributes.keys() & {"src", "srcset", "action", "data", "poster", "style", "background"}, (
            tag
        )
        assert not any(name.startswith("on") for name in attributes), tag
        if "href" in attributes:
            assert attributes["href"].startswith("#") or (tag, attributes["href"]) == ("link", "data:,")
    assert {tag for tag, _ in parsed.elements}.isdisjoint(
        {"iframe", "object", "embed", "base", "img", "form"}
    )


def test_the_policy_of_a_page_allows_its_own_style_and_script_and_nothing_else(found):
    text = page(found)
    (meta,) = [one for one in Parsed(text).all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in meta["content"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("style", "script"):
        (inner,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_300_tensors_with_long_names_are_below_500_kb(measured, found):
    assert len(page(many(found, 300)).encode()) < 500_000
    large = many(measured, 300)
    several = [one for one in large["compared"]["tensors"] if one["kind"] == "matrix"]
    large["compared"]["tensors"] = [several[k % len(several)] for k in range(300)]
    assert len(page(large).encode()) < 500_000


def test_of_very_many_tensors_the_remarkable_and_the_largest_are_listed(found):
    large = many(found, MOST + 500)
    parsed = Parsed(page(large))
    rows = [row for row in parsed.all("tr") if "id" in row]
    assert len(rows) == MOST
    marked = findings("m", large["files"][0]["inspected"]).marked
    assert {f"a{row.number}" for row in marked} <= {row["id"] for row in rows} or len(marked) > MOST
    assert f"{MOST} in all" in "".join(parsed.text["p"])


@pytest.mark.parametrize("kind", ["html", "md"])
def test_the_same_facts_give_the_same_page(coded, kind):
    first, second = (render(facts(coded), kind) for _ in range(2))
    assert first == second
    shuffled = facts(coded)
    shuffled["files"][0]["inspected"] = json.loads(
        json.dumps(shuffled["files"][0]["inspected"], sort_keys=True)
    )
    assert render(shuffled, kind) == first


@pytest.mark.parametrize("name", [EVIL, BIDI, '" onload="x', "&lt;b&gt;", "'", "]]>", "<!--", "\ud800"])
def test_names_do_no_harm_in_a_page(found, name):
    evil = many(found, 6, "x")
    for number, one in enumerate(evil["files"][0]["inspected"]["tensors"]):
        one["name"] = f"{name}{number}"
    evil["files"][0]["name"], evil["command"] = f"{name}.nqz", f"nqz report {name}"
    text = page(evil)
    plain = page(many(found, 6, "x{}"))
    assert [tag for tag, _ in Parsed(text).elements if tag != "svg"].count("img") == 0
    assert text.count("<script") == plain.count("<script") == text.count("</script") == 1
    assert all(character.isprintable() or character in "\n\u202f" for character in text)
    shown = Parsed(text)
    for tag in ("bdi", "title", "text", "code"):  # the table, the heading, drawings and the command
        assert not any("\u202e" in one or "\0" in one for one in shown.text.get(tag, []))
    names = [one for one in shown.text["bdi"] if one.endswith("5")]
    assert (
        names and names[-1] == f"{name}5".encode("unicode_escape").decode().replace("\\\\", "\\")
    ) or EVIL in name
    if name == EVIL:
        assert f"{EVIL}5" in shown.text["bdi"] and EVIL + ".nqz" in shown.text["title"][0]


@pytest.mark.parametrize("name", [EVIL, BIDI, "a|b", "[x](y)", "`c`", "# d", "*e*", "![](f)", "</details>"])
def test_names_do_no_harm_in_a_card(found, name):
    evil = many(found, 5, "x")
    for number, one in enumerate(evil["files"][0]["inspected"]["tensors"]):
        one["name"] = f"{name}{number}"
    text = render(evil, "md")
    assert "<img" not in text and text.count("</details>") == 1
    (head,) = [line for line in text.splitlines() if line.startswith("| tensor | shape")]
    rows = text[text.index(head) :].split("\n\n")[0].splitlines()
    assert len(rows) == 2 + 5 and {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
    assert all(character.isprintable() or character in "\n\u202f" for character in text)
    for special in "`*[]#":
        assert re.search(rf"(?<!\\)\{special}", "".join(rows[2:])) is None


def test_long_names_are_shortened(found):
    long = many(found, 5, "n" * 50_000 + "{}")
    assert len(page(long)) < 100_000


def test_rows_are_sorted_by_the_numbers_themselves(found):
    parsed = Parsed(page(found))
    tensors = found["files"][0]["inspected"]["tensors"]
    cells = [cell.get("data-v") for cell in parsed.all("td") if "colspan" not in cell]
    rows = [cells[k : k + 8] for k in range(0, len(cells), 8)]
    assert len(rows) == len(tensors)
    for row, tensor in zip(rows, tensors, strict=True):
        assert row[4] == str(tensor["bytes"]["total"])
        predicted = tensor["predicted"] or {}
        wanted = {3: tensor["rate"], 5: predicted.get("reconstruction"), 6: predicted.get("product")}
        for place, value in wanted.items():
            assert (
                row[place] is None if value is None else float(row[place]) == pytest.approx(value, rel=1e-5)
            )


def test_the_verdict_and_the_command_are_on_top(found, measured):
    for facts_, state in (
        (found, "Predicted from the container"),
        (measured, "Measured against its original"),
    ):
        text = page(facts_)
        assert text.index("nqz report m.nqz") < text.index('class="figures"') and state in text
        ratio = facts_["files"][0]["inspected"]["totals"]["times_smaller"]
        assert f"{ratio:.3g} times smaller" in text[text.index("<body") :][:3000]
    assert "every tensor is as close" in page(measured).lower()


def test_what_is_wrong_is_the_verdict(measured):
    bad = copy.deepcopy(measured)
    bad["compared"]["ok"] = False
    bad["compared"]["tensors"][0].update(ok=False, problem="error 0.5 of the energy where 0.02 is predicted")
    parsed = Parsed(page(bad))
    (verdict,) = [text for text in parsed.text["p"] if "not as expected" in text]
    assert verdict.startswith("1 of 6 tensors is")
    assert parsed.all("span", class_="tag") and any(
        "bad" in one["class"] for one in parsed.all("span", class_="tag")
    )
    assert "Differs from its original" in "".join(parsed.text["span"])


def test_what_is_remarkable_is_marked(found):
    words = {
        row.name: [mark.word for mark in row.marks]
        for row in findings("m", found["files"][0]["inspected"]).rows
    }
    assert "quiet" in words["quiet"] and "loud" in words["loud"] and "exact" in words["steps"]
    assert words["plain"] == [] and words["bias"] == []
    changed = many(found, 8, "x{}")
    tensors = changed["files"][0]["inspected"]["tensors"]
    for one in tensors:
        one.update(copy.deepcopy(tensors[0]), name=one["name"])
    tensors[1]["predicted"]["product"] *= 5.0
    tensors[2]["rate"] -= 0.4
    tensors[3]["bytes"]["chunks"] //= 2
    tensors[4]["kind"] = "unknown"
    rows = findings("m", changed["files"][0]["inspected"]).rows
    assert [[mark.word for mark in row.marks] for row in rows[:5]] == [
        [], ["error", "far"], ["unused"], ["overhead"], ["newer"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("partner", "rate", "within"),
    [("equal", 3.0, 0.03), ("exact", 2.0, 0.03), (4.0, 3.0, 0.05), ("equal", 0.6, 0.1)],
)
def test_one_bit_more_buys_what_the_planner_says(partner, rate, within):
    array = matrix(512, 300)
    data = nqz.encode(array, rate=rate, partner=partner)
    (tensor,) = nqz.inspect(data)["tensors"]
    (planned,) = nqz.compare(array, data)["tensors"]
    place = position(tensor)
    assert place.more == pytest.approx(planned["more"]["product"], rel=within)
    assert place.more_bytes == planned["more"]["bytes"]
    assert -0.01 < place.excess < 0.2 and place.limit <= tensor["predicted"]["product"]


def test_areas_of_a_treemap_are_the_bytes_and_fill_it():
    areas = [50.0, 20.0, 10.0, 10.0, 5.0, 3.0, 1.0, 1.0]
    cells = squarified(areas, 400.0, 100.0)
    for area, cell in zip(areas, cells, strict=True):
        assert cell.width * cell.height == pytest.approx(area * 400.0)
        assert (
            cell.x >= -1e-9 and cell.x + cell.width <= 400.0 + 1e-9 and cell.y + cell.height <= 100.0 + 1e-9
        )
    for k, one in enumerate(cells):
        for other in cells[:k]:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert wide < 1e-6 or high < 1e-6
    assert squarified([], 10.0, 10.0) == []


def test_errors_that_are_alike_are_told_in_words():
    array = np.random.default_rng(0).standard_normal((256, 64), np.float32)
    alike = page(facts(nqz.encode({"a": array, "b": array[:, :60]}, rate=3, threads=1)))
    assert re.search(r"much the same for all: 1[78]\.\d %( to 1[78]\.\d %)?\.", alike)
    unlike = page(facts(nqz.encode({"a": array, "b": array[:, :60]}, rate=3, rules={"b": 5}, threads=1)))
    assert "its color is how far its products are off." in unlike and "much the same" not in unlike


def test_containers_of_every_kind_have_a_page():
    for array in (
        matrix(40),
        matrix(8, 5),
        0 * matrix(16, 4) + 1,
        1e300 * matrix(64, 4, dtype="float64"),
        matrix(0, 4),
    ):
        found = facts(nqz.encode(array, rate=3))
        Parsed(page(found))
        assert render(found, "md").startswith("## Compression")
    for coding, lattice in (("trellis", "conv"), ("voronoi", "e8")):
        Parsed(
            page(facts(nqz.encode(matrix(64, 40), rate=2, coding=coding, lattice=lattice, partner="exact")))
        )
    Parsed(page(facts(nqz.encode({"a": matrix(3), "b": matrix(0, 7)}, rate=3))))


def test_every_golden_file_has_a_page():
    for path in sorted((FIXTURES / "golden").glob("*.nqz")):
        Parsed(nqz.report(path))
        assert nqz.report(path, format="md").endswith(f"Made by nqz {nqz.__version__}.\n")
