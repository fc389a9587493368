"""`nqz diff` and `nqz.diff`: what differs between two containers, and the status that tells whether anything does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, invoke, matrix, succeed
from page_tools import EVIL


@pytest.fixture
def tensors(tmp_path, monkeypatch):
    """Tensors of a model, and that as a file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    found = {"w": matrix(64, 40), "v": matrix(64, 30, seed=1), "bias": matrix(30, seed=2)}
    save_file(found, "m.safetensors")
    return found


def differing(capsys, *arguments):
    """What `nqz diff --json` finds; its status is 1."""
    result = invoke(capsys, "diff", *arguments, "--json")
    assert result.code == 1 and result.err == ""
    return json.loads(result.out)


def test_nothing_differs_between_a_file_and_its_copy(tensors, capsys):
    for name in ("a.nqz", "b.nqz"):
        succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", name, "-q")
    assert succeed(capsys, "diff", "a.nqz", "b.nqz").out == "a.nqz and b.nqz: 3 tensors, all the same\n"
    found = json.loads(succeed(capsys, "diff", "a.nqz", "b.nqz", "--json").out)
    assert found.pop("a") == "a.nqz" and found.pop("b") == "b.nqz" and found.pop("against") is None
    assert found == nqz.diff("a.nqz", "b.nqz") and found["same"] and found["unchanged"] == 3


