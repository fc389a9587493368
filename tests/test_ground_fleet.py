"""Work for the workers of an executor: results in order, few under way, and an error of nqz whatever goes wrong."""

from __future__ import annotations

import multiprocessing
import operator
import os
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from nqz._version import __version__
from nqz.ground.errors import InputError, NqzError, UsageError
from nqz.ground.fleet import Fleet, call
from nqz.ground.patience import given_up, patient, waiting
from nqz.ground.threads import Workers


class Late(Executor):
    """Works on jobs only when their results are asked for, the last first."""

    def __init__(self) -> None:
        self.open = self.most = 0

    def submit(self, function, /, *arguments):
        self.open += 1
        self.most = max(self.most, self.open)
        future = Future()

        def result(timeout=None):
            self.open -= 1
            return function(*arguments)

        future.result = result
        return future


def unreadable(path):
    raise InputError(f"{path}: cannot open")


def test_results_come_in_order_and_few_jobs_are_under_way():
    executor = Late()
    fleet = Fleet(executor)
    assert list(fleet.map(operator.add, ((i, i) for i in range(100)))) == list(range(0, 200, 2))
    assert executor.most == 2 * fleet.workers < 100


def test_an_executor_tells_how_many_workers_it_has():
    with ThreadPoolExecutor(3) as executor:
        assert Fleet(executor).workers == 3
        assert Workers(None, executor=executor).fleet.threads == 1
        assert Workers(5, executor=executor).fleet.threads == 5


def test_workers_that_come_later_are_given_jobs_too(monkeypatch):
    """A cluster begins with the first that is there."""
    executor, threads = Late(), {"one": 1}
    executor._client = SimpleNamespace(nthreads=lambda: threads)
    fleet = Fleet(executor)
    found = fleet.map(operator.add, ((i, i) for i in range(100)))
    next(found)
    assert executor.most == 2 == 2 * fleet.workers
    threads.update(two=1, three=2)
    monkeypatch.setattr("nqz.ground.fleet._ASKED", -1.0)
    next(found)
    assert executor.most == 8 == 2 * fleet.workers


def test_what_is_no_executor_is_refused():
    with pytest.raises(UsageError, match=r"one of concurrent\.futures, or like one, is needed, and not int"):
        Workers(1, executor=3)


def test_an_error_of_a_job_is_raised_as_it_is_and_what_has_not_begun_is_cancelled():
    with ThreadPoolExecutor(1) as executor, pytest.raises(InputError, match=r"^here: cannot open$"):
        list(Fleet(executor).map(unreadable, [("here",)] * 9))


@pytest.mark.parametrize("function, said", [(os._exit, "Broken"), (int, "ValueError: invalid literal")])
def test_a_worker_that_dies_or_fails_is_an_error_that_says_what_to_do(function, said):
    """There is nothing that this engine does about a worker that is gone."""
    job = (9,) if function is os._exit else ("nine",)
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor,
        pytest.raises(NqzError, match=f"a worker of the executor was lost, or failed .{said}.*try again"),
    ):
        list(Fleet(executor).map(function, [job]))


def test_an_executor_that_takes_no_more_is_an_error():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(NqzError, match="cannot schedule new futures after shutdown"):
        list(Fleet(executor).map(abs, [(1,)]))


class Given(Executor):
    """Gives results as `change` makes them of what workers give."""

    def __init__(self, change):
        self.change = change

    def submit(self, function, /, *arguments):
        future = Future()
        found = self.change(function(*arguments))
        if isinstance(found, BaseException):
            future.set_exception(found)
        else:
            future.set_result(found)
        return future


@pytest.mark.parametrize("found", [
    None, 5, (), (True, 7), (False, None), "abc", np.zeros(3), (("0.0.0", 0), True, 7), ((__version__, 9), True, 7),
    [(__version__, 0), True, 7], (np.zeros(2), True, 7),
])  # fmt: skip
def test_what_is_no_result_of_a_job_is_refused(found):
    with pytest.raises(
        NqzError, match=f"no result of its job in nqz {__version__}; all need the same release"
    ):
        list(Fleet(Given(lambda _: found)).map(operator.add, [(3, 4)]))


def test_results_of_other_jobs_are_refused():
    given = []

    def change(found):
        given.append(found)
        return given[0]

    fleet = Fleet(Given(change)).map(operator.add, [(3, 4), (5, 6)])
    with pytest.raises(NqzError, match="no result of its job"):
        list(fleet)


def test_a_worker_of_another_release_says_so():
    tag = "0.0.0", 3
    assert call(tag, operator.add, (3, 4))[:2] == (tag, False)
    with pytest.raises(NqzError, match=r"a worker has nqz .*, and who asks it nqz 9\.9"):
        list(
            Fleet(Given(lambda found: ((__version__, 0), *call(("9.9", 0), abs, (1,))[1:]))).map(abs, [(1,)])
        )


def test_what_is_no_future_is_an_error():
    class Odd(Executor):
        def submit(self, function, /, *arguments):
            return 5

    with pytest.raises(NqzError, match="was lost, or failed"):
        list(Fleet(Odd()).map(abs, [(1,)] * 9))


def test_jobs_that_workers_are_at_are_waited_for_and_others_given_up():
    done, begun, wait = [], threading.Event(), threading.Event()

    def work(number):
        begun.set()
        wait.wait(10)
        done.append(number)

    with ThreadPoolExecutor(1) as executor:
        fleet = Fleet(executor)
        found = fleet.map(work, ((i,) for i in range(2)))
        threading.Timer(0.05, wait.set).start()
        fleet._under_way.update(executor.submit(work, number) for number in (7, 8))
        begun.wait(10)
        with pytest.warns(UserWarning, match="waiting for 1 job that workers are at, .* for 120 s at most"):
            fleet.settle()
        assert done == [7]
        assert list(found) == [None, None]


class Writing:
    """A job that a worker is at, and that does not end: whoever waits for it is interrupted."""

    def __init__(self):
        self.waited, self.patient = [], []

    def cancel(self):
        return False

    def done(self):
        return False

    def exception(self, timeout):
        self.waited.append(timeout)
        self.patient.append(waiting())
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("error")
def test_an_interrupt_ends_the_wait_for_jobs_at_once_and_jobs_that_ended_are_not_waited_for():
    fleet, writing = Fleet(Given(lambda found: found)), [Writing(), Writing()]
    fleet._under_way.update(writing)
    with pytest.raises(KeyboardInterrupt):
        fleet.settle(5.0)
    assert sorted(len(one.waited) for one in writing) == [0, 1]
    assert all(0 < timeout <= 5.0 for one in writing for timeout in one.waited)
    assert any(one.patient == [True] for one in writing) and not waiting()
    ended = Writing()
    ended.done = lambda: True
    fleet._under_way.add(ended)
    fleet.settle()
    assert not ended.waited and not fleet._under_way


def test_a_wait_is_given_up_once():
    assert not given_up()
    with patient():
        assert waiting() and given_up() and not waiting() and not given_up()
    assert not waiting()
