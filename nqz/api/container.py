"""An open container, for Python: names, and their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from nqz.api.arguments import Path, Source
from nqz.api.exact import ExactTensor
from nqz.api.file import File
from nqz.api.matrix import CompressedMatrix
from nqz.api.parted import MatrixInParts
from nqz.api.products import Operand
from nqz.api.sliced import SlicedTensor
from nqz.api.wording import speaks_python
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole, whole_from
from nqz.format.tensors import TensorInfo
from nqz.ground.errors import OperandError
from nqz.ground.wording import counted
from nqz.models.collection import Collection


@speaks_python
def open(source: Source | Sequence[Path]) -> Container:
    """Open a container, or a model.

    Parameters
    ----------
    source : path, address, binary file object, object of fsspec, or bytes; or a sequence of paths
        An address, such as ``s3://bucket/a.nqz``, is read by ranges (`docs/remote.md`). A file object that can seek is
        read as its tensors are: leave it open, and to the container. A folder, its index, or several files are a model:
        the tensors of all its containers. A part set (``.nqzset``) has one matrix, that of all its parts.

    Returns
    -------
    Container
        A mapping of names to tensors, and a context manager.

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, is not a container, is damaged, or was written by a later version.
    """
    return Container(File(source))


class Container(Mapping[str, "CompressedMatrix | SlicedTensor | ExactTensor"], Operand):
    """An open container: names and their tensors, in the order of the source, each read when it is used.

    A tensor that is held in slices is listed once; ``container["w[3]"]`` is a matrix of it.

    A context manager. The one tensor of a container that was made from a single array is called ``""``;
    `matrix` gives it. It can be pickled if it was opened by its path or from bytes, and so can its tensors: where they
    are unpickled, the same file is opened again. A model is opened as one container.

    Attributes
    ----------
    metadata : dict of str or None
        ``__metadata__`` of a .safetensors source, and what was given to `encode`.
    """

    def __init__(self, file: File):
        self._file, self._collection = file, file.collection
        self.metadata: dict[str, str] | None = None
        for reader in self._collection.contents:
            if reader.manifest.metadata is not None:
                self.metadata = {**(self.metadata or {}), **reader.manifest.metadata}
        self._places = {
            info.name: (number, index)
            for number, part in enumerate(self._collection.parts)
            for index, info in enumerate(part.tensors)
        }
        self._sliced: dict[str, tuple[int, Whole]] = {
            info.whole_name: (number, whole_from(info, index))
            for number, part in enumerate(self._collection.parts)
            for index, info in enumerate(part.tensors)
            if info.slice is not None and info.slice.number == 0
        }
        self._tensors: dict[str, CompressedMatrix | SlicedTensor | ExactTensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Container, (self._file,)

    def _require_open(self) -> None:
        """Raise InputError once it is closed."""
        for part in self._collection.parts[:1]:
            part.opened.require_open()

    def __getitem__(self, name: str) -> CompressedMatrix | SlicedTensor | ExactTensor:
        self._require_open()
        found = self._tensors.get(name)
        if found is None and name in self._sliced:
            found = self._tensors.setdefault(name, SlicedTensor(self._file, *self._sliced[name]))
        if found is None:
            place = self._places[name]
            if self._collection.grid is not None:
                return self._tensors.setdefault(name, MatrixInParts(self._file))
            exact = self._info(place).kind == "exact"
            # of two threads that come here at once, both get the same
            found = self._tensors.setdefault(
                name, (ExactTensor if exact else CompressedMatrix)(self._file, *place)
            )
        return found

    def _info(self, place: tuple[int, int]) -> TensorInfo:
        info: TensorInfo = self._collection.parts[place[0]].content.manifest.tensors[place[1]]
        return info

    def __iter__(self) -> Iterator[str]:
        self._require_open()
        for name, place in self._places.items():
            if not self._sliced or (part := self._info(place).slice) is None:
                yield name
            elif part.number == 0:
                yield self._info(place).whole_name

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._sliced

    def __len__(self) -> int:
        return len(self._places) - sum(len(whole.members) - 1 for _, whole in self._sliced.values())

    def __repr__(self) -> str:
        return f"<Container {self._file.name!r}, {counted(len(self), 'tensor')}>"

    @property
    def collection(self) -> Collection:
        """What it is open as."""
        return self._collection

    @property
    def reader(self) -> ContainerReader:
        """What reads its file; of a model, the first one."""
        return cast(ContainerReader, self._collection.contents[0])

    @property
    def name(self) -> str:
        """Name of the file, as messages have it."""
        return self._file.name

    @property
    def alone(self) -> bool:
        """Whether it was made from a single array, which has no name."""
        return list(self) == [""] and self._collection.contents[0].manifest.kind.alone

    @property
    def nbytes(self) -> int:
        """Bytes that it takes itself."""
        return sum(reader.size for reader in self._collection.contents)

    @property
    def matrix(self) -> CompressedMatrix:
        """The matrix of a container that holds exactly one; `OperandError` otherwise."""
        kinds = {name: self._info(place).kind for name, place in self._places.items()}
        names = [name for name, kind in kinds.items() if kind == "matrix"]
        names = names or [name for name, kind in kinds.items() if kind == "unknown"][:1]
        if len(names) != 1:
            raise OperandError(
                f"{self._file.name}: holds {counted(len(names), 'matrix')}; choose one by name"
            )
        return self[names[0]]  # type: ignore[return-value]

    def factor(self) -> Any:
        """What a product takes."""
        return self.matrix.factor()

    def close(self) -> None:
        """Close the file; its tensors can no longer be decoded."""
        self._collection.close()

    def __enter__(self) -> Container:
        self._require_open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
