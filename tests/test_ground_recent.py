"""What threads keep open from job to job: the last few things, each made once, and closed when it is let go of."""

from __future__ import annotations

import threading

import pytest

from nqz.ground.recent import Recent


def test_the_one_that_was_asked_for_longest_ago_is_closed():
    made, closed = [], []

    def make(key):
        return lambda: made.append(key) or key

    recent = Recent(2, closed.append)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert recent.get(key, make(key)) == key
    assert made == ["a", "b", "c", "b"] and closed == ["b", "c"]


def test_every_thread_has_its_own():
    recent, found = Recent(2, id), []
    threads = [
        threading.Thread(target=lambda: found.append(recent.get("key", threading.get_ident)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        thread.join()
    found.append(recent.get("key", threading.get_ident))
    assert found[2] == threading.get_ident() and found[2] not in found[:2]


def test_what_cannot_be_made_is_not_kept():
    def fails():
        raise OSError

    recent = Recent(1, id)
    with pytest.raises(OSError):
        recent.get("key", fails)
    assert recent.get("key", lambda: 7) == 7
