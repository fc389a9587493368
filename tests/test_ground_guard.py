"""A lock that survives a fork."""

from __future__ import annotations

import os
import threading

import pytest

from nqz.ground.guard import Guard


def test_one_thread_at_a_time_may_be_in_it_several_times():
    guard, inside, order = Guard(), threading.Event(), []

    def other():
        inside.wait()
        with guard:
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with guard, guard:
        inside.set()
        thread.join(0.05)
        order.append("this")
    thread.join()
    assert order == ["this", "other"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_a_thread_of_its_parent():
    guard, inside, leave = Guard(), threading.Event(), threading.Event()

    def other():
        with guard:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    pid = os.fork()
    if not pid:
        os._exit(3 if guard._lock.acquire(timeout=20) else 4)
    status = os.waitpid(pid, 0)[1]
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 3
