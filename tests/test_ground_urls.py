"""Addresses as people may see them: nothing of users, passwords and queries, wherever an address stands."""

from __future__ import annotations

import time

import pytest

from nqz.ground.urls import named, redacted, shown


@pytest.mark.parametrize("url, seen", [
    ("https://u:pa55@h/x", "https://h/x"),
    ("https://u:p@ss@h/x", "https://h/x"),
    ("https://u:p'ss@h/x", "https://h/x"),
    ("https://u:p<ss@h/x", "https://h/x"),
    ("https://u:p#ss@h/x", "https://"),
    ("https://u:p?ss@h/x", "https://"),
    ("s3://KEY:se/cret@b/x", "s3://b/x"),
    ("https://u:pa55@h", "https://h"),
    ("https://h?sig=u@pa55/x", "https://"),
    ("https://h/x?sig='a'", "https://h/x"),
    ("zip://a.nqz::https://u:pa55@h/y.zip", "zip://a.nqz::https://h/y.zip"),
    ("simplecache::https://u:pa55@h/y?sig", "simplecache::https://h/y"),
    ("http://h:80/a@b", "http://h:80/a@b"),
    ("http://u:pa55@[::1]:80/a@b", "http://[::1]:80/a@b"),
    ("http://h/a:b@c", "http://h/a:b@c"),
    ("hf://datasets/a/b@main/x", "hf://datasets/a/b@main/x"),
    ("file:///a?b@c", "file:///a?b@c"),
])  # fmt: skip
def test_nothing_secret_of_an_address_is_shown(url, seen):
    assert shown(url) == seen
    assert (
        redacted(f"{url}: cannot open ({url}), see <{url}>") == f"{seen}: cannot open ({seen}), see <{seen}>"
    )
    assert redacted(f"not {url!r}; {url}.") == f"not {url!r}; {seen}.".replace(repr(url)[1:-1], seen)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000 + "://",
        "a::" * 50_000 + "b://",
        ("http://u:" + "x" * 100) * 2000,
        "a://" + "b#@" * 50_000,
    ],
)
def test_long_texts_take_no_longer_than_they_are_long(text):
    before = time.process_time()
    redacted(text)
    assert time.process_time() - before < 1.0


def test_names_of_files_are_no_addresses():
    assert named("https://h/a?sig=1", "..%2fb?c#d.nqz") == "https://h/a/..%252fb%3Fc%23d.nqz?sig=1"
    assert named("http://h", "a b/\u00e9\udcff.nqz") == "http://h/a%20b/%C3%A9%FF.nqz"
    assert named("/x", "..%2fb?c.nqz") == "/x/..%2fb?c.nqz"
