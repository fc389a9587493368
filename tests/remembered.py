"""The reference kernels, remembered: what one test asked for is not worked out again for each instruction set.

`reference` takes the place of `nqz.reference`. A call with arguments that have been seen, down to the bytes of every
array, gives what the first gave: what it returned or raised, and what it wrote into arrays. Nothing else is kept of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

import nqz.reference

LIMIT = 256 << 20  # bytes of results that are kept


def digest_of(value: Any, digest: hashlib._Hash) -> None:
    """Digest all that a kernel can see of an argument."""
    digest.update(type(value).__name__.encode())
    if isinstance(value, np.ndarray):
        flags = value.flags
        seen = value.dtype.str, value.shape, flags.c_contiguous, flags.f_contiguous, flags.writeable
        digest.update(repr(seen).encode() + value.tobytes())
    elif isinstance(value, (tuple, list)):
        digest.update(b"%d" % len(value))
        for item in value:
            digest_of(item, digest)
    elif dataclasses.is_dataclass(value):
        digest_of([getattr(value, field.name) for field in dataclasses.fields(value)], digest)
    else:
        assert value is None or isinstance(value, (bool, int, float, str, np.generic)), type(value)
        digest.update(repr(value).encode())


@dataclasses.dataclass
class Outcome:
    """What a call did."""

    returned: Any = None
    error: tuple[type[Exception], tuple[Any, ...]] | None = None
    written: list[tuple[int, np.ndarray]] = dataclasses.field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """About what it takes to keep it."""
        returned = self.returned if isinstance(self.returned, tuple) else (self.returned,)
        arrays = [*(item for item in returned if isinstance(item, np.ndarray)), *(a for _, a in self.written)]
        return 1000 + sum(array.nbytes for array in arrays)

    def again(self, arguments: tuple[Any, ...]) -> Any:
        """Do it to other arguments."""
        for index, array in self.written:
            arguments[index][...] = array
        if self.error is not None:
            kind, values = self.error
            raise kind(*values)
        return copied(self.returned)


def outcome_of(function: Any, arguments: tuple[Any, ...]) -> Outcome:
    """Call a function and see what it does."""
    arrays = [(i, a, a.tobytes()) for i, a in enumerate(arguments) if isinstance(a, np.ndarray)]
    outcome = Outcome()
    try:
        outcome.returned = function(*arguments)
    except (ValueError, TypeError) as error:
        outcome.error = type(error), error.args
    outcome.written = [(i, a.copy()) for i, a, before in arrays if a.tobytes() != before]
    return outcome


def copied(value: Any) -> Any:
    """What can be changed, copied."""
    if isinstance(value, tuple):
        return tuple(copied(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


class Remembered:
    """A module whose functions are worked out once for each set of arguments."""

    def __init__(self, module: Any, limit: int = LIMIT) -> None:
        self._module = module
        self._left = limit
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if not isinstance(found, (FunctionType, BuiltinFunctionType)):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            if named:
                bound = inspect.signature(found).bind(*arguments, **named)
                bound.apply_defaults()
                arguments = bound.args
            digest = hashlib.sha256(name.encode())
            digest_of(arguments, digest)
            key = digest.digest()
            if key not in self._known:
                self._keep(key, outcome_of(found, arguments))
            self._known.move_to_end(key)
            return self._known[key].again(arguments)

        setattr(self, name, call)
        return call

    def _keep(self, key: bytes, outcome: Outcome) -> None:
        self._left -= outcome.nbytes
        while self._known and self._left < 0:
            self._left += self._known.popitem(last=False)[1].nbytes
        self._known[key] = outcome


reference = Remembered(nqz.reference)
