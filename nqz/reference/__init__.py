"""The stages of the pipeline in plain NumPy, in specification order: the oracle of the native kernels.

Every function here has a native twin of the same name and signature that gives the same bits. This package is
written to be read, and it is what `nqz.kernels` falls back to where no compiled extension is present.
"""

from __future__ import annotations

from nqz.ground.corrupt import CorruptStream
from nqz.reference.center import center, restore
from nqz.reference.digest import sha256_pieces
from nqz.reference.dither import levels, words
from nqz.reference.entropy import entropy_decode, entropy_encode
from nqz.reference.lattice import nearest, quantize_exact
from nqz.reference.pack import pack_digits, unpack_digits
from nqz.reference.product import (
    estimate,
    fast_product,
    group_energies,
    integer_product,
    narrow,
    point_products,
    row_energies,
)
from nqz.reference.rans import rans_decode, rans_encode
from nqz.reference.rotate import rotate
from nqz.reference.statistics import statistics
from nqz.reference.voronoi import voronoi_decode, voronoi_encode

__all__ = [
    "CorruptStream",
    "center",
    "entropy_decode",
    "entropy_encode",
    "estimate",
    "fast_product",
    "group_energies",
    "integer_product",
    "levels",
    "narrow",
    "nearest",
    "pack_digits",
    "point_products",
    "quantize_exact",
    "rans_decode",
    "rans_encode",
    "restore",
    "rotate",
    "row_energies",
    "sha256_pieces",
    "statistics",
    "unpack_digits",
    "voronoi_decode",
    "voronoi_encode",
    "words",
]
