"""Which tensors of two files are multiplied with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from nqz.commands.carried import carried_tensor, may_multiply
from nqz.commands.factors import Coded, Factor, Plain, Single
from nqz.commands.sets.factor import Parted, parted
from nqz.commands.sets.whole import apart, beside
from nqz.files.contract import Source, slice_called
from nqz.files.source import refuse_non_float
from nqz.format.reader import ContainerReader
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UsageError
from nqz.ground.patterns import no_tensor
from nqz.matrix import open_matrix
from nqz.models.collection import Collection

Side = ContainerReader | Source | Collection


@dataclass(frozen=True)
class Pair:
    """One product to make: what it is called, and its two factors."""

    name: str
    a: Factor | Parted
    b: Factor | Parted

    def release(self) -> None:
        """Drop what was made for the product."""
        self.a.release()
        self.b.release()


class _Candidate(NamedTuple):
    """A tensor that may be multiplied: how it is opened, and whether it is compressed."""

    open: Callable[[], Single]
    coded: bool


def pair_up(
    a: Side,
    b: Side,
    tensor_a: str | None = None,
    tensor_b: str | None = None,
    axis_a: int | None = None,
    axis_b: int | None = None,
) -> list[Pair]:
    """Find the pairs of tensors to multiply.

    Parameters
    ----------
    a, b : ContainerReader, Source, or Collection of these
        At least one of them compressed. What a container carries exactly may be the plain side of a product.
    tensor_a, tensor_b : str, optional
        Which tensor of each side.
    axis_a, axis_b : int, optional
        Axis of the vectors of a tensor that is not compressed: by default 0, or where a container carries it the one
        that fits its partner, that of the partner first.

    Returns
    -------
    list of Pair
        One pair without a name where each side offers one tensor; else the pairs of equal name.

    Raises
    ------
    OperandError
        Neither side is compressed, or no two tensors go together.
    UsageError
        An axis was chosen of what is compressed.
    """
    if not is_compressed(a) and not is_compressed(b):
        raise OperandError(
            f"{a.name} and {b.name}: neither is compressed; encode at least one side (a .nqz container), or multiply "
            "them with NumPy"
        )
    if any(isinstance(side, Collection) and side.grid is not None for side in (a, b)):
        return [_in_parts(a, b, tensor_a, tensor_b, axis_a, axis_b)]
    left, right = _candidates(a, tensor_a, axis_a), _candidates(b, tensor_b, axis_b)
    first, second = _likely(left), _likely(right)
    chosen = tensor_a is not None or tensor_b is not None
    names = [] if chosen else [(x, x, x) for x in left if x in right and (left[x].coded or right[x].coded)]
    if len(first) == len(second) == 1 and (not names or (len(names) == 1 and first == second)):
        names = [("", first[0], second[0])]
    elif chosen:
        names = [("", x, y) for x in first for y in second if len(first) == 1 or len(second) == 1]
        if len(names) != 1:
            raise UsageError(
                f"{a.name}, {b.name}: several tensors on one side; give both --tensor-a and --tensor-b"
            )
    elif not names:
        raise OperandError(
            f"{a.name} and {b.name}: no matrices of equal name; choose with --tensor-a, --tensor-b"
        )
    pairs = []
    for name, x, y in names:
        side, other = left[x].open(), right[y].open()
        if not left[x].coded and not right[y].coded:
            raise OperandError(
                f"{side.where} and {other.where}: neither is compressed, so there is nothing to estimate; decode what "
                "a container carries exactly (nqz decode), and NumPy gives the exact product"
            )
        _check_axis(side, axis_a, "-a")
        _check_axis(other, axis_b, "-b")
        pairs.append(Pair(name, _alongside(side, other, axis_a), _alongside(other, side, axis_b)))
    return pairs


def _check_axis(side: Factor, axis: int | None, option: str) -> None:
    """Raise UsageError if an axis was chosen of what is compressed."""
    if axis is not None and not isinstance(side, Plain):
        raise UsageError(
            f"--axis{option} {axis}: {side.where} is compressed; its axis was chosen by encode --axis"
        )


def _in_parts(
    a: Side, b: Side, tensor_a: str | None, tensor_b: str | None, axis_a: int | None, axis_b: int | None
) -> Pair:
    """The pair of two sides, of which one at least is a part set."""
    found: list[Any] = []
    for side, wanted, axis, option in ((a, tensor_a, axis_a, "-a"), (b, tensor_b, axis_b, "-b")):
        if isinstance(side, Collection) and side.grid is not None:
            if wanted is not None:
                raise UsageError(
                    f"--tensor{option} {wanted}: {side.name} is a part set, of one matrix without a name"
                )
            found.append(parted(side))
        else:
            found.append(choose(side, wanted, axis, f"--tensor{option}"))
        _check_axis(found[-1], axis, option)
    left, right = found
    if isinstance(left, Parted) and isinstance(right, Parted):
        return Pair("", *apart(left, right))
    if isinstance(left, Parted):
        return Pair("", *beside(left, _alongside(right, left, axis_b)))
    return Pair("", *beside(right, _alongside(left, right, axis_a))[::-1])


def choose(
    side: Side, wanted: str | None = None, axis: int | None = None, option: str = "--tensor"
) -> Single:
    """The matrix of a file that is meant; `option` is how one is named where there are several.

    Raises
    ------
    UsageError, OperandError
        There are several, or none.
    """
    found = _candidates(side, wanted, axis)
    names = _likely(found)
    if len(names) > 1:
        raise UsageError(
            f"{side.name}: holds {len(names)} matrices, such as {names[0]!r}; choose one with {option}"
        )
    return found[names[0]].open()


def is_empty(side: Side) -> bool:
    """Whether a file is one array that would be a matrix, if it had entries."""
    content = contents(side)[0]
    if isinstance(content, ContainerReader) or not content.kind.alone:
        return False
    (tensor,) = content.tensors
    return is_matrix_dtype(tensor.dtype) and len(tensor.shape) == 2 and not tensor.entries


def _likely(candidates: Mapping[str, _Candidate]) -> list[str]:
    """Names of the tensors that are meant where none is named: those that are compressed, if there are any."""
    return [name for name, one in candidates.items() if one.coded] or list(candidates)


def _alongside(side: Factor, partner: Factor | Parted, axis: int | None) -> Factor:
    """A factor, with its vectors along the axis that fits its partner if a container carries it exactly."""
    if axis is not None or not isinstance(side, Plain) or side.data is None:
        return side
    fits = (replace(side, along=along) for along in (partner.axis, 1 - partner.axis))
    return next((one for one in fits if one.length == partner.length), side)


def is_compressed(side: Side) -> bool:
    """Whether a side is compressed; the parts of a collection are alike."""
    return isinstance(contents(side)[0], ContainerReader)


def contents(side: Side) -> Sequence[ContainerReader | Source]:
    """The files of a side."""
    return side.contents if isinstance(side, Collection) else [side]


def _candidates(side: Side, wanted: str | None, axis: int | None) -> dict[str, _Candidate]:
    found: dict[str, _Candidate] = {}
    known: dict[str, Any] = {}
    for content in contents(side):
        infos = content.manifest.tensors if isinstance(content, ContainerReader) else content.tensors
        known.update((info.name, info) for info in infos)
        found |= _matrices(content, axis)
        if wanted is not None and wanted not in known and not isinstance(content, ContainerReader):
            one = slice_called(content.tensors, wanted)
            if one is not None:
                known[wanted] = one
                found[wanted] = _Candidate(partial(Plain, one, content.name, axis or 0), False)
    coded = any(one.coded for one in found.values())
    for content in contents(side):
        if isinstance(content, ContainerReader):
            for i, info in enumerate(content.manifest.tensors):
                if info.kind == "unknown" and (not coded if wanted is None else wanted == info.name):
                    content.span(i)  # raises
    if wanted is not None:
        if wanted not in known:
            _refuse_whole(side, wanted)
            raise UsageError(f"{side.name}: {no_tensor(wanted, known, pattern=False)}")
        if wanted not in found:
            info = known[wanted]
            shape = "x".join(map(str, info.shape)) or "scalar"
            raise OperandError(
                f"{side.name}: tensor {wanted!r} is not a matrix of floating-point numbers ({shape} {info.dtype})"
            )
        return {wanted: found[wanted]}
    if not found:
        for content in contents(side):
            if not isinstance(content, ContainerReader):
                refuse_non_float(content)
        raise OperandError(f"{side.name}: holds no matrix to multiply")
    return found


def _matrices(content: ContainerReader | Source, axis: int | None) -> dict[str, _Candidate]:
    """The matrices of a file, by name."""
    if not isinstance(content, ContainerReader):
        return {
            t.name: _Candidate(partial(Plain, t, content.name, axis or 0), False)
            for t in content.tensors
            if content.kind.is_matrix(t.shape, t.dtype)
        }
    found = {}
    for index, info in enumerate(content.manifest.tensors):
        if info.kind == "matrix":
            found[info.name] = _Candidate(partial(_coded, content, index), True)
        elif may_multiply(content, info):
            found[info.name] = _Candidate(partial(_carried, content, index, axis or 0), False)
    return found


def _refuse_whole(side: Side, wanted: str) -> None:
    """Raise OperandError for a tensor that is there slice by slice."""
    for content in contents(side):
        if isinstance(content, ContainerReader):
            for info in content.manifest.tensors:
                if info.slice is not None and info.whole_name == wanted:
                    last = f"{wanted}[{info.slice.slices - 1}]"
                    raise OperandError(
                        f"{side.name}: tensor {wanted!r} is held in slices, each a matrix: "
                        f"choose one of {info.name!r} to {last!r}"
                    )


def _coded(reader: ContainerReader, index: int) -> Coded:
    return Coded(open_matrix(reader, index), reader.name)


def _carried(reader: ContainerReader, index: int, axis: int) -> Plain:
    tensor, data = carried_tensor(reader, index)
    return Plain(tensor, reader.name, axis, data)
