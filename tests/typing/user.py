"""A user's project, which `make lint` checks with ``mypy --strict`` against the types that nqz ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import nqz
import nqz.torch


def compress(path: Path, array: npt.NDArray[np.float32]) -> float:
    """Encode in every way."""
    data = nqz.encode(array, rate=3.5, axis=1, lattice="e8", metadata={"a": "b"})
    assert_type(data, bytes)
    assert_type(nqz.encode(array, path, max_bytes="10kB", force=True), None)
    assert_type(nqz.encode(array, rate=3, dry_run=True), dict[str, Any])
    with path.open("wb") as file:
        nqz.encode({"w": array, "b": array[0]}, file, rate=4, rules={"b": "exact", "w*": 3})
    model = nqz.encode(path, rate=4, across={"*": 1.0}, rules=["*=4"], tensors=["a", "b*"])
    return len(data) / len(model)


def read(path: str) -> list[tuple[int, ...]]:
    """Use containers and their tensors."""
    shapes: list[tuple[int, ...]] = []
    with nqz.open(path) as container:
        for name, tensor in container.items():
            assert_type(name, str)
            shapes.append(tensor.shape)
            assert_type(np.asarray(tensor), npt.NDArray[Any])
            if isinstance(tensor, nqz.CompressedMatrix):
                assert_type(tensor.rate, float)
                assert_type(tensor.decode("float64", columns=[1, 2], threads=2), npt.NDArray[Any])
                assert_type(tensor.T, nqz.CompressedMatrix)
            elif isinstance(tensor, nqz.SlicedTensor):
                assert_type(tensor.slices, list[nqz.CompressedMatrix])
            else:
                assert_type(tensor, nqz.ExactTensor)
                assert_type(tensor.tobytes(), bytes)
        m = container.matrix
        row: npt.NDArray[Any] = m[:, 3]
        product: npt.NDArray[Any] = m.T @ np.ones(m.shape[0])
        shapes += [row.shape, product.shape, m.dtype.shape]
        assert_type(container.metadata, dict[str, str] | None)
    return shapes


def multiply(a: bytes, b: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Multiply, and look at the errors."""
    try:
        found = nqz.matmul(a, b, estimator="unbiased", dtype=np.float64)
    except nqz.OperandError as error:
        raise SystemExit(error.exit_code) from error
    except nqz.NqzError:
        raise
    assert_type(nqz.predicted_error(a, b), float)
    assert_type(nqz.matmul(a, b), npt.NDArray[Any])
    assert_type(nqz.matmul(a, b, sigma=True), tuple[npt.NDArray[Any], npt.NDArray[Any]])
    assert_type(nqz.predicted_sigma(a, b, "unbiased", dtype="float32"), npt.NDArray[Any])
    return found


def report(path: Path, original: npt.NDArray[np.float32]) -> dict[str, Any]:
    """What the commands report, and what they rebuild."""
    nqz.verify(path, original)
    nqz.compare(original, path, check=False)
    nqz.sweep(original, rates=[1, 2.5], lattices="z")
    nqz.diff(path, b"", against=original, max_error=0.1, check=True)
    assert_type(nqz.report(path, against=original, max_error=0.1, format="md"), str)
    assert_type(nqz.report(path, original, to="page.html", axis_b=1), None)
    assert_type(nqz.decode(path), npt.NDArray[Any] | dict[str, npt.NDArray[Any]])
    nqz.decode(path, "out.npy", dtype="float32")
    nqz.torch.save_file(nqz.torch.load_file(path), "again.nqz", rate=4)
    version: str = nqz.__version__
    return {**nqz.inspect(path), "version": version}


def wrong(array: npt.NDArray[np.float32]) -> None:
    """What a checker refuses."""
    nqz.encode(array, rate="3")  # type: ignore[call-overload]
    nqz.open(17)  # type: ignore[arg-type]
    nqz.predicted_error(array)  # type: ignore[call-overload]
