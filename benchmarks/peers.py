"""Other compressors of arrays beside nqz: the rate, error and speed of each, measured in one run.

usage: python benchmarks/peers.py [--sets gauss,heavy] [--shape 4096,512] [--runs 3] [--only TEXT]

Prints a Markdown table for every set. Each peer compresses A and B separately through its own public
interface and gives them back, and ÂᵀB̂ is its estimate of AᵀB, unscaled. R counts every byte that decoding
needs: codes, scales, trained tables, headers. nqz runs with its defaults at the rate of the peer, clipped to
0.05 .. 12, and its estimate is that of `nqz matmul`. Speeds are those of A: medians of a few runs on one
thread, in memory. A peer may train, and search for the step or tolerance that gives a rate, outside the time,
and gets the matrix in the order in which it wants it; nqz does all of this inside the time.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import math
import os
import platform
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nqz
from common import Truth, gamma, gamma_inverse, make

RATES = (1, 2, 3, 4, 8)
PACKAGES = {
    "gguf": "gguf",
    "faiss": "faiss-cpu",
    "zfpy": "zfpy",
    "pysz": "pysz",
    "nncodec": "nncodec",
    "constriction": "constriction",
    "ik_llama_cpp": "ik-llama-cpp-python",
}


class Peer:
    """A compressor: `encode` gives from an array the code from which `decode` rebuilds it.

    `transposed`: the array has shape (a, n), vectors as rows, instead of (n, a).
    """

    transposed = False
    name: str
    encode: Callable[[np.ndarray], Any]
    decode: Callable[[Any], np.ndarray]

    def fit(self, x: np.ndarray) -> None:
        """Train, or find the step for the rate; not timed."""

    def size(self, code: Any) -> int:
        """Bytes that decoding needs."""
        return sum(part.nbytes for part in code)


class Absmax(Peer):
    """Integers of 4 or 8 bits, scaled to the largest entry of the column; 4-bit codes two to a byte."""

    def __init__(self, bits: int):
        self.bits, self.name = bits, f"NumPy absmax int{bits}, scale of each column"

    def encode(self, x):
        top = 2 ** (self.bits - 1) - 1
        scale = np.abs(x).max(0) / np.float32(top)
        scale[scale == 0] = 1
        code = np.rint(x / scale).astype(np.int8)
        if self.bits == 4:
            code = (code[0::2] & 15) | (code[1::2] << 4)
        return code, scale

    def decode(self, code):
        code, scale = code
        if self.bits == 4:
            both = np.empty((2 * len(code), code.shape[1]), np.int8)
            # shifts of signed integers extend the sign
            both[0::2], both[1::2] = (code << 4) >> 4, code >> 4
            code = both
        return code * scale


class Groups(Peer):
    """4 bits an entry in groups along the vectors, as libraries for models on GPUs have them, in NumPy.

    `levels`: the table of NF4 (bitsandbytes), times the largest entry of a group; without one 16 equal steps from
    the least entry of a group to the largest (int4 with an offset). Scales and offsets are float16.
    """

    transposed = True

    def __init__(self, length: int, levels: np.ndarray | None = None):
        self.length, self.levels = length, levels
        what = "int4, scale and offset" if levels is None else "NF4, scale"
        self.name = f"NumPy {what} of each {length}"

    def encode(self, x):
        groups = x.reshape(len(x), -1, self.length)
        if self.levels is None:
            least = groups.min(2, keepdims=True).astype(np.float16)
            scale = ((groups.max(2, keepdims=True) - least) / 15).astype(np.float16)
            code = np.rint((groups - least) / np.where(scale == 0, np.float16(1), scale)).clip(0, 15)
            return _pairs(code), scale, least
        scale = np.abs(groups).max(2, keepdims=True).astype(np.float16)
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        code = np.searchsorted(middles, groups / np.where(scale == 0, np.float16(1), scale))
        return _pairs(code), scale

    def decode(self, code):
        codes, scale, *offset = code
        found = np.empty((*codes.shape[:2], self.length), np.uint8)
        found[..., 0::2], found[..., 1::2] = codes & 15, codes >> 4
        values = found if self.levels is None else self.levels[found]
        values = values * scale.astype(np.float32)
        return (values + offset[0] if offset else values).reshape(len(found), -1)


def _pairs(code):
    code = code.astype(np.uint8)
    return code[..., 0::2] | (code[..., 1::2] << 4)


NF4 = np.array(
    [-1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0,
     0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1],
    np.float32,
)  # fmt: skip


class Ggml(Peer):
    """A block format of ggml as gguf-py quantizes it; the blocks lie along the vectors."""

    transposed = True

    def __init__(self, kind):
        from gguf import quants

        self.quants, self.kind, self.name = quants, kind, f"gguf-py {kind.name}"

    @classmethod
    def all(cls) -> Iterator[Ggml]:
        """The formats that gguf-py can quantize to, but for its plain floating-point types."""
        import gguf

        for kind in gguf.GGMLQuantizationType:
            if kind.name not in ("F64", "F32", "F16", "BF16"):
                try:
                    gguf.quants.quantize(np.ones((1, 256), np.float32), kind)
                except NotImplementedError:
                    continue
                yield cls(kind)

    def encode(self, x):
        return (self.quants.quantize(x, self.kind),)

    def decode(self, code):
        return self.quants.dequantize(code[0], self.kind)


class _Traits(ctypes.Structure):
    """What ggml's fork says of a type, as far as decoding needs it."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("block", ctypes.c_int64), ("interleaved", ctypes.c_int64),
        ("size", ctypes.c_size_t), ("quantized", ctypes.c_int64), ("to_float", ctypes.c_void_p),
        ("rest", ctypes.c_void_p * 10),
    )  # fmt: skip


