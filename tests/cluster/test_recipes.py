"""The recipes of docs/scaling.md: the scripts run here, where `srun` starts one task, and names of Kubernetes agree.

`make test-dask` runs this in an environment of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

import nqz

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
CORES = "16"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path):
    """A folder with big.npy, where commands of Slurm start a task, or three ranks."""
    commands = {
        # what are no options of it is the command
        "srun": """for word; do case $1 in --mpi=*) ranks="mpiexec -n 3"; shift;; -*) shift;; *) break;; esac; done
exec $ranks "$@"
""",
        "nqz": f'exec {sys.executable} -m nqz "$@"\n',
        "python": f'exec {sys.executable} "$@"\n',
        "hostname": "echo 127.0.0.1\n",
    }
    (tmp_path / "bin").mkdir()
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    np.save(tmp_path / "big.npy", np.random.default_rng(1).standard_normal((256, 1000), np.float32))
    nqz.encode_set(tmp_path / "big.npy", tmp_path / "here.nqzset", rate=3)
    (tmp_path / "encode.py").write_text(blocks("python mpi")[0].replace(CORES, "2"))
    return tmp_path


@pytest.mark.parametrize("number", [0, 1], ids=["MPI", "Dask"])
def test_the_scripts_for_slurm_make_a_set(place, number):
    scripts = [block for block in blocks("sh") if "srun" in block]
    assert len(scripts) == 2
    (place / "job.sh").write_text(scripts[number].replace(CORES, "2"))
    places = os.pathsep.join([str(place / "bin"), os.path.join(sys.prefix, "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": places, "SLURM_JOB_ID": str(os.getpid())}
    environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    with (place / "said").open("w") as said:
        job = subprocess.Popen(
            ["sh", "job.sh"], cwd=place, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = job.wait(300)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)  # as Slurm ends what is still there
    assert code == 0, (place / "said").read_text()
    made, here = ([path.read_bytes() for path in place.glob(f"{name}-*.nqz")] for name in ("big", "here"))
    assert made == here and len(made) == 1


def test_what_kubernetes_is_told_fits_together():
    """The service finds the pod of the scheduler by labels that the operator gives it, and its ports by their names."""
    told = yaml.safe_load(blocks("yaml")[0])
    service, (scheduler,) = (
        told["spec"]["scheduler"]["service"],
        told["spec"]["scheduler"]["spec"]["containers"],
    )
    assert service["selector"] == {
        "dask.org/cluster-name": told["metadata"]["name"],
        "dask.org/component": "scheduler",
    }
    assert {port["targetPort"] for port in service["ports"]} == {port["name"] for port in scheduler["ports"]}
    worker = told["spec"]["worker"]["spec"]
    assert {mount["name"] for mount in worker["containers"][0]["volumeMounts"]} == {
        volume["name"] for volume in worker["volumes"]
    }
