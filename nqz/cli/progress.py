"""Progress on standard error, if that is a terminal and the command takes more than a moment.

Two lines: the whole command, with bytes per second and the time left, and the tensor at hand.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nqz.cli.text import escape

_DELAY = 0.5
_BAR, _LABEL = 16, 28  # within 80 columns
_WARM_UP = 0.05
"""Share of the work before which the time left is not guessed."""

Name = str | None
Stages = Sequence[tuple[str, float]]
_ONE: Stages = (("", 1.0),)


class Progress:
    """Two progress bars, called as progress(tensor name, bytes done); None stands for the file as a whole.

    Parameters
    ----------
    what : str
        The command, as in "encoding".
    sizes : mapping of str or None to float
        Bytes to do, by name.
    stages : mapping of str to sequence of (str, float), optional
        The passes over a tensor, each an equal part of its bytes, and the share of the time that each takes.
    """

    def __init__(
        self, what: str, sizes: Mapping[Any, float], stages: Mapping[Any, Stages] | None = None
    ) -> None:
        self._what, self._sizes, self._stages = what, dict(sizes), stages or {}
        self._total = sum(self._sizes.values())
        self._done = dict.fromkeys(self._sizes, 0.0)
        self._spent = 0.0  # like the bytes done, but weighted by the time that a stage takes
        self._begin = time.monotonic()
        self._bar: Any = None
        self._finished = False
        self._tasks: list[Any] = []
        self._at = next(iter(self._sizes), "")
        # a bar that waits for the first call to show may wait long
        self._timer = threading.Timer(_DELAY, self._start)
        self._timer.daemon = True
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
            if self._bar is not None:
                self._show()

    def _show(self) -> None:
        stage, share = self._stage(self._at)
        label = "checksums" if self._at is None else escape(self._at)
        label = _shortened(" ".join(part for part in (stage, label) if part))
        self._bar.update(self._tasks[0], completed=min(self._spent, self._total))
        self._bar.update(self._tasks[1], completed=share, description=label, visible=bool(label))

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

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.text import Text

        watch = self

        class Speed(ProgressColumn):
            """Bytes per second and time left, of the whole only."""

            def render(self, task: Any) -> Any:
                return Text(watch.speed() if task.id == watch._tasks[0] else "", no_wrap=True)

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

    def speed(self) -> str:
        """What has been done in a second, in bytes, and the time left, as far as they can be told."""
        elapsed = time.monotonic() - self._begin
        share = self._spent / self._total if self._total else 0.0
        if share <= 0.0 or elapsed <= 0.0:
            return ""
        rate = f"{_bytes(self._spent / elapsed)}/s"
        if share < _WARM_UP and elapsed < 5.0:
            return rate
        left = round(elapsed * (1.0 - share) / share)
        return f"{rate} {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

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


def _bytes(number: float) -> str:
    units = ["B", "kB", "MB", "GB"]
    unit = units.pop(0)
    while number >= 1000 and units:
        number, unit = number / 1000, units.pop(0)
    return f"{number:.3g} {unit}" if number < 999.5 else f"{number:.0f} {unit}"


def _shortened(text: str) -> str:
    """The end of a long name tells more than its beginning."""
    return text if len(text) <= _LABEL else "…" + text[1 - _LABEL :]


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
) -> Progress | Silent:
    """A progress bar, or none.

    Parameters
    ----------
    what, sizes, stages
        See `Progress`.
    wanted : bool, optional
        What the user said; by default one is shown unless `quiet`.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not terminal or not (not quiet if wanted is None else wanted):
        return Silent()
    return Progress(what, sizes, stages)
