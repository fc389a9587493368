"""The program as a process: signals, pipes, terminals, devices, what it imports."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import environment, listing, matrix, process, save
from nqz.cli.progress import Lines, Progress

AT_ONCE = """
import sys, rich.progress, nqz.cli, nqz.cli.progress
nqz.cli.progress._DELAY = 0
update = rich.progress.Progress.update
rich.progress.Progress.update = lambda *arguments, **fields: update(*arguments, **fields, refresh=True)
sys.exit(nqz.cli.main())
"""
SLOW_STEP = """
import ctypes, sys, time
import nqz.cli, nqz.cli.{command} as module, nqz.files.unpublished
nqz.files.unpublished.UNNAMED = {unnamed}
def slow(*arguments, **options):
    print("working", file=sys.stderr, flush=True)
    if {native}:
        ctypes.CDLL(None).sleep(30)  # like a long kernel: no Python runs in this thread
    time.sleep(30)
setattr(module, {function!r}, slow)
sys.exit(nqz.cli.main())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a.npy and a.nqz."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(96, 20))
    nqz.encode(np.load("a.npy"), "a.nqz", rate=3)
    return tmp_path


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, *arguments], env=environment(), **options)


def wait_for(stream, text):
    line = stream.readline()
    assert text in line, line


@pytest.mark.parametrize("unnamed", [False, True])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_clean_up_at_once(folder, number, code, word, native, unnamed):
    (folder / "old.npy").write_bytes(b"precious")
    program = SLOW_STEP.format(command="decode", function="decode_together", native=native, unnamed=unnamed)
    child = start("-c", program, "decode", "a.nqz", "-o", "old.npy", "-f", stderr=subprocess.PIPE, text=True)
    wait_for(child.stderr, "working")
    unfinished = [] if unnamed and hasattr(os, "O_TMPFILE") else [".old.npy.0.nqz.tmp"]
    assert listing(folder) == [*unfinished, "a.npy", "a.nqz", "old.npy"]
    begin = time.monotonic()
    child.send_signal(number)
    _, error = child.communicate(timeout=20)
    assert child.returncode == code
    assert error == f"nqz: error: {word}\n"
    assert time.monotonic() - begin < 2.0
    assert listing(folder) == ["a.npy", "a.nqz", "old.npy"]
    assert (folder / "old.npy").read_bytes() == b"precious"


WRITING = """
import contextlib, os, sys, threading, time
from concurrent.futures import Executor, Future
import nqz.__main__ as program, nqz.cli.set as command
from nqz.commands.sets.create import code_part

class Told(Future):
    '''Says when somebody waits for it.'''

    def result(self, timeout=None):
        print("working", file=sys.stderr, flush=True)
        return super().result(timeout)

class Elsewhere(Executor):
    '''Works on jobs here, but on the first part that is coded only when somebody lets it: there is `go`.'''
    held = False

    def submit(self, call, tag, function, job):
        here = self.held or function is not code_part
        future = Future() if here else Told()
        future.set_running_or_notify_cancel()
        if here:
            future.set_result(call(tag, function, job))
        else:
            self.held = True
            threading.Thread(target=self.late, args=(future, call, tag, function, job), daemon=True).start()
        return future

    def late(self, future, call, tag, function, job):
        while not os.path.exists("go"):
            time.sleep(0.01)
        future.set_result(call(tag, function, job))

@contextlib.contextmanager
def executor(cluster):
    yield Elsewhere()

command.executor_of = executor
sys.exit(program.main())
"""


@pytest.mark.parametrize("patience", [True, False], ids=["waits", "twice"])
def test_an_interrupt_waits_for_workers_that_write_and_the_next_one_does_not(folder, patience):
    """What they write is removed, once they are done; after a second interrupt, what is there by then."""
    there = listing(folder)
    words = ["set", "create", "a.npy", "-r", "8", "--parts", "1x2", "-o", "s.nqzset", "--no-progress"]
    child = start("-c", WRITING, *words, stderr=subprocess.PIPE, text=True)
    wait_for(child.stderr, "working")
    child.send_signal(signal.SIGINT)
    note = child.stderr.readline()
    assert note.startswith("nqz: note: waiting for 1 job that workers are at"), note
    assert "interrupt to leave at once" in note
    time.sleep(0.6)  # longer than anybody else has to clean up
    assert child.poll() is None
    begin = time.monotonic()
    if patience:
        (folder / "go").touch()
    else:
        child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=20)
    assert (child.returncode, error) == (130, "nqz: error: interrupted\n")
    assert time.monotonic() - begin < 2.0
    assert listing(folder) == sorted([*there, *["go"] * patience])


