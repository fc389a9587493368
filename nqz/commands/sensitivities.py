"""How bits are shared, as users say it: a word, or the name of a file of sensitivities."""

from __future__ import annotations

from nqz.commands.options import SIZE, UNIFORM
from nqz.ground.errors import CorruptError, InputError, UsageError

_MOST_BYTES = 64 << 20


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
    import json

    try:
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