class IkLlama(Peer):
    """The trellis types of ik_llama.cpp, through the C functions of its library; one row at a time."""

    transposed = True
    KINDS = (153, 154, 155)

    def __init__(self, kind: int):
        import ik_llama_cpp

        (path,) = (Path(ik_llama_cpp.__file__).parent / "lib").glob("libggml.*")
        self.library = library = ctypes.CDLL(str(path))
        library.ggml_internal_get_type_traits.restype = _Traits
        library.ggml_row_size.restype = library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]
        traits = library.ggml_internal_get_type_traits(kind)
        self.kind, self.name = kind, f"ik_llama {traits.name.decode().upper()}"
        self.to_float = ctypes.CFUNCTYPE(None, pointer, pointer, count)(traits.to_float)

    def encode(self, x):
        size = self.library.ggml_row_size(self.kind, x.shape[1])
        out = np.zeros((len(x), size), np.uint8)
        self.library.ggml_quantize_chunk(self.kind, x.ctypes.data, out.ctypes.data, 0, *x.shape, None)
        self.n = x.shape[1]
        return (out,)

    def decode(self, code):
        out = np.empty((len(code[0]), self.n), np.float32)
        for row, to in zip(code[0], out, strict=True):
            self.to_float(row.ctypes.data, to.ctypes.data, self.n)
        return out


class FaissScalar(Peer):
    """faiss' scalar quantizer, the range of every column trained."""

    def __init__(self, bits: int):
        self.bits, self.name = bits, f"faiss SQ {bits} bits, range of each column"

    def fit(self, x):
        import faiss

        kind = getattr(faiss.ScalarQuantizer, f"QT_{self.bits}bit")
        self.quantizer = faiss.ScalarQuantizer(x.shape[1], kind)
        self.quantizer.train(x)
        self.table = faiss.vector_to_array(self.quantizer.trained)

    def encode(self, x):
        return self.quantizer.compute_codes(x), self.table

    def decode(self, code):
        return self.quantizer.decode(code[0])


def unit_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows divided by their root mean square, and that as float16, shape (a, 1)."""
    norms = np.sqrt(np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1])).astype(np.float16)[:, None]
    return x / norms.astype(np.float32), norms


class FaissProduct(Peer):
    """faiss' product quantizer: 8 bits for d entries of a normalized column; one codebook, in float16."""

    transposed = True

    def __init__(self, d: int):
        self.d, self.name = d, f"faiss PQ d={d}, 8 bits"

    def fit(self, x):
        import faiss

        self.quantizer = faiss.ProductQuantizer(self.d, 1, 8)
        self.quantizer.train(unit_rows(x)[0].reshape(-1, self.d))
        self.book = faiss.vector_to_array(self.quantizer.centroids).astype(np.float16)
        faiss.copy_array_to_vector(self.book.astype(np.float32), self.quantizer.centroids)

    def encode(self, x):
        unit, norms = unit_rows(x)
        return self.quantizer.compute_codes(unit.reshape(-1, self.d)), norms, self.book

    def decode(self, code):
        return self.quantizer.decode(code[0]).reshape(len(code[1]), -1) * code[1].astype(np.float32)