LONG = {
    "encode": ["encode", "big.npy", "-r", "2", "--states", "4096", "-o", "old", "-f"],
    "encode many": ["encode", "many.safetensors", "-r", "2", "--states", "4096", "-o", "old", "-f"],
    "decode": ["decode", "big.nqz", "-o", "old.npy", "-f"],
    "matmul": ["matmul", "big.nqz", "big.npy", "-o", "old.npy", "-f"],
    "verify": ["verify", "big.nqz", "--against", "big.npy"],
    "sweep": ["sweep", "big.npy", "--against", "big.npy", "-o", "old.json", "-f"],
}


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A folder with a matrix that keeps every command busy for a while, many smaller ones, and old outputs."""
    folder = tmp_path_factory.mktemp("big")
    block = matrix(1024, 512)
    save_file({f"m{i}": np.roll(block, i, axis=0) for i in range(24)}, folder / "many.safetensors")
    save(folder / "big.npy", np.concatenate([np.roll(block, i, axis=0) for i in range(24)], axis=1))
    assert process("encode", folder / "big.npy", "-r", "2", "--lattice", "z").returncode == 0
    for name in ("old", "old.npy", "old.json"):
        (folder / name).write_bytes(b"precious")
    return folder


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("command", LONG)
def test_an_interrupt_at_any_moment(big, monkeypatch, tmp_path, command, delay):
    """While the program loads, measures, codes, multiplies, writes: at once, and without a trace."""
    monkeypatch.chdir(big)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = {name: os.stat(name).st_mtime_ns for name in listing(big)}
    # what comes before, the interpreter itself, is not ours
    program = "import sys, nqz.__main__ as p; print('up', file=sys.stderr, flush=True); sys.exit(p.main())"
    child = start("-c", program, *LONG[command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(child.stderr, b"up")
    time.sleep(delay)
    running = child.poll() is None
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=20)
    took = time.monotonic() - begin
    if running and child.returncode:
        assert (child.returncode, out, error) == (130, b"", b"nqz: error: interrupted\n")
        assert took < 1.5  # half a second, and what a busy machine adds
        assert {name: os.stat(name).st_mtime_ns for name in listing(big)} == before
    else:  # on a fast machine it was done already
        assert child.returncode == 0
        for name in ("old", "old.npy", "old.json"):
            (big / name).write_bytes(b"precious")
    assert listing(tmp_path) == []


def test_an_interrupt_of_a_whole_pipeline(big, monkeypatch, tmp_path):
    monkeypatch.chdir(big)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = listing(big)
    nqz_ = f"{sys.executable} -m nqz"
    # nobody reads what comes out, so that the pipeline never ends by itself
    line = f"cat big.npy | {nqz_} encode - -r 2 --lattice z | {nqz_} decode - | sleep 30"
    shell = subprocess.Popen(
        ["sh", "-c", f"trap : INT; {line}; echo over"], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    time.sleep(1.0)
    begin = time.monotonic()
    os.killpg(shell.pid, signal.SIGINT)
    out, error = shell.communicate(timeout=20)
    assert time.monotonic() - begin < 1.5
    assert out == b"over\n"
    # the encoder may be done by then
    errors = [line for line in error.splitlines() if line.startswith(b"nqz: error")]
    assert errors and set(errors) == {b"nqz: error: interrupted"}
    assert listing(big) == before and listing(tmp_path) == []


@pytest.mark.parametrize(
    "number, code, word", [("INT", 130, "interrupted"), ("TERM", 143, "terminated"), ("HUP", 129, "hung up")]
)
def test_an_interrupt_while_the_program_loads(folder, number, code, word):
    program = (
        "import os, signal, sys\n"
        "import nqz.__main__ as program\n"
        "class Importing:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'click':\n"
        f"            os.kill(os.getpid(), signal.SIG{number})\n"
        "sys.meta_path.insert(0, Importing())\n"
        "sys.exit(program.main())"
    )
    done = process("inspect", "a.nqz", program=program)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", f"nqz: error: {word}\n".encode())


def test_an_interrupt_after_the_end_is_too_late(folder):
    program = (
        "import atexit, os, signal, sys\n"
        "import nqz.cli\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.exit(nqz.cli.main())"
    )
    done = process("inspect", "a.nqz", "--json", program=program)
    assert done.returncode == 0 and done.stdout.endswith(b"}\n") and done.stderr == b""


def test_kill_leaves_the_old_file_whole(folder):
    (folder / "old.npy").write_bytes(b"precious")
    program = SLOW_STEP.format(command="decode", function="decode_together", native=False, unnamed=True)
    child = start("-c", program, "decode", "a.nqz", "-o", "old.npy", "-f", stderr=subprocess.PIPE, text=True)
    wait_for(child.stderr, "working")
    child.kill()
    child.communicate(timeout=20)
    assert (folder / "old.npy").read_bytes() == b"precious"


def test_an_interrupt_that_is_ignored_stays_ignored(folder):
    program = SLOW_STEP.format(command="verify", function="verify_parts", native=False, unnamed=True)
    program = program.replace(
        "time.sleep(30)", "time.sleep(1); return {'tensors': [], 'file_bytes': 0, 'problem': None}"
    )
    child = start(
        "-c", program, "verify", "a.nqz", "-q", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    wait_for(child.stderr, "working")
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=20)[1] == ""
    assert child.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "a.npy", "-r", "3", "-o", "-"],
        ["decode", "a.nqz", "-o", "-"],
        ["matmul", "a.nqz", "a.npy"],
        ["inspect", "a.nqz"],
        ["verify", "a.nqz"],
    ],
)
def test_a_closed_pipe_is_quiet(folder, arguments):
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as stream:
        done = process(*arguments, stdout=stream, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize(
    "arguments", [["inspect", "a.nqz", "--json"], ["matmul", "a.nqz", "a.npy"], ["verify", "a.nqz"]]
)
def test_a_full_device_as_standard_output(folder, arguments):
    with open("/dev/full", "wb") as stream:
        done = process(*arguments, "-q", stdout=stream, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 11
    assert (
        done.stderr == b"nqz: error: <stdout>: cannot write: no space left on device; "
        b"free some space or write elsewhere\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["encode", "--help"]])
def test_a_full_device_as_standard_output_of_help(folder, arguments):
    with open("/dev/full", "wb") as stream:
        done = process(*arguments, stdout=stream, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 11
    assert done.stderr.startswith(b"nqz: error: <stdout>: cannot write: no space left on device")


@pytest.mark.parametrize("arguments", [["inspect", "a.nqz"], ["matmul", "a.nqz", "a.npy"]])
def test_a_closed_standard_output(folder, arguments):
    done = process(
        *arguments,
        "-q",
        preexec_fn=lambda: os.close(1),
        stdout=None,
        stderr=subprocess.PIPE,
        capture_output=False,
    )
    assert done.returncode == 10
    assert done.stderr == b"nqz: error: <stdout>: standard output is closed\n"


def test_a_limit_on_the_size_of_files(folder):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    before = listing(folder)
    done = process("decode", "a.nqz", "-o", "big.npy", preexec_fn=limit)
    assert done.returncode == 10
    assert done.stderr == b"nqz: error: big.npy: cannot write: file too large\n"
    assert listing(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [["encode", "a.npy", "-r", "3", "-o", "-"], ["decode", "a.nqz", "-o", "-"], ["matmul", "a.nqz", "a.npy"]],
)
def test_a_terminal_gets_no_binary_data(folder, arguments):
    master, slave = pty.openpty()
    try:
        done = process(*arguments, stdout=slave, stderr=subprocess.PIPE, capture_output=False)
        assert done.returncode == 2
        assert b"terminal" in done.stderr and done.stderr.count(b"\n") == 1
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
    finally:
        os.close(slave)
        os.close(master)


def test_a_terminal_gives_no_input(folder):
    master, slave = pty.openpty()
    try:
        done = process("encode", "-", "-r", "3", "-o", "x.nqz", stdin=slave)
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 2 and b"terminal" in done.stderr


def terminal_output(program, *arguments):
    """Run with standard error on a terminal; return (what came there, standard output)."""
    master, slave = pty.openpty()
    text = bytearray()

    def read():  # meanwhile: a terminal holds a few kilobytes only
        with contextlib.suppress(OSError):  # how the end of a terminal reads
            while piece := os.read(master, 4096):
                text.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = process(
            *arguments, program=program, stdout=subprocess.PIPE, stderr=slave, capture_output=False
        )
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    assert done.returncode == 0, bytes(text)
    return bytes(text), done.stdout


def test_progress_only_on_a_terminal(folder):
    command = ["encode", "a.npy", "-r", "3", "-f"]
    text, out = terminal_output(AT_ONCE, *command)
    assert b"encoding" in text and b"%" in text and out == b""
    assert b"encoding" not in terminal_output(AT_ONCE, *command, "--no-progress")[0]
    assert terminal_output(AT_ONCE, *command, "-q")[0] == b""
    done = process(*command, program=AT_ONCE)
    assert done.returncode == 0 and b"encoding" not in done.stderr and done.stderr.count(b"\n") == 1


IN_A_LOG = """
import sys, time, nqz.cli, nqz.cli.progress
nqz.cli.progress._INTERVAL = 0.02
class Slow(nqz.cli.progress.Lines):
    def __call__(self, name, amount):
        super().__call__(name, amount)
        time.sleep(0.06)
