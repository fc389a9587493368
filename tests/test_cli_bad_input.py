"""Bad input: one clear line on standard error, an exit code of its kind, nothing touched."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, invoke, listing, matrix, save, succeed
from container_builder import preamble, taken_apart


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A current folder with a.npy and its container a.nqz."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(96, 20))
    succeed(capsys, "encode", "a.npy", "-r", "3", "-q")
    return tmp_path


COMMANDS = [
    ("encode", "{}", "-r", "2", "-o", "out"),
    ("decode", "{}", "-o", "out.npy"),
    ("matmul", "{}", "a.nqz", "-o", "out.npy"),
    ("matmul", "a.nqz", "{}", "-o", "out.npy"),
    ("inspect", "{}"),
    ("verify", "{}"),
    ("verify", "a.nqz", "--against", "{}"),
]


def filled(command, name):
    return [part.format(name) for part in command]


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_file_and_directory(folder, capsys, command):
    (folder / "directory").mkdir()
    before = listing(folder)
    assert "nowhere.nqz: cannot open: no such file" in fail(capsys, 3, *filled(command, "nowhere.nqz"))
    assert "directory: is a directory" in fail(capsys, 3, *filled(command, "directory"))
    assert listing(folder) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_not_a_file_of_ours(folder, capsys, command):
    (folder / "noise").write_bytes(b"\x80hello, world, this is nothing\n")
    (folder / "empty").write_bytes(b"")
    before = listing(folder)
    assert fail(capsys, 5, *filled(command, "noise")).startswith("noise: ")
    assert "empty" in fail(capsys, 5, *filled(command, "empty"))
    assert listing(folder) == before


def test_the_other_kind_of_file_is_named(folder, capsys):
    for command in (["decode", "a.npy", "-o", "out.npy"], ["inspect", "a.npy"], ["verify", "a.npy"]):
        line = fail(capsys, 4, *command)
        assert line == ("a.npy: is a .npy file, and not a .nqz container; compress it first, with nqz encode")
    assert "is a .nqz container" in fail(capsys, 4, "encode", "a.nqz", "-r", "2", "-o", "out.nqz")
    assert "neither is compressed; encode at least one side" in fail(
        capsys, 7, "matmul", "a.npy", "a.npy", "-o", "out.npy"
    )


def test_truncated_anywhere(folder, capsys):
    data = (folder / "a.nqz").read_bytes()
    lengths = {*range(1, 40), *range(40, len(data), 29), *range(len(data) - 40, len(data))}
    for length in sorted(lengths):
        (folder / "cut.nqz").write_bytes(data[:length])
        for command in (
            ["verify", "cut.nqz"],
            ["inspect", "cut.nqz"],
            ["decode", "cut.nqz", "-o", "out.npy"],
        ):
            assert fail(capsys, 5, *command).startswith("cut.nqz: "), length
    assert not (folder / "out.npy").exists()


def test_a_truncated_npy(folder, capsys):
    data = (folder / "a.npy").read_bytes()
    for length in (1, 5, 9, 11, 64, 127, 128, 500, len(data) - 1):
        (folder / "cut.npy").write_bytes(data[:length])
        assert fail(capsys, 5, "encode", "cut.npy", "-r", "2", "-o", "out.nqz").startswith("cut.npy: ")
    (folder / "cut.npy").write_bytes(data + b"x")
    assert "cut.npy" in fail(capsys, 5, "encode", "cut.npy", "-r", "2", "-o", "out.nqz")


def test_a_flipped_bit_anywhere(folder, capsys):
    data = (folder / "a.nqz").read_bytes()
    for position in sorted({*range(24), *range(24, len(data), 11)}):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        (folder / "bad.nqz").write_bytes(flipped)
        assert fail(capsys, 5, "verify", "bad.nqz").startswith("bad.nqz: ")
        assert fail(capsys, 5, "decode", "bad.nqz", "-o", "out.npy").startswith("bad.nqz: ")
        assert fail(capsys, 5, "matmul", "bad.nqz", "a.npy", "-o", "out.npy").startswith("bad.nqz: ")
    assert not (folder / "out.npy").exists()


def test_trailing_bytes_and_concatenation(folder, capsys):
    data = (folder / "a.nqz").read_bytes()
    for tail in (b"\0", b"more", data):
        (folder / "long.nqz").write_bytes(data + tail)
        assert "long.nqz: " in fail(capsys, 5, "decode", "long.nqz", "-o", "out.npy")


def test_outputs_that_cannot_be(folder, capsys):
    for command in (["encode", "a.npy", "-r", "2"], ["decode", "a.nqz"], ["matmul", "a.nqz", "a.npy"]):
        assert fail(capsys, 2, *command, "-o", "") == "-o '': the name of the output is empty"
    line = fail(capsys, 10, "encode", "a.npy", "-r", "2", "-o", "/proc/x.nqz")
    assert line == "/proc/x.nqz: cannot write: no file can be created in /proc"


def test_a_newer_format_names_both_versions(folder, capsys):
    data = (folder / "a.nqz").read_bytes()
    (folder / "new.nqz").write_bytes(preamble(9) + data[16:])
    for command in ("inspect", "verify", "decode"):
        line = fail(capsys, 6, command, "new.nqz")
        assert "version 9" in line and "version 0" in line


def test_what_is_newer_in_a_file_is_named(folder, capsys):
    """Features, source, and of a matrix its codec, transform, lattice, coding, and records: exit status 6."""
    parts = taken_apart((folder / "a.nqz").read_bytes())
    (entry,) = parts.manifest["tensors"]
    *known, parameters, extensions = entry

    def with_value(place, value):
        changed = [value if number == place else old for number, old in enumerate(parameters)]
        return {"manifest": {**parts.manifest, "tensors": [[*known, changed, extensions]]}}

    for name, fields in {
        "features 3": {"preamble": preamble(0, 8)},
        "'zarr'": {"manifest": {**parts.manifest, "source": "zarr"}},
        "codec 'nqz-2'": {"manifest": {**parts.manifest, "tensors": [["nqz-2", *entry[1:]]]}},
        "dtype 'float128'": {
            "manifest": {**parts.manifest, "tensors": [[*entry[:3], "float128", *entry[4:]]]}
        },
        "transform 'dct'": with_value(3, ["dct", []]),
        "lattice 'barnes-wall'": with_value(4, "barnes-wall"),
        "coding 'huffman'": with_value(5, ["huffman", []]),
        "allocation 'row'": with_value(6, "row"),
        "record SIGN": {"tensors": [[*parts.tensors[0], ("SIGN", b"")]]},
    }.items():
        (folder / "new.nqz").write_bytes(parts.replaced(**fields).build())
        for arguments in (
            ["verify", "new.nqz"],
            ["decode", "new.nqz", "-o", "out.npy"],
            ["matmul", "new.nqz", "a.npy", "-o", "out.npy"],
        ):
            line = fail(capsys, 6, *arguments)
            assert line.startswith("new.nqz: ") and name in line and "later" in line
    assert not (folder / "out.npy").exists()


def test_tensors_that_only_a_later_release_reads_leave_the_others_alone(folder, capsys):
    arrays = {name: matrix(64, 16, seed=seed) for seed, name in enumerate("pqr")}
    save_file(arrays | {"ids": np.arange(9)}, folder / "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    parts = taken_apart((folder / "m.nqz").read_bytes())
    entries = {entry[1]: entry for entry in parts.manifest["tensors"]}
    entries["p"][0] = "nqz-2"
    entries["q"][6][4] = "barnes-wall"
    (folder / "new.nqz").write_bytes(parts.build())
    found = json.loads(succeed(capsys, "inspect", "new.nqz", "--json").out)["tensors"]
    assert {tensor["name"]: tensor["kind"] for tensor in found} == {
        **dict.fromkeys("pq", "unknown"), "r": "matrix", "ids": "exact",
    }  # fmt: skip
    assert all(tensor["bytes"]["total"] > 0 for tensor in found)
    assert succeed(capsys, "inspect", "new.nqz").out.count("unknown") == 2
    succeed(capsys, "decode", "new.nqz", "-o", "out.safetensors", "--tensor", "r", "--tensor", "ids")
    succeed(capsys, "matmul", "new.nqz", "m.nqz", "--tensor-a", "r", "--tensor-b", "q", "-o", "c.npy")
    for name, what in (("p", "codec 'nqz-2'"), ("q", "lattice 'barnes-wall'")):
        for arguments in (
            ["decode", "new.nqz", "-o", "out.npy", "--tensor", name],
            ["matmul", "new.nqz", "m.nqz", "--tensor-a", name, "--tensor-b", "r", "-o", "out.npy"],
        ):
            assert what in fail(capsys, 6, *arguments)
    told = invoke(capsys, "verify", "new.nqz")
    assert told.code == 6 and "codec 'nqz-2'" in told.err and "lattice 'barnes-wall'" in told.err
    assert "codec 'nqz-2'" in fail(capsys, 6, "decode", "new.nqz", "-o", "all.safetensors")
    assert not (folder / "out.npy").exists() and not (folder / "all.safetensors").exists()
    with nqz.open(folder / "new.nqz") as container:
        assert container["r"].decode().shape == (64, 16) and list(container) == list(entries)
        for name in "pq":
            with pytest.raises(nqz.NewerFormatError):
                container[name].decode()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value, name", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
def test_not_finite_with_its_position(folder, capsys, axis, value, name):
    array = matrix(30, 20)
    array[7, 13] = value
    save(folder / "hole.npy", array)
    line = fail(capsys, 4, "encode", "hole.npy", "-r", "2", "--axis", axis)
    assert line.startswith("hole.npy: ") and "[7, 13]" in line and f"is {name};" in line
    save_file({"good": matrix(8, 8), "bad": array}, "hole.safetensors")
    line = fail(capsys, 4, "encode", "hole.safetensors", "-r", "2", "--axis", axis)
    assert "tensor 'bad'" in line and "[7, 13]" in line
    assert not (folder / "hole.nqz").exists()
    tall = matrix(96, 20)
    tall[40, 3] = value
    save(folder / "tall.npy", tall)
    assert "[40, 3]" in fail(capsys, 4, "matmul", "a.nqz", "tall.npy", "-o", "out.npy")
    assert not (folder / "out.npy").exists()


@pytest.mark.parametrize(
    "array, advice",
    [
        (np.arange(12).reshape(3, 4), "float64"),
        (np.ones((3, 4), np.int8), "float32"),
        (np.ones((3, 4), bool), "float32"),
        (np.ones((3, 4), complex), "real"),
        (np.array([["a", None]], object), "object"),
        (np.zeros((3, 4), [("x", "f4"), ("y", "i4")]), ""),
        (np.array([["text"]]), ""),
        (np.zeros((2, 2), "M8[s]"), ""),
        (np.zeros((2, 2), "V2"), ""),
    ],
)
def test_types_that_are_not_supported(folder, capsys, array, advice):
    np.save("x.npy", array, allow_pickle=True)
    line = fail(capsys, 4, "encode", "x.npy", "-r", "2")
    assert line.startswith("x.npy: ") and advice in line
    assert not (folder / "x.nqz").exists()


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "0", "-1", "1e400", "1e9", "100", "1e-30", "two", ""])
def test_bad_rates(folder, capsys, rate):
    result = invoke(capsys, "encode", "a.npy", f"--rate={rate}", "-o", "x.nqz", "-q")
    assert result.code == 2 and result.out == ""
    assert result.err.splitlines()[-1].startswith("nqz: error: ")
    assert not (folder / "x.nqz").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["encode"],
        ["encode", "a.npy"],
        ["encode", "a.npy", "-r", "2", "--unknown"],
        ["encode", "a.npy", "-r", "2", "--lattice", "a2"],
        ["encode", "a.npy", "-r", "2", "--axis", "2"],
        ["encode", "a.npy", "-r", "2", "--kappa", "0"],
        ["encode", "a.npy", "-r", "2", "--kappa", "nan"],
        ["encode", "a.npy", "-r", "2", "--seed", "-1"],
        ["encode", "a.npy", "-r", "2", "--seed", "99999999999999999999"],
        ["encode", "a.npy", "-r", "2", "--threads", "0", "-o", "x.nqz"],
        ["inspect", "a.nqz", "--threads", "0"],
        ["encode", "a.npy", "-r", "2", "--tensor", "x", "-o", "x.nqz"],
        ["decode", "a.nqz", "--dtype", "int8"],
        ["decode", "a.nqz", "-o", "out.txt"],
        ["decode", "a.nqz", "-o", "out.nqz"],
        ["matmul", "a.nqz"],
        ["matmul", "-", "-"],
        ["verify", "-", "--against", "-"],
        ["matmul", "a.nqz", "a.npy", "--axis-a", "1", "-o", "out.npy"],
        ["matmul", "a.nqz", "a.npy", "--tensor-a", "x", "-o", "out.npy"],
        ["inspect", "a.nqz", "extra"],
    ],
)
def test_usage(folder, capsys, arguments):
    before = listing(folder)
    result = invoke(capsys, *arguments)
    assert result.code == 2 and result.out == ""
    assert result.err.splitlines()[-1].startswith("nqz: error: ") and len(result.err.splitlines()) <= 2
    assert listing(folder) == before


def test_existing_output_needs_force(folder, capsys):
    before = (folder / "a.nqz").read_bytes()
    (folder / "out.npy").write_bytes(b"precious")
    assert "--force" in fail(capsys, 9, "encode", "a.npy", "-r", "4")
    assert "--force" in fail(capsys, 9, "decode", "a.nqz", "-o", "out.npy")
    assert "--force" in fail(capsys, 9, "matmul", "a.nqz", "a.npy", "-o", "out.npy")
    assert (folder / "a.nqz").read_bytes() == before
    assert (folder / "out.npy").read_bytes() == b"precious"
    succeed(capsys, "encode", "a.npy", "-r", "4", "-f")
    succeed(capsys, "decode", "a.nqz", "-o", "out.npy", "--force")
    succeed(capsys, "matmul", "a.nqz", "a.npy", "-o", "out.npy", "-f")
    assert len((folder / "a.nqz").read_bytes()) > len(before)


def test_a_failure_with_force_leaves_the_old_file(folder, capsys):
    (folder / "out.npy").write_bytes(b"precious")
    data = bytearray((folder / "a.nqz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "bad.nqz").write_bytes(data)
    fail(capsys, 5, "decode", "bad.nqz", "-f", "-o", "out.npy")
    save(folder / "other.npy", matrix(95, 4))
    fail(capsys, 7, "matmul", "a.nqz", "other.npy", "-f", "-o", "out.npy")
    assert (folder / "out.npy").read_bytes() == b"precious"
    assert listing(folder) == ["a.npy", "a.nqz", "bad.nqz", "other.npy", "out.npy"]


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_the_output_may_not_be_an_input(folder, capsys, link):
    npy, nqz = "a.npy", "a.nqz"
    if link is not None:
        npy, nqz = "link.npy", "link.nqz"
        link("a.npy", npy)
        link("a.nqz", nqz)
    before = [(folder / name).read_bytes() for name in ("a.npy", "a.nqz")]
    assert "input" in fail(capsys, 9, "encode", "a.npy", "-r", "2", "-o", npy, "-f")
    os.link("a.nqz", "c.npy")
    assert "input" in fail(capsys, 9, "decode", nqz, "-o", "c.npy", "-f")
    assert "input" in fail(capsys, 9, "matmul", "a.nqz", "a.npy", "-o", npy, "-f")
    assert [(folder / name).read_bytes() for name in ("a.npy", "a.nqz")] == before


def test_outputs_that_cannot_be_created(folder, capsys):
    (folder / "directory.npy").mkdir()
    assert "directory.npy: is a directory" in fail(capsys, 10, "decode", "a.nqz", "-o", "directory.npy", "-f")
    assert "nowhere" in fail(capsys, 10, "decode", "a.nqz", "-o", "nowhere/out.npy")
    assert "a.npy" in fail(capsys, 10, "decode", "a.nqz", "-o", "a.npy/out.npy")


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_full_disk(folder, capsys, monkeypatch, call):
    before = listing(folder)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    assert "no space left on device" in fail(capsys, 11, "encode", "a.npy", "-r", "2", "-o", "x.nqz")
    assert "no space left on device" in fail(capsys, 11, "decode", "a.nqz", "-o", "x.npy")
    assert "no space left on device" in fail(capsys, 11, "matmul", "a.nqz", "a.npy", "-o", "x.npy")
    assert listing(folder) == before


def test_a_full_device(folder, capsys):
    assert "/dev/full: " in fail(capsys, 11, "encode", "a.npy", "-r", "2", "-o", "/dev/full")
    assert "/dev/full: " in fail(capsys, 11, "decode", "a.nqz", "-o", "/dev/full", "-f")
    assert not os.path.isfile("/dev/full")


def test_operands_that_do_not_fit(folder, capsys):
    save(folder / "short.npy", matrix(95, 20))
    succeed(capsys, "encode", "short.npy", "-r", "3", "-q")
    succeed(capsys, "encode", "a.npy", "-r", "3", "--seed", "1", "-o", "seeded.nqz", "-q")
    save(folder / "ints.npy", np.ones((96, 3), np.int32))
    before = listing(folder)
    line = fail(capsys, 7, "matmul", "a.nqz", "short.nqz", "-o", "out.npy")
    assert "96 and 95" in line and "a.nqz" in line and "short.nqz" in line
    assert "96 and 95" in fail(capsys, 7, "matmul", "a.nqz", "short.npy", "-o", "out.npy")
    assert "--seed" in fail(capsys, 7, "matmul", "a.nqz", "seeded.nqz", "-o", "out.npy")
    assert "x.astype(" in fail(capsys, 4, "matmul", "a.nqz", "ints.npy", "-o", "out.npy")
    assert listing(folder) == before


def test_a_product_that_overflows_names_the_entry(folder, capsys):
    save(folder / "loud.npy", matrix(96, 4, dtype="float32") * np.float32(1e30))
    succeed(capsys, "encode", "loud.npy", "-r", "6", "-q")
    line = fail(capsys, 7, "matmul", "loud.nqz", "loud.npy", "-o", "out.npy")
    assert "overflows float32" in line and "--dtype float64" in line and "[" in line
    succeed(capsys, "matmul", "loud.nqz", "loud.npy", "-o", "out.npy", "--dtype", "float64")


def test_several_tensors_need_a_choice(folder, capsys):
    save_file({"x": matrix(64, 8), "y": matrix(64, 8, seed=1)}, "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    assert "--tensor-a" in fail(capsys, 2, "matmul", "m.nqz", "m.safetensors", "-o", "out.npy")
    assert "--tensor-a" in fail(capsys, 2, "matmul", "m.nqz", "m.safetensors")
    assert "--tensor" in fail(capsys, 2, "decode", "m.nqz", "-o", "out.npy")
    assert "'z'" in fail(capsys, 2, "decode", "m.nqz", "--tensor", "z", "-o", "out.npy")


def test_verify_of_another_matrix(folder, capsys):
    save(folder / "b.npy", matrix(96, 20, seed=5))
    save(folder / "shape.npy", matrix(96, 21))
    save(folder / "dtype.npy", matrix(96, 20, dtype="float64"))
    save(folder / "quiet.npy", np.zeros((96, 20), np.float32))
    scaled = np.load("a.npy") * np.float32(1.2)
    save(folder / "scaled.npy", scaled)
    for name in ("b.npy", "quiet.npy", "scaled.npy"):
        result = invoke(capsys, "verify", "a.nqz", "--against", name, "-q")
        assert result.code == 8 and "OFF" in result.out
        assert (
            result.err.startswith(f"nqz: error: a.nqz against {name}: error ") and result.err.count("\n") == 1
        )
    for name, words in (("shape.npy", "96x21, not 96x20"), ("dtype.npy", "float64, not float32")):
        result = invoke(capsys, "verify", "a.nqz", "--against", name, "-q")
        assert result.code == 8 and words in result.err and " OFF\n" in result.out


def test_verify_of_exact_tensors_bit_for_bit(folder, capsys):
    tensors = {"w": matrix(64, 16), "ids": np.arange(100)}
    save_file(tensors, "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    succeed(capsys, "verify", "m.nqz", "--against", "m.safetensors", "-q")
    tensors["ids"] = tensors["ids"].copy()
    tensors["ids"][50] = -1
    save_file(tensors, "changed.safetensors")
    result = invoke(capsys, "verify", "m.nqz", "--against", "changed.safetensors", "-q")
    assert result.code == 8 and "tensor 'ids'" in result.err
    del tensors["ids"]
    save_file(tensors, "fewer.safetensors")
    result = invoke(capsys, "verify", "m.nqz", "--against", "fewer.safetensors", "-q")
    assert result.code == 8 and "tensor 'ids': the original holds no such tensor" in result.err


def test_an_unexpected_exception_is_one_line(folder, capsys, monkeypatch):
    import nqz.cli.inspect as module

    def broken(*arguments, **options):
        raise ZeroDivisionError("surprise\nin two lines")

    monkeypatch.setattr(module, "describe", broken)
    monkeypatch.delenv("NQZ_TRACEBACK", raising=False)
    result = invoke(capsys, "inspect", "a.nqz")
    assert result.code == 1 and result.err.count("\n") == 1
    assert result.err.startswith("nqz: internal error: ZeroDivisionError: surprise\\nin two lines")
    monkeypatch.setenv("NQZ_TRACEBACK", "1")
    assert "Traceback" in invoke(capsys, "inspect", "a.nqz").err

    def hungry(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(module, "describe", hungry)
    assert fail(capsys, 1, "inspect", "a.nqz") == "not enough memory"
