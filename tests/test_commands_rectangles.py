"""Products cut into jobs: all of it once, none too large, and what is decoded for one of use to the next."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from nqz.commands.rectangles import SAMPLED, begins, cut_sample, rectangles, room, shares

ENTRIES = 1 << 22


def blocks(count, width):
    return [(first, min(first + width, count)) for first in range(0, count, width)]


@pytest.mark.parametrize("width", [None, 700, 5000])
@pytest.mark.parametrize("shape", [(1, 1), (5000, 3), (3, 5000), (1 << 20, 100), (4097, 4097), (1, 1 << 24)])
def test_rectangles_cover_a_product_once(shape, width):
    rows, columns = shape
    own = ((), ()) if width is None else (blocks(rows, width), blocks(columns, width))
    found = list(rectangles(rows, columns, ENTRIES, own))
    assert sum((r.stop - r.start) * (c.stop - c.start) for r, c in found) == rows * columns
    assert all((r.stop - r.start) * (c.stop - c.start) <= ENTRIES for r, c in found)
    assert len(found) == len({(r.start, c.start) for r, c in found})


def test_rectangles_are_of_whole_blocks_or_follow_one_another_in_them():
    small = list(rectangles(10_000, 3000, ENTRIES, (blocks(10_000, 1500), blocks(3000, 700))))
    assert {r.start % 1500 for r, _ in small} == {c.start % 700 for _, c in small} == {0}
    large = [
        (r.start // 9000, c.start // 9000)
        for r, c in rectangles(18_000, 18_000, ENTRIES, 2 * (blocks(18_000, 9000),))
    ]
    assert large == sorted(large) and len(set(large)) == 4 < len(large)


def test_workers_are_given_blocks_of_their_own_in_turn():
    own = blocks(18_000, 9000), blocks(9000, 9000)
    found = [r.start // 9000 for r, _ in rectangles(18_000, 9000, ENTRIES, own, workers=2)]
    assert found == [0, 1] * (len(found) // 2)
    assert set(rectangles_of(own, 2)) == set(rectangles_of(own, 1)) == set(rectangles_of(own, 5))


def rectangles_of(own, workers):
    found = rectangles(18_000, 9000, ENTRIES, own, workers)
    return [(r.start, r.stop, c.start, c.stop) for r, c in found]


def test_rectangles_of_long_vectors_are_larger():
    assert room(4096, "float32") == 2 * room(4096, "float64") == room(1 << 20, "float32") // 4


def test_shares_are_of_whole_blocks_where_these_are_enough():
    chosen = np.arange(0, 1000, 7)
    edges = begins(chosen, blocks(1000, 300))
    assert chosen[edges].tolist() == [0, 301, 602, 903]
    assert [s.start for s in shares(len(chosen), edges, 2)] == [0, edges[2]]
    for number in (1, 3, 4, 9, 500):
        found = shares(len(chosen), edges, number)
        assert found[0].start == 0 and found[-1].stop == len(chosen)
        assert all(s.stop == t.start for s, t in pairwise(found))


def test_a_sample_is_cut_so_that_little_is_decoded_twice_and_all_have_some_of_it():
    """The many blocks of one side once, with the one of the other; parts where there are any."""
    down, across, several = cut_sample((4096, 2048), (32, 1), 1, 16, (4096, 2048))
    assert (down, across, several) == (16, 1, 1)
    assert cut_sample((4096, 4096), (8, 8), 1, 1, (8, 8))[:2] in {(1, 4), (2, 2), (4, 1)}
    down, across, several = cut_sample((64, 64), (1, 1), 100, 4, (64, 64))
    assert down * across == 1 and several == 8
    for workers in (1, 2, 100):
        down, across, _ = cut_sample((4096, 4096), (3, 5), 1, workers, (4096, 4096))
        assert down * across * SAMPLED >= 4096 * 4096
    assert cut_sample((4096, 4096), (2, 1), 1, 16, (2, 1)) == (2, 1, 1)  # blocks are not cut
