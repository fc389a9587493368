"""SHA-256 of pieces against the library's, and that the processor's instructions for it are used."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from nqz import kernels

HASHING = {
    name: module
    for name, module in kernels.implementations().items()
    if name == "reference" or hasattr(module, "sha256_pieces")
}
DATA = np.random.default_rng(1).integers(0, 256, 20_000, np.uint8)


@pytest.fixture(params=HASHING.values(), ids=list(HASHING))
def sha256_pieces(request):
    return request.param.sha256_pieces


def expected(data, size):
    return [hashlib.sha256(data[i : i + size]).digest() for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 1 << 40])
def test_digests_are_those_of_the_library(sha256_pieces, size):
    # ends of messages before, at and behind where another block is needed, alone and in pairs
    for bytes_ in (0, 1, 54, 55, 56, 57, 63, 64, 65, 2 * min(size, 9000), 2 * min(size, 9000) + 1, 600):
        data = DATA[:bytes_]
        found = sha256_pieces(data, size)
        assert found.dtype == np.uint8 and found.shape == (-(-bytes_ // size), 32)
        assert [row.tobytes() for row in found] == expected(data, size)


def test_known_answer(sha256_pieces):
    data = np.frombuffer(b"abcabcab", np.uint8)
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    ab = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"
    assert [row.tobytes().hex() for row in sha256_pieces(data, 3)] == [abc, abc, ab]


def test_unaligned_data(sha256_pieces):
    for first in range(1, 20):
        data = DATA[first : first + 777]
        assert [row.tobytes() for row in sha256_pieces(data, 100)] == expected(data, 100)


def test_arguments_are_checked(sha256_pieces):
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least one byte"):
            sha256_pieces(DATA, size)


def test_no_array_is_converted():
    for name, module in HASHING.items():
        if name != "reference":
            with pytest.raises(TypeError):
                module.sha256_pieces(DATA[::2], 10)


def test_every_implementation_has_what_the_reference_has():
    assert kernels.sha256_pieces is not None
    assert [row.tobytes() for row in kernels.sha256_pieces(DATA, 4096)] == expected(DATA, 4096)
