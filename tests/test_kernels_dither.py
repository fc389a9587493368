"""The dither generator: known answers, counters, and which kernels are in use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nqz import kernels
from remembered import reference

MASK = 2**64 - 1
EVERY = list(kernels.implementations().values())

# From the definition, in Python integers.
KNOWN = [
    ["0x48218226ff3cd4bf", "0xcd73fe3de975ac26", "0x7b476c5a5333d0ec"],
    ["0x20a9ee7f208fc43e", "0x4873bcf4e371ba71", "0xa1ee474c799fd80b"],
    "cc2e4774488f49e7811ef273e4f555ddbe893c8f67c7b846",
]


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def expected_word(key0, key1, i):
    return mix(key1 ^ mix((key0 + (i + 1) * 0x9E3779B97F4A7C15) & MASK))


@pytest.mark.parametrize("implementation", EVERY)
def test_known_answers(implementation):
    # SplitMix64 of seed 0 begins with E220A8397B1DCDAF; the second mix of key1 = that value is a mix of zero.
    assert implementation.words(implementation.Key(0, 0xE220A8397B1DCDAF), 0, 1).tolist() == [0]
    assert [hex(w) for w in implementation.words(implementation.Key(0, 0), 0, 3).tolist()] == KNOWN[0]
    key = implementation.Key(2**64 - 1, 0x5DEECE66D)
    assert [hex(w) for w in implementation.words(key, 2**40, 3).tolist()] == KNOWN[1]
    assert "".join(f"{z:x}" for z in implementation.levels(implementation.Key(1, 2), 3, 48)) == KNOWN[2]


@pytest.mark.parametrize("implementation", EVERY)
def test_words_follow_the_definition(implementation):
    rng = np.random.default_rng(1)
    for count in (0, 1, 7, 64, 65, 200):
        key0, key1, first = (int(x) for x in rng.integers(0, 2**64, 3, dtype=np.uint64))
        expected = [expected_word(key0, key1, (first + i) & MASK) for i in range(count)]
        assert implementation.words(implementation.Key(key0, key1), first, count).tolist() == expected


@pytest.mark.parametrize("implementation", EVERY)
def test_counter_wraps(implementation):
    expected = [expected_word(5, 6, MASK - 1), expected_word(5, 6, MASK), expected_word(5, 6, 0)]
    assert implementation.words(implementation.Key(5, 6), MASK - 1, 3).tolist() == expected


@pytest.mark.parametrize("implementation", EVERY)
def test_levels_are_the_nibbles_of_the_words(implementation):
    for count in (0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 3001):
        words = reference.words(reference.Key(11, 12), 13, -(-count // 16))
        expected = [int(words[p // 16]) >> 4 * (p % 16) & 15 for p in range(count)]
        assert implementation.levels(implementation.Key(11, 12), 13, count).tolist() == expected


@pytest.mark.parametrize("implementation", EVERY)
def test_keys_have_two_halves_of_64_bits(implementation):
    key = implementation.Key(key0=2**64 - 1, key1=0)
    assert (key.key0, key.key1) == (2**64 - 1, 0)
    for halves in [(-1, 0), (0, 2**64)]:
        with pytest.raises((ValueError, TypeError)):
            implementation.Key(*halves)
    for count in (-1, -16):
        with pytest.raises(ValueError, match="negative"):
            implementation.words(key, 0, count)
        with pytest.raises(ValueError, match="negative"):
            implementation.levels(key, 0, count)


def test_levels_are_uniform():
    counts = np.bincount(kernels.levels(kernels.Key(7, 8), 9, 1 << 20), minlength=16)
    assert np.abs(counts - 65536).max() < 6 * 256


def test_native_kernels_are_built_where_a_compiler_is():
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    assert ("baseline" in kernels.implementations()) == any(map(shutil.which, compilers))


@pytest.mark.parametrize("choice", [*kernels.implementations(), "sse9"])
def test_environment_chooses_the_kernels(choice):
    code = (
        "from nqz.ground.errors import UsageError\n"
        "try:\n    from nqz import kernels; print(kernels.name)\n"
        "except UsageError as error: print('refused:', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NQZ_KERNELS": choice},
        capture_output=True,
        text=True,
        check=True,
    )
    if choice == "sse9":
        assert done.stdout.startswith("refused: NQZ_KERNELS=sse9: not available here; use one of ")
    else:
        assert done.stdout.strip() == (choice if choice == "reference" else f"native:{choice}")


def test_every_implementation_has_every_function():
    for implementation in EVERY:
        for name in reference.__all__:
            if name != "CorruptStream":
                assert callable(getattr(implementation, name))
                assert hasattr(kernels, name)