class FaissEden(Peer):
    """faiss' EDEN quantizer (Lloyd-Max levels) of columns that are normalized and rotated by faiss."""

    transposed = True

    def __init__(self, bits: int):
        self.bits, self.name = bits, f"faiss EDEN {bits} bit{'s' * (bits > 1)} + Hadamard"

    def fit(self, x):
        import faiss

        self.rotation = faiss.HadamardRotation(x.shape[1])
        self.rotation.train(x)
        kind = getattr(faiss.ScalarQuantizer, f"QT_{self.bits}bit_eden")
        self.quantizer = faiss.ScalarQuantizer(self.rotation.d_out, kind)
        self.quantizer.train(x)

    def encode(self, x):
        unit, norms = unit_rows(x)
        return self.quantizer.compute_codes(self.rotation.apply(unit)), norms

    def decode(self, code):
        return self.rotation.reverse_transform(self.quantizer.decode(code[0])) * code[1].astype(np.float32)


class Zfp(Peer):
    """zfp on blocks of 4 by 4 entries: a fixed rate, or the least tolerance that keeps to the rate."""

    def __init__(self, mode: str, rate: int):
        import zfpy

        self.zfpy, self.rate = zfpy, rate
        self.name = f"zfp fixed-{mode}, R {'=' if mode == 'rate' else '≤'} {rate}"
        self.mode = {"rate": rate} if mode == "rate" else {}

    def fit(self, x):
        if "rate" in self.mode:
            return
        # zfp rounds a tolerance down to a power of two
        low, high = -40, 40
        while high - low > 1:
            middle = (low + high) // 2
            self.mode = {"tolerance": 2.0**middle}
            bits = 8 * self.size(self.encode(x))
            low, high = (low, middle) if bits <= self.rate * x.size else (middle, high)
        self.mode = {"tolerance": 2.0**high}

    def encode(self, x):
        return self.zfpy.compress_numpy(x, **self.mode)

    def decode(self, code):
        return self.zfpy.decompress_numpy(code)

    def size(self, code):
        return len(code)


class Sz3(Peer):
    """SZ3 without a predictor, which only hurts on noise, with the absolute error bound that gives a rate."""

    def __init__(self, rate: int):
        import pysz

        self.pysz, self.rate, self.name = pysz, rate, f"SZ3 (pysz), no predictor, R ≤ {rate}"

    def fit(self, x):
        low, high = -20.0, 6.0
        for _ in range(14):
            self.exponent = (low + high) / 2
            bits = 8 * self.size(self.encode(x))
            low, high = (low, self.exponent) if bits <= self.rate * x.size else (self.exponent, high)
        self.exponent = high

    def encode(self, x):
        config = self.pysz.szConfig()
        config.setDims(*x.shape)
        config.cmprAlgo = self.pysz.szAlgorithm.NOPRED
        config.errorBoundMode = self.pysz.szErrorBoundMode.ABS
        config.absErrorBound = 2.0**self.exponent
        return self.pysz.sz.compress(x, config)[0], x.shape

    def decode(self, code):
        return self.pysz.sz.decompress(code[0], np.float32, code[1])[0]

    def size(self, code):
        return code[0].nbytes


class NnCodec(Peer):
    """NNCodec (ISO/IEC 15938-17) with dependent quantization, at a quality number for every rate.

    It wants NumPy below 2 and brings torch along, so it is not in the extra `bench`; where it is installed, it is
    measured.
    """

    def __init__(self, rate: int):
        from nncodec import nnc

        self.nnc, self.rate, self.name = nnc, rate, f"NNCodec dependent quantization, R ≤ {rate}"

    def fit(self, x):
        low, high = -40, 20
        while high - low > 1:
            self.qp = (low + high) // 2
            bits = 8 * self.size(self.encode(x))
            low, high = (low, self.qp) if bits <= self.rate * x.size else (self.qp, high)
        self.qp = high

    def encode(self, x):
        return self.nnc.compress({"x": x}, qp=self.qp, use_dq=True, return_bitstream=True, verbose=False)

    def decode(self, code):
        return self.nnc.decompress(code)["x"]

    def size(self, code):
        return len(code)


