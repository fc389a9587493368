"""Tensors in slices, from file to file: the product of one expert, and the whole tensor again."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nqz
from cli_tools import fail, invoke, succeed
from nqz.commands.encode import encode
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.ground.errors import UsageError
from nqz.ground.patterns import matches
from nqz.ground.threads import workers

EXPERTS, OUT, IN = 5, 48, 96


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors = {
        "mlp.experts.w1": noise(EXPERTS, OUT, IN, seed=1)
        * (1 + np.arange(EXPERTS)[:, None, None]).astype("f4"),
        "conv.weight": noise(32, 16, 3, 3, seed=2),
        "o.weight": noise(64, IN, seed=3),
        "o.bias": noise(64, seed=4),
    }
    save_file(tensors, "m.safetensors", {"format": "pt"})
    np.savez("m.npz", **tensors)
    return tensors


def error(back, original):
    return np.square(back.astype(np.float64) - original).sum() / np.square(original.astype(np.float64)).sum()


def listed(capsys, path, *options):
    report = json.loads(succeed(capsys, "inspect", path, "--json", *options).out)
    return {tensor["name"]: tensor for tensor in report["tensors"]}


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_each_slice_is_a_matrix_and_decoding_joins_them(folder, capsys, suffix):
    succeed(capsys, "encode", f"m.{suffix}", "-r", "4", "--rule", "*w1=split,axis:1", "-q")
    tensors = listed(capsys, "m.nqz")
    names = [f"mlp.experts.w1[{i}]" for i in range(EXPERTS)]
    assert sorted(tensors) == sorted([*names, "conv.weight", "o.bias", "o.weight"])
    for i, name in enumerate(names):
        assert tensors[name]["slice"] == {"of": "mlp.experts.w1", "index": i, "slices": EXPERTS}
        assert (tensors[name]["shape"], tensors[name]["axis"]) == ([OUT, IN], 1)
    assert len({tensors[name]["dither_key"] for name in names}) == EXPERTS
    assert tensors["o.weight"]["slice"] is None
    assert succeed(capsys, "verify", "m.nqz", "--against", f"m.{suffix}").out.count(" ok") == EXPERTS + 3
    succeed(capsys, "decode", "m.nqz", "-o", "back.safetensors", "-q")
    back = load_file("back.safetensors")
    assert {name: (x.shape, x.dtype) for name, x in back.items()} == {
        name: (x.shape, x.dtype) for name, x in folder.items()
    }
    for i in range(EXPERTS):
        expected = tensors[names[i]]["predicted"]["reconstruction"]
        assert error(back["mlp.experts.w1"][i], folder["mlp.experts.w1"][i]) == pytest.approx(
            expected, rel=0.15
        )


def test_a_slice_is_coded_as_it_would_be_by_itself(folder, capsys):
    save_file(
        {f"mlp.experts.w1[{i}]": x for i, x in enumerate(folder["mlp.experts.w1"])}, "apart.safetensors"
    )
    for name, rules in (("m", ["--rule", "*w1=split"]), ("apart", [])):
        tensor = [] if rules == [] else ["--tensor", "*w1"]
        succeed(capsys, "encode", f"{name}.safetensors", "-r", "4", "-q", *rules, *tensor)
    ours, apart = listed(capsys, "m.nqz"), listed(capsys, "apart.nqz")
    assert {name: {**x, "slice": None} for name, x in ours.items()} == apart


def test_the_product_of_one_expert(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "6", "--axis", "auto", "-q")
    x = noise(IN, 7, seed=9)
    np.save("x.npy", x)
    for i in (0, 3):
        name = f"mlp.experts.w1[{i}]"
        succeed(capsys, "matmul", "m.nqz", "x.npy", "--tensor-a", name, "-o", "y.npy", "-q", "-f")
        exact = folder["mlp.experts.w1"][i] @ x
        assert error(np.load("y.npy"), exact) < 3e-3
        assert np.array_equal(nqz.matmul(nqz.open("m.nqz")[name], x), np.load("y.npy"))
        # the other way: the expert plain, what it is multiplied with compressed
        succeed(capsys, "encode", "x.npy", "-r", "6", "-q", "-f")
        options = ["--tensor-a", name, "--axis-a", "1", "-o", "z.npy", "-q", "-f"]
        succeed(capsys, "matmul", "m.safetensors", "x.nqz", *options)
        assert error(np.load("z.npy"), exact) < 3e-3
    message = fail(capsys, 7, "matmul", "m.nqz", "x.npy", "--tensor-a", "mlp.experts.w1", "-o", "q.npy")
    assert message.endswith("choose one of 'mlp.experts.w1[0]' to 'mlp.experts.w1[4]'")


def test_names_and_patterns_take_slices(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--rule", "*w1=split", "-q")
    for pattern, found in (
        ("mlp.experts.w1[3]", (OUT, IN)),
        ("mlp.experts.w1", (EXPERTS, OUT, IN)),
        ("mlp.experts.w1[*]", (EXPERTS, OUT, IN)),
        ("*.w1[[]3]", (OUT, IN)),
    ):
        succeed(capsys, "decode", "m.nqz", "--tensor", pattern, "-o", "x.npy", "-f", "-q")
        assert np.load("x.npy").shape == found
    succeed(
        capsys, "decode", "m.nqz", "--tensor", "*w1[1]", "--tensor", "*w1[2]", "-o", "two.safetensors", "-q"
    )
    assert sorted(load_file("two.safetensors")) == ["mlp.experts.w1[1]", "mlp.experts.w1[2]"]
    assert list(listed(capsys, "m.nqz", "--tensor", "*[4]")) == ["mlp.experts.w1[4]"]
    whole = listed(capsys, "m.nqz", "--tensor", "mlp.experts.w1", "--tensor", "*w1[1]")
    assert list(whole) == [f"mlp.experts.w1[{i}]" for i in range(EXPERTS)]
    fail(capsys, 2, "decode", "m.nqz", "--tensor", "mlp.experts.w1[5]", "-o", "none.npy")


def test_brackets_at_the_end_of_a_pattern_are_those_of_slices_too():
    assert matches("w[3]", "w[3]") and matches("w[3]", "w[*]") and matches("a.w[12]", "*.w[1?]")
    assert matches("w3", "w[3]") and not matches("w[3]", "w[4]") and not matches("w", "w[*]")
    assert not matches("w[3]x", "w[*]") and not matches("w[12]", "w[1]")


def test_auto_splits_experts_and_nothing_else(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q")
    assert listed(capsys, "m.nqz")["mlp.experts.w1"]["shape"] == [EXPERTS, OUT, IN]
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--axis", "auto", "-q", "-f")
    found = listed(capsys, "m.nqz")
    assert "mlp.experts.w1[4]" in found and found["mlp.experts.w1[4]"]["axis"] == 1
    assert (found["conv.weight"]["shape"], found["conv.weight"]["axis"]) == ([32, 16, 3, 3], 1)
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--axis", "auto", "--rule", "*w1=whole", "-q", "-f")
    assert listed(capsys, "m.nqz")["mlp.experts.w1"]["slice"] is None


def test_the_number_of_experts_in_the_configuration_tells_them(folder):
    save_file({"mlp.gate_up": noise(4, 64, 96), "mlp.other": noise(3, 64, 96)}, "c.safetensors")
    data = bytearray()
    options = EncodeOptions(rate=4.0, config={"num_local_experts": 4})
    with open_source("c.safetensors") as source, workers(1) as pool:
        encode(source, MemoryAccess(data), options, pool)
    with nqz.open(bytes(data)) as found:
        assert [len(found[name].shape) for name in found] == [3, 3]
        assert isinstance(found["mlp.gate_up"], nqz.SlicedTensor)
        assert isinstance(found["mlp.other"], nqz.CompressedMatrix)


def test_rules_name_a_tensor_or_its_slices(folder, capsys):
    rules = ["--rule", "*w1=split", "--rule", "*w1[2]=6", "--rule", "*w1[3]=axis:1"]
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-q", *rules)
    found = listed(capsys, "m.nqz")
    assert found["mlp.experts.w1[2]"]["rate_asked"] == 6
    assert [found[f"mlp.experts.w1[{i}]"]["axis"] for i in range(EXPERTS)] == [0, 0, 0, 1, 0]
    succeed(capsys, "decode", "m.nqz", "-o", "back.safetensors", "-q")
    assert error(load_file("back.safetensors")["mlp.experts.w1"], folder["mlp.experts.w1"]) < 0.01
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "-qf", "--rule", "*w1=split", "--rule", "*w1=exact")
    assert listed(capsys, "m.nqz")["mlp.experts.w1"]["kind"] == "exact"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["o.weight=split"], "tensor 'o.weight' has no slices that are matrices"),
        (["*w1=split", "*w1[1]=exact"], "is one slice of a tensor; only all of 'mlp.experts.w1'"),
        (["*w1=split", "*w1[7]=3"], "no tensor is called '*w1[7]'"),
        (["*w1=split,whole"], "'whole' contradicts what stands before it"),
        (["*w1=exact,split"], "'exact' goes with nothing else"),
    ],
)
def test_rules_that_make_no_sense_are_refused(folder, capsys, rules, message):
    options = [part for rule in rules for part in ("--rule", rule)]
    assert message in fail(capsys, 2, "encode", "m.safetensors", "-r", "4", *options)


def test_names_of_slices_must_be_free(folder, capsys):
    save_file({"w": noise(3, 8, 9), "w[1]": noise(8)}, "n.safetensors")
    message = fail(capsys, 2, "encode", "n.safetensors", "-r", "4", "--rule", "w=split")
    assert "would be called 'w[1]', as another tensor is; keep it whole" in message


def test_fortran_order_has_no_slices(folder):
    np.savez("f.npz", w=np.asfortranarray(noise(3, 20, 30)), v=noise(3))
    with (
        open_source("f.npz") as source,
        workers(1) as pool,
        pytest.raises(UsageError, match="C order are needed"),
    ):
        encode(source, MemoryAccess(bytearray()), EncodeOptions(rate=4.0, rules=["w=split"]), pool)


def test_verify_tells_another_original(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--rule", "*w1=split", "--tensor", "*w1", "-q")
    save_file({"mlp.experts.w1": folder["mlp.experts.w1"][:4], "b": noise(2)}, "fewer.safetensors")
    result = invoke(capsys, "verify", "m.nqz", "--against", "fewer.safetensors")
    assert result.code == 8 and "the original has shape 4x48x96, not 5x48x96" in result.err
    changed = folder["mlp.experts.w1"].copy()
    changed[2] = 0
    save_file({"mlp.experts.w1": changed, "b": noise(2)}, "other.safetensors")
    result = invoke(capsys, "verify", "m.nqz", "--against", "other.safetensors")
    assert (
        result.code == 8 and "'mlp.experts.w1[2]'" in result.err and "'mlp.experts.w1[1]'" not in result.err
    )


def test_python_joins_slices(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "5", "--rule", "*w1=split,axis:1", "-q")
    with nqz.open("m.nqz") as container:
        assert list(container) == sorted(folder) and len(container) == 4
        assert "mlp.experts.w1[1]" in container and "mlp.experts.w1[9]" not in container
        whole, one = container["mlp.experts.w1"], container["mlp.experts.w1[1]"]
        assert isinstance(whole, nqz.SlicedTensor) and isinstance(one, nqz.CompressedMatrix)
        assert (whole.name, whole.shape, whole.ndim, whole.size) == (
            "mlp.experts.w1",
            (5, OUT, IN),
            3,
            5 * OUT * IN,
        )
        array = whole.decode()
        assert error(array, folder["mlp.experts.w1"]) < 2e-3 and array.dtype == whole.dtype == np.float32
        assert whole.decode("float64", "unbiased").dtype == np.float64
        assert np.array_equal(np.asarray(whole), array) and np.array_equal(whole[1], one.decode())
        for index in (
            1,
            -1,
            (2, 3),
            (2, slice(None), 4),
            slice(1, 3),
            ...,
            (slice(None), 0),
            [0, 2],
            np.int64(3),
        ):
            assert np.array_equal(whole[index], array[index])
        with pytest.raises(IndexError):
            whole[5]
        assert all(np.array_equal(x, y) for x, y in zip(whole, array, strict=True))
        assert np.array_equal(whole.T, array.T) and len(whole.slices) == 5
        pickled = pickle.loads(pickle.dumps(whole))  # noqa: S301 - by this test
        for again in (copy.deepcopy(whole), pickled):
            assert np.array_equal(again.decode(), array)
        x = noise(IN, 3)
        assert error(one @ x, folder["mlp.experts.w1"][1] @ x) < 5e-3
        with pytest.raises(nqz.OperandError, match=r"take one of them, such as 'mlp\.experts\.w1\[0\]'"):
            nqz.matmul(whole, x)


def test_compare_and_totals_count_slices(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--rule", "*w1=split", "-q")
    report = json.loads(succeed(capsys, "compare", "m.safetensors", "m.nqz", "--json").out)
    assert report["left_out"] == [] and report["totals"]["matrices"] == EXPERTS + 2
    assert report["totals"]["entries"] == sum(x.size for x in folder.values() if x.ndim > 1)


def test_a_report_of_decoding_names_the_whole_tensor(folder, capsys):
    succeed(capsys, "encode", "m.safetensors", "-r", "4", "--rule", "*w1=split", "-q")
    report = json.loads(succeed(capsys, "decode", "m.nqz", "-o", "b.safetensors", "--json", "-q").out)
    found = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert found["mlp.experts.w1"]["shape"] == [EXPERTS, OUT, IN]
    back = load_file("b.safetensors")["mlp.experts.w1"]
    assert found["mlp.experts.w1"]["expected"] == pytest.approx(
        error(back, folder["mlp.experts.w1"]), rel=0.05
    )


def test_models_hold_slices_and_their_index_the_whole(folder, capsys):
    path = folder_of_a_model(folder)
    succeed(capsys, "encode", path, "-r", "5", "-o", "OUT", "-q")  # with a config.json, axes are told
    names = json.loads(Path("OUT/model.nqz.index.json").read_text())["weight_map"]
    assert sorted(names) == sorted(folder)
    assert listed(capsys, "OUT")["mlp.experts.w1[2]"]["axis"] == 1
    assert succeed(capsys, "verify", "OUT", "--against", path).out.count(" ok") == EXPERTS + 3
    succeed(capsys, "decode", "OUT", "-o", "BACK", "-q")
    assert (
        json.loads(Path("BACK/model.safetensors.index.json").read_text())["weight_map"]["mlp.experts.w1"]
        == "b.safetensors"
    )
    assert load_file("BACK/b.safetensors")["mlp.experts.w1"].shape == (EXPERTS, OUT, IN)
    np.save("x.npy", noise(IN, 2))
    succeed(capsys, "matmul", "OUT", "x.npy", "--tensor-a", "mlp.experts.w1[4]", "-o", "y.npy", "-q")
    assert error(np.load("y.npy"), folder["mlp.experts.w1"][4] @ np.load("x.npy")) < 5e-3
    with nqz.open("OUT") as model:
        assert sorted(model) == sorted(folder)
        assert np.array_equal(
            model["mlp.experts.w1"].decode(), load_file("BACK/b.safetensors")["mlp.experts.w1"]
        )
    message = fail(capsys, 2, "decode", "OUT", "--tensor", "mlp.experts.w1[1]", "-o", "ONE")
    assert "which the index does not list; take all of 'mlp.experts.w1', or decode b.nqz by itself" in message


def folder_of_a_model(tensors):
    """A model of two files, with an index and a configuration."""
    path = Path("MODEL")
    path.mkdir()
    files = {name: "b.safetensors" if "experts" in name else "a.safetensors" for name in tensors}
    for file in set(files.values()):
        save_file({name: x for name, x in tensors.items() if files[name] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    (path / "config.json").write_text(json.dumps({"model_type": "mixtral"}))
    return path


def test_plans_and_summaries_count_tensors_and_list_slices(folder, capsys):
    options = ["-r", "4", "--rule", "*w1=split", "--tensor", "*weight", "--tensor", "*w1"]
    plan = json.loads(succeed(capsys, "encode", "m.safetensors", *options, "--dry-run", "--json").out)
    assert plan["totals"]["left_out"] == 1 and plan["totals"]["matrices"] == EXPERTS + 2
    result = succeed(capsys, "encode", "m.safetensors", *options)
    assert "1 tensor left out" in result.err
    assert abs(plan["totals"]["bytes"] - Path("m.nqz").stat().st_size) < 0.003 * plan["totals"]["bytes"] + 400
    whole = succeed(capsys, "encode", "m.safetensors", "-r", "4", "--rule", "*w1=split", "-f").err
    assert "left out" not in whole


@pytest.mark.parametrize(
    "options", ["--across size -r 3", "--error 0.02", "--max-bytes 40000", "-r 3 --across size:1"]
)
def test_slices_share_a_rate_as_other_matrices(folder, capsys, options):
    succeed(capsys, "encode", "m.safetensors", "--rule", "*w1=split", *options.split(), "-q")
    assert "mlp.experts.w1[0]" in listed(capsys, "m.nqz")
    assert succeed(capsys, "verify", "m.nqz", "--against", "m.safetensors").out.count(" ok") == EXPERTS + 3
    if "--max-bytes" in options:
        assert Path("m.nqz").stat().st_size <= 40000


def test_sensitivities_name_slices_or_their_tensor(folder, capsys):
    Path("s.json").write_text(json.dumps({"*": 1.0, "mlp.experts.w1": 4.0, "mlp.experts.w1[1]": 64.0}))
    succeed(capsys, "encode", "m.safetensors", "--rule", "*w1=split", "-r", "4", "--across", "s.json", "-q")
    rates = {name: found["rate_asked"] for name, found in listed(capsys, "m.nqz").items()}
    assert rates["mlp.experts.w1[1]"] == pytest.approx(rates["mlp.experts.w1[0]"] + 2, abs=0.05)
    assert rates["mlp.experts.w1[0]"] > rates["o.weight"] + 0.5


def test_sweep_takes_a_slice(folder, capsys):
    options = ["--tensor", "mlp.experts.w1[2]", "--axis", "1", "-r", "3", "--lattice", "z", "-o", "-"]
    found = json.loads(succeed(capsys, "sweep", "m.safetensors", *options).out)
    assert (found["matrix"]["tensor"], found["matrix"]["shape"]) == ("mlp.experts.w1[2]", [OUT, IN])
    assert "no tensor is called" in fail(capsys, 2, "sweep", "m.safetensors", "--tensor", "mlp.experts.w1[9]")


def test_a_tensor_of_more_dimensions_that_does_not_fit_is_told_of_its_slices(folder, capsys):
    np.save("x.npy", noise(IN, 7))
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-o", "whole.nqz", "-q")
    for side, files in (("a", ("whole.nqz", "x.npy")), ("b", ("x.npy", "whole.nqz"))):
        line = fail(capsys, 7, "matmul", *files, f"--tensor-{side}", "mlp.experts.w1", "-o", "p.npy")
        assert (
            "or encode 'mlp.experts.w1', which has 3 dimensions, with --rule 'mlp.experts.w1=split' (or"
            in line
        )
        assert line.endswith("to multiply one of its matrices, 'mlp.experts.w1[0]' and so on")
    assert "--rule" not in fail(capsys, 7, "matmul", "whole.nqz", "x.npy", "--tensor-a", "o.weight")
    with nqz.open("whole.nqz") as container, pytest.raises(nqz.OperandError) as caught:
        nqz.matmul(container["mlp.experts.w1"], np.load("x.npy"))
    assert "with rules={'mlp.experts.w1': 'split'} (or axis='auto', if" in str(caught.value)
