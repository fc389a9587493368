"""Pages of reports in a browser: sorting, filtering, folding, colors and room, and no complaint of the console."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import nqz
from browser import PROGRAM, Browser
from nqz.pages.html import page
from page_tools import BIDI, EVIL, facts, many, model

DEMANDED = os.environ.get("NQZ_TEST_REPORT") == "1"
"""Whether a browser must be there: `make test-report`, which keeps pictures in build/report."""

pytestmark = pytest.mark.skipif(PROGRAM is None and not DEMANDED, reason="no Chromium here")

NAMES = "[...document.querySelectorAll('tr[id]:not([hidden]) bdi')].map(one => one.textContent)"
ROWS = "[...document.querySelectorAll('tbody tr')]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages: one of a few tensors, with names that are made to do harm, and one of many."""
    folder = tmp_path_factory.mktemp("pages")
    tensors = model()
    tensors[EVIL] = tensors.pop("wide")
    found = facts(nqz.encode(tensors, rate=3))
    for tensor in found["files"][0]["inspected"]["tensors"]:
        if tensor["name"] == "bias":
            tensor["name"] = BIDI
    (folder / "few.html").write_text(page(found))
    (folder / "many.html").write_text(page(many(found, 300)))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser; a complaint of the console fails the test that made it."""
    assert PROGRAM is not None, "make test-report needs Chromium: Debian's package chromium serves"
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def test_rows_sort_filter_and_fold_without_a_complaint(browser, folder):
    browser.show(folder / "few.html", 1280, 900)
    sort = "document.querySelectorAll('th button')[{}].click();"

    def column(number: int) -> list:
        return browser.run(
            f"[...document.querySelectorAll('tr[id]')].map(row => row.cells[{number}].dataset.v ?? null)"
        )

    before = browser.run(NAMES)
    assert len(before) == 6 and EVIL in before
    for number in (1, 3, 4, 5, 6, 7):
        browser.run(sort.format(number))
        values = column(number)
        known = [float(value) for value in values if value is not None]
        assert known == sorted(known, reverse=True) and values[len(known) :] == [None] * (6 - len(known))
        browser.run(sort.format(number))
        known = [float(value) for value in column(number) if value is not None]
        assert known == sorted(known)
        assert (
            browser.run(f"document.querySelectorAll('th')[{number}].getAttribute('aria-sort')") == "ascending"
        )
    browser.run(sort.format(0))
    assert browser.run(NAMES) != before and sorted(browser.run(NAMES)) == sorted(before)
    assert browser.run(f"{ROWS}.every((row, k) => (k % 2 == 0) == !!row.id)")  # details follow their rows

    shown = "getComputedStyle(document.querySelector('tr[id] + tr')).display"
    first = "document.querySelector('tr[id] button')"
    assert browser.run(shown) == "none" and browser.run(f"{first}.getAttribute('aria-expanded')") == "false"
    browser.run(f"{first}.click()")
    assert (
        browser.run(shown) == "table-row" and browser.run(f"{first}.getAttribute('aria-expanded')") == "true"
    )
    browser.run(f"{first}.click()")
    assert browser.run(shown) == "none"

    box = "const box = document.querySelector('input'); box.value = text; box.dispatchEvent(new Event('input'));"
    write = f"(text => {{ {box} }})"
    browser.run(f"{write}('PLA')")
    assert browser.run(NAMES) == ["plain"]
    assert browser.run("document.querySelector('output').textContent") == "1 of 6 shown"
    browser.run(f"{write}('')")
    for kind, number in (("marked", 3), ("exact", 2), ("matrix", 4), ("all", 6)):
        browser.run(f"document.querySelector('[data-kind={kind}]:is(button)').click()")
        assert len(browser.run(NAMES)) == number, kind
    browser.run(f"{write}('nothing like it')")
    assert browser.run(NAMES) == []
    # what is chosen in a drawing is shown, whatever the filter, and unfolded
    browser.run(
        "document.querySelector('.map.wide a').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert len(browser.run(NAMES)) == 6 and browser.run("document.querySelectorAll('tr.open').length") == 1
    point = "link.dispatchEvent(new Event('pointerenter')); return link.querySelector('title').textContent;"
    title = f"(link => {{ {point} }})"
    assert "kB" in browser.run(f"{title}(document.querySelector('.map.wide a'))")
    assert browser.run("document.querySelectorAll('img, script').length") == 1
    assert browser.complaints == []


def test_a_page_has_room_on_phones_and_desks_in_both_schemes(browser, folder, tmp_path):
    target = Path("build/report") if DEMANDED else tmp_path
    target.mkdir(parents=True, exist_ok=True)
    grounds = set()
    for name in ("few", "many"):
        for width, height in ((390, 844), (1280, 900)):
            for dark in (False, True):
                browser.show(folder / f"{name}.html", width, height, dark)
                assert browser.run("document.documentElement.scrollWidth") <= width
                size = "parseFloat(getComputedStyle(one).fontSize)"
                sizes = f"[...document.querySelectorAll('main *')].map(one => {size})"
                assert browser.run(f"Math.min(...{sizes})") >= 11.0
                wide = "document.querySelector('.map.wide').getBoundingClientRect().height > 0"
                assert browser.run(wide) == (width > 760)
                grounds.add((dark, browser.run("getComputedStyle(document.body).backgroundColor")))
                scheme = "dark" if dark else "light"
                assert len(browser.picture(target / f"{name}-{width}-{scheme}.png")) > 10_000
    assert len(grounds) == 2
    light = browser.run(
        "document.querySelector('#scheme').click(); getComputedStyle(document.body).backgroundColor"
    )
    assert (False, light) in grounds
    assert browser.complaints == [], json.dumps(browser.complaints)
