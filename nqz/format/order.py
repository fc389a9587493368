"""The order in which records may follow one another, and the tensor to which each belongs."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from nqz.format.head import TensorInfo
from nqz.format.records import is_optional

LEADING = -1
"""Stands for the tensor of optional records in front of the first tensor."""

# Type -> least number of records in a tensor, and the types that one may follow. A panel begins with NORM.
_MATRIX_RECORDS: dict[str, tuple[int, frozenset[str]]] = {
    "TENS": (1, frozenset()),
    "NORM": (1, frozenset({"TENS", "NORM", "MEAN", "CHNK"})),
    "MEAN": (0, frozenset({"NORM"})),
    "CHNK": (0, frozenset({"NORM", "MEAN", "CHNK"})),
}
TENSOR_TYPES = frozenset(_MATRIX_RECORDS) | {"EXCT"}


class RecordSequence:
    """Follow the records between HEAD and INDX.

    Parameters
    ----------
    tensors : sequence of TensorInfo

    Notes
    -----
    An optional record belongs to the tensor of the last critical record before it. A tensor of no bytes
    has no records at all. The methods raise ValueError, with the reason, for a record out of order.
    """

    def __init__(self, tensors: Sequence[TensorInfo]) -> None:
        self._tensors = tensors
        self._tensor = LEADING
        self._counts: dict[str, int] = {}
        self._last = ""

    def accept(self, record_type: str) -> int:
        """Take the next record; return the index of its tensor, or LEADING."""
        if is_optional(record_type):
            return self._tensor
        if record_type not in TENSOR_TYPES:
            raise ValueError(f"unknown critical record {record_type}")
        if record_type == "TENS":
            self._next_tensor("matrix", record_type)
        elif record_type == "EXCT":
            if self._kind() != "exact" or self._counts["EXCT"] == self._tensors[self._tensor].pieces:
                self._next_tensor("exact", record_type)
        else:
            self._check_order(record_type)
        self._counts[record_type] = self._counts.get(record_type, 0) + 1
        self._last = record_type
        return self._tensor

    def finish(self) -> None:
        """Check that no tensor lacks records."""
        self.finish_tensor()
        for tensor in range(self._tensor + 1, len(self._tensors)):
            if self._needs_records(tensor):
                raise ValueError(f"the records of {self._label(tensor)} are missing")

    def finish_tensor(self) -> None:
        """Check that the current tensor is complete."""
        if self._kind() == "matrix":
            for record_type, (least, _) in _MATRIX_RECORDS.items():
                if self._counts.get(record_type, 0) < least:
                    raise ValueError(f"{self._label(self._tensor)} has no record {record_type}")
        elif self._kind() == "exact":
            pieces = self._tensors[self._tensor].pieces
            if self._counts["EXCT"] != pieces:
                raise ValueError(
                    f"{self._label(self._tensor)} has {self._counts['EXCT']} records EXCT, "
                    f"its size calls for {pieces}"
                )

    @property
    def state(self) -> tuple[int, dict[str, int], str]:
        """The current tensor, the numbers of its records so far, and the type of the last one."""
        return self._tensor, dict(self._counts), self._last

    @state.setter
    def state(self, state: tuple[int, dict[str, int], str]) -> None:
        self._tensor, self._counts, self._last = state[0], dict(state[1]), state[2]

    def _label(self, tensor: int) -> str:
        return f"tensor {reprlib.repr(self._tensors[tensor].name)}"

    def _kind(self) -> str | None:
        return None if self._tensor == LEADING else self._tensors[self._tensor].kind

    def _needs_records(self, tensor: int) -> bool:
        return self._tensors[tensor].kind == "matrix" or self._tensors[tensor].nbytes > 0

    def _next_tensor(self, kind: str, record_type: str) -> None:
        self.finish_tensor()
        tensor = self._tensor + 1
        while tensor < len(self._tensors) and not self._needs_records(tensor):
            tensor += 1
        if tensor == len(self._tensors):
            raise ValueError(f"a record {record_type} beyond the last tensor")
        if self._tensors[tensor].kind != kind:
            raise ValueError(f"a record {record_type} where {self._label(tensor)} begins, not of kind {kind}")
        self._tensor = tensor
        self._counts = {}

    def _check_order(self, record_type: str) -> None:
        if self._kind() != "matrix":
            raise ValueError(f"a record {record_type} outside of a matrix tensor")
        if self._last not in _MATRIX_RECORDS[record_type][1]:
            raise ValueError(f"a record {record_type} after {self._last}")
