"""The kernels: native code for this processor where it was built, `nqz.reference` otherwise.

`name` tells which are in use: "native:avx512vnni", "native:avx512", "native:avx2", "native:neon",
"native:baseline" or "reference". All of them give the same bits. The environment variable NQZ_KERNELS
(avx512vnni, avx512, avx2, neon, baseline or reference) forces one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nqz.ground import digests
from nqz.ground.corrupt import CorruptStream as CorruptStream
from nqz.ground.errors import UsageError

if TYPE_CHECKING:
    from nqz.reference import *  # noqa: F403 - names and signatures are those of the reference
    from nqz.reference.codings.ring_codes import RingForm

    crc32 = zlib.crc32


def ring_form(half_bits: int, window: int) -> RingForm:
    """The constants of the rings of so many half bits an entry, the same whatever kernels are in use."""
    from nqz.reference.codings.ring_codes import form_of

    return form_of(half_bits, window)


def load() -> None:
    """Load what would be loaded where it is first needed: constants of rings, and with them the reference."""
    from nqz.reference.codings import ring_codes  # noqa: F401


def _available() -> list[str]:
    try:
        from nqz.kernels import _native
    except ImportError:  # built without a compiler
        return ["reference"]
    return [*reversed(_native.available()), "reference"]


def _load(choice: str) -> ModuleType:
    if choice == "reference":
        from nqz import reference

        return reference
    from nqz.kernels import _native

    native: ModuleType = getattr(_native, choice)
    return native


def _load_hash() -> Callable[[Any, int], bytes] | None:
    from nqz.kernels import _native

    found: Callable[[Any, int], bytes] | None = getattr(_native, "hash_pieces", None)
    return found


def implementations() -> dict[str, ModuleType]:
    """Return every implementation that runs on this machine, by the value of NQZ_KERNELS, fastest first."""
    return {choice: _load(choice) for choice in _available()}


def _choose() -> str:
    choice = os.environ.get("NQZ_KERNELS") or _available()[0]
    if choice not in _available():
        raise UsageError(f"NQZ_KERNELS={choice}: not available here; use one of {', '.join(_available())}")
    return choice


def hash_pieces(data: Any, size: int) -> bytes:
    """SHA-256s of consecutive pieces of a buffer, as `nqz.ground.digests.of_pieces`.

    Where the processor has instructions for it, two pieces at a time: twice as fast as one after the other, since each
    step of a hash waits for the one before.
    """
    view = memoryview(data).cast("B")
    if _hash_pieces is None or not view:
        return digests.of_pieces(view, size)
    import numpy as np

    return _hash_pieces(np.frombuffer(view, np.uint8), size)


_choice = _choose()
_hash_pieces = None if _choice == "reference" else _load_hash()
name = "reference" if _choice == "reference" else f"native:{_choice}"


def __getattr__(attribute: str) -> Any:
    # Bound at first use: the reference is not imported where it is not needed.
    if not attribute.startswith("_"):
        # the checksum of records, where processors have nothing faster
        other = zlib.crc32 if attribute == "crc32" else None
        value = getattr(_load(_choice), attribute, other)
        if value is not None:
            globals()[attribute] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
