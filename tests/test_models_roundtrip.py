"""Models in folders: encoded, looked at, multiplied, and decoded to what loads as the original does."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import environment, fail, listing, matrix, save, succeed
from model_tools import FIRST, INDEX, SECOND, everything, load, make_model, tensors, weight_map, write_index
from nqz.commands.opening import open_collection


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model in the folder MODEL, which is in the current one."""
    monkeypatch.chdir(tmp_path)
    return make_model(tmp_path / "MODEL")


def test_what_comes_back_loads_as_the_original_does(model, tmp_path, capsys):
    done = succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT")
    assert (
        " in 2 containers, 377 of index and copies), 3 of 6 tensors compressed, " in done.err
        and "3 other files copied" in done.err
    )
    whole = sum(len(data) for data in everything(tmp_path / "OUT").values() if data is not None)
    assert f"MODEL -> OUT: {whole} bytes ({whole - 377} bytes in 2 containers" in done.err
    assert listing(tmp_path / "OUT") == [
        ".gitattributes", "config.json", "model-00001-of-00002.nqz", "model-00002-of-00002.nqz",
        "model.nqz.index.json", "sub",
    ]  # fmt: skip
    succeed(capsys, "verify", "OUT", "--against", "MODEL")
    succeed(capsys, "decode", "OUT", "-o", "BACK")
    before, after = everything(model), everything(tmp_path / "BACK")
    assert {name for name in before if before[name] != after[name]} == {FIRST, SECOND}
    assert list(before) == list(after)
    for shard, originals in tensors().items():
        found, metadata = load(tmp_path / "BACK" / shard)
        assert metadata == {"format": "pt"} and list(found) == sorted(originals)
        for name, original in originals.items():
            assert (found[name].dtype, found[name].shape) == (original.dtype, original.shape)
            if original.ndim < 2:
                assert found[name].tobytes() == original.tobytes()
            else:
                difference = np.float64(found[name]) - np.float64(original)
                assert np.square(difference).sum() < 0.01 * np.square(np.float64(original)).sum()


def test_an_index_keeps_every_byte_but_the_suffixes(model, tmp_path, capsys):
    odd = (
        '{ "weight_map" :{"h.1.weight":"SECOND","ids":"\\u006dodel-00002-of-00002.safetensors",'
        '"mask":"model-00002-of-00002.safe\\u0074ensors"\n,"embed.weight": "FIRST",'
        '"h.0.weight":"FIRST","h.0.bias":"FIRST"},'
        '"metadata": {"weight_map": "x.safetensors", "a": ["b", {"c": 1.50}]} , "more":"model.safetensors"}'
    )
    odd = odd.replace("FIRST", FIRST).replace("SECOND", SECOND)
    (model / INDEX).write_text(odd)
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT")
    compressed = (tmp_path / "OUT" / "model.nqz.index.json").read_text()
    parsed = json.loads(odd)
    parsed["weight_map"] = {t: f.replace("safetensors", "nqz") for t, f in parsed["weight_map"].items()}
    assert json.loads(compressed) == parsed
    succeed(capsys, "decode", "OUT", "-o", "BACK")
    assert (tmp_path / "BACK" / INDEX).read_text() == odd.replace("safe\\u0074ensors", "safetensors")


@pytest.mark.parametrize("way", ["index", "files", "no index", "lone"])
def test_a_model_may_be_given_in_other_ways(model, tmp_path, capsys, way):
    given, parts = ["MODEL"], [FIRST, SECOND]
    if way == "index":
        given = [f"MODEL/{INDEX}"]
    elif way == "files":
        given = [f"MODEL/{FIRST}", f"MODEL/{SECOND}"]
    else:
        (model / INDEX).unlink()
    if way == "lone":
        (model / SECOND).unlink()
        (model / FIRST).rename(model / "model.safetensors")
        parts = ["model.safetensors"]
    succeed(capsys, "encode", *given, "-r", "5", "-o", "OUT")
    copied = [] if way == "files" else [".gitattributes", "config.json", "sub"]
    index = ["model.nqz.index.json"] if way == "index" else []
    made = [part.replace("safetensors", "nqz") for part in parts]
    assert listing(tmp_path / "OUT") == sorted(copied + index + made)
    given = ["OUT/model.nqz.index.json"] if way == "index" else ["OUT"]
    if way == "files":
        given = [f"OUT/{part}" for part in made]
    succeed(capsys, "decode", *given, "-o", "BACK")
    for part in parts:
        assert load(tmp_path / "BACK" / part)[1] == {"format": "pt"}


