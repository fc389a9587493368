"""SHA-256 of pieces of data, by the library: what processors without instructions for it use too."""

from __future__ import annotations

import hashlib

import numpy as np

from nqz.reference.arrays import Array, require


def sha256_pieces(data: Array, size: int) -> Array:
    """Digests of consecutive pieces.

    Parameters
    ----------
    data : ndarray of uint8, one dimension
    size : int
        Bytes of a piece, at least one; the last piece may have fewer.

    Returns
    -------
    ndarray of uint8, shape (pieces, 32)
    """
    require(size >= 1, "pieces have at least one byte")
    starts = range(0, len(data), size)
    digests = b"".join(hashlib.sha256(data[start : start + size].tobytes()).digest() for start in starts)
    return np.frombuffer(digests, np.uint8).reshape(len(starts), 32)
