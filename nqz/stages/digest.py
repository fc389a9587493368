"""The content digest: it names the data that a file was made from, and is part of the key of the dither.

SHA-256 over the SHA-256s of fixed pieces of the data, cut off: the pieces can be hashed side by side.
"""

from __future__ import annotations

from typing import Any

from nqz import kernels
from nqz.ground import digests

PIECE = 256 << 10
SIZE = 16


def of_pieces(data: Any) -> bytes:
    """SHA-256s of the pieces of a buffer that begins with a piece: 32 bytes for each."""
    return kernels.hash_pieces(data, PIECE)


class ContentDigest:
    """Digest of data whose pieces are given in order, by their own digests."""

    def __init__(self) -> None:
        self._hash = digests.begun()

    def add(self, pieces: bytes) -> None:
        """Add what `of_pieces` makes of the data that follows."""
        self._hash.update(pieces)

    def value(self) -> bytes:
        """The digest of all data so far; 16 bytes."""
        return self._hash.digest()[:SIZE]
