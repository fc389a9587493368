"""The product AᵀB straight from containers, without rotating back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nqz.commands.operands import coded_operand, plain_operand
from nqz.commands.pairs import Pair
from nqz.files.sink import MatrixSink, TensorSpec
from nqz.ground.arithmetic import pieces
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.threads import SMALL, Workers
from nqz.matrix.coded import CodedMatrix
from nqz.product.operand import Operand, watched
from nqz.product.product import NotFiniteError, Product
from nqz.stages.estimate import ESTIMATORS


@dataclass(frozen=True)
class MatmulOptions:
    """What the user asks of a product.

    Attributes
    ----------
    estimator : {"auto", "mmse", "unbiased"}
    dtype : {"float32", "float64"}, optional
        Type of the product, by default the result type of the operands, at least float32.
    tensor_a, tensor_b : str, optional
        Which tensor of each side.
    axis_a, axis_b : int
        Axis of the vectors of a side that is not compressed.
    """

    estimator: str = "auto"
    dtype: str | None = None
    tensor_a: str | None = None
    tensor_b: str | None = None
    axis_a: int = 0
    axis_b: int = 0


@dataclass
class Plan:
    """A product ready to be computed.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    product : Product
    notes : list of str
        What the user should know about this product.
    rates : tuple of float
        Bits an entry of each side; that of a plain side is its own storage.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    product: Product
    notes: list[str]
    rates: tuple[float, float]

    @property
    def error(self) -> float:
        """Expected ‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n)."""
        return self.product.error


def check(pair: Pair, options: MatmulOptions) -> bool:
    """Check that two matrices fit together, from their headers; return whether they are one and the same.

    Raises
    ------
    OperandError
        Different lengths, different rotations, only one side centered, or a shared dither that is not that of one and the
        same matrix.
    UnsupportedError
        A plain side is not of floating-point numbers.
    """
    if options.estimator not in ESTIMATORS:
        raise UsageError(f"estimator {options.estimator!r}: one of {', '.join(ESTIMATORS)}")
    a, b = pair.a, pair.b
    _check_length(pair, _length(a, options.axis_a, pair.file_a), _length(b, options.axis_b, pair.file_b))
    if not (isinstance(a, CodedMatrix) and isinstance(b, CodedMatrix)):
        return False
    seed_a, seed_b = a.parameters.rotation_seed, b.parameters.rotation_seed
    if seed_a != seed_b:
        raise OperandError(
            f"{pair.file_a} and {pair.file_b}: encoded with different seeds ({seed_a} and {seed_b}), so their "
            "rotations differ; encode both with the same --seed"
        )
    if a.centered != b.centered:
        plain = pair.file_b if a.centered else pair.file_a
        raise OperandError(
            f"{pair.file_a} and {pair.file_b}: only {plain} was encoded with --no-center, and what it adds to the product by "
            "the means of the other is not known; encode both alike"
        )
    return _is_same(a, b, pair)


def outline(pair: Pair, options: MatmulOptions) -> tuple[tuple[int, ...], str]:
    """Shape and type of a product; the axis of a vector is dropped, as NumPy does."""
    sides = ((pair.a, options.axis_a), (pair.b, options.axis_b))
    shape = tuple(_columns(side, axis) for side, axis in sides if _rank(side) != 1)
    return shape, options.dtype or _result_type(pair.a, pair.b)


def prepare(pair: Pair, options: MatmulOptions, pool: Workers, progress: Callable | None = None) -> Plan:
    """Check two matrices, decode what the estimator needs, and predict the error.

    Parameters
    ----------
    pair : Pair
    options : MatmulOptions
    pool : Workers
    progress : callable, optional
        Called as progress(share of the points decoded), from several threads but one at a time, and no more once all are.

    Raises
    ------
    OperandError, UnsupportedError
        See `check`.
    """
    same = check(pair, options)
    notes = ["both sides are the same matrix: its diagonal comes from the norms"] if same else []
    left, right = _operand(pair, pool, options, 0), _operand(pair, pool, options, 1)
    notes += _dropped(left) + ([] if same else _dropped(right))
    if progress is not None:
        left, right = watched([left, right], progress)
    shape, dtype = outline(pair, options)
    product = Product(left, right, options.estimator, same, pool.map)
    if product.guessed > 0.01:
        notes.append(
            f"{product.guessed:.0%} of the expected error is an estimate of what the vectors not coded leave out"
        )
    return Plan(pair.name, shape, dtype, product, notes, (_rate(pair.a), _rate(pair.b)))


