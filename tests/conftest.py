"""Fixtures that several test files share, and the file in which the tracebacks of failures are kept."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest

from nqz import kernels
from remembered import reference

NATIVE = [name for name in kernels.implementations() if name != "reference"]

LONG = {
    "test_promises_code.py",
    "test_ground_arithmetic.py",
    "test_format_crafted.py",
    "test_api_forks.py",
    "test_cli_faults.py",
    "test_files_folder.py",
    "test_ground_copies.py",
    "test_format_records.py",
    "test_cli_full.py",
}
"""Files with tests of several seconds each. They come first: at the end, other processes would wait for the last."""


@pytest.fixture(params=NATIVE or ["reference"])
def native(request):
    """Every build of the native kernels that runs here (the reference itself where none was built)."""
    return kernels.implementations()[request.param] if NATIVE else reference


def pytest_collection_modifyitems(items):
    """Leave out what is marked as a question to native kernels, where none were built; begin with what takes long."""
    items.sort(key=lambda item: item.path.name not in LONG)
    for item in items:
        mark = item.get_closest_marker("native")
        if mark and not NATIVE:
            item.add_marker(pytest.mark.skip(reason=f"without native kernels: {mark.kwargs['reason']}"))


def pytest_collection_finish():
    """Look for garbage less often, and not among ten thousand tests: it takes a tenth of the time, or more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_sessionfinish():
    """What is left is garbage, too: modules in C++ tell when something of theirs is never collected."""
    gc.unfreeze()


def pytest_configure(config):
    """Keep failures in a file where only a line of each is shown: `make test` says where."""
    if not NATIVE:  # asked for, they are used without the warning that they are slow, which no test expects
        os.environ.setdefault("NQZ_KERNELS", "reference")
    for name in ("NQZ_THREADS", "FORCE_COLOR", "COLUMNS"):  # what is printed depends on them
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # started in the background of a shell: the programs that are tested would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    path = os.environ.get("NQZ_TEST_FAILURES")
    if path and hasattr(config, "workerinput"):
        config.option.tbstyle = "short"  # what the collecting process does not show, it writes
    elif path:
        config.pluginmanager.register(Failures(Path(path)))


class Failures:
    """Writes each failure to a file as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def pytest_runtest_logreport(self, report):
        if report.failed:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"== {report.nodeid} ({report.when})\n{report.longreprtext}\n")
                file.writelines(f"-- {title}\n{text}\n" for title, text in report.sections)

    def pytest_collectreport(self, report):
        if report.failed:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"== {report.nodeid}\n{report.longreprtext}\n")

    def pytest_terminal_summary(self, terminalreporter):
        if self.path.stat().st_size:
            terminalreporter.write_line(f"tracebacks: {self.path}")