class AnsScalar(Peer):
    """A uniform step and the means of its cells, coded by constriction with one static model.

    The step is one number for the matrix, or in proportion to the root mean square of the column (float16).
    """

    CENTROID_COUNT = 16

    def __init__(self, rate: int, per_column: bool):
        from constriction import stream

        self.stream, self.rate, self.per_column = stream, rate, per_column
        self.name = f"constriction ANS, {'a step per column' if per_column else 'one step'}, R ≤ {rate}"

    def _cells(self, x):
        """Scales, entries in units of the step, cells counted from the lowest, the lowest, and counts."""
        scale = unit_rows(x.T)[1].T if self.per_column else np.ones((1, 1), np.float16)
        y = x / (scale.astype(np.float32) * np.float32(self.step))
        cells = np.rint(y).astype(np.int32)
        low = int(cells.min())
        y -= cells
        cells -= low
        return scale, y, cells.ravel(), low, np.bincount(cells.ravel()).astype(np.int32)

    def fit(self, x):
        power = math.sqrt(float(np.square(x, dtype=np.float64).mean()))
        self.step = 1.0 if self.per_column else power
        unit, low, high = self.step, -10.0, 3.0
        for _ in range(14):
            middle = (low + high) / 2
            self.step = unit * 2.0**middle
            scale, y, cells, _, counts = self._cells(x)
            used = counts[counts > 0]
            bits = float(used @ np.log2(x.size / used))
            bits += 8 * (scale.nbytes + len(self._table(y, cells, counts)[1]))
            low, high = (low, middle) if bits <= self.rate * x.size else (middle, high)
        self.step = unit * 2.0**high

    def _table(self, y, cells, counts):
        """Ranks of the cells among those used, and the counts and centroids of these as bytes."""
        used = counts > 0
        ranks = (np.cumsum(used, dtype=np.int32) - np.int32(1))[cells]
        frequent = counts[used] >= self.CENTROID_COUNT
        shift = np.bincount(ranks, weights=y.ravel()) / counts[used] * frequent
        return ranks, zlib.compress(counts.tobytes() + shift.astype(np.float16).tobytes())

    def _model(self, counts):
        return self.stream.model.Categorical(counts[counts > 0].astype(np.float32), perfect=False)

    def encode(self, x):
        scale, y, cells, low, counts = self._cells(x)
        ranks, table = self._table(y, cells, counts)
        coder = self.stream.stack.AnsCoder()
        coder.encode_reverse(ranks, self._model(counts))
        return coder.get_compressed(), scale, table, low, len(counts), x.shape

    def decode(self, code):
        words, scale, table, low, levels, shape = code
        table = zlib.decompress(table)
        counts = np.frombuffer(table, np.int32, levels)
        shift = np.frombuffer(table, np.float16, offset=4 * levels)
        ranks = self.stream.stack.AnsCoder(words).decode(self._model(counts), shape[0] * shape[1])
        values = ((np.flatnonzero(counts) + low + shift.astype(np.float64)) * self.step).astype(np.float32)
        return values[ranks].reshape(shape) * scale.astype(np.float32)

    def size(self, code):
        # step, lowest cell, number of levels
        return code[0].nbytes + code[1].nbytes + len(code[2]) + 16


class Nqz(Peer):
    """nqz with its defaults."""

    name = "nqz"

    def __init__(self, rate: float):
        self.rate = rate

    def encode(self, x):
        return nqz.encode(x, rate=self.rate, threads=1)

    def decode(self, code):
        return nqz.open(code).matrix.decode(threads=1)

    def size(self, code):
        return len(code)


def peers() -> list[tuple[str, Callable[[], list[Peer]]]]:
    """Module that a family of peers needs, and a function that makes them."""
    return [
        ("numpy", lambda: [Absmax(4), Absmax(8), Groups(64, NF4), Groups(64), Groups(128)]),
        ("constriction", lambda: [AnsScalar(rate, each) for each in (False, True) for rate in RATES]),
        ("faiss", lambda: [*map(FaissProduct, (8, 4)), *map(FaissEden, RATES), *map(FaissScalar, (4, 6, 8))]),
        ("gguf", lambda: list(Ggml.all())),
        ("ik_llama_cpp", lambda: [IkLlama(kind) for kind in IkLlama.KINDS]),
        ("nncodec", lambda: [NnCodec(rate) for rate in RATES[:4]]),
        ("pysz", lambda: [Sz3(rate) for rate in RATES]),
        ("zfpy", lambda: [Zfp(mode, rate) for mode in ("rate", "accuracy") for rate in RATES]),
    ]


