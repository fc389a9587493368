"""Searches by the workers of an executor: hits, error bars and what is certain are those of one process, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import nqz
from cli_tools import fail, succeed
from nqz.commands.elsewhere import search as search_elsewhere
from nqz.ground.errors import CorruptError, InputError, NqzError, OperandError, UsageError
from test_commands_sets import Elsewhere
from test_product_search import METRICS, clustered, same


@pytest.fixture(scope="module", autouse=True)
def many_panels():
    """Files of few vectors are of several panels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nqz.stages.panels.PANEL_ENTRIES", 64 * 128)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, many_panels):
    """Rows in a file, in a set of three parts, and queries; some rows occur twice, some are not worth their bits."""
    folder = tmp_path_factory.mktemp("search")
    x, q = clustered(64, 900, 40, 1)
    x[700:720] = x[100:120]
    x[5::50] *= 1e-4
    np.save(folder / "x.npy", x)
    np.save(folder / "q.npy", q)
    nqz.encode(folder / "x.npy", folder / "x.nqz", rate=3, axis=1)
    nqz.encode(folder / "q.npy", folder / "q.nqz", rate=6, axis=1)
    nqz.encode_set(folder / "x.npy", folder / "x.nqzset", rate=3, axis=1, parts=(1, 3))
    nqz.encode_set(folder / "x.npy", folder / "short.nqzset", rate=3, axis=1, parts=(2, 1))
    return folder


def searched(folder, *names, executor=None, queries="q.npy", **options):
    with pytest.warns(UserWarning, match="too quiet to be coded"):
        return nqz.topk([folder / name for name in names], folder / queries, executor=executor, **options)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("names", [["x.nqz"], ["x.nqzset"], ["x.nqz", "x.nqzset"]], ids=len)
def test_hits_are_those_of_one_process(folder, metric, names):
    executor = Elsewhere()
    whole = searched(folder, *names, k=5, metric=metric)
    assert same(whole, searched(folder, *names, k=5, metric=metric, executor=executor))
    assert executor.done >= 8 * len(names)
    assert whole.certain.any() == (metric != "cosine")  # what is not coded may be as like as can be
    if len(names) > 1:
        assert len(np.unique(whole.file)) == 4


def test_hits_do_not_depend_on_how_the_work_is_given_out(folder, monkeypatch):
    whole = searched(folder, "x.nqzset", k=7)
    monkeypatch.setattr(search_elsewhere, "_POINTS", 64 * 9)
    one = Elsewhere()
    one._max_workers = 1
    assert same(whole, searched(folder, "x.nqzset", k=7, executor=one))
    assert one.done == 30  # five batches, and three parts of 3 panels each, two of them at a time
    assert same(whole, searched(folder, "x.nqzset", k=7, executor=Elsewhere(), threads=2))
    every = searched(folder, "x.nqz", k=900)
    assert same(every, searched(folder, "x.nqz", k=900, executor=Elsewhere()))


def test_compressed_queries_and_arrays_in_memory_are_taken(folder):
    for queries in ("q.nqz", "q.npy"):
        whole = searched(folder, "x.nqz", queries=queries, k=5)
        assert same(whole, searched(folder, "x.nqz", queries=queries, k=5, executor=Elsewhere()))
    with pytest.warns(UserWarning, match="too quiet"):
        held = nqz.topk(folder / "x.nqz", np.load(folder / "q.npy"), 5, executor=Elsewhere())
    assert same(whole, held)


def test_ties_go_to_the_lower_index_and_cosines_are_as_certain(folder, tmp_path):
    x, q = clustered(64, 300, 5, 2)
    nqz.encode(x, tmp_path / "x.nqz", rate=6, axis=1)
    files = [tmp_path / "x.nqz"] * 3
    whole = nqz.topk(files[:1], q, 4, metric="cosine")
    assert whole.certain.any() and same(
        whole, nqz.topk(files[:1], q, 4, metric="cosine", executor=Elsewhere())
    )
    found = nqz.topk(files, q, 6, metric="cosine", executor=Elsewhere())
    assert same(found, nqz.topk(files, q, 6, metric="cosine"))
    assert np.array_equal(found.indices[:, :3], whole.indices[:, :1] + [0, 300, 600])


def test_exact_hits_and_what_they_read_are_the_same(folder):
    whole = nqz.topk(folder / "x.nqz", folder / "q.npy", 5, rerank=folder / "x.npy")
    found = nqz.topk(folder / "x.nqz", folder / "q.npy", 5, rerank=folder / "x.npy", executor=Elsewhere())
    assert same(whole, found) and whole.read == found.read > 0


