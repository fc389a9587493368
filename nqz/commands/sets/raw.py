"""Raw products of matrices in parts: those of parts, added up.

Where points of all parts are worth the same, they are added as integers: in any order, by anybody, to the same sum.
Otherwise they are added in the order of the parts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nqz.commands.sets.operand import SetOperand
from nqz.ground.threads import Workers
from nqz.product.operand import Operand
from nqz.product.product import Product
from nqz.product.tiles import Lately
from nqz.stages import project

_KEPT = 4  # parts whose blocks stay decoded

Sum = NDArray[Any]
"""Raw products, int64 or int32; float64 where points are not worth the same in all parts."""


class Decoded:
    """The blocks of parts, reduced to coordinates that both sides have; those of the last few parts stay decoded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Operand, int], Lately] = OrderedDict()

    def of(self, part: Operand, shared: int, pool: Workers) -> Lately:
        """Those of a part, of which so many coordinates are shared."""
        found = self._kept.pop((part, shared), None)
        if found is None:
            meet = project.meet(part.rotation_seed, part.side.n, part.m, shared)
            found = Lately(part, meet, pool)
        self._kept[part, shared] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def raw_sum(
    sides: tuple[SetOperand, SetOperand],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    some: range,
    decoded: Decoded,
    pool: Workers,
) -> Sum:
    """Raw products of some columns of both sides, those of some parts added up."""
    alike = all(side.alike for side in sides)
    out: Sum = np.zeros((len(rows), len(columns)), np.int64 if alike else np.float64)
    for k in some:
        ratios = [side.ratio(k, own) for side, own in zip(sides, (rows, columns), strict=True)]
        for j, own_rows, place in sides[0].split(rows):
            for other, own_columns, beside in sides[1].split(columns):
                parts = sides[0].parts[k][j], sides[1].parts[k][other]
                shared = min(part.m for part in parts)
                left, right = (decoded.of(part, shared, pool) for part in parts)
                product = Product(left.operand, right.operand, "unbiased")
                found = product.raw_of((left, right), own_rows, own_columns, pool)
                for (row, column), raw in found.items():
                    at, over = place[0] + row, beside[0] + column
                    i, c = slice(at, at + len(raw)), slice(over, over + raw.shape[1])
                    if alike:
                        there = out[i, c]
                        np.add(there, raw, out=there, casting="unsafe")  # both are integers
                        continue
                    scaled = raw.astype(np.float64)
                    for ratio, own in zip(ratios, (i, c), strict=True):
                        if ratio is not None:
                            scaled *= ratio[own][:, None] if own is i else ratio[own][None, :]
                    out[i, c] += scaled
    return out


def narrow(raw: Sum) -> Sum:
    """The same as int32, if it is of integers that fit."""
    if raw.dtype == np.int64 and raw.size:
        limits = np.iinfo(np.int32)
        if limits.min <= raw.min() and raw.max() <= limits.max:
            return raw.astype(np.int32)
    return raw


def exact(raw: Sum) -> Sum:
    """As kernels take it: int32, or float64, which is exact, too."""
    found = narrow(raw)
    return found.astype(np.float64) if found.dtype == np.int64 else found
