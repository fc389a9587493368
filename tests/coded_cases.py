"""Matrices, containers in memory and bounds for tests of what is coded; as a script it prints a fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

import nqz
from nqz.commands.verify import failures, verify
from nqz.files.access import MemoryAccess
from nqz.files.contract import Source
from nqz.format.reader import ContainerReader
from nqz.format.writer import ContainerWriter
from nqz.ground.threads import Workers
from nqz.matrix import Matrix, open_matrix
from nqz.plan import entropy
from nqz.plan.columns import columns_of
from nqz.product.stream import Stream
from nqz.stages import norms
from nqz.stages.codings import nested_noise, tables
from nqz.stages.estimate import Side
from nqz.stages.lattices import LATTICES
from nqz.stages.scale import CLASSES

# Of the family of convolutional codes the smallest and a middle one: the others differ in a table only.
LATTICE_NAMES = [name for name in LATTICES if not name.startswith("conv") or name in ("conv4", "conv64")]
NESTED = [name for name, lattice in LATTICES.items() if lattice.voronoi]
SCHEMES = [(name, "entropy") for name in LATTICE_NAMES] + [(name, "voronoi") for name in NESTED]


def scheme(name: str, coding: str = "entropy") -> dict:
    """Options of `nqz.encode` for a lattice, by its name in files, and a coding."""
    family = {"lattice": "conv", "states": int(name[4:])} if name.startswith("conv") else {"lattice": name}
    return {**family, "coding": coding}


KINDS = ("gauss", "heavy", "onehot", "offset", "lowrank", "signs", "equal", "related")


def pair(kind: str, n: int = 384, a: int = 48, b: int = 40, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 matrices of shapes (n, a) and (n, b)."""
    rng = np.random.default_rng(seed)

    def one(columns):
        shape = (n, columns)
        if kind == "heavy":
            return rng.standard_t(3, shape) * rng.lognormal(0, 1, columns)
        if kind == "onehot":
            x = np.zeros(shape)
            x[rng.integers(0, n, columns), np.arange(columns)] = rng.choice([-1.0, 2.0], columns)
            return x
        if kind == "offset":
            return 30.0 + rng.standard_normal(shape)
        if kind == "lowrank":
            return rng.standard_normal((n, 6)) @ rng.standard_normal(
                (6, columns)
            ) + 0.1 * rng.standard_normal(shape)
        if kind == "signs":
            return rng.choice([-1.0, 1.0], shape)
        if kind == "equal":
            return np.repeat(rng.standard_normal((n, 1)), columns, axis=1)
        return rng.standard_normal(shape)

    x = one(a)
    y = 0.8 * x[:, rng.integers(0, a, b)] + 0.6 * one(b) if kind == "related" else one(b)
    return x.astype(np.float32), y.astype(np.float32)


def coded(data: bytes) -> Matrix:
    """The one matrix of a container."""
    return open_matrix(
        ContainerReader(MemoryAccess(memoryview(data).toreadonly(), "test.nqz"), "test.nqz"), 0
    )


def rewritten(
    data: bytes,
    edit: Callable[[str, bytes, int], bytes | None] = lambda kind, payload, number: payload,
    shape: tuple[int, ...] | None = None,
    times: int = 1,
) -> bytes:
    """A container with right checksums, of records that `edit(type, payload, number)` has changed or dropped.

    The first tensor is said to have another shape, perhaps, and all records several times.
    """
    reader = ContainerReader(MemoryAccess(memoryview(data).toreadonly()), "test.nqz")
    first, *others = reader.manifest.tensors
    tensors = (first._replace(shape=shape or first.shape), *others)
    out = MemoryAccess(bytearray())
    writer = ContainerWriter(out, reader.manifest._replace(tensors=tensors))
    for index, info in enumerate(tensors):
        writer.begin(index)
        writer.parameters = info.parameters
        records = [(record.type, reader.read(record)) for record in reader.records(index)]
        for number, (kind, payload) in enumerate(records * times):
            if (changed := edit(kind, payload, number)) is not None:
                writer.write(kind, changed)
    found = bytearray(writer.finish())
    out.pread_into(found, 0)
    return bytes(found)


def verified(reader: ContainerReader, original: Source | None = None) -> None:
    """Raise the worst error that `verify` finds."""
    for error in failures(verify(reader, original, Workers(1)), reader.name, None)[-1:]:
        raise error


def kept(matrix: Matrix) -> np.ndarray:
    """False for the columns that were not coded."""
    return matrix.histogram.look_up(matrix.norm_scaling.kept, matrix.codes())


def side_of(codes: np.ndarray, noise: np.ndarray, n: int, kappa: float) -> Side:
    """Columns of the given norm codes and relative noises, equal ones for equal codes."""
    histogram = norms.Histogram.of(codes)
    by_code = np.empty(len(histogram.codes))
    by_code[histogram.index(codes)] = noise
    return Side(histogram, by_code, n, kappa)


def chunk_bytes(matrix: Matrix) -> int:
    """Bytes of all chunks of a matrix, without their frames."""
    return sum(len(matrix.reader.read(record, "CHNK")) for record in matrix.reader.find(0, "CHNK"))


