"""Copies of the process: results in order, errors in their turn, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from nqz.ground.errors import NqzError, UsageError
from nqz.ground.threads import available, workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux only")


class Unpicklable(NqzError):
    """An error that no other process understands."""

    def __init__(self, text):
        super().__init__(text)
        self.held = lambda: None


def test_results_of_copies_come_in_order_and_errors_in_their_turn():
    told = []
    with workers(3, copies=True) as pool:
        tell = pool.relayed(told.append)

        def work(x, alone):
            assert alone is not pool and alone.threads == 1
            time.sleep(0.002 * (x % 3))
            tell(x)
            if x == 70:
                raise UsageError("seventy")
            if x == 80:
                raise Unpicklable("eighty")
            return x, os.getpid()

        found = list(pool.each(work, range(64), lambda x: True))
        assert [x for x, _ in found] == list(range(64)) and sorted(told) == list(range(64))
        assert len({pid for _, pid in found} - {os.getpid()}) == min(3, 2 * available())
        seen = []
        with pytest.raises(UsageError, match="seventy"):
            seen.extend(x for x, _ in pool.each(work, range(20, 100), lambda x: True))
        assert seen == list(range(20, 70))
        with pytest.raises(NqzError, match="Unpicklable: eighty"):
            list(pool.each(work, range(71, 140), lambda x: True))
        assert not children()


def test_a_few_items_or_large_ones_stay_in_the_process():
    with workers(2, copies=True) as pool:
        for items, small in ((range(30), True), (range(100), False)):
            pids = pool.each(lambda item, alone: os.getpid(), items, lambda item, small=small: small)
            assert set(pids) == {os.getpid()}


def test_a_copy_that_is_killed_is_an_error():
    def work(x, alone):
        if x == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with workers(2, copies=True) as pool, pytest.raises(NqzError, match="was killed"):
        list(pool.each(work, range(100), lambda x: True))
    assert not children()


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "model.safetensors"
    save_file({f"layer.{i}": rng.standard_normal((64, 48), np.float32) for i in range(120)}, path)
    return path


def test_many_small_tensors_have_the_same_bytes_with_any_number_of_threads(model, tmp_path):
    for threads in (1, 2, 3):
        command = [sys.executable, "-m", "nqz", "encode", model, "-r", "3", "-o", tmp_path / f"{threads}.nqz"]
        subprocess.run([*command, "-q", "--threads", str(threads)], check=True)
    one, two, three = (tmp_path.joinpath(f"{threads}.nqz").read_bytes() for threads in (1, 2, 3))
    assert one == two == three


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_copy_outlives_the_process(model, tmp_path, number):
    slow = (
        "import sys, time; import nqz.commands.encode as e; old = e.encode_matrix\n"
        "e.encode_matrix = lambda *a: (time.sleep(0.1), old(*a))[1]\n"
        "from nqz.__main__ import main; sys.exit(main())"
    )
    out = tmp_path / "out.nqz"
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "encode", model, "-r", "3", "-o", out, "-q", "--threads", "2"],
        stderr=subprocess.PIPE,
    )
    found = wait_for(lambda: children(process.pid), 2)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(number, -number)
    assert not out.exists()
    wait_for(lambda: [pid for pid in found if not os.path.exists(f"/proc/{pid}")], len(found))


def children(pid: int | None = None) -> list[int]:
    """Processes that a process has started and that are not over."""
    pid = pid or os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(number) for number in file.read().split()]


def wait_for(ask, count):
    """What `ask` finds, once it finds so many."""
    limit = time.monotonic() + 20
    while len(found := ask()) < count:
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found
