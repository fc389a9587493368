"""Objects of stores, by address and as objects of fsspec: all commands read them, and what they write appears whole."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import re
import sys
import zipfile

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

import nqz
from cli_tools import FIXTURES, fail, matrix, succeed
from model_tools import INDEX, everything, make_model
from nqz.commands.sets import create as set_create
from nqz.files.opening import open_input
from nqz.files.remote import access, trouble, upload
from nqz.ground import urls
from nqz.ground.errors import InputError, OutputError, OutputExistsError, UnsupportedError, UsageError

ARRAY = matrix(60, 40)
DATA = nqz.encode(ARRAY, rate=4)


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(trouble, "PAUSES", (0.0, 0.0))
    found = fsspec.filesystem("memory")
    found.store.clear()
    found.pseudo_dirs[:] = [""]
    found.pipe_file("/b/w.nqz", DATA)
    with found.open("/b/w.npy", "wb") as file:
        np.save(file, ARRAY)
    return found


def test_a_container_is_opened_by_address_or_object_and_pickled(store):
    expected = nqz.decode(DATA)
    store.pipe_file("/b/late.nqz", b"before" + DATA)
    with store.open("/b/late.nqz") as late:
        late.seek(6)
        for source in ("memory://b/w.nqz", fsspec.open("memory://b/w.nqz"), store.open("/b/w.nqz"), late):
            with nqz.open(source) as container:
                assert np.array_equal(container.matrix.decode(), expected)
                again = pickle.loads(pickle.dumps(container.matrix))  # noqa: S301
                assert np.array_equal(again.decode(), expected)
    gone = pickle.dumps(nqz.open("memory://b/w.nqz"))
    store.pipe_file("/b/w.nqz", nqz.encode(ARRAY, rate=4, seed=3))
    with pytest.raises(InputError, match=r"is not the (file|object) that"):
        pickle.loads(gone)  # noqa: S301


def test_an_object_that_was_replaced_by_one_as_large_is_not_taken_for_it_where_it_is_unpickled(store):
    gone = pickle.dumps(open_input("memory://b/w.npy"))
    with store.open("/b/w.npy", "wb") as file:
        np.save(file, -ARRAY)
    with pytest.raises(InputError, match="is not the object that it was; workers must see the same storage"):
        pickle.loads(gone)  # noqa: S301


def test_a_part_set_is_made_and_read_in_a_store_and_leaves_nothing_that_is_not_finished(store, monkeypatch):
    to, array = "memory://sets/w.nqzset", matrix(256, 64)
    nqz.encode_set(array, to, rate=4, parts=(2, 2))
    assert len(store.find("/sets")) == 5
    assert np.square(nqz.decode(to) - array).sum() < 0.05 * np.square(array).sum()
    assert nqz.matmul(to, to).shape == (64, 64)
    before = {name: store.cat_file(name) for name in store.find("/sets")}
    done, coded = [], set_create.code_part

    def coded_until_a_third(*job):
        if len(done) % 3 == 2:
            raise InputError("gone")
        done.append(coded(*job))
        return done[-1]

    monkeypatch.setattr(set_create, "code_part", coded_until_a_third)
    for target, force in ((to, True), ("memory://sets/other.nqzset", False)):
        done.clear()
        with pytest.raises(InputError, match="gone"):
            nqz.encode_set(array, target, rate=3, parts=(2, 2), force=force)
        assert {name: store.cat_file(name) for name in store.find("/sets")} == before


def test_commands_make_check_divide_join_and_read_part_sets_in_a_store(store, capsys, tmp_path):
    array = matrix(300, 90)
    with store.open("/b/s.npy", "wb") as file:
        np.save(file, array)
    succeed(capsys, "set", "create", "memory://b/s.npy", "-r", "4", "--parts", "2x2")
    names = sorted(name for name in store.find("/b") if "/s-" in name or name.endswith(".nqzset"))
    assert len(names) == 5 and names[-1] == "/b/s.nqzset"
    np.save(tmp_path / "s.npy", array)
    succeed(capsys, "set", "create", tmp_path / "s.npy", "-r", "4", "--parts", "2x2")
    assert store.cat_file("/b/s.nqzset") == (tmp_path / "s.nqzset").read_bytes()
    assert "2x2 parts" in succeed(capsys, "set", "check", "memory://b/s.nqzset").out
    succeed(capsys, "set", "split", "memory://b/s.nqzset")
    halves = [f"memory://b/s-{j}.nqzset" for j in range(2)]
    succeed(capsys, "set", "concat", *halves, "-o", "memory://b/again.nqzset")
    assert store.cat_file("/b/again.nqzset") == store.cat_file("/b/s.nqzset")
    succeed(capsys, "decode", "memory://b/s.nqzset", "-o", "memory://b/back.npy")
    with store.open("/b/back.npy") as file:
        assert np.array_equal(np.load(file), nqz.decode(tmp_path / "s.nqzset"))
    succeed(capsys, "matmul", "memory://b/s.nqzset", "memory://b/s.npy", "-o", "memory://b/c.npy")
    with store.open("/b/c.npy") as file:
        assert np.array_equal(np.load(file), nqz.matmul(tmp_path / "s.nqzset", tmp_path / "s.npy"))
    assert succeed(capsys, "verify", "memory://b/s.nqzset", "--against", "memory://b/s.npy").out.count("ok")
    assert "in its folder or below" in fail(
        capsys, 2, "set", "concat", *halves, "-o", "memory://other/c.nqzset"
    )


def test_an_upload_that_fails_leaves_the_old_part_set_and_no_part_of_the_new_one(store, monkeypatch):
    """A part that cannot be sent, or the manifest that cannot; what is removed is what is not of the old set."""
    to, array = "memory://sets/w.nqzset", matrix(256, 64)
    nqz.encode_set(array, to, rate=4, parts=(1, 3))
    before, put = {name: store.cat_file(name) for name in store.find("/sets")}, upload.Upload.put
    for last in ("-0-2.nqz", ".nqzset"):
        sent = []

        def fails(self, *arguments, last=last, sent=sent):
            sent.append(self.name)
            if self.name.endswith(last):
                raise OutputError(f"{self.name}: the line is cut")
            return put(self, *arguments)

        monkeypatch.setattr(upload.Upload, "put", fails)
        for target, force in ((to, True), ("memory://sets/other.nqzset", False)):
            sent.clear()
            with pytest.raises(OutputError, match="the line is cut"):
                nqz.encode_set(array, target, rate=3, parts=(1, 3), force=force)
            assert (
                sent[-1].endswith(last)
                and {name: store.cat_file(name) for name in store.find("/sets")} == before
            )
        monkeypatch.undo()
    nqz.encode_set(array, to, rate=3, parts=(1, 3), force=True)
    assert len(store.find("/sets")) == 7 and nqz.verify(to, array)["ok"]


def test_every_command_reads_addresses(store, capsys, tmp_path):
    a, plain = "memory://b/w.nqz", "memory://b/w.npy"
    store.pipe_file("/b/other.npy", store.cat_file("/b/w.npy"))
    assert "60x40" in succeed(capsys, "inspect", a).out
    succeed(capsys, "verify", a, "--against", plain)
    succeed(capsys, "compare", plain, a)
    product = succeed(capsys, "matmul", a, plain, "-o", tmp_path / "c.npy")
    assert product.code == 0 and np.load(tmp_path / "c.npy").shape == (40, 40)
    assert "certain" in succeed(capsys, "search", a, plain, "-k", "2").err
    succeed(capsys, "decode", a, "-o", tmp_path / "w.npy")
    assert np.array_equal(np.load(tmp_path / "w.npy"), nqz.decode(DATA))
    succeed(capsys, "encode", plain, "-r", "4", "-o", tmp_path / "w.nqz")
    assert (tmp_path / "w.nqz").read_bytes() == DATA
    assert "memory://b/other.npy" in succeed(capsys, "plan", plain, "memory://b/other.npy", "--bits", "4").out
    succeed(capsys, "sweep", plain, "-r", "2,4")
    assert np.array_equal(nqz.matmul(a, a), nqz.matmul(DATA, DATA))
    assert nqz.encode(store.open("/b/w.npy"), rate=4) == DATA


def test_outputs_appear_at_addresses_whole_and_replace_nothing_unasked(store, capsys, tmp_path):
    np.save(tmp_path / "w.npy", ARRAY)
    new = "memory://new/deep/w.nqz"
    succeed(capsys, "encode", tmp_path / "w.npy", "-r", "4", "-o", new)
    assert store.cat_file("/new/deep/w.nqz") == DATA
    assert "exists already; use --force" in fail(
        capsys, 9, "encode", tmp_path / "w.npy", "-r", "3", "-o", new
    )
    assert store.cat_file("/new/deep/w.nqz") == DATA
    succeed(capsys, "encode", tmp_path / "w.npy", "-r", "3", "-f", "-o", new)
    assert len(store.cat_file("/new/deep/w.nqz")) < len(DATA)
    same = fail(capsys, 9, "matmul", "memory://b/w.npy", "memory://b/w.nqz", "-f", "-o", "memory://b/w.npy")
    assert "is the same file as an input" in same
    succeed(capsys, "decode", "memory://b/w.nqz", "-f")  # beside its input
    with store.open("/b/w.npy") as file:
        assert np.array_equal(np.load(file), nqz.decode(DATA))
    with pytest.raises(OutputExistsError):
        nqz.encode(ARRAY, new, rate=4)
    nqz.encode(ARRAY, fsspec.open("memory://new/v.nqz", "wb"), rate=4)
    assert store.cat_file("/new/v.nqz") == DATA
    nqz.encode(ARRAY, fsspec.open(str(tmp_path / "here.nqz"), "wb"), rate=4)
    assert (tmp_path / "here.nqz").read_bytes() == DATA
    for kind, fault in (("memory://b/", "is a directory"), ("memory://b", "is a directory")):
        with pytest.raises(OutputError, match=fault):
            nqz.encode(ARRAY, kind, rate=4)


def test_an_output_that_cannot_be_sent_leaves_what_stood_there(store, capsys, tmp_path, monkeypatch):
    np.save(tmp_path / "w.npy", ARRAY)

    def refuse(self, path, value, **options):
        raise OSError("the bucket https://user:pa55@host/?sig=5ec7e7 is in the rain")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    before = dict(store.store)
    for options in ((), ("-f",)):
        target = "memory://b/w.nqz" if options else "memory://b/v.nqz"
        text = fail(capsys, 10, "encode", tmp_path / "w.npy", "-r", "3", *options, "-o", target)
        assert "cannot write: the bucket https://host/ is in the rain" in text
    assert store.store == before


def test_what_arrives_short_is_an_error(store, monkeypatch):
    whole = MemoryFileSystem.pipe_file
    monkeypatch.setattr(
        MemoryFileSystem, "pipe_file", lambda self, path, value, **o: whole(self, path, value[:-1], **o)
    )
    with pytest.raises(OutputError, match="not all of it has arrived"):
        nqz.encode(ARRAY, "memory://b/v.nqz", rate=4)


class Parts(AbstractBufferedFile):
    """A file of a store that takes it in parts."""

    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        if self.fs.breaks == len(self.parts):
            raise OSError("the line is cut")
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.kept[self.path] = b"".join(self.parts)

    def discard(self):
        self.fs.thrown.append(len(self.parts))


class PartStore(AbstractFileSystem):
    """A store that takes objects in parts, and keeps one when all have come."""

    protocol = "parts"
    cachable = False

    def __init__(self):
        super().__init__()
        self.kept, self.thrown, self.breaks = {}, [], None

    def _open(self, path, mode="rb", block_size=None, **options):
        return Parts(self, path, mode, block_size, size=0)

    def info(self, path, **options):
        if path not in self.kept:
            raise FileNotFoundError(path)
        return {"name": path, "type": "file", "size": len(self.kept[path])}


def test_a_large_output_goes_in_parts_which_are_thrown_away_when_one_fails(monkeypatch):
    monkeypatch.setattr(upload, "_WHOLE", 500)
    store = PartStore()
    nqz.encode(ARRAY, fsspec.core.OpenFile(store, "v.nqz", "wb"), rate=4)
    assert store.kept == {"v.nqz": DATA} and not store.thrown
    for breaks, target in (
        (2, fsspec.core.OpenFile(store, "w.nqz", "wb")),
        (0, store.open("w.nqz", "wb", block_size=500)),
    ):
        store.breaks = breaks
        with pytest.raises(OutputError, match="the line is cut"):
            nqz.encode(ARRAY, target, rate=4)
        getattr(target, "close", int)()  # by its owner, as `with` does
    assert store.thrown == [2, 0] and list(store.kept) == ["v.nqz"]


def test_the_page_about_remote_objects_is_true(store):
    page = (FIXTURES.parent / "docs" / "remote.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "remote.md", "exec"), {})  # noqa: S102
    assert store.exists("/bucket/b.nqz")


def test_an_object_that_appears_meanwhile_is_not_replaced(store, monkeypatch):
    target = upload.upload_to("memory://b/v.nqz")
    target.look(False)
    store.pipe_file("/b/v.nqz", b"other")
    with open(os.devnull, "rb") as file, pytest.raises(OutputExistsError, match="appeared meanwhile"):
        target.put(file.fileno(), 0, False)
    target.withdraw()
    assert store.cat_file("/b/v.nqz") == b"other"


@pytest.mark.parametrize("by_index", [False, True])
def test_a_model_is_read_and_written_in_a_folder_of_a_store(store, capsys, tmp_path, by_index):
    folder = make_model(tmp_path / "m")
    store.put(str(folder), "/models/m", recursive=True)
    source = f"memory://models/m/{INDEX}" if by_index else "memory://models/m"
    succeed(capsys, "encode", folder, "-r", "5", "-o", tmp_path / "here")
    succeed(capsys, "encode", source, "-r", "5", "-o", "memory://models/out")
    store.get("/models/out", str(tmp_path / "out"), recursive=True)
    assert everything(tmp_path / "out") == everything(tmp_path / "here")
    assert "tensors" in succeed(capsys, "inspect", "memory://models/out").out
    succeed(capsys, "verify", "memory://models/out", "--against", "memory://models/m")
    assert "holds something already" in fail(
        capsys, 9, "encode", source, "-r", "5", "-f", "-o", "memory://models/out"
    )
    with nqz.open("memory://models/out") as model:
        assert model["h.0.weight"].shape == (64, 48)
    nqz.decode("memory://models/out", "memory://models/back")
    assert json.loads(store.cat_file(f"/models/back/{INDEX}"))["weight_map"]
    assert store.exists("/models/back/sub/vocab.txt")


def test_names_of_a_store_stay_in_the_folder(store, capsys, tmp_path):
    store.put(str(make_model(tmp_path / "m")), "/models/m", recursive=True)
    store.store["/models/m/../../evil.txt"] = store.store["/models/m/config.json"]
    assert "which is no name of a file in a folder" in fail(
        capsys, 3, "encode", "memory://models/m", "-r", "5", "-o", tmp_path / "o"
    )
    assert sorted(os.listdir(tmp_path)) == ["m"]


@pytest.mark.parametrize("threaded", [(), ("memory",)])
def test_what_is_waited_for_is_read_right_by_one_thread_or_several(store, monkeypatch, threaded):
    monkeypatch.setattr(access, "_THREADED", threaded)
    rng = np.random.default_rng(0)
    data = rng.bytes(9_000_000)
    store.pipe_file("/b/x", data)
    opened = open_input("memory://b/x")
    found = bytearray(len(data))
    for start in range(0, len(data), 400_000):  # in order, ahead of which more is fetched
        opened.pread_into(memoryview(found)[start : start + 400_000], start)
    assert found == data
    opened.prefetch([(10, 100), (5_000_000, 70_000)])
    for start in rng.integers(0, len(data) - 100, 50):
        piece = bytearray(100)
        opened.pread_into(piece, int(start))
        assert piece == data[start : start + 100]
    opened.close()


def test_many_objects_together_hold_a_bounded_number_of_bytes(store, monkeypatch):
    monkeypatch.setattr(access, "_ALL", 1 << 20)
    data = np.random.default_rng(0).bytes(400_000)
    opened = []
    for number in range(12):
        store.pipe_file(f"/many/{number}", data)
        opened.append(open_input(f"memory://many/{number}"))
        found = bytearray(len(data))
        opened[-1].pread_into(found, 0)
        assert found == data
    assert sum(one._held.nbytes for one in opened) < 2 << 20
    found = bytearray(10)
    opened[0].pread_into(found, 300_000)
    assert found == data[300_000:300_010]


def test_a_folder_that_cannot_be_sent_is_taken_back(store, capsys, tmp_path, monkeypatch):
    folder, send, sent = make_model(tmp_path / "m"), MemoryFileSystem.pipe_file, []

    def once(self, path, value, **options):
        if len(sent) == 3:
            raise OSError("enough")
        sent.append(path)
        send(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", once)
    assert "enough" in fail(capsys, 10, "encode", folder, "-r", "5", "-o", "memory://models/out")
    assert len(sent) == 3 and not any(path.startswith("/models/out") for path in store.store)
    assert not any(path.endswith(".index.json") for path in sent)  # which comes last


def test_patterns_of_addresses_and_folders_for_each(store, capsys):
    store.pipe_file("/many/a.npy", store.cat_file("/b/w.npy"))
    store.pipe_file("/many/b.npy", store.cat_file("/b/w.npy"))
    succeed(capsys, "encode", "memory://many/*.npy", "-r", "4", "--out-dir", "memory://coded")
    assert store.cat_file("/coded/a.nqz") == store.cat_file("/coded/b.nqz") == DATA
    succeed(capsys, "decode", "memory://coded/*.nqz", "--out-dir", "memory://back")
    assert sorted(path for path in store.store if path.startswith("/back")) == ["/back/a.npy", "/back/b.npy"]
    assert "nothing is called so" in fail(
        capsys, 3, "encode", "memory://many/*.x", "-r", "4", "--out-dir", "d"
    )


def test_an_object_that_changes_while_it_is_read_is_noticed(store):
    opened = open_input("memory://b/w.nqz")
    opened.check()
    store.pipe_file("/b/w.nqz", nqz.encode(ARRAY, rate=4, seed=1))
    with pytest.raises(InputError, match=r"memory:///?b/w.nqz: changed while it was being read"):
        opened.check()


def test_what_is_not_there_or_not_meant_is_said(store, capsys):
    store.pipe_file("/many/x.txt", b"")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("d/w.nqz", DATA)
    store.pipe_file("/b/x.zip", packed.getvalue())
    assert np.array_equal(nqz.decode("zip://d/w.nqz::memory://b/x.zip"), nqz.decode(DATA))
    assert "cannot open: no such object" in fail(capsys, 3, "inspect", "memory://b/x.nqz")
    assert "no such object" in fail(capsys, 3, "inspect", "memory://b/sub/")
    assert "holds no .nqz file" in fail(capsys, 3, "inspect", "memory://many/")
    assert "nothing knows how to open s4://" in fail(capsys, 2, "inspect", "s4://b/x.nqz")
    assert "has two slashes" in fail(capsys, 3, "inspect", "s3:/b/x.nqz")
    assert "cannot write" in fail(
        capsys, 10, "decode", "memory://b/w.nqz", "-o", "zip://w.npy::memory://none.zip"
    )
    with pytest.raises(UsageError, match="open for reading, in binary mode"):
        nqz.open(fsspec.open("memory://b/w.nqz", "r"))
    with pytest.raises(UsageError, match="open for writing, in binary mode"):
        nqz.encode(ARRAY, fsspec.open("memory://b/v.nqz", "rb"), rate=4)
    with pytest.raises(UnsupportedError, match=r"is a \.npy file"):
        nqz.open("memory://b/w.npy")


def test_without_fsspec_it_is_said_what_to_install(capsys, monkeypatch):
    imported = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.partition(".")[0] == "fsspec":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert "pip install 'nqz[remote]'" in fail(capsys, 2, "inspect", "s3://bucket/w.nqz")
    with pytest.raises(UsageError, match="install it with pip"):
        nqz.encode(ARRAY, "s3://bucket/w.nqz", rate=4)


def test_fsspec_is_not_imported_for_files(tmp_path):
    import subprocess

    (tmp_path / "w.nqz").write_bytes(DATA)
    program = f"import sys, nqz; nqz.open({str(tmp_path / 'w.nqz')!r}).matrix.decode(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"fsspec", "aiohttp", "asyncio"} & set(loaded)


def test_file_addresses_are_paths(tmp_path, capsys):
    (tmp_path / "w.nqz").write_bytes(DATA)
    succeed(capsys, "decode", f"file://{tmp_path}/w.nqz", "-o", f"file://{tmp_path}/w.npy")
    assert np.array_equal(np.load(tmp_path / "w.npy"), nqz.decode(DATA))


def test_addresses_are_taken_apart():
    url = "https://me:pw@host/a.b/w.NPY?sig=1/2.x#top"
    assert urls.shown(url) == "https://host/a.b/w.NPY"
    assert urls.suffix(url) == "npy" and urls.base(url) == "w.NPY"
    assert urls.folder_of(url) == "https://me:pw@host/a.b?sig=1/2.x#top"
    assert urls.joined("https://h/m/?sig=1", "x") == "https://h/m/x?sig=1"
    assert urls.with_suffix(url, ["npy"], "nqz") == "https://me:pw@host/a.b/w.nqz?sig=1/2.x#top"
    assert (
        urls.redacted(f"see '{url}' and {url}") == "see 'https://host/a.b/w.NPY' and https://host/a.b/w.NPY"
    )
    chained = "zip://d/w.npy::simplecache::s3://b/x.zip?v=1"
    assert urls.base(chained) == "w.npy" and urls.suffix("simplecache::s3://b/x.nqz?v=1") == "nqz"
    assert urls.with_suffix(chained, ["npy"], "nqz") == "zip://d/w.nqz::simplecache::s3://b/x.zip?v=1"
    assert urls.joined("simplecache::s3://b/m/", "x") == "simplecache::s3://b/m/x"
    assert urls.is_url("simplecache::s3://b/x") and not urls.is_url("C:/x") and not urls.is_url("a::b")
    assert not urls.is_url("file:///x") and urls.local("file:///x") == "/x" and urls.shown("a?b#c") == "a?b#c"
