"""Encoding: a source of tensors to a container.

Every matrix is read twice: once to measure it (`measure`), once to code it. If the result is larger than the rate allows,
it is coded again a little coarser.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nqz import __version__
from nqz.codec import allocate, center, dither, mod, norms, scale
from nqz.codec.arithmetic import total
from nqz.codec.encoder import Encoder
from nqz.codec.lattice import LATTICES
from nqz.codec.panels import panel_columns, panels
from nqz.codec.parameters import MAX_LENGTH, Parameters
from nqz.container.exact import exact_pieces, zstd_pack
from nqz.container.manifest import Manifest, TensorInfo
from nqz.container.maps import pack_map
from nqz.container.writer import ContainerWriter
from nqz.errors import UnsupportedError, UsageError
from nqz.matrices.dtypes import is_matrix_dtype
from nqz.matrices.npy import refuse_non_float
from nqz.operations.header import ALPHA, TensorHeader
from nqz.operations.measure import measure
from nqz.operations.threads import Workers

MIN_RATE, MAX_RATE = 0.05, 12.0

_FREE_BYTES = 400
_SMALL = 10**6
_LEVEL = 19
_HEADER_ROOM = 16  # bytes by which a header may grow once its numbers are known
_TRIES = 6


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asks of an encoding.

    Attributes
    ----------
    rate : float
        Bits an entry, everything in the file counted.
    seed : int
        Sets rotation and dither; both operands of a product need the same.
    axis : int
        Axis along which the vectors lie, the contracted one.
    center : bool
        Whether columns are centered.
    lattice : {"z", "d4", "e8"}
    coding : {"entropy", "voronoi"}
    allocate : {"matrix", "column"}
        The least error of the product as a whole, or the same relative precision for every column.
    kappa : float, optional
        Fraction of coordinates to keep; chosen from the rate by default.
    tensors : sequence of str
        Names or shell patterns of the tensors to take; all by default.
    """

    rate: float
    seed: int = 0
    axis: int = 0
    center: bool = True
    lattice: str = "e8"
    coding: str = "entropy"
    allocate: str = "matrix"
    kappa: float | None = None
    tensors: Sequence[str] = ()

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense."""
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise UsageError(f"rate {self.rate:g}: a number of bits per entry from {MIN_RATE} to {MAX_RATE:g} is needed")
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: an integer from 0 to 2**64 - 1 is needed")
        if self.axis not in (0, 1):
            raise UsageError(f"axis {self.axis}: 0 (columns) or 1 (rows)")
        if self.lattice not in LATTICES:
            raise UsageError(f"lattice {self.lattice!r}: one of {', '.join(LATTICES)}")
        if self.coding not in ("entropy", "voronoi"):
            raise UsageError(f"coding {self.coding!r}: entropy or voronoi")
        if self.allocate not in ("matrix", "column"):
            raise UsageError(f"allocation {self.allocate!r}: matrix or column")
        if self.kappa is not None and not 0.0 < self.kappa <= 1.0:
            raise UsageError(f"kappa {self.kappa:g}: a number above 0 and at most 1 is needed")


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
    """
    options.check()
    chosen = [source.tensors[i] for i in select([t.name for t in source.tensors], options.tensors, source.name)]
    if source.kind == "npy":
        refuse_non_float(source.tensors[0], source.name)
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
        coder = _MatrixEncoder(source, tensor, options, writer, pool, progress)
        coder.run()
        report["matrices"] += 1
        report["entries"] += coder.entries
        report["bits"] += 8.0 * writer.tensor_bytes()
        report["warnings"] += coder.warnings
    report["file_bytes"] = writer.finish()
    if source.kind == "npy":
        report["bits"] = 8.0 * report["file_bytes"]
    return report


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


