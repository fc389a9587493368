"""The containers of a model know that they belong together: what was taken from elsewhere is not taken for a part."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, invoke, listing, matrix, succeed
from independent.sets import set_id
from model_tools import FIRST, SECOND, make_model

ONE, TWO = (name.replace("safetensors", "nqz") for name in (FIRST, SECOND))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A folder with a model, and two encodings of it that differ in the seed alone."""
    folder = tmp_path_factory.mktemp("sets")
    make_model(folder / "MODEL")
    for seed, name in enumerate(("A", "B")):
        nqz.encode(folder / "MODEL", folder / name, rate=4, seed=seed, states=4)
    return folder


@pytest.fixture
def two(encoded, tmp_path, monkeypatch):
    """Copies of them in the current folder."""
    shutil.copytree(encoded, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sets(folder, names=(ONE, TWO)):
    """The places of containers in their sets."""
    return [nqz.inspect(folder / name)["set"] for name in names]


@pytest.mark.parametrize("damage", ["of another encode", "doubled", "missing", "of its own"])
def test_files_that_do_not_belong_together_are_refused(two, capsys, damage):
    if damage != "of another encode":
        (two / "A" / "model.nqz.index.json").unlink()
    words = f"A: {TWO} is no part of the encoding that {ONE} is of; put the file of the same encoding in its place"
    if damage == "of another encode":
        shutil.copy(two / "B" / TWO, two / "A" / TWO)
    elif damage == "doubled":
        shutil.copy(two / "A" / ONE, two / "A" / "again.nqz")
        words = f"A: again.nqz and {ONE} are both part 1 of 2"
    elif damage == "missing":
        (two / "A" / ONE).unlink()
        (two / "A" / TWO).rename(two / "A" / "model.nqz")
        words = "A: part 1 of the 2 of the encoding is missing, there is model.nqz (part 2); give all of them"
    else:
        save_file({"h.1.weight": matrix(30, 20)}, "alone.safetensors")
        nqz.encode("alone.safetensors", two / "A" / TWO, rate=4, force=True)
    for line in (
        ("verify", "A"),
        ("verify", "A", "--against", "MODEL"),
        ("decode", "A", "-o", "x"),
        ("inspect", "A"),
    ):
        assert words in fail(capsys, 5, *line)
    with pytest.raises(nqz.CorruptError):
        nqz.open(two / "A")


def test_a_part_by_itself_and_files_of_no_set_are_read(two, capsys):
    succeed(capsys, "verify", f"A/{TWO}", "--against", f"MODEL/{SECOND}")
    for name in ("w", "v"):
        save_file({name: matrix(30, 20)}, f"{name}.safetensors")
        nqz.encode(f"{name}.safetensors", f"{name}.nqz", rate=4)
    assert sets(two, ["w.nqz", "v.nqz"]) == [None, None]
    succeed(capsys, "decode", "w.nqz", "v.nqz", "-o", "back")
    assert listing(two / "back") == ["v.safetensors", "w.safetensors"]


def test_the_id_is_that_of_all_that_is_encoded(two):
    found = sets(two / "A")
    assert [(one["part"], one["parts"]) for one in found] == [(0, 2), (1, 2)]
    assert found[0]["id"] == found[1]["id"] != sets(two / "B")[0]["id"]
    nqz.encode("MODEL", "again", rate=4, states=4, threads=2)
    assert sets(two / "again") == found
    for number, other in enumerate(
        ({"rules": {"ids": "skip"}}, {"metadata": {"a": "b"}}, {"lattice": "z", "states": None})
    ):
        nqz.encode("MODEL", f"{number}", **{"rate": 4, "states": 4, **other})
        assert sets(two / f"{number}")[0]["id"] != found[0]["id"]
    # a part of which nothing is taken is none, and one that is left alone is no part of a set
    nqz.encode("MODEL", "left", rate=4, tensors="h.0.*")
    assert sets(two / "left", [ONE]) == [None]


def test_the_id_is_what_the_document_says(two):
    assert set_id([f"A/{ONE}", f"A/{TWO}"]).hex() == sets(two / "A")[0]["id"]


def test_verify_compares_index_and_copies_with_the_original(two, capsys):
    succeed(capsys, "verify", "A", "--against", "MODEL")
    (two / "A" / "config.json").write_text('{"model_type": "nine"}\n')
    (two / "A" / "sub" / "vocab.txt").unlink()
    index = two / "A" / "model.nqz.index.json"
    index.write_text(index.read_text() + "\n")
    size = sum((two / "A" / name).stat().st_size for name in (ONE, TWO))
    out = succeed(capsys, "verify", "A").out
    assert out == f"A: 6 tensors, {size} bytes in 2 containers: ok\n"  # which knows of containers alone
    code_8 = [
        "A against MODEL: model.nqz.index.json: is not that of the original",
        "A against MODEL: config.json: differs from the original, first at byte 17",
        "A against MODEL: sub/vocab.txt: is missing",
    ]
    found = nqz.verify("A", "MODEL", check=False)
    assert not found["ok"] and all(tensor["ok"] for tensor in found["tensors"])
    assert {file["name"]: file["problem"] for file in found["files"]} == {
        ".gitattributes": None, **{line.split(": ")[1]: line.split(": ")[2] for line in code_8},
    }  # fmt: skip
    done = invoke(capsys, "verify", "A", "--against", "MODEL")
    assert done.code == 8 and all(line in done.err for line in code_8)
    with pytest.raises(nqz.VerifyError):
        nqz.verify("A", "MODEL")
    # tensors that are left out are not missed in the index
    nqz.encode("MODEL", "some", rate=4, states=4, tensors="h.*")
    assert nqz.verify("some", "MODEL")["ok"]
    assert json.loads((two / "some" / "model.nqz.index.json").read_text())["metadata"] == {
        "total_size": 16480
    }
