"""Small containers of every kind, kept in fixtures/golden/, and what they decode to.

    python tests/golden.py      makes them again, and those of fixtures/reject/; only while the format's version is 0

`INDEX` says of each what its tensors decode to with both estimators, or hold exactly. test_golden.py reads them back,
and makes them again; tests/crafted.py and tests/fuzz_containers.py damage them.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np

import nqz
from cli_tools import FIXTURES
from container_builder import Container, split, taken_apart
from nqz.cli import run
from nqz.format import integers
from nqz.ground.dtypes import data_bytes, float32_to_bfloat16, to_safetensors

CODED = "--error 0.1 --center --rule *=coding:entropy"
"""Options that make a code of matrices that are smaller than one, too."""

FOLDER, REJECT = FIXTURES / "golden", FIXTURES / "reject"
INDEX, REJECTED = FOLDER / "index.json", REJECT / "index.json"

noise = runpy.run_path(str(FIXTURES / "make.py"))["noise"]
"""Nearly Gaussian numbers, the same everywhere."""


class Golden(NamedTuple):
    """How a container is made.

    Attributes
    ----------
    make : callable
        The source: an array for a .npy file, a map of arrays, or of dtypes and arrays, for the others.
    options : str
        Of ``nqz encode``.
    source : str
        Suffix of the source.
    metadata : dict or None
        Of a .safetensors source.
    edit : callable or None
        What is changed in the container.
    """

    make: Callable[[], Any]
    options: str = "--error 0.1"
    source: str = "npy"
    metadata: dict[str, str] | None = None
    edit: Callable[[Container], None] | None = None


def matrix(*shape: int, seed: int = 1, dtype: str = "<f4") -> np.ndarray:
    """Columns of several energies and means."""
    scale = 2.0 ** (np.arange(shape[-1]) % 3) if len(shape) > 1 else 1.0
    return ((noise(seed, *shape) + 0.3) * scale).astype(dtype)


def odd_columns() -> np.ndarray:
    """A zero column, a constant one, two beyond the others in both directions, one of a single entry."""
    x = noise(2, 40, 6)
    x[:, 0], x[:, 1] = 0.0, -2.5
    x[:, 2] *= 1e-30
    x[:, 3] *= 1e150
    x[:, 4] = 0.0
    x[7, 4] = 3.0
    return x


def loud_column() -> np.ndarray:
    """One column far louder than the others, which would take most of the bits."""
    x = noise(4, 60, 12)
    x[:, 4] *= 1e9
    return x


def spread_columns() -> np.ndarray:
    """Columns of all classes of the trellis coding, two of each."""
    return (noise(6, 48, 14) * 2.0 ** (np.arange(14) // 2 / 2)).astype("<f4")


def many_columns() -> np.ndarray:
    """Columns for two panels, most of which have no energy."""
    x = np.zeros((1, (1 << 20) + 40), np.float16)
    x[0, -60:] = noise(3, 60)
    return x


def exact_tensors() -> dict[str, tuple[str, np.ndarray]]:
    """Every type that a .safetensors file has, a few bytes of each."""
    names = [
        "bool", "int8", "uint8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32", "int64",
        "uint64", "float64", "complex64", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn", "float8_e4m3fn",
        "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
    ]  # fmt: skip
    return {name: (name, np.arange(48, dtype=np.uint8) % (2 if name == "bool" else 250)) for name in names}


def npz_tensors() -> dict[str, np.ndarray]:
    """Arrays in several orders, exact ones and a matrix."""
    return {
        "w": np.asfortranarray(matrix(16, 5, dtype=">f8")),
        "dir/bias": noise(5, 7).astype("<f2"),
        "steps": np.arange(6, dtype=">i4").reshape(2, 3).T,
        "c16": np.arange(3).astype("<c16"),
        "none": np.zeros((0, 4), "<u2"),
        "scalar": np.array(True),
    }


def model() -> dict[str, Any]:
    """A little model: two matrices, and what is carried exactly."""
    return {
        "a.weight": ("bfloat16", float32_to_bfloat16(matrix(24, 4))),
        "b.weight": ("float16", matrix(2, 8, 3, seed=7, dtype="<f2")),
        "bias": ("float32", noise(8, 5).astype("<f4")),
        "ids": ("int64", np.arange(4, dtype="<i8")),
    }


def float8_tensors() -> dict[str, Any]:
    """A matrix of each type of float8: codes of numbers of some size, and what is no matrix."""
    codes = {
        "float8_e4m3fn": 0x38, "float8_e5m2": 0x3C, "float8_e4m3fnuz": 0x08, "float8_e5m2fnuz": 0x5C,
    }  # fmt: skip
    found = {}
    for seed, (name, code) in enumerate(codes.items()):
        x = noise(seed + 20, 16, 3)
        magnitude = np.clip(code + np.rint(4 * np.abs(x)) - 6, 1, 0x7B)
        found[f"{name[7:]}.weight"] = (name, (magnitude + np.where(x < 0, 128, 0)).astype(np.uint8))
    scales = np.arange(125, 129, dtype=np.uint8).reshape(2, 2)
    return {**found, "scales": ("float8_e8m0fnu", scales), "scale": ("float8_e4m3fn", scales[0])}


def experts() -> dict[str, Any]:
    """A tensor of three experts, a stack of four dimensions, and a bias."""
    return {
        "experts.w": ("float32", matrix(3, 14, 3, seed=30)),
        "experts.w[0].bias": ("float32", noise(31, 3).astype("<f4")),
        "stack": ("float16", matrix(2, 3, 5, 4, seed=32, dtype="<f2")),
    }


def with_optional_records(parts: Container) -> None:
    """Put records that readers skip, and extensions that they ignore, wherever they may stand."""
    parts.leading = [("nOTE", b"of the file"), ("aBCD", b"")]
    for records in parts.tensors:
        records[1:1] = [("nOTE", b"of a tensor")]
        records.append(("zZZZ", bytes(9)))
    parts.manifest["extensions"] = {"org.example": [1, {"a": None}], "": True}
    parts.manifest["tensors"][0][7] = {"x": b"\0", "y": [[[1.5]]]}


def with_set(parts: Container) -> None:
    """Make it a part of a set."""
    parts.manifest["set"] = [bytes(range(16)), 2, 3]
    parts.manifest["metadata"] = {"note": "one of three", "": "ü"}


def with_ties(parts: Container) -> None:
    """Give the first matrix another name, and what is carried exactly two; one in between is by itself."""
    tensors = parts.manifest["tensors"]
    for name, number in (("bias.too", 2), ("head.weight", 0), ("bias.again", 2)):
        tensors.append(["tied-1", name, *tensors[number][2:6], number, {}])
        parts.tensors.append([])
    parts.tensors[-1] = [("nOTE", b"an optional record")]


def with_newer_codec(parts: Container) -> None:
    """Give the second tensor a codec and records that only a later release knows."""
    parts.manifest["tensors"][1][0] = "nqz-2"
    parts.tensors[1] = [("NEWS", b"123"), ("aaaa", b"")]


def _lattices() -> dict[str, Golden]:
    made = {}
    for name in ("z", "d4", "e8", "leech", "conv4", "conv64", "conv4096"):
        option = f"conv --states {name[4:]}" if name.startswith("conv") else name
        made[name] = Golden(lambda: matrix(48, 3), f"--error 0.02 --center --lattice {option}")
    for name in ("z", "d4", "e8", "leech"):
        made[f"voronoi-{name}"] = Golden(
            lambda: matrix(48, 3), f"--error 0.02 --lattice {name} --coding voronoi"
        )
    return made


GOLDEN: dict[str, Golden] = {
    **_lattices(),
    "partner": Golden(lambda: matrix(48, 2, seed=9), "--error 0.02 --lattice z --center"),
    "trellis": Golden(spread_columns, "-r 4.2 --coding trellis --center"),
    "trellis-partner": Golden(lambda: matrix(48, 4, seed=9), "-r 4.1 --coding trellis --center --window 12"),
    "trellis-wide": Golden(lambda: matrix(40, 3), "--error 0.1 --coding trellis --window 16"),
    "trellis-long": Golden(lambda: matrix(640, 2, seed=5), "-r 2.2 --coding trellis --axis 0"),
    "low-rate": Golden(lambda: matrix(96, 8), "--error 0.9 --center"),
    "high-rate": Golden(lambda: matrix(24, 3, dtype="<f8"), "-r 12 --lattice e8 --center"),
    "high-rate-leech": Golden(lambda: matrix(24, 3, seed=2, dtype="<f8"), "-r 12 --lattice leech --center"),
    "voronoi-mixed": Golden(lambda: matrix(64, 9), "--error 0.4 --lattice e8 --coding voronoi --kappa 0.75"),
    "ahead": Golden(lambda: matrix(200, 40), "--rate 0.5 --kappa 1"),
    "kept-half": Golden(lambda: matrix(64, 3), "--error 0.6 --kappa 0.5 --lattice d4 --center"),
    "not-centered": Golden(lambda: matrix(48, 3), "--error 0.02 --no-center --lattice e8"),
    "coarse-norms": Golden(lambda: matrix(40, 30), "-r 3 --lattice z"),
    "coarse-means": Golden(lambda: noise(10, 100, 40).astype("<f4"), "-r 1 --lattice z"),
    "by-column": Golden(lambda: matrix(48, 3), "--error 0.02 --allocate column --lattice z"),
    "rows": Golden(lambda: matrix(5, 32), "--error 0.1 --axis 1 --seed 18446744073709551615"),
    "float16": Golden(lambda: matrix(32, 3, dtype="<f2")),
    "float64": Golden(odd_columns, "--error 0.01 --center"),
    "loud": Golden(loud_column, "-r 3 --lattice z"),
    "big-endian": Golden(lambda: matrix(32, 3, dtype=">f4")),
    "fortran": Golden(lambda: np.asfortranarray(matrix(32, 3))),
    "vector": Golden(lambda: matrix(56)),
    "cube": Golden(lambda: matrix(2, 10, 3)),
    "odd-length": Golden(lambda: matrix(13, 4)),
    "one-row": Golden(lambda: matrix(1, 6), "--error 0.001 --no-center"),
    "dropped": Golden(lambda: matrix(32, 6) * 10.0 ** -np.arange(0, 30, 5, dtype="<f4"), "--error 0.5"),
    "zeros": Golden(lambda: np.zeros((20, 3), "<f4")),
    "panels": Golden(many_columns, "--error 0.1 --no-center --lattice z"),
    "exact": Golden(exact_tensors, source="safetensors", metadata={"format": "pt", "": ""}),
    "npz": Golden(npz_tensors, "--error 0.1 --center", source="npz"),
    "model": Golden(model, CODED, "safetensors"),
    "float8": Golden(float8_tensors, "--error 0.01 --lattice z --rule *=coding:entropy", "safetensors"),
    "slices": Golden(experts, f"{CODED} --lattice z --rule [es]*=split --rule experts.w[1]=axis:1", "safetensors"),
    "tied": Golden(model, f"{CODED} --lattice z", "safetensors", edit=with_ties),
    "no-tensors": Golden(dict, source="safetensors"),
    "optional": Golden(model, f"{CODED} --lattice z", "safetensors", edit=with_optional_records),
    "part": Golden(lambda: matrix(32, 3), edit=with_set),
    "newer-codec": Golden(model, CODED, "safetensors", edit=with_newer_codec),
}  # fmt: skip


def write_source(path: Path, case: Golden) -> None:
    """Write what a container is made from."""
    found = case.make()
    if case.source == "npy":
        np.save(path, found)
    elif case.source == "npz":
        np.savez(path, **found)
    else:
        path.write_bytes(_safetensors(found, case.metadata))


def _safetensors(tensors: dict[str, Any], metadata: dict[str, str] | None) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, (dtype, array) in tensors.items():
        # an array of bytes that has the name of its type is as many entries as fit
        shape = [8 * array.nbytes // data_bytes((8,), dtype)] if name == dtype else list(array.shape)
        header[name] = {
            "dtype": to_safetensors(dtype),
            "shape": shape,
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for _, array in tensors.values())


def made(case: Golden) -> bytes:
    """The container."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / f"x.{case.source}", Path(folder) / "x.nqz"
        write_source(source, case)
        code = run(["encode", str(source), "-o", str(target), "-q", *case.options.split()])
        assert code == 0, case
        data = target.read_bytes()
    if case.edit is None:
        return data
    parts = parts_of(data)
    case.edit(parts)
    return parts.build()


