"""Models that are written: kills, signals and full disks leave the old folder or the complete new one."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_tools import MANY, environment, fail, listing, matrix, succeed
from model_tools import everything, make_model, weight_map, write_index
from nqz.files.folder import OutputFolder
from test_cli_full import on_small_disk

UP = """
import sys, nqz.cli, nqz.cli.{command}, nqz.commands.models
print("up", flush=True)
sys.exit(nqz.cli.main())
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model in the folder MODEL, which is in the current one."""
    monkeypatch.chdir(tmp_path)
    return make_model(tmp_path / "MODEL")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder with a model that keeps commands busy for a moment, and the same compressed."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "M").mkdir()
    block = matrix(448, 448)
    shards = {f"m{i}.safetensors": {f"w{i}": np.roll(block, i, axis=0)} for i in range(6)}
    for name, found in shards.items():
        save_file(found, folder / "M" / name)
    write_index(folder / "M", weight_map(shards))
    (folder / "M" / "vocab.txt").write_text("a\n")
    line = ["encode", folder / "M", "-r", "2", "--lattice", "e8", "-o", folder / "C", "-q"]
    assert subprocess.run([sys.executable, "-m", "nqz", *line], env=environment()).returncode == 0
    return folder


LINES = {
    "encode": ["encode", "M", "-r", "3", "--lattice", "e8", "-o", "out", "-f", "--threads", "1"],
    "decode": ["decode", "C", "-o", "out", "-f", "--threads", "1"],
}


def start(command):
    """Start a command, and return when it is loaded."""
    child = subprocess.Popen(
        [sys.executable, "-c", UP.format(command=command), *LINES[command]], env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == b"up\n"
    return child


ENDS = [
    ("encode", signal.SIGKILL),
    ("decode", signal.SIGTERM),
    ("decode", signal.SIGKILL),
    ("encode", signal.SIGINT),
]


@pytest.mark.parametrize("command, number", ENDS if MANY else ENDS[:2])
def test_ends_at_random_moments(large, monkeypatch, command, number):
    monkeypatch.chdir(large)
    inputs = listing(large)
    child, begin = start(command), time.monotonic()
    child.communicate()
    took, new = time.monotonic() - begin, everything(large / "out")
    assert child.returncode == 0
    moments = random.Random(command)
    for _ in range(60 if MANY else 2):
        with OutputFolder("out", force=True) as output:
            output.write("old", b"old")
            output.commit()
        child = start(command)
        time.sleep(moments.uniform(0, 0.9 * took))
        child.send_signal(number)
        _, error = child.communicate(timeout=60)
        found = everything(large / "out")
        assert found in ({"old": b"old"}, new), sorted(found)
        left = {name for name in listing(large) if name not in (*inputs, "out")}
        assert all(re.fullmatch(r"\.out\.\d+\.nqz\.tmp", name) for name in left), left
        if number != signal.SIGKILL:
            assert not left and child.returncode in (0, 143, 130), error
    child = start(command)
    child.communicate()
    assert child.returncode == 0 and everything(large / "out") == new
    assert listing(large) == sorted([*inputs, "out"])
    shutil.rmtree("out")


def test_a_folder_is_replaced_only_if_nqz_wrote_it(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    assert "OUT: exists already; use --force" in fail(capsys, 9, "encode", "MODEL", "-r", "3", "-o", "OUT")
    before = everything(tmp_path / "OUT")
    succeed(capsys, "encode", "MODEL", "-r", "3", "-o", "OUT", "-f")
    after = everything(tmp_path / "OUT")
    assert before != after and list(before) == list(after)
    (tmp_path / "OUT" / "notes.txt").write_text("mine")
    error = fail(capsys, 9, "encode", "MODEL", "-r", "4", "-o", "OUT", "-f")
    assert "OUT: exists already, is not a folder as nqz left it" in error
    assert everything(tmp_path / "OUT") == {**after, "notes.txt": b"mine"}
    (tmp_path / "OUT" / "notes.txt").unlink()
    succeed(capsys, "decode", "OUT", "-o", "BACK")
    succeed(capsys, "decode", "OUT", "-o", "BACK", "-f", "--dtype", "float32")
    # the original is not what nqz wrote, although every name in it is one that decoding writes
    assert "MODEL: exists already, is not a folder as nqz left it" in fail(
        capsys, 9, "decode", "OUT", "-o", "MODEL", "-f"
    )
    assert listing(tmp_path) == ["BACK", "MODEL", "OUT"]


def test_neither_input_nor_output_may_be_in_the_other(model, tmp_path, capsys):
    for out, words in (
        ("MODEL", "is an input"),
        ("MODEL/OUT", "is inside the input"),
        (".", "has the input"),
    ):
        assert words in fail(capsys, 9, "encode", "MODEL", "-r", "4", "-o", out, "-f")
    assert "is inside" in fail(
        capsys, 9, "encode", "MODEL/model.safetensors.index.json", "-r", "4", "-o", "MODEL/x"
    )
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    assert "is inside" in fail(capsys, 9, "decode", "OUT", "-o", "OUT/sub/back")
    parts = ["OUT/model-00001-of-00002.nqz", "OUT/model-00002-of-00002.nqz"]
    assert "has the input" in fail(capsys, 9, "decode", *parts, "-o", "OUT", "-f")


def test_outputs_that_are_no_folder(model, capsys, tmp_path):
    assert "is written to a folder" in fail(capsys, 2, "encode", "MODEL", "-r", "4", "-o", "-")
    assert "becomes a folder, and no .npy file" in fail(
        capsys, 2, "encode", "MODEL", "-r", "4", "-o", "x.npy"
    )
    assert "becomes a folder, and no .nqz file; name a folder, such as x" in fail(
        capsys, 2, "encode", "MODEL", "-r", "4", "-o", "x.nqz"
    )
    (tmp_path / "file").write_text("mine")
    assert "file: exists already, and is no folder" in fail(
        capsys, 9, "encode", "MODEL", "-r", "4", "-o", "file", "-f"
    )
    assert "there is no folder" in fail(capsys, 10, "encode", "MODEL", "-r", "4", "-o", "nowhere/OUT")
    assert "-o '': the name of the output is empty" in fail(capsys, 2, "encode", "MODEL", "-r", "4", "-o", "")
    assert listing(tmp_path) == ["MODEL", "file"]


def test_a_full_disk_publishes_nothing(large, monkeypatch):
    monkeypatch.chdir(large)
    lines = [
        ["encode", "M", "-r", "3", "--lattice", "e8", "-o", "disk/x"],
        ["decode", "C", "-o", "disk/x"],
        ["encode", "M", "-r", "0.3", "--lattice", "e8", "-o", "disk/x"],
    ]
    found = on_small_disk(large, True, *([*line, "-q"] for line in lines))
    (large / "disk").rmdir()
    for code, error, files, free in found[:2]:
        assert code == 11 and error.count("\n") == 1 and "no space left on device" in error, error
        assert files == ["old"] and free > 60
    assert found[2][:3] == [0, "", ["old", "x"]]


def test_folders_and_files_are_flushed_before_they_appear(model, capsys, monkeypatch):
    steps, sync = [], os.fsync

    def synced(fd):
        steps.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    monkeypatch.setattr(os, "fsync", synced)
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    files = {
        "model-00001-of-00002.nqz",
        "model-00002-of-00002.nqz",
        "config.json",
        "vocab.txt",
        ".gitattributes",
    }
    assert files | {"model.nqz.index.json"} < set(steps)
    assert set(steps[-3:-1]) == {".OUT.0.nqz.tmp", "sub"} and steps[-1] == model.parent.name
