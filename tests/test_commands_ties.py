"""Equal tensors of a file, which are stored once, from file to file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import succeed
from golden import parts_of

W, E = (160, 128), (100, 90)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def tensors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    w, ids = noise(*W, seed=1), np.random.default_rng(2).integers(0, 9, E)
    bias = np.zeros(16, "f4")
    found = {
        "a": w, "b": w.copy(), "c": noise(*W, seed=3), "ids": ids, "bias": bias, "ids.too": ids, "bias.too": bias,
        "again": w,
    }  # fmt: skip
    save_file(found, "m.safetensors")
    np.savez("m.npz", **found)
    return found


def inspected(path):
    report = nqz.inspect(path)
    return {tensor["name"]: tensor for tensor in report["tensors"]}, report["totals"]


def ties(source, **options):
    found, _ = inspected(nqz.encode(source, **{"rate": 4, **options}))
    return {name: tensor["same_as"] for name, tensor in found.items() if tensor["same_as"] is not None}


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_equal_tensors_are_stored_once_and_all_come_back(tensors, capsys, suffix):
    source = f"m.{suffix}"
    notice = succeed(capsys, "encode", source, "-r", "4", "-o", "m.nqz").err
    assert "2 of 8 tensors compressed, 3 the same as another, 4." in notice
    once = {name: tensors[name] for name in ("a", "c", "ids", "bias", "bias.too")}
    single, alone = inspected(nqz.encode(once, rate=4))
    found, totals = inspected("m.nqz")
    same = {name: tensor["same_as"] for name, tensor in found.items()}
    assert {name: target for name, target in same.items() if target} == {
        "b": "a", "again": "a", "ids.too": "ids",
    }  # fmt: skip
    for name, tensor in found.items():
        like = {**single[same[name] or name], "name": name}
        if same[name] is not None:
            like["bytes"] = {**dict.fromkeys(like["bytes"]), "total": 0}
        assert {**tensor, "same_as": None} == like
    assert (totals["tensors"], totals["matrices"], totals["exact"], totals["tied"]) == (8, 2, 3, 3)
    assert {key: totals[key] for key in ("entries", "rate")} == {
        key: alone[key] for key in ("entries", "rate")
    }
    assert totals["bytes"] < alone["bytes"] + 160
    back = nqz.decode("m.nqz")
    assert np.array_equal(back["a"], back["b"]) and np.array_equal(back["a"], back["again"])
    assert np.array_equal(back["ids.too"], tensors["ids"])
    succeed(capsys, "decode", "m.nqz", "--tensor", "b", "-o", "b.npy")
    assert np.array_equal(np.load("b.npy"), back["a"])
    checked = json.loads(succeed(capsys, "verify", "m.nqz", "--against", source, "--json").out)
    assert checked["ok"] and all(tensor["same_bytes"] for tensor in checked["tensors"])
    compared = json.loads(succeed(capsys, "compare", source, "m.nqz", "--json").out)["totals"]
    assert {key: compared[key] for key in ("matrices", "exact", "entries", "rate")} == {
        key: totals[key] for key in ("matrices", "exact", "entries", "rate")
    }
    assert compared["bytes"] == single["a"]["bytes"]["total"] + single["c"]["bytes"]["total"]


def test_a_bit_more_counts_for_all_that_equal_a_matrix(tensors):
    across = {"a": 1, "b": 2, "again": 4, "c": 1}
    report = nqz.compare("m.safetensors", nqz.encode("m.safetensors", rate=4), across=across)
    rows = {row["name"]: row for row in report["tensors"]}
    spent = sum(weight * rows[name]["measured"] for name, weight in across.items())
    gained = 7 * (rows["a"]["more"]["error"] - rows["a"]["measured"])
    assert rows["a"]["more"]["change"] == pytest.approx(gained / spent)
    assert rows["b"]["share"] == pytest.approx(2 * rows["a"]["measured"] / spent)
    for name in ("b", "again"):
        assert (rows[name]["bytes"], rows[name]["more"], rows[name]["less"]) == (0, None, None)


def test_tables_say_as_which_tensor_one_is_stored(tensors, capsys):
    plan = succeed(capsys, "encode", "m.safetensors", "-r", "4", "--dry-run").out
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    table = succeed(capsys, "inspect", "m.nqz").out
    for text in (plan, table):
        rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
        assert rows["again"][3:5] == rows["b"][3:5] == ["as", "a"] and rows["ids.too"][3:5] == ["as", "ids"]
        assert rows["b"][-1] == "0"
        assert "3 the same as another" in text
    one = succeed(capsys, "inspect", "m.nqz", "--tensor", "b").out
    assert ["as", "a"] in [line.split() for line in one.splitlines()]
    two = succeed(capsys, "inspect", "m.nqz", "--tensor", "b", "--tensor", "again").out
    assert "\n2 tensors, 2 the same as another; 0 bytes\n" in two


def test_what_is_not_the_same_is_not_tied(tensors):
    w = tensors["a"]
    other = w.copy()
    other[-1, -1] += 1
    zeros = np.zeros(W, "f4")
    assert ties({"a": w, "b": other}) == {}
    assert ties({"a": zeros, "b": -zeros}) == {}
    assert ties({"a": w, "b": w.astype("f8")}) == {}
    assert ties({"a": w, "b": w.reshape(W[::-1])}) == {}
    assert ties({"a": w.view("i4"), "b": w}) == {}
    assert ties({"a": w[:127, :], "b": w[:127, :]}) == {}  # 63.5 KiB
    assert ties({"a": w[:128, :], "b": w[:128, :]}) == {"b": "a"}
    np.savez("orders.npz", a=w, b=np.asfortranarray(w), c=w.astype(">f4"), d=np.asfortranarray(w))
    assert ties("orders.npz") == {"d": "b"}


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (["b=exact"], {"again": "a"}),
        (["a=skip"], {"b": "again"}),
        (["a=axis:1"], {"b": "again"}),
        (["again=5"], {"b": "a"}),
        (["b=coding:voronoi"], {"again": "a"}),
        (["[ab]=axis:1,5"], {"b": "a"}),
        (["a=axis:1", "[ab]=exact"], {"b": "a"}),
        (["*=exact"], {"b": "a", "again": "a"}),
    ],
)
def test_what_is_treated_otherwise_is_not_tied(tensors, rules, found):
    assert ties("m.safetensors", rules=rules, tensors=["a", "b", "again"], lattice="e8") == found


def test_slices_are_not_tied(tensors):
    stack = noise(2, *W)
    assert ties({"a": stack, "b": stack}) == {"b": "a"}
    assert ties({"a": stack, "b": stack}, rules=["*=split"]) == {}


def test_a_plan_counts_what_is_tied_once(tensors, capsys):
    for options in (["-r", "3"], ["--error", "0.01", "--rule", "c=5"], ["--max-bytes", "40k"]):
        report = json.loads(succeed(capsys, "encode", "m.safetensors", *options, "--dry-run", "--json").out)
        rows = {row["name"]: row for row in report["tensors"]}
        row = rows["b"]
        assert (row["same_as"], row["kind"], row["bytes"], row["rate"]) == ("a", "matrix", 0, None)
        assert rows["ids.too"]["kind"] == "exact" and rows["a"]["same_as"] is None
        totals = report["totals"]
        assert (totals["matrices"], totals["tied"], totals["entries"]) == (2, 3, 2 * W[0] * W[1])
        succeed(capsys, "encode", "m.safetensors", *options, "-f", "-q")
        _, found = inspected("m.nqz")
        assert totals["bytes"] == pytest.approx(found["bytes"], rel=3e-3, abs=400)
        assert totals["rate"] == pytest.approx(found["rate"], rel=0.02)
    assert 0.98 * 40_000 <= found["bytes"] <= 40_000


def test_what_is_stored_once_is_as_sensitive_as_all_that_equal_it(tensors, capsys):
    def rates(names, across):
        source = {name: tensors[name] for name in names}
        found, _ = inspected(nqz.encode(source, rate=4, across=across))
        return found["a"]["rate_asked"], found["c"]["rate_asked"]

    tied = rates("abc", {"a": 1, "b": 3, "c": 1})
    assert tied == rates("ac", {"a": 4, "c": 1})
    assert tied[0] > tied[1] + 0.5
    with pytest.raises(nqz.UsageError, match="no sensitivity for tensor 'b'"):
        rates("abc", {"a": 1, "c": 1})


def test_an_embedding_that_is_the_head_too_is_a_tied_head(tensors, capsys):
    w = tensors["a"]
    save_file({"lm_head.weight": w, "model.embed_tokens.weight": w}, "head.safetensors")
    save_file({"a_embed_tokens.weight": w, "lm_head.weight": w}, "embed.safetensors")
    for name, role in (("head", "lm_head"), ("embed", "tied head")):
        words = ["encode", f"{name}.safetensors", "-r", "4", "--axis", "auto", "--dry-run", "--json"]
        first, second = json.loads(succeed(capsys, *words).out)["tensors"]
        assert (first["role"], second["same_as"]) == (role, first["name"])


def test_a_product_with_what_it_equals_is_that_with_itself(tensors, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    words = ["matmul", "m.nqz", "m.nqz", "-q", "-f", "--tensor-a", "a", "--tensor-b"]
    for name in ("a", "b"):
        succeed(capsys, *words, name, "-o", f"{name}.npy")
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))
    with nqz.open("m.nqz") as file:
        assert np.array_equal(file["b"].T @ file["a"], np.load("a.npy"))
        assert np.array_equal(file["again"][:, 5], file["a"][:, 5])


def test_damage_concerns_all_that_are_stored_so(tensors, capsys):
    parts = parts_of(nqz.encode("m.safetensors", rate=4))
    names = [entry[1] for entry in parts.manifest["tensors"]]
    for name in ("a", "ids"):
        kind, payload = parts.tensors[names.index(name)][-1]
        parts.tensors[names.index(name)][-1] = (kind, payload[:40] + bytes(9) + payload[49:])
    report = nqz.verify(parts.build(), check=False)
    assert {t["name"]: t["damaged"] for t in report["tensors"] if not t["ok"]} == dict.fromkeys(
        ["a", "again", "b", "ids", "ids.too"], True
    )


def test_files_of_a_model_share_nothing(tensors, capsys, tmp_path):
    w = tensors["a"]
    (tmp_path / "model").mkdir()
    save_file({"a": w, "b": w}, "model/model-00001-of-00002.safetensors")
    save_file({"c": w, "d": w}, "model/model-00002-of-00002.safetensors")
    succeed(capsys, "encode", "model", "-r", "4", "-o", "out", "-q")
    report = nqz.inspect("out")
    assert {t["name"]: t["same_as"] for t in report["tensors"]} == {"a": None, "b": "a", "c": None, "d": "c"}
    assert report["totals"]["tied"] == 2
    for number in (1, 2):
        succeed(capsys, "verify", f"out/model-0000{number}-of-00002.nqz")
    succeed(capsys, "decode", "out", "-o", "back", "-q")
    back = load_file("back/model-00002-of-00002.safetensors")
    assert np.array_equal(back["c"], back["d"]) and not np.array_equal(back["c"], w)
