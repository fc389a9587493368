"""Workers of Dask, real processes of which one is killed in the middle: the bytes are those of one process.

`make test-dask` runs this in an environment of its own; with NQZ_TEST_MANY the matrix has 2.1 GB.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from distributed import Client, LocalCluster

import nqz

COLUMNS = 1 << 18 if os.environ.get("NQZ_TEST_MANY") else 30_000


class Killing:
    """An executor that kills one worker when so many jobs have been given to it, and does nothing else about it."""

    def __init__(self, client, after):
        self.executor = client.get_executor(pure=False, retries=3)
        self._max_workers = 2
        self.client, self.after, self.killed = client, after, None

    def submit(self, function, *arguments):
        found = self.executor.submit(function, *arguments)
        self.after -= 1
        if self.after == 0:
            time.sleep(0.1)  # it is at work
            self.killed = next(iter(self.client.run(os.getpid).values()))
            os.kill(self.killed, signal.SIGKILL)
        return found


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as found,
    ):
        found.wait_for_workers(2)
        yield found


@pytest.fixture
def workers(client):
    """Both workers are there, also after one was killed."""
    client.wait_for_workers(2, timeout=60)
    return client


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A matrix of four panels or more, coded by one process, and another of the same length."""
    folder = tmp_path_factory.mktemp("dask")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2048, COLUMNS), np.float32)
    x *= rng.lognormal(0, 1, COLUMNS).astype(np.float32)
    np.save(folder / "x.npy", x)
    nqz.encode(folder / "x.npy", folder / "x.nqz", rate=2, lattice="z")
    np.save(folder / "y.npy", x[:, :3000] + rng.standard_normal((2048, 3000), np.float32))
    nqz.encode(folder / "y.npy", folder / "y.nqz", rate=2, lattice="z")
    return folder


@pytest.mark.parametrize("after", [3, 17])
def test_a_file_is_the_same_though_a_worker_is_killed_while_it_measures_or_codes(files, workers, after):
    executor = Killing(workers, after)
    nqz.encode(files / "x.npy", files / "again.nqz", rate=2, lattice="z", executor=executor, force=True)
    assert executor.killed
    assert (files / "again.nqz").read_bytes() == (files / "x.nqz").read_bytes()


def test_a_product_is_the_same_though_a_worker_is_killed(files, workers):
    executor = Killing(workers, 8)
    found = nqz.matmul(files / "x.nqz", files / "y.nqz", executor=executor)
    assert executor.killed
    assert np.array_equal(found, nqz.matmul(files / "x.nqz", files / "y.nqz"))


def test_hits_are_the_same_though_a_worker_is_killed(files, workers):
    executor, queries = Killing(workers, 2), np.load(files / "y.npy")[:, :50]
    found = nqz.topk([files / "x.nqz", files / "y.nqz"], queries, 5, executor=executor)
    assert executor.killed
    one = nqz.topk([files / "x.nqz", files / "y.nqz"], queries, 5)
    assert all(np.array_equal(x, y) for x, y in zip(found[:5], one[:5], strict=True))


def test_a_set_is_the_same_though_a_worker_is_killed_and_so_is_its_product(files, workers):
    nqz.encode_set(files / "x.npy", files / "x.nqzset", rate=2, lattice="z", parts=(2, 3))
    before = (files / "x.nqzset").read_bytes()
    executor = Killing(workers, 9)
    nqz.encode_set(
        files / "x.npy", files / "x.nqzset", rate=2, lattice="z", parts=(2, 3), force=True, executor=executor
    )
    assert executor.killed and (files / "x.nqzset").read_bytes() == before
    nqz.encode_set(files / "y.npy", files / "y.nqzset", rate=2, lattice="z", parts=(2, 1))
    workers.wait_for_workers(2, timeout=60)
    executor = Killing(workers, 7)
    found = nqz.matmul(files / "x.nqzset", files / "y.nqzset", executor=executor)
    assert executor.killed
    assert np.array_equal(found, nqz.matmul(files / "x.nqzset", files / "y.nqzset"))
    assert nqz.verify(files / "x.nqzset", files / "x.npy", executor=Killing(workers, 3))["ok"]


def test_the_command_starts_workers_and_says_when_no_scheduler_answers(files):
    command = [sys.executable, "-m", "nqz", "encode", str(files / "x.npy"), "-r", "2", "--lattice", "z", "-f"]
    made = files / "cli.nqz"
    found = subprocess.run(
        [*command, "-o", str(made), "--cluster", "local:2"], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    assert made.read_bytes() == (files / "x.nqz").read_bytes()
    assert found.stderr.count("\n") == 1 and "bits per entry" in found.stderr
    for cluster, code, said in (
        ("tcp://127.0.0.1:1", 3, "no scheduler with workers answers"),
        ("somewhere", 2, "a scheduler of Dask, such as tcp://HOST:8786, or local:N is needed"),
    ):
        found = subprocess.run(
            [*command, "-o", str(made), "--cluster", cluster], capture_output=True, text=True, timeout=120
        )
        assert found.returncode == code and said in found.stderr, found.stderr


def test_a_cluster_that_has_lost_all_workers_is_told_of_and_goes_on_with_the_next(files):
    made = files / "alone.nqz"
    command = [sys.executable, "-m", "nqz", "encode", str(files / "x.npy"), "-r", "2", "--lattice", "z", "-f"]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(1)
        address = cluster.scheduler_address
        with subprocess.Popen(
            [*command, "-o", str(made), "--cluster", address], stderr=subprocess.PIPE, text=True
        ) as run:
            while not client.processing() or not any(client.processing().values()):
                assert run.poll() is None
                time.sleep(0.05)
            cluster.scale(0)
            said = run.stderr.readline()
            assert said == f"nqz: note: --cluster {address}: it has no workers any more; waiting for one\n"
            cluster.scale(1)
            said = run.communicate(timeout=120)[1]
            assert run.returncode == 0, said
    assert made.read_bytes() == (files / "x.nqz").read_bytes()


def test_workers_started_here_that_do_not_come_back_end_the_command(files):
    program = """
import sys, threading, time
import distributed
import nqz.cli, nqz.cli.cluster
nqz.cli.cluster._ALONE, nqz.cli.cluster._GONE = 1.0, 3.0
class Failing(distributed.LocalCluster):
    def __enter__(self):
        found = super().__enter__()
        threading.Thread(target=lambda: (time.sleep(3), found.scale(0)), daemon=True).start()
        return found
distributed.LocalCluster = Failing
sys.exit(nqz.cli.run(sys.argv[1:]))
"""
    made = files / "gone.nqz"
    np.save(files / "long.npy", np.random.default_rng(1).standard_normal((4096, 40_000), np.float32))
    found = subprocess.run(
        [
            sys.executable, "-c", program, "encode", str(files / "long.npy"), "-r", "2", "-o", str(made), "--cluster",
            "local:1",
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    assert "all workers were lost, and none came back in 3 s; nothing was written" in found.stderr
    assert not made.exists()
