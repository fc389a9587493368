"""Every pair of the options of encode that concern several tensors: it works, or is refused with a message."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli_tools import MANY
from nqz.cli import run

OPTIONS = {
    "rate": ["-r", "3"],
    "error": ["--error", "0.1"],
    "max-bytes": ["--max-bytes", "20kB"],
    "size": ["--across", "size"],
    "sensitivities": ["--across", "{folder}/s.json"],
    "rule": ["--rule", "a*=2.9"],
    "rule axis": ["--rule", "*=axis:1"],
    "rule exact": ["--rule", "b.w*=exact"],
    "rule skip": ["--rule", "b.bias=skip"],
    "rule coding": ["--rule", "a*=coding:entropy"],
    "rule window": ["--rule", "a*=coding:trellis,window:12"],
    "tensor": ["--tensor", "a*", "--tensor", "b*"],
    "auto": ["--axis", "auto"],
    "axis": ["--axis", "1"],
    "dry": ["--dry-run"],
    "voronoi": ["--coding", "voronoi"],
    "trellis": ["--coding", "trellis"],
    "window": ["--window", "14"],
    "column": ["--allocate", "column"],
    "kappa": ["--kappa", "0.96"],
    "partner": ["--partner", "4"],
    "lattice": ["--lattice", "e8"],
    "states": ["--states", "4"],
    "center": ["--center"],
    "no center": ["--no-center"],
    "stdout": ["-o", "-"],
    "out-dir": ["--out-dir", "{folder}/out"],
    "json": ["--json"],
}
"""Options by what the table of refusals calls them."""

TARGETS = {"rate", "error", "max-bytes"}

REFUSED = {
    frozenset({"states", "lattice"}): "only the lattice conv has states",
    frozenset({"states", "voronoi"}): "only the lattice conv has states|needs one of",
    **{
        frozenset({trellis, other}): message
        for trellis in ("trellis", "rule window")
        for other, message in {
            "lattice": "the trellis coding has no lattice",
            "states": "the trellis coding has no lattice",
            "kappa": "the trellis coding keeps all coordinates",
            "column": "shares bits for the least error of the whole",
        }.items()
    },
    frozenset({"voronoi", "rule window"}): "the trellis coding has no lattice",
    frozenset({"stdout", "out-dir"}): "either -o, for one output, or --out-dir",
    frozenset({"stdout", "json"}): "standard output carries the result|written to a folder",
}
"""Pairs that do not go together, whatever the input."""

FOR_ARRAYS = {
    "sensitivities": "one array without a name",
    **dict.fromkeys(
        ("rule", "rule axis", "rule exact", "rule skip", "rule coding", "rule window"),
        "one array without a name",
    ),
    "auto": "one array without a name",
    "tensor": "no tensor is called",
}
"""What is refused for a .npy file."""

FOR_MODELS = {"stdout": "folder"}
"""What is refused for a folder."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs of every kind, and a file of sensitivities."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(5)
    first = {"a.weight": rng.standard_normal((64, 40)).astype(np.float32)}
    second = {"b.weight": rng.standard_normal((96, 40)).astype(np.float32), "b.bias": np.ones(9, np.float32)}
    save_file({**first, **second}, folder / "lone.safetensors")
    np.save(folder / "array.npy", rng.standard_normal((64, 80)).astype(np.float32))
    (folder / "model").mkdir()
    for number, tensors in enumerate((first, second), 1):
        save_file(tensors, folder / "model" / f"model-{number:05d}-of-00002.safetensors")
    files = {name: f"model-0000{1 + (name in second)}-of-00002.safetensors" for name in {**first, **second}}
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model" / "config.json").write_text("{}")
    (folder / "s.json").write_text(json.dumps({"*": 1.0, "a.weight": 4}))
    return folder


def expected(pair, source):
    """What the message of a refusal says; None for a pair that works."""
    pair = frozenset(pair)
    if len(pair & TARGETS) > 1:
        return "give only one of"
    if pair in REFUSED:
        return REFUSED[pair]
    if "window" in pair and "trellis" not in pair:
        return "only the trellis coding has one"
    if pair in ({"size", "sensitivities"}, {"auto", "axis"}, {"trellis", "voronoi"}):
        return None  # the last one counts
    alone = {"array.npy": FOR_ARRAYS, "model": {} if "dry" in pair else FOR_MODELS}.get(source, {})
    found = [message for name, message in alone.items() if name in pair]
    return "|".join(found) or None


@pytest.mark.parametrize("source", ["lone.safetensors", "array.npy", "model"])
@pytest.mark.parametrize("first", OPTIONS)
def test_a_pair_of_options_works_or_is_refused_with_a_message(folder, source, first, capfd):
    names = list(OPTIONS)
    for second in names[names.index(first) :: 1 if MANY else 3]:
        pair = {first, second}
        options = list(itertools.chain.from_iterable(OPTIONS[name] for name in sorted(pair)))
        if not pair & TARGETS:
            options += OPTIONS["rate"]
        if "voronoi" in pair and not pair & {"lattice", "states"}:
            options += OPTIONS["lattice"]
        if "stdout" not in pair and "out-dir" not in pair:
            options += ["-o", f"{folder}/out.nqz" if source != "model" else f"{folder}/result"]
        text = [option.format(folder=folder) for option in options]
        status = run(["encode", str(folder / source), "-f", "--no-progress", *text])
        _, error = capfd.readouterr()
        message = expected(pair, source)
        assert "Traceback" not in error
        if message is None:
            assert status == 0, (pair, error)
        else:
            assert status == 2 and re.search(message, error), (pair, status, error)


def test_several_inputs_are_planned_and_encoded_as_one(folder, capfd):
    files = [str(path) for path in sorted((folder / "model").glob("*.safetensors"))]
    more = ["-r", "3", "--across", "size", "--rule", "a*=3.2"]
    assert run(["encode", *files, *more, "--dry-run", "--json"]) == 0
    planned = json.loads(capfd.readouterr().out)["totals"]
    assert run(["encode", *files, *more, "-o", str(folder / "both"), "-f"]) == 0
    size = sum(path.stat().st_size for path in (folder / "both").glob("*.nqz"))
    assert abs(planned["bytes"] - size) <= 400 + 0.003 * size
    assert run(["encode", *files, *more, "--dry-run", "--out-dir", str(folder)]) == 2
    assert "one file or model at a time" in capfd.readouterr().err


@pytest.mark.parametrize("target", [["-r", "3"], ["--error", "0.1"], ["--max-bytes", "1MB"]], ids=" ".join)
@pytest.mark.parametrize("across", ["uniform", "size"])
def test_what_holds_no_matrix_is_carried_exactly(folder, target, across, capfd):
    arguments = ["encode", str(folder / "lone.safetensors"), "--rule", "*=exact", "--across", across, *target]
    assert run([*arguments, "-f", "-o", str(folder / "exact.nqz")]) == 0
    assert "0 of 3 tensors compressed" in capfd.readouterr().err
    assert run([*arguments, "--dry-run"]) == 0
    assert "0 of 3 tensors compressed" in capfd.readouterr().out
