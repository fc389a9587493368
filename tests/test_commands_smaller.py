"""A tensor is carried exactly where that takes no more than its code, and coded where it takes more."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from nqz.commands.encode import encode_parts
from nqz.commands.options import EncodeOptions
from nqz.commands.planning import plan_parts
from nqz.commands.smaller import exact_lengths
from nqz.files.access import MemoryAccess
from nqz.files.source import open_source
from nqz.format.exct import exact_pieces
from nqz.format.msgpack import pack
from nqz.format.records import framed
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(29)


def encoded(source, threads=1, **options):
    """A container of a source, and the report."""
    data = bytearray()
    report = encode_parts(
        [source], [MemoryAccess(data)], EncodeOptions(states=4, **options), Workers(threads)
    )
    return bytes(data), report


def sizes(data):
    """Kind and bytes of each tensor of a container: of its records, and of its parameters."""
    with nqz.open(data) as file:
        return {
            t.name: (
                t.kind,
                framed(*(record.length for record in file.reader.records(number)))
                + (0 if t.parameters is None else len(pack(t.parameters))),
            )
            for number, t in enumerate(file.reader.manifest.tensors)
        }


def opened(tmp_path, tensors):
    """The source of some tensors."""
    save_file(tensors, tmp_path / "m.safetensors")
    return open_source(tmp_path / "m.safetensors")


def several():
    """Tensors of many shapes that compress well or not at all."""
    found = {}
    for rows, columns in [(1, 1), (3, 5), (2, 200), (200, 2), (17, 15), (64, 40), (150, 100)]:
        noise = RNG.standard_normal((rows, columns))
        kinds = {
            "noise": noise,
            "constant": np.full((rows, columns), 1.5),
            "zero": np.zeros((rows, columns)),
            "rows": np.repeat(noise[:1], rows, axis=0),
            "sparse": np.where(RNG.random((rows, columns)) < 0.02, noise, 0.0),
            "integers": np.floor(20.0 * noise),
        }
        for name, x in kinds.items():
            kind = (np.float32, np.float16)[len(found) % 2]
            found[f"{name}{rows}x{columns}{np.dtype(kind).char}"] = x.astype(kind)
    return found


ASKED = [{"rate": 0.5}, {"rate": 3}, {"rate": 12}, {"error": 0.1}, {"error": 1e-6}]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_every_tensor_takes_the_form_that_is_smaller(tmp_path, asked):
    source = opened(tmp_path, several())
    (data, report), (coded, _) = (
        encoded(source, **asked),
        encoded(source, rules=["*=coding:entropy"], **asked),
    )
    found, code = sizes(data), sizes(coded)
    exact = {t.name: framed(*map(len, exact_pieces(t.pieces()))) for t in source.tensors}
    for name, (kind, size) in found.items():
        assert (kind == "exact") == (exact[name] <= code[name][1]), (name, exact[name], code[name])
        assert size == min(exact[name], code[name][1]), name
    assert {"exact", "matrix"} == {kind for kind, _ in found.values()}
    assert report["carried"] == [name for name, (kind, _) in found.items() if kind == "exact"]
    plan = plan_parts([source], EncodeOptions(states=4, **asked), Workers(1))
    assert {one.name: (one.kind, one.nbytes) for one in plan.tensors} == found
    assert plan.totals["bytes"] == len(data)


def test_large_tensors_that_are_only_partly_noise_take_the_smaller_form(tmp_path):
    count = 3 << 19
    noise, place = RNG.standard_normal((2048, 768)).astype(np.float32), np.arange(count).reshape(2048, 768)
    tensors = {
        "noise": noise,
        "noise_first": np.where(place < count // 20, noise, 0),
        "noise_last": np.where(place > count - count // 20, noise, 0),
        "noise_twice": np.tile(noise[:64], (32, 1)),
    }
    source = opened(tmp_path, {name: x.astype(np.float32) for name, x in tensors.items()})
    data, _ = encoded(source, rate=2)
    assert encoded(source, threads=3, rate=2)[0] == data
    found, code = sizes(data), sizes(encoded(source, rate=2, rules=["*=coding:entropy"])[0])
    exact = {t.name: framed(*map(len, exact_pieces(t.pieces()))) for t in source.tensors}
    assert {name: size for name, (_, size) in found.items()} == {
        name: min(exact[name], size) for name, (_, size) in code.items()
    }
    assert {name for name, (kind, _) in found.items() if kind == "matrix"} == {"noise"}
    plan = plan_parts([source], EncodeOptions(states=4, rate=2), Workers(1))
    assert {one.name: one.kind for one in plan.tensors} == {name: kind for name, (kind, _) in found.items()}
    with nqz.open(data) as model:
        np.testing.assert_array_equal(model["noise_twice"].decode(), tensors["noise_twice"])


def test_no_more_of_a_tensor_is_compressed_than_tells_that_it_is_larger(tmp_path):
    (tensor,) = opened(tmp_path, {"x": RNG.standard_normal((4096, 512)).astype(np.float32)}).tensors
    exact, read = framed(*map(len, exact_pieces(tensor.pieces()))), []
    assert framed(*exact_lengths(tensor, exact, Workers(1))) == exact
    assert exact_lengths(tensor, exact - 1, Workers(1)) is None
    real = tensor.read
    tensor.read = lambda start, size: (read.append(size), real(start, size))[1]
    assert exact_lengths(tensor, tensor.nbytes // 8, Workers(1)) is None
    assert sum(read) < 0.25 * tensor.nbytes


def test_what_exact_tensors_leave_of_a_number_of_bytes_is_for_the_others(tmp_path):
    noise = RNG.standard_normal((256, 256)).astype(np.float32)
    corner = np.zeros((2048, 1024), np.float32)
    corner[:32, :32] = noise[:32, :32]
    source = opened(tmp_path, {"noise": noise, "corner": corner})
    for across in ("uniform", "size"):
        for wanted in (12_000, 40_000):  # codes at the least rate would not fit into the first
            options = {"max_bytes": wanted, "across": across, "states": 4}
            data, _ = encoded(source, max_bytes=wanted, across=across)
            assert 0.985 * wanted <= len(data) <= wanted
            plan = plan_parts([source], EncodeOptions(**options), Workers(1))
            assert abs(plan.totals["bytes"] - len(data)) <= 400 + 0.003 * len(data)
            assert {one.name: one.kind for one in plan.tensors} == {"noise": "matrix", "corner": "exact"}
            with pytest.raises(UsageError, match="are enough") as refused:
                encoded(source, max_bytes=1000, across=across)
            enough = int(str(refused.value).split()[-4])
            assert enough < 8000 and len(encoded(source, max_bytes=enough, across=across)[0]) <= enough


@pytest.mark.parametrize("asked", [{"rate": 3}, {"error": 0.02}], ids=str)
def test_what_is_shared_is_shared_by_what_is_coded(tmp_path, asked):
    noise = {str(n): RNG.standard_normal((n, 64)).astype(np.float32) for n in (96, 320, 1200)}
    source = opened(tmp_path, {**noise, "zero": np.zeros((2048, 256), np.float32)})
    data, report = encoded(source, across="size:1", axis=1, **asked)
    (tmp_path / "without").mkdir()
    without, _ = encoded(opened(tmp_path / "without", noise), across="size:1", axis=1, **asked)
    found = sizes(data)
    assert found.pop("zero")[0] == "exact" and found == sizes(without)
    assert report["matrices"] == 3 and report["carried"] == ["zero"]


def test_tensors_that_are_one_are_carried_once(tmp_path):
    zero = np.zeros((256, 256), np.float32)
    data, report = encoded(opened(tmp_path, {"a": zero, "b": zero, "c": np.eye(64, 65, dtype="f4")}), rate=2)
    with nqz.open(data) as model:
        infos = model.reader.manifest.tensors
        assert [t.kind for t in infos] == ["exact"] * 3 and infos[1].same_as == 0
        np.testing.assert_array_equal(model["b"].decode(), zero)
    assert report["exact"] == 2 and report["matrices"] == 0


def test_a_tensor_by_itself_is_coded_whatever_it_takes(tmp_path):
    few = np.ones((3, 3), np.float32)
    for x in (few, np.zeros((64, 64), np.float32)):
        data = nqz.encode(x, rate=12)
        np.testing.assert_array_equal(nqz.matmul(data, data), x.T @ x)
    source = opened(tmp_path, {"few": few, "other": few[:2]})
    assert sizes(encoded(source, rate=12, tensors=["few"])[0])["few"][0] == "matrix"
    assert {kind for kind, _ in sizes(encoded(source, rate=12)[0]).values()} == {"exact"}
