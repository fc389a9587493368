"""Several files as the parts of one thing: one rate, one error or one number of bytes for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from nqz.commands.encode import encode, encode_parts
from nqz.commands.options import EncodeOptions
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Sources of two files."""
    folder = tmp_path_factory.mktemp("parts")
    names = ("one", "two")
    for number, name in enumerate(names):
        tensors = {
            f"{name}.weight": RNG.standard_normal((96, 64 + 64 * number)).astype(np.float32),
            f"{name}.bias": np.arange(10, dtype=np.float32),
        }
        save_file(tensors, folder / f"{name}.safetensors")
    return [open_source(folder / f"{name}.safetensors") for name in names]


def encoded(sources, threads=1, **options):
    """Containers of some sources, and the report."""
    files = [bytearray() for _ in sources]
    report = encode_parts(
        sources, [MemoryAccess(f) for f in files], EncodeOptions(**options), Workers(threads)
    )
    return [bytes(f) for f in files], report


@pytest.mark.parametrize("options", [{"rate": 3}, {"error": 0.1}], ids=str)
def test_at_one_rate_parts_are_the_files_of_each_by_itself(parts, options):
    files, report = encoded(parts, threads=2, states=4, **options)
    for source, data in zip(parts, files, strict=True):
        alone = bytearray()
        encode(source, MemoryAccess(alone), EncodeOptions(states=4, **options), Workers(1))
        # all records of tensors; the manifest says that the parts belong together
        with nqz.open(data) as one, nqz.open(bytes(alone)) as other:
            first, second = one.reader, other.reader
            assert first.manifest._replace(part=None) == second.manifest
            assert first.manifest.part.parts == 2 and second.manifest.part is None
            end = max(record.end for index in range(2) for record in first.records(index))
        assert data[:end] == alone[:end] and len(alone) < len(data) <= len(alone) + 24
    assert report["files"] == [len(data) for data in files] and report["file_bytes"] == sum(report["files"])
    assert report["matrices"] == 2 and report["exact"] == 2 and report["entries"] == 96 * (64 + 128)


def test_a_number_of_bytes_is_that_of_all_parts_and_of_what_comes_with_them(parts):
    files, _ = encoded(parts, states=4, max_bytes=12_000, other_bytes=3000)
    assert 8500 < sum(map(len, files)) <= 9000


def test_a_pattern_takes_tensors_of_any_part(parts):
    _, report = encoded(parts, states=4, rate=3, tensors=["two.*"])
    assert (report["matrices"], report["exact"]) == (1, 1)
    with pytest.raises(UsageError, match=r"one\.safetensors and 1 more file: no tensor is called 'three'"):
        encoded(parts, rate=3, tensors=["two.*", "three"])