def timed(runs: int, function: Callable, argument: Any) -> tuple[Any, float]:
    """A result, and the median of the seconds it took."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        result = function(argument)
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def measure(peer: Peer, pair, truth: Truth, runs: int) -> tuple[float, float, float, float]:
    """Rate, error of the product, and million entries per second of encoding and decoding (both of A)."""
    size, codes, back, speeds = 0, [], [], []
    for x, repeat in zip(pair, (runs, 1), strict=True):
        given = np.ascontiguousarray(x.T) if peer.transposed else x
        peer.fit(given)
        code, encoding = timed(repeat, peer.encode, given)
        result, decoding = timed(repeat, peer.decode, code)
        size += peer.size(code)
        codes.append(code)
        back.append((result.T if peer.transposed else result).astype(np.float64))
        speeds.append((x.size / encoding / 1e6, x.size / decoding / 1e6))
    ours = isinstance(peer, Nqz)
    estimate = nqz.matmul(*codes, dtype="float64", threads=1) if ours else back[0].T @ back[1]
    return 8.0 * size / sum(x.size for x in pair), truth.error(estimate), *speeds[0]


def figure(x: float) -> str:
    """Three digits or so."""
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}" if x < 1e5 else f"{x:.1e}"


def table(kind: str, shape: tuple[int, int], runs: int, only: str) -> tuple[int, int, list[str]]:
    """Print the table of a set; rows in which nqz has the lower error, all rows, peers ahead of it."""
    pair = make(kind, *shape)
    truth = Truth(*pair)
    ours = lru_cache(None)(lambda rate: measure(Nqz(rate), pair, truth, runs))
    print(f"\n### {kind}, {shape[0]} × {shape[1]} pairs, float32\n")
    print("| peer | R | error | /Γ(R) | bits over the limit | encode | decode ", end="")
    print("| nqz error | nqz /Γ(R) | nqz encode | nqz decode |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    lower, rows, ahead = 0, 0, []
    for module, family in peers():
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"| {module} | not installed |" + " |" * 9)
            continue
        for peer in family():
            if only not in peer.name:
                continue
            rate, error, encoding, decoding = measure(peer, pair, truth, runs)
            # rounded down, so that nqz never has more bits than the peer
            bits, best, *speeds = ours(min(max(math.floor(1e4 * rate) / 1e4, 0.05), 12.0))
            over = f"{rate - gamma_inverse(error):.2f}" if error < 1 else "-"
            print(
                f"| {peer.name} | {rate:.3f} | {error:.3g} | {figure(error / gamma(rate))} | {over} "
                f"| {figure(encoding)} | {figure(decoding)} "
                f"| {best:.3g} | {figure(best / gamma(bits))} | {figure(speeds[0])} | {figure(speeds[1])} |",
                flush=True,
            )
            rows += 1
            lower += best < error
            ahead += [peer.name] * (best >= error)
    return lower, rows, ahead


def machine() -> str:
    """Processor, its cores, and the versions in use."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", f"nqz {nqz.__version__}"]
    for package in PACKAGES.values():
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{model}, {os.cpu_count()} cores, one thread; " + ", ".join(versions)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default="gauss,heavy")
    parser.add_argument("--shape", default="4096,512", help="n, a multiple of 256, and columns")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="only the peers with this in their names")
    arguments = parser.parse_args()
    n, columns = map(int, arguments.shape.split(","))
    # the limit binds the thread pools that are loaded when it is set
    for module in PACKAGES:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
    start = time.perf_counter()
    print(machine())
    print("\nSpeeds in million entries a second. Γ(R) is a floor for gauss only.")
    with threadpool_limits(limits=1):
        results = {}
        for kind in arguments.sets.split(","):
            results[kind] = table(kind, (n, columns), arguments.runs, arguments.only)
    print()
    for kind, (lower, rows, ahead) in results.items():
        others = "".join(f"; not {name}" for name in ahead)
        print(f"{kind}: nqz has the lower error in {lower} of {rows} rows{others}")
    print(f"{sum(r[0] for r in results.values())} of {sum(r[1] for r in results.values())} rows in all")
    print(f"({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
