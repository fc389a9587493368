"""Products of compressed matrices, for Python: `nqz.matmul`, and ``@``."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from nqz.api.arguments import as_target, canonical_name, float_type, is_file, word
from nqz.api.interchange import Plain, as_plain
from nqz.api.wording import in_python, speaks_python
from nqz.commands.matmul import MatmulOptions, Prepared, assemble, finite, prepare, tiles
from nqz.commands.multiply import coarse, told
from nqz.commands.opening import open_collection
from nqz.commands.pairs import Pair, pair_up
from nqz.files.source import array_source
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.threads import workers
from nqz.ground.wording import counted


class Operand(ABC):
    """What may be a side of a product as it is."""

    @abstractmethod
    def factor(self) -> tuple[Any, str]:
        """Open container, and name of the tensor; `OperandError` if that is no matrix."""


@overload
def matmul(
    a: Any,
    b: Any,
    *,
    estimator: str = ...,
    dtype: Any = ...,
    sigma: Literal[False] = ...,
    threads: int | None = ...,
    executor: Any = ...,
) -> npt.NDArray[Any]: ...
@overload
def matmul(
    a: Any,
    b: Any,
    *,
    estimator: str = ...,
    dtype: Any = ...,
    sigma: Literal[True],
    threads: int | None = ...,
    executor: Any = ...,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
@overload
def matmul(
    a: Any,
    b: Any,
    *,
    estimator: str = ...,
    dtype: Any = ...,
    sigma: bool,
    threads: int | None = ...,
    executor: Any = ...,
) -> npt.NDArray[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]: ...
@speaks_python
def matmul(
    a: Any,
    b: Any,
    *,
    estimator: str = "auto",
    dtype: Any = None,
    sigma: bool = False,
    threads: int | None = None,
    executor: Any = None,
) -> npt.NDArray[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Estimate AᵀB from compressed matrices.

    Parameters
    ----------
    a, b : CompressedMatrix, Container, bytes, path, ExactTensor or array_like
        At least one side compressed. The vectors of an array, or of an exact tensor, lie along its axis 0, those of a
        compressed matrix along its `axis`, whether it is transposed or not.
    estimator : {"auto", "mmse", "unbiased"}
        The least error expected from what the operands show; the least for unrelated operands; no bias.
    dtype : dtype-like, optional
        float32 or float64; the result type of the operands by default, at least float32.
    sigma : bool
        Give the standard deviation of every entry, too: of its error, with "unbiased"; with the others, which shrink
        what is uncertain, the root mean square error of entries of columns as loud. NaN for entries of columns too
        quiet to be coded. Errors of different entries are not independent.
    threads : int, optional
        With `executor` those of each of its jobs, by default 1.
    executor : concurrent.futures.Executor, optional
        Whose workers, processes here or elsewhere, compute products of more columns than are stored together: they
        read `a` and `b`, opened by paths that all of them see. The bytes are the same. See `docs/scaling.md`.

    Returns
    -------
    ndarray, shape (a, b), or two of them
        A vector's axis is dropped, as NumPy does.

    Raises
    ------
    OperandError
        The operands do not fit together, or an entry overflows.
    """
    with ExitStack() as stack, workers(threads, executor=executor) as pool:
        prepared = prepare(*_chosen(a, b, estimator, dtype, stack), pool)
        out, deviations, bars = _Whole(prepared), None, None
        if sigma:
            bars = _Whole(prepared)
            deviations = prepared.product.deviations(prepared.measured, bars.put)
        for _ in tiles(prepared, out.put, pool, deviations):
            pass
        found = out.array.reshape(prepared.shape)
        if bars is None or deviations is None:
            return found
        for text in coarse([(prepared.shape, prepared.dtype)], [told(prepared, deviations)]):
            warnings.warn(in_python(text), stacklevel=3)
        return found, bars.array.reshape(prepared.shape)


class _Whole:
    """A product whose pieces are put together."""

    def __init__(self, prepared: Prepared):
        self.array = np.empty((prepared.product.a.columns, prepared.product.b.columns), prepared.dtype)

    def put(self, i: int, j: int, tile: npt.NDArray[Any]) -> None:
        self.array[i : i + tile.shape[0], j : j + tile.shape[1]] = tile


@speaks_python
def predicted_sigma(
    a: Any, b: Any, estimator: str = "auto", *, dtype: Any = None, threads: int | None = None
) -> npt.NDArray[Any]:
    """Standard deviations of the entries of ``matmul(a, b, estimator=estimator)``, without the product.

    They are those of ``matmul(…, sigma=True)`` less what rounding the product to its type adds. With "unbiased" norms
    and means are all that is read, unless coordinates were dropped (kappa below 1) or the coding makes errors depend on
    the product: then, and as far as "auto" and "mmse" need to know what energy the product has, it is computed, and
    not kept.

    Parameters
    ----------
    a, b, estimator, dtype, threads
        See `matmul`; `dtype` is that of what is returned.

    Returns
    -------
    ndarray, shape (vectors of a, vectors of b)
        In the units of the product; NaN where a vector is too quiet to be coded.

    Raises
    ------
    OperandError
        The operands do not fit together, or a standard deviation overflows.
    """
    with ExitStack() as stack, workers(threads) as pool:
        pair, options = _chosen(a, b, estimator, dtype, stack)
        prepared = assemble(pair, options, pool)
        if prepared.product.needs_measuring:
            prepared = prepare(pair, options, pool)
        out = _Whole(prepared)
        with finite(prepared):
            product, measured = prepared.product, prepared.measured
            product.deviate(measured, prepared.dtype, product.deviations(measured, out.put), pool)
        return out.array.reshape(prepared.shape)


