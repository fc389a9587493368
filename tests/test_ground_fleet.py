"""Work for the workers of an executor: results in order, few under way, and an error of nqz whatever goes wrong."""

from __future__ import annotations

import multiprocessing
import operator
import os
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nqz.ground.errors import InputError, NqzError, UsageError
from nqz.ground.fleet import Fleet
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
