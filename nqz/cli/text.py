"""Reports on standard output, notices on standard error; nothing in them controls a terminal, but color on one."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nqz.ground.errors import OutputError
from nqz.ground.urls import redacted
from nqz.ground.wording import escape as escape

_ASCII = {
    "‖": "|", "²": "^2", "ᵀ": "'", "\u0304": "", "Ā": "A", "Â": "A^", "Ĉ": "C^", "−": "-", "±": "+-",
    "─": "-", "…": "...", "Γ": "Gamma", "κ": "kappa", "α": "alpha", "Δ": "Delta",
}  # fmt: skip
"""What stands for the symbols of reports where an output has no room for them, as in the C locale."""

_RULE = 80
_LINES = 1000  # of a table that are written at a time


def portable(text: str, stream: Any) -> str:
    """The text as a stream can show it: the symbols of reports in ASCII where its encoding or the locale lacks them."""
    # in the C locale Python writes UTF-8, which who asks for that locale does not expect
    plain = os.environ.get("LC_ALL") in ("C", "POSIX") and not os.environ.get("PYTHONIOENCODING")
    if not (plain and stream in (sys.__stdout__, sys.__stderr__)):
        try:
            text.encode(getattr(stream, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            pass
        else:
            return text
    return "".join(_ASCII.get(character, character) for character in text)


def colored(stream: Any) -> bool:
    """Whether what goes to a stream is colored: on a terminal that can, unless NO_COLOR is set; FORCE_COLOR: always."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # closed
        return False


def bold(text: str, wanted: bool) -> str:
    """A heading, in bold type if it is `wanted`."""
    return f"\x1b[1m{text}\x1b[0m" if wanted else text


_COLORS = {"error": "1;31", "internal error": "1;31", "warning": "1;33", "note": "1;36"}
_KIND = re.compile(rf"(?<=^nqz: )({'|'.join(_COLORS)})(?=: )")


def report(line: str) -> None:
    """Write a line to standard error; if nobody can read it, so be it. What kind it is of is colored."""
    if sys.stderr is not None:
        line = redacted(line)
        with contextlib.suppress(OSError, ValueError):
            if colored(sys.stderr):
                line = _KIND.sub(lambda kind: f"\x1b[{_COLORS[kind[0]]}m{kind[0]}\x1b[0m", line)
            sys.stderr.write(portable(line, sys.stderr) + "\n")  # at once, beside others that write there
            sys.stderr.flush()


def payload(text: str) -> None:
    """Write a report to standard output.

    Raises
    ------
    OutputError, DiskFullError
        It cannot be written.
    """
    if sys.stdout is None:
        raise OutputError("<stdout>: standard output is closed")
    try:
        try:
            descriptor = sys.stdout.fileno()
        except (OSError, ValueError, AttributeError):
            sys.stdout.write(text)
            return
        text = portable(text, sys.stdout)
        sys.stdout.flush()
        # past the buffer: what cannot be written is not tried again when the interpreter exits
        data = memoryview(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        from nqz.files.access import output_error

        raise output_error("<stdout>", error) from error


Row = tuple[str, ...]


def table(headings: Sequence[str], rows: Callable[[], Iterable[Row]]) -> Iterator[str]:
    """Lay out a table, its first column flush left, the others flush right.

    On a terminal that is too narrow the gaps shrink; if that is not enough, what is in the first column, such as the
    long name of a tensor, gets a line of its own.

    Parameters
    ----------
    headings : sequence of str
    rows : callable
        rows() gives the rows; it is called twice, so that there may be very many of them.

    Yields
    ------
    str
        Some of the lines, each with its end.
    """
    layout = _Layout(tuple(map(_cell, headings)))
    for row in rows():
        layout.measure(row)
    yield layout.head()
    lines = []
    for row in rows():
        lines.append(layout.line(row))
        if len(lines) == _LINES:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


class _Layout:
    """Widths of the columns of a table. Many rows differ in their first cell only: what follows is laid out once."""

    def __init__(self, headings: Row) -> None:
        self._headings = headings
        self._first, self._rest = _width(headings[0]), [_width(cell) for cell in headings[1:]]
        self._seen: set[Row] = set()
        self._tails: dict[Row, str] = {}

    def measure(self, row: Row) -> None:
        """Make room for a row."""
        self._first = max(self._first, _width(_cell(row[0])))
        rest = row[1:]
        if rest not in self._seen:
            self._seen.add(rest)
            self._rest = [max(w, _width(_cell(cell))) for w, cell in zip(self._rest, rest, strict=True)]

    def head(self) -> str:
        """Decide on gaps; return the headings, and the rule below them."""
        room, count, rest = _columns(), len(self._rest), sum(self._rest)
        self._gap = next((g for g in (3, 2) if self._first + rest + g * count <= room), 1)
        self._folded = self._first + rest + self._gap * count > room
        if self._folded:
            self._gap = next((g for g in (3, 2) if rest + g * (count + 1) <= room), 1)
        width = rest + self._gap * count + (0 if self._folded else self._first)
        on_terminal = colored(sys.stdout)
        headings = self._laid(self._headings[0], self._headings[1:]).splitlines()
        lines = [bold(line, on_terminal) for line in headings]
        return "".join(f"{line}\n" for line in (*lines, "─" * min(width, room, _RULE)))

    def line(self, row: Row) -> str:
        """A row."""
        return self._laid(_cell(row[0]), row[1:])

    def _laid(self, first: str, rest: Row) -> str:
        tail = self._tails.get(rest)
        if tail is None:
            cells = zip(map(_cell, rest), self._rest, strict=True)
            tail = (" " * self._gap).join(" " * (w - _width(cell)) + cell for cell, w in cells)
            tail = self._tails[rest] = (" " * self._gap + tail).rstrip() + "\n"
        if self._folded:
            return f"{first}\n{tail}"
        return f"{first}{' ' * (self._first - _width(first))}{tail}"


def _cell(text: str) -> str:
    """A cell as it is shown; before it is known how wide it is."""
    return text if text.isascii() and text.isprintable() else portable(escape(text), sys.stdout)


def properties(pairs: Iterable[tuple[str, str]]) -> str:
    """Lay out names and values, long values folded to the width of a terminal."""
    import textwrap

    cells = [(portable(escape(key), sys.stdout), portable(escape(value), sys.stdout)) for key, value in pairs]
    width = max(_width(key) for key, _ in cells) + 4
    room = max(_columns() - width, 20)
    lines = []
    for key, value in cells:
        first, *rest = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
        lines += [key + " " * (width - _width(key)) + first, *(" " * width + line for line in rest)]
    return "".join(f"{line}\n" for line in lines)


def _width(text: str) -> int:
    """Places that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _columns() -> int:
    """Width of the terminal, none to speak of where standard output is no terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return 10_000
    # a terminal that does not know its width says 0
    return max(os.get_terminal_size(sys.stdout.fileno()).columns or 80, 40)