nqz.cli.progress.Lines = Slow
sys.exit(nqz.cli.main())
"""


def test_progress_in_a_log_is_a_line_now_and_then(folder):
    save_file({"first": matrix(64, 9), "second": matrix(64, 11)}, "m.safetensors")
    command = ["encode", "m.safetensors", "-r", "3", "-f", "--progress", "-q", "--threads", "1"]
    done = process(*command, program=IN_A_LOG)
    assert done.returncode == 0 and done.stdout == b""
    lines = done.stderr.decode().splitlines()
    step = r"(measuring|coding|coding again) (first|second)"
    left = rf"nqz: encoding m\.safetensors: {step}: \d+ %, \S+ [kMG]?B/s, \d:\d\d:\d\d left"
    begun = r"nqz: encoding m\.safetensors: measuring first: 0 %"
    assert len(lines) > 2 and [line for line in lines if not re.fullmatch(f"{left}|{begun}", line)] == []
    assert any(re.fullmatch(left, line) for line in lines)
    assert process(*command).stderr == b""  # it was done before the first line
    for ways in ([], ["--no-progress"]):
        assert b"%," not in process(*command[:5], *ways, program=IN_A_LOG).stderr


def test_progress_names_the_file_of_the_tensor_at_hand():
    lines = Lines("decoding", {None: 10, "a": 50.0, "b": 50.0}, None, {None: "m", "a": "1.nqz", "b": "2.nqz"})
    assert lines.line() == "nqz: decoding m: checksums: 0 %"
    lines("b", 25.0)
    assert re.fullmatch(r"nqz: decoding 2\.nqz: b: 23 %, \S+ [kMG]?B/s, 0:00:00 left", lines.line())


@pytest.mark.parametrize(
    "what, arguments, names",
    [
        ("encoding", ["encode", "m.safetensors", "-r", "3", "-o", "-"], ["coding first", "coding second"]),
        ("decoding", ["decode", "m.nqz", "-o", "-"], ["checksums", "first", "second", "bias"]),
        (
            "multiplying",
            ["matmul", "m.nqz", "m.safetensors", "-o", "x.safetensors"],
            ["decoding first", "computing second"],
        ),
        ("verifying", ["verify", "m.nqz", "--against", "m.safetensors"], ["checksums", "comparing second"]),
        ("sweeping", ["sweep", "a.npy", "--against", "a.npy", "-r", "2"], ["exact product", "e8 2", "z 2"]),
    ],
)
def test_progress_shows_what_how_fast_and_how_long(folder, what, arguments, names):
    tensors = {"first": matrix(64, 9), "second": matrix(64, 11), "bias": matrix(5)}
    save_file(tensors, "m.safetensors")
    assert process("encode", "m.safetensors", "-r", "3").returncode == 0
    text, out = terminal_output(AT_ONCE, *arguments)
    lines = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", text).decode().splitlines()
    totals = [line for line in lines if line.startswith(f"{what} ")]
    assert any(re.match(rf"{what} .*(safetensors|m\.nqz|a\.npy)", line) for line in totals)
    assert re.search(r" 100% \S+ [kMG]?B/s \d+:\d\d:\d\d left", totals[-1])
    for name in names:
        assert any(re.match(rf"{name} .*\d%", line) for line in lines), (name, lines)
    assert "━".encode() not in out
    quiet = process(*arguments)
    assert quiet.stdout == out and b"left" not in quiet.stderr


def test_progress_of_a_matrix_that_is_coded_again():
    bar = Progress("encoding", {"w": 100.0}, {"w": (("measuring", 0.25), ("coding", 0.75))})
    bar("w", 25.0)
    assert bar._stage("w") == ("measuring", 0.5) and bar._spent == pytest.approx(12.5)
    bar("w", 50.0)
    assert bar._stage("w") == ("coding", 0.5) and bar._spent == pytest.approx(62.5)
    bar("w", 50.0)
    assert bar._stage("w") == ("coding again", 0.5) and bar._spent == pytest.approx(100.0)


def test_a_terminal_of_unknown_width_gets_eighty_columns(folder):
    master, slave = pty.openpty()  # its size is 0 x 0
    done = process(
        "verify", "a.nqz", "--against", "a.npy", stdout=slave, stderr=subprocess.PIPE, capture_output=False
    )
    os.close(slave)
    text = os.read(master, 65536)
    os.close(master)
    assert done.returncode == 0
    assert len(text.splitlines()) == 5  # heading, rule, one row, and the units: nothing folded


def test_long_names_get_a_line_of_their_own(folder):
    save_file({"model.layers.10.self_attn.q_proj.weight": matrix(64, 9)}, "m.safetensors")
    save_file({"重": matrix(5)}, "n.safetensors")
    for name in ("m", "n"):
        assert process("encode", f"{name}.safetensors", "-r", "3").returncode == 0
    master, slave = pty.openpty()
    for command in (["verify", "m.nqz", "--against", "m.safetensors"], ["inspect", "n.nqz"]):
        plain = {"NO_COLOR": "1"}
        done = process(*command, stdout=slave, stderr=subprocess.PIPE, capture_output=False, env=plain)
        assert done.returncode == 0
    os.close(slave)
    verified, inspected = os.read(master, 65536).decode().replace("\r", "").split("n.nqz: ", 1)
    os.close(master)
    lines = verified.splitlines()
    assert lines[0] == "tensor" and lines[3] == "model.layers.10.self_attn.q_proj.weight"
    assert lines[1].split()[0] == "shape" and lines[4].split()[:2] == ["64x9", "matrix"]
    assert len(lines) == 7 and max(map(len, lines)) <= 80
    heading, _, row = inspected.splitlines()[2:5]
    assert heading.index("bytes") + len("bytes") == len(row) + 1  # one character of two places
    wide = process("verify", "m.nqz", "--against", "m.safetensors").stdout.decode().splitlines()
    assert len(wide) == 5 and wide[2].startswith("model.layers.10.self_attn.q_proj.weight   ")


def test_bytes_to_a_pipe_equal_bytes_to_a_file(folder):
    piped = process("encode", "a.npy", "-r", "3", "-o", "-")
    assert piped.stdout == (folder / "a.nqz").read_bytes()
    from_pipe = process("encode", "-", "-r", "3", input=(folder / "a.npy").read_bytes())
    assert from_pipe.stdout == piped.stdout
    assert process("decode", "a.nqz", "-o", "d.npy").returncode == 0
    assert process("decode", "-", input=piped.stdout).stdout == (folder / "d.npy").read_bytes()
    assert process("matmul", "a.nqz", "a.npy", "-o", "c.npy").returncode == 0
    product = (folder / "c.npy").read_bytes()
    assert process("matmul", "a.nqz", "a.npy").stdout == product
    assert process("matmul", "-", "a.npy", input=piped.stdout).stdout == product
    assert process("matmul", "a.nqz", "-", input=(folder / "a.npy").read_bytes()).stdout == product
    assert process("inspect", "-", input=piped.stdout).stdout.startswith(b"<stdin>: format 0")
    assert process("verify", "-", "--against", "a.npy", input=piped.stdout).returncode == 0


def test_a_corrupt_pipe_emits_nothing(folder):
    data = bytearray((folder / "a.nqz").read_bytes())
    data[-200] ^= 4
    done = process("decode", "-", input=bytes(data))
    assert done.returncode == 5 and done.stdout == b""


def test_a_fifo_and_a_device_are_written_to(folder):
    os.mkfifo("pipe.npy")
    got = []
    reader = threading.Thread(target=lambda: got.append((folder / "pipe.npy").read_bytes()))
    reader.start()
    assert process("decode", "a.nqz", "-o", "pipe.npy").returncode == 0
    reader.join(timeout=20)
    assert process("decode", "a.nqz", "-o", "d.npy").returncode == 0
    assert got == [(folder / "d.npy").read_bytes()]
    assert stat.S_ISFIFO(os.stat("pipe.npy").st_mode)
    assert process("decode", "a.nqz", "-o", "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_outputs_have_ordinary_permissions(folder):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        done = process(
            "encode",
            "a.npy",
            "-r",
            "3",
            "-o",
            f"{mask}.nqz",
            preexec_fn=lambda mask=mask: os.umask(mask) and None,
        )
        assert done.returncode == 0
        assert stat.S_IMODE(os.stat(f"{mask}.nqz").st_mode) == mode
    os.symlink("22.nqz" if os.path.exists("22.nqz") else "18.nqz", "link.nqz")
    assert process("encode", "a.npy", "-r", "4", "-o", "link.nqz", "-f").returncode == 0
    assert os.path.islink("link.nqz")


def test_the_number_of_threads_changes_no_byte(folder):
    save(folder / "big.npy", matrix(1500, 900, seed=3))
    results = []
    for threads in ("1", "2", "3"):
        assert (
            process("encode", "big.npy", "-r", "2", "-o", "big.nqz", "-f", "--threads", threads).returncode
            == 0
        )
        assert process("decode", "big.nqz", "-o", "d.npy", "-f", "--threads", threads).returncode == 0
        assert (
            process("matmul", "big.nqz", "big.nqz", "-o", "c.npy", "-f", "--threads", threads).returncode == 0
        )
        results.append([(folder / name).read_bytes() for name in ("big.nqz", "d.npy", "c.npy")])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("lattice, coding", [("e8", "entropy"), ("d4", "voronoi"), ("z", "entropy")])
def test_all_kernels_give_the_same_bytes(folder, lattice, coding):
    from nqz import kernels

    save(folder / "m.npy", matrix(400, 30, seed=3) * np.logspace(-3, 3, 30, dtype=np.float32))
    lines = [
        f"encode m.npy -r 2.5 --lattice {lattice} --coding {coding} -o m.nqz -f",
        "decode m.nqz -o d.npy -f",
        "matmul m.nqz m.npy -o c.npy -f",
    ]
    program = f"import sys, nqz.cli; sys.exit(max(nqz.cli.run(line.split()) for line in {lines}))"
    results = {}
    for name in kernels.implementations():
        assert process(program=program, env={"NQZ_KERNELS": name}).returncode == 0
        results[name] = [(folder / made).read_bytes() for made in ("m.nqz", "d.npy", "c.npy")]
        for made in ("m.nqz", "d.npy", "c.npy"):
            (folder / made).unlink()
    assert all(result == results["reference"] for result in results.values())


def test_plain_kernels_are_used_with_a_warning_unless_they_are_asked_for(folder):
    from nqz import kernels

    warning = b"nqz: warning: the native kernels are not installed; the plain ones in use are slow\n"
    expected = warning if list(kernels.implementations()) == ["reference"] else b""
    for env, found in (({"NQZ_KERNELS": ""}, expected), ({"NQZ_KERNELS": "reference"}, b"")):
        done = process("inspect", "a.nqz", env=env)
        assert done.returncode == 0 and done.stderr == found


def test_unknown_kernels_are_refused(folder):
    done = process("verify", "a.nqz", env={"NQZ_KERNELS": "quantum"})
    assert done.returncode == 2 and done.stderr.startswith(b"nqz: error: NQZ_KERNELS=quantum: ")


def test_the_version_imports_neither_numpy_nor_rich():
    program = (
        "import sys, nqz.cli\n"
        "code = nqz.cli.run(['--version'])\n"
        "heavy = {'numpy', 'rich', 'zstandard', 'msgpack', 'importlib.metadata'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = process(program=program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"nqz ")
    assert process("--version").stdout == done.stdout


def test_errors_without_a_standard_error(folder):
    done = process(
        "verify",
        "nowhere.nqz",
        stderr=None,
        stdout=subprocess.PIPE,
        capture_output=False,
        preexec_fn=lambda: os.close(2),
    )
    assert done.returncode == 3
