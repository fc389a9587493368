"""Folders and indexes that are no model, or a hostile one: one line that says what is wrong, and nothing written."""

from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, listing, matrix, process, save, succeed
from model_tools import FIRST, INDEX, SECOND, make_model, tensors, weight_map, write_index


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model in the folder MODEL, which is in the current one."""
    monkeypatch.chdir(tmp_path)
    return make_model(tmp_path / "MODEL")


def indexed(change):
    """A change of the map of the index."""

    def damage(model):
        found = weight_map(tensors())
        change(found)
        write_index(model, found)

    return damage


def text(content):
    """An index of other text."""
    return lambda model: (model / INDEX).write_text(content)


def removed(*names):
    """Files that are missing."""
    return lambda model: [(model / name).unlink() for name in names]


def doubled(model):
    save_file({**tensors()[SECOND], "h.0.bias": np.ones(3)}, model / SECOND)


def without_index(model):
    doubled(model)
    (model / INDEX).unlink()


def fifo_for_a_shard(model):
    (model / SECOND).unlink()
    os.mkfifo(model / SECOND)


def loop_for_a_shard(model):
    (model / SECOND).unlink()
    (model / SECOND).symlink_to(SECOND)


def two_indexes(model):
    write_index(model, weight_map(tensors()), "model.fp16.safetensors.index.json")


def torch_only(model):
    for name in (FIRST, SECOND, INDEX):
        (model / name).unlink()
    (model / "pytorch_model.bin").write_bytes(b"PK")


def torch_shards(model):
    torch_only(model)
    write_index(model, {"a": "pytorch_model-00001-of-00001.bin"}, "pytorch_model.bin.index.json")


def in_a_folder_below(model):
    for name in (FIRST, SECOND, INDEX):
        (model / name).rename(model / "sub" / name)


def arrays_only(model):
    for name in (FIRST, SECOND, INDEX):
        (model / name).unlink()
    save(model / "a.npy", matrix(4, 4))


def compressed_only(model):
    arrays_only(model)
    (model / "a.npy").rename(model / "x.nqz")


def arrays_and_compressed(model):
    arrays_only(model)
    (model / "x.nqz").write_bytes(b"")


DAMAGES = {
    "no shards": (removed(FIRST, SECOND, INDEX), 3, "MODEL: is a directory that holds no .safetensors file"),
    "torch only": (torch_only, 4, "holds no .safetensors file, but pytorch_model.bin; convert it: python -c"),
    "torch shards": (torch_shards, 4, "but files of PyTorch; convert each of them"),
    "below": (in_a_folder_below, 3, "MODEL: is a directory that holds no .safetensors file; MODEL/sub holds some"),
    "compressed only": (compressed_only, 4, "holds no .safetensors file, but x.nqz, compressed already; give what"),
    "arrays and compressed": (arrays_and_compressed, 4, ".npy files are encoded one by one: nqz encode MODEL/*.npy"),
    "arrays only": (arrays_only, 4, ".npy files are encoded one by one: nqz encode MODEL/*.npy --out-dir OUT"),
    "a shard of no index is missing": (removed(FIRST, INDEX), 3, "MODEL: model-00001-of-00002 is missing"),
    "a shard is missing": (removed(SECOND), 3, f"names '{SECOND}', which is missing"),
    "a FIFO": (fifo_for_a_shard, 3, f"{SECOND}: is not a regular file"),
    "a loop of links": (loop_for_a_shard, 3, f"{SECOND}: cannot open: too many levels of symbolic links"),
    "two indexes": (two_indexes, 4, "MODEL: holds 2 models; give the index of one of them: MODEL/model.fp16."),
    "no weight_map": (text("{}"), 4, "is no index of a model: it has no weight_map"),
    "no tensors": (text('{"weight_map": {}}'), 5, "lists no tensor"),
    "no JSON": (text('{"weight_map": '), 5, "is not JSON"),
    "a list": (text("[1]"), 5, "is no object of JSON"),
    "too deep": (text('{"weight_map": ' + "[" * 100_000), 5, "is nested too deeply"),
    "too many brackets": (text('{"a": [' + "[]," * 1_100_000), 4, "more than 1048576 brackets"),
    "too long": (text(" " * ((32 << 20) + 1)), 4, "at most 33554432 are read"),
    "a key twice": (text('{"weight_map": {"a": "b", "a": "c"}}'), 5, "the key 'a' occurs twice"),
    "a number for a file": (indexed(lambda m: m.update(ids=1)), 5, "the file of tensor 'ids' is not a string"),
    "a surrogate": (indexed(lambda m: m.update({"\ud800": FIRST})), 5, "half of a surrogate pair"),
    "a surrogate file": (indexed(lambda m: m.update(ids="\ud800")), 5, "is no name of a file"),
    **{
        repr(file): (indexed(lambda m, file=file: m.update(ids=file)), 5, "no name of a file in its folder")
        for file in (
            "../MODEL/" + SECOND, "/etc/x.safetensors", "sub/../" + SECOND, "..\\" + SECOND, "a\0.safetensors", "",
            "./" + SECOND, "sub//x.safetensors",
        )
    },
    "another kind": (indexed(lambda m: m.update(ids="pytorch_model.bin")), 4, "all files must be .safetensors"),
    "a file that is none": (indexed(lambda m: m.update(ids="x.safetensors")), 3, "'x.safetensors', which is missing"),
    "a tensor too many": (indexed(lambda m: m.update(other=FIRST)), 5, "'other' is in model-00001-of-00002"),
    "a tensor elsewhere": (indexed(lambda m: m.update(ids=FIRST)), 5, f"it is in {SECOND}"),
    "a tensor not listed": (indexed(lambda m: m.pop("ids")), 5, f"does not list tensor 'ids', which is in {SECOND}"),
    "a tensor in two shards": (doubled, 5, f"tensor 'h.0.bias' is in {FIRST} and in {SECOND}"),
    "and no index": (without_index, 5, f"tensor 'h.0.bias' is in {FIRST} and in {SECOND}"),
    "a name in the way": (
        lambda model: (model / SECOND.replace("safetensors", "nqz")).mkdir(), 2, "is in the way",
    ),
    "a link to nothing": (
        lambda model: (model / "vocab.txt").symlink_to("nowhere"), 3, "MODEL/vocab.txt: is a link to nothing",
    ),
    "a damaged configuration": (lambda model: (model / "config.json").write_text("{"), 5, "config.json: is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_model_is_refused(model, tmp_path, capsys, damage):
    change, code, words = DAMAGES[damage]
    change(model)
    assert words in fail(capsys, code, "encode", "MODEL", "-r", "4", "-o", "OUT")
    assert listing(tmp_path) == ["MODEL"]


@pytest.mark.parametrize("damage", ["a shard is missing", "a tensor elsewhere", "no shards"])
def test_other_commands_refuse_it_too(model, tmp_path, capsys, damage):
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    change, code, words = DAMAGES[damage]
    change(model)
    assert words in fail(capsys, code, "verify", "OUT", "--against", "MODEL")
    if damage != "no shards":  # of either kind
        assert words in fail(capsys, code, "matmul", "OUT", "MODEL", "-o", "x.safetensors")


@pytest.mark.parametrize("damage", ["missing", "elsewhere", "escapes", "another"])
def test_a_compressed_model_is_held_to_its_index(model, tmp_path, capsys, damage):
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    index = tmp_path / "OUT" / "model.nqz.index.json"
    whole = json.loads(index.read_text())
    if damage == "missing":
        (tmp_path / "OUT" / "model-00001-of-00002.nqz").unlink()
    else:
        file = {"elsewhere": "model-00001-of-00002.nqz", "escapes": "../OUT/x.nqz", "another": FIRST}[damage]
        whole["weight_map"]["ids"] = file
        index.write_text(json.dumps(whole))
    code = {"missing": 3, "elsewhere": 5, "escapes": 5, "another": 4}[damage]
    for command in (["decode", "OUT", "-o", "BACK"], ["inspect", "OUT"], ["verify", "OUT"]):
        assert "OUT/model.nqz.index.json" in fail(capsys, code, *command)
    assert listing(tmp_path) == ["MODEL", "OUT"]


def test_models_of_the_wrong_kind_are_refused(model, tmp_path, capsys):
    assert "compress the model first" in fail(capsys, 4, "decode", "MODEL")
    assert "compress it first" in fail(capsys, 4, "inspect", f"MODEL/{INDEX}")
    succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    assert "OUT: is a compressed model" in fail(capsys, 4, "encode", "OUT", "-r", "4")
    assert "is the index of a compressed model" in fail(
        capsys, 4, "encode", "OUT/model.nqz.index.json", "-r", "4"
    )
    assert "neither is" in fail(capsys, 7, "matmul", "MODEL", "MODEL", "-o", "x.safetensors")
    (model / INDEX).rename(model / "m.bin.index.json")
    assert "is the index of files of PyTorch" in fail(
        capsys, 4, "encode", "MODEL/m.bin.index.json", "-r", "4"
    )
    (model / "m.bin.index.json").rename(model / "other.index.json")
    assert "the name of an index ends in" in fail(capsys, 4, "encode", "MODEL/other.index.json", "-r", "4")


def test_parts_of_a_model_have_names_for_their_arrays(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        succeed(capsys, "encode", save(tmp_path / f"{name}.npy", matrix(20, 30)), "-r", "4")
    (tmp_path / "M").mkdir()
    (tmp_path / "a.nqz").rename("M/a.nqz")
    for line in (["decode", "M"], ["encode", "a.npy", "b.npy", "-r", "3", "-o", "OUT"]):
        error = fail(capsys, 4, *line)
        assert "is no part of a model" in error and f"nqz {line[0]} --out-dir takes such files" in error


def test_several_files_that_are_no_model(model, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (model / FIRST).rename(tmp_path / "other" / SECOND)
    two = [f"MODEL/{SECOND}", f"other/{SECOND}"]
    assert "two files of one name" in fail(capsys, 2, "encode", *two, "-r", "4", "-o", "OUT")
    assert "MODEL: is a folder; several inputs" in fail(
        capsys, 2, "encode", "MODEL", two[0], "-r", "4", "-o", "OUT"
    )
    (model / FIRST).touch()
    every = [f"MODEL/{name}" for name in listing(model)]
    assert (
        f"MODEL/{INDEX}: is the index of a model, among several inputs; give the folder MODEL or the index"
        in fail(capsys, 2, "encode", *every, "-r", "4", "-o", "OUT")
    )
    assert "-: is no file; several inputs" in fail(capsys, 2, "encode", "-", two[0], "-r", "4", "-o", "OUT")


def test_what_is_no_file_is_left_out_and_said(model, tmp_path, capsys):
    os.mkfifo(model / "pipe")
    (model / "loop").symlink_to(".")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("")
    (model / "pytorch_model.bin").write_bytes(bytes(2 << 20))
    (model / "old.nqz").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("MODEL/socket")
        done = succeed(capsys, "encode", "MODEL", "-r", "4", "-o", "OUT")
    for what in (
        "MODEL/pipe: is no regular file, and is left out", "MODEL/socket: is no regular file, and is left out",
        "MODEL/loop: is a link to a folder, and is left out", "MODEL/old.nqz: is compressed already, and is left out",
        "pytorch_model.bin (2097152 bytes): no part of this model, copied as it is",
    ):  # fmt: skip
        assert f"nqz: warning: {what}\n" in done.err
    assert {"pipe", "socket", "loop", ".cache", "old.nqz"}.isdisjoint(listing(tmp_path / "OUT"))


def test_a_device_for_a_part_does_not_hang(model):
    (model / SECOND).unlink()
    (model / SECOND).symlink_to("/dev/zero")
    done = process("encode", "MODEL", "-r", "4", "-o", "OUT", timeout=30)
    assert done.returncode == 3 and b"is not a regular file" in done.stderr


def test_a_part_that_changes_is_refused(model, tmp_path, capsys, monkeypatch):
    from nqz.commands import models

    real = models.encode_parts

    def changed(*arguments):
        report = real(*arguments)
        with (model / FIRST).open("ab") as file:
            file.write(b"x")
        return report

    monkeypatch.setattr(models, "encode_parts", changed)
    assert "changed while it was being read" in fail(capsys, 3, "encode", "MODEL", "-r", "4", "-o", "OUT")
    assert listing(tmp_path) == ["MODEL"]


def test_a_tensor_in_slices_is_in_one_part_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((3, 20, 12)).astype(np.float32)
    os.mkdir("both")
    nqz.encode({"w": x}, "both/a.nqz", rate=3, rules={"w": "split"})
    nqz.encode({"w": x[0]}, "both/b.nqz", rate=3)
    with pytest.raises(nqz.CorruptError, match=r"tensor 'w' is in a.nqz and in b.nqz"):
        list(nqz.open("both"))
    assert "tensor 'w' is in a.nqz and in b.nqz" in fail(capsys, 5, "inspect", "both")
