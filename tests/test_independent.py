"""A decoder that was written from docs/format.md alone agrees with this one, bit for bit.

`tests/independent/` knows nothing of the project: what it cannot decode is either a fault of the program or of the
document.
"""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import format_vectors
import independent
import nqz
from cli_tools import FIXTURES
from nqz.stages.codings import CODINGS
from nqz.stages.lattices import LATTICES

FOLDER = Path(__file__).parent / "independent"
ESTIMATORS = ["unbiased", "mmse"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_nothing_of_the_project(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            assert node.level <= 1
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in ("nqz", "tests", "importlib") and "nqz" not in name
    assert "__import__" not in path.read_text(encoding="utf-8")


def columns(rng, n, a):
    """Columns of all kinds: loud and quiet ones, with means, constant and zero ones."""
    x = rng.standard_normal((n, a)) * np.exp(1.5 * rng.standard_normal(a)) + 3 * rng.standard_normal(a)
    x[:, a // 2 :: 7], x[:, a // 3 :: 11] = 7.5, 0.0
    return x


def cases():
    """Name, array and options: all lattices and codings, shapes with one lane and several, odd lengths."""
    for name, lattice in LATTICES.items():
        family, states = ("conv", lattice.states) if lattice.states else (name, None)
        for coding in CODINGS:
            if not CODINGS[coding].takes(lattice):
                continue
            options = {"lattice": family, "states": states, "coding": coding}
            rng = np.random.default_rng([lattice.number, len(coding)])
            yield f"{name}-{coding}-low", columns(rng, 96, 40).astype(np.float32), {**options, "rate": 1.2}
            if lattice.family == "conv":
                x = columns(rng, 640, 50) if lattice.states == 128 else rng.standard_normal((200, 20))
                yield f"{name}-ahead", x, {**options, "rate": 0.5, "kappa": 1}
            if lattice.states in (None, 128):
                yield f"{name}-{coding}-high", columns(rng, 700, 12), {**options, "rate": 5.0, "kappa": 0.75}
                half = columns(rng, 33, 60).astype(np.float16).T
                yield f"{name}-{coding}-rows", half, {**options, "rate": 3, "axis": 1, "center": False}
    for seed, dtype in enumerate(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")):
        x = 0.1 * columns(np.random.default_rng(seed), 90, 30)
        yield dtype, x.astype(getattr(ml_dtypes, dtype)), {"rate": 2.5, "lattice": "z"}


CASES = {name: (array, options) for name, array, options in cases()}


def compare(data: bytes, path: Path) -> None:
    """Hold both decoders of a file to the same bits."""
    path.write_bytes(data)
    independent.verify_file(path)
    for estimator in ESTIMATORS:
        theirs = independent.decode_file(path, estimator=estimator)
        with nqz.open(data) as opened:
            assert list(theirs) == list(opened)
            for name, tensor in opened.items():
                assert bits(theirs[name]) == ours(tensor, estimator), name


def bits(found):
    """The bytes of what the independent decoder returns."""
    return found if isinstance(found, bytes) else np.ascontiguousarray(found).tobytes()


def as_decoded(found, facts):
    """The bytes that `decode` of this program returns; of an exact tensor those in the file."""
    if facts["kind"] == "exact":
        return found if isinstance(found, bytes) else found.tobytes("A")
    return found.astype(found.dtype.newbyteorder("=")).tobytes()


def ours(tensor, estimator):
    """The bytes of what this program decodes, in the storage type of the source."""
    if isinstance(tensor, nqz.ExactTensor):
        return tensor.tobytes()
    wanted = getattr(ml_dtypes, tensor.source_dtype, tensor.source_dtype)
    return np.ascontiguousarray(tensor.decode(wanted, estimator)).tobytes()


@pytest.mark.parametrize("name", CASES)
def test_matrices(name, tmp_path):
    array, options = CASES[name]
    compare(nqz.encode(array, **options), tmp_path / "a.nqz")


def test_several_chunks_and_long_columns(tmp_path):
    rng = np.random.default_rng(8)
    compare(
        nqz.encode(columns(rng, 1024, 1100).astype(np.float32), rate=1.2, lattice="e8"), tmp_path / "a.nqz"
    )
    compare(nqz.encode(columns(rng, 150_000, 4).astype(np.float32), rate=5, lattice="z"), tmp_path / "b.nqz")


@pytest.mark.parametrize(
    "data", format_vectors.hex_files(format_vectors.vectors()), ids=range(len(format_vectors.FILES))
)
def test_files_of_the_document(data, tmp_path):
    compare(data, tmp_path / "a.nqz")


GOLDEN = json.loads((FIXTURES / "golden" / "index.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files(name):
    path = FIXTURES / "golden" / f"{name}.nqz"
    known = {key: facts for key, facts in GOLDEN[name]["tensors"].items() if facts["kind"] != "unknown"}
    if len(known) == len(GOLDEN[name]["tensors"]):
        independent.verify_file(path)
    for estimator in ESTIMATORS:
        found = independent.decode_file(path, estimator=estimator, names=list(known))
        assert list(found) == list(known)
        for key, facts in known.items():
            # kept as the float32 that it is decoded to
            if hasattr(ml_dtypes, facts["dtype"]) and facts["kind"] == "matrix":
                with nqz.open(path) as opened:
                    assert bits(found[key]) == ours(opened[key], estimator), key
                continue
            expected = facts["bytes"] if facts["kind"] == "exact" else facts[estimator]
            assert hashlib.sha256(as_decoded(found[key], facts)).hexdigest() == expected, key
