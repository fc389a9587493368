"""Encoding, for Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nqz.api.arguments import flag, real, texts, whole, word
from nqz.api.interchange import as_plain
from nqz.commands.encode import encode as encode_source
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.output import Output
from nqz.files.source import array_source
from nqz.ground.threads import workers
from nqz.stages.lattices import DEFAULT


def encode(
    array: Any,
    to: Any = None,
    *,
    rate: float | None = None,
    error: float | None = None,
    max_bytes: int | None = None,
    seed: int = 0,
    axis: int = 0,
    center: bool = True,
    lattice: str = DEFAULT,
    states: int | None = None,
    coding: str = "entropy",
    allocate: str | None = None,
    kappa: float | None = None,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
    force: bool = False,
) -> bytes | None:
    """Compress a matrix.

    Parameters
    ----------
    array : array_like of float16, float32 or float64 (or bfloat16 or float8 of ml_dtypes)
        Vectors lie along `axis`; one dimension is one vector.
    to : path or binary file object, optional
        Where to write the container; by default it is returned.
    rate : float, optional
        Bits per entry, everything in the container counted. One of `rate`, `error` and `max_bytes` is needed.
    error : float, optional
        The smallest container whose predicted error of a product with an unrelated matrix, coded alike, is at most
        this, relative to ‖Ā‖²‖B̄‖²/n.
    max_bytes : int, optional
        The best container of at most so many bytes.
    seed : int
        Sets rotation and dither. Both operands of a product need the same.
    axis : {0, 1}
        The contracted axis: 0 where columns are the vectors, 1 for rows.
    center : bool
        Whether the mean of every vector is kept apart.
    lattice : {"conv", "leech", "e8", "d4", "z"}
        See `docs/theory.md`.
    states : int, optional
        States of the convolutional code of "conv", a power of two from 4 to 4096.
    coding : {"entropy", "voronoi"}
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative error for every vector.
    kappa : float, optional
        Share of the rotated coordinates to keep; chosen from the rate by default.
    metadata : mapping of str to str, optional
        Text to keep with the matrix: `Container.metadata`.
    threads : int, optional
        Worker threads; the processors available by default.
    force : bool
        Whether an existing file may be replaced.

    Returns
    -------
    bytes or None
        The container, unless `to` is given.

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
        max_bytes=whole(max_bytes, "max_bytes", optional=True), seed=whole(seed, "seed"),
        axis=whole(axis, "axis"), center=flag(center, "center"), lattice=word(lattice, "lattice"),
        states=whole(states, "states", optional=True), coding=word(coding, "coding"),
        allocate=word(allocate, "allocate", optional=True), kappa=real(kappa, "kappa"),
        metadata=texts(metadata, "metadata"),
    )  # fmt: skip
    options.check()
    plain = as_plain(array)
    with array_source(plain.array, dtype=plain.dtype) as source, workers(threads) as pool:
        if to is None:
            data = bytearray()
            report = encode_source(source, MemoryAccess(data), options, pool)
            return bytes(memoryview(data)[: report["file_bytes"]])
        with Output(to, force=flag(force, "force")) as output:
            report = encode_source(source, output.access, options, pool)
            output.commit(report["file_bytes"])
    return None
