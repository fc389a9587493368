"""The kernels: native code for this processor where it was built, `nqz.reference` otherwise.

`name` tells which are in use: "native:avx512vnni", "native:avx512", "native:avx2", "native:neon",
"native:baseline" or "reference". All of them give the same bits. The environment variable NQZ_KERNELS
(avx512vnni, avx512, avx2, neon, baseline or reference) forces one.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nqz.ground.corrupt import CorruptStream
from nqz.ground.errors import UsageError

if TYPE_CHECKING:
    from nqz.reference import (
        Key,
        Nest,
        Place,
        Tables,
        center_rotate,
        column_statistics,
        dither_quantize,
        entropy_decode,
        entropy_encode,
        estimate,
        fast_product,
        group_energies,
        integer_product,
        levels,
        narrow,
        pack_digits,
        point_products,
        rans_decode,
        rans_encode,
        restore,
        rotate,
        round_scaled,
        row_energies,
        sha256_pieces,
        unpack_digits,
        voronoi_decode,
        voronoi_encode,
        words,
    )

__all__ = [
    "CorruptStream",
    "Key",
    "Nest",
    "Place",
    "Tables",
    "center_rotate",
    "column_statistics",
    "dither_quantize",
    "entropy_decode",
    "entropy_encode",
    "estimate",
    "fast_product",
    "group_energies",
    "implementations",
    "integer_product",
    "levels",
    "name",
    "narrow",
    "pack_digits",
    "point_products",
    "rans_decode",
    "rans_encode",
    "restore",
    "rotate",
    "round_scaled",
    "row_energies",
    "sha256_pieces",
    "unpack_digits",
    "voronoi_decode",
    "voronoi_encode",
    "words",
]


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


def implementations() -> dict[str, ModuleType]:
    """Return every implementation that runs on this machine, by the value of NQZ_KERNELS, fastest first."""
    return {choice: _load(choice) for choice in _available()}


def _choose() -> str:
    choice = os.environ.get("NQZ_KERNELS") or _available()[0]
    if choice not in _available():
        raise UsageError(f"NQZ_KERNELS={choice}: not available here; use one of {', '.join(_available())}")
    return choice


_choice = _choose()
name = "reference" if _choice == "reference" else f"native:{_choice}"


def __getattr__(attribute: str) -> Any:
    # Bound at first use: the reference is not imported where it is not needed.
    if attribute not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    value = getattr(_load(_choice), attribute, None)
    if value is None:  # sha256_pieces, where the processor has no instructions for it
        value = getattr(_load("reference"), attribute)
    globals()[attribute] = value
    return value
