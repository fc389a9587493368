"""What a newcomer meets: default names, sizes, options that exclude each other, and messages that say what to do."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys

import ml_dtypes  # noqa: F401  (makes NumPy know bfloat16)
import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_tools import environment, fail, invoke, listing, matrix, process, save, succeed
from nqz.cli.common import default_output
from nqz.cli.parameters import Size
from nqz.cli.text import table

PROGRAM = f'nqz() {{ {shlex.quote(sys.executable)} -m nqz "$@"; }}; '


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A current folder with a.npy and its container a.nqz."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(96, 20))
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    return tmp_path


def shell(line: str) -> subprocess.CompletedProcess:
    """Run a line of bash in which nqz is the program."""
    return subprocess.run(
        ["bash", "-c", PROGRAM + line], env=environment(), capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "path, suffixes, suffix, expected",
    [
        ("a.npy", ["npy", "npz"], "nqz", "a.nqz"),
        ("x/A.NPZ", ["npy", "npz"], "nqz", "x/A.nqz"),
        ("layer.0", ["npy", "npz"], "nqz", "layer.0.nqz"),
        ("model.v1.2", ["npy", "npz"], "nqz", "model.v1.2.nqz"),
        ("a.txt", ["npy", "npz"], "nqz", "a.txt.nqz"),
        ("a", ["npy", "npz"], "nqz", "a.nqz"),
        (".npy", ["npy", "npz"], "nqz", ".npy.nqz"),
        ("x.y/a", ["npy", "npz"], "nqz", "x.y/a.nqz"),
        ("model.v1.2", ["nqz"], "safetensors", "model.v1.2.safetensors"),
        ("model.v1.2.nqz", ["nqz"], "safetensors", "model.v1.2.safetensors"),
        ("-", ["nqz"], "npy", "-"),
        ("/dev/stdin", ["npy"], "nqz", "-"),
        ("/dev/fd/63", ["npy"], "nqz", "-"),
        ("/proc/self/fd/3", ["npy"], "nqz", "-"),
        ("/dev/null", ["npy"], "nqz", "-"),
    ],
)
def test_default_outputs(path, suffixes, suffix, expected):
    assert default_output(path, suffixes, suffix) == expected


def test_files_that_differ_behind_a_dot_do_not_collide(folder, capsys):
    for name in ("layer.0", "layer.1", "model.v1.2"):
        (folder / name).write_bytes((folder / "a.npy").read_bytes())
        assert f"{name} -> {name}.nqz: " in succeed(capsys, "encode", name, "-r", "3").err
    (folder / "layer.0.nqz").rename(folder / "layer.7")
    succeed(capsys, "decode", "layer.7", "-q")
    assert np.load("layer.7.npy").shape == (96, 20)


@pytest.mark.parametrize("given", ["/dev/stdin -r 3 < a.npy", "<(cat a.npy) -r 3", "/dev/fd/3 -r 3 3< a.npy"])
def test_what_comes_through_a_descriptor_goes_to_standard_output(folder, given):
    done = shell(f"nqz encode {given} -q | cat")
    assert done.stdout == (folder / "a.nqz").read_bytes() and done.stderr == b""
    done = shell("nqz decode <(cat a.nqz) -q | cat")
    assert done.stdout[:6] == b"\x93NUMPY"
    assert listing(folder) == ["a.npy", "a.nqz"]


@pytest.mark.parametrize(
    "text, size",
    [
        ("10000", 10_000), ("9MB", 9_000_000), ("9mb", 9_000_000), ("9 M", 9_000_000), ("1.5k", 1500),
        ("1KB", 1000), ("1KiB", 1024), ("1.5Ki", 1536), ("2GB", 2 * 10**9), ("2 GiB", 2 << 30), ("1TB", 10**12),
        ("5B", 5), ("1e7", 10**7), ("1.25E+1", 12), ("9223372036854775807", (1 << 63) - 1),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text",
    [
        "", "MB", "-5", "1e-3", "1e", "inf", "nan", "1_000", "5i", "0x10", "1 X", "9" * 400, "99999999999999999999GB",
        "9223372036854775808",
    ],
)  # fmt: skip
def test_what_is_no_size(folder, capsys, text):
    result = invoke(capsys, "encode", "a.npy", "--max-bytes", text, "-o", "x.nqz")
    assert result.code == 2 and "--max-bytes" in result.err
    assert "powers of 1000" in result.err or "2**63 - 1 bytes" in result.err
    assert listing(folder) == ["a.npy", "a.nqz"]


def test_a_size_with_a_unit_is_kept(folder, capsys):
    succeed(capsys, "encode", "a.npy", "--max-bytes", "1.2kB", "-o", "x.nqz", "-q")
    assert 1000 < (folder / "x.nqz").stat().st_size <= 1200


@pytest.mark.parametrize("value", ["1" + "0" * 30, "9" * 5000, "1e400", "inf", "nan", "-1"])
@pytest.mark.parametrize(
    "option", ["--max-bytes", "--seed", "--threads", "--states", "--kappa", "--error", "-r"]
)
def test_numbers_beyond_all_bounds_are_usage_errors(folder, capsys, option, value):
    target = [] if option in ("--max-bytes", "--error", "-r") else ["-r", "3"]
    result = invoke(capsys, "encode", "a.npy", *target, option, value, "-o", "x.nqz")
    assert result.code == 2 and len(result.err) < 6000
    assert result.err.splitlines()[-1].startswith("nqz: error: ")
    for more in (["sweep", "a.npy"], ["inspect", "a.nqz"]):
        if option in ("--seed", "--threads", "--states", "-r") and (
            more[0] == "sweep" or option == "--threads"
        ):
            assert invoke(capsys, *more, option, value).code == 2
    assert listing(folder) == ["a.npy", "a.nqz"]


@pytest.mark.parametrize(
    "targets",
    [
        ["-r", "3", "--max-bytes", "10000"],
        ["-r", "3", "--error", "0.1"],
        ["--error", "0.1", "--max-bytes", "1MB"],
    ],
)
def test_only_one_target(folder, capsys, targets):
    line = fail(capsys, 2, "encode", "a.npy", *targets, "-o", "x.nqz")
    assert line == "give only one of a rate (-r), an error (--error) and a number of bytes (--max-bytes)"
    assert "one of a rate (-r)" in fail(capsys, 2, "encode", "a.npy", "-o", "x.nqz")


def test_names_of_choices_in_any_case(folder, capsys):
    lower = ["--lattice", "e8", "--coding", "voronoi", "--allocate", "column"]
    succeed(capsys, "encode", "a.npy", "-r", "3", *lower, "-o", "lower.nqz", "-q")
    succeed(
        capsys,
        "encode",
        "a.npy",
        "-r",
        "3",
        *map(str.upper, lower[:0]),
        *_upper(lower),
        "-o",
        "upper.nqz",
        "-q",
    )
    assert (folder / "lower.nqz").read_bytes() == (folder / "upper.nqz").read_bytes()
    succeed(capsys, "decode", "a.nqz", "--dtype", "Float16", "--estimator", "MMSE", "-o", "x.npy", "-q")
    assert np.load("x.npy").dtype == np.float16
    succeed(
        capsys,
        "matmul",
        "a.nqz",
        "a.npy",
        "--estimator",
        "Unbiased",
        "--dtype",
        "FLOAT64",
        "-o",
        "p.npy",
        "-q",
    )
    report = json.loads(
        succeed(capsys, "sweep", "a.npy", "-r", "2", "--lattice", "E8,Z", "--coding", "Entropy", "--json").out
    )
    assert [point["lattice"] for point in report["points"]] == ["e8", "z"]


def _upper(options):
    return [option if option.startswith("--") else option.upper() for option in options]


def test_more_files_than_a_command_takes(folder, capsys):
    for arguments, words in (
        (
            ["encode", "a.npy", "b c.npy", "-r", "3"],
            "2 inputs are given: if they are the parts of one model,",
        ),
        (
            ["decode", "a", "b", "c", "d"],
            "if each is by itself, give a folder for all outputs, with --out-dir D",
        ),
        (["inspect", "a", "b c"], "takes 1 file, and 2 are given; for f in a 'b c'; do nqz inspect"),
        (["inspect", "a", "b", "c", "d"], "and 4 are given; for f in a b c …; do nqz inspect"),
        (["verify", "a.nqz", "a.npy"], "follows --against"),
        (["sweep", "a.npy", "b.npy"], "follows --against"),
        (["matmul", "a", "b", "c"], "takes 2 files, and 3 are given"),
    ):
        result = invoke(capsys, *arguments)
        assert result.code == 2 and words in result.err.splitlines()[-1], result.err
    assert listing(folder) == ["a.npy", "a.nqz"]


@pytest.fixture
def models(folder, capsys):
    """Two containers and their originals, whose tensors y do not fit together."""
    for name, rows in (("m", 32), ("n", 31)):
        tensors = {"x": matrix(64, 8), "y": matrix(rows, 6, seed=1), "ids": np.arange(40), "z": matrix(64, 5)}
        save_file(tensors, f"{name}.safetensors")
        succeed(capsys, "encode", f"{name}.safetensors", "-r", "6", "-q")
    return folder


def damaged(folder, *names):
    """m.nqz with a byte of the data of some tensors changed."""
    from nqz.commands.opening import open_file

    data = bytearray((folder / "m.nqz").read_bytes())
    with open_file("m.nqz") as opened:
        for index, info in enumerate(opened.content.manifest.tensors):
            if info.name in names:
                data[opened.content.records(index)[-1].end - 10] ^= 1
    (folder / "bad.nqz").write_bytes(data)


@pytest.mark.parametrize("against", [[], ["--against", "m.safetensors"]])
def test_verify_lists_every_tensor_that_is_damaged(models, capsys, against):
    damaged(models, "y", "ids")
    result = invoke(capsys, "verify", "bad.nqz", *against, "-q")
    assert result.code == 5
    lines = result.err.splitlines()
    assert len(lines) == 2 and all(
        re.match(r"nqz: error: bad\.nqz: tensor '(y|ids)': damaged: the checksum", x) for x in lines
    )
    assert result.out.count("damaged") == (2 if against else 0)
    assert result.out.count(" ok\n") == (2 if against else 0)
    result = invoke(capsys, "verify", "bad.nqz", *against, "--json", "-q")
    found = json.loads(result.out)
    assert result.code == 5 and not found["ok"] and found["problem"].startswith("bad.nqz: ")
    assert {t["name"]: (t["ok"], t["damaged"]) for t in found["tensors"]} == {
        "x": (True, False), "y": (False, True), "ids": (False, True), "z": (True, False),
    }  # fmt: skip
    assert all((t["problem"] is None) == t["ok"] for t in found["tensors"])


def test_verify_lists_every_tensor_that_is_another_one(models, capsys):
    tensors = {"x": matrix(64, 8, seed=9), "y": matrix(31, 6), "z": matrix(64, 5), "more": np.ones(3)}
    save_file(tensors, "other.safetensors")
    result = invoke(capsys, "verify", "m.nqz", "--against", "other.safetensors", "-q")
    assert result.code == 8 and result.out.count(" OFF\n") == 3 and result.out.count(" ok\n") == 1
    x, y, ids = sorted(result.err.splitlines(), key=lambda line: "xyi".index(line.split("'")[1][0]))
    assert x.startswith("nqz: error: m.nqz against other.safetensors: tensor 'x': error ")
    assert y.endswith("tensor 'y': the original has shape 31x6, not 32x6: it is another one")
    assert ids.endswith("tensor 'ids': the original holds no such tensor")
    damaged(models, "x")
    assert invoke(capsys, "verify", "bad.nqz", "--against", "other.safetensors", "-q").code == 5


def test_verify_always_prints_json(models, capsys):
    (models / "cut.nqz").write_bytes((models / "m.nqz").read_bytes()[:-9])
    for arguments, code in (
        (["cut.nqz"], 5), (["nowhere.nqz"], 3), (["a.npy"], 4), (["m.nqz", "--against", "nowhere"], 3),
        (["m.nqz", "--against", "a.npy"], 8),
    ):  # fmt: skip
        result = invoke(capsys, "verify", *arguments, "--json", "-q")
        found = json.loads(result.out)
        assert result.code == code and found["ok"] is False and result.err.count("\n") >= 1
        assert found["problem"] or any(tensor["problem"] for tensor in found["tensors"])


def test_a_reconstruction_better_than_predicted_is_no_fault(folder, capsys):
    succeed(capsys, "decode", "a.nqz", "-o", "back.npy", "-q")
    result = succeed(capsys, "verify", "a.nqz", "--against", "back.npy")
    assert " other       ok\n" in result.out


@pytest.mark.parametrize("offset, rate", [(1e15, 4), (1e14, 6), (1e13, 8), (1e12, 11)])
def test_verify_knows_the_grid_of_float64_far_from_zero(folder, capsys, offset, rate):
    original = matrix(512, 64, dtype="float64") + offset
    np.save("far.npy", original)
    succeed(capsys, "encode", "far.npy", "-r", rate, "-q")
    (tensor,) = json.loads(succeed(capsys, "verify", "far.nqz", "--against", "far.npy", "--json").out)[
        "tensors"
    ]
    assert tensor["measured"] == pytest.approx(tensor["predicted"], rel=0.03)


@pytest.mark.parametrize(
    "dtype, offset", [("float16", 1000.0), ("float32", 1e7), ("float16", 0.0), ("bfloat16", 0.0)]
)
def test_decode_counts_the_rounding_to_its_type(folder, capsys, dtype, offset):
    original = matrix(512, 64, dtype="float64") + offset
    np.save("x.npy", original)
    succeed(capsys, "encode", "x.npy", "-r", "8", "-q")
    result = succeed(capsys, "decode", "x.nqz", "--dtype", dtype, "-o", "x.safetensors", "-f")
    expected = float(re.search(r"expected error (\S+) of", result.err)[1])
    from safetensors.numpy import load_file

    back = load_file("x.safetensors")["array"].astype(np.float64)
    measured = np.square(back - original).sum() / np.square(original - original.mean(axis=0)).sum()
    assert measured == pytest.approx(expected, rel=0.1)


def test_matmul_names_the_pair_that_does_not_fit(models, capsys):
    line = fail(capsys, 7, "matmul", "m.nqz", "n.nqz", "-o", "p.safetensors")
    assert line.startswith(
        "m.nqz: tensor 'y' and n.nqz: tensor 'y': vectors of 32 and 31 entries cannot be multiplied"
    )


def test_matmul_says_which_axis_fits(folder, capsys):
    save(folder / "t.npy", matrix(12, 96))
    succeed(capsys, "encode", "t.npy", "-r", "3", "-q")
    assert "take t.npy along its other axis, with --axis-b 1" in fail(capsys, 7, "matmul", "a.nqz", "t.npy")
    assert "take t.npy along its other axis, with --axis-a 1" in fail(capsys, 7, "matmul", "t.npy", "a.nqz")
    assert "take t.nqz along its other axis, with encode --axis 1" in fail(
        capsys, 7, "matmul", "a.nqz", "t.nqz"
    )
    succeed(capsys, "matmul", "a.nqz", "t.npy", "--axis-b", "1", "-o", "p.npy", "-q")
    save(folder / "u.npy", matrix(7, 5))
    assert "(see --axis-b and --axis of encode)" in fail(capsys, 7, "matmul", "a.nqz", "u.npy")


def test_square_matrices_along_different_axes_are_told(folder, capsys):
    for name, axis in (("s", 0), ("t", 1)):
        save(folder / f"{name}.npy", matrix(64, 64, seed=axis))
        succeed(capsys, "encode", f"{name}.npy", "-r", "4", "--axis", axis, "-q")
    note = "nqz: note: the vectors are the rows of t.nqz and the columns of s.nqz; both are 64x64, so either fits\n"
    assert note in succeed(capsys, "matmul", "s.nqz", "t.nqz", "-o", "p.npy").err
    assert note in succeed(capsys, "matmul", "t.nqz", "s.nqz", "-o", "p.npy", "-f").err
    for arguments in (["s.nqz", "s.npy"], ["t.nqz", "t.npy", "--axis-b", "1"]):
        assert "so either fits" not in succeed(capsys, "matmul", *arguments, "-o", "p.npy", "-f").err


def test_rules_of_tables_fit_80_columns(monkeypatch):
    wide = "".join(table([f"heading {n}" for n in range(12)], lambda: [("x" * 20,) * 12])).splitlines()
    assert len(wide[0]) > 200 and wide[1] == "─" * 80


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONIOENCODING": ""},
    ],
)
def test_reports_are_plain_where_there_is_only_ascii(folder, locale):
    for arguments in (
        ["inspect", "a.nqz"],
        ["verify", "a.nqz", "--against", "a.npy"],
        ["sweep", "a.npy", "-r", "2"],
    ):
        done = process(*arguments, env=locale)
        assert done.returncode == 0 and done.stdout.isascii() and b"\\u" not in done.stdout
        rules = [line for line in done.stdout.decode().splitlines() if set(line) == {"-"}]
        assert len(rules) == (arguments[0] != "inspect") and all(len(rule) <= 80 for rule in rules)
    done = process("encode", "a.npy", "-r", "3", "-f", env=locale)
    assert b"of |A|^2|B|^2/n (" in done.stderr


def test_errors_come_with_their_unit_and_root(folder, capsys):
    (tensor,) = json.loads(succeed(capsys, "inspect", "a.nqz", "--json").out)["tensors"]
    product, reconstruction = tensor["predicted"]["product"], tensor["predicted"]["reconstruction"]
    roots = [f"{100 * math.sqrt(value):.3g}" for value in (product, reconstruction)]
    encoded = succeed(capsys, "encode", "a.npy", "-r", "3", "-f").err
    assert f"predicted product error {product:.3g} of ‖Ā‖²‖B̄‖²/n ({roots[0]} % rms)" in encoded
    decoded = succeed(capsys, "decode", "a.nqz", "-o", "x.npy").err
    assert f"expected error {reconstruction:.3g} of ‖Ā‖² ({roots[1]} % rms)" in decoded
    inspected = succeed(capsys, "inspect", "a.nqz").out
    assert f"‖Ā‖²‖B̄‖²/n ({roots[0]} % rms)" in inspected and f"of ‖Ā‖² ({roots[1]} % rms)" in inspected
    verified = succeed(capsys, "verify", "a.nqz", "--against", "a.npy").out.splitlines()
    assert verified[0].split().count("rms") == 2 and roots[1] in verified[2].split()
    swept = succeed(capsys, "sweep", "a.npy", "-r", "3").out
    assert " rms " in swept and "rms: root of the error, in per cent" in swept
    multiplied = succeed(capsys, "matmul", "a.nqz", "a.npy", "-o", "p.npy").err
    assert re.search(r"expected error \S+ of ‖Ā‖²‖B̄‖²/n \(\S+ % rms\)\n", multiplied)


@pytest.mark.parametrize("option", ["--version", "--help", "encode --help"])
def test_what_cannot_be_shown_is_no_success(folder, option):
    done = shell(f"nqz {option} >&-")
    assert done.returncode == 10 and done.stderr == b"nqz: error: <stdout>: standard output is closed\n"


@pytest.mark.parametrize("name", ["out.npy", "out.NPZ", "out.safetensors"])
def test_a_container_is_not_named_as_what_it_is_not(folder, capsys, name):
    save(folder / "x.npy", matrix(64, 8))
    assert fail(capsys, 2, "encode", "x.npy", "-r", "3", "-o", name).endswith("; name it .nqz")
    assert not (folder / name).exists()
