"""Ranges of a matrix measured and coded in other processes: the file is that of `nqz encode`, byte for byte."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, pairwise

import numpy as np
import pytest

import nqz
from coded_cases import coded
from nqz.commands.code import code, probe
from nqz.commands.contents import manifest, task_of
from nqz.commands.encode_matrix import SideInformation, assemble, fixed_bytes
from nqz.commands.measure import grid, measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.options import EncodeOptions
from nqz.commands.rounded import rounded
from nqz.commands.sharing import target_of
from nqz.commands.treatment import treatments
from nqz.files.access import MemoryAccess
from nqz.files.opening import open_input
from nqz.files.source import array_source, open_source
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import InputError
from nqz.ground.threads import Workers
from nqz.plan.means import mean_digits
from nqz.plan.search import calibrated, header, plan, replan


@pytest.fixture(scope="module")
def processes():
    """Processes that share nothing with this one but the source on disk."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


def arrived(pickled):
    """What was pickled."""
    return pickle.loads(pickled)  # noqa: S301 - by this test


def travelled(value):
    """A value as it comes out of another process."""
    return arrived(pickle.dumps(value))


def records(*arguments):
    """What `code` yields, as a value that can go from process to process."""
    return list(code(*arguments))


def cuts(number, parts):
    """Ranges that cover 0 … number - 1."""
    edges = [number * part // parts for part in range(parts + 1)]
    return [(first, last) for first, last in pairwise(edges) if first < last]


def encode(source, options, executor):
    """The file, each step with no more than values: statistics of ranges, their sum, the plan, records of panels."""
    [tensor] = source.tensors
    task, target = task_of(source, tensor, options), target_of(tensor.entries, options)
    view = tensor.vectors(task.axis)
    jobs = [
        executor.submit(measure, view, task.center is not False, task.where, units)
        for units in cuts(grid(view).units, 3)
    ]
    first, *others = [job.result() for job in jobs]
    statistics, pool = sum(others, first), Workers(1)
    statistics = rounded(MeasuredMatrix(view, statistics, task.where), task, target, pool).statistics
    matrix = MeasuredMatrix(view, statistics, task.where)
    side = SideInformation.of(matrix, mean_digits(task, target, statistics), pool)
    data = bytearray()
    writer = ContainerWriter(MemoryAccess(data), manifest(source, treatments([source], options)[0]))
    writer.begin(0)
    target = target.with_fixed(fixed_bytes(task, statistics, target, side, writer))
    first_panel = partial(probe, matrix, pool)
    chosen, start = plan(task, statistics, target, first_panel), writer.mark()
    for attempt in count():
        final = calibrated(chosen, statistics, first_panel)
        p = final.parameters
        panels = [range(*found) for found in cuts(final.panels, 2)]
        coding = [executor.submit(records, matrix, p, found) for found in panels]
        writer.parameters = header(task, statistics, final).values()
        assemble(writer, *(job.result() for job in coding))
        again = replan(task, statistics, target, chosen, writer.projected_size(), attempt)
        if again is None:
            break
        writer.rollback(start)
        chosen = again
    size = writer.finish()
    return bytes(data[:size])


@pytest.fixture(scope="module")
def two_panels():
    """A matrix of two panels, some of its columns and rows quiet."""
    rng = np.random.default_rng(1)
    scale = rng.lognormal(0, 1, 4100).astype(np.float32)
    return (rng.standard_normal((4200, 4100), np.float32) * scale + 1).astype(np.float16)


@pytest.mark.parametrize(
    "order, axis, coding",
    [("C", 0, "entropy"), ("C", 1, "voronoi"), ("F", 0, "entropy"), ("F", 1, "voronoi")],
)
def test_a_file_made_in_pieces_is_the_one_made_at_once(tmp_path, processes, two_panels, order, axis, coding):
    """Vectors that are contiguous in the file, and such whose coordinates are."""
    np.save(tmp_path / "x.npy", np.asarray(two_panels, order=order))
    options = {"rate": 1.3, "axis": axis, "lattice": "e8", "coding": coding}
    with open_source(tmp_path / "x.npy") as source:
        pieces = encode(source, EncodeOptions(**options), processes)
    assert len(coded(pieces).panels) == 2
    assert pieces == nqz.encode(np.load(tmp_path / "x.npy"), **options)


@pytest.mark.parametrize(
    "options", [{"error": 0.05}, {"rate": 2.0, "center": False, "coding": "voronoi"}], ids=str
)
@pytest.mark.parametrize("shape", [(6, 200_003), (1_000_003, 2)], ids=str)
def test_very_many_vectors_and_very_long_ones_in_pieces(processes, shape, options):
    """Of an array in memory, which goes from process to process itself; columns of extreme magnitude."""
    x = np.random.default_rng(2).standard_normal(shape)
    x[:, 1] *= 1e125
    for array in (x, np.asfortranarray(x)):
        whole = nqz.encode(array, lattice="d4", **options)
        assert encode(array_source(array), EncodeOptions(lattice="d4", **options), processes) == whole


def test_tensors_are_pickled_by_their_address_or_by_their_bytes(tmp_path):
    x = np.random.default_rng(3).standard_normal((300, 200)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with open_source(tmp_path / "x.npy") as source:
        tensor = source.tensors[0]
        for axis in (0, 1):
            pickled = pickle.dumps(tensor.vectors(axis))
            assert len(pickled) < 1000
            found = measure(arrived(pickled), True, "x")
            again = measure(tensor.vectors(axis), True, "x")
            assert np.array_equal(found.held.codes, again.held.codes)
        data = np.concatenate([np.frombuffer(piece, np.uint8) for piece in travelled(tensor).pieces()])
    assert np.array_equal(data.view(np.float32).reshape(x.shape), x)
    [tensor] = travelled(array_source(x).tensors)
    assert np.array_equal(tensor.vectors(0).read(0, 200), x)


def test_a_file_that_has_changed_is_not_taken_for_the_pickled_one(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3, 4)))
    with open_source(path) as source:
        pickled = pickle.dumps(source.tensors[0])
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="not the file that it was"):
        arrived(pickled)
    path.unlink()
    with pytest.raises(InputError, match="cannot open"):
        arrived(pickled)


def test_what_has_no_address_is_not_pickled(tmp_path):
    with pytest.raises(TypeError, match="another process"):
        pickle.dumps(MemoryAccess(bytearray(8)))
    (tmp_path / "x").write_bytes(b"12345678")
    with (tmp_path / "x").open("rb") as file:
        access = open_input(file)
        assert travelled(access).size == 8


def test_values_between_the_steps_can_be_pickled():
    x = np.random.default_rng(4).standard_normal((50, 40)).astype(np.float32)
    source = array_source(x)
    options = EncodeOptions(rate=2.5, lattice="leech", coding="voronoi")
    task, target = task_of(source, source.tensors[0], options), target_of(source.tensors[0].entries, options)
    view = source.tensors[0].vectors(0)
    statistics = measure(view, True, "x")
    matrix = MeasuredMatrix(view, statistics, "x")
    first_panel = partial(probe, matrix, Workers(1))
    found = calibrated(plan(task, statistics, target, first_panel), statistics, first_panel)
    assert travelled((task, target, found)) == (task, target, found)
    assert records(travelled(matrix), found.parameters) == records(matrix, found.parameters)
