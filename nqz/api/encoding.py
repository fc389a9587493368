"""Encoding, for Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from nqz.api.arguments import (
    Rules,
    Target,
    as_target,
    flag,
    is_file,
    patterns,
    real,
    rule_texts,
    size,
    texts,
    whole,
    word,
)
from nqz.api.sources import are_files, folder, is_model_source, opened_source
from nqz.api.wording import in_python, speaks_python
from nqz.commands.encode import encode as encode_source
from nqz.commands.models import convert
from nqz.commands.opening import open_collection
from nqz.commands.options import EncodeOptions
from nqz.commands.planning import plan_collection, plan_parts
from nqz.commands.sensitivities import read_across
from nqz.files.access import MemoryAccess
from nqz.files.output import Output
from nqz.format.part_set import SUFFIX as SET
from nqz.ground.errors import UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.threads import workers
from nqz.ground.urls import suffix
from nqz.stages.lattices import DEFAULT

if TYPE_CHECKING:  # typing keeps overloads, and all that they use, until after the end

    @overload
    def encode(
        source: Any, to: None = None, *, rate: float | None = ..., error: float | None = ...,
        max_bytes: int | str | None = ..., seed: int = ..., axis: int | str | None = ..., rules: Rules | None = ...,
        across: str | Mapping[str, float] = ..., center: bool | None = ..., lattice: str = ...,
        states: int | None = ..., coding: str = ..., allocate: str | None = ..., window: int | str = ...,
        kappa: float | None = ...,
        partner: str | float = ...,
        tensors: str | Sequence[str] | None = ..., dequantize: bool = ..., metadata: Mapping[str, str] | None = ...,
        threads: int | None = ..., executor: Any = ..., force: bool = ..., dry_run: Literal[False] = ...,
    ) -> bytes: ...  # fmt: skip
    @overload
    def encode(
        source: Any, to: Target, *, rate: float | None = ..., error: float | None = ...,
        max_bytes: int | str | None = ..., seed: int = ..., axis: int | str | None = ..., rules: Rules | None = ...,
        across: str | Mapping[str, float] = ..., center: bool | None = ..., lattice: str = ...,
        states: int | None = ..., coding: str = ..., allocate: str | None = ..., window: int | str = ...,
        kappa: float | None = ...,
        partner: str | float = ...,
        tensors: str | Sequence[str] | None = ..., dequantize: bool = ..., metadata: Mapping[str, str] | None = ...,
        threads: int | None = ..., executor: Any = ..., force: bool = ..., dry_run: Literal[False] = ...,
    ) -> None: ...  # fmt: skip
    @overload
    def encode(
        source: Any, to: Target | None = None, *, rate: float | None = ..., error: float | None = ...,
        max_bytes: int | str | None = ..., seed: int = ..., axis: int | str | None = ..., rules: Rules | None = ...,
        across: str | Mapping[str, float] = ..., center: bool | None = ..., lattice: str = ...,
        states: int | None = ..., coding: str = ..., allocate: str | None = ..., window: int | str = ...,
        kappa: float | None = ...,
        partner: str | float = ...,
        tensors: str | Sequence[str] | None = ..., dequantize: bool = ..., metadata: Mapping[str, str] | None = ...,
        threads: int | None = ..., executor: Any = ..., force: bool = ..., dry_run: Literal[True],
    ) -> dict[str, Any]: ...  # fmt: skip


@speaks_python
def encode(
    source: Any,
    to: Target | None = None,
    *,
    rate: float | None = None,
    error: float | None = None,
    max_bytes: int | str | None = None,
    seed: int = 0,
    axis: int | str | None = None,
    rules: Rules | None = None,
    across: str | Mapping[str, float] = "uniform",
    center: bool | None = None,
    lattice: str = DEFAULT,
    states: int | None = None,
    coding: str = "entropy",
    allocate: str | None = None,
    window: int | str = "auto",
    kappa: float | None = None,
    partner: str | float = "equal",
    tensors: str | Sequence[str] | None = None,
    dequantize: bool = False,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
    executor: Any = None,
    force: bool = False,
    dry_run: bool = False,
) -> bytes | dict[str, Any] | None:
    """Compress a matrix, or several.

    Parameters
    ----------
    source : array_like, mapping of str to array_like, path, binary file object, or bytes
        A matrix of float16, float32 or float64, bfloat16 or float8: an array of NumPy, or of any package that offers
        its own by ``__array__``, DLPack or Arrow. Vectors lie along `axis`; one dimension is one vector. A mapping of
        names to arrays is a model: what is no matrix of floats in it is carried exactly, as in a .safetensors file. A
        file is encoded as on the command line; bytes are the contents of one. Wherever there may be a path, there may
        be an address or an object of fsspec (`docs/remote.md`). A folder, its index, or a list of files
        is a model on the disk, which becomes a folder.
    to : path or binary file object, optional
        Where to write the container; by default it is returned. A folder for a model on the disk.
    rate : float, optional
        Bits per entry, everything in the container counted; below a million entries up to 448 bytes of headers come on
        top. One of `rate`, `error` and `max_bytes` is needed.
    error : float, optional
        The smallest container whose predicted error of a product with an unrelated matrix, see `partner`, is at most
        this, relative to ‖Ā‖²‖B̄‖²/n.
    max_bytes : int or str, optional
        The best container of at most so many bytes; a string may have a unit, as in ``"12MB"``.
    seed : int
        Sets rotation and dither. Both operands of a product need the same.
    axis : {0, 1, "auto"}, optional
        The contracted axis: 0 (the default) where columns are the vectors, 1 for rows; "auto" tells it from names and
        shapes.
    rules : mapping of str to float or str, or sequence of str, optional
        What becomes of some tensors, by name or shell pattern: a rate, "exact", "skip", "axis:1", "coding:voronoi";
        ``{"*.bias": "exact", "head": 6}`` or ``["*.bias=exact", "head=6"]``. The last one that takes a tensor decides.
    across : {"uniform", "size", "size:EXPONENT"} or mapping of str to float
        How several matrices share a rate or an error: all alike, large ones coarser, or how sensitive each is.
    center : bool, optional
        Whether the mean of every vector is kept apart, and finely; by default where it is worth its bits.
    lattice : {"conv", "leech", "e8", "d4", "z"}
        See `docs/theory.md`.
    states : int, optional
        States of the convolutional code of "conv", a power of two from 4 to 4096.
    coding : {"entropy", "voronoi", "trellis"}
        How points become bits: "trellis", up to 4 bits, is for products with few vectors, and has no lattice.
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative error for every vector.
    window : {"auto", 12, 14, 16}
        Bits that an entry of the trellis depends on: the more, the less error, and the slower to encode.
    kappa : float, optional
        Share of the rotated coordinates to keep; chosen from the rate by default.
    partner : {"equal", "exact"} or float
        The other factor that products will have: coded alike, not compressed, or of so many bits per entry.
    tensors : str or sequence of str, optional
        Names or shell patterns of the tensors to take; all by default.
    dequantize : bool
        Whether quantized tensors of a .gguf file are decoded to float32, and compressed; else they are refused.
    metadata : mapping of str to str, optional
        Text to keep with the matrix: `Container.metadata`.
    threads : int, optional
        Worker threads; the processors available by default. With `executor` those of each of its jobs, by default 1.
    executor : concurrent.futures.Executor, optional
        Whose workers, processes here or elsewhere, do what is large: they read `source`, a path that all of them
        see. The bytes are the same. See `docs/scaling.md`.
    force : bool
        Whether an existing file may be replaced.
    dry_run : bool
        Whether to write nothing, and return what would become of every tensor: its treatment, axis, rate, predicted
        error and bytes, and the totals.

    Returns
    -------
    bytes, dict or None
        The container, unless `to` is given; with `dry_run` the ``tensors``, ``files`` and ``totals`` that
        ``nqz encode --dry-run --json`` prints.

    Raises
    ------
    UsageError
        A parameter makes no sense.
    UnsupportedError
        The type of the array is not supported, or an entry is not finite.
    OutputError, OutputExistsError
        The file cannot be written, or exists.
    """
    options = EncodeOptions(
        rate=real(rate, "rate"), error=real(error, "error"),
        max_bytes=size(max_bytes, "max_bytes"), seed=whole(seed, "seed"),
        axis=axis if isinstance(axis, str) else whole(axis, "axis", optional=True), rules=rule_texts(rules),
        across=dict(across) if isinstance(across, Mapping) else read_across(word(across, "across")),
        center=None if center is None else flag(center, "center"), lattice=word(lattice, "lattice"),
        states=whole(states, "states", optional=True), coding=word(coding, "coding"),
        allocate=word(allocate, "allocate", optional=True),
        window=None if window == "auto" else whole(window, "window"), kappa=real(kappa, "kappa"),
        partner=partner if isinstance(partner, str) else real(partner, "partner"),
        tensors=patterns(tensors, "tensors"), dequantize=flag(dequantize, "dequantize"),
        metadata=texts(metadata, "metadata"),
    )  # fmt: skip
    options.check()
    replace = flag(force, "force")
    if flag(dry_run, "dry_run"):
        return _planned(source, options, threads)
    if is_model_source(source):
        notes: list[str] = []
        with workers(threads, executor=executor) as pool:
            report = convert(source, folder(to), options, pool, force=replace, notes=notes.append)
        _warn([*notes, *report["warnings"]])
        return None
    if to is not None:
        _check_suffix(to)
    with opened_source(source) as opened, workers(threads, executor=executor) as pool:
        content = opened.content
        if to is None:
            data = bytearray()
            report = encode_source(content, MemoryAccess(data), options, pool)
            _warn(report["warnings"])
            return bytes(memoryview(data)[: report["file_bytes"]])
        with Output(to, force=replace, inputs=[opened.identity], check=opened.check) as output:
            report = encode_source(content, output.access, options, pool)
            output.commit(report["file_bytes"])
    _warn(report["warnings"])
    return None


def _planned(source: Any, options: EncodeOptions, threads: int | None) -> dict[str, Any]:
    """What encoding would come to."""
    with workers(threads) as pool:
        if is_file(source) or are_files(source):
            with open_collection(as_target(source), container=False) as collection:
                return plan_collection(collection, options, pool).values()
        with opened_source(source) as opened:
            return plan_parts([opened.content], options, pool).values()


def _warn(texts: Sequence[str]) -> None:
    for text in texts:
        warnings.warn(in_python(text), stacklevel=4)  # where `encode` is called


def _check_suffix(to: Any) -> None:
    if isinstance(to, (str, os.PathLike)):
        found = suffix(to)
        if found in (*SOURCES, SET):  # whoever opens it would take it for one
            raise UsageError(f"{to}: a container is written, and no .{found} file; name it .nqz")
