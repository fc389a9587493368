"""The box "dither": the key of a tensor's dither, and the generator behind it.

The generator is counter based: word i of a key (k0, k1) is mix(k1 ^ mix(k0 + (i + 1) · 0x9E3779B97F4A7C15)), mix the
finalizer of SplitMix64. Sixteen 4-bit levels come from one word; chunk number j of a tensor starts at word 65536 j.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from nqz import kernels

CHUNK_WORDS = 1 << 16
"""Words reserved for a chunk: 2²⁰ levels."""


def key(seed: int, digest: bytes, name: str, parameters: bytes) -> bytes:
    """Key of a tensor's dither: 16 bytes that differ as soon as what is coded, or how, differs.

    Parameters
    ----------
    seed : int
        The user's seed, 0 to 2⁶⁴ - 1.
    digest : bytes
        Content digest of the tensor (16 bytes).
    name : str
        Name of the tensor, empty for .npy.
    parameters : bytes
        Serialized options of the coding, not its outcome.
    """
    hashed = hashlib.sha256(b"nqz dither 0\0")
    encoded = name.encode()
    hashed.update(
        seed.to_bytes(8, "little") + digest + len(encoded).to_bytes(8, "little") + encoded + parameters
    )
    return hashed.digest()[:16]


def counter(chunk: int) -> int:
    """First word of the dither of a chunk, by its number."""
    return chunk * CHUNK_WORDS


LABELS = 1 << 16
"""Bytes of dither for labels of the trellis coding."""


def labels(dither_key: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The dither of labels, from the two halves of a key: the bytes of the first words, least significant first."""
    found = kernels.words(kernels.Key(*dither_key), 0, LABELS // 8)
    return found.astype("<u8").view(np.uint8)


def halves(dither_key: bytes) -> tuple[int, int]:
    """The two 64-bit halves (k0, k1) of a key."""
    return int.from_bytes(dither_key[:8], "little"), int.from_bytes(dither_key[8:], "little")
