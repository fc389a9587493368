"""What help says: groups, sentences and examples, by which commands are found, and what it costs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from cli_tools import FIXTURES, environment, fail, invoke, process, succeed
from nqz.cli import app, run
from nqz.cli import help as table
from nqz.cli.page import OTHER, Context, groups, long_name

ROOT = app.make_context("nqz", ["help"])
COMMANDS = {name: app.resolve_command(ROOT, [name])[1] or app for name in app.list_commands(ROOT)}
OPTIONS = [
    pytest.param(name, title, option, id=f"{name} {long_name(option)}")
    for name, command in COMMANDS.items()
    for title, options in groups(command, Context(command, info_name=name, parent=ROOT))
    for option in options
]


def test_every_command_has_a_page_and_no_page_is_of_none():
    assert set(table.PAGES) == set(COMMANDS)


@pytest.mark.parametrize("name, title, option", OPTIONS)
def test_every_option_has_a_sentence_and_a_group(name, title, option):
    assert re.fullmatch(r"[A-Z].*|[a-z0-9]+: .*", option.help), option.help
    assert option.help.endswith(".")
    assert title != OTHER, f"{name} {long_name(option)}: name it in nqz/cli/help.py"


EXAMPLES = {"nqz": table.EXAMPLES, **{name: page.examples for name, page in table.PAGES.items()}}


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    """Containers of all fixtures."""
    folder = tmp_path_factory.mktemp("containers")
    for name in ("a.npy", "b.npy", "model.safetensors"):
        target = (folder / name).with_suffix(".nqz")
        assert run(["encode", str(FIXTURES / name), "-r", "3", "-o", str(target), "-q"]) == 0
    return list(folder.iterdir())


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_works(name, containers, tmp_path, monkeypatch, capsys):
    """One after the other, as somebody may try them; a shell runs those that need one."""
    made = [] if name in ("nqz", "encode") else containers
    for file in (*made, *(FIXTURES / file for file in ("a.npy", "b.npy", "model.safetensors"))):
        shutil.copy(file, tmp_path)
    for folder, file in (("MODEL", FIXTURES / "model.safetensors"), ("MODEL-nqz", "model.nqz")):
        if (tmp_path / file).exists():
            (tmp_path / folder).mkdir()
            shutil.copy(tmp_path / file, tmp_path / folder)
    for folder in (".local/share/bash-completion/completions", ".config/fish/completions", ".zfunc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "nqz").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nqz "$@"\n')
    (tmp_path / "nqz").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    env = environment(HOME=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}")
    for _, line in EXAMPLES[name]:
        if any(character in line for character in "<>|$~"):
            done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"{line}: {done.stderr}"
        else:
            succeed(capsys, *shlex.split(line)[1:])


@pytest.mark.parametrize("name", table.PAGES)
def test_there_are_a_few_examples_of_each_command(name):
    assert 2 <= len(EXAMPLES[name]) <= 5
    assert all(line.split()[1] == name or line.startswith("eval") for _, line in EXAMPLES[name])


def test_help_has_groups_in_order_and_examples_that_are_not_folded(capsys):
    text = succeed(capsys, "encode", "--help").out
    assert re.findall(r"^(\w.*):$", text, re.MULTILINE) == [*table.GROUPS, "Examples"]
    for what, line in table.PAGES["encode"].examples:
        assert f"  # {what}\n  {line}\n" in text


def test_nqz_alone_shows_help(capsys):
    text = succeed(capsys).out
    assert text == succeed(capsys, "--help").out == succeed(capsys, "-h").out == succeed(capsys, "help").out
    assert succeed(capsys, "help", "encode").out == succeed(capsys, "encode", "-h").out
    assert succeed(capsys, "-V").out == succeed(capsys, "--version").out


@pytest.mark.parametrize(
    "word, meant",
    [
        ("encoed", "'encode'"), ("ENCODE", "'encode'"), ("mat-mul", "'matmul'"), ("compress", "'encode'"),
        ("info", "'inspect'"), ("verfiy", "'verify'"), ("version", "'--version'"),
    ],
)  # fmt: skip
def test_a_mistyped_command_is_told_from_what_it_may_mean(capsys, word, meant):
    for arguments in ([word], ["help", word], [word, "a.npy", "-r", "3"]):
        assert f"no such command {word!r}; did you mean {meant}" in invoke(capsys, *arguments).err
        assert invoke(capsys, *arguments).code == 2


def test_a_file_in_place_of_a_command_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, command in (("x.npy", "encode"), ("x.nqz", "inspect")):
        (tmp_path / name).touch()
        assert f"a command goes first, as in 'nqz {command} {name}'" in invoke(capsys, name, "-r", "3").err
    assert invoke(capsys, "qqqq").err.splitlines()[-1] == (
        "nqz: error: no such command 'qqqq' (try 'nqz --help')"
    )
    assert invoke(capsys, "help", "-x").code == invoke(capsys, "-x").code == 2


@pytest.mark.parametrize("value", ["0", "abc", "4097", "-1", "9" * 300, "1.5"])
def test_a_wrong_number_of_threads_names_where_it_comes_from(capsys, monkeypatch, value):
    needed = "an integer from 1 to 4096 is needed"
    arguments = ["inspect", "a.nqz"]
    assert re.fullmatch(rf"--threads .*: {needed}", fail(capsys, 2, *arguments, "--threads", value))
    monkeypatch.setenv("NQZ_THREADS", value)
    assert re.fullmatch(rf"NQZ_THREADS .*: {needed}", fail(capsys, 2, *arguments))
    assert fail(capsys, 3, *arguments, "--threads", "2").startswith("a.nqz: ")
    succeed(capsys, "inspect", "--help")


def test_threads_come_from_the_environment(tmp_path, capsys, monkeypatch, containers):
    import nqz.cli.decode as module

    seen = []
    workers = module.workers
    monkeypatch.setattr(module, "workers", lambda threads, **_: seen.append(threads) or workers(threads))
    for value, option, threads in (("3", [], 3), ("3", ["--threads", "1"], 1), ("", [], None)):
        monkeypatch.setenv("NQZ_THREADS", value)
        succeed(capsys, "decode", containers[0], "-o", tmp_path / "x.npz", "-f", *option)
        assert seen.pop() == threads


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"], ["--version"], ["encoed"]])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys, nqz.cli\n"
        f"code = nqz.cli.run({arguments})\n"
        "heavy = {'numpy', 'rich', 'zstandard', 'msgpack', 'importlib.metadata'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = process(program=program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_no_group_names_an_option_that_is_not_there(name):
    page, names = table.PAGES[name], {long_name(option) for option in COMMANDS[name].params}
    assert {*page.common, *page.codec, *page.expert} <= names


@pytest.mark.parametrize("coding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", ["nqz", "matmul", "encode"])
def test_help_is_shown_in_any_coding(name, coding):
    arguments = ["help"] if name == "nqz" else [name, "--help"]
    done = process(*arguments, env={"PYTHONIOENCODING": coding})
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.decode(coding).startswith("Usage: nqz")
    assert ("AᵀB" in done.stdout.decode(coding)) == (coding == "utf-8" and name != "encode")


@pytest.mark.parametrize("arguments", [[], ["help"], ["help", "encode"], ["completion", "bash"]])
def test_help_that_nobody_can_read_is_an_error(arguments):
    done = process(*arguments, capture_output=False, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert done.returncode == 10 and done.stderr == b"nqz: error: <stdout>: standard output is closed\n"
    with open("/dev/full", "wb") as full:
        done = process(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 11 and b"no space left" in done.stderr
