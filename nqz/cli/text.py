"""Reports on standard output, notices on standard error; nothing in them that controls a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from nqz.ground.errors import OutputError

_ASCII = {
    "‖": "|", "²": "^2", "ᵀ": "'", "\u0304": "", "Ā": "A", "Â": "A^", "Ĉ": "C^", "−": "-", "±": "+-",
    "─": "-", "…": "...", "Γ": "Gamma", "κ": "kappa", "α": "alpha", "Δ": "Delta",
}  # fmt: skip
"""What stands for the symbols of reports where an output has no room for them, as in the C locale."""

_RULE = 80


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


def escape(text: str) -> str:
    """Replace what does not print (control characters, line ends, direction marks) by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def report(line: str) -> None:
    """Write a line to standard error; if nobody can read it, so be it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
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


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table, its first column flush left, the others flush right.

    On a terminal that is too narrow the gaps shrink; if that is not enough, what is in the first column, such as the
    long name of a tensor, gets a line of its own.
    """
    grid = [list(headings), *([escape(cell) for cell in row] for row in rows)]
    grid = [
        [portable(cell, sys.stdout) for cell in row] for row in grid
    ]  # before it is known how wide they are
    widths = [max(map(_width, column)) for column in zip(*grid, strict=True)]
    room = _columns()
    gap = next((g for g in (3, 2) if sum(widths) + g * (len(widths) - 1) <= room), 1)
    lines = []
    if sum(widths) + gap * (len(widths) - 1) <= room:
        lines = [_line(row, widths, gap, 1) for row in grid]
        lines.insert(1, "─" * min(sum(widths) + gap * (len(widths) - 1), _RULE))
    else:
        rest = sum(widths[1:])
        gap = next((g for g in (3, 2) if rest + g * len(widths) <= room), 1)
        rule = "─" * min(rest + gap * len(widths[1:]), room, _RULE)
        for number, row in enumerate(grid):
            lines += [row[0], " " * gap + _line(row[1:], widths[1:], gap, 0), *([] if number else [rule])]
    return "".join(f"{line.rstrip()}\n" for line in lines)


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


def _line(cells: Sequence[str], widths: Sequence[int], gap: int, left: int) -> str:
    pads = [" " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
    parts = [c + p if i < left else p + c for i, (c, p) in enumerate(zip(cells, pads, strict=True))]
    return (" " * gap).join(parts)


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
