"""The matrix that a sweep runs over, chosen from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nqz.files.contract import Source, SourceTensor, slice_called
from nqz.files.source import refuse_non_float
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.patterns import no_tensor
from nqz.ground.sources import SourceKind
from nqz.ground.wording import counted


@dataclass(frozen=True)
class SweepMatrix:
    """One matrix of a file, seen as a source of one tensor.

    Attributes
    ----------
    name : str
        Of the file.
    kind : SourceKind
    tensor : SourceTensor
    axis : int
        Along which the vectors lie.
    """

    name: str
    kind: SourceKind
    tensor: SourceTensor
    axis: int
    metadata: None = field(default=None, init=False)

    @property
    def tensors(self) -> list[SourceTensor]:
        """The tensor, as `encode` takes it."""
        return [self.tensor]

    @property
    def where(self) -> str:
        """The matrix as messages call it."""
        return self.name + (f": tensor {self.tensor.name!r}" if self.tensor.name else "")

    def view(self) -> Any:
        """Its vectors."""
        return self.tensor.vectors(self.axis)

    def described(self) -> dict[str, Any]:
        """The matrix in a report."""
        t = self.tensor
        return {
            "file": self.name,
            "tensor": t.name,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "axis": self.axis,
            "bytes": t.nbytes,
        }


def choose(source: Source, wanted: str | None, axis: int, option: str = "--tensor") -> SweepMatrix:
    """The matrix of a source to sweep over.

    Parameters
    ----------
    source : Source
    wanted : str, optional
        Name of the tensor; needed where a file holds several matrices.
    axis : int
    option : str
        How the user chooses a tensor.

    Raises
    ------
    UsageError
        No tensor has this name, or there are several matrices to choose from.
    UnsupportedError
        There is no matrix.
    """
    matrices = [t for t in source.tensors if source.kind.is_matrix(t.shape, t.dtype)]
    if wanted is not None and not source.kind.alone:
        if (part := slice_called(source.tensors, wanted)) is not None:
            return SweepMatrix(source.name, source.kind, part, axis)
        names = [t.name for t in source.tensors]
        if wanted not in names:
            raise UsageError(f"{source.name}: {no_tensor(wanted, names, pattern=False)}")
        matrices = [t for t in matrices if t.name == wanted]
        if not matrices:
            raise UnsupportedError(f"{source.name}: tensor {wanted!r} is not a matrix to compress")
    if not matrices:
        refuse_non_float(source)
        raise UnsupportedError(f"{source.name}: holds no matrix to compress")
    if len(matrices) > 1:
        raise UsageError(f"{source.name}: holds {counted(len(matrices), 'matrix')}; choose one with {option}")
    tensor = matrices[0]
    return SweepMatrix(source.name, source.kind, tensor, axis if len(tensor.shape) > 1 else 0)


def check_lengths(matrix: SweepMatrix, other: SweepMatrix) -> None:
    """Raise OperandError unless two matrices can be multiplied."""
    n, m = matrix.view().length, other.view().length
    if n != m:
        raise OperandError(
            f"{matrix.where} and {other.where}: vectors of {n} and {m} entries cannot be multiplied; the "
            "contracted axes must have the same length (see --axis and --axis-against)"
        )
