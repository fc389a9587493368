"""Run the commands on crafted containers, in this process, and say where they do otherwise than expected."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import threadpoolctl

import nqz
from crafted_case import PARTNERS, Case, sound
from nqz.cli import run as run_command

SECONDS = 10
"""Time of the processor for all commands on a file; six times as long by the clock."""


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """End the process, by SIGPROF or SIGALRM, if what is done within takes too long."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(6 * SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)


class Runner:
    """A folder, and commands on a file in it."""

    def __init__(self) -> None:
        self._held = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.folder = Path(self._held.name)
        self.file = self.folder / "x.nqz"
        for name in {*PARTNERS.values()}:
            (self.folder / f"{name}.nqz").write_bytes(sound(name))
        self._before = {"x.nqz", "copy.nqz", *os.listdir(self.folder)}

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.cleanup()

    def message(self, case: Case) -> str:
        """What ``nqz verify`` says of a case, without the name of the file."""
        self.file.write_bytes(case.data)
        code, _, text = self.command("verify")
        assert code == case.code, (case.name, text)
        return text.replace(str(self.folder) + os.sep, "").removeprefix("nqz: error: x.nqz: ").rstrip("\n")

    def check(self, case: Case) -> list[str]:
        """Run everything on a case; say what is not as expected."""
        self.file.write_bytes(case.data)
        (self.folder / "copy.nqz").write_bytes(sound(case.base))
        faults, codes = [], {}
        for operation, expected in case.expected().items():
            code, fault, text = (
                self.api(case.data)
                if operation == "api"
                else self.command(operation, PARTNERS.get(case.base))
            )
            codes[operation] = code
            if code != expected and not (operation == "copy" and code == 7):
                faults.append(f"{operation}: {code}, expected {expected}: {text.strip()[-200:]}")
            faults += [f"{operation}: {fault}"] if fault else []
        # 4: what is in the file is all right, but needs another kind of output
        if (codes["verify"] == 0) is not (codes["decode"] in (0, 4) and codes["inspect"] == 0):
            faults.append(f"verify {codes['verify']}, decode {codes['decode']}, inspect {codes['inspect']}")
        return faults

    def arguments(self, operation: str, partner: str | None = None) -> list[str]:
        """A command line."""
        file = str(self.file)
        others: dict[str, list[object]] = {
            "itself": [file, file],
            "partner": [file, self.folder / f"{partner}.nqz"],
            "copy": [self.folder / "copy.nqz", file],
        }
        if operation in others:
            words = ["matmul", *map(str, others[operation]), "-o", str(self.folder / "product.safetensors")]
        else:
            words = [operation, file, *(["--json"] if operation == "inspect" else [])]
        return [*words, "-q", "--threads", "1"]

    def command(self, operation: str, partner: str | None = None) -> tuple[int, str, str]:
        """Exit status of a command, what is wrong with what it leaves behind, and its message."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command(self.arguments(operation, partner))
        text, fault = err.getvalue(), ""
        lines = text.splitlines()
        if code and not (
            all(line.startswith("nqz: error: ") for line in lines) and text.endswith("\n") and lines
        ):
            fault = f"no message of one line: {text!r}"
        elif len(lines) > 1 and operation != "verify":  # which has a line for every tensor
            fault = f"several lines: {text!r}"
        elif code and out.getvalue():
            fault = f"a payload in spite of an error: {out.getvalue()[:80]!r}"
        elif not code and text:
            fault = f"notices in spite of -q: {text!r}"
        left = {*os.listdir(self.folder)} - self._before
        if code and left:
            fault = f"left behind: {left}"
        for name in left:
            (self.folder / name).unlink()
        return code, fault, text

    def api(self, data: bytes) -> tuple[int, str, str]:
        """Exit status of the error that leaves the Python interface, 0 if none does."""
        try:
            with nqz.open(data) as opened:
                codes = [self._decoded(opened, name) for name in opened]
        except nqz.NqzError as error:
            return error.exit_code, "", str(error)
        except Exception as error:  # an assertion of ours, too
            return -1, f"{type(error).__name__} leaves", str(error)
        return next((found for found in codes if found[0]), (0, "", ""))

    def _decoded(self, opened: nqz.Container, name: str) -> tuple[int, str, str]:
        try:
            tensor = opened[name]
            if isinstance(tensor, nqz.ExactTensor):
                tensor.tobytes()
            else:
                assert np.isfinite(tensor.decode()).all(), "a matrix that is not finite"
        except nqz.NqzError as error:
            return error.exit_code, "", str(error)
        return 0, "", ""


def run(cases: Iterable[Case], every: int, after: int) -> None:
    """Run every so many of the cases, and the first of each kind, from beyond number `after` on.

    Writes two lines of JSON for each: number, name, and None before it, what is not as expected after it.
    """
    warnings.simplefilter("error")
    # it reads the list of all libraries of the process, which takes as long as the rest of a command
    threadpoolctl.threadpool_limits = lambda limits: contextlib.nullcontext()
    kinds = set()
    with Runner() as runner:
        for number, case in enumerate(cases):
            kind = case.base, case.record, case.code
            chosen = number % every == 0 or kind not in kinds
            kinds.add(kind)
            if number <= after or not chosen:
                continue
            print(json.dumps([number, case.name, None]), flush=True)
            with in_time():
                faults = runner.check(case)
            print(json.dumps([number, case.name, faults]), flush=True)
    print(json.dumps([-1, "done", []]), flush=True)
