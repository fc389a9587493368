"""Files that are open only while they are used."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from nqz.files.parked import Descriptors, ParkedAccess
from nqz.ground.errors import InputError


def files(tmp_path, count):
    """Files, each with its number in it."""
    for number in range(count):
        (tmp_path / f"{number}").write_bytes(b"%04d" % number)
    return [str(tmp_path / f"{number}") for number in range(count)]


def read(access):
    """All that a file holds."""
    found = bytearray(access.size)
    access.pread_into(found, 0)
    return bytes(found)


def descriptors_open():
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_few_are_open_whatever_is_read(tmp_path):
    pool, before = Descriptors(3), descriptors_open()
    opened = [ParkedAccess(path, path, pool) for path in files(tmp_path, 20)]
    assert descriptors_open() <= before + 3
    for _ in range(2):
        assert [read(access) for access in opened] == [b"%04d" % number for number in range(20)]
        assert descriptors_open() <= before + 3
    assert sum(not access.parked for access in opened) == 3
    for access in opened:
        access.check()
        access.close()
        assert access.closed
    assert descriptors_open() == before


def test_threads_share_them(tmp_path):
    pool = Descriptors(2)
    opened = [ParkedAccess(path, path, pool) for path in files(tmp_path, 12)]

    def many(number):
        return all(
            read(opened[(number * step) % 12]) == b"%04d" % (number * step % 12) for step in range(200)
        )

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(many, range(12)))
    assert all(access.users == 0 for access in opened) and sum(not access.parked for access in opened) == 2


def test_what_is_used_stays_open(tmp_path):
    pool, paths = Descriptors(1), files(tmp_path, 1)
    first = ParkedAccess(paths[0], paths[0], pool)
    with first.held() as fd:
        second = ParkedAccess(paths[0], paths[0], pool)
        assert read(second) == b"0000" and not first.parked
        first.close()
        assert os.pread(fd, 4, 0) == b"0000"
    assert first.parked
    with pytest.raises(InputError, match="is closed"):
        read(first)


@pytest.mark.parametrize("change", ["replaced", "removed", "grown"])
def test_another_file_in_its_place_is_refused(tmp_path, change):
    pool = Descriptors(1)
    first, second = (ParkedAccess(path, path, pool) for path in files(tmp_path, 2))
    read(second)
    path = tmp_path / "0"
    if change == "grown":
        path.write_bytes(b"00000")
        with pytest.raises(InputError, match="changed while it was being read"):
            first.check()
        return
    path.rename(tmp_path / "kept")
    if change == "replaced":
        path.write_bytes(b"0000")
    with pytest.raises(
        InputError, match="is not the file that it was" if change == "replaced" else "cannot open"
    ):
        read(first)


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = descriptors_open()
    for path in (str(tmp_path / "pipe"), "/dev/zero", str(tmp_path)):
        with pytest.raises(InputError, match="is not a regular file"):
            ParkedAccess(path, path, Descriptors())
    with pytest.raises(FileNotFoundError):
        ParkedAccess("nowhere", "nowhere", Descriptors())
    assert descriptors_open() == before


def test_it_is_pickled_by_its_address(tmp_path):
    access = ParkedAccess(*files(tmp_path, 1) * 2, Descriptors())
    assert read(pickle.loads(pickle.dumps(access))) == b"0000"  # noqa: S301 (our own)


def test_what_is_written_is_read_again(tmp_path):
    pool, opened = Descriptors(1), []
    for number in range(4):
        path = str(tmp_path / f"new{number}")
        opened.append(ParkedAccess(path, path, pool, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        opened[-1].reserve(10)
    for number, access in enumerate(opened):
        access.pwrite(b"%04d" % number, 2)
    for number, access in enumerate(opened):
        access.truncate(6)
        assert read(access) == b"\0\0%04d" % number and access.identity is None
