"""Matrix compression for matrix multiplication.

Compresses matrices to R bits an entry so that AᵀB can be estimated from two compressed files, with the expected error
of every answer stated. Gaussian matrices of 4096 × 1024 are within 0.06 bit an entry of the theoretical limit.

    encode(source, to, rate=4)      compress an array, a mapping of names to arrays (a model), or a file
    decode(source, to)              rebuild it
    open(source)                    a container: a mapping of names to tensors, which read as arrays
    matmul(a, b)                    estimate AᵀB; compressed matrices have `@`, too
    topk(x, queries)                the vectors most like each query, and how sure that is
    predicted_error(a, b)           what error to expect of that
    predicted_sigma(a, b)           and of each of its entries
    inspect(source)                 parameters, sizes and predicted errors
    verify(source, against)         check it, and compare with the original
    encode_set(source, to, rate=3)  compress a matrix in parts
    compare(original, compressed)   which tensors the error comes from
    diff(a, b)                      what differs between two containers
    report(source)                  a page that shows what is in one
    sweep(source)                   error against rate

>>> import nqz, numpy as np
>>> a, b = np.random.default_rng(0).standard_normal((2, 512, 64))
>>> c = nqz.matmul(nqz.encode(a, rate=4), nqz.encode(b, rate=4))

Bad input raises a subclass of `NqzError`. docs/api.md has examples of all of it; `nqz.torch` saves tensors of PyTorch.
"""

import os

# The command begins with this file, and may be interrupted here: nothing is imported that takes a moment.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nqz._version import __version__
    from nqz.api import (
        CompressedMatrix,
        Container,
        ExactTensor,
        ResidentOperand,
        SlicedTensor,
        compare,
        decode,
        diff,
        encode,
        encode_set,
        inspect,
        matmul,
        open,
        plan_product,
        predicted_error,
        predicted_sigma,
        report,
        sweep,
        topk,
        verify,
    )
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

_FUNCTIONS = (
    "encode", "decode", "open", "matmul", "topk", "predicted_error", "predicted_sigma", "plan_product", "inspect",
    "verify", "compare", "diff", "report", "sweep", "encode_set",
)  # fmt: skip
_TYPES = ("Container", "CompressedMatrix", "ExactTensor", "ResidentOperand", "SlicedTensor")

__all__ = [  # in the order of help(nqz)
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
    "ResidentOperand",
    "SlicedTensor",
    "UnsupportedError",
    "UsageError",
    "VerifyError",
    "__version__",
    "compare",
    "decode",
    "diff",
    "encode",
    "encode_set",
    "inspect",
    "matmul",
    "open",
    "plan_product",
    "predicted_error",
    "predicted_sigma",
    "report",
    "sweep",
    "topk",
    "verify",
]  # fmt: skip


class _Loading:
    """Whether a thread imports the interface, and whether one did so in the parent when this process was forked."""

    now = torn = False


def _forked() -> None:
    _Loading.torn = _Loading.now


os.register_at_fork(after_in_child=_forked)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'nqz' has no attribute {name!r}")
    from nqz import _version
    from nqz.ground import errors

    # NumPy and what needs it are imported only when they are used
    value: object = (
        _interface(errors.NqzError, name)
        if name in _FUNCTIONS + _TYPES
        else getattr(_version if name == "__version__" else errors, name)
    )
    globals()[name] = value
    return value


def _interface(error: type[Exception], name: str) -> object:
    if _Loading.torn:  # the modules that were being imported stay locked here, for ever
        raise error(
            "this process was forked while another thread was loading nqz; import nqz.api before threads are started"
        )
    _Loading.now = True
    try:
        from nqz import api
    finally:
        _Loading.now = False
    value: object = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
