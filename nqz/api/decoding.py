"""Decoding of whole containers, for Python."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from nqz.api.arguments import (
    Path,
    Source,
    Target,
    as_target,
    canonical_name,
    flag,
    float_type,
    patterns,
    word,
)
from nqz.api.container import Container
from nqz.api.exact import ExactTensor
from nqz.api.file import File
from nqz.api.sources import folder, is_model_source
from nqz.api.wording import speaks_python
from nqz.commands.decode import DecodeOptions, decode_together
from nqz.commands.joining import taken_parts
from nqz.commands.models import convert
from nqz.commands.opening import is_part_set, open_collection
from nqz.commands.sets.decode import decode_set, spec_of
from nqz.files.access import MemoryAccess
from nqz.files.npy import NPY
from nqz.files.output import Output
from nqz.ground.dtypes import storage_dtype
from nqz.ground.errors import UsageError
from nqz.ground.sources import SOURCES, listed
from nqz.ground.threads import workers
from nqz.ground.urls import suffix

Decoded = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]


if TYPE_CHECKING:  # typing keeps overloads, and all that they use, until after the end

    @overload
    def decode(
        source: Source | Sequence[Path] | Container, to: None = None, *, tensors: str | Sequence[str] | None = ...,
        dtype: Any = ..., estimator: str = ..., threads: int | None = ..., executor: Any = ..., force: bool = ...,
    ) -> Decoded: ...  # fmt: skip
    @overload
    def decode(
        source: Source | Sequence[Path], to: Target, *, tensors: str | Sequence[str] | None = ..., dtype: Any = ...,
        estimator: str = ..., threads: int | None = ..., executor: Any = ..., force: bool = ...,
    ) -> None: ...  # fmt: skip


@speaks_python
def decode(
    source: Any,
    to: Target | None = None,
    *,
    tensors: str | Sequence[str] | None = None,
    dtype: Any = None,
    estimator: str = "mmse",
    threads: int | None = None,
    executor: Any = None,
    force: bool = False,
) -> Decoded | None:
    """Rebuild what a container was made from.

    Parameters
    ----------
    source : path, binary file object, bytes, or Container; or a sequence of paths
        A folder, its index, or several files are a model. There may be an address in place of a path.
    to : path or binary file object, optional
        File to write, of the kind that its suffix says, or of the kind of the original; a folder for a model,
        of which some `tensors` may go to a file. By default arrays are returned.
    tensors : str or sequence of str, optional
        Names or shell patterns of the tensors to take; all by default.
    dtype : dtype-like, optional
        Type of the matrices; the original by default, float32 for arrays of bfloat16.
    estimator : {"mmse", "unbiased"}
        The least mean square error, or the mean over dithers exactly the matrix.
    threads : int, optional
        With `executor` those of each of its jobs, by default 1.
    executor : concurrent.futures.Executor, optional
        Whose workers rebuild matrices of several panels, and the parts of a set. See `docs/scaling.md`.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    ndarray, or dict of str to ndarray, or None
        The array of a container that was made from a single one, else one for each name; None if `to` is given.

    Raises
    ------
    UsageError
        Unknown type or estimator, or no tensor is called so.
    CorruptError
        The data is damaged.
    OutputError, OutputExistsError
        The file cannot be written, or exists.
    """
    chosen, estimator = patterns(tensors, "tensors"), word(estimator, "estimator")
    if estimator not in ("mmse", "unbiased"):
        raise UsageError(f"estimator {estimator!r}: mmse or unbiased")
    wanted = None if dtype is None else float_type(dtype)
    if is_part_set(source):
        name = None if wanted is None else canonical_name(wanted)
        return _decoded_set(
            source, to, DecodeOptions(None, chosen, name, estimator), threads, executor, flag(force, "force")
        )
    if to is not None:
        name = None if wanted is None else canonical_name(wanted)
        options = DecodeOptions(None, chosen, name, estimator)
        if is_model_source(source) and not (chosen and _is_file(to)):
            with workers(threads, executor=executor) as pool:
                convert(source, folder(to), options, pool, force=flag(force, "force"))
        else:
            _write(source, to, options, threads, executor, flag(force, "force"))
        return None
    if executor is not None:
        raise UsageError(
            "executor: its workers decode part sets, and what is written to a file; give one as to="
        )
    if isinstance(source, Container):
        return _arrays(source, chosen, wanted, estimator, threads)
    with Container(File(source)) as container:
        return _arrays(container, chosen, wanted, estimator, threads)


def _decoded_set(
    source: Any, to: Any, options: DecodeOptions, threads: int | None, executor: Any, force: bool
) -> Decoded | None:
    """A part set as the matrix that it is of, or that written to a file."""
    with (
        open_collection(source, container=True, sets=True) as collection,
        workers(threads, executor=executor) as pool,
    ):
        options = replace(options, kind="npy" if to is None else _kind(to, "npy"))
        if to is None:
            data = bytearray()
            decode_set(collection, MemoryAccess(data), options, pool)
            source = NPY.read(MemoryAccess(memoryview(data).toreadonly()), collection.name)
            spec = spec_of(collection, options)
            array = np.frombuffer(
                data, storage_dtype(spec.dtype), math.prod(spec.shape), source.tensors[0].offset
            )
            return array.reshape(spec.shape, order="F" if spec.fortran_order else "C")
        with Output(to, force=force, inputs=collection.identities, check=collection.check) as output:
            output.commit(decode_set(collection, output.access, options, pool))
    return None


def _arrays(
    container: Container, chosen: tuple[str, ...], dtype: Any, estimator: str, threads: int | None
) -> Decoded:
    parts = taken_parts([part.tensors for part in container.collection.parts], chosen, container.name)
    names = [whole.name for part in parts for whole in part]
    found: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        tensor = container[name]
        if isinstance(tensor, ExactTensor):
            found[name] = tensor.decode()
        else:
            found[name] = tensor.decode(dtype, estimator, threads=threads)
    return found[""] if container.alone else found


def _write(
    source: Any, to: Any, options: DecodeOptions, threads: int | None, executor: Any, force: bool
) -> None:
    with (
        open_collection(as_target(source), container=True) as collection,
        workers(threads, executor=executor) as pool,
    ):
        chosen = taken_parts([part.tensors for part in collection.parts], options.tensors, collection.name)
        parts = list(zip(collection.contents, chosen, strict=True))
        options = replace(options, kind=_kind(to, collection.contents[0].manifest.source))
        with Output(to, force=force, inputs=collection.identities, check=collection.check) as output:
            for reader in () if options.tensors else collection.contents:
                reader.verify(None, pool.map)
            report = decode_together(parts, collection.name, output.access, options, pool)
            output.commit(report["bytes"])


def _is_file(to: Any) -> bool:
    """Whether an output is one file by its name, or is one already."""
    return not isinstance(to, (str, os.PathLike)) or suffix(to) in SOURCES


def _kind(to: Any, origin: str) -> str:
    """Format of an output from its suffix; that of the original for file objects."""
    if not isinstance(to, (str, os.PathLike)):
        return origin
    found = suffix(to)
    if found not in SOURCES:
        raise UsageError(f"{to}: the suffix of the output must be {listed(SOURCES)}")
    return found
