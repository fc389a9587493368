"""Publishing outputs: whole or not at all, with ordinary permissions, never over an input or a device."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading

import pytest

from nqz.files import flush, unpublished
from nqz.files.output import Output
from nqz.ground.errors import DiskFullError, OutputError, OutputExistsError, UsageError


@pytest.fixture(params=[True, False], ids=["unnamed", "named"], autouse=True)
def unnamed(request, monkeypatch):
    """Files without a name until they are whole, and such with one."""
    monkeypatch.setattr(unpublished, "UNNAMED", request.param)
    return request.param and hasattr(os, "O_TMPFILE")


def identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def publish(target, content=b"new", **options):
    with Output(target, **options) as output:
        output.access.pwrite(content, 0)
        output.commit()


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_new_file(tmp_path):
    path = tmp_path / "out"
    with Output(path) as output:
        output.access.pwrite(b"def", 3)
        output.access.pwrite(b"abc", 0)
        assert not path.exists()
        output.commit()
        assert path.read_bytes() == b"abcdef"
    assert path.read_bytes() == b"abcdef"
    assert os.listdir(tmp_path) == ["out"]


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish("out")
    assert (tmp_path / "out").read_bytes() == b"new"


def test_empty_file(tmp_path):
    publish(tmp_path / "out", b"")
    assert (tmp_path / "out").read_bytes() == b""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(error), Output(path, force=True) as output:
        output.access.pwrite(b"partial", 0)
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_no_commit_no_file(tmp_path):
    with Output(tmp_path / "out") as output:
        output.access.pwrite(b"x", 0)
    assert os.listdir(tmp_path) == []


def test_existing_file_needs_force(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="exists already; use --force"):
        Output(path)
    assert path.read_bytes() == b"old"
    publish(path, force=True)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("alias", ["same", "hard link", "symbolic link"])
def test_input_is_never_the_output(tmp_path, alias):
    path = tmp_path / "x"
    path.write_bytes(b"input")
    other = tmp_path / "y"
    if alias == "hard link":
        os.link(path, other)
    elif alias == "symbolic link":
        other.symlink_to(path)
    else:
        other = path
    for force in (False, True):
        with pytest.raises(OutputExistsError, match="same file as an input"):
            Output(other, force=force, inputs=[None, identity(path)])
    assert path.read_bytes() == b"input"
    assert {"x", "y"} >= set(os.listdir(tmp_path))


def no_link(*paths, **options):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("no_links", [False, True])
def test_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch, no_links):
    if no_links:
        monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "out"
    with pytest.raises(OutputExistsError, match="appeared meanwhile"), Output(path) as output:
        output.access.pwrite(b"new", 0)
        path.write_bytes(b"other")
        output.commit()
    assert path.read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("force", [False, True])
def test_file_system_without_links(tmp_path, monkeypatch, force):
    path, content = tmp_path / "out", os.urandom(3 << 20)
    if force:
        path.write_bytes(b"old")
        path.chmod(0o640)
    monkeypatch.setattr(os, "link", no_link)
    publish(path, content, force=force)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["out"]
    if force:
        assert mode(path) == 0o640


def test_files_without_a_name_need_the_folder_of_descriptors(tmp_path, monkeypatch):
    real = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: not str(path).startswith("/proc") and real(path))
    with Output(tmp_path / "out") as output:
        assert os.listdir(tmp_path) == [".out.0.nqz.tmp"]
        output.access.pwrite(b"new", 0)
        output.commit()
    assert (tmp_path / "out").read_bytes() == b"new"


def test_leftovers_of_this_output_are_removed_and_nothing_else(tmp_path):
    """A file that another process has locked is in use."""
    ours, used = tmp_path / ".out.0.nqz.tmp", tmp_path / ".out.1.nqz.tmp"
    others = [
        ".out.2.nqz.tmp",
        ".out.3.nqz.tmp",
        ".out.16.nqz.tmp",
        ".out2.0.nqz.tmp",
        ".out.x.nqz.tmp",
        "file",
    ]
    ours.write_bytes(b"left")
    used.write_bytes(b"used")
    os.mkfifo(tmp_path / others[0])
    (tmp_path / others[1]).symlink_to("file")
    for name in others[2:]:
        (tmp_path / name).write_bytes(b"other")
    with used.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        publish(tmp_path / "out")
        assert set(os.listdir(tmp_path)) == {"out", used.name, *others}
    publish(tmp_path / "out", force=True)
    assert set(os.listdir(tmp_path)) == {"out", *others}


def test_outputs_to_one_place_at_once(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with Output(path, force=True) as first, Output(path, force=True) as second:
        first.access.pwrite(b"first", 0)
        second.access.pwrite(b"second", 0)
        first.commit()
        assert path.read_bytes() == b"first"
        with Output(path, force=True) as third:
            third.access.pwrite(b"third", 0)
            third.commit()
        second.commit()
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["out"]


def test_a_name_taken_for_a_leftover_is_not_used(tmp_path, monkeypatch, unnamed):
    """Another process may remove a file with a name before it is locked."""
    real = unpublished.locked

    def late(fd):
        monkeypatch.setattr(unpublished, "locked", real)
        for name in os.listdir(tmp_path):
            os.unlink(tmp_path / name)
        return real(fd)

    monkeypatch.setattr(unpublished, "locked", late)
    publish(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"new" and os.listdir(tmp_path) == ["out"]


def test_all_names_taken(tmp_path, unnamed):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    for number in range(16):
        (tmp_path / f".out.{number}.nqz.tmp").mkdir()
    with pytest.raises(OutputError, match="all names for unfinished files are taken"):
        publish(path, force=True)
    assert path.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 17


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_file_follows_the_umask(tmp_path, mask):
    old = os.umask(mask)
    try:
        publish(tmp_path / "out")
    finally:
        os.umask(old)
    assert mode(tmp_path / "out") == 0o666 & ~mask


@pytest.mark.parametrize("kept", [0o600, 0o664, 0o444, 0o755])
def test_replaced_file_keeps_its_mode(tmp_path, kept):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(kept)
    publish(path, force=True)
    assert path.read_bytes() == b"new" and mode(path) == kept


def test_temporary_file_is_no_more_open_than_the_target(tmp_path, unnamed):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with Output(path, force=True) as output:
        assert set(os.listdir(tmp_path)) - {"out"} == (set() if unnamed else {".out.0.nqz.tmp"})
        assert stat.S_IMODE(os.fstat(output.access.fileno()).st_mode) == 0o600


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(OutputExistsError):
        Output(link)
    publish(link, force=True)
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_dangling_link_gets_its_target(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("missing")
    publish(link)
    assert link.is_symlink() and (tmp_path / "missing").read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for target, words in (
        (tmp_path, "is a directory"),
        (str(tmp_path / "new") + "/", "is a directory"),
        (tmp_path / "missing" / "out", "there is no folder"),
        (tmp_path / "file" / "out", "not a directory"),
        ("a\0b", "cannot write"),
        (tmp_path / ("n" * 300), "file name too long"),
        ("/proc/out", "no file can be created in /proc"),
        ("", "the name is empty"),
    ):
        with pytest.raises(OutputError, match=words):
            publish(target)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError):
        Output(tmp_path / "loop", force=True)
    assert set(os.listdir(tmp_path)) == {"file", "loop"}
    for other in (17, None):
        with pytest.raises(UsageError, match="must be a path or a binary file object"):
            Output(other)


def test_longest_name(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        publish(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"


def test_folder_without_permission(tmp_path, monkeypatch):
    real = os.open

    def denied(path, flags, *args, **kwargs):
        if flags & (os.O_CREAT | os.O_RDWR):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(OutputError, match="out: cannot write: permission denied"):
        Output(tmp_path / "out")


def test_reserved_space_that_is_not_used_is_given_back(tmp_path):
    with Output(tmp_path / "out") as output:
        output.access.reserve(1 << 20)
        assert os.fstat(output.access.fileno()).st_size == 1 << 20
        output.access.pwrite(b"abcdef", 0)
        output.commit(6)
    assert (tmp_path / "out").read_bytes() == b"abcdef"


def test_size_of_a_rolled_back_output(tmp_path):
    with Output(tmp_path / "out") as output:
        output.access.reserve(0)
        output.access.pwrite(b"first attempt", 0)
        output.access.pwrite(b"second", 0)
        output.commit(6)
    assert (tmp_path / "out").read_bytes() == b"second"


@pytest.mark.parametrize("number, fails", [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False)])
def test_reserving_what_the_disk_cannot_give(tmp_path, monkeypatch, number, fails):
    def refuse(fd, offset, size):
        raise OSError(number, os.strerror(number))

    with Output(tmp_path / "out") as output:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
        if fails:
            with pytest.raises(DiskFullError, match="out: cannot write: no space left"):
                output.access.reserve(1 << 20)
        else:
            output.access.reserve(1 << 20)
            assert output.access.size == 1 << 20
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [0, errno.ENOSYS, errno.EIO])
def test_large_files_reach_the_disk_in_pieces(tmp_path, monkeypatch, number):
    calls = []

    def sync_file_range(fd, offset, size, flags):
        calls.append((offset, size))
        ctypes.set_errno(number)
        return -1 if number else 0

    monkeypatch.setattr(flush, "_PIECE", 1000)
    real = flush._sync_file_range()
    assert real is None or sys.platform == "linux"
    monkeypatch.setattr(flush, "_sync_file_range", lambda: sync_file_range)
    with Output(tmp_path / "out") as output:
        output.access.pwrite(bytes(2500), 0)
        if number == errno.EIO:
            with pytest.raises(OutputError, match="out: cannot write: input/output error"):
                output.commit()
        else:
            output.commit()
    assert calls == (
        [(0, 2000), (0, 1000), (1000, 2000), (1000, 1000), (2000, 2000), (2000, 1000)]
        if not number
        else [(0, 2000)]
    )
    assert (tmp_path / "out").exists() == (number != errno.EIO)


@pytest.mark.parametrize("call", ["pwrite", "fsync", "close"])
def test_full_disk_shows_as_one_error(tmp_path, monkeypatch, call):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    real_close = os.close
    with (
        pytest.raises(DiskFullError, match="out: cannot write: no space left"),
        Output(path, force=True) as output,
    ):
        output.access.pwrite(b"x", 0)

        def full(fd, *args):
            monkeypatch.undo()
            if call == "close":
                real_close(fd)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, call, full)
        output.access.pwrite(b"y", 0)
        output.commit()
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["out"]


def test_dev_full():
    with pytest.raises(DiskFullError, match="/dev/full: cannot write: no space left"):
        publish("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    with open("/dev/full", "wb") as file, pytest.raises(DiskFullError):
        publish(file)


def test_dev_null_needs_no_force(tmp_path):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    publish("/dev/null")
    publish(link)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and link.is_symlink()
    assert os.listdir(tmp_path) == ["null"]


def test_fifo_is_written_to(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = os.urandom(300_000)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(fifo.read_bytes()))
    thread.start()
    publish(fifo, content)
    thread.join()
    assert seen == [content]
    assert stat.S_ISFIFO(os.stat(fifo).st_mode) and os.listdir(tmp_path) == ["fifo"]


def test_failure_sends_nothing_to_a_fifo(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(fifo.read_bytes()))
    thread.start()
    with pytest.raises(RuntimeError), Output(fifo) as output:
        output.access.pwrite(b"partial", 0)
        raise RuntimeError
    thread.join()
    assert seen == [b""]


def test_file_objects(tmp_path):
    stream = io.BytesIO(b"head")
    stream.seek(4)
    publish(stream)
    assert stream.getvalue() == b"headnew"
    for buffering in (0, -1):
        with open(tmp_path / "out", "wb", buffering=buffering) as file:
            file.write(b"head")
            publish(file)
            file.write(b"tail")
        assert (tmp_path / "out").read_bytes() == b"headnewtail"
    with pytest.raises(UsageError, match="binary mode"):
        publish(io.StringIO())
    with pytest.raises(OutputError, match="closed file"):
        publish(file)


def test_file_object_over_an_input(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"input")
    with open(path, "r+b") as file, pytest.raises(OutputExistsError, match="same file as an input"):
        Output(file, inputs=[identity(path)])


class Slow(io.RawIOBase):
    """A raw file object that takes three bytes at a time, then would block."""

    def __init__(self, limit):
        self.taken = b""
        self.limit = limit

    def writable(self):
        return True

    def write(self, data):
        if len(self.taken) >= self.limit:
            return None
        self.taken += bytes(data[:3])
        return min(3, len(data))


def test_raw_file_object_that_takes_less():
    stream = Slow(100)
    publish(stream, b"0123456789")
    assert stream.taken == b"0123456789"
    with pytest.raises(OutputError, match="cannot write"):
        publish(Slow(6), b"0123456789")


def test_standard_output(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stream)
    publish("-")
    assert stream.buffer.getvalue() == b"new"
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="standard output is closed"):
        Output("-")


def test_terminal_is_refused(monkeypatch):
    main, terminal = os.openpty()
    with open(terminal, "w", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(UsageError, match="terminal"):
            Output("-")
    for path in (os.ttyname(terminal), f"/dev/fd/{terminal}"):
        with pytest.raises(UsageError, match="terminal"):
            Output(path)
    os.close(terminal)
    os.close(main)


def run(code, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=False, **options)


SCRIPT = """
import sys
from nqz.files import flush, unpublished
from nqz.files.output import Output
with Output({target!r}) as output:
    output.access.pwrite(b"new", 0)
    output.commit()
"""


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_redirected_standard_output_is_written_in_place(tmp_path, target):
    path = tmp_path / "out"
    with open(path, "wb") as file:
        file.write(b"before ")
        file.flush()
        before = identity(path)
        assert run(SCRIPT.format(target=target), stdout=file).returncode == 0
    assert path.read_bytes() == b"before new" and identity(path) == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_closed_pipe_is_a_broken_pipe_error_and_nothing_else(target):
    code = "import sys\ntry:\n" + textwrap.indent(SCRIPT.format(target=target), "    ")
    code += "\nexcept BrokenPipeError:\n    sys.exit(41)\n"
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    done = run(code, stdout=write_fd, stderr=subprocess.PIPE)
    os.close(write_fd)
    assert done.returncode == 41
    assert done.stderr == b""


def test_descriptors_are_closed(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "x"
    path.write_bytes(b"input")
    for target, options in (
        ("/dev/null", {}),
        (path, {"force": True}),
        (io.BytesIO(), {}),
    ):
        publish(target, **options)
    for target in (path, tmp_path):
        with pytest.raises((OutputExistsError, OutputError)):
            Output(target)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_place_for_the_temporary_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="temporary copy of /dev/null"):
        Output("/dev/null")
