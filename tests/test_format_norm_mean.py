"""The payloads of NORM and MEAN: every form, and malformed ones."""

from __future__ import annotations

import numpy as np
import pytest

from nqz.format.norm_mean import pack_means, pack_norms, unpack_means, unpack_norms
from nqz.ground.errors import CorruptError
from nqz.stages import norms

RANDOM = np.random.default_rng(3)
STORED, TOKENS = range(2)
CODES = [
    (STORED, np.array([4711])),
    (STORED, np.array([norms.ZERO, norms.ZERO])),
    (TOKENS, np.rint(RANDOM.standard_normal(1000) * 9).astype(np.int64) - 5000),
    (STORED, RANDOM.integers(-(1 << 20), 1 << 20, 9)),
    (TOKENS, np.tile(RANDOM.integers(-(1 << 20), 1 << 20, 50), 40)),
]


@pytest.mark.parametrize("form, codes", CODES, ids=["one", "silent", "gaussian", "few", "periodic"])
def test_norms(form, codes):
    payload = pack_norms(codes)
    assert payload[4] == form
    assert np.array_equal(unpack_norms(payload, len(codes), "here"), codes)
    for damaged in (payload[:-1], payload + b"\0", b"", payload[:4], payload[:4] + b"\7" + payload[5:]):
        with pytest.raises(CorruptError, match=r"^here: "):
            unpack_norms(damaged, len(codes), "here")
    with pytest.raises(CorruptError, match=r"^here: "):
        unpack_norms(payload, len(codes) + 1, "here")


def test_norms_out_of_range_are_refused():
    payload = pack_norms(np.array([1 << 21]))
    with pytest.raises(CorruptError, match="out of range"):
        unpack_norms(payload[:-1] + b"\4", 1, "here")


def test_means():
    q = np.concatenate([RANDOM.integers(-(1 << 63), (1 << 63) - 1, 20), RANDOM.integers(-900, 900, 500)])
    shift = np.concatenate([np.full(20, 255), np.zeros(500)]).astype(np.uint8)
    payload = pack_means(shift, q)
    back_shift, back_q = unpack_means(payload, len(q), "here")
    assert np.array_equal(back_shift, shift) and back_shift.dtype == np.uint8 and np.array_equal(back_q, q)
    for damaged in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(CorruptError, match=r"^here: "):
            unpack_means(damaged, len(q), "here")


def test_a_shift_out_of_range_is_refused():
    for value in (-1, 256):
        with pytest.raises(CorruptError, match="shift"):
            unpack_means(pack_means(np.array([value], np.int64), np.array([5])), 1, "here")
