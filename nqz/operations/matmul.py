"""The product AᵀB straight from containers, without rotating back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nqz.codec.estimate import ESTIMATORS
from nqz.codec.product import Operand, Product
from nqz.container.reader import ContainerReader
from nqz.errors import OperandError, UnsupportedError, UsageError
from nqz.matrices.dtypes import is_matrix_dtype
from nqz.matrices.sink import MatrixSink, TensorSpec
from nqz.operations.coded import CodedMatrix
from nqz.operations.operands import coded_operand, plain_operand
from nqz.operations.threads import Workers


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


@dataclass(frozen=True)
class Pair:
    """One product to make: what it is called, its two sides (a CodedMatrix or a plain tensor), and their files."""

    name: str
    a: object
    b: object
    file_a: str
    file_b: str


def pair_up(a, b, options: MatmulOptions) -> list[Pair]:
    """Find the pairs of tensors to multiply.

    Parameters
    ----------
    a, b : ContainerReader or Source
        At least one of them a container.
    options : MatmulOptions

    Returns
    -------
    list of Pair
        One pair without a name where each side offers one tensor; else the pairs of equal name.

    Raises
    ------
    OperandError
        Neither side is compressed, or no two tensors go together.
    """
    if not isinstance(a, ContainerReader) and not isinstance(b, ContainerReader):
        raise OperandError(f"{a.name} and {b.name}: neither is a .nqz container; encode at least one side")
    left, right = _candidates(a, options.tensor_a), _candidates(b, options.tensor_b)
    if len(left) == 1 and len(right) == 1:
        names = [("", next(iter(left)), next(iter(right)))]
    elif options.tensor_a is not None or options.tensor_b is not None:
        names = [("", x, y) for x in left for y in right if len(left) == 1 or len(right) == 1]
        if len(names) != 1:
            raise UsageError(f"{a.name}, {b.name}: several tensors on one side; give both --tensor-a and --tensor-b")
    else:
        names = [(x, x, x) for x in left if x in right]
        if not names:
            raise OperandError(f"{a.name} and {b.name}: no matrices of equal name; choose with --tensor-a, --tensor-b")
    return [Pair(name, left[x](), right[y](), a.name, b.name) for name, x, y in names]


def _candidates(side, wanted: str | None) -> dict[str, Callable[[], object]]:
    if isinstance(side, ContainerReader):
        found = {
            info.name: (lambda i=i: CodedMatrix(side, i))
            for i, info in enumerate(side.manifest.tensors)
            if info.kind == "matrix"
        }
        known = [info.name for info in side.manifest.tensors]
    else:
        found = {
            t.name: (lambda t=t: t)
            for t in side.tensors
            if is_matrix_dtype(t.dtype) and t.shape and 0 not in t.shape and (len(t.shape) > 1 or side.kind == "npy")
        }
        known = [t.name for t in side.tensors]
    if wanted is not None:
        if wanted not in known:
            raise UsageError(f"{side.name}: no tensor is called {wanted!r}")
        if wanted not in found:
            raise OperandError(f"{side.name}: tensor {wanted!r} is not a matrix; it is carried exactly")
        return {wanted: found[wanted]}
    if not found:
        raise OperandError(f"{side.name}: holds no matrix to multiply")
    return found


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


def prepare(pair: Pair, options: MatmulOptions, pool: Workers) -> Plan:
    """Check that two matrices fit together, decode what the estimator needs, and predict the error.

    Raises
    ------
    OperandError
        Different lengths, different rotations, or a shared dither that is not that of one and the same matrix.
    """
    if options.estimator not in ESTIMATORS:
        raise UsageError(f"estimator {options.estimator!r}: one of {', '.join(ESTIMATORS)}")
    a, b = pair.a, pair.b
    coded_a, coded_b = isinstance(a, CodedMatrix), isinstance(b, CodedMatrix)
    notes: list[str] = []
    same = False
    if coded_a and coded_b:
        seed_a, seed_b = a.parameters.rotation_seed, b.parameters.rotation_seed
        _check_length(pair, a.parameters.n, b.parameters.n)
        if seed_a != seed_b:
            raise OperandError(
                f"{pair.file_a} and {pair.file_b}: encoded with different seeds ({seed_a} and {seed_b}), so their "
                "rotations differ; encode both with the same --seed"
            )
        same = _is_same(a, b, pair)
        if same:
            notes.append("both sides are the same matrix: its diagonal comes from the norms")
    left = coded_operand(a, pool) if coded_a else _plain(pair.file_a, a, options.axis_a, b, pool, pair)
    right = coded_operand(b, pool) if coded_b else _plain(pair.file_b, b, options.axis_b, a, pool, pair)
    notes += _dropped(left) + _dropped(right)
    dims = [1 if _rank(x) == 1 else 0 for x in (a, b)]
    shape = ((left.columns,) if not dims[0] else ()) + ((right.columns,) if not dims[1] else ())
    dtype = options.dtype or _result_type(a, b)
    product = Product(left, right, options.estimator, same)
    return Plan(pair.name, shape, dtype, product, notes, (_rate(a), _rate(b)))


def write(plans: list[Plan], access, kind: str) -> None:
    """Compute the products and write them.

    Raises
    ------
    OperandError
        An entry does not fit the type of the product.
    """
    named = kind == "safetensors"
    specs = [TensorSpec((plan.name or "product") if named else "", plan.shape, plan.dtype) for plan in plans]
    sink = MatrixSink(access, kind, specs)
    for index, plan in enumerate(plans):
        size = np.dtype(plan.dtype).itemsize
        for first, block in blocks(plan):
            sink.write_bytes(index, first * plan.product.b.columns * size, np.ascontiguousarray(block).tobytes())


def blocks(plan: Plan):
    """The product in blocks of rows: (first row, array of the plan's dtype)."""
    for first, block in plan.product.rows():
        with np.errstate(over="ignore", invalid="ignore"):
            out = block.astype(plan.dtype)
        if not np.isfinite(out).all():
            i, j = np.argwhere(~np.isfinite(out))[0]
            advice = "use --dtype float64" if plan.dtype == "float32" and np.isfinite(block[i, j]) else "scale the inputs"
            raise OperandError(
                f"product of {plan.product.a.name} and {plan.product.b.name}: entry [{first + i}, {j}] overflows "
                f"{plan.dtype}; {advice}"
            )
        yield first, out


def _check_length(pair: Pair, n_a: int, n_b: int) -> None:
    if n_a != n_b:
        raise OperandError(
            f"{pair.file_a} and {pair.file_b}: vectors of {n_a} and {n_b} entries cannot be multiplied; the contracted "
            "axes must have the same length (see --axis of encode)"
        )


def _plain(file: str, tensor, axis: int, other: CodedMatrix, pool, pair: Pair) -> Operand:
    axis = 0 if len(tensor.shape) == 1 else axis
    if not is_matrix_dtype(tensor.dtype):
        raise UnsupportedError(f"{file}: dtype {tensor.dtype}; a matrix of floating-point numbers is needed")
    lengths = [tensor.vectors(axis).length, other.parameters.n]
    if tensor is not pair.a:
        lengths.reverse()
    _check_length(pair, *lengths)
    return plain_operand(file, tensor, axis, other.parameters.rotation_seed, pool)


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
    silent = np.isinf(operand.side.noise) & (operand.energies() > 0)
    count = int(silent.sum())
    return [f"{operand.name}: {count} of {operand.columns} vectors too quiet to be coded count as zero"] if count else []


def _rank(side) -> int:
    return len(side.info.shape if isinstance(side, CodedMatrix) else side.shape)


def _result_type(a, b) -> str:
    wide = any((x.info.dtype if isinstance(x, CodedMatrix) else x.dtype) == "float64" for x in (a, b))
    return "float64" if wide else "float32"


def _rate(side) -> float:
    if isinstance(side, CodedMatrix):
        return side.rate
    return 8.0 * side.nbytes / max(1, int(np.prod(side.shape, dtype=object)))