def centered(x: np.ndarray) -> np.ndarray:
    """The columns less their means, float64."""
    x = x.astype(np.float64)
    return x - x.mean(axis=0)


class Truth:
    """The exact product of a pair, and the measure of errors: relative to ‖Ā‖²‖B̄‖²/n."""

    def __init__(self, a: np.ndarray, b: np.ndarray):
        self.n = len(a)
        self.product = a.astype(np.float64).T @ b.astype(np.float64)
        a, b = centered(a), centered(b)
        self.scale = float(np.square(a).sum() * np.square(b).sum() / self.n)
        self.signal = float(np.square(a.T @ b).sum() / self.scale)
        self.deviation = math.sqrt(0.5 * (1 / (a.shape[1] * _rank(b)) + 1 / (b.shape[1] * _rank(a))))
        """Relative standard deviation of the error energy of one product, columns of equal absolute noise."""
        effective = [np.square(x).sum(0).sum() ** 2 / np.square(np.square(x).sum(0)).sum() for x in (a, b)]
        self.proportional = math.sqrt(0.5 * (1 / (effective[0] * _rank(b)) + 1 / (effective[1] * _rank(a))))
        """The same where noise is in proportion to the columns' energies."""

    def error(self, estimate: np.ndarray) -> float:
        """Normalized error."""
        return float(np.square(self.product - estimate).sum() / self.scale)


def _rank(x: np.ndarray) -> float:
    gram = x.T @ x
    return float(np.trace(gram) ** 2 / np.square(gram).sum())


def gamma(rate: float) -> float:
    """Γ(R) of the paper."""
    knee = 0.9063232
    phi = 2 * 4.0 ** -max(rate, knee) - 16.0 ** -max(rate, knee)
    return phi if rate >= knee else 1 - (1 - phi) * max(rate, 0.0) / knee


ENCODED: OrderedDict[tuple, bytes] = OrderedDict()


def encoded(x: np.ndarray, **options) -> bytes:
    """The file of an array as `nqz.encode` makes it, once for each array and options."""
    data = hashlib.sha256(x.tobytes()).digest()
    key = (x.dtype.str, x.shape, x.flags.f_contiguous, data, tuple(sorted(options.items())))
    if key not in ENCODED:
        made = nqz.encode(x, **options)
        assert made is not None
        ENCODED[key] = made
        if len(ENCODED) > 500:
            ENCODED.popitem(last=False)
    return ENCODED[key]


def stream(points, order=None, size=700):
    """Rows of points as a stream of chunks of some size."""
    flat = np.ascontiguousarray(points).ravel()

    def read(start):
        return start, flat[start : start + size]

    order = np.arange(len(points)) if order is None else order
    return Stream(order, range(0, flat.size, size), read)


def fingerprint() -> str:
    """Digest of everything that decides bytes, and of the bytes of files, reconstructions and products."""
    out = hashlib.sha256()

    def add(*values):
        for value in values:
            out.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())

    for index in range(36 * CLASSES):
        table = tables.table(index)
        add(table.half, table.raw, table.cumulative, table.weight, table.bits)
    rng = np.random.default_rng(5)
    energy = np.ldexp(rng.integers(1, 1 << 50, 300).astype(np.float64), -40)
    codes = norms.encode(energy, rng.integers(-200, 200, 300))
    add(codes, norms.energy(codes, norms.loudest(codes)))
    close = np.sort(norms.encode(energy, np.zeros(300, np.int64)))
    for name in LATTICE_NAMES:
        for rate in (0.4, 2.2):
            for how in ("matrix", "column"):
                columns = columns_of(norms.Histogram.of(close), 1000, LATTICES[name], how)
                plan = entropy.least_error(columns, rate * 300_000)
                add(plan.m, plan.delta, plan.lowest_class, plan.bits)
    a = np.ldexp(rng.integers(-99, 100, (60, 24)).astype(np.float64), rng.integers(-3, 3, 24)).astype(
        np.float32
    )
    b = (a[:, :11] + rng.integers(-80, 80, (60, 11))).astype(np.float32) + 5
    nested_noise._ENTRIES = 12 * nested_noise._LENGTH  # fewer, for the sake of the plain kernels
    for name, coding in SCHEMES:
        files = [nqz.encode(x, rate=rate, **scheme(name, coding)) for x, rate in ((a, 3.3), (b, 2.0))]
        add(*files)
        add(nqz.open(files[0]).matrix.decode(), nqz.open(files[1]).matrix.decode("float64"))
        add(*(nqz.matmul(*files, estimator=estimator) for estimator in ("auto", "mmse", "unbiased")))
    add(nqz.matmul(files[0], b))
    return out.hexdigest()


def enabled_features() -> list[str]:
    """CPU features that NumPy dispatches on and uses in this process."""
    try:
        core = importlib.import_module("numpy._core._multiarray_umath")
    except ImportError:  # NumPy 1
        core = importlib.import_module("numpy.core._multiarray_umath")
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


if __name__ == "__main__":
    from nqz import kernels

    print(fingerprint())
    print(kernels.name)
    print(" ".join(enabled_features()))