def test_exact_hits_of_a_set_are_read_from_the_whole_or_from_its_parts(folder, tmp_path, capsys, monkeypatch):
    x, q, sizes = np.load(folder / "x.npy"), folder / "q.npy", (320, 320, 260)
    alone = nqz.topk(folder / "x.nqz", q, 5, rerank=folder / "x.npy")
    whole = nqz.topk(folder / "x.nqzset", q, 5, rerank=folder / "x.npy", executor=Elsewhere())
    assert np.array_equal(whole.indices, alone.indices) and np.array_equal(whole.scores, alone.scores)
    parts = np.split(x, np.cumsum(sizes)[:-1])
    for place, part in enumerate(parts):
        np.save(tmp_path / f"{place}.npy", part)
    paths = [tmp_path / f"{place}.npy" for place in range(3)]
    assert same(whole, nqz.topk(folder / "x.nqzset", q, 5, rerank=paths))
    both = nqz.topk([folder / "x.nqz", folder / "x.nqzset"], q, 5, rerank=[x, folder / "x.npy"])
    assert np.array_equal(both.scores[:, ::2][:, :2], alone.scores[:, :2])  # every vector is there twice
    monkeypatch.chdir(folder)
    succeed(
        capsys, "search", "x.nqzset", "q.npy", "-k", "5", "--rerank", "x.npy", "-o", "exact.npz", "-q", "-f"
    )
    assert np.array_equal(np.load("exact.npz")["scores"], whole.scores)
    with pytest.raises(
        OperandError, match=r"350 vectors of 64 entries, where .* and the other parts have 900 of 64"
    ):
        nqz.topk(folder / "x.nqzset", q, rerank=x[:350])
    with pytest.raises(OperandError, match=r"standard deviations from what .* says of it"):
        nqz.topk(folder / "x.nqzset", q, rerank=x[::-1])
    with pytest.raises(UsageError, match="2 originals for 3 containers"):
        nqz.topk(folder / "x.nqzset", q, rerank=paths[:2])


def test_parts_that_are_exchanged_are_noticed(folder, tmp_path, capsys):
    for path in [*folder.glob("x-*.nqz"), folder / "x.nqzset"]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first, second = sorted(tmp_path.glob("x-*.nqz"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(CorruptError, match="is not the file that the manifest has"):
        nqz.topk(tmp_path / "x.nqzset", folder / "q.npy")
    fail(capsys, 5, "search", str(tmp_path / "x.nqzset"), str(folder / "q.npy"))


def test_a_set_is_searched_part_by_part(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    whole = searched(folder, "x.nqzset", k=5)
    parts = sorted(path.name for path in folder.glob("x-*.nqz"))
    assert len(parts) == 3 and same(whole, searched(folder, *parts, k=5))
    assert sorted(np.unique(whole.file)) == [0, 1, 2]
    succeed(capsys, "search", "x.nqzset", "q.npy", "-k", "5", "-o", "hits.npz", "-q")
    assert np.array_equal(np.load("hits.npz")["indices"], whole.indices)
    assert "is a part set, of one matrix" in fail(
        capsys, 2, "search", "short.nqzset", "q.npy", "--tensor", "w"
    )


def test_what_workers_cannot_open_is_refused(folder):
    matrix, queries = nqz.open(folder / "x.nqz").matrix, folder / "q.npy"
    with pytest.raises(UsageError, match="is in memory, where the workers of an executor do not see it"):
        nqz.topk(matrix.operand(), queries, executor=Elsewhere())
    with pytest.raises(UsageError, match="read it by its path"):
        nqz.topk((folder / "x.nqz").read_bytes(), queries, executor=Elsewhere())


def test_a_worker_that_is_lost_or_finds_another_file_is_an_error(folder):
    with pytest.raises(NqzError, match=r"was lost, or failed \(RuntimeError: killed\)"):
        nqz.topk(folder / "x.nqz", folder / "q.npy", executor=Elsewhere(dies=3))

    class Other(Elsewhere):
        """Sees other bytes under the same name."""

        def submit(self, function, /, *arguments):
            tag, work, (job, threads) = arguments
            address = job.corpus.address._replace(digest=b"")
            other = job._replace(corpus=job.corpus._replace(address=address))
            return super().submit(function, tag, work, (other, threads))

    with pytest.raises(InputError, match="workers must see the same storage"):
        nqz.topk(folder / "x.nqz", folder / "q.npy", executor=Other())
