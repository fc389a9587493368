"""Every command that decodes reads every record, and acts on no size before the records for it are there."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, succeed
from coded_cases import rewritten, verified
from nqz.commands.decode import DecodeOptions, decode
from nqz.commands.inspect import inspect
from nqz.files.access import MemoryAccess
from nqz.files.source import array_source
from nqz.format.reader import ContainerReader
from nqz.ground.errors import CorruptError
from nqz.ground.threads import Workers

RNG = np.random.default_rng(31)
X = RNG.standard_normal((61, 90)) * np.exp(RNG.standard_normal(90)) + RNG.standard_normal(90)
Y = RNG.standard_normal((61, 7)) + 1.0
POOL = Workers(1)


def reader_of(data):
    return ContainerReader(MemoryAccess(memoryview(data).toreadonly(), "x.nqz"), "x.nqz")


def flipped(data, kind):
    """A bit of the last record of a type is another."""
    damaged = bytearray(data)
    damaged[reader_of(data).find(0, kind)[-1].offset + 18] ^= 4
    return bytes(damaged)


def lengthened(data, kind):
    """All records of a type have a byte too many, and right checksums."""
    return rewritten(data, lambda found, payload, _: payload + b"!" if found == kind else payload)


COMMANDS = {
    "decode": lambda data: decode(reader_of(data), MemoryAccess(bytearray()), DecodeOptions(), POOL),
    "verify": lambda data: verified(reader_of(data)),
    "verify against": lambda data: verified(reader_of(data), array_source(X)),
    "matmul left": lambda data: nqz.matmul(data, nqz.encode(Y, rate=4)),
    "matmul right": lambda data: nqz.matmul(nqz.encode(Y, rate=4), data),
    "matmul plain": lambda data: nqz.matmul(Y, data),
    "matmul itself": lambda data: nqz.matmul(data, data),
    "decode in Python": lambda data: nqz.open(data).matrix.decode(),
}


@pytest.fixture(autouse=True)
def cut_small(monkeypatch):
    monkeypatch.setattr("nqz.stages.panels.PANEL_ENTRIES", 61 * 40)


@pytest.mark.parametrize("damage", [flipped, lengthened])
@pytest.mark.parametrize("kind", ["NORM", "MEAN", "CHNK"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_record_is_read(command, kind, damage):
    data = nqz.encode(X, rate=2)
    COMMANDS[command](data)
    with pytest.raises(CorruptError, match=f"record {kind} at byte"):
        COMMANDS[command](damage(data, kind))


@pytest.mark.parametrize("damage", [flipped, lengthened])
@pytest.mark.parametrize("kind", ["NORM", "MEAN"])
def test_inspect_reads_norms_and_means(kind, damage):
    data = nqz.encode(X, rate=2)
    with pytest.raises(CorruptError, match=f"record {kind} at byte"):
        inspect(reader_of(damage(data, kind)))


@pytest.mark.parametrize("held", [1 << 26, 1])
@pytest.mark.parametrize("kind", ["NORM", "MEAN", "CHNK"])
def test_a_damaged_copy_is_not_taken_for_the_matrix(kind, held, monkeypatch):
    """The products of a matrix with itself need one side alone; damage of the other is found all the same."""
    monkeypatch.setattr("nqz.product.tiles.HELD", held)
    data = nqz.encode(X, rate=2)
    expected = nqz.matmul(data, bytes(data))
    for pair in ((data, flipped(data, kind)), (flipped(data, kind), data)):
        with pytest.raises(CorruptError, match=f"record {kind} at byte"):
            nqz.matmul(*pair)
    assert np.array_equal(nqz.matmul(data, rewritten(data)), expected)


class Untouched(MemoryAccess):
    """An output that nothing may be written to."""

    def __init__(self):
        super().__init__(bytearray(), "out")

    def pwrite(self, data, offset):
        raise AssertionError

    def truncate(self, size):
        raise AssertionError

    reserve = truncate


def test_nothing_is_reserved_for_what_the_file_does_not_have(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nqz.format.writer.check_order", lambda info, types: None)
    save_file({"ids": np.arange(90), "w": X.astype("f4")}, "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    model = (tmp_path / "m.nqz").read_bytes()
    assert [info.name for info in reader_of(model).manifest.tensors] == ["ids", "w"]
    single = nqz.encode(X.astype("f4"), rate=3)
    for data, problem in (
        (rewritten(model, shape=(1 << 59,)), "1 records EXCT, its size calls for 1099511627776"),
        (rewritten(single, shape=(61, 1 << 50)), "3 records NORM where its shape calls for 28147497671066"),
        (rewritten(single, lambda kind, payload, number: payload if number else None), "not in the order"),
    ):
        with pytest.raises(CorruptError, match=problem):
            decode(reader_of(data), Untouched(), DecodeOptions(dtype="float64"), POOL)
        with pytest.raises(CorruptError, match=problem):
            verified(reader_of(data))
        (tmp_path / "x.nqz").write_bytes(data)
        (tmp_path / "kept.safetensors").write_bytes(b"kept")
        assert problem in fail(capsys, 5, "decode", "x.nqz", "-o", "kept.safetensors", "-f", "--tensor", "*")
        assert (tmp_path / "kept.safetensors").read_bytes() == b"kept"


def test_parameters_are_checked_whatever_is_done():
    data = nqz.encode(X, rate=2)
    reader = reader_of(data)
    parameters = list(reader.manifest.tensors[0].parameters)
    parameters[2] = 62  # kept coordinates of 61
    reader.manifest = reader.manifest._replace(
        tensors=(reader.manifest.tensors[0]._replace(parameters=parameters),)
    )
    for work in (
        lambda: verified(reader),
        lambda: decode(reader, Untouched(), DecodeOptions(), POOL),
        lambda: inspect(reader),
    ):
        with pytest.raises(CorruptError, match="62 kept coordinates of 61"):
            work()