def test_the_cache_of_the_hub_is_links(model, tmp_path, capsys):
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "1a2b"
    blobs.mkdir(parents=True)
    (snapshot / "sub").mkdir(parents=True)
    for number, path in enumerate(sorted(model.rglob("*"))):
        if path.is_file():
            path.rename(blobs / f"{number}")
            link = snapshot / path.relative_to(model)
            link.symlink_to(os.path.relpath(blobs / f"{number}", link.parent))
    succeed(capsys, "encode", snapshot, "-r", "5", "-o", "OUT")
    assert not any(path.is_symlink() for path in (tmp_path / "OUT").rglob("*"))
    assert (tmp_path / "OUT" / "sub" / "vocab.txt").read_text() == "a\nb\n"
    succeed(capsys, "verify", "OUT", "--against", snapshot)
    assert f"; {snapshot} holds some" in fail(capsys, 3, "encode", tmp_path / "hub", "-r", "5", "-o", "x")
    assert fail(capsys, 9, "encode", snapshot, "-r", "5", "-o", tmp_path / "hub" / "snapshots" / "1a2b" / "x")


def test_parts_may_be_in_folders_below(model, tmp_path, capsys):
    (model / SECOND).rename(model / "sub" / SECOND)
    write_index(model, {t: s if s == FIRST else f"sub/{s}" for t, s in weight_map(tensors()).items()})
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT")
    assert listing(tmp_path / "OUT" / "sub") == ["model-00002-of-00002.nqz", "vocab.txt"]
    succeed(capsys, "verify", "OUT", "--against", "MODEL")
    succeed(capsys, "decode", "OUT", "-o", "BACK")
    before, after = everything(model), everything(tmp_path / "BACK")
    assert {name for name in before if before[name] != after[name]} == {FIRST, f"sub/{SECOND}"}


def test_outputs_without_a_name_lie_beside_the_model(model, tmp_path, capsys, monkeypatch):
    succeed(capsys, "encode", "MODEL/", "-r", "5")
    monkeypatch.chdir(model)
    assert "exists already" in fail(capsys, 9, "encode", ".", "-r", "5")
    monkeypatch.chdir(tmp_path)
    # what will be refused with -f too is not advised
    assert "MODEL: exists already, is not a folder as nqz left it" in fail(capsys, 9, "decode", "MODEL-nqz")
    model.rename("elsewhere")
    succeed(capsys, "decode", "MODEL-nqz")
    (tmp_path / "MODEL-nqz").rename("other")
    succeed(capsys, "decode", "other")
    assert listing(tmp_path) == ["MODEL", "elsewhere", "other", "other-decoded"]


