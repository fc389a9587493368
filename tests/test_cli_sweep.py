"""nqz sweep: the curve that it reports, the files that it writes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_tools import FIXTURES, fail, invoke, listing, matrix, process, save, succeed
from nqz.plan.limit import GAMMA_STAR, R_STAR, equivalent, gamma, gamma_inverse, pair_limit, related
from nqz.stages.lattices import DEFAULT, DEFAULT_STATES

USUAL = f"conv{DEFAULT_STATES}" if DEFAULT == "conv" else DEFAULT
POINT_KEYS = [
    "lattice", "coding", "rate_asked", "error_asked", "rate", "bytes", "times_smaller", "predicted", "measured",
    "error", "percent", "decibels", "error_equivalent", "gamma", "ratio", "excess", "limit", "over_limit",
]  # fmt: skip
CSV_HEADER = (
    "lattice,coding,rate_asked,error_asked,rate,bytes_matrix,bytes_against,times_smaller,predicted_reconstruction,"
    "predicted_product,predicted_against,measured_reconstruction,measured_against,error,percent,decibels,"
    "error_equivalent,gamma,ratio,excess,limit,over_limit"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with unrelated a.npy, b.npy of Gaussian entries."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(1024, 256))
    save(tmp_path / "b.npy", matrix(1024, 128, seed=1))
    return tmp_path


def swept(capsys, *arguments: object) -> dict:
    """The report of a sweep."""
    result = succeed(capsys, "sweep", *arguments, "--json")
    assert result.err == ""
    return json.loads(result.out)


def test_the_limit():
    assert pytest.approx(0.5 * math.log2(1 + 4 * R_STAR * math.log(2)), abs=1e-15) == R_STAR
    assert (pytest.approx(0.90632, abs=5e-6), pytest.approx(0.48830, abs=5e-6)) == (R_STAR, GAMMA_STAR)
    assert gamma(0.0) == 1.0 and gamma(1.0) == 0.4375 and gamma(R_STAR) == GAMMA_STAR
    # the line is a tangent: it never leaves the convex hull
    assert gamma(R_STAR - 1e-6) == pytest.approx(
        2 * 4 ** -(R_STAR - 1e-6) - 16 ** -(R_STAR - 1e-6), abs=1e-11
    )
    for rate in (0.01, 0.5, 0.9, R_STAR, 1.0, 4.0, 12.0, 25.0):
        assert gamma_inverse(gamma(rate)) == pytest.approx(rate, rel=1e-12)
    assert gamma_inverse(1.5) == 0.0 and gamma_inverse(0.0) == math.inf


def test_errors_of_related_operands():
    for signal in (0.01, 0.5, 2.0, 300.0):
        error = related(0.2, signal)
        assert error == pytest.approx(0.25 * signal / (0.25 + signal))
        found = equivalent(error, signal)
        assert found is None if signal <= 1.05 * error else found == pytest.approx(0.2)
    assert equivalent(0.3, 1.05) == 0.3
    assert equivalent(0.3, 0.3) is None
    assert related(0.2, 0.0) == 0.0


def test_report_alone(folder, capsys):
    report = swept(capsys, "a.npy", "-r", "3,1", "-r", "2")
    described = {
        "file": "a.npy",
        "tensor": "",
        "shape": [1024, 256],
        "dtype": "float32",
        "axis": 0,
        "bytes": 1 << 20,
    }
    keys = [
        "matrix",
        "against",
        "seed",
        "partner",
        "signal",
        "points",
        "yardsticks",
        "curve",
        "chosen",
        "warnings",
    ]
    assert list(report) == keys
    assert report["matrix"] == described
    assert report["against"] is None and report["signal"] is None and report["warnings"] == []
    points = report["points"]
    found = [(p["lattice"], p["rate_asked"]) for p in points]
    assert found == [(x, r) for x in dict.fromkeys((USUAL, "z", "e8")) for r in (1, 2, 3)]
    for point in points:
        assert list(point) == POINT_KEYS
        assert point["coding"] == "entropy"
        assert point["rate"] == pytest.approx(8 * point["bytes"]["matrix"] / (1024 * 256))
        assert point["rate_asked"] - 0.02 < point["rate"] < point["rate_asked"] + 0.0138
        predicted, measured = point["predicted"], point["measured"]
        assert measured["reconstruction"] == pytest.approx(predicted["reconstruction"], rel=0.02)
        assert point["error"] == point["error_equivalent"] == predicted["product"]
        assert (
            predicted["against"] is None and measured["against"] is None and point["bytes"]["against"] is None
        )
        judge(point)
    excess = {
        lattice: [p["excess"] for p in points if p["lattice"] == lattice] for lattice in (USUAL, "z", "e8")
    }
    assert max(excess[USUAL]) < min(excess["e8"]) < max(excess["e8"]) < min(excess["z"])


def judge(point: dict) -> None:
    """Check what is derived from the error of a point on Gaussian matrices."""
    assert point["gamma"] == pytest.approx(gamma(point["rate"]))
    assert point["ratio"] == pytest.approx(point["error"] / point["gamma"])
    assert point["excess"] == pytest.approx(
        point["rate"] - gamma_inverse(point["error_equivalent"]), abs=1e-8
    )
    assert 0.0 < point["excess"] < 0.4


def test_report_against_an_unrelated_matrix(folder, capsys):
    report = swept(capsys, "a.npy", "--against", "b.npy", "-r", "1,3", "--lattice", "e8")
    a, b = np.load("a.npy").astype(float), np.load("b.npy").astype(float)
    a, b = a - a.mean(0), b - b.mean(0)
    signal = np.square(a.T @ b).sum() / (np.square(a).sum() * np.square(b).sum() / 1024)
    assert report["signal"] == pytest.approx(signal, rel=1e-9)
    assert report["against"]["file"] == "b.npy"
    for point in report["points"]:
        sizes, against = point["bytes"], point["measured"]["against"]
        assert point["rate"] == pytest.approx(8 * (sizes["matrix"] + sizes["against"]) / (1024 * 384))
        assert against == pytest.approx(point["predicted"]["against"], rel=0.04)
        assert point["error"] == point["error_equivalent"] == against
        judge(point)


def test_report_against_a_related_matrix_agrees_with_matmul(folder, capsys):
    a = np.load("a.npy")
    save(folder / "b.npy", 2.0 + 0.6 * a[:, :64] + 0.8 * matrix(1024, 64, seed=2))
    report = swept(capsys, "a.npy", "--against", "b.npy", "-r", "2", "--lattice", "e8", "--seed", "7")
    (point,) = report["points"]
    for name in ("a", "b"):
        succeed(capsys, "encode", f"{name}.npy", "-r", "2", "--lattice", "e8", "--seed", "7", "-q")
    assert (folder / "a.nqz").stat().st_size == point["bytes"]["matrix"]
    assert (folder / "b.nqz").stat().st_size == point["bytes"]["against"]
    succeed(capsys, "matmul", "a.nqz", "b.nqz", "--dtype", "float64", "-o", "c.npy", "-q")
    a, b = a.astype(float), np.load("b.npy").astype(float)
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / 1024
    error = np.square(np.load("c.npy") - a.T @ b).sum() / scale
    assert point["measured"]["against"] == pytest.approx(error, rel=1e-8)
    s = report["signal"]
    assert s > 1.3
    assert point["error_equivalent"] == pytest.approx(error * s / (s - error + error * s))
    judge(point)


def test_against_itself(folder, capsys):
    result = succeed(capsys, "sweep", "a.npy", "--against", "a.npy", "-r", "2,3", "--lattice", "e8", "--json")
    assert (
        result.err
        == "nqz: warning: a.npy: is the same matrix; the diagonal of the product comes from its norms\n"
    )
    point = json.loads(result.out)["points"][1]
    assert point["measured"]["against"] == pytest.approx(point["predicted"]["against"], rel=0.05)


def test_lattices_states_and_codings(folder, capsys):
    report = swept(
        capsys, "a.npy", "-r", "2", "--lattice", "conv,e8", "--states", "4,16", "--coding", "entropy,voronoi"
    )
    found = [(p["lattice"], p["coding"]) for p in report["points"]]
    assert found == [("conv4", "entropy"), ("conv16", "entropy"), ("e8", "entropy"), ("e8", "voronoi")]
    excess = [p["excess"] for p in report["points"]]
    assert excess[1] < excess[0] < excess[2] < excess[3]
    report = swept(capsys, "a.npy", "-r", "2", "--coding", "voronoi")
    assert {p["lattice"] for p in report["points"]} >= {"z", "e8"}
    assert {p["coding"] for p in report["points"]} == {"voronoi"}


def test_the_more_an_entry_of_the_trellis_depends_on_the_less_it_is_off(folder, capsys):
    errors = [
        swept(capsys, "a.npy", "-r", "2", "--coding", "trellis", *more)["points"][0]["measured"][
            "reconstruction"
        ]
        for more in ((), ("--window", "12"), ("--window", "14"))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.01) and errors[2] < 0.99 * min(errors[:2])


def test_same_report_for_any_number_of_threads_and_from_a_pipe(folder, capsys):
    arguments = ["--against", "b.npy", "-r", "2", "--json"]
    one = succeed(capsys, "sweep", "a.npy", *arguments, "--threads", "1").out
    assert succeed(capsys, "sweep", "a.npy", *arguments, "--threads", "2").out == one
    piped = process("sweep", "-", *arguments, input=(folder / "a.npy").read_bytes())
    assert piped.stderr == b""
    assert json.loads(piped.stdout)["points"] == json.loads(one)["points"]


def test_axis(folder, capsys):
    save(folder / "t.npy", np.ascontiguousarray(np.load("a.npy").T))
    (down,) = swept(capsys, "a.npy", "-r", "2", "--lattice", "e8")["points"]
    (along,) = swept(capsys, "t.npy", "-r", "2", "--lattice", "e8", "--axis", "1")["points"]
    assert along["predicted"]["product"] == pytest.approx(down["predicted"]["product"], rel=0.01)
    report = swept(
        capsys,
        "t.npy",
        "--axis",
        "1",
        "--against",
        "b.npy",
        "--axis-against",
        "0",
        "-r",
        "2",
        "--lattice",
        "e8",
    )
    assert (report["matrix"]["axis"], report["against"]["axis"]) == (1, 0)
    assert "vectors of 256 and 1024 entries" in fail(capsys, 7, "sweep", "t.npy", "--against", "b.npy")


def test_tensors(folder, capsys):
    names = {
        "w[0]": matrix(256, 64),
        "w0": matrix(256, 64, seed=3),
        "bias": matrix(64),
        "n": np.arange(6).reshape(2, 3),
    }
    save_file(names, "m.safetensors")
    assert "holds 2 matrices; choose one with --tensor" in fail(capsys, 2, "sweep", "m.safetensors")
    assert "no tensor is called 'x'" in fail(capsys, 2, "sweep", "m.safetensors", "--tensor", "x")
    assert "not a matrix" in fail(capsys, 4, "sweep", "m.safetensors", "--tensor", "bias")
    assert "not a matrix" in fail(capsys, 4, "sweep", "m.safetensors", "--tensor", "n")
    report = swept(capsys, "m.safetensors", "--tensor", "w[0]", "-r", "2")
    assert report["matrix"]["tensor"] == "w[0]"
    report = swept(
        capsys,
        "m.safetensors",
        "--tensor",
        "w[0]",
        "--against",
        "m.safetensors",
        "--tensor-against",
        "w0",
        "-r",
        "4",
    )
    assert report["against"]["tensor"] == "w0"
    for point in report["points"]:
        assert point["measured"]["against"] == pytest.approx(point["predicted"]["against"], rel=0.1)
    save(folder / "half.npy", matrix(256, 8, seed=4))
    report = swept(capsys, "half.npy", "--against", "m.safetensors", "--tensor", "w0", "-r", "2")
    assert report["against"]["tensor"] == "w0"
    assert "without a name" in fail(capsys, 2, "sweep", "a.npy", "--tensor", "a")


def test_table(folder, capsys):
    result = succeed(capsys, "sweep", "a.npy", "-r", "1,2", "--lattice", "e8", "--mark", "1")
    assert result.err == ""
    lines = result.out.splitlines()
    assert lines[0] == "a.npy: 1024x256 float32"
    shared = ["rms", "dB", "Γ", "limit", "over"]
    assert lines[2].split() == ["code", "rate", "MB", "smaller", "‖A−Â‖²", "‖AᵀB−Ĉ‖²", *shared]
    (one, two), (int4, int8, bfloat16) = (lines[4:6], lines[6:9])
    assert one.startswith("e8 (chosen)  ") and two.startswith("e8  ")
    assert two.split()[2:4] == ["0.066", "15.9x"]
    for line, name in (
        (int4, "int4, round to nearest"),
        (int8, "int8, round to nearest"),
        (bfloat16, "bfloat16"),
    ):
        assert line.startswith(f"{name}  ")
    assert re.match(
        r"chosen: e8 at 1\.01\d bits per entry: 33\.\d kB, 31\.\dx smaller, error 7[12]", lines[-1]
    )
    result = succeed(capsys, "sweep", "a.npy", "--against", "b.npy", "-r", "2", "--lattice", "e8")
    assert result.out.startswith("a.npy: 1024x256 float32, against b.npy: 1024x128 float32, S = ")
    heading = ["code", "rate", "MB", "smaller", "‖AᵀB−Ĉ‖²", "measured", *shared]
    assert result.out.splitlines()[2].split() == heading


def test_the_limit_of_these_norms_is_below_gamma_and_below_every_point(folder, capsys):
    scale = np.exp(np.random.default_rng(0).standard_normal(256)).astype(np.float32)
    save(folder / "heavy.npy", np.load("a.npy") * scale)
    save(folder / "heavy2.npy", np.load("b.npy") * scale[:128])
    for arguments in ([], ["--against", "heavy2.npy"], ["--against", "b.npy"]):
        report = swept_quietly(capsys, "heavy.npy", *arguments, "-r", "0.3,2", "--lattice", "conv")
        for point in report["points"]:
            assert point["limit"] < 0.9 * point["gamma"]
            assert 0.01 < point["over_limit"] < 0.35
            assert point["error_equivalent"] > point["limit"] and point["excess"] < point["over_limit"]
        curve = report["curve"]
        assert curve["gamma"][0] == curve["limit"][0] == 1.0
        assert curve["rate"][-1] == pytest.approx(report["points"][-1]["rate"], rel=0.02)


def swept_quietly(capsys, *arguments: object) -> dict:
    """The report of a sweep, warnings aside."""
    return json.loads(succeed(capsys, "sweep", *arguments, "--json", "-q").out)


def nearest(x: np.ndarray, bits: int) -> np.ndarray:
    """A matrix rounded to integers of so many bits, with a scale a column."""
    top = 2 ** (bits - 1) - 1
    scale = (np.abs(x).max(0) / top).astype(np.float32)
    return np.rint(x / scale) * scale


def test_yardsticks_are_what_rounding_does(folder, capsys):
    save(folder / "c.npy", 3.0 + np.load("b.npy"))
    a, c = (np.load(name).astype(float) for name in ("a.npy", "c.npy"))
    report = swept(capsys, "a.npy", "--against", "c.npy", "-r", "2", "--lattice", "z")
    scale = np.square(a - a.mean(0)).sum() * np.square(c - c.mean(0)).sum() / 1024
    assert [y["name"].split(",")[0] for y in report["yardsticks"]] == ["int4", "int8", "bfloat16"]
    for yardstick, bits in zip(report["yardsticks"], (4, 8, None), strict=False):
        if bits is None:
            continue
        error = np.square(a.T @ c - nearest(a, bits).T @ nearest(c, bits)).sum() / scale
        assert yardstick["error"] == yardstick["measured"]["against"] == pytest.approx(error, rel=1e-4)
        assert yardstick["rate"] == bits + 32 / 1024
        assert yardstick["percent"] == pytest.approx(100 * math.sqrt(error), rel=1e-4)
        assert yardstick["decibels"] == pytest.approx(10 * math.log10(error), rel=1e-4)
        size = sum(yardstick["bytes"].values())
        assert size == 384 * (1024 * bits // 8 + 4)
        assert yardstick["times_smaller"] == pytest.approx(4 * 1024 * 384 / size)
    # a partner that is unrelated, and rounded alike: as a rotation of the columns is in the mean
    (int4, *_) = swept(capsys, "a.npy", "-r", "2", "--lattice", "z")["yardsticks"]
    shuffled = a[np.random.default_rng(1).permutation(1024)]
    error = (
        np.square(a.T @ shuffled - nearest(a, 4).T @ nearest(shuffled, 4)).mean() / np.square(a).mean() ** 2
    )
    assert int4["error"] == pytest.approx(error / 1024, rel=0.05)


def test_a_partner_that_is_not_compressed(folder, capsys):
    report = swept(capsys, "a.npy", "--partner", "exact", "-r", "1", "--lattice", "e8")
    (point,) = report["points"]
    assert report["partner"] == "exact" and point["gamma"] == pytest.approx(4.0 ** -point["rate"])
    assert point["error"] == pytest.approx(point["predicted"]["reconstruction"], rel=0.01)
    assert 0.1 < point["over_limit"] < 0.25 and point["excess"] == pytest.approx(
        point["over_limit"], abs=0.02
    )
    (int4, *_) = report["yardsticks"]
    assert int4["error"] == pytest.approx(int4["measured"]["reconstruction"], rel=0.01)
    report = swept(capsys, "a.npy", "--against", "b.npy", "--partner", "exact", "-r", "1", "--lattice", "e8")
    (point,) = report["points"]
    assert point["bytes"]["against"] is None and point["rate"] == pytest.approx(1.0, abs=0.02)
    succeed(capsys, "encode", "a.npy", "-r", "1", "--partner", "exact", "--lattice", "e8", "-q")
    assert (folder / "a.nqz").stat().st_size == point["bytes"]["matrix"]
    a, b = (np.load(name).astype(float) for name in ("a.npy", "b.npy"))
    succeed(capsys, "matmul", "a.nqz", "b.npy", "--dtype", "float64", "-o", "c.npy", "-q")
    scale = np.square(a - a.mean(0)).sum() * np.square(b - b.mean(0)).sum() / 1024
    assert point["error"] == pytest.approx(np.square(np.load("c.npy") - a.T @ b).sum() / scale, rel=1e-6)
    (int4, *_) = report["yardsticks"]
    assert int4["error"] == pytest.approx(np.square((a - nearest(a, 4)).T @ b).sum() / scale, rel=1e-4)
    assert int4["rate"] == 4 + 32 / 1024
    text = succeed(capsys, "sweep", "a.npy", "--partner", "exact", "-r", "1", "--lattice", "e8").out
    assert "B unrelated and not compressed" in text and "4⁻ᴿ" in text
    succeed(
        capsys, "sweep", "a.npy", "--partner", "exact", "-r", "1", "--lattice", "e8", "-o", "rd.svg", "-q"
    )


def test_a_partner_of_another_rate(folder, capsys):
    report = swept(capsys, "a.npy", "--against", "b.npy", "--partner", "4", "-r", "1", "--lattice", "e8")
    (point,) = report["points"]
    assert report["partner"] == 4.0 and point["gamma"] == pytest.approx(pair_limit(point["rate"], 4.0))
    assert point["measured"]["against"] == pytest.approx(point["predicted"]["against"], rel=0.05)
    assert point["bytes"]["against"] == pytest.approx(4 * 1024 * 128 / 8, rel=0.02)
    assert point["rate"] == pytest.approx(8 * point["bytes"]["matrix"] / (1024 * 256))
    assert 0.1 < point["over_limit"] < 0.25
    text = succeed(capsys, "sweep", "a.npy", "--partner", "4", "-r", "1", "--lattice", "e8").out
    assert "B unrelated and of 4 bits per entry" in text


def test_bfloat16_is_exact_for_what_is_bfloat16(folder, capsys):
    save(folder / "b16.npy", (np.load("a.npy").view(np.uint32) & 0xFFFF0000).view(np.float32))
    *_, found = swept(capsys, "b16.npy", "-r", "2", "--lattice", "z")["yardsticks"]
    assert (found["error"], found["percent"], found["decibels"], found["over_limit"]) == (
        0.0,
        0.0,
        None,
        None,
    )


def test_a_rate_that_is_marked_and_the_least_rate_for_an_error(folder, capsys):
    report = swept(capsys, "a.npy", "-r", "1", "--lattice", "z,e8", "--mark", "2")
    assert [p["rate_asked"] for p in report["points"]] == [1, 2, 1, 2]
    assert report["chosen"] == {"rate_asked": 2.0, "error_asked": None, "point": 3}
    report = swept(capsys, "a.npy", "-r", "1,3", "--lattice", "z,e8", "--error", "0.1")
    assert report["chosen"] == {"rate_asked": None, "error_asked": 0.1, "point": 4}
    asked = [p for p in report["points"] if p["error_asked"] is not None]
    assert len(asked) == 2 and all(0.098 < p["error"] <= 0.1 for p in asked)
    rates = [p["rate"] for p in report["points"]]
    assert rates[:3] == sorted(rates[:3]) and rates[4] < rates[1]
    succeed(capsys, "encode", "a.npy", "--error", "0.1", "--lattice", "e8", "-q")
    assert (folder / "a.nqz").stat().st_size == report["points"][4]["bytes"]["matrix"]
    assert swept(capsys, "a.npy", "-r", "1", "--lattice", "z")["chosen"] is None


def test_csv_and_json_files(folder, capsys):
    arguments = ["a.npy", "--against", "b.npy", "-r", "1,2", "--lattice", "z,e8"]
    report = swept(capsys, *arguments)
    result = succeed(capsys, "sweep", *arguments, "-o", "rd.csv")
    assert result.out == ""
    assert result.err.startswith("nqz: a.npy -> rd.csv: 4 encodings, 0.")
    text = (folder / "rd.csv").read_text()
    assert text.splitlines()[0] == CSV_HEADER
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["excess"]) for row in rows] == [p["excess"] for p in report["points"]]
    assert [float(row["measured_against"]) for row in rows] == [
        p["measured"]["against"] for p in report["points"]
    ]
    assert invoke(capsys, "sweep", *arguments, "-o", "rd.json", "-q").err == ""
    assert json.loads((folder / "rd.json").read_text()) == report


def test_json_to_standard_output_and_to_a_pipe(folder, capsys):
    arguments = ["a.npy", "-r", "1", "--lattice", "z"]
    report = swept(capsys, *arguments)
    done = process("sweep", *arguments, "-o", "-")
    assert json.loads(done.stdout) == report
    assert done.stderr.startswith(b"nqz: a.npy -> <stdout>: 1 encoding, 0.") and done.stderr.count(b"\n") == 1
    assert process("sweep", *arguments, "-o", "-", "--json", "-q").stdout == done.stdout
    os.mkfifo("pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((folder / "pipe").read_bytes()))
    reader.start()
    assert process("sweep", *arguments, "-o", "pipe").returncode == 0
    reader.join(timeout=20)
    assert got == [done.stdout]
    assert process("sweep", *arguments, "-o", "/dev/null").returncode == 0


def test_plots(folder, capsys):
    (folder / "$a_b$ 重.npy").write_bytes((folder / "a.npy").read_bytes())
    arguments = ["sweep", "$a_b$ 重.npy", "-r", "1,2", "--lattice", "e8"]
    for suffix, more, start in (("PNG", [], b"\x89PNG"), ("svg", ["--against", "b.npy"], b"<?xml")):
        names = [f"1.{suffix}", f"2.{suffix}"]
        for name in names:
            result = succeed(capsys, *arguments, *more, "-o", name)
            assert result.out == "" and result.err.count("\n") == 1
        one, two = ((folder / name).read_bytes() for name in names)
        assert one == two
        assert one.startswith(start) and len(one) > 10_000
        assert b"Date" not in one and b"<dc:date>" not in one


def test_plots_of_two_sizes_and_themes(folder, capsys):
    seen = set()
    for theme, width in (("light", 1000), ("dark", 480)):
        arguments = ["-r", "1,2", "--lattice", "e8", "--error", "0.2", "--theme", theme, "--width", width]
        succeed(capsys, "sweep", "a.npy", *arguments, "-o", f"{theme}.png", "-q")
        image = (folder / f"{theme}.png").read_bytes()
        assert int.from_bytes(image[16:20], "big") == width
        succeed(capsys, "sweep", "a.npy", *arguments, "-o", f"{theme}.svg", "-q")
        text = (folder / f"{theme}.svg").read_text()
        seen.add("#ffffff" in text)
        for words in (
            "decibels",
            "times smaller",
            "bits per entry",
            "round to nearest",
            "error of the product",
        ):
            assert words in text or (theme == "dark" and words == "round to nearest"), words
    assert seen == {True, False}


def test_plot_without_matplotlib(folder, capsys, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert "pip install nqz[plot]" in fail(capsys, 2, "sweep", "missing.npy", "-o", "rd.png")
    assert "pip install nqz[plot]" in fail(capsys, 2, "sweep", "missing.npy", "-o", "rd.svg")
    succeed(capsys, "sweep", "a.npy", "-r", "2", "--lattice", "e8", "-o", "rd.csv")
    assert listing(folder) == ["a.npy", "b.npy", "rd.csv"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-r", "0"], "rate 0: a number"),
        (["-r", "nan"], "rate nan: a number"),
        (["-r", "1,13"], "rate 13: a number"),
        (["-r", "1,two"], "--rate 'two': a number is needed"),
        (["-r", "1,,2"], "an item of the list is empty"),
        (["-r", ""], "an item of the list is empty"),
        (["-r", "1,2", "-r", "1.0"], "rates: 1 is given twice"),
        (["--lattice", "e9"], "lattice 'e9': one of "),
        (["--lattice", "e8,z,e8"], "lattices: e8 is given twice"),
        (["--lattice", "e8", "--states", "16"], "only the lattice conv has states"),
        (["--lattice", "conv", "--states", "5"], "states 5: one of "),
        (["--lattice", "conv", "--states", "x"], "--states 'x': an integer is needed"),
        (["--coding", "huffman"], "coding 'huffman'"),
        (["--lattice", "conv", "--coding", "voronoi"], "the voronoi coding needs one of"),
        (["--seed", "-1"], "seed -1"),
        (["--threads", "0"], "--threads 0"),
        (["-o", "rd.pdf"], "the suffix of the output must be .json, .csv, .png or .svg"),
        (["-o", ""], "the name of the output is empty"),
        (["--axis-against", "1"], "--axis-against: needs --against"),
        (["--tensor-against", "w"], "--tensor-against: needs --against"),
        (["--partner", "none"], "partner 'none': equal, exact, or its bits per entry"),
        (["--mark", "x"], "--mark 'x': a number is needed"),
        (["--mark", "13"], "rate 13: a number"),
        (["--mark", "2", "--error", "0.1"], "both choose a rate"),
        (["--error", "0"], "error 0: a number"),
        (["--window", "14"], "window 14: only the trellis coding has one"),
        (["--theme", "dark"], "--theme: is for plots"),
        (["--width", "700", "-o", "rd.csv"], "--width: is for plots"),
        (["--width", "100", "-o", "rd.png"], "--width 100: a number of pixels from 480 to 4800"),
    ],
)
def test_usage(folder, capsys, arguments, text):
    assert text in fail(capsys, 2, "sweep", "a.npy", *arguments)
    assert listing(folder) == ["a.npy", "b.npy"]


def test_bad_inputs(folder, capsys):
    assert "missing.npy" in fail(capsys, 3, "sweep", "missing.npy")
    assert "not both" in fail(capsys, 2, "sweep", "-", "--against", "-")
    save(folder / "i.npy", np.arange(12).reshape(3, 4))
    assert "convert it" in fail(capsys, 4, "sweep", "i.npy")
    save(folder / "empty.npy", np.zeros((0, 4), np.float32))
    assert "holds no matrix" in fail(capsys, 4, "sweep", "empty.npy")
    bad = matrix(64, 8)
    bad[3, 5] = np.nan
    save(folder / "nan.npy", bad)
    assert "entry [3, 5] is NaN" in fail(capsys, 4, "sweep", "nan.npy", "-o", "rd.json")
    succeed(capsys, "encode", "a.npy", "-r", "2", "-q")
    assert "container" in fail(capsys, 4, "sweep", "a.nqz")
    (folder / "rd.json").write_text("old")
    assert "rd.json" in fail(capsys, 9, "sweep", "a.npy", "-o", "rd.json")
    (folder / "in.json").write_bytes((folder / "a.npy").read_bytes())
    assert "in.json" in fail(capsys, 9, "sweep", "in.json", "-o", "in.json", "-f")
    assert (folder / "rd.json").read_text() == "old"
    assert listing(folder) == [
        "a.npy",
        "a.nqz",
        "b.npy",
        "empty.npy",
        "i.npy",
        "in.json",
        "nan.npy",
        "rd.json",
    ]
    succeed(capsys, "sweep", "a.npy", "-r", "2", "--lattice", "z", "-o", "rd.json", "-f")
    assert json.loads((folder / "rd.json").read_text())["points"]


def test_peculiar_matrices(folder, capsys):
    save(folder / "constant.npy", np.full((64, 4), 3.0))
    save(folder / "x.npy", matrix(64, 4, dtype="float64", seed=5))
    report = swept(capsys, "constant.npy", "--against", "x.npy", "-r", "2", "--lattice", "e8")
    assert report["signal"] is None
    (point,) = report["points"]
    assert point["measured"] == {"reconstruction": 0.0, "against": None}
    assert point["error"] is None and point["ratio"] is None and point["excess"] is None
    succeed(capsys, "sweep", "constant.npy", "-r", "2", "--lattice", "e8", "-o", "rd.png")
    save(folder / "huge.npy", 1e300 * matrix(256, 64, dtype="float64"))
    (point,) = swept(capsys, "huge.npy", "-r", "2", "--lattice", "e8")["points"]
    assert point["measured"]["reconstruction"] == pytest.approx(
        point["predicted"]["reconstruction"], rel=0.05
    )
    assert "overflows float64" in fail(capsys, 7, "sweep", "huge.npy", "--against", "huge.npy", "-r", "2")
    save(folder / "tiny.npy", 1e-300 * matrix(256, 64, dtype="float64", seed=6))
    report = swept(capsys, "huge.npy", "--against", "tiny.npy", "-r", "4", "--lattice", "e8")
    (point,) = report["points"]
    assert point["measured"]["against"] == pytest.approx(point["predicted"]["against"], rel=0.1)
    save(folder / "vector.npy", matrix(4096))
    save(folder / "other.npy", matrix(4096) + matrix(4096, seed=7))
    (point,) = swept(capsys, "vector.npy", "--against", "other.npy", "-r", "4", "--lattice", "e8")["points"]
    assert point["measured"]["against"] < 1.0
    save(folder / "short.npy", matrix(4, 400))
    result = succeed(capsys, "sweep", "short.npy", "-r", "0.5,1", "--lattice", "e8", "--coding", "voronoi")
    assert result.err.startswith("nqz: warning: short.npy: ") and result.err.count("\n") == 1


def test_fixtures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = swept(capsys, FIXTURES / "a.npy", "--against", FIXTURES / "b.npy", "-r", "3", "--lattice", "e8")
    (point,) = report["points"]
    assert point["measured"]["against"] == pytest.approx(point["predicted"]["against"], rel=0.15)
