"""Encoding: a source of tensors to a container.

`matrix` codes a single matrix; this module chooses the tensors, and the rate where a number of bytes is asked for.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nqz import __version__
from nqz.codec.lattice import DEFAULT, DEFAULT_STATES, FAMILIES, LATTICES, NESTED, STATES, Lattice
from nqz.container.exact import exact_pieces
from nqz.container.manifest import Manifest, TensorInfo
from nqz.container.records import FRAMING
from nqz.container.writer import ContainerWriter
from nqz.errors import UsageError
from nqz.matrices.dtypes import is_matrix_dtype
from nqz.matrices.npy import refuse_non_float
from nqz.operations.matrix import MatrixEncoder
from nqz.operations.threads import Workers

MIN_RATE, MAX_RATE = 0.05, 12.0
MIN_ERROR = 2.0 * 4.0**-MAX_RATE

_TRIES = 6


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asks of an encoding: one of `rate`, `error` and `max_bytes`, and how.

    Attributes
    ----------
    rate : float, optional
        Bits an entry, everything in the file counted.
    error : float, optional
        The smallest file whose predicted error of a product (unrelated partner, coded alike) is at most this.
    max_bytes : int, optional
        The best file of at most so many bytes.
    seed : int
        Sets rotation and dither; both operands of a product need the same.
    axis : int
        Axis along which the vectors lie, the contracted one.
    center : bool
        Whether columns are centered.
    lattice : {"conv", "leech", "e8", "d4", "z"}
    states : int, optional
        States of the convolutional code of "conv".
    coding : {"entropy", "voronoi"}
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative precision for every column. By default "matrix" for
        the entropy coding; the Voronoi coding knows "column" only.
    kappa : float, optional
        Fraction of coordinates to keep; chosen from the rate by default.
    tensors : sequence of str
        Names or shell patterns of the tensors to take; all by default.
    """

    rate: float | None = None
    error: float | None = None
    max_bytes: int | None = None
    seed: int = 0
    axis: int = 0
    center: bool = True
    lattice: str = DEFAULT
    states: int | None = None
    coding: str = "entropy"
    allocate: str | None = None
    kappa: float | None = None
    tensors: Sequence[str] = ()
    strict: bool = False
    """Whether the bytes that come on top of the rate for small matrices are withheld."""

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense."""
        self._check_target()
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: an integer from 0 to 2**64 - 1 is needed")
        if self.axis not in (0, 1):
            raise UsageError(f"axis {self.axis}: 0 (columns) or 1 (rows)")
        if self.lattice not in FAMILIES:
            raise UsageError(f"lattice {self.lattice!r}: one of {', '.join(FAMILIES)}")
        if self.states is not None and self.lattice != "conv":
            raise UsageError(f"states {self.states}: only the lattice conv has states")
        if self.states is not None and self.states not in STATES:
            raise UsageError(f"states {self.states}: one of {', '.join(map(str, STATES))}")
        if self.coding not in ("entropy", "voronoi"):
            raise UsageError(f"coding {self.coding!r}: entropy or voronoi")
        if self.coding == "voronoi" and self.lattice not in NESTED:
            raise UsageError(f"lattice {self.lattice!r}: the Voronoi coding needs one of {', '.join(NESTED)}")
        if self.allocate not in (None, "matrix", "column"):
            raise UsageError(f"allocation {self.allocate!r}: matrix or column")
        if self.coding == "voronoi" and self.allocate == "matrix":
            raise UsageError("allocation 'matrix': the Voronoi coding scales every column by its norm, choose 'column'")
        if self.kappa is not None and not 0.0 < self.kappa <= 1.0:
            raise UsageError(f"kappa {self.kappa:g}: a number above 0 and at most 1 is needed")

    def _check_target(self) -> None:
        given = [x for x in (self.rate, self.error, self.max_bytes) if x is not None]
        if len(given) != 1:
            raise UsageError("one of a rate (-r), an error (--error) and a number of bytes (--max-bytes) is needed")
        if self.rate is not None and not MIN_RATE <= self.rate <= MAX_RATE:
            raise UsageError(f"rate {self.rate:g}: a number of bits per entry from {MIN_RATE} to {MAX_RATE:g} is needed")
        if self.error is not None and not MIN_ERROR <= self.error < 1.0:
            raise UsageError(f"error {self.error:g}: a number from {MIN_ERROR:g} to below 1 is needed")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise UsageError(f"{self.max_bytes} bytes: a positive number is needed")

    @property
    def code(self) -> Lattice:
        """The lattice."""
        return LATTICES[f"conv{self.states or DEFAULT_STATES}" if self.lattice == "conv" else self.lattice]


def select(names: Sequence[str], patterns: Sequence[str], where: str) -> list[int]:
    """Indices of the names that a list of names or shell patterns takes; all for an empty list."""
    if not patterns:
        return list(range(len(names)))
    taken: set[int] = set()
    for pattern in patterns:
        found = [i for i, n in enumerate(names) if n == pattern or fnmatch.fnmatchcase(n, pattern)]
        if not found:
            raise UsageError(f"{where}: no tensor is called {pattern!r}")
        taken.update(found)
    return sorted(taken)


def encode(source, access, options: EncodeOptions, pool: Workers, progress: Callable | None = None) -> dict:
    """Encode the tensors of a source.

    Parameters
    ----------
    source : Source
    access
        Where the container is written.
    options : EncodeOptions
    pool : Workers
    progress : callable, optional
        Called as progress(tensor name, bytes of input processed).

    Returns
    -------
    dict
        ``file_bytes``; ``entries`` and ``bits`` of the matrices; ``matrices`` and ``exact``: how many of each;
        ``warnings``: list of str.

    Raises
    ------
    UsageError
        An option makes no sense, or nothing fits into the bytes allowed.
    UnsupportedError
        A tensor is not of finite floating-point numbers.
    """
    options.check()
    chosen = [source.tensors[i] for i in select([t.name for t in source.tensors], options.tensors, source.name)]
    if source.kind == "npy":
        refuse_non_float(source.tensors[0], source.name)
    if options.max_bytes is None:
        return _encode(source, chosen, access, options, pool, progress)
    return _encode_within(source, chosen, access, options, pool, progress)


def _encode(source, chosen, access, options: EncodeOptions, pool, progress) -> dict:
    infos = [_info(tensor, source.kind) for tensor in chosen]
    writer = ContainerWriter(access, Manifest(source.kind, source.metadata, tuple(infos), f"nqz {__version__}"))
    report = {"entries": 0, "bits": 0.0, "matrices": 0, "exact": 0, "warnings": []}
    for index, (tensor, info) in enumerate(zip(chosen, infos)):
        writer.begin(index)
        if info.kind == "exact":
            for piece in exact_pieces(_counted(tensor.pieces(), tensor.name, progress)):
                writer.write("EXCT", piece)
            report["exact"] += 1
            continue
        coder = MatrixEncoder(source, tensor, options, writer, pool, progress)
        coder.run()
        report["matrices"] += 1
        report["entries"] += coder.entries
        report["bits"] += 8.0 * writer.tensor_bytes()
        report["warnings"] += coder.warnings
    report["file_bytes"] = writer.finish()
    if source.kind == "npy":
        report["bits"] = 8.0 * report["file_bytes"]
    return report


def _encode_within(source, chosen, access, options: EncodeOptions, pool, progress) -> dict:
    """Encode at the highest rate, common to all matrices, with which the file fits into `max_bytes`."""
    wanted = options.max_bytes
    infos = [_info(tensor, source.kind) for tensor in chosen]
    entries = sum(math.prod(info.shape) for info in infos if info.kind == "matrix")
    exact = sum(
        len(piece) + FRAMING for t, info in zip(chosen, infos) if info.kind == "exact" for piece in exact_pieces(t.pieces())
    )
    rate = min(MAX_RATE, 8.0 * (wanted - exact) / entries) if entries else MAX_RATE
    for _ in range(_TRIES):
        if entries and rate < MIN_RATE:
            break
        attempt = replace(options, rate=rate, strict=True)
        report = _encode(source, chosen, access, attempt, pool, progress)
        excess = report["file_bytes"] - wanted
        if excess <= 0:
            return report
        if not entries:
            break
        rate = min(rate, report["bits"] / entries) - 8.0 * (excess + 1) / entries
    raise UsageError(f"{source.name}: does not fit into {wanted} bytes, even at {MIN_RATE} bits per entry")


def _counted(pieces, name, progress):
    for piece in pieces:
        yield piece
        if progress is not None:
            progress(name, len(piece))


def _info(tensor, kind: str) -> TensorInfo:
    dimensions = len(tensor.shape)
    matrix = is_matrix_dtype(tensor.dtype) and 0 not in tensor.shape and dimensions >= (1 if kind == "npy" else 2)
    return TensorInfo(
        tensor.name,
        "matrix" if matrix else "exact",
        tuple(tensor.shape),
        tensor.dtype,
        "F" if tensor.fortran_order else "C",
        tensor.byte_order,
    )
