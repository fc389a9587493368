"""What is waited for while a command that was interrupted cleans up: until it comes, or the next interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Wait:
    under_way = False


@contextmanager
def patient() -> Iterator[None]:
    """Wait for something: whoever handles signals gives it time, and raises the next one."""
    _Wait.under_way = True
    try:
        yield
    finally:
        _Wait.under_way = False


def waiting() -> bool:
    """Whether something is waited for."""
    return _Wait.under_way


def given_up() -> bool:
    """Whether something was waited for until now: whoever asks ends that, so that it is given up once."""
    was, _Wait.under_way = _Wait.under_way, False
    return was
