"""The corpora of a search: of each file the matrix that is meant, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nqz.commands.factors import Coded, Factor, Plain, Single
from nqz.commands.held import Held
from nqz.commands.pairs import Side, choose, contents, is_compressed
from nqz.commands.sets.factor import check_parts, parted
from nqz.commands.sets.whole import Rebuilt
from nqz.files.contract import Source
from nqz.files.cutout import cut_out
from nqz.format.reader import ContainerReader
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.wording import counted
from nqz.models.collection import Collection


@dataclass(frozen=True)
class Corpora:
    """The matrices of files that are searched.

    Attributes
    ----------
    coded : list of Coded or Rebuilt
        Those of the files that have vectors.
    numbers : ndarray of int32
        Which of the files each is of.
    names : list of str
        All files, as messages call them.
    groups : list of int
        How many of them, one after the other, are parts of one set, or 1.
    """

    coded: list[Coded | Rebuilt]
    numbers: NDArray[np.int32]
    names: list[str]
    groups: list[int]

    @classmethod
    def of(cls, groups: Sequence[Sequence[Side | Held]], wanted: Sequence[str | None]) -> Corpora:
        """The matrices of files, by name where one is wanted, and those that are in memory.

        Parameters
        ----------
        groups : sequence of sequences
            What `apart` makes of each input.
        wanted : sequence of str or None
            A name for each file of all of them.

        Raises
        ------
        UsageError, OperandError
            See `pairs.choose`; or one is not compressed, or there are no vectors at all.
        """
        coded, numbers, names = list[Coded | Rebuilt](), list[int](), list[str]()
        files = [file for group in groups for file in group]
        for number, (file, name) in enumerate(zip(files, wanted, strict=True)):
            if not isinstance(file, Held) and _is_void(file, name):
                names.append(file.name)
                continue
            found = matrix_of(file, name)
            if isinstance(found, Plain):
                raise OperandError(f"{found.where}: is not compressed; encode it, or search in it with NumPy")
            coded.append(found)
            numbers.append(number)
            names.append(found.where)
        if not coded:
            raise OperandError(f"{names[0]}: holds no vectors to search")
        return cls(coded, np.array(numbers, np.int32), names, list(map(len, groups)))

    def originals(self, files: Sequence[Source | Collection]) -> list[Plain]:
        """What each corpus was made from: the tensor of its name, if both have names, with the same axis.

        There is one for each file, or for each set as a whole.

        Raises
        ------
        UsageError
            There are not as many as files of corpora.
        OperandError
            One is not the plain file of a matrix, or has not as many vectors as a set.
        """
        if len(files) not in (len(self.names), len(self.groups)):
            raise UsageError(
                f"--rerank: {counted(len(files), 'original')} for {counted(len(self.names), 'container')}; give one "
                "for each, in their order"
            )
        owners = np.repeat(np.arange(len(self.groups)), self.groups)
        whole = len(files) != len(self.names)
        found, met = [], [0] * len(self.groups)
        for number, corpus in zip(self.numbers.tolist(), self.coded, strict=True):
            group = int(owners[number])
            file, name = files[group if whole else number], corpus.matrix.name
            named = name if name and any(tensor.name for tensor in file.tensors) else None
            plain = choose(file, named, corpus.axis)
            if not isinstance(plain, Plain):
                raise OperandError(
                    f"{plain.where}: is compressed; --rerank needs what {corpus.where} was made from"
                )
            if whole and self.groups[group] > 1:
                plain = self._piece(plain, corpus, met[group], owners[self.numbers] == group)
                met[group] += corpus.columns
            found.append(plain)
        return found

    def _piece(self, plain: Plain, corpus: Factor, first: int, group: NDArray[np.bool_]) -> Plain:
        """The vectors of one part of a set, from what all were made from."""
        columns = sum(self.coded[number].columns for number in np.flatnonzero(group).tolist())
        if len(plain.shape) != 2 or (plain.length, plain.columns) != (corpus.length, columns):
            raise OperandError(
                f"{plain.where}: {counted(plain.columns, 'vector')} of {plain.length} entries, where {corpus.where} "
                f"and the other parts have {columns} of {corpus.length}; give the array that the set was made from"
            )
        vectors = range(first, first + corpus.columns)
        tensor = cut_out(plain.tensor, plain.axis, range(plain.length), vectors)
        return Plain(tensor, f"{plain.where}: vectors from {first} on", plain.axis)


def apart(side: Collection) -> list[Side]:
    """What is searched of an input: each part of a set by itself, or all of it.

    A set whose vectors are in parts themselves is one, too: they are decoded.

    Raises
    ------
    CorruptError
        The parts of a set are not those that the manifest has.
    """
    grid = side.grid
    if grid is None or len(grid.coordinates) > 1:
        return [side]
    check_parts(side)
    return list(side.contents)


def matrix_of(file: Side | Held, name: str | None) -> Single | Rebuilt:
    """The matrix of a file that is meant; that of a set in parts is decoded.

    Raises
    ------
    UsageError, OperandError
        See `pairs.choose`; or a name is given for the one of a set, which has none.
    """
    if isinstance(file, Held):
        return file
    if isinstance(file, Collection) and file.grid is not None:
        if name is not None:
            raise UsageError(f"--tensor {name}: {file.name} is a part set, of one matrix without a name")
        return Rebuilt(parted(file))
    return choose(file, name)


def in_pieces(name: str, parts: int) -> UnsupportedError:
    """The error for a set whose vectors are in parts themselves."""
    return UnsupportedError(
        f"{name}: its vectors are cut into {parts} parts each, and no search takes an operand of such; give the set "
        "itself"
    )


def wanted_of(files: Sequence[Side], name: str | None) -> list[str | None]:
    """A name for each file; beside files whose tensors have names it says nothing of those that hold one without."""
    alone = [_is_alone(file) for file in files]
    return [None if one and not all(alone) else name for one in alone]


def _is_alone(file: Side) -> bool:
    first = contents(file)[0]
    return isinstance(first, ContainerReader) and first.manifest.kind.alone


def _is_void(file: Side, name: str | None) -> bool:
    """Whether what is meant of a container is a matrix without entries."""
    if not is_compressed(file):
        return False
    tensors = [
        info for one in contents(file) if isinstance(one, ContainerReader) for info in one.manifest.tensors
    ]
    meant = [info for info in tensors if name is None or info.name == name]
    return bool(meant) and all(
        len(info.shape) == 2 and 0 in info.shape and is_matrix_dtype(info.dtype) for info in meant
    )