@overload
def predicted_error(
    a: Any, b: Any, estimator: str = ..., *, band: Literal[False] = ..., threads: int | None = ...
) -> float: ...
@overload
def predicted_error(
    a: Any, b: Any, estimator: str = ..., *, band: bool, threads: int | None = ...
) -> float | tuple[float, float, float]: ...
@speaks_python
def predicted_error(
    a: Any, b: Any, estimator: str = "auto", *, band: bool = False, threads: int | None = None
) -> float | tuple[float, float, float]:
    """Expected error of ``matmul(a, b, estimator=estimator)``, from the compressed matrices alone.

    Parameters
    ----------
    a, b, estimator, threads
        See `matmul`.
    band : bool
        Give, too, between what it is likely to be in the mean over seeds: within 3 % of it, or further apart where
        little tells what energy the product has.

    Returns
    -------
    float, or three of them
        E‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n); with `band` also the least and the greatest that is likely.

    Raises
    ------
    OperandError
        The operands do not fit together.
    """
    with ExitStack() as stack, workers(threads) as pool:
        prepared = prepare(*_chosen(a, b, estimator, None, stack), pool)
        error, (low, high) = float(prepared.error), prepared.band
        return (error, float(low), float(high)) if band else error


@speaks_python
def matmul_operator(left: Any, right: Any) -> Any:
    """What ``left @ right`` is, one of them compressed with its vectors along the axis that is summed over.

    Raises
    ------
    OperandError
        They lie along the other axis, or the lengths differ.
    """
    lead: tuple[int, ...] | None = None
    if _compressed(left):
        _check_axis(left, -1)
    else:
        left = as_plain(left)
        array = left.array
        if array.ndim > 2:  # a stack of matrices, as one
            lead = array.shape[:-1]
            array = array.reshape(-1, array.shape[-1])
        left = Plain(array.T, left.dtype)
    if _compressed(right):
        _check_axis(right, 0)
    else:
        right = as_plain(right)
        if right.array.ndim > 2:
            raise OperandError(
                f"@ of a compressed matrix and an array of {right.array.ndim} dimensions: at most 2 are possible"
            )
    found = matmul(left, right)
    return (found if lead is None else found.reshape(lead + found.shape[1:]))[()]


def _compressed(side: Any) -> bool:
    """Whether a side of ``@`` is a compressed matrix; what is carried exactly is an array like any other."""
    if not isinstance(side, Operand):
        return False
    if not hasattr(side, "shape"):
        raise OperandError(f"{side!r} has no @: choose one of its matrices by name")
    return hasattr(side, "axis")


def _check_axis(side: Any, place: int) -> None:
    """Raise `OperandError` unless a compressed matrix has its vectors along its first axis (0), or its last (-1)."""
    reader, name = side.factor()
    where = f"{reader.name}: tensor {name!r}" if name else reader.name
    if side.ndim > 2:
        raise OperandError(
            f"{where}: has {side.ndim} dimensions; nqz.matmul takes it as a matrix, @ does not"
        )
    if side.axis != place % side.ndim:
        raise OperandError(
            f"{where}: @ would sum over axis {1 - side.axis}, and the vectors lie along axis {side.axis}; multiply its "
            f"transpose (.T), decode it (numpy.asarray), or encode it with axis={1 - side.stored_axis}"
        )


def _chosen(a: Any, b: Any, estimator: str, dtype: Any, stack: ExitStack) -> tuple[Pair, MatmulOptions]:
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
    return pairs[0], MatmulOptions(word(estimator, "estimator"), name)


class _One:
    """A tensor chosen from a file, by name."""

    def __init__(self, content: Any, name: str):
        self.content, self.name = content, name


def _side(operand: Any, stack: ExitStack) -> Any:
    if isinstance(operand, Operand):
        return _One(*operand.factor())
    if is_file(operand):
        return stack.enter_context(open_collection(as_target(operand), sets=True))
    plain = operand if isinstance(operand, Plain) else as_plain(operand)
    source = stack.enter_context(array_source(plain.array, dtype=plain.dtype))
    if not is_matrix_dtype(source.tensors[0].dtype):
        raise UnsupportedError(
            f"an array of dtype {source.tensors[0].dtype}; convert it to floating point first"
        )
    return source
