"""Executors of other packages: ranks of MPI, and loky's processes. The bytes are those of one process.

`make test-dask` runs this in an environment of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import loky
import numpy as np
import pytest

import nqz
from nqz.ground.errors import NqzError

OPTIONS = {"rate": 2, "lattice": "z"}

PROGRAM = """
import sys
import loky
import numpy as np
from mpi4py.futures import MPIPoolExecutor
import nqz
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        assert executor.num_workers == 2
        nqz.encode("x.npy", "mpi.nqz", rate=2, lattice="z", executor=executor)
        nqz.encode_set("x.npy", "mpi.nqzset", rate=2, lattice="z", parts=(2, 2), executor=executor)
        np.save("mpi.npy", nqz.matmul("mpi.nqzset", "mpi.nqzset", executor=executor))
        np.save("hits.npy", nqz.topk("mpi.nqz", np.load("x.npy")[:, :9], 5, executor=executor)[1])
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A matrix of two panels, coded by one process, as a file and as a set."""
    folder = tmp_path_factory.mktemp("executors")
    np.save(folder / "x.npy", np.random.default_rng(1).standard_normal((4096, 4500), np.float32))
    nqz.encode(folder / "x.npy", folder / "x.nqz", **OPTIONS)
    nqz.encode_set(folder / "x.npy", folder / "x.nqzset", parts=(2, 2), **OPTIONS)
    return folder


def test_ranks_of_mpi_make_what_one_process_makes(files):
    places = os.pathsep.join([os.path.join(sys.prefix, "bin"), os.environ["PATH"]])
    mpiexec = shutil.which("mpiexec", path=places)
    assert mpiexec is not None, "mpich brings it"
    (files / "program.py").write_text(PROGRAM)
    # Open MPI asks for both where there are few processors, and in containers
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    found = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "program.py"],
        cwd=files, env={**os.environ, **allowed, "OMPI_MCA_rmaps_base_oversubscribe": "1", "PATH": places},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert (files / "mpi.nqz").read_bytes() == (files / "x.nqz").read_bytes()
    assert np.array_equal(np.load(files / "mpi.npy"), nqz.matmul(files / "x.nqzset", files / "x.nqzset"))
    hits = nqz.topk(files / "x.nqz", np.load(files / "x.npy")[:, :9], 5)
    assert np.array_equal(np.load(files / "hits.npy"), hits[1])


def test_processes_of_loky_make_what_one_process_makes_and_one_that_is_lost_is_an_error(files):
    executor = loky.get_reusable_executor(max_workers=2)
    nqz.encode(files / "x.npy", files / "loky.nqz", executor=executor, **OPTIONS)
    assert (files / "loky.nqz").read_bytes() == (files / "x.nqz").read_bytes()
    found = nqz.matmul(files / "x.nqzset", files / "x.nqzset", executor=executor)
    assert np.array_equal(found, nqz.matmul(files / "x.nqzset", files / "x.nqzset"))
    executor.submit(os.kill, executor.submit(os.getpid).result(), signal.SIGKILL)
    with pytest.raises(NqzError, match="a worker of the executor was lost"):
        for _ in range(50):  # the one that is lost may be noticed later
            nqz.encode(files / "x.npy", files / "lost.nqz", executor=executor, force=True, **OPTIONS)
    executor.shutdown(kill_workers=True)
