"""What a command did, as JSON: on standard output, or in a file where that carries a payload."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nqz._version import __version__
from nqz.cli.common import open_output
from nqz.cli.text import payload
from nqz.format.reader import ContainerReader
from nqz.format.slices import Whole
from nqz.ground.errors import OutputError, UsageError
from nqz.ground.sources import SOURCES
from nqz.ground.urls import absolute, shown
from nqz.matrix import open_matrix

if TYPE_CHECKING:
    from nqz.commands.decode import DecodeOptions

_STANDARD = re.compile(r"-|/dev/(stdout|fd/1)|/proc/(self|thread-self)/fd/1")

Report = Callable[[Callable[[], dict[str, Any]]], None]


@contextmanager
def open_report(
    target: str | None, outputs: Sequence[str], force: bool, inputs: Iterable[Any]
) -> Iterator[Report]:
    """A function that writes the report that a function makes, if one is wanted.

    A file appears when the report is whole, and is refused before work begins if it cannot be written.

    Parameters
    ----------
    target : str or None
        Value of ``--json``: a path, ``-`` for standard output, None where no report is wanted.
    outputs : sequence of str
        What the command writes.
    force : bool
        Whether an existing file may be replaced.
    inputs : iterable
        The opened inputs.

    Raises
    ------
    UsageError
        The report would go where an output goes.
    """
    if target is None:
        yield lambda make: None
        return
    if place(target) in map(place, outputs):
        what = "standard output carries the result" if place(target) == "-" else f"{target} is the output"
        raise UsageError(f"--json: {what}; name another file, as in --json report.json")
    if target == "-":
        if sys.stdout is None:
            raise OutputError("<stdout>: standard output is closed")
        yield lambda make: payload(as_json(make()))
        return
    with open_output(target, force, inputs) as out:

        def write(make: Callable[[], dict[str, Any]]) -> None:
            out.access.pwrite(as_json(make()).encode(), 0)
            out.commit()

        yield write


def as_json(report: Any) -> str:
    """A report as it is printed."""
    import json

    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def place(path: str) -> str:
    """What a path names, the same for all names of standard output."""
    return "-" if _STANDARD.fullmatch(path) else absolute(path)


def head(
    command: str, inputs: Sequence[str], outputs: Sequence[tuple[str, int]], warnings: Sequence[str]
) -> dict[str, Any]:
    """What the reports of all commands begin with; files have the names that the command line gives them."""
    return {
        "command": command,
        "writer": f"nqz {__version__}",
        "inputs": list(map(shown, inputs)),
        "outputs": [{"name": shown(name), "bytes": size} for name, size in outputs],
        "warnings": list(warnings),
    }


def encoded(readers: Iterable[ContainerReader]) -> dict[str, Any]:
    """What was encoded, read back from the containers of it."""
    from nqz.commands.described import describe

    tensors, data_bytes, bits, entries = [], 0, 0, 0
    for reader in readers:
        for index, info in enumerate(reader.manifest.tensors):
            found = describe(reader, index, brief=True)
            tensors.append({key: value for key, value in found.items() if key not in ("norms", "means")})
            data_bytes += info.nbytes
            if info.kind == "matrix" and info.same_as is None:
                matrix = open_matrix(reader, index)
                bits, entries = bits + 8 * matrix.coded_bytes, entries + matrix.entries
    return {"data_bytes": data_bytes, "rate": bits / entries if entries else None, "tensors": tensors}


def decoded(reader: ContainerReader, chosen: Iterable[Whole], options: DecodeOptions) -> list[dict[str, Any]]:
    """The tensors that were decoded, in the type of the output, and the error to expect of each."""
    from nqz.commands.decode import written_dtype
    from nqz.commands.rounding import joint_error

    tensors, kind = [], SOURCES[options.kind or reader.manifest.source]
    for whole in chosen:
        info = reader.manifest.tensors[whole.members[0]]
        is_matrix = info.kind == "matrix"
        written = written_dtype(info, kind, options.dtype)
        matrices = [open_matrix(reader, index) for index in whole.members] if is_matrix else []
        expected = joint_error(matrices, written, options.estimator)
        tensors.append(
            {
                "name": whole.name,
                "shape": list(whole.shape),
                "dtype": written,
                "kind": info.kind,
                "expected": expected,
            }
        )
    return tensors


def multiplied(names: Sequence[str], report: dict[str, Any]) -> list[dict[str, Any]]:
    """The products that were computed, the rates of both sides, and the error to expect of each, and of its entries."""
    keys = "shapes", "rates", "errors", "bands", "sigmas"
    return [
        {
            "name": name,
            "shape": list(shape),
            "rates": list(rates),
            "expected": error,
            "expected_band": list(band),
            "sigma": sigma,
        }
        for name, shape, rates, error, band, sigma in zip(names, *(report[key] for key in keys), strict=True)
    ]
