"""The main job with an installed wheel; prints which kernels it had, and a digest of all bytes that came out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import nqz
import nqz.kernels

assert sysconfig.get_path("purelib") in nqz.__file__ or sysconfig.get_path("platlib") in nqz.__file__, (
    nqz.__file__
)
assert nqz.kernels.name != "reference", "the wheel has no native kernels"
assert (Path(sysconfig.get_path("data")) / "share" / "man" / "man1" / "nqz.1").exists()

program = str(Path(sysconfig.get_path("scripts")) / "nqz")
digest = hashlib.sha256()
with tempfile.TemporaryDirectory() as folder:
    rng = np.random.default_rng(1)
    for name, columns in (("a", 96), ("b", 80)):
        np.save(f"{folder}/{name}.npy", rng.standard_normal((1024, columns), dtype=np.float32))
    for options in ([], ["--coding", "trellis"], ["--coding", "voronoi", "--lattice", "e8"]):
        commands = [["encode", f"{name}.npy", "-r", "2", *options, "--force", "-q"] for name in "ab"]
        commands.append(["matmul", "a.nqz", "b.nqz", "-o", "c.npy", "--force", "-q"])
        commands.append(["verify", "a.nqz", "--against", "a.npy", "-q"])
        for command in commands:
            subprocess.run([program, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for file in ("a.nqz", "b.nqz", "c.npy"):
            digest.update(Path(folder, file).read_bytes())
try:  # what the kernels throw passes through the C++ library of the system
    nqz.kernels.rotate(np.zeros((3, 5), dtype=np.float32), np.zeros((3, 1), dtype=np.uint64), inverse=False)
except ValueError as error:
    digest.update(str(error).encode())
else:
    raise AssertionError("a wrong size was taken")
sys.stdout.write(f"{nqz.__version__}, {nqz.kernels.name}, {digest.hexdigest()[:16]}\n")
