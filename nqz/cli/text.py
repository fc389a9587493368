"""Reports on standard output, notices on standard error; nothing in them that controls a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence

from nqz.errors import OutputError


def escape(text: str) -> str:
    """Replace what does not print (control characters, line ends, direction marks) by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def report(line: str) -> None:
    """Write a line to standard error; if nobody can read it, so be it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)


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
        sys.stdout.flush()
        # past the buffer: what cannot be written is not tried again when the interpreter exits
        data = memoryview(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        from nqz.matrices.access import output_error

        raise output_error("<stdout>", error) from error


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Lay out a table, its first `left` columns flush left; without headings for a list of properties."""
    from io import StringIO

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD if headings else None, show_header=bool(headings), pad_edge=False)
    rows = [list(row) for row in rows]
    width = len(headings) or max(map(len, rows), default=0)
    for number in range(width):
        heading = Text(headings[number]) if headings else ""
        grid.add_column(heading, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(escape(cell)) for cell in row))
    terminal = sys.stdout is not None and sys.stdout.isatty()
    # a terminal that does not know its width says 0
    columns = (os.get_terminal_size(sys.stdout.fileno()).columns or 80) if terminal else 10_000
    buffer = StringIO()
    Console(file=buffer, width=max(columns, 40), color_system=None, highlight=False).print(grid)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in lines if line)
