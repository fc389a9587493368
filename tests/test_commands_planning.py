"""The plan before the work: what it says is what encoding comes to, and nothing is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from nqz.cli import run
from nqz.commands.encode import encode_parts
from nqz.commands.options import EncodeOptions
from nqz.commands.planning import plan_parts
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(7)


def weights(*shape):
    """Columns and rows of several energies."""
    rows = np.exp(0.4 * RNG.standard_normal((shape[0], *[1] * (len(shape) - 1))))
    return (rows * (RNG.standard_normal(shape) + 0.1)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of a model and an array."""
    folder = tmp_path_factory.mktemp("plan")
    first = {
        "embed.weight": weights(2000, 96),
        "l.0.weight": weights(96, 96),
        "l.0.bias": np.ones(96, np.float32),
    }
    second = {"l.1.weight": weights(384, 96), "tiny": weights(3, 4), "ids": RNG.integers(0, 50, 40_000)}
    save_file(first, folder / "1.safetensors")
    save_file(second, folder / "2.safetensors")
    np.save(folder / "x.npy", weights(128, 300))
    return folder


CASES = [
    {"rate": 3},
    {"rate": 0.6},
    {"rate": 3, "across": "size", "axis": 1},
    {"rate": 2.5, "rules": ["emb*=2", "l.0*=exact"]},
    {"error": 0.05},
    {"error": 0.05, "across": "size:1", "axis": 1},
    {"error": 0.1, "across": "size", "rules": ["emb*=2.5"]},
    {"max_bytes": 70_000},
    {"max_bytes": 90_000, "across": "size", "axis": 1, "other_bytes": 20_000},
    {"rate": 3, "lattice": "e8", "coding": "voronoi", "axis": 1},
    {"error": 0.1, "lattice": "e8", "coding": "voronoi"},
    {"rate": 3, "allocate": "column", "center": False},
    {"rate": 1, "kappa": 0.5},
]


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("files", [("1.safetensors", "2.safetensors"), ("x.npy",)], ids=["model", "array"])
def test_what_is_planned_is_what_encoding_comes_to(folder, files, options):
    if files == ("x.npy",):
        options = {key: value for key, value in options.items() if key != "rules"}
        if "max_bytes" in options:
            options = {"max_bytes": 13_000}
    options = EncodeOptions(**{"states": 4, **options} if "lattice" not in options else options)
    sources, pool = [open_source(folder / name) for name in files], Workers(1)
    plan = plan_parts(sources, options, pool)
    written = [bytearray() for _ in sources]
    report = encode_parts(sources, [MemoryAccess(data) for data in written], options, pool)
    size, bound = report["file_bytes"] + options.other_bytes, 400 + 0.003 * report["file_bytes"]
    assert abs(plan.totals["bytes"] - size) <= bound
    planned = {one.name: one for one in plan.tensors}
    for data in written:
        with nqz.open(bytes(data)) as container:
            for name, tensor in container.items():
                one = planned[name]
                coded = isinstance(tensor, nqz.CompressedMatrix)
                assert one.kind == ("matrix" if coded else "exact")
                if coded:
                    assert one.error == pytest.approx(tensor.predicted_error, rel=0.1, abs=1e-3)
                    assert one.rate == pytest.approx(tensor.rate, rel=0.03, abs=0.02)


def test_the_mean_of_the_plan_is_that_asked_for(folder):
    sources = [open_source(folder / name) for name in ("1.safetensors", "2.safetensors")]
    for across, weighted in (
        ("uniform", "entries"),
        ("size:1", "each matrix alike"),
        ("size:0.6", "entries^0.4"),
    ):
        plan = plan_parts(sources, EncodeOptions(error=0.05, states=4, across=across), Workers(1))
        assert 0.048 <= plan.mean_error <= 0.05 and plan.weights == weighted


def test_what_encoding_refuses_is_refused_by_the_plan(folder):
    sources = [open_source(folder / "1.safetensors")]
    for options in ({"rate": 1, "rules": ["*=4"]}, {"max_bytes": 900}, {"error": 0.001, "rules": ["emb*=2"]}):
        with pytest.raises(UsageError) as planned:
            plan_parts(sources, EncodeOptions(**options), Workers(1))
        with pytest.raises(UsageError) as encoded:
            encode_parts(sources, [MemoryAccess(bytearray())], EncodeOptions(**options), Workers(1))
        assert str(planned.value)[:60] == str(encoded.value)[:60]


