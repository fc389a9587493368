"""Which tensors of two files are multiplied with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from nqz.commands.factors import Coded, Factor, Plain
from nqz.files.contract import Source, slice_called
from nqz.files.source import refuse_non_float
from nqz.format.reader import ContainerReader
from nqz.ground.errors import OperandError, UsageError
from nqz.matrix import open_matrix
from nqz.models.collection import Collection

Side = ContainerReader | Source | Collection


@dataclass(frozen=True)
class Pair:
    """One product to make: what it is called, and its two factors."""

    name: str
    a: Factor
    b: Factor


def pair_up(
    a: Side,
    b: Side,
    tensor_a: str | None = None,
    tensor_b: str | None = None,
    axis_a: int = 0,
    axis_b: int = 0,
) -> list[Pair]:
    """Find the pairs of tensors to multiply.

    Parameters
    ----------
    a, b : ContainerReader, Source, or Collection of these
        At least one of them compressed.
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
    if not is_compressed(a) and not is_compressed(b):
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


def is_compressed(side: Side) -> bool:
    """Whether a side is compressed; the parts of a collection are alike."""
    return isinstance(_contents(side)[0], ContainerReader)


def _contents(side: Side) -> Sequence[ContainerReader | Source]:
    return side.contents if isinstance(side, Collection) else [side]


def _candidates(side: Side, wanted: str | None, axis: int) -> dict[str, Callable[[], Factor]]:
    found: dict[str, Callable[[], Factor]] = {}
    known: set[str] = set()
    for content in _contents(side):
        infos = content.manifest.tensors if isinstance(content, ContainerReader) else content.tensors
        known.update(info.name for info in infos)
        found |= _matrices(content, axis)
        if wanted is not None and wanted not in known and not isinstance(content, ContainerReader):
            one = slice_called(content.tensors, wanted)
            if one is not None:
                known.add(wanted)
                found[wanted] = partial(Plain, one, content.name, axis)
    for content in _contents(side):
        if isinstance(content, ContainerReader):
            for i, info in enumerate(content.manifest.tensors):
                if info.kind == "unknown" and (not found if wanted is None else wanted == info.name):
                    content.span(i)  # raises
    if wanted is not None:
        if wanted not in known:
            _refuse_whole(side, wanted)
            raise UsageError(f"{side.name}: no tensor is called {wanted!r}")
        if wanted not in found:
            raise OperandError(f"{side.name}: tensor {wanted!r} is not a matrix; it is carried exactly")
        return {wanted: found[wanted]}
    if not found:
        for content in _contents(side):
            if not isinstance(content, ContainerReader):
                refuse_non_float(content)
        raise OperandError(f"{side.name}: holds no matrix to multiply")
    return found


def _matrices(content: ContainerReader | Source, axis: int) -> dict[str, Callable[[], Factor]]:
    """The matrices of a file, by name."""
    if isinstance(content, ContainerReader):
        infos = enumerate(content.manifest.tensors)
        return {info.name: partial(_coded, content, i) for i, info in infos if info.kind == "matrix"}
    return {
        t.name: partial(Plain, t, content.name, axis)
        for t in content.tensors
        if content.kind.is_matrix(t.shape, t.dtype)
    }


def _refuse_whole(side: Side, wanted: str) -> None:
    """Raise OperandError for a tensor that is there slice by slice."""
    for content in _contents(side):
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
