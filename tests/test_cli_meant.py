"""What may be meant by what is not there: names of tensors, options, and words that belong to an option."""

from __future__ import annotations

import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_tools import fail, invoke, matrix, save, succeed
from model_tools import make_model
from nqz.ground.patterns import no_tensor


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A file of several tensors and its container, a .npy file, and a model."""
    monkeypatch.chdir(tmp_path)
    names = [f"layers.{i}.{part}.weight" for i in range(3) for part in ("q_proj", "up_proj")]
    save_file({name: matrix(40, 30) for name in [*names, "lm_head.weight"]}, "m.safetensors")
    save(tmp_path / "a.npy", matrix(64, 20))
    make_model(tmp_path / "model")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    return tmp_path


MANY = [f"layers.{i}.q_proj.weight" for i in range(4)]


@pytest.mark.parametrize(
    ("wanted", "names", "pattern", "meant"),
    [
        ("lm_head", ["lm_head.weight", *MANY], True, "; did you mean 'lm_head.weight'?"),
        ("LM_head", ["lm_head.weight", *MANY], True, "; did you mean 'lm_head.weight'?"),
        ("q_proj", MANY, True, "; did you mean '*q_proj*'?"),
        ("q_proj.*", MANY, True, "; did you mean '*q_proj.*'?"),
        ("Q_PROJ", MANY, True, f"; did you mean '{MANY[0]}' or '{MANY[1]}'?"),
        ("q_proj", MANY, False, f"; did you mean '{MANY[0]}' or '{MANY[1]}'?"),
        ("lm_haed.weight", ["lm_head.weight", *MANY], True, "; did you mean 'lm_head.weight'?"),
        ("bias", MANY, True, ""),
        ("", MANY, True, ""),
        ("*", [], True, ""),
        ("*0.q_proj.*", MANY, False, f"; a name is needed here, no pattern; did you mean '{MANY[0]}'?"),
        ("layers.1.*_proj.*", MANY, False, f"; a name is needed here, no pattern; did you mean '{MANY[1]}'?"),
        ("layers.*.v", MANY, False, "; a name is needed here, no pattern"),
    ],
)
def test_near_names(wanted, names, pattern, meant):
    assert no_tensor(wanted, names, pattern=pattern) == f"no tensor is called {wanted!r}{meant}"


def test_near_names_among_many_take_no_time():
    names = [f"layers.{i}.q_proj.weight" for i in range(500_000)]
    start = time.process_time()
    assert no_tensor("k_proj", names).endswith("'k_proj'")
    assert no_tensor("q_proj", names).endswith("'*q_proj*'?")
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["encode", "m.safetensors", "-r", "3", "--rule", "lm_head=exact"], "'lm_head.weight'"),
        (["encode", "m.safetensors", "-r", "3", "--tensor", "q_proj"], "'*q_proj*'"),
        (["encode", "m.safetensors", "-r", "3", "--tensor", "q_proj", "--dry-run"], "'*q_proj*'"),
        (["decode", "m.nqz", "--tensor", "lm_head"], "'lm_head.weight'"),
        (["inspect", "m.nqz", "--tensor", "lm_head"], "'lm_head.weight'"),
        (["sweep", "m.safetensors", "--tensor", "lm_head"], "'lm_head.weight'"),
        (["matmul", "m.nqz", "a.npy", "--tensor-a", "up_proj"], "'layers.0.up_proj.weight' or 'layers.1"),
    ],
)
def test_every_command_says_which_tensor_may_be_meant(folder, capsys, arguments, meant):
    text = fail(capsys, 2, *arguments)
    assert "no tensor is called " in text and f"; did you mean {meant}" in text


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["encode", "a.npy", "--bits", "3"], "; did you mean -r or --rate? (try"),
        (["encode", "a.npy", "--max-size", "3"], "; did you mean --max-bytes? (try"),
        (["encode", "a.npy", "-rate", "3"], "; did you mean --rate? (try"),
        (["encode", "a.npy", "--rat", "3"], "; did you mean -r or --rate? (try"),
        (["encode", "a.npy", "-r", "3", "--out", "x.nqz"], "; did you mean -o or --output? (try"),
        (["decode", "a.nqz", "-force"], "no such option '-force'; did you mean --force? (try"),
        (["-v"], "; did you mean -V or --version? (try"),
        (["inspect", "a.nqz", "--frobnicate"], "no such option '--frobnicate' (try"),
    ],
)
def test_options_that_are_meant(folder, capsys, arguments, meant):
    result = invoke(capsys, *arguments)
    assert result.code == 2 and meant.lower() in result.err.lower(), result.err


def test_words_that_belong_to_an_option(folder, capsys):
    assert "3: is no file; a rate is given as -r 3" in fail(capsys, 2, "encode", "model", "3")
    text = fail(capsys, 2, "encode", "a.npy", "-r", "3", "--json", "rep.txt")
    assert "rep.txt: is no file; for a report in it, give --json=rep.txt" in text
    for arguments in (["encode", "--json", "rep", "a.npy", "-r", "3"], ["decode", "m.nqz", "--json", "rep"]):
        assert "rep: is no file; for a report in it, give --json=rep" in fail(capsys, 2, *arguments)
    text = invoke(capsys, "completion").err
    assert "\\" not in text and "bash, zsh, fish" in text


def test_a_sweep_of_a_model_says_what_sweep_takes(folder, capsys):
    for arguments in (["model"], ["a.npy", "--against", "model"], ["model/model.safetensors.index.json"]):
        text = fail(capsys, 3, "sweep", *arguments)
        assert "is a model, and sweep takes one file" in text


def test_one_note_on_products_with_themselves(folder, capsys):
    text = succeed(capsys, "matmul", "m.nqz", "m.nqz", "-o", "p.safetensors").err
    assert text.count("note") == 1
    assert "both sides of 7 products are the same matrix: their diagonals come from the norms" in text
    assert np.load("a.npy").shape == (64, 20)
