"""``nqz search``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nqz
from cli_tools import fail, succeed
from model_tools import load
from test_product_search import best, clustered, truth


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with x.npy, of rows, x.nqz, queries q.npy and q.nqz, and a model of two matrices."""
    monkeypatch.chdir(tmp_path)
    x, q = clustered(64, 400, 6, 1)
    np.save("x.npy", x)
    np.save("q.npy", q)
    nqz.encode("x.npy", "x.nqz", rate=4, axis=1)
    nqz.encode("q.npy", "q.nqz", rate=6, axis=1)
    nqz.encode({"first": x, "second": x[:30]}, "both.nqz", rate=4, axis=1)
    return tmp_path


def test_hits_are_written_as_arrays(folder, capsys):
    done = succeed(capsys, "search", "x.nqz", "q.npy", "-k", "5", "-o", "hits.npz", "--metric", "L2")
    hits = nqz.topk("x.nqz", "q.npy", 5, metric="l2")
    found = np.load("hits.npz")
    assert sorted(found) == ["certain", "file", "indices", "scores", "sigma"]
    assert all(np.array_equal(found[name], getattr(hits, name)) for name in found)
    assert done.out == "" and "5 hits of 400 vectors for 6 queries: " in done.err
    succeed(capsys, "search", "x.nqz", "q.nqz", "-o", "hits.safetensors", "-q")
    assert load("hits.safetensors")[0]["indices"].dtype == np.int64


def test_a_table_shows_them_and_json_tells_them(folder, capsys):
    table = succeed(capsys, "search", "x.nqz", "q.npy", "-k", "2", "-q").out.splitlines()
    hits = nqz.topk("x.nqz", "q.npy", 2)
    assert table[0].split() == ["query", "hit", "index", "score", "sigma"] and len(table) == 2 + 12
    assert table[2].split()[:3] == ["0", "1", str(hits.indices[0, 0])]
    report = json.loads(succeed(capsys, "search", "x.nqz", "x.nqz", "q.npy", "-k", "3", "--json", "-q").out)
    assert report["shape"] == [6, 3] and report["files"] == ["x.nqz", "x.nqz"] and report["read"] is None
    first = report["queries"][0]["hits"]
    assert [hit["index"] for hit in first[:2]] == [hits.indices[0, 0], hits.indices[0, 0] + 400]  # a tie
    assert [hit["file"] for hit in first[:2]] == [0, 1] and first[0]["score"] == hits.scores[0, 0]
    both = succeed(capsys, "search", "x.nqz", "x.nqz", "q.npy", "-k", "1", "-q").out
    assert both.splitlines()[2].endswith("x.nqz")


def test_what_is_reranked_is_exact_and_says_what_it_read(folder, capsys):
    done = succeed(
        capsys,
        "search",
        "x.nqz",
        "q.npy",
        "-k",
        "4",
        "--rerank",
        "x.npy",
        "--risk",
        "1e-4",
        "-o",
        "h.npz",
        "--json",
    )
    report, (x, q) = json.loads(done.out), (np.load("x.npy"), np.load("q.npy"))
    assert np.array_equal(np.load("h.npz")["indices"], best(truth(x, q, "ip"), 4, "ip"))
    assert (
        6 <= report["read"] < 300
        and report["risk"] == 1e-4
        and report["certain"] == 4
        and "queries" not in report
    )
    assert f"exact, {report['read']} vectors of the original read" in done.err


def test_no_queries_have_no_hits(folder, capsys):
    np.save("none.npy", np.zeros((0, 64), np.float32))
    assert len(succeed(capsys, "search", "x.nqz", "none.npy", "-q").out.splitlines()) == 2
    report = json.loads(succeed(capsys, "search", "x.nqz", "none.npy", "--json", "-q").out)
    assert report["shape"] == [0, 10] and report["certain"] is None


@pytest.mark.parametrize(
    "line, code, message",
    [
        ("x.npy q.npy", 4, "compress it first"),
        ("x.nqz q.npy -k 0", 2, "0 hits (-k): at least 1"),
        ("x.nqz q.npy --risk 0.9", 2, "--risk 0.9: a probability above 0"),
        ("x.nqz q.npy --risk 0.1", 2, "--risk 0.1: is for exact hits, with --rerank"),
        (
            "x.nqz q.npy --axis-queries 0",
            7,
            "queries of 6 entries cannot be compared; the vectors are the columns",
        ),
        ("x.nqz q.nqz --axis-queries 1", 2, "--axis-queries: q.nqz is compressed"),
        ("x.nqz q.nqz --rerank x.npy", 7, "not compressed"),
        ("x.nqz q.npy --rerank x.npy --rerank x.npy", 2, "2 originals for 1 container"),
        ("x.nqz q.npy --rerank q.npy", 7, "6x64 where x.nqz is 400x64"),
        ("x.nqz x.nqz", 7, "the queries are the corpus itself"),
        ("both.nqz q.npy", 2, "holds 2 matrices, such as 'first'; choose one with --tensor"),
        ("both.nqz q.npy --tensor third", 2, "third"),
        ("x.nqz q.npy -o hits.npy", 2, "the suffix of the output must be .npz or .safetensors"),
        ("- -", 2, "standard input can be one of the inputs"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, capsys, line, code, message):
    assert message in fail(capsys, code, "search", *line.split())


def test_files_with_and_without_names_are_searched_together_and_empty_ones_add_nothing(folder, capsys):
    x, q = np.load("x.npy"), np.load("q.npy")
    np.save("empty.npy", np.zeros((0, 64), np.float32))
    nqz.encode("empty.npy", "empty.nqz", rate=4, axis=1)
    nqz.encode({"first": x}, "named.nqz", rate=4, axis=1)
    nqz.decode("named.nqz", "named.safetensors")
    line = [
        "search",
        "empty.nqz",
        "x.nqz",
        "both.nqz",
        "q.npy",
        "-k",
        "3",
        "--tensor",
        "second",
        "-o",
        "h.npz",
    ]
    succeed(capsys, *line)
    found = np.load("h.npz")
    assert set(found["file"].ravel()) <= {1, 2} and (found["indices"] < 430).all()
    assert np.array_equal(found["file"], np.where(found["indices"] < 400, 1, 2))
    both = nqz.topk([nqz.open("empty.nqz"), "x.nqz"], q, 3, rerank=["empty.npy", "x.npy"])
    assert np.array_equal(both.indices, best(truth(x, q, "ip"), 3, "ip")) and (both.file == 1).all()
    succeed(capsys, "search", "x.nqz", "q.npy", "--rerank", "named.safetensors", "-q", "--risk", "0.5")
    assert "holds no vectors to search" in fail(capsys, 7, "search", "empty.nqz", "q.npy")
