"""What a report is made of: what `inspect` says, what was measured against an original, what a product is to be.

Nothing else goes into a page, so that it is the same wherever these are.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nqz.commands.compare import compare
from nqz.commands.factors import Coded, Factor, Plain
from nqz.commands.inspect import inspect
from nqz.commands.matmul import MatmulOptions, prepare
from nqz.commands.pairs import Pair, is_compressed
from nqz.commands.sets.factor import Parted
from nqz.commands.verify import limit_errors
from nqz.ground.errors import UsageError
from nqz.ground.threads import Workers
from nqz.ground.urls import base, is_url, shown
from nqz.models.collection import Collection

Progress = Callable[[str | None, float], object]


_STANDARD = "standard input"


def called(path: str) -> str:
    """What a report calls a file or a folder: its name, wherever it is, so that the report does not depend on that."""
    if path == "-":
        return _STANDARD
    if is_url(path):
        return base(shown(path).rstrip("/"))
    name = os.path.basename(os.path.normpath(path))
    return os.path.basename(os.path.abspath(path)) or os.sep if name in ("", ".", "..") else name


def command_line(
    paths: Sequence[str],
    against: str | None,
    kind: str | None,
    choice: Mapping[str, object],
    limit: float | None = None,
) -> str:
    """The command line that makes a report, with names of files in place of their paths.

    Parameters
    ----------
    paths : sequence of str
    against : str, optional
    kind : str, optional
        If it is not the usual one.
    choice : mapping of str to object
        What is chosen of a product, by the names of parameters of `pair_up`; None where nothing is.
    limit : float, optional
        Of measured errors.
    """
    words = ["nqz", "report", *map(_word, paths)]
    if against is not None:
        words += ["--against", _word(against)]
    if limit is not None:
        words += ["--max-error", repr(limit)]
    for name, value in choice.items():
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    if kind is not None:
        words += ["--format", kind]
    return shlex.join(words)


def _word(path: str) -> str:
    """A name that is not taken for an option; an address, without what opens it."""
    if is_url(path):
        return shown(path)
    name = called(path) if path != "-" else "-"
    return os.path.join(".", name) if name.startswith("-") and name != "-" else name


def check_inputs(a: object, b: object, against: object, choice: Mapping[str, object]) -> None:
    """Raise UsageError for what does not go together: an original and two files, and a choice of what one file has."""
    if b is not None and against is not None:
        raise UsageError("--against: compares one container with its original, and two files are given")
    if [one for one in (a, b, against) if isinstance(one, str)].count("-") > 1:
        raise UsageError("standard input can be one of the two inputs, not both")
    chosen = [name for name, value in choice.items() if value is not None]
    if b is None and chosen:
        raise UsageError(f"--{chosen[0].replace('_', '-')}: is for products, and needs a second file")


def gather(
    files: Sequence[tuple[str, Collection]],
    pool: Workers,
    *,
    original: tuple[str, Collection] | None = None,
    pairs: Sequence[Pair] | None = None,
    command: str = "",
    progress: Progress | None = None,
    limit: float | None = None,
) -> dict[str, Any]:
    """Gather what a report of one container, or of two sides of a product, is made of.

    Parameters
    ----------
    files : sequence of (str, Collection)
        One or two of them, with the names that the report has for them; one may be plain if there are two.
    pool : Workers
    original : tuple of str and Collection, optional
        What the only one was made from.
    pairs : sequence of Pair, optional
        What is multiplied, of two files.
    command : str
        The command line that makes this report.
    progress : callable, optional
        Called as progress(name, bytes): as `verify` does with an original, and with each tensor of a product.
    limit : float, optional
        See `limit_errors`.

    Returns
    -------
    dict
        ``command``; ``files``: for each its ``name`` and what `inspect` says, None of a plain one; ``against``, the
        name of the original, and what `compare` says, as ``compared``; ``products``: see `predicted`. None where it
        does not apply.

    Raises
    ------
    CorruptError
        A header, norms or means are damaged.
    OperandError
        See `nqz.commands.matmul.check`.
    """
    sides = [side for _, side in files]
    compared = None if original is None else compare(sides[0], original[1], pool, progress)
    if compared is not None:
        limit_errors(compared, limit)
    return {
        "command": command,
        "files": [
            {"name": name, "inspected": inspect(side) if is_compressed(side) else None}
            for name, side in files
        ],
        "against": None if original is None else original[0],
        "compared": compared,
        "products": None if pairs is None else predicted(pairs, pool, progress),
    }


def predicted(pairs: Sequence[Pair], pool: Workers, progress: Progress | None = None) -> list[dict[str, Any]]:
    """What is expected of products, one after the other.

    Returns
    -------
    list of dict
        For each pair the ``names`` and ``axes`` of its two tensors, the ``shape`` of the product, the ``rates`` of both
        sides, the error ``expected``, a ``band`` of it, how much of it is ``guessed`` (the share that vectors not coded
        leave out), and whether both sides are the ``same`` matrix.
    """
    report, found = progress or (lambda name, size: None), []
    for pair in pairs:
        size = pair.a.nbytes + pair.b.nbytes
        prepared = prepare(pair, MatmulOptions(), pool, partial(_share, report, pair.name, size))
        found.append(
            {
                "names": [_name(pair.a), _name(pair.b)],
                "axes": [pair.a.axis, pair.b.axis],
                "shape": list(prepared.shape),
                "rates": list(prepared.rates),
                "expected": float(prepared.error),
                "band": [float(edge) for edge in prepared.band],
                "guessed": float(prepared.measured.guessed),
                "same": prepared.same,
            }
        )
        pair.release()
    return found


def _share(report: Progress, name: str, size: int, share: float) -> None:
    report(name, share * size)


def _name(side: Factor | Parted) -> str:
    if isinstance(side, Coded):
        return side.matrix.name
    return side.tensor.name if isinstance(side, Plain) else ""
