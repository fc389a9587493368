"""What a part set is made of: the matrix that options take of a file or of a model, cut into parts, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nqz.commands.options import EncodeOptions
from nqz.commands.select import select
from nqz.files.contract import SourceTensor, Tensors, slice_called
from nqz.files.cutout import cut_out, evenly
from nqz.files.source import refuse_quantized
from nqz.files.stack import laid_out, stacked
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.wording import counted
from nqz.models.architecture import layers

CONTRACTED, VECTORS = "contracted", "vectors"
"""The axes along which parts may follow one another."""

_USUAL = 1 << 30
"""Entries of a part, at most, where nobody says how many parts there are to be."""


class Whole(NamedTuple):
    """A matrix, what messages call it, and the axis of its vectors."""

    tensor: SourceTensor
    where: str
    axis: int


@dataclass(frozen=True)
class Piece:
    """What a part is made of: a rectangle of a matrix, whose numbers in the set are k and j."""

    tensor: SourceTensor
    where: str
    k: int
    j: int


def whole_of(contents: Sequence[Tensors], name: str, options: EncodeOptions) -> Whole:
    """The matrix that options take of a file, of several that belong together, or of an array.

    Parameters
    ----------
    contents : sequence of Tensors
    name : str
        What messages call all of them.
    options : EncodeOptions
        The tensor to take, the axis of its vectors, the configuration that tells it, and whether it may be quantized.

    Raises
    ------
    UsageError
        There are several tensors, or none of this name; or nothing tells the axis.
    UnsupportedError
        It is no matrix of two dimensions, or quantized already.
    """
    tensors = [(tensor, content) for content in contents for tensor in content.tensors]
    found = [slice_called((tensor for tensor, _ in tensors), one) for one in options.tensors]
    if len(found) == 1 and found[0] is not None:
        tensor, content = found[0], contents[0]
    else:
        numbers = select([tensor.name for tensor, _ in tensors], options.tensors, name)
        if len(numbers) != 1:
            raise UsageError(f"{name}: holds {counted(len(numbers), 'tensor')}; choose one with --tensor")
        tensor, content = tensors[numbers[0]]
    where = f"{content.name}: tensor {tensor.name!r}" if tensor.name else content.name
    _check_matrix(tensor, where)
    if not options.dequantize:
        refuse_quantized(where, [tensor])
    if not options.tells_axes:
        return Whole(tensor, where, int(options.axis or 0))
    if not tensor.name:
        raise UsageError(
            f"{where}: is one array without a name, which does not tell what its vectors are; choose axis 0 (columns) "
            "or 1 (rows)"
        )
    return Whole(tensor, where, layers([(tensor.name, tensor.shape)], options.config)[0].axis)


def cut_up(wholes: Sequence[Whole], parts: tuple[int, int] | None, along: str) -> list[list[Piece]]:
    """The parts of a set: one matrix cut, or several, which are a part each.

    Raises
    ------
    UsageError, OperandError
        They cannot be cut so, or do not fit together.
    """
    if not wholes:
        raise UsageError("a part set is made of one matrix, or of several; none is given")
    if len(wholes) == 1 and along != VECTORS:
        raise UsageError("--along: is for several files; --parts KxJ says how one is cut")
    if len(wholes) > 1:
        check_alike(wholes, along)
        if parts is None:
            return stack_sources(wholes, along)
    return cut_source(wholes, parts, along)


def cut_source(wholes: Sequence[Whole], parts: tuple[int, int] | None, along: str) -> list[list[Piece]]:
    """A matrix, or several that are the pieces of one, cut into so many parts along the contracted axis and across it.

    By default across it.

    Raises
    ------
    UsageError
        It has not so many vectors, or entries of these.
    OperandError
        Pieces of one part are laid out in different ways.
    """
    (first, where, axis), more = wholes[0], len(wholes) - 1
    where += f" and {counted(more, 'more file')}" if more else ""
    n, count = first.shape[axis], first.shape[1 - axis]
    if along == CONTRACTED:
        n = sum(tensor.shape[axis] for tensor, _, _ in wholes)
    else:
        count = sum(tensor.shape[1 - axis] for tensor, _, _ in wholes)
    if parts is None:
        parts = 1, min(count, -(-n * count // _USUAL))
    if not (1 <= parts[0] <= n and 1 <= parts[1] <= count):
        raise UsageError(
            f"--parts {parts[0]}x{parts[1]}: {where} has {count} vectors of {n} entries; from 1x1 to {n}x{count} are "
            "possible"
        )
    rows, columns = (_edges(evenly(length, k)) for length, k in zip((n, count), parts, strict=True))
    return [
        [
            Piece(_cut(wholes, along, rows[k], columns[j]), f"{where}: part {k},{j}", k, j)
            for j in range(parts[1])
        ]
        for k in range(parts[0])
    ]


def _cut(wholes: Sequence[Whole], along: str, coordinates: range, vectors: range) -> SourceTensor:
    """A rectangle of a matrix whose pieces follow one another."""
    pieces, at, axis = [], 0, wholes[0].axis
    across = along != CONTRACTED
    wanted = vectors if across else coordinates
    for tensor, where, _ in wholes:
        length = tensor.shape[1 - axis if across else axis]
        own = range(max(wanted.start - at, 0), min(wanted.stop - at, length))
        if own:
            cut = (coordinates, own) if across else (own, vectors)
            pieces.append((cut_out(tensor, axis, *cut), where))
        at += length
    first, name = pieces[laid_out([tensor for tensor, _ in pieces])]
    for tensor, where in pieces:
        turned = tensor.fortran_order != first.fortran_order and 1 not in tensor.shape
        if turned or tensor.byte_order != first.byte_order:
            raise OperandError(
                f"{name} and {where}: are laid out in different ways, in C and in Fortran order or with other orders "
                "of bytes, and a part has entries of both; save them alike, or make each a part, without --parts"
            )
    return stacked([tensor for tensor, _ in pieces], 1 - axis if across else axis)


def check_alike(wholes: Sequence[Whole], along: str) -> None:
    """Raise OperandError for matrices that do not fit together, along the contracted axis or across it."""
    first, name, axis = wholes[0]
    common = 1 - axis if along == CONTRACTED else axis
    for tensor, where, other in wholes:
        if other != axis:
            raise OperandError(
                f"{where} and {name}: vectors lie along axis {other} and {axis}; choose one --axis"
            )
        if tensor.shape[common] != first.shape[common] or tensor.dtype != first.dtype:
            raise OperandError(
                f"{where}: {_shape(tensor)}, and {name} {_shape(first)}; stacked along the "
                f"{'contracted axis' if along == CONTRACTED else 'vectors'} both need the same type and as many "
                f"{'vectors' if along == CONTRACTED else 'entries of each'}"
            )


def stack_sources(wholes: Sequence[Whole], along: str) -> list[list[Piece]]:
    """Matrices as the parts of one, which follow one another along the contracted axis or across it."""
    found = [
        (cut_out(tensor, 0, range(tensor.shape[0]), range(tensor.shape[1])), where)
        for tensor, where, _ in wholes
    ]
    if along == CONTRACTED:
        return [[Piece(one, where, k, 0)] for k, (one, where) in enumerate(found)]
    return [[Piece(one, where, 0, j) for j, (one, where) in enumerate(found)]]


def _shape(tensor: SourceTensor) -> str:
    return f"is {'x'.join(map(str, tensor.shape))} {tensor.dtype}"


def _check_matrix(tensor: SourceTensor, where: str) -> None:
    if len(tensor.shape) != 2 or 0 in tensor.shape or not is_matrix_dtype(tensor.dtype):
        raise UnsupportedError(
            f"{where}: {_shape(tensor)}; a part set is made of matrices of two dimensions, of floating-point numbers"
        )


def _edges(lengths: Sequence[int]) -> list[range]:
    found, at = [], 0
    for length in lengths:
        found.append(range(at, at + length))
        at += length
    return found