def rates(files):
    """Names and bits an entry of all matrices of some containers."""
    found = {}
    for data in files:
        with nqz.open(data) as container:
            for name, matrix in container.items():
                if isinstance(matrix, nqz.CompressedMatrix):
                    found[name] = matrix.rate
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two files of matrices of several sizes, and what is exact."""
    folder = tmp_path_factory.mktemp("model")
    shapes = {"emb.weight": (1200, 64), "a.weight": (96, 64), "b.weight": (320, 64), "tiny.weight": (3, 5)}
    tensors = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save_file({k: tensors[k] for k in ("a.weight", "tiny.weight")}, folder / "1.safetensors")
    save_file({k: tensors[k] for k in ("b.weight", "emb.weight")}, folder / "2.safetensors")
    return [open_source(folder / f"{i}.safetensors") for i in (1, 2)]


def total(report):
    """Bits an entry of all matrices."""
    return report["bits"] / report["entries"]


def test_large_matrices_get_less_and_the_total_is_that_asked_for(model):
    files, report = encoded(model, states=4, rate=3, across="size:1", axis=1)
    found = rates(files)
    assert 2.98 < total(report) <= 3
    assert found["a.weight"] - found["b.weight"] == pytest.approx(0.5 * np.log2(320 / 96), abs=0.03)
    assert found["b.weight"] - found["emb.weight"] == pytest.approx(0.5 * np.log2(1200 / 320), abs=0.03)


def test_rates_of_rules_count_and_the_rest_shares_what_remains(model):
    for across in ("uniform", "size"):
        files, report = encoded(model, states=4, rate=3, across=across, axis=1, rules=["b*=5", "a*=exact"])
        found = rates(files)
        assert found["b.weight"] == pytest.approx(5, abs=0.19)
        assert found.keys() == {"b.weight", "emb.weight"} and report["exact"] == 2
        assert found["emb.weight"] == pytest.approx((3 * 1520 - 5 * 320) / 1200, abs=0.05)


def test_where_nothing_remains_the_least_total_is_named(model):
    for across in ("uniform", "size"):
        with pytest.raises(UsageError, match="smallest feasible total is") as error:
            encoded(model, states=4, rate=2, across=across, axis=1, rules=["emb*=2.7"])
        least = float(str(error.value).split()[-1])
        assert encoded(model, states=4, rate=least, across=across, axis=1, rules=["emb*=2.7"])
        with pytest.raises(UsageError, match="smallest feasible total is"):
            encoded(model, states=4, rate=least - 0.01, across=across, axis=1, rules=["emb*=2.7"])


def test_sensitive_matrices_get_more(model):
    files, report = encoded(model, states=4, rate=3, axis=1, across={"*": 1, "[be]*": 4.0, "e*": 64.0})
    found = rates(files)
    assert found["b.weight"] - found["a.weight"] == pytest.approx(1 - 0.5 * np.log2(320 / 96), abs=0.03)
    assert found["emb.weight"] - found["b.weight"] == pytest.approx(2 - 0.5 * np.log2(1200 / 320), abs=0.03)
    assert total(report) <= 3
    with pytest.raises(UsageError, match=r"no sensitivity for tensor 'a.weight' and 2 more"):
        encoded(model, rate=3, across={"b*": 1.0})
    with pytest.raises(UsageError, match="no tensor is called 'x'"):
        encoded(model, rate=3, across={"x": 1.0, "*": 2.0})
    for wrong in (0.0, -1.0, float("nan"), "3", True, None):
        with pytest.raises(UsageError, match="sensitivity of 'a'"):
            encoded(model, rate=3, across={"a": wrong})


@pytest.mark.parametrize("across", ["size", "size:0.3", "size:1", {"*": 1.0, "b*": 3.0}], ids=str)
@pytest.mark.parametrize("rules", [(), ("b*=3.2",)], ids=str)
def test_an_error_bounds_the_mean(model, across, rules):
    files, _ = encoded(model, states=4, error=0.05, across=across, axis=1, rules=rules)
    errors, weights = [], []
    exponent = 0.8 if across == "size" else 1.0 if isinstance(across, dict) else float(across[5:])
    for data in files:
        with nqz.open(data) as container:
            for name, matrix in container.items():
                if isinstance(matrix, nqz.CompressedMatrix):
                    errors.append(matrix.predicted_error)
                    size = np.prod(matrix.shape) ** (1 - exponent)
                    weights.append(size if isinstance(across, str) else {"b.weight": 3.0}.get(name, 1.0))
    mean = np.average(errors, weights=weights)
    assert 0.95 * 0.05 <= mean <= 0.05
    assert max(errors) > 0.05


def test_an_error_that_rules_forbid_is_refused_with_the_least(model):
    with pytest.raises(
        UsageError, match=r"mean error of 0\.001 cannot be reached .* make it 0\.\d+ at least"
    ):
        encoded(model, states=4, error=0.001, across="size", axis=1, rules=["emb*=2"])


@pytest.mark.parametrize("options", [{}, {"across": "size"}, {"rules": ["b*=5"]}], ids=str)
def test_a_number_of_bytes_is_used_and_kept(model, options):
    files, _ = encoded(model, states=4, axis=1, max_bytes=40_000, other_bytes=1000, **options)
    assert 38_500 <= sum(map(len, files)) <= 39_000
    with pytest.raises(UsageError, match=r"does not fit into 1100 bytes; \d+ bytes are enough") as found:
        encoded(model, states=4, axis=1, max_bytes=1100, other_bytes=1000, **options)
    enough = int(str(found.value).split()[-4])
    files, _ = encoded(model, states=4, axis=1, max_bytes=enough, other_bytes=1000, **options)
    assert sum(map(len, files)) <= enough - 1000


@pytest.mark.parametrize("bits", [0.75, 3])
def test_small_matrices_are_not_ruined_to_save_a_few_hundred_bytes(tmp_path, bits):
    rng = np.random.default_rng(1)
    shapes = [(4, 16), (16, 16), (32, 32), (64, 8), (8, 1024), (4, 2048)]
    tensors = {f"{n}x{count}": rng.standard_normal((n, count)).astype(np.float32) for n, count in shapes}
    big = rng.standard_normal((1024, 1024)).astype(np.float32)
    save_file({"big": big, **tensors}, tmp_path / "m.safetensors")
    source, wanted = open_source(tmp_path / "m.safetensors"), int(bits * big.size / 8)
    (data,), _ = encoded([source], max_bytes=wanted)
    planned = nqz.encode(tmp_path / "m.safetensors", max_bytes=wanted, dry_run=True)
    assert 0.98 * wanted <= len(data) <= wanted
    with nqz.open(data) as model:
        errors = {name: model[name].predicted_error for name in (*tensors, "big")}
    assert all(errors[name] < 1.1 * errors["big"] for name in tensors), errors
    assert {one["name"]: one["error"] for one in planned["tensors"]} == pytest.approx(errors, rel=0.2)
    with nqz.open(nqz.encode(big, max_bytes=wanted)) as alone:  # what the others take is not missed
        assert errors["big"] < 1.12 * alone.matrix.predicted_error


def test_what_is_smaller_than_a_code_is_carried_exactly_unless_a_rule_codes_it(model):
    files, report = encoded(model, states=4, rate=3)
    assert report["exact"] == 1 and "tiny.weight" not in rates(files)
    assert "tiny.weight" in rates(encoded(model, states=4, rate=3, rules=["tiny*=coding:entropy"])[0])


def test_what_is_skipped_is_left_out(model):
    files, report = encoded(model, states=4, rate=3, rules=["*=skip", "a*=2"])
    assert rates(files).keys() == {"a.weight"} and report["matrices"] == 1 and report["exact"] == 0
    with pytest.raises(UsageError, match="every tensor is skipped"):
        encoded(model, rate=3, rules=["*=skip"])


def test_rules_and_sensitivities_need_names(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 4)))
    source = open_source(tmp_path / "x.npy")
    for options in ({"rules": ["*=2"]}, {"across": {"*": 1.0}}, {"axis": "auto"}):
        with pytest.raises(UsageError, match="one array without a name"):
            encoded([source], rate=3, **options)
