"""From a container to tensors: parameters, norms, means, classes, chunks, entries (sections 9-11, 13, 17)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import F64, I64, dither_levels, exp2, nearest_log2
from .container import Container, Tensor, is_integer, numpy_dtype
from .entropy import Decoder
from .lattices import CONV, LATTICES, group_length, levels, second_moment
from .rotation import kept_coordinates, rotate_back
from .sequences import NewerFormatError, Reader, require, sequence
from .trellis import chunk_columns, classes_of, constants, dither_table
from .trellis import decode as decode_trellis
from .voronoi import decode as decode_voronoi

LARGEST = {"float16": 65504.0, "bfloat16": (2 - 2.0**-7) * 2.0**127, "float32": (2 - 2.0**-23) * 2.0**127}
FLOAT8 = {  # M, B and the code of the largest (section 17.1)
    "float8_e4m3fn": (3, 7, 0x7E),
    "float8_e5m2": (2, 15, 0x7B),
    "float8_e4m3fnuz": (3, 8, 0x7F),
    "float8_e5m2fnuz": (2, 16, 0x7F),
}


def _known(name: Any, names: tuple[str, ...]) -> None:
    """Refuse a name that this version does not know."""
    require(isinstance(name, str), "name is not a str")
    if name not in names:
        raise NewerFormatError(f"{name!r} is not known")


@dataclass
class Matrix:
    """The parameters of a matrix, checked (section 9)."""

    tensor: Tensor

    def __post_init__(self) -> None:
        p, shape = self.tensor.parameters, self.tensor.shape
        require(isinstance(p, list) and len(p) == 16, "parameters of a matrix")
        axis, rate, self.m, transform, self.lattice, coding, allocate, self.delta = p[:8]
        lowest, digits, self.norm_step, partner, reference, octaves, digest, key = p[8:]
        require(is_integer(axis, 0, min(1, len(shape) - 1)), "axis")
        split = len(shape) - 1 if axis == 0 and len(shape) > 1 else 1
        self.axis = axis
        front, back = math.prod(shape[:split]), math.prod(shape[split:])
        self.n, self.columns = (back, front) if axis else (front, back)
        require(type(rate) is float and rate > 0 and is_integer(self.m, 1, self.n), "rate or kept")
        for item in (transform, coding):
            require(isinstance(item, list) and len(item) == 2, "transform or coding")
            require(isinstance(item[1], list), "parameters of transform or coding")
        _known(transform[0], ("hadamard-2",))
        _known(coding[0], ("entropy", "voronoi", "trellis"))
        if self.lattice is not None:
            _known(self.lattice, LATTICES)
        _known(allocate, ("matrix", "column"))
        require(len(transform[1]) == 1 and is_integer(transform[1][0], 0, 2**64 - 1), "seed")
        require(self.n <= 1 << 26, "columns are too long for the rotation")
        self.trellis: list[Any] | None = coding[1] if coding[0] == "trellis" else None
        if self.trellis is not None:
            require(self.lattice is self.delta is lowest is octaves is None, "lattice or scale")
            require(allocate == "matrix" and self.m == self.n and len(coding[1]) == 3, "trellis coding")
            require(is_integer(coding[1][0], 0, 16) and coding[1][0] in (0, 12, 14, 16), "window")
            require(is_integer(coding[1][1], -(1 << 22), 1 << 22), "level")
            spread = coding[1][2]
            require(isinstance(spread, list) and all(is_integer(t, -32, 127) for t in spread), "spread")
            require(not spread or (len(spread) == 7 and any(spread)), "spread")
            self.labels = dither_table(key)
        else:
            require(self.lattice is not None, "lattice")
            require(is_integer(self.delta, -8192 * 4096, 8192 * 4096), "delta")
            require(is_integer(lowest, 0, 1024), "lowest class")
            require(octaves is None if allocate == "column" else is_integer(octaves, 0, 30), "octaves")
        require(digits is None or is_integer(digits, -8, 64), "mean_digits")
        require(is_integer(self.norm_step, 1, 8192), "norm_step")
        require(self.norm_step.bit_count() == 1, "norm_step is not a power of two")
        if isinstance(partner, str):
            _known(partner, ("equal", "exact"))
        else:
            require(type(partner) is float and partner > 0, "partner")
        most = 1 << 21
        require(
            reference is None or (digits is not None and is_integer(reference, -most, most)), "mean_reference"
        )
        require(all(isinstance(b, bytes) and len(b) == 16 for b in (digest, key)), "digest or dither key")
        self.seed, self.by_column = transform[1][0], allocate == "column"
        self.lowest, self.digits, self.reference, self.octaves, self.key = (
            lowest,
            digits,
            reference,
            octaves,
            key,
        )
        self.voronoi: list[Any] | None = coding[1] if coding[0] == "voronoi" else None
        self.gain, self.power = 1.0, 1.0
        if self.trellis is not None:
            return
        if self.voronoi is None:
            require(not coding[1], "entropy coding has no parameters")
            return
        require(self.lattice not in CONV and allocate == "column" and len(coding[1]) == 5, "Voronoi coding")
        pair, mix, multipliers, self.gain, self.power = coding[1]
        require(isinstance(pair, list) and len(pair) == 2 and is_integer(pair[0], 2, 4095), "q")
        require(is_integer(pair[1], pair[0] + 1, pair[0] + 1) and is_integer(mix, 0, 65536), "q + 1 or mix")
        require(isinstance(multipliers, list) and len(multipliers) == 2, "multipliers")
        for four in multipliers:
            require(isinstance(four, list) and len(four) == 4, "multipliers")
            require(all(is_integer(b, 1, 4096) for b in four) and sorted(four) == four, "multipliers")
        require(type(self.gain) is float and 0.001 <= self.gain <= 1000, "gain")
        require(type(self.power) is float and 1e-6 <= self.power <= 1e6, "power")
        b = (64 * self.n * pair[1] ** 2).bit_length()
        require(-2048 * (b + 3) <= self.delta <= -2048 * (b - 4), "delta")

    def scales(self, codes: I64) -> I64:
        """Codes of the lattice scales of columns with these norm codes (section 13)."""
        if self.by_column:
            return np.asarray(self.delta + 8 * codes)
        return np.asarray(np.maximum(self.delta, 8 * codes - 2048 * (self.n.bit_length() - 1 + self.octaves)))

    def mean_digits(self, codes: I64) -> I64:
        """Additional digits of the means of columns with these norm codes (section 11)."""
        least = self.digits or 0
        if self.reference is None:
            return np.full(len(codes), least)
        return np.asarray(least + np.clip((codes - self.reference) // 512, 0, max(0, 17 - least)))


@dataclass
class Panel:
    """What is known of the columns of a panel before their chunks are read (section 13)."""

    means: F64
    scale: F64  # of the integers of columns, without bias (section 17)
    noise: F64  # d
    order: I64  # the kept columns, as their entries are coded
    classes: I64  # of the columns in `order`


def _norms(reader: Reader, width: int, step: int) -> tuple[I64, NDArray[np.bool_]]:
    """Norm codes, 0 where there is no energy, and which columns have energy (section 10)."""
    base = reader.integer(4, signed=True)
    values = sequence(reader, width)
    reader.end()
    require(abs(base) <= 1 << 21 and (values >= 0).all() and (values < 1 << 23).all(), "norm code")
    codes = np.where(values > 0, base + (values - 1) * step, 0)
    require((abs(codes) <= 1 << 21).all(), "norm code")
    return codes, values > 0


def _means(reader: Reader, matrix: Matrix, codes: I64, energy: NDArray[np.bool_]) -> F64:
    """Means of the columns (section 11)."""
    shift, q = sequence(reader, len(codes)), sequence(reader, len(codes))
    reader.end()
    require(((shift >= 0) & (shift <= 255)).all(), "shift of a mean")
    exponent = (codes >> 9) - (matrix.n - 1).bit_length() - 3 - matrix.mean_digits(codes) - shift
    half = exponent >> 1
    with np.errstate(over="ignore"):
        means = np.ldexp(np.ldexp(q.astype(np.float64), half), exponent - half)
    means = np.where(energy, means, 0.0)
    means = np.where(shift == 255, q.view(np.float64), means)
    require(np.isfinite(means).all(), "mean is not finite")
    return np.asarray(means)


def _panel(matrix: Matrix, norm: bytes, mean: bytes | None, width: int) -> Panel:
    codes, energy = _norms(Reader(norm), width, matrix.norm_step)
    means = np.zeros(width) if mean is None else _means(Reader(mean), matrix, codes, energy)
    if matrix.trellis is not None:
        return _rings(matrix, codes, energy, means)
    scales = matrix.scales(codes)
    ratio = exp2(np.minimum(16 * codes - 2 * scales, 64 * 4096)) / matrix.n
    variance = (ratio + second_moment(matrix.lattice)) * levels(matrix.lattice) ** 2
    classes = nearest_log2(variance, 8)
    kept = np.flatnonzero(energy & (classes >= matrix.lowest))
    order = kept[np.argsort(classes[kept], kind="stable")]
    noise = second_moment(matrix.lattice) / np.maximum(ratio, 1e-300)
    if matrix.voronoi is not None:
        noise = np.maximum(noise, matrix.power / (matrix.gain * matrix.gain) - 1)
    log_levels = levels(matrix.lattice).bit_length() - 1
    with np.errstate(over="ignore"):
        scale = exp2(scales - 4096 * log_levels) / matrix.gain
    return Panel(means, scale, noise, order, classes[order])


def _rings(matrix: Matrix, codes: I64, energy: NDArray[np.bool_], means: F64) -> Panel:
    """A panel in trellis coding (sections 16.1 and 17)."""
    assert matrix.trellis is not None
    window, level, spread = matrix.trellis
    classes = np.where(energy, classes_of(codes - level), 0)
    kept = np.flatnonzero(classes)
    order = kept[np.argsort(classes[kept], kind="stable")]
    own = [None, None, *(constants(rate, window) for rate in range(2, 9))]
    unit = np.array([1.0 if c is None else (1 / c.gain) / math.sqrt(matrix.n) for c in own])[classes]
    more = exp2(64 * np.array([0, 0, *(spread or [0] * 7)], np.int64))
    noise = np.array([1.0 if c is None else c.error / (1 - c.error) for c in own]) * more
    noise = noise[classes]
    with np.errstate(over="ignore"):
        return Panel(means, exp2(8 * codes) * unit, noise, order, classes[order])


def _slopes(payload: bytes, matrix: Matrix, kept: int) -> F64:
    """Slopes of the kept columns (section 11.1)."""
    reader = Reader(payload)
    q = sequence(reader, kept)
    reader.end()
    r = 1 + q * 2.0 ** -(3 + -(-(matrix.n - 1).bit_length() // 2))
    require(((r > 0) & (r <= 4)).all(), "slope")
    return np.asarray(r)


def _chunk(matrix: Matrix, payload: bytes, number: int, classes: I64) -> I64:
    """The points of a chunk, whose entries have these classes (section 13)."""
    if matrix.trellis is not None:
        columns = classes[:: matrix.n]
        return decode_trellis(payload, matrix.n, matrix.trellis[0], matrix.labels, number, columns)
    lanes = 1
    while lanes < 32 and len(classes) >= 4096 * lanes:
        lanes *= 2
    row = lanes * group_length(matrix.lattice)
    filled = np.pad(classes, (0, -len(classes) % row), mode="edge").reshape(-1, lanes)
    dither = dither_levels(matrix.key, number, filled.size).reshape(-1, lanes)
    if matrix.voronoi is not None:
        points = decode_voronoi(payload, matrix.lattice, matrix.voronoi, dither)
    else:
        points = Decoder(payload, matrix.lattice, filled, dither).decode()
    return points.reshape(-1)[: len(classes)]


def _entries(matrix: Matrix, panel: Panel, points: I64, kept: I64, estimator: str, slopes: F64 | None) -> F64:
    """The columns of a panel, a row each (section 17)."""
    rotated = np.zeros((len(panel.order), matrix.n), np.float32)
    rotated[:, kept] = points.reshape(-1, matrix.m)
    rotated = rotate_back(rotated, matrix.seed)
    plain = np.full(len(panel.scale), 1 / (matrix.m / matrix.n))
    factor = plain if estimator == "unbiased" else 1 / (1 + panel.noise)
    result = np.repeat(panel.means[:, None], matrix.n, axis=1)
    with np.errstate(over="ignore"):
        scale = np.minimum(panel.scale * factor, np.finfo(np.float64).max)[panel.order]
        if slopes is not None:
            scale = np.minimum(scale * slopes, np.finfo(np.float64).max)
        result[panel.order] = 2 * (rotated * (scale / 2)[:, None] + panel.means[panel.order, None] / 2)
    return result


def _float8(values: F64, dtype: str) -> NDArray[np.uint8]:
    """The codes of the nearest numbers: all positive ones are tried (section 17.1)."""
    digits, bias, last = FLOAT8[dtype]
    code = np.arange(last + 1)
    e, m = code >> digits, (code & ((1 << digits) - 1)) / 2.0**digits
    numbers = np.where(e > 0, (1 + m) * 2.0 ** (e - bias), m * 2.0 ** (1 - bias))
    size = np.minimum(np.abs(values), numbers[-1])
    above = np.clip(np.searchsorted(numbers, size), 1, last)
    low, high = size - numbers[above - 1], numbers[above] - size
    upward = (high < low) | ((high == low) & (above % 2 == 0))
    nearest = np.where(upward, above, above - 1)
    negative = np.signbit(values) & ((nearest > 0) | (not dtype.endswith("uz")))
    return np.asarray(nearest + 128 * negative, np.uint8)


def _rounded(values: F64, dtype: str) -> NDArray[Any]:
    """Rounded once to the type, after what is too large (section 17); bfloat16 and float8 as their bits, unsigned."""
    if dtype in FLOAT8:
        return _float8(values, dtype)
    if dtype == "float64":
        return np.clip(values, -np.finfo(np.float64).max, np.finfo(np.float64).max)
    values = np.clip(values, -LARGEST[dtype], LARGEST[dtype])
    if dtype != "bfloat16":
        return values.astype(dtype)
    unit = np.ldexp(1.0, np.maximum(np.frexp(values)[1], -125) - 8)
    rounded = np.copysign(np.rint(values / unit) * unit, values).astype(np.float32)
    return np.asarray(rounded.view(np.uint32) >> 16, np.uint16)


def decode_matrix(container: Container, tensor: Tensor, estimator: str) -> NDArray[Any]:
    """A coded matrix, in the shape of the source (section 17)."""
    matrix = Matrix(tensor)
    records = iter(container.payloads(tensor))

    def payload(kind: bytes) -> bytes:
        found, offset, length = next(records, (b"", 0, 0))
        require(found == kind, "order or number of records")
        return container.record(kind, offset, length)

    kept = kept_coordinates(matrix.seed, matrix.n, matrix.m)
    width = min(max(1, (1 << 24) // matrix.n), 1 << 20)
    number, panels = 0, []
    for first in range(0, matrix.columns, width):
        count = min(width, matrix.columns - first)
        norm = payload(b"NORM")
        panel = _panel(matrix, norm, payload(b"MEAN") if matrix.digits is not None else None, count)
        classes = np.repeat(panel.classes, matrix.m)
        parts = [np.empty(0, np.int64)]
        size = 1 << 20 if matrix.trellis is None else chunk_columns(matrix.n) * matrix.n
        for start in range(0, len(classes), size):
            parts.append(_chunk(matrix, payload(b"CHNK"), number, classes[start : start + size]))
            number += 1
        slopes = None
        if matrix.trellis is not None:
            slopes = _slopes(payload(b"GAIN"), matrix, len(panel.order))
        entries = _entries(matrix, panel, np.concatenate(parts), kept, estimator, slopes)
        panels.append(_rounded(entries, tensor.dtype))
    require(next(records, None) is None, "records are left over")
    columns = np.concatenate(panels)
    result = (columns if matrix.axis else columns.T).reshape(tensor.shape)
    return np.asarray(result, order="F" if tensor.order == "F" else "C", dtype=numpy_dtype(tensor))


def _tensor(container: Container, tensor: Tensor, estimator: str) -> NDArray[Any] | bytes:
    """A tensor as an array; as bytes where NumPy lacks the dtype (matrices of bfloat16 and float8: their bits)."""
    if tensor.codec == "nqz-1":
        return decode_matrix(container, tensor, estimator)
    data, dtype = container.exact(tensor), numpy_dtype(tensor)
    if dtype is None:
        return data
    return np.frombuffer(data, dtype).reshape(tensor.shape, order="F" if tensor.order == "F" else "C")


def decode_file(
    path: str | Path, estimator: str = "mmse", names: Iterable[str] | None = None
) -> dict[str, NDArray[Any] | bytes]:
    """The tensors of a container with these names, or all; the estimator is "unbiased" or "mmse"."""
    if estimator not in ("unbiased", "mmse"):
        raise ValueError(f"estimator {estimator!r}")
    container = Container(path)
    tensors = {tensor.name: tensor for tensor in container.tensors}
    wanted = tensors if names is None else names
    return {name: _tensor(container, tensors[name], estimator) for name in wanted}


def verify_file(path: str | Path) -> None:
    """Check all checksums, the index and the digest, and that everything can be decoded (section 8)."""
    container = Container(path)
    container.verify()
    for tensor in container.tensors:
        _tensor(container, tensor, "unbiased")
