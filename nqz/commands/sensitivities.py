"""How bits are shared, as users say it: a word, or the name of a file of sensitivities; and those of each matrix."""

from __future__ import annotations

import os
import reprlib
import stat
from collections.abc import Iterable, Mapping

from nqz.ground.errors import CorruptError, InputError, UsageError
from nqz.ground.patterns import matches, no_tensor

_MOST_BYTES = 64 << 20


UNIFORM, SIZE = "uniform", "size"

_LEAST = 1e-30


def check_sensitivities(across: Mapping[str, float]) -> None:
    """Raise UsageError unless all are positive numbers, and there are some."""
    for name, value in across.items():
        if not isinstance(name, str):
            raise UsageError(f"across: {reprlib.repr(name)} is no name or pattern of tensors")
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (known and _LEAST <= value <= 1.0 / _LEAST):
            raise UsageError(
                f"across: the sensitivity of {reprlib.repr(name)} is {reprlib.repr(value)}; a positive number is "
                f"needed, {_LEAST:g} to {1.0 / _LEAST:g}"
            )
    if not across:
        raise UsageError("across: there are no sensitivities")


def importance(
    matrices: Mapping[str, str], names: Iterable[str], across: Mapping[str, float], where: str
) -> list[float]:
    """How sensitive each of some matrices is: the last pattern that takes its name says it.

    Parameters
    ----------
    matrices : mapping of str to str
        Names of the matrices, and what else each is called: the tensor that it is a slice of, or again its name.
    names : iterable of str
        Names of all tensors.
    across : mapping of str to float
        By names or shell patterns.
    where : str
        What messages call all of them.

    Raises
    ------
    UsageError
        A pattern takes no tensor, or a matrix has no sensitivity.
    """
    every = dict.fromkeys([*names, *matrices])
    for pattern in across:
        if not any(matches(name, pattern) for name in every):
            raise UsageError(f"{where}: across: {no_tensor(pattern, every)}")
    found = [
        [s for pattern, s in across.items() if matches(name, pattern) or matches(whole, pattern)]
        for name, whole in matrices.items()
    ]
    missing = [name for name, values in zip(matrices, found, strict=True) if not values]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"{where}: across: no sensitivity for tensor {missing[0]!r}{more}; '*' stands for all others"
        )
    return [float(values[-1]) for values in found]


def read_across(text: str) -> str | dict[str, float]:
    """A word for `EncodeOptions.across`, or what a file of JSON says: names or shell patterns with a number each.

    Raises
    ------
    InputError
        The file cannot be read.
    CorruptError
        It is no such object.
    UsageError
        A name is in it twice, or it is no name of a file.
    """
    if text in (UNIFORM, SIZE) or text.startswith(f"{SIZE}:") or not text:
        return text
    if not text.endswith(".json"):
        return text  # which is refused with what may stand there
    return read_sensitivities(text)


def read_sensitivities(text: str) -> dict[str, float]:
    """What a file of JSON says: names or shell patterns with a number each; see `read_across`."""
    import json

    try:
        if not stat.S_ISREG(os.stat(text).st_mode):  # a pipe may never end
            raise InputError(f"{text}: is no regular file")
        with open(text, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{text}: cannot read: {error.strerror or error}") from error
    if len(data) > _MOST_BYTES:
        raise CorruptError(f"{text}: is too large for a file of sensitivities")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: _once(pairs, text))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{text}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptError(f"{text}: an object of names and sensitivities is needed")
    return found


def _once(pairs: list[tuple[str, float]], where: str) -> dict[str, float]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UsageError(f"{where}: a name is given twice")
    return found
