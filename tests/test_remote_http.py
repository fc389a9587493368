"""Objects of servers for http: how many requests they take, and what is made of connections that break."""

from __future__ import annotations

import io
import json
import multiprocessing
import threading
import time
import warnings

import numpy as np
import pytest

import nqz
from cli_tools import fail, matrix, succeed
from model_tools import INDEX, make_model
from nqz.files.access import MemoryAccess
from nqz.files.opening import open_input
from nqz.files.remote import access, held, trouble, upload
from nqz.files.source import open_source
from nqz.format.part_set import PartEntry, PartSet, settings
from nqz.format.reader import ContainerReader
from nqz.format.records import seal
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import InputError
from nqz.matrix import open_matrix
from remote_server import serving

ARRAY = matrix(700, 900)
DATA = nqz.encode(ARRAY, rate=6)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(trouble, "PAUSES", (0.0, 0.0, 0.0))
    with serving() as found:
        found.files["w.nqz"] = DATA
        yield found


def npy(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def many_chunks(count: int) -> bytes:
    """A container of many matrices of a chunk each."""
    with nqz.open(nqz.encode(matrix(40, 30), rate=4)) as one:
        [reader] = one.collection.contents
        records = [seal(record.type, reader.read(record)) for record in reader.records(0)]
        info = reader.manifest.tensors[0]
        tensors = tuple(info._replace(name=f"w{i}", parameters=None) for i in range(count))
        data = bytearray()
        writer = ContainerWriter(
            MemoryAccess(data), reader.manifest._replace(tensors=tensors, source="safetensors")
        )
        for i in range(count):
            writer.begin(i)
            writer.parameters = info.parameters
            for record in records:
                writer.add(record)
    writer.finish()
    return bytes(data)


def test_a_file_of_ten_thousand_chunks_is_opened_in_few_requests_and_a_column_is_read_in_three_more(server):
    server.files["many.nqz"] = many_chunks(10_000)
    with nqz.open(server.url("many.nqz")) as container:
        assert len(server.requests) <= 5  # 12 are promised
        assert sum(size for _, _, size in server.requests) < 0.3 * len(server.files["many.nqz"])
        before = len(server.requests)
        column = container["w5000"][:, 3]
        assert len(server.requests) - before <= 3
    assert np.array_equal(column, nqz.decode(nqz.encode(matrix(40, 30), rate=4))[:, 3])


def test_a_column_is_read_without_the_rest(server):
    server.files["large.nqz"] = nqz.encode(matrix(2048, 2048), rate=6)
    with nqz.open(server.url("large.nqz")) as container:
        opened = len(server.requests)
        container.matrix[:, 1000]
        assert opened <= 3 and len(server.requests) - opened <= 3
        assert sum(size for _, _, size in server.requests) < 0.6 * len(server.files["large.nqz"])


def test_what_is_read_from_end_to_end_is_fetched_ahead_and_once(server):
    data = np.random.default_rng(0).bytes(30_000_000)
    server.files["x"] = data
    access = open_input(server.url("x"))
    found = bytearray(len(data))
    for start in range(0, len(data), 300_000):
        access.pread_into(memoryview(found)[start : start + 300_000], start)
    assert found == data
    assert sum(size for _, _, size in server.requests) == len(data)
    assert len(server.requests) < 30 and server.most_at_once > 1


@pytest.mark.parametrize("threads", [1, 4])
def test_ranges_are_read_right_in_any_order_by_any_thread(server, monkeypatch, threads):
    monkeypatch.setattr(held, "MOST", 400_000)
    rng = np.random.default_rng(threads)
    data = rng.bytes(3_000_000)
    server.files["x"] = data
    access = open_input(server.url("x"))
    wrong = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            start = int(rng.integers(0, len(data)))
            length = min(int(rng.choice([1, 100, 70_000, 300_000])), len(data) - start)
            if rng.random() < 0.2:
                access.prefetch([(start, length), (max(0, start - 50_000), 10_000)])
            buffer = bytearray(length)
            access.pread_into(buffer, start)
            if buffer != data[start : start + length]:
                wrong.append((start, length))

    workers = [threading.Thread(target=read, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    with pytest.raises(InputError, match="ends at byte 3000000, 1 byte short"):
        access.pread_into(bytearray(10), len(data) - 9)
    access.close()
    with pytest.raises(InputError, match="is closed"):
        access.pread_into(bytearray(1), 0)


def test_sources_are_encoded_to_the_same_bytes_as_files(server):
    server.files["w.npy"] = npy(ARRAY)
    server.files["f.npy"] = npy(np.asfortranarray(ARRAY))
    assert nqz.encode(server.url("w.npy"), rate=6) == DATA
    assert (
        nqz.encode(server.url("f.npy"), rate=6)[-40:]
        == nqz.encode(npy(np.asfortranarray(ARRAY)), rate=6)[-40:]
    )


def test_rows_of_which_a_panel_has_a_piece_are_not_asked_for_one_by_one(server):
    # 24 MB, of which a vector has 4 bytes in every row of 200 kB; panels are made small
    rows, count = 120, 50_000
    array = np.random.default_rng(0).standard_normal((rows, count)).astype(np.float32)
    data = server.files["x.npy"] = npy(array)
    source = open_source(server.url("x.npy"))
    view = source.tensors[0].vectors(0)
    before = len(server.requests)
    for width in (10_000, 40_000):  # by a band, and by rows
        found = np.concatenate([view.read(i, min(i + width, count)) for i in range(0, count, width)], axis=1)
        assert np.array_equal(found, array)
    assert len(server.requests) - before < 5 * rows
    assert sum(size for _, _, size in server.requests) < 2.6 * len(data)


def test_a_connection_that_breaks_is_tried_again(server):
    server.breaks = lambda number: number % 3 == 0
    server.status = {1: 503, 4: 429}
    with nqz.open(server.url("w.nqz")) as container:
        assert np.array_equal(container.matrix.decode(), nqz.decode(DATA))


def test_a_connection_that_always_breaks_is_an_error_of_the_input(server, capsys, tmp_path):
    server.breaks = lambda number: number > 1
    text = fail(capsys, 3, "decode", server.url("w.nqz"), "-o", tmp_path / "w.npy")
    assert "the connection breaks (tried 4 times)" in text and "w.nqz: cannot read bytes" in text
    assert not any(tmp_path.iterdir())
    tried = len(server.requests)
    server.status = dict.fromkeys(range(1000), 503)
    text = fail(capsys, 3, "inspect", server.url("w.nqz"))
    assert "w.nqz: cannot open: the server answers 503" in text and len(server.requests) == tried + 4


def test_what_is_refused_is_not_tried_again(server, capsys):
    assert "w.npy: cannot open: no such object" in fail(capsys, 3, "inspect", server.url("w.npy"))
    server.status = {1: 403}
    assert "cannot open: the server answers 403" in fail(capsys, 3, "inspect", server.url("w.nqz"))
    assert len(server.requests) == 2


def test_a_server_without_ranges_is_said_and_the_file_is_copied_first(server, capsys, tmp_path):
    server.ranges = False
    result = succeed(capsys, "decode", server.url("w.nqz?token=hidden"), "-o", tmp_path / "w.npy")
    assert "note: " + server.url("w.nqz: the server gives no ranges of bytes") in result.err
    assert "hidden" not in result.err
    assert np.array_equal(np.load(tmp_path / "w.npy"), nqz.decode(DATA))
    server.breaks = lambda number: number % 2 == 0  # the copy begins anew
    with pytest.warns(UserWarning, match="no ranges"):
        assert np.array_equal(nqz.decode(server.url("w.nqz")), nqz.decode(DATA))


@pytest.mark.parametrize("tagged", [False, True])
def test_a_file_that_changes_while_it_is_read_is_noticed(server, capsys, tmp_path, tagged):
    server.tag = '"first"' if tagged else None

    def change(number):
        if number == 1:
            if tagged:
                server.tag = '"second"'
            else:
                server.files["w.nqz"] += b"more"
        return False

    server.breaks = change
    text = fail(capsys, 3, "decode", server.url("w.nqz"), "-o", tmp_path / "w.npy")
    assert "changed while it was being read" in text
    assert not any(tmp_path.iterdir())


def part(said: str, status: int = 206, **more: str):
    """Odd answers to every request: what was asked for, with another Content-Range."""

    def odd(number, asked):
        start, stop = map(int, asked.removeprefix("bytes=").split("-"))
        return status, {"Content-Range": said, **more}, DATA[start : stop + 1]

    return odd


@pytest.mark.filterwarnings("ignore:.*gives no ranges")
@pytest.mark.parametrize("odd", [
    part("bytes 0-65535/" + "9" * 30), part("bytes 0-65535/" + "9" * 5000), part("bytes 0-65535/-5"),
    part("bytes 0-65535/*"), part("bytes 1-65536/1000000"), part("bytes 0-65535/0"), part("lines 0-1/2"),
    lambda number, asked: (204, {}, b""),
])  # fmt: skip
def test_a_server_whose_ranges_make_no_sense_is_read_as_a_whole(server, odd):
    server.odd = lambda number, asked: None if asked is None else odd(number, asked)
    with nqz.open(server.url("w.nqz")) as container:
        assert container[""].shape == (700, 900)


@pytest.mark.parametrize("status, headers, said, requests", [
    (302, {"Location": "/w.nqz"}, "redirects without end", 10),
    (302, {"Location": "file:///etc/passwd"}, "redirects to what is no address for http", 1),
    (302, {"Location": "http://u:pa55@[::x/y?sig=pa55"}, "redirects to what is no address", 1),
    (416, {"Content-Range": "bytes */500"}, "the server answers 416", 1),
    (206, {"X": "y" * 10000}, "is not http, or too long", 1),
    (503, {"Retry-After": "soon"}, "the server answers 503 Service Unavailable (tried 4 times)", 4),
])  # fmt: skip
def test_answers_that_lead_nowhere_are_told_in_words(server, capsys, status, headers, said, requests):
    server.odd = lambda number, asked: (status, headers, b"")
    text = fail(capsys, 3, "inspect", server.url("w.nqz"))
    assert text.startswith(f"{server.url('w.nqz')}: cannot open: ") and said in text and "pa55" not in text
    assert len(server.requests) == requests


def test_a_server_that_is_busy_is_asked_again_when_it_says(server, monkeypatch):
    monkeypatch.setattr(trouble, "LONGEST", 0.25)
    server.odd = lambda number, asked: (429, {"Retry-After": "3600"}, b"") if number == 0 else None
    before = time.monotonic()
    with nqz.open(server.url("w.nqz")) as container:
        assert container[""].shape == (700, 900)
    assert 0.25 <= time.monotonic() - before < 3.0


def test_a_size_beyond_all_objects_is_refused(server, monkeypatch, capsys):
    monkeypatch.setattr(access, "_LARGEST", 1000)
    assert "says that it has" in fail(capsys, 3, "inspect", server.url("w.nqz"))


def test_parts_of_a_set_are_asked_for_by_their_names_and_nothing_else(server, tmp_path, capsys):
    data = DATA
    with nqz.open(data) as one:
        digest, plan = (
            one.collection.contents[0].digest.hex(),
            settings(open_matrix(one.collection.contents[0], 0).parameters),
        )

    def made(name):
        return PartSet(0, "float32", (700,), (900,), plan, (PartEntry(name, len(data), digest),)).pack()

    server.files.update({"d/a.nqzset": made("..%2fw?x=1.nqz"), "d/..%2fw?x=1.nqz": data})
    server.files["d/b.nqzset"] = made("w.nqz::memory:")
    text = fail(capsys, 3, "verify", server.url("d/a.nqzset"))
    assert "its part http" in text and "no such object" in text
    assert {path for path, _, _ in server.requests} == {"/d/a.nqzset", "/d/..%252fw%3Fx=1.nqz"}
    assert "'::' cannot be in the name" in fail(capsys, 4, "verify", server.url("d/b.nqzset"))


def test_nothing_secret_of_an_address_is_said(server, capsys, tmp_path):
    secret = server.url("w.nqz?X-Amz-Signature=5ec7e7&x=1").replace("//", "//user:pa55@")
    shown = server.url("w.nqz")
    said = [succeed(capsys, "inspect", secret, "--json"), succeed(capsys, "inspect", secret)]
    said += [succeed(capsys, "decode", secret, "-o", tmp_path / "w.npy", f"--json={tmp_path / 'r.json'}")]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["inputs"] == [shown] and shown in said[-1].err
    missing = secret.replace("w.nqz", "v.nqz")
    errors = [
        fail(capsys, 3, "inspect", missing),
        fail(capsys, 10, "encode", tmp_path / "w.npy", "-r", "4", "-o", missing),
        fail(capsys, 4, "encode", secret, "-r", "4"),
        fail(capsys, 10, "encode", tmp_path / "w.npy", "-r", "4", "-o", secret.replace(".nqz", ".npy")),
        fail(capsys, 2, "decode", secret, "-o", missing.replace("http://", "s4://")),
    ]
    with pytest.raises(InputError) as error:
        nqz.open(missing)
    assert error.value.__cause__ is None and error.value.__suppress_context__
    for text in [
        *errors,
        str(error.value),
        *(part for one in said for part in (one.out, one.err)),
        json.dumps(report),
    ]:
        assert "5ec7e7" not in text and "pa55" not in text and "user" not in text


def test_servers_take_no_outputs(server, capsys, tmp_path):
    np.save(tmp_path / "w.npy", ARRAY)
    text = fail(capsys, 10, "encode", tmp_path / "w.npy", "-r", "4", "-o", server.url("v.nqz"))
    assert text == f"{server.url('v.nqz')}: cannot write: {upload._READ_ONLY['http']}"
    assert not server.requests
    assert "the hub takes commits" in fail(capsys, 10, "decode", server.url("w.nqz"), "-o", "hf://a/b/w.npy")


def test_where_no_output_is_named_it_is_a_file_here(server, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.files["w.npy"] = npy(ARRAY)
    succeed(capsys, "encode", server.url("w.npy?sig=1"), "-r", "6")
    assert (tmp_path / "w.nqz").read_bytes() == DATA
    folder = make_model(tmp_path / "m")
    for path in folder.iterdir():
        if path.is_file():
            server.files[f"models/m/{path.name}"] = path.read_bytes()
    succeed(capsys, "encode", server.url(f"models/m/{INDEX}"), "-r", "5")
    assert (tmp_path / "m-nqz" / "model.nqz.index.json").exists()


def test_no_warning_is_given_for_what_is_as_it_should_be(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with nqz.open(server.url("w.nqz")) as container:
            ContainerReader(container.collection.parts[0].opened.access, "x").verify()


def test_a_forked_child_reads_on(server):
    with nqz.open(server.url("w.nqz")) as container:
        container.matrix[:, 3]
        child = multiprocessing.get_context("fork").Process(target=container.matrix.decode)
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert np.array_equal(container.matrix[:, 800], nqz.decode(DATA)[:, 800])


def test_an_empty_object_is_an_empty_file(server, capsys):
    server.files["empty.npy"] = b""
    assert "empty.npy: is empty" in fail(capsys, 5, "encode", server.url("empty.npy"), "-r", "4")
