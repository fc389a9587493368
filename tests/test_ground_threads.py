"""Threads: results in order, errors in their turn, small items side by side."""

from __future__ import annotations

import time

import pytest

from nqz.ground.threads import workers


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_of_workers_come_in_order_and_errors_in_their_turn(threads):
    def square(x):
        time.sleep(0.002 * (x % 3))
        if x == 17:
            raise ValueError(x)
        return x * x

    with workers(threads) as pool:
        assert list(pool.map(square, range(17))) == [x * x for x in range(17)]
        seen = []
        with pytest.raises(ValueError, match="17"):
            seen.extend(pool.map(square, range(30)))
        assert seen == [x * x for x in range(17)]
        # a map within a map gets its share of the same threads
        assert list(pool.map(lambda x: sum(pool.map(square, range(x))), range(9))) == [
            sum(i * i for i in range(x)) for x in range(9)
        ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_errors_in_what_is_mapped_come_after_the_results(threads):
    def items():
        yield from range(7)
        raise ValueError("no more")

    with workers(threads) as pool:
        seen = []
        with pytest.raises(ValueError, match="no more"):
            seen.extend(pool.map(str, items()))
        assert seen == list("0123456")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_small_items_are_worked_on_side_by_side(threads):
    with workers(threads) as pool:
        done = list(
            pool.each(lambda item, inner: (item, inner is pool), range(9), lambda item: item not in (3, 4))
        )
        assert done == [(i, threads == 1 or i in (3, 4)) for i in range(9)]
        assert list(pool.each(lambda item, inner: inner is pool, [0], lambda item: True)) == [True]
        assert list(pool.alone.map(str, "ab")) == ["a", "b"] and pool.alone.threads == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_called_aside_returns_or_raises_when_asked(threads):
    with workers(threads) as pool:
        good, bad = pool.aside(divmod, 7, 2), pool.aside(divmod, 7, 0)
        assert good.result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            bad.result()
