"""Folders that are published: what was there or the complete new one, at every step, and nothing of others is lost."""

from __future__ import annotations

import errno
import json
import os
import re
import stat

import pytest

from cli_tools import listing, process
from nqz.files import folder as folders
from nqz.files import mark, rename
from nqz.files.folder import OutputFolder
from nqz.ground.errors import DiskFullError, OutputError, OutputExistsError, UsageError


def publish(path, content=b"new", force=False, **options):
    """Publish a folder with a file and one below."""
    with OutputFolder(path, force=force, **options) as output:
        output.write("file", content)
        output.write("sub/file", content)
        output.commit()


def content(path):
    """What is in a folder that was published."""
    return {name: (path / name).read_bytes() for name in ("file", "sub/file")}


@pytest.fixture(params=["exchange", "aside", "file"])
def ways(request, monkeypatch):
    """With all that Linux has; without the exchange of names; without attributes of folders."""
    if request.param == "aside":
        monkeypatch.setattr(rename, "AVAILABLE", False)
    if request.param == "file":
        monkeypatch.delattr(os, "setxattr", raising=False)
        monkeypatch.delattr(os, "getxattr", raising=False)
    return request.param


def test_a_folder_appears_whole(tmp_path, ways):
    out = tmp_path / "out"
    with OutputFolder(out) as output:
        output.write("file", b"new")
        assert not out.exists() and len(listing(tmp_path)) == 1
        output.commit()
    assert listing(tmp_path) == ["out"]
    assert listing(out) == ([".nqz-wrote", "file"] if ways == "file" else ["file"])


def test_nothing_appears_without_commit(tmp_path):
    with pytest.raises(ZeroDivisionError), OutputFolder(tmp_path / "out") as output:
        output.write("sub/file", b"new")
        raise ZeroDivisionError
    assert listing(tmp_path) == []


def test_what_nqz_wrote_is_replaced_if_forced(tmp_path, ways):
    out = tmp_path / "out"
    publish(out)
    with pytest.raises(OutputExistsError, match="exists already; use --force"):
        publish(out)
    publish(out, b"newer", force=True)
    assert content(out) == {"file": b"newer", "sub/file": b"newer"} and listing(tmp_path) == ["out"]


@pytest.mark.parametrize("change", ["added", "below", "edited", "removed", "renamed", "replaced", "linked"])
def test_what_others_changed_is_never_replaced(tmp_path, ways, change):
    out = tmp_path / "out"
    publish(out)
    if change in ("added", "below"):
        (out / ("sub/notes" if change == "below" else "notes")).write_text("mine")
    elif change == "edited":
        os.utime(out / "file", ns=(0, 0))
    elif change == "removed":
        (out / "file").unlink()
    elif change == "renamed":
        (out / "file").rename(out / "other")
    elif change == "linked":
        (out / "file").unlink()
        (out / "file").symlink_to("/etc/passwd")
    else:
        out.rename(tmp_path / "kept")
        out.mkdir()
        (out / "file").write_text("mine")
    before = sorted(map(str, tmp_path.rglob("*")))
    with pytest.raises(OutputExistsError, match="is not a folder as nqz left it, and is never replaced"):
        publish(out, force=True)
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_an_empty_folder_and_one_that_moved_may_be_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    publish(tmp_path / "empty", force=True)
    (tmp_path / "empty").rename(tmp_path / "moved")
    publish(tmp_path / "moved", b"newer", force=True)
    assert content(tmp_path / "moved")["file"] == b"newer" and listing(tmp_path) == ["moved"]


def test_a_file_is_never_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExistsError, match="is no folder"):
        publish(tmp_path / "file", force=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputExistsError, match="is no folder"):
        publish(tmp_path / "pipe", force=True)
    with pytest.raises(UsageError):
        publish("-")


@pytest.mark.parametrize("force", [False, True])
def test_what_appears_meanwhile_stays(tmp_path, ways, force):
    out = tmp_path / "out"
    if force:
        publish(out)
    with (
        pytest.raises(OutputExistsError, match="meanwhile"),
        OutputFolder(out, force=force) as output,
    ):
        output.write("file", b"new")
        out.mkdir(exist_ok=True)
        (out / "mine").write_text("mine")
        output.commit()
    assert (out / "mine").read_text() == "mine" and listing(tmp_path) == ["out"]


