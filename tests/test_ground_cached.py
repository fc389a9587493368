"""Properties that are worked out once, and hold no lock meanwhile."""

from __future__ import annotations

import threading

from nqz.ground.cached import cached_property


class Slow:
    """Counts how often its value was worked out; waits while it is, if told to."""

    def __init__(self, wait: threading.Event | None = None) -> None:
        self.wait, self.entered, self.times = wait, threading.Event(), 0

    @cached_property
    def value(self) -> list[int]:
        """A value of its own each time."""
        self.times += 1
        self.entered.set()
        if self.wait is not None:
            assert self.wait.wait(20)
        return [self.times]


def test_a_value_is_worked_out_once():
    slow = Slow()
    assert slow.value is slow.value and slow.times == 1
    assert isinstance(Slow.value, cached_property) and Slow.value.__doc__ == "A value of its own each time."
    del slow.value
    assert slow.value == [2]


def test_no_lock_is_held_while_a_value_is_worked_out():
    """A child that is forked at this moment has neither the thread nor what would release a lock."""
    go = threading.Event()
    slow, values = Slow(go), []
    thread = threading.Thread(target=lambda: values.append(slow.value))
    thread.start()
    assert slow.entered.wait(20)
    others = []
    second = threading.Thread(target=lambda: others.append(Slow().value), daemon=True)
    second.start()
    second.join(10)
    assert others == [[1]]
    slow.wait = None
    first = slow.value
    go.set()
    thread.join(20)
    assert values[0] is first and slow.value is first
