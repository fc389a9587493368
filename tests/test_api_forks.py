"""Threads and forked children: at one open container, and while others are at work."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

import nqz
from cli_tools import MANY, matrix, process

COMMON = """
import faulthandler, os, sys, threading, time, warnings
warnings.simplefilter("ignore")  # of Python 3.12 and later, about any fork beside threads
import numpy as np, nqz, nqz.api
a = np.random.default_rng(0).standard_normal((1024, 256)).astype("f4")
def forked(work, number):
    for i in range(number):
        pid = os.fork()
        if not pid:
            faulthandler.dump_traceback_later(60, exit=True)  # a child that hangs says where
            try:
                work()
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
            os._exit(4)
        assert os.waitpid(pid, 0)[1] == 0, f"child {i}"
        time.sleep(.002 * (i % 10))
def beside(work, number, threads=2):
    stop, failed = [], []
    def loop():
        try:
            while not stop:
                work()
        except BaseException as error:
            failed.append(error)
    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        forked(work, number)
    finally:
        stop.append(1)
        for thread in running:
            thread.join()
    assert not failed, failed
"""
PARTS = {
    "encode": "work = lambda: nqz.encode(a, rate=3)",
    "encode with BLAS held": "work = lambda: nqz.encode(a, rate=3, threads=2)",
    "decode": "data = nqz.encode(a, rate=3); work = lambda: nqz.open(data).matrix.decode()",
    "matmul": "data = nqz.encode(a, rate=3); work = lambda: nqz.matmul(data, a)",
    "one open container": """
if True:
    data = nqz.encode(a, rate=3)
    with open(sys.argv[1], "wb") as file:
        file.write(data)
    whole = nqz.open(data).matrix.decode()
    both = nqz.open(data), nqz.open(sys.argv[1])
    def work():
        for container in both:
            assert np.array_equal(container.matrix.decode(), whole)
            assert container.matrix.predicted_error > 0
""",
    "parts of an array": """
if True:
    data = nqz.encode(a, rate=3)
    whole, m = nqz.open(data).matrix.decode(), nqz.open(data).matrix
    def work():
        assert (m[:, 7] == whole[:, 7]).all() and (m.T[3:9] == whole.T[3:9]).all() and m[5, 6] == whole[5, 6]
""",
}


@pytest.mark.native(reason="so many encodings take minutes there")
@pytest.mark.parametrize("what", PARTS)
def test_children_forked_while_threads_are_at_work_finish(tmp_path, what):
    """Switched often, so that forks fall between any two steps of the others."""
    forks = 1000 if MANY else 15
    program = f"{COMMON}\n{PARTS[what]}\nsys.setswitchinterval(5e-5)\nbeside(work, {forks})"
    done = process(tmp_path / "a.nqz", program=program, timeout=60 + 2 * forks)
    assert done.returncode == 0, done.stderr.decode()


def test_a_child_forked_while_a_thread_loads_nqz_is_told():
    """Python leaves the modules that are being imported locked in the child, where nobody unlocks them."""
    program = """
import builtins, os, threading, warnings
warnings.simplefilter("ignore")
import nqz
begun, go = threading.Event(), threading.Event()
real = builtins.__import__
def slow(name, *arguments):
    if name == "nqz.commands.encode":
        begun.set(), go.wait(20)
    return real(name, *arguments)
builtins.__import__ = slow
thread = threading.Thread(target=lambda: nqz.encode)
thread.start(), begun.wait(20)
pid = os.fork()
if not pid:
    try:
        nqz.encode
    except nqz.NqzError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(4)
assert os.waitpid(pid, 0)[1] == 0
go.set(), thread.join()
nqz.encode
"""
    done = process(program=program)
    assert done.returncode == 0, done.stderr.decode()
    assert b"forked while another thread was loading nqz" in done.stdout


def test_nothing_is_imported_once_the_interface_is_loaded(tmp_path):
    program = """
import os, pickle, sys, threading
import numpy as np
import nqz.api
os.chdir(os.path.dirname(sys.argv[1]))
a = np.random.default_rng(0).standard_normal((256, 64)).astype("f4")
before = set(sys.modules)
def work():
    for options in dict(rate=3), dict(rate=2, lattice="e8", coding="voronoi"), dict(error=.05), dict(max_bytes=9000):
        data = nqz.encode(a, threads=2, **options)
        nqz.open(data).matrix.decode(threads=2)
        nqz.matmul(data, data), nqz.matmul(data, a, threads=2), nqz.predicted_error(data, data)
        nqz.open(data).matrix.T @ a, nqz.open(data).matrix[3:5, [1, 2]], nqz.decode(data), nqz.inspect(data)
        nqz.verify(data, a), nqz.compare(a, data)
    few = a[:64, :8]
    data = nqz.encode(few, rate=2, coding="trellis")
    operand = nqz.open(data).matrix.operand()
    operand @ few.T, operand.T @ few, nqz.matmul(data, few)
    nqz.topk(operand, few[:, 0], 3), nqz.topk(data, few[:, 0], 3)
    np.savez("few.npz", a=few), nqz.encode("few.npz", rate=3)
    nqz.predicted_sigma(data, data), nqz.plan_product(few, few, error=.1), nqz.diff(data, data), nqz.report(data)
    nqz.sweep(a, rates=2, lattices="z"), nqz.encode({"a": a, "b": a[0]}, rate=3)
    os.mkdir("model"), nqz.decode(nqz.encode({"a": a, "b": a[0]}, rate=3), "model/a.safetensors")
    with open("model/config.json", "w") as file:
        file.write("{}")
    nqz.encode("model", "coded", rate=3, rules={"b": "exact"}), nqz.decode("coded", "back"), nqz.decode("coded")
    with nqz.open("coded") as container:
        repr(container), repr(container["a"]), container["a"][:, 3], pickle.loads(pickle.dumps(container["a"]))[3]
    nqz.open(nqz.encode(np.float32(3), rate=2))[""].decode()
    nqz.encode(a, sys.argv[1], rate=2)
thread = threading.Thread(target=work)
thread.start(), thread.join()
late = set(sys.modules) - before
sys.exit(f"imported {sorted(late)}" if late else 0)
"""
    done = process(tmp_path / "a.nqz", program=program)
    assert done.returncode == 0, done.stderr.decode()


def test_many_threads_read_one_open_container(tmp_path):
    array = matrix(300, 700)
    data = nqz.encode(array, tmp_path / "a.nqz", rate=3) or (tmp_path / "a.nqz").read_bytes()
    whole = nqz.open(data).matrix.decode()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for source in (data, tmp_path / "a.nqz"):
            with nqz.open(source) as container:
                found: list[np.ndarray] = []
                threads = [
                    threading.Thread(target=lambda c=container, f=found: f.append(c.matrix.decode()))
                    for _ in range(16)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert len(found) == 16 and all(np.array_equal(one, whole) for one in found)
    finally:
        sys.setswitchinterval(interval)
    assert os.listdir(tmp_path) == ["a.nqz"]