def test_a_dry_run_prints_a_table_and_writes_nothing(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = str(folder / "1.safetensors")
    rules = ["--rule", "l.0.w*=4,axis:1", "--rule", "*bias=skip"]
    assert run(["encode", source, "-r", "3", "--across", "size", *rules, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "l.0.w*=4,axis:1" in rows["l.0.weight"] and "skip" in rows["l.0.bias"]
    assert "matrix, embedding" in rows["embed.weight"] and "2 of 2 tensors compressed, 1 left out" in out
    assert not err and list(tmp_path.iterdir()) == []


def test_a_dry_run_as_json(folder, capsys):
    assert (
        run(["encode", str(folder / "1.safetensors"), "-r", "3", "--tensor", "l*", "--dry-run", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["tensors"]] == ["l.0.bias", "l.0.weight"]
    assert found["totals"]["left_out"] == 1 and found["totals"]["entries"] == 96 * 96
    assert found["files"] == [{"name": "1.nqz", "bytes": found["totals"]["bytes"]}]


def test_the_plan_of_small_matrices_is_that_of_the_file(tmp_path):
    shapes = [(3, 3), (1, 5), (8, 128), (128, 8), (2, 448), (64, 64), (200, 300)]
    tensors = {f"t{number}": weights(*shape) for number, shape in enumerate(shapes)}
    save_file({**tensors, "half": weights(3, 3).astype(np.float16)}, tmp_path / "x.safetensors")
    source, pool = open_source(tmp_path / "x.safetensors"), Workers(1)
    rules = [
        ["t*=coding:entropy", "half=coding:entropy"],
        ["t*=2", "half=2"],
        ["t[23]=4", "t[016]=coding:entropy"],
    ]
    for asked in [{"rate": 4}, {"rate": 0.5}, {"error": 0.05}]:
        for given in rules[: 1 if "error" in asked or asked["rate"] == 0.5 else 3]:
            for axis in (0, 1):
                options = EncodeOptions(rules=given, axis=axis, states=4, **asked)
                plan, data = plan_parts([source], options, pool), bytearray()
                encode_parts([source], [MemoryAccess(data)], options, pool)
                assert plan.totals["bytes"] == len(data)
                with nqz.open(bytes(data)) as container:
                    coded = {one.name: container[one.name] for one in plan.matrices}
                    assert len(coded) > 4
                    for one in plan.matrices:
                        assert one.error == pytest.approx(coded[one.name].predicted_error, rel=1e-9)
                        assert one.rate == pytest.approx(coded[one.name].rate, rel=1e-9)


def test_the_plan_of_a_small_array_is_that_of_its_file(tmp_path):
    for shape in ((3, 3), (40, 7)):
        np.save(tmp_path / "x.npy", weights(*shape).astype(np.float16))
        source, data = open_source(tmp_path / "x.npy"), bytearray()
        plan = plan_parts([source], EncodeOptions(rate=2), Workers(1))
        encode_parts([source], [MemoryAccess(data)], EncodeOptions(rate=2), Workers(1))
        with nqz.open(bytes(data)) as container:
            assert plan.tensors[0].error == pytest.approx(container[""].predicted_error, rel=1e-9)
        assert plan.totals["bytes"] == len(data)


def test_text_and_json_of_a_folder_say_what_its_files_will_have(folder, tmp_path, capsys):
    model, out = tmp_path / "m", tmp_path / "out"
    model.mkdir()
    tensors = [{"a.weight": weights(96, 64), "b": np.ones(9, np.float32)}, {"c.weight": weights(64, 64)}]
    for name, part in zip("12", tensors, strict=True):
        save_file(part, model / f"{name}.safetensors")
    places = {
        name: f"{number}.safetensors" for number, part in zip("12", tensors, strict=True) for name in part
    }
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (model / "notes.txt").write_text("x" * 77)
    for more, names in (([], ["1.nqz", "2.nqz"]), (["--tensor", "a*"], ["1.nqz"])):
        arguments = ["encode", str(model), "-r", "3", *more]
        assert run([*arguments, "--dry-run", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert run([*arguments, "--dry-run"]) == 0
        text = capsys.readouterr().out
        assert run([*arguments, "-q", "-f", "-o", str(out)]) == 0
        sizes = {path.name: path.stat().st_size for path in out.iterdir() if path.name != ".nqz-wrote"}
        assert found["files"] == [{"name": name, "bytes": sizes[name]} for name in names]
        total = found["totals"]
        assert total["bytes"] == sum(sizes.values()) and f" {total['bytes']} bytes (" in text
        assert total["source_bytes"] == 4 * (96 * 64 + (0 if more else 9 + 64 * 64))
        assert f"{total['smaller']:.1f}x smaller" in text


def test_slices_are_planned_one_by_one_and_count_as_one_tensor(tmp_path, capsys):
    tensors = {"mlp.experts.up_proj": weights(3, 64, 64), "a.weight": weights(96, 64), "b.bias": weights(64)}
    save_file(tensors, tmp_path / "moe.safetensors")
    source = str(tmp_path / "moe.safetensors")
    options = ["-r", "3", "--axis", "auto", "--across", "size", "--rule", "*up_proj[[]1]=4"]
    assert run(["encode", source, *options, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in found["tensors"]} >= {f"mlp.experts.up_proj[{i}]" for i in range(3)}
    assert found["totals"]["left_out"] == 0
    assert run(["encode", source, *options, "-o", str(tmp_path / "o.nqz")]) == 0
    assert "left out" not in capsys.readouterr().err
    assert abs((tmp_path / "o.nqz").stat().st_size - found["totals"]["bytes"]) <= 400
    assert run(["encode", source, "-r", "3", "--tensor", "a*", "-o", str(tmp_path / "a.nqz")]) == 0
    assert "2 tensors left out" in capsys.readouterr().err


def test_a_number_of_bytes_for_many_small_matrices_is_used_and_planned(tmp_path):
    rng = np.random.default_rng(2)
    shapes = rng.integers(2, 60, (16, 2)).tolist()
    tensors = {str(i): rng.standard_normal(shape).astype(np.float32) for i, shape in enumerate(shapes)}
    save_file(tensors, tmp_path / "x.safetensors")
    source, entries = open_source(tmp_path / "x.safetensors"), sum(x.size for x in tensors.values())
    options = EncodeOptions(states=4, max_bytes=entries + 4000)
    data, plan = bytearray(), plan_parts([source], options, Workers(1))
    encode_parts([source], [MemoryAccess(data)], options, Workers(1))
    assert 0.985 * options.max_bytes <= len(data) <= options.max_bytes
    assert abs(plan.totals["bytes"] - len(data)) <= 400 + 0.003 * len(data)