def test_neither_in_the_other(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    inputs = [str(tmp_path / "in")]
    for out, words in (
        ("in", "is an input"), ("link", "is an input"), ("in/out", "is inside"), ("link/deep/x", "is inside"),
    ):  # fmt: skip
        with pytest.raises(OutputExistsError, match=words):
            publish(tmp_path / out, inputs=inputs, force=True)
    with pytest.raises(OutputExistsError, match="has the input"):
        publish(tmp_path / "in", inputs=[str(tmp_path / "in" / "deep")], force=True)
    publish(tmp_path / "in2", inputs=inputs)


def test_modes_follow_the_umask_and_what_is_replaced(tmp_path):
    old = os.umask(0o027)
    try:
        (tmp_path / "run.sh").write_text("")
        (tmp_path / "run.sh").chmod(0o555)
        with OutputFolder(tmp_path / "out") as output:
            output.copy(str(tmp_path / "run.sh"), "run.sh", 0o555)
            output.write("sub/file", b"")
            output.commit()
        modes = {
            p: stat.S_IMODE((tmp_path / "out" / p).stat().st_mode) for p in ("", "sub", "run.sh", "sub/file")
        }
        assert modes == {"": 0o750, "sub": 0o750, "run.sh": 0o750, "sub/file": 0o640}
        (tmp_path / "out").chmod(0o700)
        publish(tmp_path / "out", force=True)
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    finally:
        os.umask(old)


def test_links_to_the_output_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/out")
    publish(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and listing(tmp_path / "real") == ["out"]


def test_leftovers_of_this_output_are_removed_and_nothing_else(tmp_path):
    for name in (".out.0.nqz.tmp", ".out.5.nqz.tmp", ".out2.0.nqz.tmp", ".out.16.nqz.tmp"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text("left")
    (tmp_path / ".out.1.nqz.tmp").write_text("a file of another output")
    with OutputFolder(tmp_path / "out") as other:
        (at_work,) = set(listing(tmp_path)) - {".out2.0.nqz.tmp", ".out.16.nqz.tmp", ".out.1.nqz.tmp"}
        publish(tmp_path / "out")
        assert at_work in listing(tmp_path)  # its process is not at its end
        with pytest.raises(OutputExistsError, match="appeared meanwhile"):
            other.commit()
    assert listing(tmp_path) == [".out.1.nqz.tmp", ".out.16.nqz.tmp", ".out2.0.nqz.tmp", "out"]


def test_what_went_aside_is_put_back(tmp_path):
    publish(tmp_path / "out")
    os.rename(tmp_path / "out", folders._aside(str(tmp_path / "out")))
    with OutputFolder(tmp_path / "out", force=True):
        assert content(tmp_path / "out")["file"] == b"new"
    assert listing(tmp_path) == ["out"]


def test_what_went_aside_is_put_back_at_once_after_a_failure(tmp_path, monkeypatch):
    def failing(old, new):
        if "old" not in old:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.rename(old, new)

    publish(tmp_path / "out")
    monkeypatch.setattr(rename, "AVAILABLE", False)
    monkeypatch.setattr(folders, "rename_new", failing)
    with pytest.raises(OutputError, match=r"out: cannot write: input/output error"):
        publish(tmp_path / "out", b"newer", force=True)
    assert content(tmp_path / "out")["file"] == b"new" and listing(tmp_path) == ["out"]


@pytest.mark.parametrize("number, kind", [(errno.ENOSPC, DiskFullError), (errno.EIO, OutputError)])
def test_a_disk_that_fails_publishes_nothing(tmp_path, monkeypatch, number, kind):
    def failing(*arguments):
        raise OSError(number, os.strerror(number))

    publish(tmp_path / "out")
    for place, name in ((os, "mkdir"), (os, "pwrite"), (folders, "flush"), (folders, "write_mark")):
        with monkeypatch.context() as patch, pytest.raises(kind, match=r"out.*: cannot write"):
            patch.setattr(place, name, failing)
            publish(tmp_path / "out", b"newer", force=True)
        assert content(tmp_path / "out")["file"] == b"new" and listing(tmp_path) == ["out"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"there is no folder .*nowhere"):
        publish(tmp_path / "nowhere" / "out")
    with pytest.raises(OutputError, match="cannot write"):
        publish(f"{tmp_path}/a\0b")


def test_a_mark_is_of_one_state_only(tmp_path, ways):
    publish(tmp_path / "out")
    assert mark.has_mark(str(tmp_path / "out")) and not mark.has_mark(str(tmp_path))
    assert not mark.has_mark(str(tmp_path / "nowhere"))
    publish(tmp_path / "other", b"other")
    if ways == "file":  # copied into another folder it says nothing
        (tmp_path / "out" / mark.FILE).write_bytes((tmp_path / "other" / mark.FILE).read_bytes())
        assert not mark.has_mark(str(tmp_path / "out"))


KILLS = """
import json, os, shutil, signal, sys
from nqz.files import mark, rename
from nqz.files.folder import OutputFolder
folder, ways = sys.argv[1], sys.argv[2:]
rename.AVAILABLE = "aside" not in ways
path = os.path.join(folder, "out")

def publish(content):
    with OutputFolder(path, force="old" in ways or content == b"next") as output:
        output.write("file", content)
        output.write("sub/file", content)
        output.commit()

class Killing:
    # before and after each call of the system
    left = 0
    def __call__(self, frame, event, function):
        named = getattr(function, "__module__", "") in ("posix", "fcntl")
        if event.startswith("c_") and (named or type(function).__name__ == "_FuncPtr"):
            self.left -= 1
            if self.left == 0:
                with open(os.path.join(folder, "step"), "w") as file:
                    file.write(f"{event} {getattr(function, '__name__', 'renameat2')}")
                os.kill(os.getpid(), signal.SIGKILL)

def state():
    found = {}
    for name in sorted(os.listdir(folder)):
        if name != "step":
            files = [os.path.join(folder, name, file) for file in ("file", "sub/file")]
            found[name] = [open(file).read() if os.path.exists(file) else None for file in files]
    return found

os.fsync = lambda fd: None  # takes most of the time
killing, ended, steps = Killing(), False, 0
while not ended:
    steps += 1
    for name in os.listdir(folder):
        entry = os.path.join(folder, name)
        shutil.rmtree(entry) if os.path.isdir(entry) else os.unlink(entry)
    if "old" in ways:
        publish(b"old")
    killing.left = steps
    pid = os.fork()
    if not pid:
        sys.setprofile(killing)
        try:
            publish(b"new")
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
        os._exit(4)
    status = os.waitpid(pid, 0)[1]
    ended = status == 0
    assert ended or status == signal.SIGKILL, status
    found, step = state(), "end"
    if not ended:
        step = open(os.path.join(folder, "step")).read()
        os.unlink(os.path.join(folder, "step"))
    try:
        publish(b"next")
        after = state()
    except Exception as error:
        after = repr(error)
    print(json.dumps([step, found, after]))
"""


@pytest.mark.parametrize("ways", [[], ["old"], ["old", "aside"]], ids=["new", "replaced", "put aside"])
def test_a_kill_at_every_step(tmp_path, ways):
    done = process(tmp_path, *ways, program=KILLS, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[-1][0] == "end" and len(found) > 60
    seen = []
    for step, state, after in found:
        seen.append(state.pop("out", None))
        assert seen[-1] in ([["old", "old"]] if "old" in ways else [None]) + [["new", "new"]] or (
            "aside" in ways and seen[-1] is None and ["old", "old"] in state.values()
        ), step
        assert all(re.fullmatch(r"\.out\.(\d+|[0-9a-f]{8}\.old)\.nqz\.tmp", name) for name in state), step
        assert after == {"out": ["next", "next"]}, step
    assert seen[-1] == ["new", "new"]
    appears = seen.index(["new", "new"])
    assert all(one == ["new", "new"] for one in seen[appears:])


def test_a_file_like_a_mark_counts_where_the_mark_is_apart(tmp_path):
    publish(tmp_path / "out")
    (tmp_path / "out/.nqz-wrote").write_text("mine")
    with pytest.raises(OutputExistsError, match="never replaced"):
        publish(tmp_path / "out", force=True)
    assert (tmp_path / "out/.nqz-wrote").read_text() == "mine"


@pytest.mark.parametrize("commits", [True, False])
def test_a_folder_in_the_place_of_the_unfinished_one_is_left_alone(tmp_path, commits):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/precious").write_text("mine")
    with pytest.raises((OutputError, ZeroDivisionError)), OutputFolder(tmp_path / "out") as output:
        output.write("file", b"new")
        [unfinished] = [name for name in listing(tmp_path) if name.endswith(".nqz.tmp")]
        (tmp_path / unfinished).rename(tmp_path / "moved")
        (tmp_path / "theirs").rename(tmp_path / unfinished)
        if not commits:
            raise ZeroDivisionError
        output.commit()
    assert (tmp_path / unfinished / "precious").read_text() == "mine"
    assert not (tmp_path / "out").exists()
