"""The stages of the pipeline in plain NumPy: the oracle of the native kernels, written to be read.

Begin with `figure1`, the whole pipeline on one page. Every function and class below has a native twin of the same
name and signature that gives the same bits, in the file of the same name in nqz/kernels/src, and this package is what
`nqz.kernels` falls back to where no compiled extension is present. What is true of one lattice stands in its file in
`lattices`; `codings` turn points into bits.
"""

from __future__ import annotations

from nqz.ground.corrupt import CorruptStream
from nqz.reference.center_rotate import center_rotate
from nqz.reference.codings.entropy import entropy_decode, entropy_encode
from nqz.reference.codings.pack import pack_digits, unpack_digits
from nqz.reference.codings.rans import rans_decode, rans_encode
from nqz.reference.codings.ring import RingCode, ring_bytes, ring_decode, ring_encode
from nqz.reference.codings.ring_products import ring_products, ring_sums
from nqz.reference.codings.tables import Tables
from nqz.reference.codings.voronoi import Nest, voronoi_decode, voronoi_encode
from nqz.reference.deviations import deviations
from nqz.reference.dither import Key, levels, words
from nqz.reference.dither_quantize import dither_quantize
from nqz.reference.estimate import estimate, group_energies
from nqz.reference.fixed_point import round_scaled
from nqz.reference.layout import Place
from nqz.reference.operand import narrow, point_products, row_energies
from nqz.reference.product import fast_product, integer_product
from nqz.reference.restore import restore
from nqz.reference.rotate import rotate, rotate_wide
from nqz.reference.rows import row_products, row_sums
from nqz.reference.select import select
from nqz.reference.statistics import column_statistics

__all__ = [
    "CorruptStream",
    "Key",
    "Nest",
    "Place",
    "RingCode",
    "Tables",
    "center_rotate",
    "column_statistics",
    "deviations",
    "dither_quantize",
    "entropy_decode",
    "entropy_encode",
    "estimate",
    "fast_product",
    "group_energies",
    "integer_product",
    "levels",
    "narrow",
    "pack_digits",
    "point_products",
    "rans_decode",
    "rans_encode",
    "restore",
    "ring_bytes",
    "ring_decode",
    "ring_encode",
    "ring_products",
    "ring_sums",
    "rotate",
    "rotate_wide",
    "round_scaled",
    "row_energies",
    "row_products",
    "row_sums",
    "select",
    "unpack_digits",
    "voronoi_decode",
    "voronoi_encode",
    "words",
]
