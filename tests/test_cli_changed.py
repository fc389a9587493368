"""Inputs that change while they are read: an error that says so, and no output."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, listing, matrix, save, succeed
from nqz.commands import decode, encode_matrix, multiply
from nqz.ground.errors import InputError
from nqz.ground.layout import CHUNK_ENTRIES

SIDE = 520


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with matrices of several chunks, plain and compressed."""
    folder = tmp_path_factory.mktemp("made")
    for number, name in enumerate("ab"):
        array = matrix(SIDE, 4 * SIDE, seed=number)
        assert array.size > CHUNK_ENTRIES
        save(folder / f"{name}.npy", array)
        save_file({"x": array}, folder / f"{name}.safetensors")
        nqz.encode(array, folder / f"{name}.nqz", rate=2)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A current folder with copies of them, which have been there for a while."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in listing(made):
        shutil.copyfile(made / name, name)
        os.utime(name, (10**9, 10**9))
    return tmp_path


def truncated(path):
    """Half of the file."""
    os.truncate(path, os.path.getsize(path) // 2)


def grown(path):
    """A little more at the end."""
    with open(path, "ab") as file:
        file.write(b"more")


def other(path):
    """The other file of the kind, of the same size or cut to it."""
    data = Path(str(path).replace("a.", "b.")).read_bytes()[: os.path.getsize(path)]
    with open(path, "r+b") as file:
        file.write(data)


def not_finite(path):
    """NaN in all of the last eighth."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 32 * 28)
        file.write(b"\xff" * (size - file.tell()))


def touched_as_before(path):
    """Other entries, within the time that the clock of the file system resolves: only the size is as before."""
    before = os.stat(path)
    not_finite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def before(monkeypatch, module, name, change, path):
    """Let a file change once, before a function of a module is called; return a list that holds it after that."""
    real, done = getattr(module, name), []

    def changing(*arguments, **options):
        if not done:
            done.append(path)
            change(path)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, changing)
    return done


CHANGES = [truncated, grown, other, not_finite]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "options",
    [[], ["--lattice", "e8", "--coding", "voronoi"], ["--axis", "1", "--lattice", "leech"]],
    ids=str,
)
@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_a_source_that_changes_between_its_passes(folder, capsys, monkeypatch, change, options, kind):
    there = listing(folder)
    done = before(monkeypatch, encode_matrix, "code", change, folder / f"a.{kind}")
    error = fail(capsys, 3, "encode", f"a.{kind}", "-r", "2", "-o", "x.nqz", *options)
    assert error == f"a.{kind}: changed while it was being read"
    assert done and listing(folder) == there


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_between_the_tries_of_a_size(folder, capsys, monkeypatch, change):
    done = before(monkeypatch, encode_matrix, "calibrated", change, folder / "a.npy")
    error = fail(capsys, 3, "encode", "a.npy", "--max-bytes", "400000", "-o", "x.nqz")
    assert error == "a.npy: changed while it was being read" and done


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("quick", [False, True], ids=["checked before", "some tensors"])
def test_a_container_that_changes_while_it_is_decoded(folder, capsys, monkeypatch, change, quick):
    there = listing(folder)
    done = before(monkeypatch, decode, "open_matrix", change, folder / "a.nqz")
    choice = ["--tensor", "*"] if quick else []
    error = fail(capsys, 3, "decode", "a.nqz", "-o", "x.npy", *choice)
    assert error == "a.nqz: changed while it was being read"
    assert done and listing(folder) == there


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", ["a.nqz", "a.npy"])
def test_an_operand_that_changes_while_it_is_multiplied(folder, capsys, monkeypatch, change, side):
    there = listing(folder)
    done = before(monkeypatch, multiply, "tiles", change, folder / side)
    error = fail(capsys, 3, "matmul", side, "b.nqz", "-o", "x.npy")
    assert error == f"{side}: changed while it was being read"
    assert done and listing(folder) == there


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_checked_may_not_change_either(folder, capsys, monkeypatch, change):
    from nqz.cli import sweep, verify

    done = before(monkeypatch, verify, "verify_parts", change, folder / "a.npy")
    error = fail(capsys, 3, "verify", "b.nqz", "--against", "a.npy")
    assert error == "a.npy: changed while it was being read" and done
    done = before(monkeypatch, sweep, "sweep", change, folder / "b.npy")
    error = fail(capsys, 3, "sweep", "b.npy", "-r", "1", "--lattice", "z", "-o", "x.json")
    assert error == "b.npy: changed while it was being read" and done


@pytest.mark.parametrize("options", [[], ["--lattice", "e8", "--coding", "voronoi"]], ids=str)
def test_values_that_nobody_saw_change_do_no_harm(folder, capsys, monkeypatch, options):
    """Not to be noticed by size and time; no crash, and `verify` tells."""
    done = before(monkeypatch, encode_matrix, "code", touched_as_before, folder / "a.npy")
    succeed(capsys, "encode", "a.npy", "-r", "2", "-o", "x.nqz", *options)
    assert done
    succeed(capsys, "verify", "x.nqz")


def test_a_file_that_takes_the_place_of_an_input_is_no_change(folder, capsys, monkeypatch):
    """What was opened is read to its end."""
    succeed(capsys, "encode", "a.npy", "-r", "2", "-o", "x.nqz")
    done = before(
        monkeypatch, encode_matrix, "code", lambda path: os.replace("b.npy", path), folder / "a.npy"
    )
    succeed(capsys, "encode", "a.npy", "-r", "2", "-o", "y.nqz")
    assert done and (folder / "x.nqz").read_bytes() == (folder / "y.nqz").read_bytes()


def test_the_interface_tells_too(folder):
    with nqz.open("a.nqz") as container:
        whole = container.matrix.decode()
        other(folder / "a.nqz")
        with pytest.raises(InputError, match=r"a\.nqz: changed while it was being read"):
            container.matrix.decode()
    # a file object is its owner's affair
    data = io.BytesIO((folder / "b.nqz").read_bytes())
    with open("c.nqz", "w+b") as file:
        file.write(data.getvalue())
        file.seek(0)
        container = nqz.open(file)
        os.utime("c.nqz", (10**9, 10**9))
        assert container.matrix.decode().shape == whole.shape