def parts_of(data: bytes) -> Container:
    """The parts of a container that nqz has written."""
    *_, (_, mani), (_, indx), _ = split(data)
    (types,) = struct.unpack_from("<I", indx)
    counts, _ = integers.unpack(indx[4 + 4 * types :], len(msgpack.unpackb(mani)["tensors"]) + 1)
    return taken_apart(data, counts.tolist())


def load(name: str) -> bytes:
    """A container of the folder."""
    return (FOLDER / f"{name}.nqz").read_bytes()


def expectations(data: bytes) -> dict[str, Any]:
    """What the tensors of a container decode to: SHA-256 of the bytes."""
    found: dict[str, Any] = {}
    with nqz.open(data) as opened:
        for info in opened.reader.manifest.tensors:
            facts = {"kind": info.kind, "shape": list(info.shape), "dtype": info.dtype}
            tensor = opened[info.name]
            if isinstance(tensor, nqz.ExactTensor):
                facts["bytes"] = digest(tensor.tobytes())
            elif info.kind == "matrix":
                for estimator in ("unbiased", "mmse"):
                    facts[estimator] = digest(tensor.decode(estimator=estimator).tobytes())
            found[info.name] = facts
    return found


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def text_of(value: Any) -> str:
    """An index as it is kept."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both folders."""
    from crafted import rejects

    for folder in (FOLDER, REJECT):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
    index = {}
    for name, case in GOLDEN.items():
        data = made(case)
        (FOLDER / f"{name}.nqz").write_bytes(data)
        index[name] = {"bytes": len(data), "tensors": expectations(data)}
    INDEX.write_text(text_of(index), encoding="utf-8")
    refused = {}
    for name, data, code, message in rejects():
        (REJECT / f"{name}.nqz").write_bytes(data)
        refused[name] = {"exit_code": code, "message": message}
    REJECTED.write_text(text_of(refused), encoding="utf-8")
    print(f"{len(index)} containers, {len(refused)} that are refused")


if __name__ == "__main__":
    main()
