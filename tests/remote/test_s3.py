"""Objects of a real server of S3, read and written by commands and functions."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import s3fs

import nqz
from cli_tools import FIXTURES, environment, fail, matrix, process, succeed
from model_tools import everything, make_model
from nqz.files.remote import trouble, upload
from nqz.ground.errors import OutputError, OutputExistsError

ARRAY = matrix(1500, 800)
DATA = nqz.encode(ARRAY, rate=5)


@pytest.fixture
def calls(monkeypatch):
    """The requests that are made: their names and arguments."""
    found, call = [], s3fs.S3FileSystem._call_s3

    async def told(self, method, *arguments, **options):
        found.append((method, options))
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", told)
    return found


def test_commands_read_and_write_a_bucket(s3, tmp_path):
    np.save(tmp_path / "w.npy", ARRAY)
    s3.put_file(str(tmp_path / "w.npy"), "bucket/w.npy")
    for arguments in (
        ("encode", "s3://bucket/w.npy", "-r", "5"),
        ("inspect", "s3://bucket/w.nqz"),
        ("verify", "s3://bucket/w.nqz", "--against", "s3://bucket/w.npy"),
        ("matmul", "s3://bucket/w.nqz", "s3://bucket/w.npy", "-o", "s3://bucket/c.npy"),
        ("decode", "s3://bucket/w.nqz", "-o", "s3://bucket/back.npy", "--json=s3://bucket/r.json"),
    ):
        result = process(*arguments)
        assert result.returncode == 0, result.stderr
    s3.invalidate_cache()
    assert s3.cat_file("bucket/w.nqz") == DATA
    with s3.open("bucket/back.npy") as file:
        assert np.array_equal(np.load(file), nqz.decode(DATA))
    assert b'"inputs"' in s3.cat_file("bucket/r.json")
    again = process("encode", "s3://bucket/w.npy", "-r", "5")
    assert again.returncode == 9 and b"exists already" in again.stderr
    assert process("inspect", "s3://bucket/none.nqz").returncode == 3
    assert process("encode", "s3://bucket/w.npy", "-r", "5", "-o", "s3://none/w.nqz").returncode == 10


def test_a_container_is_opened_in_three_requests_and_a_column_read_in_three(s3, calls):
    s3.pipe_file("bucket/w.nqz", DATA)
    calls.clear()
    with nqz.open("s3://bucket/w.nqz") as container:
        assert len(calls) <= 3, calls
        container.matrix[:, 400]
        # the last one asks whether the object is still the same
        assert len(calls) <= 6 and calls[-1][0] == "head_object", calls
        assert all(name == "get_object" for name, _ in calls[1:-1])
        calls.clear()
        assert np.array_equal(container.matrix.decode(), nqz.decode(DATA))
        assert len(calls) <= 2 + len(DATA) // 300_000
        assert np.array_equal(pickle.loads(pickle.dumps(container.matrix))[:, 3], container.matrix[:, 3])  # noqa: S301


def test_part_sets_are_made_checked_divided_joined_and_multiplied_in_a_bucket(s3, tmp_path):
    np.save(tmp_path / "w.npy", ARRAY)
    s3.put_file(str(tmp_path / "w.npy"), "bucket/w.npy")
    for arguments in (
        ("create", "s3://bucket/w.npy", "-r", "5", "--parts", "2x3"),
        ("check", "s3://bucket/w.nqzset"),
        ("split", "s3://bucket/w.nqzset"),
        ("concat", *(f"s3://bucket/w-{j}.nqzset" for j in range(3)), "-o", "s3://bucket/again.nqzset"),
    ):
        result = process("set", *arguments)
        assert result.returncode == 0, result.stderr
    nqz.encode_set(tmp_path / "w.npy", tmp_path / "w.nqzset", rate=5, parts=(2, 3))
    s3.invalidate_cache()
    assert (
        s3.cat_file("bucket/w.nqzset")
        == (tmp_path / "w.nqzset").read_bytes()
        == s3.cat_file("bucket/again.nqzset")
    )
    for arguments in (
        ("decode", "s3://bucket/w.nqzset", "-o", "s3://bucket/back.npy"),
        ("matmul", "s3://bucket/w.nqzset", "s3://bucket/w.npy", "-o", "s3://bucket/c.npy"),
        ("verify", "s3://bucket/w.nqzset", "--against", "s3://bucket/w.npy"),
    ):
        result = process(*arguments)
        assert result.returncode == 0, result.stderr
    s3.invalidate_cache()
    for name, expected in (
        ("back", nqz.decode(tmp_path / "w.nqzset")), ("c", nqz.matmul(tmp_path / "w.nqzset", tmp_path / "w.npy")),
    ):  # fmt: skip
        with s3.open(f"bucket/{name}.npy") as file:
            assert np.array_equal(np.load(file), expected)


def test_a_vector_of_a_part_set_takes_a_few_ranges_of_the_parts_that_have_it(s3, calls):
    nqz.encode_set(ARRAY, "s3://bucket/w.nqzset", rate=5, parts=(2, 3))
    whole = nqz.decode("s3://bucket/w.nqzset")
    calls.clear()
    with nqz.open("s3://bucket/w.nqzset") as container:
        assert len(calls) <= 3 + 6 * 3, calls
        calls.clear()
        assert np.array_equal(container.matrix[:, 400], whole[:, 400])
        read = [options["Range"] for name, options in calls if name == "get_object"]
        assert len(read) <= 2 * 3 and {"head_object"}.issuperset(
            name for name, _ in calls if name != "get_object"
        )
        sizes = [int(last) - int(first) + 1 for first, last in (one[6:].split("-") for one in read)]
        assert sum(sizes) <= 6 * (64 << 10)


@pytest.mark.parametrize("last", ["-0-2.nqz", ".nqzset"])
def test_a_part_set_that_cannot_be_sent_is_taken_back_and_the_old_one_stays(s3, monkeypatch, last):
    nqz.encode_set(ARRAY, "s3://bucket/w.nqzset", rate=5, parts=(1, 3))
    s3.invalidate_cache()
    before, call = {name: s3.cat_file(name) for name in s3.find("bucket")}, s3fs.S3FileSystem._call_s3
    monkeypatch.setattr(trouble, "PAUSES", (0.0,))

    async def fails(self, method, *arguments, **options):
        if method == "put_object" and options["Key"].endswith(last):
            raise OSError("the line is cut")
        return await call(self, method, *arguments, **options)

    with monkeypatch.context() as broken:
        broken.setattr(s3fs.S3FileSystem, "_call_s3", fails)
        for target, force in (("s3://bucket/w.nqzset", True), ("s3://bucket/other.nqzset", False)):
            with pytest.raises(OutputError, match="the line is cut"):
                nqz.encode_set(ARRAY, target, rate=4, parts=(1, 3), force=force)
            s3.invalidate_cache()
            assert {name: s3.cat_file(name) for name in s3.find("bucket")} == before
    nqz.encode_set(ARRAY, "s3://bucket/w.nqzset", rate=4, parts=(1, 3), force=True)
    s3.invalidate_cache()
    assert len(s3.find("bucket")) == 7 and nqz.verify("s3://bucket/w.nqzset", ARRAY)["ok"]


def test_a_model_goes_there_and_back(s3, capsys, tmp_path):
    folder = make_model(tmp_path / "m")
    s3.put(str(folder), "bucket/m", recursive=True)
    s3.invalidate_cache()
    succeed(capsys, "encode", folder, "-r", "5", "-o", tmp_path / "here")
    succeed(capsys, "encode", "s3://bucket/m", "-r", "5")
    s3.invalidate_cache()
    s3.get("bucket/m-nqz", str(tmp_path / "out"), recursive=True)
    assert everything(tmp_path / "out") == everything(tmp_path / "here")
    succeed(capsys, "verify", "s3://bucket/m-nqz", "--against", "s3://bucket/m")


def test_parts_of_an_upload_that_fails_are_thrown_away(s3, monkeypatch, tmp_path):
    call, size = s3fs.S3FileSystem.call_s3, 110 << 20
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", size)
    monkeypatch.setattr(trouble, "PAUSES", (0.0,))

    def fails(self, method, *arguments, **options):
        if method == "upload_part" and options["PartNumber"] == 2:
            raise OSError("the line is cut")
        return call(self, method, *arguments, **options)

    def stops(self, method, *arguments, **options):
        if method == "upload_part" and options["PartNumber"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return call(self, method, *arguments, **options)

    target = upload.upload_to("s3://bucket/large.nqz")
    with open(tmp_path / "large", "rb") as file:
        with monkeypatch.context() as broken, pytest.raises(OutputError, match="the line is cut"):
            broken.setattr(s3fs.S3FileSystem, "call_s3", fails)
            target.put(file.fileno(), size, False)
        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(s3fs.S3FileSystem, "call_s3", stops)
            target.put(file.fileno(), size, False)
        target.withdraw()
        assert not s3.exists("bucket/large.nqz")
        assert not s3.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads")
        target.put(file.fileno(), size, False)
    s3.invalidate_cache()
    assert s3.info("bucket/large.nqz")["size"] == size


def test_of_two_writers_one_replaces_nothing(s3):
    first, second = (upload.upload_to("s3://bucket/w.nqz") for _ in range(2))
    for target in (first, second):
        target.look(False)
    with open("/dev/null", "rb") as file:
        first.put(file.fileno(), 0, False)
        with pytest.raises(OutputExistsError):
            second.put(file.fileno(), 0, False)
        second.withdraw()
    s3.invalidate_cache()
    assert s3.exists("bucket/w.nqz")


def test_the_commands_of_the_page_about_remote_objects_work(s3, tmp_path):
    page = (FIXTURES.parent / "docs" / "remote.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```console s3\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    np.save(tmp_path / "w.npy", matrix(200, 120))
    s3.put_file(str(tmp_path / "w.npy"), "bucket/w.npy")
    s3.put(str(make_model(tmp_path / "m")), "bucket/model", recursive=True)
    (tmp_path / "nqz").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nqz "$@"\n')
    (tmp_path / "nqz").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=environment(PATH=path), capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stderr)
    s3.invalidate_cache()
    assert s3.exists("bucket/coded/w.nqz") and s3.exists("bucket/model-nqz/config.json")


def test_an_interrupted_command_leaves_no_object_or_the_whole_one(s3, tmp_path):
    np.save(tmp_path / "w.npy", matrix(3000, 3000))
    whole = nqz.encode(tmp_path / "w.npy", rate=4)
    program = [
        sys.executable,
        "-m",
        "nqz",
        "encode",
        str(tmp_path / "w.npy"),
        "-r",
        "4",
        "-o",
        "s3://bucket/i.nqz",
    ]
    for wait in (0.5, 1.0, 1.5):
        command = subprocess.Popen(program, stderr=subprocess.PIPE)
        time.sleep(wait)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=60)
        s3.invalidate_cache()
        assert command.returncode == 0 or (command.returncode == 130 and b"interrupted" in said)
        if s3.exists("bucket/i.nqz"):  # it was on its way already
            assert s3.cat_file("bucket/i.nqz") == whole
            s3.rm("bucket/i.nqz")
        else:
            assert command.returncode == 130


def test_a_bucket_that_refuses_is_an_error(s3, capsys, monkeypatch):
    async def refuses(self, method, *arguments, **options):
        raise PermissionError("Access Denied for 5ec7e7")

    s3.pipe_file("bucket/w.nqz", DATA)
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", refuses)
    text = fail(capsys, 3, "inspect", "s3://bucket/w.nqz")
    assert text == "s3://bucket/w.nqz: cannot open: access denied; are credentials set, and do they allow it?"
