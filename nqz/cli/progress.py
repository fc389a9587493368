"""Progress on standard error, if that is a terminal and the command takes more than a moment."""

from __future__ import annotations

import sys
import time
from typing import Any

from nqz.cli.text import escape

_DELAY = 0.5


class Progress:
    """A progress bar, called as progress(tensor name, bytes done)."""

    def __init__(self, what: str, total: float):
        self._what, self._total = what, total
        self._done = 0.0
        self._begin = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, name: str, amount: float) -> None:
        self._done += amount
        if self._bar is None:
            if time.monotonic() - self._begin < _DELAY:
                return
            self._start()
        # a matrix may be coded more than once
        self._bar.update(self._task, completed=min(self._done, self._total), name=escape(name))

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[name]}", markup=False),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task(self._what, total=self._total, name="")
        self._bar.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class Silent:
    """No progress: gives None, which operations take for nobody watching."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def progress(what: str, total: float, wanted: bool | None, quiet: bool) -> Progress | Silent:
    """A progress bar, or none.

    Parameters
    ----------
    wanted : bool, optional
        What the user said; by default one is shown unless `quiet`.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return Progress(what, total) if terminal and (not quiet if wanted is None else wanted) else Silent()