def test_tensors_that_are_left_out_are_not_in_the_index(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT", "--tensor", "h.0.*")
    assert listing(tmp_path / "OUT") == [
        ".gitattributes", "config.json", "model-00001-of-00002.nqz", "model.nqz.index.json", "sub",
    ]  # fmt: skip
    index = json.loads((tmp_path / "OUT" / "model.nqz.index.json").read_text())
    assert list(index["weight_map"]) == ["h.0.bias", "h.0.weight"] and index["metadata"] == {
        "total_size": 2 * (64 * 48 + 48)
    }
    (model / INDEX).rename("kept")
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "NUMBERED", "--rule", "h.1.*=skip", "--tensor", "h.*")
    with open_collection("NUMBERED") as found:
        assert sorted(found) == ["h.0.bias", "h.0.weight"] and [
            len(part.tensors) for part in found.parts
        ] == [2, 0]
    os.rename("kept", model / INDEX)
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "WHOLE")
    succeed(capsys, "decode", "WHOLE", "-o", "BACK", "--tensor", "h.0.*", "--tensor", "ids")
    assert sorted(load(tmp_path / "BACK" / FIRST)[0]) == ["h.0.bias", "h.0.weight"]
    assert sorted(load(tmp_path / "BACK" / SECOND)[0]) == ["ids"]
    index = json.loads((tmp_path / "BACK" / INDEX).read_text())
    assert list(index["weight_map"]) == ["h.0.bias", "h.0.weight", "ids"]
    assert index["metadata"] == {"total_size": 2 * (64 * 48 + 48) + 7 * 8}
    succeed(capsys, "decode", "WHOLE", "-o", "WIDE", "--dtype", "float32")
    index = json.loads((tmp_path / "WIDE" / INDEX).read_text())
    wide = 4 * (96 * 64 + 64 * 48 + 64 * 80)
    assert index["metadata"] == {"total_size": wide + 2 * 48 + 7 * 8 + 2} and len(index["weight_map"]) == 6


def test_tensors_of_a_model_can_be_decoded_to_a_file(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT")
    succeed(capsys, "decode", "OUT", "--tensor", "h.1.weight", "--dtype", "float32", "-o", "one.npy")
    assert np.load("one.npy").shape == (64, 80)
    done = succeed(
        capsys, "decode", "OUT", "--tensor", "h.*.weight", "--tensor", "ids", "-o", "some.safetensors"
    )
    assert "OUT -> some.safetensors: 3 tensors, expected error" in done.err
    found, metadata = load(tmp_path / "some.safetensors")
    assert sorted(found) == ["h.0.weight", "h.1.weight", "ids"] and metadata == {"format": "pt"}
    assert np.allclose(found["h.1.weight"].astype(np.float32), np.load("one.npy"), rtol=0.01)
    assert (found["ids"] == np.arange(7)).all()
    parts = ["OUT/model-00001-of-00002.nqz", "OUT/model-00002-of-00002.nqz"]
    line = ("--tensor", "h.*.weight", "--tensor", "ids", "--dtype", "float32", "-o", "some.npz")
    succeed(capsys, "decode", *parts, *line)
    with np.load("some.npz") as archive:
        assert sorted(archive) == ["h.0.weight", "h.1.weight", "ids"]
    nqz.decode("OUT", "python.npy", tensors="h.1.weight", dtype="float32")
    assert (np.load("python.npy") == np.load("one.npy")).all()
    assert "OUT: holds 2 tensors; write .safetensors" in fail(
        capsys, 2, "decode", "OUT", "--tensor", "h.*.weight", "-o", "two.npy"
    )
    assert "OUT: no tensor is called 'x'" in fail(capsys, 2, "decode", "OUT", "--tensor", "x", "-o", "x.npy")


def test_shards_beside_a_configuration_are_of_that_model(model, tmp_path, capsys):
    for name, given in (("one", ["MODEL"]), ("two", [f"MODEL/{FIRST}", f"MODEL/{SECOND}"])):
        succeed(capsys, "encode", *given, "-r", "5", "-o", name)
    for part in ("model-00001-of-00002.nqz", "model-00002-of-00002.nqz"):
        assert (tmp_path / "one" / part).read_bytes() == (tmp_path / "two" / part).read_bytes()
    succeed(capsys, "encode", f"MODEL/{FIRST}", "-r", "5", "-o", "lone.nqz")
    axes = {
        t["name"]: t["axis"]
        for t in json.loads(succeed(capsys, "inspect", "lone.nqz", "--json").out)["tensors"]
    }
    assert axes["h.0.weight"] == 0
    axes = {
        t["name"]: t["axis"] for t in json.loads(succeed(capsys, "inspect", "two", "--json").out)["tensors"]
    }
    assert axes["h.0.weight"] == 1


def test_parts_come_in_the_order_of_their_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "M").mkdir()
    shards = {f"model-{i}-of-11.safetensors": {f"w{i}": matrix(24, 16, seed=i)} for i in range(1, 12)}
    for name, found in shards.items():
        save_file(found, tmp_path / "M" / name)
    write_index(tmp_path / "M", dict(reversed(weight_map(shards).items())))
    plan = json.loads(succeed(capsys, "encode", "M", "-r", "4", "--dry-run", "--json").out)
    assert [file["name"] for file in plan["files"]] == [name.replace("safetensors", "nqz") for name in shards]
    succeed(capsys, "encode", "M", "-r", "4", "-o", "OUT")
    found = json.loads(succeed(capsys, "inspect", "OUT", "--json").out)
    assert [(part["name"], part["set"]["part"]) for part in found["parts"]] == [
        (f"model-{i}-of-11.nqz", i - 1) for i in range(1, 12)
    ]
    (tmp_path / "M" / INDEX).unlink()
    with open_collection("M") as opened:
        assert [part.name for part in opened.parts] == list(shards)
    with open_collection([f"M/{name}" for name in reversed(shards)]) as opened:
        assert [part.name for part in opened.parts] == list(shards)


