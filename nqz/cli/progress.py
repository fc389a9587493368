"""Progress on standard error: on a terminal, if the command takes more than a moment, and in logs, if it is asked for.

On a terminal two lines: the whole command, with bytes per second and the time left, and the tensor at hand. In a log
a line now and then, with all of that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nqz.cli.text import escape, report

_DELAY = 0.5
_INTERVAL = 10.0
"""Seconds until a bar shows, and between the lines in a log."""
_BAR, _LABEL = 16, 28  # within 80 columns
_WARM_UP = 0.05
"""Share of the work before which the time left is not guessed."""

Name = str | None
Stages = Sequence[tuple[str, float]]
Files = str | Mapping[Any, str]
_ONE: Stages = (("", 1.0),)


class Progress:
    """How far a command is, called as progress(tensor name, bytes done); None stands for the file as a whole.

    Parameters
    ----------
    what : str
        The command, as in "encoding".
    sizes : mapping of str or None to float
        Bytes to do, by name.
    stages : mapping of str to sequence of (str, float), optional
        The passes over a tensor, each an equal part of its bytes, and the share of the time that each takes.
    files : str or mapping of str to str, optional
        The file that is worked on, or that of each tensor.
    """

    def __init__(
        self, what: str, sizes: Mapping[Any, float], stages: Mapping[Any, Stages] | None = None,
        files: Files | None = None,
    ) -> None:  # fmt: skip
        self._what, self._sizes, self._stages = what, dict(sizes), stages or {}
        self._files = files or ""
        self._total = sum(self._sizes.values())
        self._done = dict.fromkeys(self._sizes, 0.0)
        self._spent = 0.0  # like the bytes done, but weighted by the time that a stage takes
        self._begin = time.monotonic()
        self._at = next(iter(self._sizes), "")
        self._lock = threading.Lock()

    def __call__(self, name: Name, amount: float) -> None:
        """Count an amount of work done on something."""
        key = name if name in self._sizes else next(iter(self._sizes), None)
        size = self._sizes.get(key, 0.0)
        with self._lock:  # tensors may be worked on side by side
            before = self._done.get(key, 0.0)
            self._done[key] = before + amount
            self._spent += size * (self._time(key, before + amount) - self._time(key, before))
            self._at = key
            self._show()

    def _show(self) -> None:
        """Show how far things are."""

    def _file(self) -> str:
        """The file that is worked on."""
        return escape(self._files if isinstance(self._files, str) else self._files.get(self._at, ""))

    def _step(self) -> tuple[str, float]:
        """What is done at the moment, and the share of it that is done."""
        stage, share = self._stage(self._at)
        label = "checksums" if self._at is None else escape(self._at)
        return " ".join(part for part in (stage, label) if part), share

    def _stage(self, key: Name) -> tuple[str, float]:
        """The name of the stage that a tensor is in, and the share of it that is done."""
        stages, size = self._stages.get(key, _ONE), self._sizes.get(key, 0.0)
        position = len(stages) * self._done[key] / size if size else 1.0
        if position <= len(stages):
            number = min(int(position), len(stages) - 1)
            return stages[number][0], position - number
        # a matrix that comes out too large is coded again
        return f"{stages[-1][0]} again".strip(), position % 1.0

    def _time(self, key: Name, done: float) -> float:
        """Share of the time for a tensor that has passed."""
        stages, size = self._stages.get(key, _ONE), self._sizes.get(key, 0.0)
        position = len(stages) * done / size if size else 0.0
        return sum(share * min(1.0, max(0.0, position - n)) for n, (_, share) in enumerate(stages))

    def speed(self) -> tuple[str, str]:
        """What has been done in a second, in bytes, and the time left, empty as far as they cannot be told."""
        elapsed = time.monotonic() - self._begin
        share = self._spent / self._total if self._total else 0.0
        if share <= 0.0 or elapsed <= 0.0:
            return "", ""
        rate = f"{_bytes(self._spent / elapsed)}/s"
        if share < _WARM_UP and elapsed < 5.0:
            return rate, ""
        left = round(elapsed * (1.0 - share) / share)
        return rate, f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Bar(Progress):
    """Two bars on a terminal."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._bar: Any = None
        self._finished = False
        self._tasks: list[Any] = []
        # a bar that waits for the first call to show may wait long
        self._timer = threading.Timer(_DELAY, self._start)
        self._timer.daemon = True

    def _show(self) -> None:
        if self._bar is not None:
            step, share = self._step()
            whole = f"{self._what} {_shortened(self._file(), _LABEL - len(self._what) - 1)}"
            self._bar.update(self._tasks[0], completed=min(self._spent, self._total), description=whole)
            self._bar.update(
                self._tasks[1], completed=share, description=_shortened(step), visible=bool(step)
            )

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.text import Text

        watch = self

        class Speed(ProgressColumn):
            """Bytes per second and time left, of the whole only."""

            def render(self, task: Any) -> Any:
                return Text(
                    " ".join(watch.speed()).rstrip() if task.id == watch._tasks[0] else "", no_wrap=True
                )

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR),
            TextColumn("{task.percentage:>3.0f}%"),
            Speed(),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks = [
            bar.add_task(self._what, total=self._total),
            bar.add_task("", total=1.0, visible=False),
        ]
        with self._lock:
            if not self._finished:
                self._bar = bar
                self._show()
                bar.start()

    def __enter__(self) -> Progress:
        if _DELAY:
            self._timer.start()
        else:
            self._start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._finished = True
            if self._bar is not None:
                self._bar.stop()


class Lines(Progress):
    """A line in a log every few seconds."""

    def __enter__(self) -> Progress:
        self._ended = threading.Event()
        threading.Thread(target=self._tell, daemon=True).start()
        return self

    def _tell(self) -> None:
        while not self._ended.wait(_INTERVAL):
            report(self.line())

    def line(self) -> str:
        """How far things are, in a line."""
        with self._lock:
            step, _ = self._step()
            share = min(self._spent / self._total, 1.0) if self._total else 0.0
        before = ": ".join(part for part in (f"{self._what} {self._file()}".strip(), step) if part)
        return f"nqz: {before}: " + ", ".join(
            part for part in (f"{100 * share:.0f} %", *self.speed()) if part
        )

    def __exit__(self, *exc: object) -> None:
        self._ended.set()


def _bytes(number: float) -> str:
    units = ["B", "kB", "MB", "GB"]
    unit = units.pop(0)
    while number >= 1000 and units:
        number, unit = number / 1000, units.pop(0)
    return f"{number:.3g} {unit}" if number < 999.5 else f"{number:.0f} {unit}"


def _shortened(text: str, room: int = _LABEL) -> str:
    """The end of a long name tells more than its beginning."""
    return text if len(text) <= room else "…" + text[1 - room :]


class Silent:
    """No progress: gives None, which operations take for nobody watching."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def progress(
    what: str,
    sizes: Mapping[Any, float],
    wanted: bool | None,
    quiet: bool,
    stages: Mapping[Any, Stages] | None = None,
    files: Files | None = None,
) -> Progress | Silent:
    """A progress bar on a terminal, lines elsewhere if they are wanted, or none.

    Parameters
    ----------
    what, sizes, stages, files
        See `Progress`.
    wanted : bool, optional
        What the user said; by default one is shown on a terminal, unless `quiet`.
    """
    if sys.stderr is None:
        return Silent()
    if sys.stderr.isatty():
        return Bar(what, sizes, stages, files) if (not quiet if wanted is None else wanted) else Silent()
    return Lines(what, sizes, stages, files) if wanted else Silent()
