"""Keys of the generator for what both sides of a product share: signs and projection (docs/format.md, section 12).

The first half is the rotation seed. The second says what the words are for, and for which length; so no two uses of a
seed draw the same words.
"""

from __future__ import annotations

_SIGNS = 0x5349474E53  # "SIGNS"
_PERMUTATION = 0x5045524D  # "PERM"


def signs_key(seed: int, n: int, number: int) -> tuple[int, int]:
    """Return the key of the signs of a round of the rotation, number 0 or 1, of columns of length n."""
    return seed, _SIGNS << 20 ^ n << 1 ^ number


def permutation_key(seed: int, n: int) -> tuple[int, int]:
    """Return the key of the random order of the coordinates of columns of length n, of which P keeps the first."""
    return seed, _PERMUTATION << 28 ^ n