def test_messages_call_a_model_as_it_was_given(model, capsys):
    for line in (
        ("-r", "5", "--rule", "x=exact"), ("-r", "5", "--tensor", "x"), ("--max-bytes", "500"),
        ("-r", "5", "--rule", "*=skip"), ("-r", "0.1", "--rule", "h.0.weight=9"),
    ):  # fmt: skip
        for more in (("--dry-run",), ("-o", "OUT")):
            assert fail(capsys, 2, "encode", "MODEL", *line, *more).startswith("MODEL: ")


def test_bytes_are_those_of_all_files(model, tmp_path, capsys):
    for most in (14000, 9000):
        succeed(capsys, "encode", "MODEL", "--max-bytes", most, "-o", f"{most}")
        size = sum(len(data or b"") for data in everything(tmp_path / f"{most}").values())
        assert 0.97 * most < size <= most
    assert "does not fit" in fail(capsys, 2, "encode", "MODEL", "--max-bytes", "500", "-o", "x")


def test_bytes_depend_on_neither_threads_nor_folder(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "3", "-o", "one", "--threads", "1")
    model.rename("moved")
    succeed(capsys, "encode", "moved", "-r", "3", "-o", "two", "--threads", "2")
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_commands_take_models(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "5", "--axis", "0", "-o", "OUT")
    found = json.loads(succeed(capsys, "inspect", "OUT", "--json").out)
    parts = ["model-00001-of-00002.nqz", "model-00002-of-00002.nqz"]
    assert [part["name"] for part in found["parts"]] == parts and found["metadata"] == {"format": "pt"}
    assert found["file_bytes"] == sum((tmp_path / "OUT" / part).stat().st_size for part in parts)
    assert {tensor["name"]: tensor["part"] for tensor in found["tensors"]} == {
        name: shard.replace("safetensors", "nqz") for name, shard in weight_map(tensors()).items()
    }
    size = found["file_bytes"]
    assert f"OUT: format 0, {size} bytes in 2 containers, " in succeed(capsys, "inspect", "OUT").out
    planned = succeed(capsys, "encode", "MODEL", "-r", "5", "--axis", "0", "--dry-run").out
    assert " in 2 containers, 377 of index and copies), " in planned
    found = json.loads(succeed(capsys, "verify", "OUT", "--against", f"MODEL/{INDEX}", "--json").out)
    assert found["ok"] and {tensor["part"] for tensor in found["tensors"]} == set(parts)
    assert all(tensor["same_bytes"] for tensor in found["tensors"])
    succeed(capsys, "matmul", "OUT", "MODEL", "-o", "product.safetensors")
    products, _ = load(tmp_path / "product.safetensors")
    assert sorted(products) == ["embed.weight", "h.0.weight", "h.1.weight"]
    a = np.float64(tensors()[SECOND]["h.1.weight"])
    assert np.square(products["h.1.weight"] - a.T @ a).sum() < 0.01 * np.square(a.T @ a).sum()
    b = save(tmp_path / "b.npy", matrix(64, 5))
    succeed(capsys, "matmul", "OUT", b, "--tensor-a", "h.1.weight", "-o", "one.npy")
    assert np.load("one.npy").shape == (80, 5)


