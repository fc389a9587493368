"""Numbers at the edges of their types: no warning of NumPy reaches anybody, and nothing fails that is not said why."""

from __future__ import annotations

import numpy as np
import pytest

from cli_tools import invoke, process, save, succeed

G = np.random.default_rng(0).standard_normal((96, 24))
MATRICES = {
    "huge": G * 1e307,
    "tiny": G * 1e-310,
    "zero": G * 0,
    "large constant": G * 0 + 1e308,
    "far": G + 1e15,
    "wide": G * 10.0 ** np.linspace(-300, 300, 24),
    "large signs": np.where(G > 0, 1.5e308, -1.5e308),
    "one large row": np.where(np.arange(96)[:, None] == 5, 1.7e308, 0) * np.ones((96, 24)),
    "float32": (G * 1e37).astype("f4"),
    "float16": np.where(G > 0, 65504, -65504).astype("f2"),
    "subnormal float16": (G * 1e-7).astype("f2"),
    "one entry": G[:1, :1],
    "one row": G[:1],
}
CODES = [
    ["-r", "3"],
    ["-r", "12", "--allocate", "column", "--lattice", "z"],
    ["-r", "2", "--lattice", "e8", "--coding", "voronoi"],
    ["--error", "0.01", "--no-center"],
    ["--max-bytes", "900", "--lattice", "e8"],
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MATRICES)
def test_extreme_numbers_warn_nobody(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.npy", MATRICES[name])
    save(tmp_path / "g.npy", G[: len(MATRICES[name])])
    succeed(capsys, "encode", "g.npy", "-r", "4", "-q")
    for code in CODES:
        result = invoke(capsys, "encode", "x.npy", *code, "-f", "-q")
        if result.code:  # not every target can be met
            assert result.code == 2 and "does not fit" in result.err
            continue
        commands = [
            ["inspect", "x.nqz"],
            ["verify", "x.nqz", "--against", "x.npy"],
            ["decode", "x.nqz", "-o", "y.npy", "-f"],
            *(["decode", "x.nqz", "--dtype", t, "-o", "y.npy", "-f"] for t in ("float16", "float32")),
            ["matmul", "x.nqz", "g.nqz", "-o", "p.npy", "-f"],
            [
                "matmul",
                "g.nqz",
                "x.npy",
                "-o",
                "p.npy",
                "-f",
                "--dtype",
                "float64",
                "--estimator",
                "unbiased",
            ],
            ["matmul", "x.nqz", "x.nqz", "-o", "p.npy", "-f", "--dtype", "float64"],
        ]
        for command in commands:
            result = invoke(capsys, *command, "--threads", "2")
            told = command[0] == "matmul" and result.code == 7
            assert result.code == 0 or (
                told and ("overflows" in result.err or "--no-center" in result.err)
            ), result
    assert invoke(capsys, "sweep", "x.npy", "-r", "1,6", "--lattice", "z").code == 0
    assert invoke(capsys, "sweep", "x.npy", "-r", "2", "--lattice", "e8", "--coding", "voronoi").code == 0


def test_commands_run_with_warnings_as_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "x.npy", MATRICES["wide"])
    for line in (
        "encode x.npy -r 3",
        "verify x.nqz --against x.npy",
        "matmul x.nqz x.npy -o p.npy --dtype float64",
    ):
        done = process(*line.split(), "-q", env={"PYTHONWARNINGS": "error::RuntimeWarning"})
        assert done.stderr == b"" or (b"overflows" in done.stderr and done.returncode == 7)
