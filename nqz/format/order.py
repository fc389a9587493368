"""The order of the records of a tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nqz.format.records import is_optional
from nqz.format.tensors import EXACT, MATRIX, TensorInfo
from nqz.ground.errors import NewerFormatError

_LETTERS = {"NORM": "N", "MEAN": "M", "CHNK": "C", "GAIN": "G", "EXCT": "X"}
_LAST = ("MANI", "INDX", "DONE")
_ORDERS = {
    MATRIX: (
        re.compile("(?:NC*)+|(?:NMC*)+|(?:NC*G)+|(?:NMC*G)+"),
        "NORM, MEAN where columns are centered, CHNK, and GAIN where the coding has gains, panel after panel",
    ),
    EXACT: (re.compile("X*"), "EXCT"),
}
"""By codec: the order of the critical records, as letters and in words."""


def check_file_records(types: Sequence[str]) -> None:
    """Check the types of records that belong to no tensor, which are optional; errors are those of `check_order`."""
    found = _critical(types)
    if found:
        raise ValueError(f"a record {found[0]} that belongs to no tensor")


def check_tied_records(types: Sequence[str]) -> None:
    """Check the types of records of a tensor that has those of another, as `check_file_records` does."""
    found = _critical(types)
    if found:
        raise ValueError(f"a record {found[0]} of a tensor that has those of another")


def _critical(types: Sequence[str]) -> list[str]:
    """Those of the types that must not be ignored, all of them known."""
    critical = [name for name in types if not is_optional(name)]
    unknown = next((name for name in critical if name not in _LETTERS), None)
    if unknown in _LAST:
        raise ValueError(f"a record {unknown} in front of the manifest")
    if unknown is not None:
        raise NewerFormatError(
            f"a record {unknown}, which this release of nqz does not know; a later one is needed"
        )
    return critical


def check_order(info: TensorInfo, types: Sequence[str]) -> None:
    """Check the types of the records of a tensor, in the order of the file.

    Raises
    ------
    ValueError
        Records are missing, superfluous or out of order.
    NewerFormatError
        A record that must not be ignored is of a type that this release does not know.
    """
    critical = _critical(types)
    pattern, words = _ORDERS[info.codec]
    if pattern.fullmatch("".join(_LETTERS[name] for name in critical)) is None:
        raise ValueError(f"its records are not in the order {words}")
    if info.codec == EXACT and len(critical) != info.pieces:
        raise ValueError(f"{len(critical)} records EXCT, its size calls for {info.pieces}")
