"""The product AᵀB straight from containers, without rotating back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from nqz.commands.factors import Coded, Factor, Plain
from nqz.commands.pairs import Pair
from nqz.commands.sets.factor import Parted, check_sets, set_product
from nqz.commands.sets.whole import Rebuilt, check_rebuilt, spread
from nqz.format.records import Record, is_optional
from nqz.ground.errors import OperandError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.wording import counted
from nqz.matrix import Matrix
from nqz.product.deviation import Deviations, InfiniteError, Put
from nqz.product.operand import Operand, Watch
from nqz.product.product import Measured, NotFiniteError, Product
from nqz.stages.estimate import ESTIMATORS

PROMISED = 0.03
"""How far expected errors are off at most in the mean over seeds, unless more is said."""


@dataclass(frozen=True)
class MatmulOptions:
    """What the user asks of a product.

    Attributes
    ----------
    estimator : {"auto", "mmse", "unbiased"}
    dtype : {"float32", "float64"}, optional
        Type of the product, by default the result type of the operands, at least float32.
    """

    estimator: str = "auto"
    dtype: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A product ready to be computed.

    Attributes
    ----------
    name : str
        What the pair is called.
    shape : tuple of int
    dtype : str
    product : Product
    measured : Measured
    notes : list of str
        What the user should know about this product, beside `same`.
    rates : tuple of float
        Bits an entry of each side; that of a plain side is its own storage.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    product: Product
    measured: Measured
    notes: list[str]
    rates: tuple[float, float]

    @property
    def same(self) -> bool:
        """Whether both sides are one matrix, so that its diagonal comes from the norms."""
        return self.product.same

    @property
    def error(self) -> float:
        """Expected ‖AᵀB - Ĉ‖² / (‖Ā‖²‖B̄‖²/n)."""
        return self.measured.error

    @property
    def band(self) -> tuple[float, float]:
        """Between what that is likely to be, in the mean over seeds: what is promised, or more where little tells."""
        low, high = self.measured.band
        return min(low, self.error * (1.0 - PROMISED)), max(high, self.error * (1.0 + PROMISED))


def check(pair: Pair, options: MatmulOptions) -> bool:
    """Check that two matrices fit together, from their headers; return whether they are one and the same.

    Raises
    ------
    OperandError
        Different lengths, different rotations, or a shared dither that is not that of one and
        the same matrix.
    UnsupportedError
        A plain side is not of floating-point numbers.
    """
    if options.estimator not in ESTIMATORS:
        raise UsageError(f"estimator {options.estimator!r}: one of {', '.join(ESTIMATORS)}")
    a, b = pair.a, pair.b
    if isinstance(a, Parted) and isinstance(b, Parted):
        return check_sets(a, b, _biased)
    assert not (isinstance(a, Parted) or isinstance(b, Parted))  # both are or none is, see `pair_up`
    if a.length != b.length:
        raise OperandError(
            f"{a.where} and {b.where}: vectors of {a.length} and {b.length} entries cannot be multiplied; "
            + _other_axis(a, b)
            + _split(a, b)
        )
    if isinstance(a, Rebuilt) or isinstance(b, Rebuilt):
        check_rebuilt(a, b, _biased)
        return False
    if not (isinstance(a, Coded) and isinstance(b, Coded)):
        return False
    names = [x.matrix.parameters.transform.name for x in (a, b)]
    if names[0] != names[1]:
        raise OperandError(
            f"{a.where} and {b.where}: encoded with different transforms ({' and '.join(names)}), so their products "
            "cannot be told from their points"
        )
    seed_a, seed_b = a.matrix.parameters.rotation_seed, b.matrix.parameters.rotation_seed
    if seed_a != seed_b:
        raise OperandError(
            f"{a.where} and {b.where}: encoded with different seeds ({seed_a} and {seed_b}), so their "
            "rotations differ; encode both with the same --seed"
        )
    return _is_same(a, b)


def _other_axis(a: Factor, b: Factor) -> str:
    """What to do about contracted axes of different lengths."""
    options = ["--axis of encode"]
    for side, partner, option in ((a, b, "--axis-a"), (b, a, "--axis-b")):
        other, plain = 1 - side.axis, isinstance(side, Plain)
        if len(side.shape) > 1 and _length(side.shape, other) == partner.length:
            how = f"with {option} {other}, or transpose the array" if plain else f"with encode --axis {other}"
            return f"take {side.where} along its other axis, {how}"
        if plain:
            options.insert(0, option)
    return f"the contracted axes must have the same length (see {' and '.join(options)})"


def _split(a: Factor, b: Factor) -> str:
    """What to do about a tensor whose slices are matrices, if one of two is such."""
    for side in (a, b):
        name = side.tensor.name if isinstance(side, Plain) else ""
        name = side.matrix.name if isinstance(side, Coded) else name
        is_slice = isinstance(side, Coded) and side.matrix.info.slice is not None
        if len(side.shape) > 2 and name and not is_slice:
            return (
                f"; or encode {name!r}, which has {len(side.shape)} dimensions, with --rule {name + '=split'!r} "
                f"(or --axis auto, if it has experts) to multiply one of its matrices, {name + '[0]'!r} and so on"
            )
    return ""


def _length(shape: tuple[int, ...], axis: int) -> int:
    """Entries of a vector along an axis."""
    return math.prod(shape[:-1] if axis == 0 else shape[1:])


def _ambiguous(a: Factor, b: Factor) -> list[str]:
    """A note on matrices that fit together along either axis, and are not taken along the same one."""
    square = len(a.shape) == len(b.shape) == 2 and len({*a.shape, *b.shape}) == 1
    if not square or a.axis == b.axis:
        return []
    rows, columns = (a, b) if a.axis else (b, a)
    size = "x".join(map(str, a.shape))
    return [
        f"the vectors are the rows of {rows.where} and the columns of {columns.where}; both are {size}, so either fits"
    ]


def outline(pair: Pair, options: MatmulOptions) -> tuple[tuple[int, ...], str]:
    """Shape and type of a product; the axis of a vector is dropped, as NumPy does."""
    sides = pair.a, pair.b
    shape = tuple(side.columns for side in sides if len(side.shape) != 1)
    wide = any(side.dtype == "float64" for side in sides)
    return shape, options.dtype or ("float64" if wide else "float32")


def prepare(
    pair: Pair, options: MatmulOptions, pool: Workers, progress: Callable[[float], object] | None = None
) -> Prepared:
    """Check two matrices, decode what the estimator needs, and predict the error.

    Parameters
    ----------
    pair : Pair
    options : MatmulOptions
    pool : Workers
    progress : callable, optional
        Called as progress(share of the points decoded), from several threads but one at a time, and no more once all
        are.

    Raises
    ------
    OperandError, UnsupportedError
        See `check`.
    """
    prepared = assemble(pair, options, pool)
    operands = [prepared.product.a, prepared.product.b]
    measured = prepared.product.measure(pool, None if progress is None else Watch(operands, progress))
    notes = prepared.notes
    if measured.guessed > 0.01:
        notes = [
            *notes,
            f"{measured.guessed:.0%} of the expected error is an estimate of what the vectors not coded leave out",
        ]
    return replace(prepared, measured=measured, notes=notes)


def assemble(pair: Pair, options: MatmulOptions, pool: Workers) -> Prepared:
    """Check two matrices, and read their norms and means, but no points: what is measured is not known yet.

    Raises
    ------
    OperandError, UnsupportedError
        See `check`.
    """
    same = check(pair, options)
    if isinstance(pair.a, Parted) and isinstance(pair.b, Parted):
        product = set_product(pair.a, pair.b, options.estimator, same, pool)
        notes = _dropped(product.a) + ([] if same else _dropped(product.b))
        rates = pair.a.rate, pair.b.rate
        return Prepared(pair.name, *outline(pair, options), product, Measured(), notes, rates)
    assert not (isinstance(pair.a, Parted) or isinstance(pair.b, Parted))
    if same:
        _check_copy(pair, pool)
    notes = _ambiguous(pair.a, pair.b)
    left, right = spread(pair.a.operand(pair.b, pool), pair.b.operand(pair.a, pool), (pair.a, pair.b), pool)
    notes += _dropped(left) + ([] if same else _dropped(right))
    shape, dtype = outline(pair, options)
    product = Product(left, right, options.estimator, same)
    if pool.fleet is not None:
        from nqz.commands.elsewhere.multiply import ProductElsewhere

        product = ProductElsewhere.of(product, (pair.a, pair.b), pool.fleet)
    return Prepared(pair.name, shape, dtype, product, Measured(), notes, (pair.a.rate, pair.b.rate))


def tiles(
    prepared: Prepared, put: Put, pool: Workers, deviations: Deviations | None = None
) -> Iterator[tuple[float, Any]]:
    """The product in pieces, in the type that was asked for, and its standard deviations: see `Product.tiles`."""
    with finite(prepared):
        yield from prepared.product.tiles(prepared.measured, prepared.dtype, put, pool, deviations)


@contextmanager
def finite(prepared: Prepared) -> Iterator[None]:
    """Say what to do where something overflows."""
    product, dtype = prepared.product, prepared.dtype
    try:
        yield
    except (NotFiniteError, InfiniteError) as error:
        advice = "use --dtype float64" if dtype == "float32" and error.wide else "scale the inputs"
        what = "" if isinstance(error, NotFiniteError) else "the standard deviation of "
        raise OperandError(
            f"product of {product.a.name} and {product.b.name}: {what}entry [{error.row}, {error.column}] overflows "
            f"{dtype}; {advice}"
        ) from None


def _is_same(a: Coded, b: Coded) -> bool:
    if a.matrix.parameters.dither_key != b.matrix.parameters.dither_key:
        return False
    if a.matrix.header == b.matrix.header and _norms_agree(a, b):
        return True
    raise _biased(a, b)


def _biased(a: Factor | Parted, b: Factor | Parted) -> OperandError:
    return OperandError(
        f"{a.where} and {b.where}: two matrices with the same dither, whose product would be biased; "
        "encode one of them again"
    )


def _check_copy(pair: Pair, pool: Workers) -> None:
    """Check that two copies of a matrix are of the same records: the first may be all that is decoded."""
    assert isinstance(pair.a, Coded) and isinstance(pair.b, Coded)
    a, b = (side.matrix for side in (pair.a, pair.b))
    if a.reader is b.reader:
        return

    def equal(records: tuple[Record | None, Record | None]) -> bool:
        return None not in records and a.reader.read(records[0]) == b.reader.read(records[1])  # type: ignore[arg-type]

    if not all(pool.map(equal, zip_longest(_critical(a), _critical(b)))):
        raise _biased(pair.a, pair.b)


def _critical(matrix: Matrix) -> Iterator[Record]:
    """The records of a matrix that must not be ignored."""
    records = map(matrix.reader.record, matrix.reader.span(matrix.index))
    return (record for record in records if not is_optional(record.type))


def _norms_agree(a: Coded, b: Coded) -> bool:
    return all(
        np.array_equal(x.codes, y.codes) for x, y in zip(a.matrix.panels, b.matrix.panels, strict=True)
    )


def _dropped(operand: Operand) -> list[str]:
    count = operand.side.dropped_columns()
    return (
        [
            f"{operand.name}: {count} of {counted(operand.columns, 'vector')} too quiet to be coded, taken for zero"
        ]
        if count
        else []
    )
