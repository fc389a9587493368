"""Each input by itself: --out-dir."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cli_tools import fail, invoke, listing, matrix, save, succeed
from model_tools import FIRST, make_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with arrays and a model."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.npy", matrix(40, 30))
    make_model(tmp_path / "MODEL")
    return tmp_path


def test_every_input_has_its_output(folder, capsys):
    succeed(capsys, "encode", "a.npy", "b.npy", "MODEL", f"MODEL/{FIRST}", "-r", "4", "--out-dir", "D")
    assert listing(folder / "D") == ["MODEL-nqz", "a.nqz", "b.nqz", FIRST.replace("safetensors", "nqz")]
    succeed(capsys, "encode", "a.npy", "-r", "4", "-o", "alone.nqz")
    assert (folder / "D" / "a.nqz").read_bytes() == (folder / "alone.nqz").read_bytes()
    succeed(capsys, "decode", "D/a.nqz", "D/MODEL-nqz", "--out-dir", "deep/er")
    assert listing(folder / "deep" / "er") == ["MODEL", "a.npy"]
    assert np.load("deep/er/a.npy").shape == (40, 30)


def test_the_others_go_on_when_one_fails(folder, capsys):
    save(folder / "b.npy", np.arange(5))
    (folder / "c.npy").write_bytes(b"")
    done = invoke(capsys, "encode", "b.npy", "a.npy", "c.npy", "nowhere.npy", "-r", "4", "--out-dir", "D")
    errors = [line for line in done.err.splitlines() if line.startswith("nqz: error: ")]
    assert done.code == 4 and len(errors) == 3 and done.out == ""
    assert [name in error for name, error in zip(("b.npy", "c.npy", "nowhere.npy"), errors, strict=True)] == [
        True
    ] * 3
    assert done.err.endswith("nqz: 3 of 4 inputs failed\n")
    assert listing(folder / "D") == ["a.nqz"]
    (folder / "d.nqz").write_bytes(b"")
    done = invoke(capsys, "decode", "d.nqz", "D/a.nqz", "nowhere.nqz", "--out-dir", "E", "-q")
    assert done.code == 5 and done.err.count("\n") == 2 and listing(folder / "E") == ["a.npy"]


def test_names_that_clash_are_refused_before_work_begins(folder, capsys):
    (folder / "other").mkdir()
    save(folder / "other" / "a.npy", matrix(4, 4))
    for others in (["other/a.npy"], ["a.npy"]):
        line = ["encode", "a.npy", *others, "-r", "4", "--out-dir", "D"]
        assert "would both be written to D/a.nqz" in fail(capsys, 2, *line)
    (folder / "a.npy").rename("a")
    assert "D/a.nqz" in fail(capsys, 2, "encode", "a", "other/a.npy", "-r", "4", "--out-dir", "D")
    save(folder / "other" / "x.nqz.npy", matrix(4, 4))
    assert "D" not in listing(folder)


def test_an_output_is_never_an_input(folder, capsys):
    (folder / "D").mkdir()
    (folder / "b.npy").rename("D/a.nqz")
    error = fail(capsys, 9, "encode", "a.npy", "D/a.nqz", "-r", "4", "--out-dir", "D", "-f")
    assert error.startswith("D/a.nqz: is an input") and listing(folder / "D") == ["a.nqz"]


def test_options_that_do_not_go_together(folder, capsys):
    assert "either -o" in fail(capsys, 2, "encode", "a.npy", "-r", "4", "--out-dir", "D", "-o", "x.nqz")
    assert "standard input has no name" in fail(
        capsys, 2, "encode", "a.npy", "-", "-r", "4", "--out-dir", "D"
    )
    assert "name of the folder is empty" in fail(capsys, 2, "decode", "a.nqz", "--out-dir", "")
    assert "a.npy: cannot make the folder" in fail(
        capsys, 10, "encode", "b.npy", "-r", "4", "--out-dir", "a.npy"
    )
    several = ["encode", "a.npy", "b.npy", "-r", "4"]
    for words in (
        "2 inputs are given",
        "the parts of one model, give a folder for it, with -o OUT",
        "--out-dir D",
    ):
        assert words in fail(capsys, 2, *several)


def test_a_report_has_all_of_them(folder, capsys):
    (folder / "c.npy").write_bytes(b"")
    done = invoke(capsys, "encode", "a.npy", "c.npy", "b.npy", "-r", "4", "--out-dir", "D", "--json", "-q")
    found = json.loads(done.out)["reports"]
    assert done.code == 5 and [one["inputs"] for one in found] == [["a.npy"], ["c.npy"], ["b.npy"]]
    assert found[1]["exit_status"] == 5 and "c.npy" in found[1]["error"]
    assert found[2]["outputs"] == [{"name": "D/b.nqz", "bytes": (folder / "D" / "b.nqz").stat().st_size}]
    succeed(capsys, "decode", "D/a.nqz", "D/b.nqz", "--out-dir", "E", "--json", "report.json")
    assert len(json.loads((folder / "report.json").read_text())["reports"]) == 2