class _MatrixEncoder:
    """Codes one matrix: measure, choose parameters, code, and again if the result is too large."""

    def __init__(self, source, tensor, options: EncodeOptions, writer: ContainerWriter, pool, progress):
        self.tensor, self.options, self.writer, self.pool = tensor, options, writer, pool
        self.where = source.name + (f": tensor {tensor.name!r}" if tensor.name else "")
        axis = 0 if len(tensor.shape) == 1 else options.axis
        self.axis = axis
        self.view = tensor.vectors(axis)
        self.n, self.columns = self.view.length, self.view.count
        if self.n > MAX_LENGTH:
            raise UnsupportedError(f"{self.where}: vectors of {self.n} entries; at most {MAX_LENGTH} are supported")
        self.entries = self.n * self.columns
        self.whole_file = source.kind == "npy"
        self.lattice = LATTICES[options.lattice]
        self.progress = progress
        self.warnings: list[str] = []

    def run(self) -> None:
        options = self.options
        half = None if self.progress is None else lambda size: self.progress(self.tensor.name, size / 2)
        self.measured = measure(self.tensor, self.view, options.center, self.where, half)
        codes = norms.encode(self.measured.energy, self.measured.exponent)
        self.codes = codes
        self.digits = math.ceil(options.rate) if options.center else None
        self.means = np.zeros(self.columns)
        side = [("NORM", _packed(norms.pack(codes)))]
        if options.center:
            self.means, shift, q = center.quantize(self.measured.mean, codes, self.n, self.digits)
            side.append(("MEAN", _packed(center.pack(shift, q))))
        parameters = self._first_parameters(side)
        start = self.writer.mark()
        for attempt in range(_TRIES):
            size = self._code(parameters, side)
            excess = 8.0 * size - options.rate * self.entries
            if self.entries < _SMALL:
                excess -= 8.0 * min(_FREE_BYTES, self.fixed)
            again = self._adjusted(parameters, excess, attempt)
            if again is None:
                self._warn_if_nothing_is_left(parameters)
                return
            self.writer.rollback(start)
            parameters = again
        self._warn_about_side_information(side)

    def _first_parameters(self, side) -> Parameters:
        options, lattice = self.options, self.lattice
        base = Parameters(
            n=self.n, columns=self.columns, m=self.n, lattice=lattice, coding=options.coding,
            allocate=options.allocate, delta=0, lowest_class=0, mean_digits=self.digits,
            rotation_seed=options.seed, dither_key=bytes(16), nesting=None,
        )  # fmt: skip
        header = len(self._header(base).pack()) + (_HEADER_ROOM if options.coding == "entropy" else 3 * _HEADER_ROOM)
        lengths = [header] + [len(payload) for _, payload in side]
        if self.whole_file:
            self.fixed = self.writer.projected_size(lengths)
        else:
            self.fixed = sum(lengths) + 18 * len(lengths)
        charged = self.fixed - (min(_FREE_BYTES, self.fixed) if self.entries < _SMALL else 0)
        budget = options.rate * self.entries - 8.0 * charged
        if options.coding == "voronoi":
            return mod.plan(base, int((self.codes != norms.ZERO).sum()), budget, options.kappa)
        plan = allocate.plan(self.codes, self.n, lattice, options.allocate, budget, options.kappa)
        return replace(base, m=plan.m, delta=plan.delta, lowest_class=plan.lowest_class)

    def _adjusted(self, parameters: Parameters, excess: float, attempt: int) -> Parameters | None:
        """Parameters for another try, None if this one is good: at most the rate, and within half a percent of it."""
        if parameters.nesting is not None:
            alive = int((self.codes != norms.ZERO).sum())
            return mod.adjust(parameters, alive, excess, self.entries * self.options.rate)
        coded = self._coded(parameters)
        if coded == 0 or (excess <= 0 and (-excess < 0.005 * self.options.rate * self.entries or attempt)):
            return None
        step = math.ceil(4096.0 * (excess / coded)) + (1 if excess > 0 else 2)
        limit = allocate.finest_delta(self.codes, self.n, parameters.allocate)
        delta = max(parameters.delta + step, limit)
        return None if delta == parameters.delta else replace(parameters, delta=delta)

    def _coded(self, parameters: Parameters) -> int:
        """Number of entries that are coded."""
        p = parameters
        return int(scale.scaling(self.codes, self.n, self.lattice, p.delta, p.allocate, p.lowest_class).kept.sum()) * p.m

    def _header(self, parameters: Parameters) -> TensorHeader:
        measured = self.measured
        return TensorHeader(parameters, self.axis, self.options.rate, ALPHA, measured.total, measured.digest)

    def _code(self, parameters: Parameters, side) -> int:
        """Write all records of the tensor; return the bytes that the rate counts."""
        writer, options = self.writer, self.options
        header = self._header(parameters)
        key = dither.key(options.seed, self.measured.digest, self.tensor.name, pack_map(header.fields()))
        parameters = replace(parameters, dither_key=key)
        if parameters.nesting is not None:
            parameters = self._with_gain(parameters)
        writer.write("TENS", replace(header, parameters=parameters).pack())
        for kind, payload in side:
            writer.write(kind, payload)
        for payload, _ in self._chunks(parameters, self.progress):
            writer.write("CHNK", payload)
        return writer.projected_size() if self.whole_file else writer.tensor_bytes()

    def _with_gain(self, parameters: Parameters) -> Parameters:
        """Measure the gain and the power of a Voronoi code on its first panel: its header stands before its chunks."""
        cross = square = 0
        for _, moments in self._chunks(parameters, None, panel_limit=1):
            cross += moments[0]
            square += moments[1]
        first = slice(0, panel_columns(self.n))
        codes = self.codes[first]
        octave = norms.reference(codes) >> 8
        loud = codes != norms.ZERO
        shift = np.clip(2 * self.measured.exponent[first].astype(np.int64) - octave, -1000, 1000)
        actual = np.ldexp(self.measured.energy[first], shift.astype(np.int32))
        ratio = total(actual[loud] / norms.energy(codes, octave << 8)[loud])
        energy = ratio * parameters.m * float(scale.ratio(np.int64(-2 * parameters.delta), self.n))
        return replace(parameters, nesting=mod.with_gain(parameters, energy, cross, square))

    def _chunks(self, parameters: Parameters, progress, panel_limit: int | None = None):
        """Code all chunks in order: (payload, moments)."""
        encoder = Encoder(parameters, self.codes, self.means)
        kept = scale.scaling(
            self.codes, self.n, self.lattice, parameters.delta, parameters.allocate, parameters.lowest_class
        ).kept
        bfloat16 = self.tensor.dtype == "bfloat16"
        for panel in panels(self.n, parameters.m, encoder.classes, kept)[:panel_limit]:
            block = self.view.read(panel.first, panel.last)
            stream = np.empty((len(panel.order), parameters.m), np.float32)
            step = max(1, (1 << 18) // self.n)

            def rotate(first, panel=panel, block=block, stream=stream, step=step):
                last = min(first + step, len(stream))
                stream[first:last] = encoder.rotated(panel, block, bfloat16, first, last)

            for _ in self.pool.map(rotate, range(0, len(stream), step)):
                pass
            del block
            flat = stream.reshape(-1)

            def code(chunk, panel=panel, flat=flat):
                return encoder.encode_chunk(panel, chunk, flat[chunk.start : chunk.start + chunk.count])

            yield from self.pool.map(code, panel.chunks)
            if progress is not None:
                width = (panel.last - panel.first) / self.columns
                progress(self.tensor.name, self.tensor.nbytes / 2 * width)

    def _warn_if_nothing_is_left(self, parameters: Parameters) -> None:
        if not self._coded(parameters) and (self.codes != norms.ZERO).any():
            self.warnings.append(
                f"{self.where}: {self.options.rate:g} bits per entry leave room for nothing but the means of its "
                f"{self.columns} vectors of {self.n} entries"
            )

    def _warn_about_side_information(self, side) -> None:
        bits = 8.0 * sum(len(payload) for _, payload in side) / self.entries
        self.warnings.append(
            f"{self.where}: its {self.columns} vectors have only {self.n} entries each; norms and means alone take "
            f"{bits:.2g} bits an entry of the {self.options.rate:g} asked for (try the other --axis, or --no-center)"
        )


def _packed(parts: tuple[bytes, bytes]) -> bytes:
    prefix, body = parts
    return prefix + zstd_pack(body, _LEVEL)
