"""Which tensors of two files are multiplied with each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nqz.commands.factors import Coded, Factor, Plain
from nqz.files.contract import Source
from nqz.files.source import refuse_non_float
from nqz.format.reader import ContainerReader
from nqz.ground.errors import OperandError, UsageError
from nqz.matrix import open_matrix


@dataclass(frozen=True)
class Pair:
    """One product to make: what it is called, and its two factors."""

    name: str
    a: Factor
    b: Factor


def pair_up(
    a: ContainerReader | Source,
    b: ContainerReader | Source,
    tensor_a: str | None = None,
    tensor_b: str | None = None,
    axis_a: int = 0,
    axis_b: int = 0,
) -> list[Pair]:
    """Find the pairs of tensors to multiply.

    Parameters
    ----------
    a, b : ContainerReader or Source
        At least one of them a container.
    tensor_a, tensor_b : str, optional
        Which tensor of each side.
    axis_a, axis_b : int
        Axis of the vectors of a side that is not compressed.

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
    left, right = _candidates(a, tensor_a, axis_a), _candidates(b, tensor_b, axis_b)
    if len(left) == 1 and len(right) == 1:
        names = [("", next(iter(left)), next(iter(right)))]
    elif tensor_a is not None or tensor_b is not None:
        names = [("", x, y) for x in left for y in right if len(left) == 1 or len(right) == 1]
        if len(names) != 1:
            raise UsageError(
                f"{a.name}, {b.name}: several tensors on one side; give both --tensor-a and --tensor-b"
            )
    else:
        names = [(x, x, x) for x in left if x in right]
        if not names:
            raise OperandError(
                f"{a.name} and {b.name}: no matrices of equal name; choose with --tensor-a, --tensor-b"
            )
    return [Pair(name, left[x](), right[y]()) for name, x, y in names]


def _candidates(
    side: ContainerReader | Source, wanted: str | None, axis: int
) -> dict[str, Callable[[], Factor]]:
    found: dict[str, Callable[[], Factor]]
    if isinstance(side, ContainerReader):
        found = {
            info.name: partial(_coded, side, i)
            for i, info in enumerate(side.manifest.tensors)
            if info.kind == "matrix"
        }
        known = [info.name for info in side.manifest.tensors]
        for i, info in enumerate(side.manifest.tensors):
            if info.kind == "unknown" and (not found if wanted is None else wanted == info.name):
                side.span(i)  # raises
    else:
        found = {
            t.name: partial(Plain, t, side.name, axis)
            for t in side.tensors
            if side.kind.is_matrix(t.shape, t.dtype)
        }
        known = [t.name for t in side.tensors]
    if wanted is not None:
        if wanted not in known:
            raise UsageError(f"{side.name}: no tensor is called {wanted!r}")
        if wanted not in found:
            raise OperandError(f"{side.name}: tensor {wanted!r} is not a matrix; it is carried exactly")
        return {wanted: found[wanted]}
    if not found:
        if not isinstance(side, ContainerReader):
            refuse_non_float(side)
        raise OperandError(f"{side.name}: holds no matrix to multiply")
    return found


def _coded(reader: ContainerReader, index: int) -> Coded:
    return Coded(open_matrix(reader, index), reader.name)
