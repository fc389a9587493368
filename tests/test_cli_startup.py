"""What commands load: a moment for every module, which all who run them wait for."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import nqz
from nqz import kernels

_LIST = (
    "import sys; from nqz.cli import run; code = run(sys.argv[1:]); "
    "print(*sys.modules, file=sys.stderr); sys.exit(code)"
)

NEVER = {
    "asyncio", "decimal", "gguf", "matplotlib", "nqz.api", "nqz.curve", "nqz.plan", "nqz.cli.encode", "nqz.torch",
    "numpy.fft", "numpy.ma", "numpy.random", "numpy.testing", "pydoc", "rich", "scipy", "shutil", "statistics",
    "tempfile", "unittest", "urllib.request", "zstandard",
}  # fmt: skip
"""What a product takes nothing of."""


def loaded(*arguments: object) -> set[str]:
    """The modules that a command has loaded when it is done."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST, *map(str, arguments)],
        check=True, capture_output=True, text=True, env={**os.environ, "NQZ_THREADS": "2"},
    )  # fmt: skip
    return set(done.stderr.split())


def test_what_says_its_version_loads_no_numpy():
    found = loaded("--version")
    assert "nqz.cli" in found
    assert not found & {*NEVER, "numpy", "nqz.kernels", "nqz.commands", "nqz.cli.common", "json", "logging"}


@pytest.mark.parametrize("coding", ["trellis", "entropy"])
def test_a_product_with_a_vector_loads_what_it_takes(tmp_path, coding):
    a, x, y = (tmp_path / name for name in ("a.nqz", "x.npy", "y.npy"))
    rng = np.random.default_rng(1)
    nqz.encode(rng.standard_normal((256, 8)), a, rate=2, coding=coding)
    np.save(x, rng.standard_normal(256))
    found = loaded("matmul", a, x, "-o", y, "-q")
    assert y.exists() and "nqz.product.few" in found
    assert not found & NEVER
    if coding == "entropy" and kernels.name != "reference":
        assert "nqz.reference" not in found