def test_rates_sizes_errors_and_settings_that_differ_are_told(tensors, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", "a.nqz", "-q")
    succeed(
        capsys, "encode", "m.safetensors", "-r", "3", "--rule", "w=4", "--lattice", "e8", "-o", "b.nqz", "-q"
    )
    found = differing(capsys, "a.nqz", "b.nqz", "--against", "m.safetensors")
    assert [one["name"] for one in found["changed"]] == ["v", "w"] and found["unchanged"] == 1
    one = next(one for one in found["changed"] if one["name"] == "w")
    sides = [next(t for t in nqz.inspect(name)["tensors"] if t["name"] == "w") for name in ("a.nqz", "b.nqz")]
    assert one["changes"]["lattice"] == [sides[0]["lattice"], sides[1]["lattice"]] and one["coded"]
    assert one["original"] is False
    assert one["rates"] == [side["rate"] for side in sides] and one["rates"][1] > one["rates"][0] + 0.9
    assert one["bytes"] == [side["bytes"]["total"] for side in sides]
    assert one["product"] == [side["predicted"]["product"] for side in sides]
    measured = [
        next(t for t in nqz.compare("m.safetensors", name)["tensors"] if t["name"] == "w")["measured"]
        for name in ("a.nqz", "b.nqz")
    ]
    assert one["measured"] == measured
    text = invoke(capsys, "diff", "a.nqz", "b.nqz").out
    assert "lattice conv128 -> e8" in text and "2 tensors differ, 1 do not" in text


def test_a_limit_of_ones_own_holds_for_both_sides(tensors, capsys):
    for name, rate in (("a.nqz", "4"), ("b.nqz", "2")):
        succeed(capsys, "encode", "m.safetensors", "-r", rate, "-o", name, "-q")
    limit, words = 0.05, ["a.nqz", "b.nqz", "--against", "m.safetensors"]
    errors = [
        [t["measured"] for t in nqz.compare("m.safetensors", name)["tensors"] if t["kind"] == "matrix"]
        for name in ("a.nqz", "b.nqz")
    ]
    assert max(errors[0]) < limit < min(errors[1])
    found = differing(capsys, *words, "--max-error", "1")
    assert found["max_error"] == 1.0 and "ok" not in found["changed"][0]["changes"]
    result = invoke(capsys, "diff", *words, "--max-error", str(limit), "--json")
    assert result.code == 8
    assert [f"tensor '{name}': error" in result.err for name in "vw"] == [True, True]
    assert "b.nqz against m.safetensors" in result.err and "a.nqz" not in result.err
    found = json.loads(result.out)
    assert all(one["changes"]["ok"] == [True, False] for one in found["changed"])
    result = invoke(capsys, "diff", *words, "--max-error", "1e-5")
    assert result.code == 8 and all(f"{name}.nqz against" in result.err for name in "ab")
    assert "--against" in invoke(capsys, "diff", "a.nqz", "b.nqz", "--max-error", "1").err

    loose = nqz.diff("a.nqz", "b.nqz", against="m.safetensors", max_error=limit)
    assert loose["max_error"] == limit and loose["changed"] == found["changed"]
    with pytest.raises(nqz.VerifyError, match=r"where 0\.05 at most is wanted"):
        nqz.diff("a.nqz", "b.nqz", against="m.safetensors", max_error=limit, check=True)
    nqz.diff("a.nqz", "b.nqz", against="m.safetensors", max_error=1, check=True)
    with pytest.raises(nqz.UsageError, match="max_error"):
        nqz.diff("a.nqz", "b.nqz", max_error=1)


def test_tensors_that_only_one_has_and_other_data(tensors, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", "a.nqz", "-q")
    tensors[EVIL] = tensors.pop("v")
    tensors["w"] = tensors["w"] + np.float32(1e-3)
    tensors["bias"] = tensors["bias"][::-1].copy()
    save_file(tensors, "n.safetensors", {"made": "by hand"})
    succeed(capsys, "encode", "n.safetensors", "-r", "3", "-o", "b.nqz", "-q")
    found = differing(capsys, "a.nqz", "b.nqz")
    assert found["removed"] == ["v"] and found["added"] == [EVIL]
    assert {one["name"]: one["original"] for one in found["changed"]} == {"w": True, "bias": True}
    assert found["files"]["metadata"] == [None, {"made": "by hand"}]
    text = invoke(capsys, "diff", "a.nqz", "b.nqz").out
    assert (
        "only in a.nqz: v\n" in text
        and "other data" in text
        and 'metadata: none -> {"made": "by hand"}' in text
    )


def test_shapes_and_kinds_that_differ(tensors, capsys):
    np.save("x.npy", matrix(64, 40))
    np.save("y.npy", matrix(40, 64, seed=1))
    for name in ("x", "y"):
        succeed(capsys, "encode", f"{name}.npy", "-r", "3", "-q")
    (one,) = differing(capsys, "x.nqz", "y.nqz")["changed"]
    assert one["changes"]["shape"] == [[64, 40], [40, 64]] and one["original"] is True
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", "a.nqz", "-q")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "--rule", "w=exact", "-o", "b.nqz", "-q")
    changed = {one["name"]: one for one in differing(capsys, "a.nqz", "b.nqz")["changed"]}
    assert changed["w"]["changes"]["kind"] == ["matrix", "exact"] and changed["w"]["coded"]
    assert changed["w"]["rates"][1] is None and changed["w"]["product"][1] is None
    assert "kind matrix -> exact" in invoke(capsys, "diff", "a.nqz", "b.nqz").out


def test_the_same_content_of_exact_tensors_is_the_same(tensors):
    same = nqz.encode({"bias": tensors["bias"]}, rate=3)
    assert nqz.diff(same, nqz.encode({"bias": tensors["bias"].copy()}, rate=3))["same"]
    assert not nqz.diff(same, nqz.encode({"bias": tensors["bias"] * 2}, rate=3))["same"]


def test_what_cannot_be_read_is_an_error_and_no_difference(tensors, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", "a.nqz", "-q")
    assert "compress it first" in fail(capsys, 4, "diff", "a.nqz", "m.safetensors")
    assert "cannot open" in fail(capsys, 3, "diff", "a.nqz", "none.nqz")
    assert "standard input" in fail(capsys, 2, "diff", "-", "-")
    save_file({"w": tensors["w"] * 2, "v": tensors["v"], "bias": tensors["bias"]}, "other.safetensors")
    result = invoke(capsys, "diff", "a.nqz", "a.nqz", "--against", "other.safetensors")
    assert result.code == 8 and "tensor 'w'" in result.err


def test_addresses_are_told_without_what_opens_them(tensors, capsys):
    import fsspec

    fsspec.filesystem("memory").pipe("/told.nqz", nqz.encode(tensors, rate=3))
    address = "memory://told.nqz?signature=secret"
    result = invoke(capsys, "diff", "memory://told.nqz", "memory://told.nqz", "--json")
    assert json.loads(result.out)["a"] == "memory://told.nqz"
    assert "secret" not in invoke(capsys, "diff", address, "m.safetensors", "--json").err
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    for words in (["compare", address, "m.nqz"], ["verify", "m.nqz", "--against", address]):
        told = invoke(capsys, *words, "--json")
        assert "secret" not in told.out + told.err and "memory://told.nqz" in told.out
