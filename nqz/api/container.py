"""An open container, for Python: names, and their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nqz.api.exact import ExactTensor
from nqz.api.file import File
from nqz.api.matrix import CompressedMatrix
from nqz.api.products import Operand
from nqz.ground.errors import OperandError
from nqz.ground.wording import counted


def open(source: Any) -> Container:
    """Open a container.

    Parameters
    ----------
    source : path, binary file object, or bytes
        A file object that can seek is read as its tensors are: leave it open, and to the container.

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, is not a container, is damaged, or was written by a later version.
    """
    return Container(File(source))


class Container(Mapping[str, "CompressedMatrix | ExactTensor"], Operand):
    """An open container: names and their tensors, in the order of the source, each read when it is used.

    A context manager. The one tensor of a container that was made from a single array is called ``""``;
    `matrix` gives it. It can be pickled if it was opened by a path or from bytes; then so can its tensors.

    Attributes
    ----------
    metadata : dict of str or None
        ``__metadata__`` of a .safetensors source, and what was given to `encode`.
    """

    def __init__(self, file: File):
        self._file = file
        self.reader = file.reader
        self.metadata = self.reader.manifest.metadata
        self._numbers = {info.name: i for i, info in enumerate(self.reader.manifest.tensors)}
        self._tensors: dict[str, CompressedMatrix | ExactTensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Container, (self._file,)

    def __getitem__(self, name: str) -> CompressedMatrix | ExactTensor:
        found = self._tensors.get(name)
        if found is None:
            index = self._numbers[name]
            exact = self.reader.manifest.tensors[index].kind == "exact"
            # of two threads that come here at once, both get the same
            found = self._tensors.setdefault(
                name, (ExactTensor if exact else CompressedMatrix)(self._file, index)
            )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<Container {self.reader.name!r}, {counted(len(self), 'tensor')}>"

    @property
    def nbytes(self) -> int:
        """Bytes that it takes itself."""
        return self.reader.size

    @property
    def matrix(self) -> CompressedMatrix:
        """The matrix of a container that holds exactly one; `OperandError` otherwise."""
        infos = self.reader.manifest.tensors
        names = [info.name for info in infos if info.kind == "matrix"]
        names = names or [info.name for info in infos if info.kind == "unknown"][:1]
        if len(names) != 1:
            raise OperandError(
                f"{self.reader.name}: holds {counted(len(names), 'matrix')}; choose one by name"
            )
        return self[names[0]]  # type: ignore[return-value]

    def operand(self) -> Any:
        """What a product takes."""
        return self.matrix.operand()

    def close(self) -> None:
        """Close the file; its tensors can no longer be decoded."""
        self._file.opened.close()

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
