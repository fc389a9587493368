"""nqz: matrix compression for matrix multiplication.

Compresses matrices to R bits an entry so that AᵀB can be estimated from two compressed files, with the expected error
of every answer stated. On Gaussian matrices they are within 0.06 bit an entry of the information-theoretic limit.

>>> import nqz, numpy as np
>>> a, b = np.random.default_rng(0).standard_normal((2, 512, 64))
>>> c = nqz.matmul(nqz.encode(a, rate=4), nqz.encode(b, rate=4))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nqz._version import __version__
from nqz.ground.errors import (
    CorruptError,
    DiskFullError,
    InputError,
    NewerFormatError,
    NqzError,
    OperandError,
    OutputError,
    OutputExistsError,
    UnsupportedError,
    UsageError,
    VerifyError,
)

if TYPE_CHECKING:
    from nqz.api import CompressedMatrix, Container, ExactTensor, encode, matmul, open, predicted_error

_LAZY = ("CompressedMatrix", "Container", "ExactTensor", "encode", "matmul", "open", "predicted_error")

__all__ = [
    "CompressedMatrix",
    "Container",
    "CorruptError",
    "DiskFullError",
    "ExactTensor",
    "InputError",
    "NewerFormatError",
    "NqzError",
    "OperandError",
    "OutputError",
    "OutputExistsError",
    "UnsupportedError",
    "UsageError",
    "VerifyError",
    "__version__",
    "encode",
    "matmul",
    "open",
    "predicted_error",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:  # NumPy and what needs it are imported only when they are used
        from nqz import api

        return getattr(api, name)
    raise AttributeError(f"module 'nqz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
