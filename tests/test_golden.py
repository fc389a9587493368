"""The files of fixtures/golden and fixtures/reject are read as their indexes say, and made again as they are."""

from __future__ import annotations

import json

import pytest

import golden
from cli_tools import fail, succeed

INDEX = json.loads(golden.INDEX.read_text(encoding="utf-8"))
REJECTED = json.loads(golden.REJECTED.read_text(encoding="utf-8"))


def test_the_folders_hold_what_their_indexes_list():
    for folder, index in ((golden.FOLDER, INDEX), (golden.REJECT, REJECTED)):
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [*(f"{name}.nqz" for name in index), "index.json"]
        )
    files = [*golden.FOLDER.iterdir(), *golden.REJECT.iterdir()]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert len(REJECTED) >= 40


@pytest.mark.parametrize("name", INDEX)
def test_golden_files_decode_to_the_same_bits(name):
    data = golden.load(name)
    assert {"bytes": len(data), "tensors": golden.expectations(data)} == INDEX[name]


@pytest.mark.parametrize("name", sorted({*INDEX} - {"newer-codec"}))
def test_golden_files_are_verified(name, capsys):
    succeed(capsys, "verify", golden.FOLDER / f"{name}.nqz")


@pytest.mark.parametrize("name", golden.GOLDEN)
def test_the_writer_makes_the_same_bytes(name):
    """If it no longer does, and means to, `make golden` writes them anew; from version 1 on it must not."""
    made, kept = (_without_frames(data) for data in (golden.made(golden.GOLDEN[name]), golden.load(name)))
    assert made == kept


def _without_frames(data: bytes) -> object:
    """What of a container does not depend on the library that compresses exact tensors."""
    parts = golden.parts_of(data)
    return parts.manifest, [
        [part for part in records if part[0] != "EXCT"] for records in [parts.leading, *parts.tensors]
    ]


@pytest.mark.parametrize("name", REJECTED)
def test_files_that_are_refused(name, capsys):
    message = fail(capsys, REJECTED[name]["exit_code"], "verify", golden.REJECT / f"{name}.nqz")
    assert REJECTED[name]["message"] in message


def test_golden_files_are_of_every_kind():
    found = [golden.parts_of(golden.load(name)).manifest for name in INDEX]
    matrices = [entry[6] for manifest in found for entry in manifest["tensors"] if entry[0] == "nqz-1"]
    from nqz.stages.lattices import LATTICES

    families = {name.rstrip("0123456789") if name.startswith("conv") else name for name in LATTICES}
    names = {p[4] for p in matrices if p[4] is not None}
    assert {name.rstrip("0123456789") if name.startswith("conv") else name for name in names} == families
    assert {p[5][0] for p in matrices} == {"entropy", "voronoi", "trellis"}
    assert {p[6] for p in matrices} == {"matrix", "column"} and {p[0] for p in matrices} == {0, 1}
    assert {manifest["source"] for manifest in found} == {"npy", "npz", "safetensors"}
    assert {entry[3] for manifest in found for entry in manifest["tensors"]} > {
        "float16",
        "bfloat16",
        "float32",
        "float64",
    }
    assert all(any(manifest[key] for manifest in found) for key in ("set", "metadata", "extensions"))
