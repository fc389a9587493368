"""dither_quantize: scale, add the dither, take the nearest point, less the dither (docs/format.md, section 14)."""

from __future__ import annotations

from nqz.reference.arrays import Array, check
from nqz.reference.dither import Key, levels_of
from nqz.reference.fixed_point import UNIT, fixed_point, scaled
from nqz.reference.lattices import lattice_of
from nqz.reference.layout import Place


def dither_quantize(place: Place, key: Key, u: Array, scale: Array, out: Array) -> None:
    """Quantize a chunk with subtractive dither: the point nearest to u · scale + dither, less the dither.

    Parameters
    ----------
    place : Place
    key : Key
    u : numpy.ndarray
        float32 [N], the chunk's entries.
    scale : numpy.ndarray
        float32 [c], 256 / (lattice step) for every column of the panel.
    out : numpy.ndarray
        int32 [P], written: fine coordinates Y = fine · λ - level.
    """
    check({"u float32 [N]": u, "scale float32 [c]": scale, "out int32 [P]": out}, **place.sizes)
    lattice, z = lattice_of(place.lattice), levels_of(place, key)
    column = place.columns(scale.size)[: place.count]
    t = fixed_point(scaled(u, scale[column]), place.positions)
    point = lattice.quantize(t + z * (UNIT // lattice.fine), place.lanes, UNIT)
    out[...] = lattice.fine * point - z
