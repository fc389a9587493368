"""Outputs of processes that are killed at any step: the old file or the complete new one, and no litter."""

from __future__ import annotations

import json
import os
import re

import pytest

from cli_tools import process

PROGRAM = """
import json, os, signal, sys
from nqz.files import unfinished, unpublished
from nqz.files.output import Output
folder, ways = sys.argv[1], sys.argv[2:]
unpublished.UNNAMED, unfinished.NAMES = "unnamed" in ways, 2
path, force = os.path.join(folder, "out"), "force" in ways
NEW = bytes(range(256)) * 40

def publish(content):
    with Output(path, force=True if content is not NEW else force) as output:
        output.access.reserve(len(content) + 10)
        for start in range(0, len(content), 5000):
            output.access.pwrite(content[start:start + 5000], start)
        output.commit(len(content))

class Killing:
    # before and after each call of the system
    left = 0
    def __call__(self, frame, event, function):
        if event.startswith("c_") and getattr(function, "__module__", "") in ("posix", "fcntl"):
            self.left -= 1
            if self.left == 0:
                with open(os.path.join(folder, "step"), "w") as file:
                    file.write(f"{event} {function.__name__}")
                os.kill(os.getpid(), signal.SIGKILL)

def state():
    return {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder))}

killing, ended, sync = Killing(), False, os.fsync
while not ended:
    killing.left = steps = globals().get("steps", 0) + 1
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    if "old" in ways:
        with open(path, "wb") as file:
            file.write(b"old")
    pid = os.fork()
    if not pid:
        os.fsync = sync
        sys.setprofile(killing)
        try:
            publish(NEW)
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
        os._exit(4)
    status = os.waitpid(pid, 0)[1]
    ended = status == 0
    assert ended or status == signal.SIGKILL, status
    found = state()
    step = found.pop("step", b"end").decode()
    if not ended:
        os.unlink(os.path.join(folder, "step"))
    os.fsync = lambda fd: None  # takes most of the time, and these files are never killed
    publish(b"next")
    print(json.dumps([
        step, {name: {NEW: "new", b"old": "old"}.get(data, "part") for name, data in found.items()},
        {name: data.decode() for name, data in state().items()},
    ]))
"""


@pytest.mark.parametrize("way", ["unnamed", "named"])
@pytest.mark.parametrize("before", [[], ["force"], ["force", "old"]], ids=["new", "new with -f", "replaced"])
def test_a_kill_at_every_step(tmp_path, way, before):
    if way == "unnamed" and not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without a name")
    done = process(tmp_path, way, *before, program=PROGRAM)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [step for step, _, _ in found]
    assert steps[-1] == "end" and len(steps) > 20
    whole = "old" if "old" in before else None
    seen, litter = [], []
    for step, files, after in found:
        seen.append(files.pop("out", None))
        assert seen[-1] in (whole, "new"), step
        assert len(files) <= 1 and all(re.fullmatch(r"\.out\.\d+\.nqz\.tmp", name) for name in files), step
        litter.append(next(iter(files.values()), None))
        assert after == {"out": "next"}, step
    # the new file appears once, and is never gone again; it is on the disk before, and its folder's entry after
    appears = seen.index("new")
    assert set(seen[:appears]) == {whole} and set(seen[appears:]) == {"new"}
    synced = [index for index, step in enumerate(steps) if step == "c_return fsync"]
    assert len(synced) == 2 and synced[0] < appears < synced[1]
    if way == "unnamed":
        # a name for as long as it takes to rename it
        left = [index for index, what in enumerate(litter) if what is not None]
        assert all(litter[index] == "new" for index in left)
        assert [steps[index] for index in left] == (
            ["c_return link", "c_call replace"] if "old" in before else []
        )
    else:
        assert "part" in litter and litter[-1] is None
