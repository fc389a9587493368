"""The Python interface: encode arrays, open containers, decode, multiply, and say what error to expect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

# The command line loads these four when it needs them. Here nothing may be imported later, while threads are at work:
# a child forked at that moment would find the module locked, for ever.
import concurrent.futures.thread  # noqa: F401  isort: skip
import msgpack  # noqa: F401
import numpy as np
import threadpoolctl  # noqa: F401
import zstandard  # noqa: F401

from nqz.api.arguments import as_target, canonical_name, flag, float_type, real, texts, whole, word
from nqz.api.objects import CompressedMatrix, Container, ExactTensor, open
from nqz.commands.encode import encode as encode_source
from nqz.commands.matmul import MatmulOptions, Prepared, prepare, tiles
from nqz.commands.opening import open_file
from nqz.commands.options import EncodeOptions
from nqz.commands.pairs import pair_up
from nqz.files.access import MemoryAccess
from nqz.files.output import Output
from nqz.files.source import array_source
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.threads import Workers, workers
from nqz.ground.wording import counted
from nqz.stages.lattices import DEFAULT


def encode(
    array: Any,
    to: Any = None,
    *,
    rate: float | None = None,
    error: float | None = None,
    max_bytes: int | None = None,
    seed: int = 0,
    axis: int = 0,
    center: bool = True,
    lattice: str = DEFAULT,
    states: int | None = None,
    coding: str = "entropy",
    allocate: str | None = None,
    kappa: float | None = None,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
    force: bool = False,
) -> bytes | None:
    """Compress a matrix.

    Parameters
    ----------
    array : array_like of float16, float32 or float64 (or bfloat16 of ml_dtypes)
        Vectors lie along `axis`; one dimension is one vector.
    to : path or binary file object, optional
        Where to write the container; by default it is returned.
    rate : float, optional
        Bits per entry, everything in the container counted. One of `rate`, `error` and `max_bytes` is needed.
    error : float, optional
        The smallest container whose predicted error of a product with an unrelated matrix, coded alike, is at most
        this, relative to ‖Ā‖²‖B̄‖²/n.
    max_bytes : int, optional
        The best container of at most so many bytes.
    seed : int
        Sets rotation and dither. Both operands of a product need the same.
    axis : {0, 1}
        The contracted axis: 0 where columns are the vectors, 1 for rows.
    center : bool
        Whether the mean of every vector is kept apart.
    lattice : {"conv", "leech", "e8", "d4", "z"}
        See `docs/theory.md`.
    states : int, optional
        States of the convolutional code of "conv", a power of two from 4 to 4096.
    coding : {"entropy", "voronoi"}
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative error for every vector.
    kappa : float, optional
        Share of the rotated coordinates to keep; chosen from the rate by default.
    metadata : mapping of str to str, optional
        Text to keep with the matrix: `Container.metadata`.
    threads : int, optional
        Worker threads; the processors available by default.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    bytes or None
        The container, unless `to` is given.

    Raises
    ------
    UsageError
        A parameter makes no sense.
    UnsupportedError
        The type of the array is not supported, or an entry is not finite.
    OutputError, OutputExistsError
        The file cannot be written, or exists.
    """
    options = EncodeOptions(
        rate=real(rate, "rate"), error=real(error, "error"),
        max_bytes=whole(max_bytes, "max_bytes", optional=True), seed=whole(seed, "seed"),
        axis=whole(axis, "axis"), center=flag(center, "center"), lattice=word(lattice, "lattice"),
        states=whole(states, "states", optional=True), coding=word(coding, "coding"),
        allocate=word(allocate, "allocate", optional=True), kappa=real(kappa, "kappa"),
        metadata=texts(metadata, "metadata"),
    )  # fmt: skip
    options.check()
    with array_source(array) as source, workers(threads) as pool:
        if to is None:
            data = bytearray()
            report = encode_source(source, MemoryAccess(data), options, pool)
            return bytes(memoryview(data)[: report["file_bytes"]])
        with Output(to, force=flag(force, "force")) as output:
            report = encode_source(source, output.access, options, pool)
            output.commit(report["file_bytes"])
    return None


def matmul(
    a: Any, b: Any, *, estimator: str = "auto", dtype: Any = None, threads: int | None = None
) -> np.ndarray:
    """Estimate AᵀB from compressed matrices.

    Parameters
    ----------
    a, b : CompressedMatrix, Container, bytes, path or array_like
        At least one side compressed. The vectors of an array lie along its axis 0.
    estimator : {"auto", "mmse", "unbiased"}
        The least error expected from what the operands show; the least for unrelated operands; no bias.
    dtype : dtype-like, optional
        float32 or float64; the result type of the operands by default, at least float32.
    threads : int, optional

    Returns
    -------
    ndarray, shape (a, b)
        A vector's axis is dropped, as NumPy does.

    Raises
    ------
    OperandError
        The operands do not fit together, or an entry overflows.
    """
    with ExitStack() as stack, workers(threads) as pool:
        prepared = _prepared(a, b, estimator, dtype, stack, pool)
        out = np.empty((prepared.product.a.columns, prepared.product.b.columns), prepared.dtype)

        def put(i: int, j: int, tile: np.ndarray) -> None:
            out[i : i + tile.shape[0], j : j + tile.shape[1]] = tile

        for _ in tiles(prepared, put, pool):
            pass
        return out.reshape(prepared.shape)


def predicted_error(a: Any, b: Any, estimator: str = "auto", *, threads: int | None = None) -> float:
    """Expected error of ``matmul(a, b, estimator=estimator)``, from the compressed matrices alone.

    Returns
    -------
    float
        E‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n).

    Raises
    ------
    OperandError
        The operands do not fit together.
    """
    with ExitStack() as stack, workers(threads) as pool:
        return float(_prepared(a, b, estimator, None, stack, pool).error)


def _prepared(a: Any, b: Any, estimator: str, dtype: Any, stack: ExitStack, pool: Workers) -> Prepared:
    name = None if dtype is None else canonical_name(float_type(dtype))
    if name not in (None, "float32", "float64"):
        raise UsageError(f"dtype {name}: a product is float32 or float64")
    sides = [_side(a, stack), _side(b, stack)]
    names = [side.name if isinstance(side, _One) else None for side in sides]
    files = [side.content if isinstance(side, _One) else side for side in sides]
    pairs = pair_up(*files, *names)
    if len(pairs) != 1:
        raise OperandError(
            f"{files[0].name} and {files[1].name}: {counted(len(pairs), 'pair')} of matrices; choose one of each"
        )
    return prepare(pairs[0], MatmulOptions(word(estimator, "estimator"), name), pool)


class _One:
    """A tensor chosen from a file, by name."""

    def __init__(self, content: Any, name: str):
        self.content, self.name = content, name


def _side(operand: Any, stack: ExitStack) -> Any:
    if isinstance(operand, CompressedMatrix):
        return _One(operand.reader, operand.name)
    if isinstance(operand, Container):
        return _One(operand.reader, operand.matrix.name)
    if isinstance(operand, ExactTensor):
        raise OperandError(
            f"{operand.reader.name}: tensor {operand.name!r} is not a matrix; it is carried exactly"
        )
    if (
        isinstance(operand, (str, bytes, bytearray, memoryview))
        or hasattr(operand, "__fspath__")
        or hasattr(operand, "read")
    ):
        return stack.enter_context(open_file(as_target(operand))).content
    source = stack.enter_context(array_source(operand))
    if not is_matrix_dtype(source.tensors[0].dtype):
        raise UnsupportedError(
            f"an array of dtype {source.tensors[0].dtype}; convert it to floating point first"
        )
    return source


__all__ = ["CompressedMatrix", "Container", "ExactTensor", "encode", "matmul", "open", "predicted_error"]
