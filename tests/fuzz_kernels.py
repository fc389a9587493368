"""Fuzz the kernels of a sanitized build: their own tests first, then random damage to streams for a while.

Usage: python tests/fuzz_kernels.py BUILD_FOLDER SECONDS
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path


def load_build(folder: str) -> None:
    """Put the extension module of `folder` in the place of the installed one."""
    (path,) = Path(folder).glob("_native*.so")
    name = "nqz.kernels._native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def damage(rng, array):
    """Return a copy of `array` with a few bytes changed and perhaps another length."""
    import numpy as np

    array = array.copy()
    if array.size and rng.integers(0, 3):
        data = array.view(np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(0, data.size)] = rng.integers(0, 256)
    if rng.integers(0, 2):
        array = np.resize(array, int(rng.integers(0, array.size + 3)))
    return np.ascontiguousarray(array)


def fuzz(seconds: float) -> tuple[int, int]:
    """Decode damaged streams with every build; return how many were tried and how many were refused."""
    import numpy as np

    from kernel_cases import LANES, chunk, key, place
    from nqz import kernels
    from nqz.reference.lattices import LATTICES, NESTED

    builds = [k for name, k in kernels.implementations().items() if name != "reference"]
    rng = np.random.default_rng()
    tried = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lattice, lanes = int(rng.choice(list(LATTICES))), int(rng.choice(LANES))
        nested = lattice if lattice in NESTED else int(rng.choice(list(NESTED)))
        count, m = int(rng.integers(1, 3000)), int(rng.integers(1, 1500))
        case = chunk(rng, lattice, count, lanes, m)
        build = builds[int(rng.integers(0, len(builds)))]
        arguments = case.arguments(build)
        streams = case.encode(build)
        packed = build.pack_digits((case.points & 3).astype(np.uint16), 5, 27, 63)
        where = place(build, nested, count, lanes)
        nest = build.Nest(nested, np.array([3, 5], np.int32), np.array([[1, 2, 3, 4]] * 2, np.int32))
        choice = rng.integers(0, 2, where.groups // lanes).astype(np.uint8)
        # Any bytes are a ring.
        ring = rng.integers(0, 256, 65536, dtype=np.uint8)
        code = build.RingCode(int(rng.choice([0, 12, 14, 16])), ring)
        lengths, bits2 = np.array([count, m], np.int64), rng.integers(2, 9, 2).astype(np.int32)
        size = build.ring_bytes(count, int(bits2[0])) + build.ring_bytes(m, int(bits2[1]))
        build.ring_decode(code, lengths, bits2, 2047, ring[:size], np.empty(count + m, np.int32))
        n = int(np.gcd(count, m))
        vectors = rng.integers(-16319, 16320, (int(rng.integers(1, 4)), n)).astype(np.int16)
        products = np.empty(((count + m) // n, len(vectors)), np.int64)
        build.ring_products(code, lengths, bits2, 2047, ring[:size], vectors, products)
        weights = rng.integers(-16319, 16320, (len(vectors), len(products))).astype(np.int16)
        build.ring_sums(
            code, lengths, bits2, 2047, ring[:size], weights, np.empty((len(vectors), n), np.int64)
        )
        for _ in range(20):
            bad = tuple(damage(rng, s) if rng.integers(0, 2) else s for s in streams)
            out, points = np.empty_like(case.points), np.empty(where.positions, np.int32)
            digits = rng.integers(0, 7, where.positions).astype(np.uint16)
            beta = rng.integers(0, 5, where.groups).astype(np.uint8)
            for call in (
                lambda: build.entropy_decode(*arguments, bad, out),
                lambda: build.unpack_digits(damage(rng, packed), case.points.size, 5, 27, 63),
                lambda: build.voronoi_decode(where, key(build), nest, choice, digits, beta, points),
                lambda: build.rans_decode(count, np.array([0, 9, 4096], np.uint16), lanes, bad[0], bad[1]),
            ):
                tried += 1
                try:
                    call()
                except kernels.CorruptStream:
                    refused += 1
    return tried, refused


def main() -> int:
    load_build(sys.argv[1])
    import pytest

    here = Path(__file__).parent
    tests = [*sorted(here.glob("test_kernels_*.py")), here / "test_ground_digests.py"]
    # Which kernels a fresh process chooses is not a question to this build.
    status = pytest.main(["-q", "-p", "no:cacheprovider", "-k", "not environment_chooses", *map(str, tests)])
    if status:
        return int(status)
    tried, refused = fuzz(float(sys.argv[2]))
    print(f"{tried} damaged streams, {refused} refused, no crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