def multiply(
    pairs: list[Pair],
    access,
    kind: str,
    options: MatmulOptions,
    pool: Workers,
    progress: Callable | None = None,
) -> dict:
    """Compute products and write them, small ones side by side.

    Parameters
    ----------
    pairs : list of Pair
    access
        Where the file is written.
    kind : str
        A key of `SOURCES`.
    options : MatmulOptions
    pool : Workers
    progress : callable, optional
        Called as progress(name, share of the work done): half of it is what `prepare` does.

    Returns
    -------
    dict
        ``shapes``, ``rates`` (of both sides) and ``errors`` (expected) of the products; ``notes``: list of str.

    Raises
    ------
    OperandError, UnsupportedError
        See `check`; or an entry does not fit the type of the product.
    """
    for pair in pairs:
        check(pair, options)
    outlines = [outline(pair, options) for pair in pairs]
    names = ["" if SOURCES[kind].alone else pair.name or "product" for pair in pairs]
    sink = MatrixSink(access, kind, [TensorSpec(name, *outlined) for name, outlined in zip(names, outlines)])

    def work(index, inner):
        pair, prepared = pairs[index], 0.0

        def decoded(share):
            nonlocal prepared
            prepared += share
            progress(pair.name, share / 2 / len(pairs))

        plan = prepare(pair, options, inner, None if progress is None else decoded)
        if progress is not None:
            progress(pair.name, (1.0 - prepared) / 2 / len(pairs))
        columns, size = plan.product.b.columns, np.dtype(plan.dtype).itemsize

        def put(i, j, tile):
            if tile.shape[1] == columns:
                sink.write_bytes(index, i * columns * size, tile)
                return
            for row in tile:
                sink.write_bytes(index, (i * columns + j) * size, row)
                i += 1

        for share, _ in tiles(plan, put):
            if progress is not None:
                progress(pair.name, share / 2 / len(pairs))
        return plan.rates, plan.error, plan.notes

    report: dict = {"shapes": [shape for shape, _ in outlines], "rates": [], "errors": [], "notes": []}
    small = [
        max(pair.a.entries, pair.b.entries, math.prod(shape)) <= SMALL
        for pair, (shape, _) in zip(pairs, outlines)
    ]
    for rates, error, notes in pool.each(work, range(len(pairs)), small.__getitem__):
        report["rates"].append(rates)
        report["errors"].append(error)
        report["notes"] += notes
    return report


def tiles(plan: Plan, put: Callable) -> Iterator[tuple[float, Any]]:
    """The product in pieces, in the plan's dtype: see `Product.tiles`."""
    try:
        yield from plan.product.tiles(plan.dtype, put)
    except NotFiniteError as error:
        advice = "use --dtype float64" if plan.dtype == "float32" and error.wide else "scale the inputs"
        raise OperandError(
            f"product of {plan.product.a.name} and {plan.product.b.name}: entry [{error.row}, {error.column}] overflows "
            f"{plan.dtype}; {advice}"
        ) from None


def _check_length(pair: Pair, n_a: int, n_b: int) -> None:
    if n_a != n_b:
        raise OperandError(
            f"{pair.file_a} and {pair.file_b}: vectors of {n_a} and {n_b} entries cannot be multiplied; the contracted "
            "axes must have the same length (see --axis of encode)"
        )


def _operand(pair: Pair, pool: Workers, options: MatmulOptions, which: int) -> Operand:
    side, other = (pair.a, pair.b) if which == 0 else (pair.b, pair.a)
    if isinstance(side, CodedMatrix):
        return coded_operand(side)
    file, axis = (pair.file_b, options.axis_b) if which else (pair.file_a, options.axis_a)
    return plain_operand(file, side, _axis(side, axis), other.parameters.rotation_seed, other.centered, pool)


def _axis(tensor, axis: int) -> int:
    return 0 if len(tensor.shape) == 1 else axis


def _length(side, axis: int, file: str) -> int:
    if isinstance(side, CodedMatrix):
        return side.parameters.n
    if not is_matrix_dtype(side.dtype):
        raise UnsupportedError(f"{file}: dtype {side.dtype}; a matrix of floating-point numbers is needed")
    return side.vectors(_axis(side, axis)).length


def _columns(side, axis: int) -> int:
    return side.parameters.columns if isinstance(side, CodedMatrix) else side.vectors(_axis(side, axis)).count


def _is_same(a: CodedMatrix, b: CodedMatrix, pair: Pair) -> bool:
    if a.parameters.dither_key != b.parameters.dither_key:
        return False
    if a.header == b.header and np.array_equal(a.codes, b.codes):
        return True
    raise OperandError(
        f"{pair.file_a} and {pair.file_b}: two matrices with the same dither, whose product would be biased; "
        "encode one of them again"
    )


def _dropped(operand: Operand) -> list[str]:
    count = sum(
        int((np.isinf(operand.side.noise[c]) & (operand.energies(c) > 0)).sum())
        for c in pieces(operand.columns)
    )
    return (
        [f"{operand.name}: {count} of {operand.columns} vectors too quiet to be coded count as zero"]
        if count
        else []
    )


def _rank(side) -> int:
    return len(side.info.shape if isinstance(side, CodedMatrix) else side.shape)


def _result_type(a, b) -> str:
    wide = any((x.info.dtype if isinstance(x, CodedMatrix) else x.dtype) == "float64" for x in (a, b))
    return "float64" if wide else "float32"


def _rate(side) -> float:
    if isinstance(side, CodedMatrix):
        return side.rate
    return 8.0 * side.nbytes / max(1, int(np.prod(side.shape, dtype=object)))