def test_what_is_damaged_is_named_with_its_part(model, tmp_path, capsys):
    succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT")
    part = tmp_path / "OUT" / "model-00002-of-00002.nqz"
    data = bytearray(part.read_bytes())
    data[300] ^= 1
    part.write_bytes(data)
    assert "OUT: model-00002-of-00002.nqz: tensor 'h.1.weight': " in fail(capsys, 5, "verify", "OUT")
    assert "OUT/model-00002-of-00002.nqz: " in fail(capsys, 5, "decode", "OUT", "-o", "BACK")
    assert listing(tmp_path) == ["MODEL", "OUT"]


def test_a_collection_finds_tensors_by_name(model):
    with open_collection("MODEL") as found:
        assert [part.name for part in found.parts] == [FIRST, SECOND] and not found.lone
        part, index = found.find("h.1.weight")
        assert part.name == SECOND and part.content.tensors[index].name == "h.1.weight"
        assert found.config == {"model_type": "none"} and found.directory == "MODEL"
        assert len(found) == len(list(found)) == 6 and "ids" in found and "other" not in found
    with open_collection(f"MODEL/{FIRST}") as found:
        assert found.lone and found.config is None and len(found.parts) == 1


LIMITED = (
    "import resource, sys, nqz.cli; resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80)); "
    "sys.exit(nqz.cli.main())"
)


def test_more_parts_than_files_may_be_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 80
    (tmp_path / "M").mkdir()
    shards = {f"model-{i:05}-of-00100.safetensors": {f"w{i}": matrix(24, 16, seed=i)} for i in range(1, 101)}
    for name, found in shards.items():
        save_file(found, tmp_path / "M" / name)
    write_index(tmp_path / "M", weight_map(shards))
    for line in (
        ["encode", "M", "-r", "6", "-o", "O"], ["decode", "O", "-o", "B"], ["verify", "O", "--against", "M"],
        ["matmul", "O", "M", "-o", "p.safetensors"], ["inspect", "O"],
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, *line, "-q"], env=environment(), capture_output=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b""), line
    assert listing(tmp_path / "B") == listing(tmp_path / "M")


def test_reports_name_all_files(model, tmp_path, capsys):
    found = json.loads(succeed(capsys, "encode", "MODEL", "-r", "5", "-o", "OUT", "--json").out)
    sizes = {
        f"OUT/{name}": len(data) for name, data in everything(tmp_path / "OUT").items() if data is not None
    }
    assert {output["name"]: output["bytes"] for output in found["outputs"]} == sizes
    assert found["inputs"] == ["MODEL"] and len(found["tensors"]) == 6
    found = json.loads(succeed(capsys, "decode", "OUT", "-o", "BACK", "--json").out)
    assert len(found["tensors"]) == 6 and len(found["outputs"]) == 6


def test_bytes_of_parts_without_tensors_are_not_counted(model, tmp_path, capsys):
    [name] = [name for name, shard in weight_map(tensors()).items() if shard == FIRST][:1]
    done = succeed(capsys, "encode", "MODEL", "-r", "5", "--tensor", name, "-o", "OUT")
    sizes = {file: len(data) for file, data in everything(tmp_path / "OUT").items() if data is not None}
    [inside] = [size for file, size in sizes.items() if file.endswith(".nqz")]
    whole = sum(sizes.values())
    assert (
        f"OUT: {whole} bytes ({inside} bytes in 1 container, {whole - inside} of index and copies)"
        in done.err
    )
