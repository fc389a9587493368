"""The hash: SHA-256 by the standard library, which lets other threads run meanwhile; `sha256sum` prints the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashlib import _Hash

SIZE = 32
"""Bytes of a digest."""


def begun() -> _Hash:
    """A hash of nothing yet, for `update` and `digest`."""
    return hashlib.sha256()


def of(data: Any) -> bytes:
    """Digest of a buffer: 32 bytes."""
    return hashlib.sha256(data).digest()


def of_pieces(data: Any, size: int) -> bytes:
    """Digests of consecutive pieces of a C-contiguous buffer, 32 bytes for each; the last piece may be shorter."""
    view = memoryview(data).cast("B")
    return b"".join(of(view[start : start + size]) for start in range(0, len(view), size))
