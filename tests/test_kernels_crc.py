"""The checksum of records: that of zlib, whatever computes it."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from nqz import kernels

DATA = np.random.default_rng(1).integers(0, 256, 5000, np.uint8).tobytes()


@pytest.mark.parametrize("value", [0, 1, 0xDEADBEEF, 0xFFFFFFFF])
def test_crc32_equals_that_of_zlib_wherever_bytes_begin_and_end(value):
    for start in (0, 1, 15):
        for count in (*range(200), 4095, 4096, 4900):
            piece = DATA[start : start + count]
            assert kernels.crc32(piece, value) == zlib.crc32(piece, value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(bytearray(b))[3:]])
def test_crc32_takes_any_buffer(kind):
    assert kernels.crc32(kind(DATA)) == zlib.crc32(kind(DATA))
