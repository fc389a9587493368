"""What follows from what `inspect` says of a container, and from what was measured against its original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from nqz.ground.units import MAX_RATE
from nqz.pages.marks import Mark, Usual, marks
from nqz.plan import limit
from nqz.stages.codings import label
from nqz.stages.codings.trellis import TRELLIS
from nqz.stages.partner import EQUAL, EXACT, Partner

_TRELLIS_MOST = 4.0  # bits an entry of the trellis coding


class Position(NamedTuple):
    """Where a matrix is next to the limit of products, and what a bit more for each of its entries would make of it.

    Attributes
    ----------
    limit : float
        The least error that is possible at its rate on matrices with vectors that are alike.
    excess : float or None
        So many bits an entry more than that limit needs for the same error; negative where unequal norms gain more.
    more : float or None
        The error with a bit more, if rates go so far.
    more_bytes : float
        What that bit takes.
    """

    limit: float
    excess: float | None
    more: float | None
    more_bytes: float


def limit_at(rate: float, partner: Partner) -> float:
    """The least error of a product at a rate, with a partner coded alike, not compressed, or of some rate."""
    if partner == EQUAL:
        return limit.gamma(rate)
    return limit.pair_limit(rate, math.inf if isinstance(partner, str) else partner)


def position(tensor: dict[str, Any]) -> Position | None:
    """Where a matrix is, by what `inspect` says of it; None where there is no error to speak of."""
    if tensor["kind"] != "matrix" or tensor["predicted"]["product"] is None:
        return None
    rate, partner, error = tensor["rate"], tensor["partner"], tensor["predicted"]["product"]
    excess = more = None
    if 0.0 < error < 1.0:
        if partner == EQUAL:
            excess = rate - limit.gamma_inverse(error)
        else:
            excess = limit.shift(error, rate, math.inf if partner == EXACT else partner)
        most = _TRELLIS_MOST if tensor["coding"] == TRELLIS.name else MAX_RATE
        if rate + 1.0 <= most + 0.1:
            other = partner if isinstance(partner, str) else max(partner - excess, 0.0)
            more = limit_at(rate + 1.0 - excess, other)
    return Position(limit_at(rate, partner), excess, more, math.prod(tensor["shape"]) / 8.0)


@dataclass(frozen=True)
class Row:
    """A tensor as a report shows it.

    Attributes
    ----------
    number : int
        Its place in the container.
    tensor : dict
        What `inspect` says.
    code : str
        Lattice and coding, or what else it is.
    position : Position or None
    measured : dict or None
        What `compare` says, if that was asked.
    marks : list of Mark
        What is remarkable.
    """

    number: int
    tensor: dict[str, Any]
    code: str
    position: Position | None
    measured: dict[str, Any] | None
    marks: list[Mark] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name; without one that of its part of a set, or "array"."""
        return self.tensor["name"] or self.tensor.get("part") or "array"

    @property
    def bytes(self) -> int:
        """What it takes in the container."""
        return int(self.tensor["bytes"]["total"])

    @property
    def rate(self) -> float | None:
        """Bits an entry of a matrix."""
        return None if self.tensor["rate"] is None else float(self.tensor["rate"])

    @property
    def product(self) -> float | None:
        """Error that is expected of products, relative to ‖Ā‖²‖B̄‖²/n."""
        predicted = self.tensor["predicted"]
        return None if predicted is None else predicted["product"]

    @property
    def values(self) -> float | None:
        """Error of its values relative to ‖Ā‖², measured if it was, else predicted."""
        if self.measured is not None and self.measured["measured"] is not None:
            return float(self.measured["measured"])
        predicted = self.tensor["predicted"]
        return None if predicted is None else predicted["reconstruction"]

    @property
    def more(self) -> tuple[float | None, float] | None:
        """Error of products with a bit more for each entry, and the bytes that takes; from the planner if known."""
        if self.measured is not None and self.measured["more"] is not None:
            return self.measured["more"]["product"], self.measured["more"]["bytes"]
        if self.position is None or self.position.more is None:
            return None
        return self.position.more, self.position.more_bytes


@dataclass(frozen=True)
class Findings:
    """A container as a report shows it.

    Attributes
    ----------
    name : str
    inspected : dict
        What `inspect` says.
    compared : dict or None
        What `compare` says.
    rows : list of Row
        In the order of the container.
    """

    name: str
    inspected: dict[str, Any]
    compared: dict[str, Any] | None
    rows: list[Row]

    @property
    def totals(self) -> dict[str, Any]:
        """Those of `inspect`."""
        return dict(self.inspected["totals"])

    @property
    def matrices(self) -> list[Row]:
        """The compressed tensors."""
        return [row for row in self.rows if row.tensor["kind"] == "matrix"]

    @property
    def whole(self) -> dict[str, Any] | None:
        """What `inspect` says of the one matrix that a part set is."""
        whole: dict[str, Any] | None = self.inspected.get("whole")
        return whole

    @property
    def marked(self) -> list[Row]:
        """What is remarkable."""
        return [row for row in self.rows if row.marks]

    @property
    def partners(self) -> list[Partner]:
        """What products the matrices are for, the most frequent first."""
        found: dict[Partner, int] = {}
        for row in self.matrices:
            found[row.tensor["partner"]] = found.get(row.tensor["partner"], 0) + 1
        return sorted(found, key=lambda partner: (-found[partner], str(partner)))

    def products(self) -> tuple[float, float, float] | None:
        """The least, the median and the greatest error that is expected of products, if there are any.

        Of a part set that of the whole takes the place of the median.
        """
        errors = [row.product for row in self.matrices if row.product is not None]
        if errors and self.whole is not None and (product := self.whole["predicted"]["product"]) is not None:
            return min(errors), product, max(errors)
        return (min(errors), median(errors), max(errors)) if errors else None

    def failed(self) -> list[Row]:
        """Tensors that are not as they should be."""
        return [row for row in self.rows if any(mark.serious for mark in row.marks)]


def findings(name: str, inspected: dict[str, Any], compared: dict[str, Any] | None = None) -> Findings:
    """What follows from what `inspect` says of a container, and `compare`, if there was something to compare with."""
    tensors: Sequence[dict[str, Any]] = inspected["tensors"]
    measured: list[Any] = [None] * len(tensors) if compared is None else compared["tensors"]
    rows = [
        Row(number, tensor, _code(tensor), position(tensor), one)
        for number, (tensor, one) in enumerate(zip(tensors, measured, strict=True))
    ]
    usual = Usual.of(
        [row.product for row in rows if row.product is not None],
        [row.position.excess for row in rows if row.position and row.position.excess is not None],
        inspected["totals"]["bytes"],
    )
    for row in rows:
        excess = row.position.excess if row.position else None
        row.marks.extend(marks(row.tensor, excess, row.measured, usual))
    return Findings(name, inspected, compared, rows)


def _code(tensor: dict[str, Any]) -> str:
    if tensor["same_as"] is not None:
        return "tied"
    if tensor["kind"] != "matrix":
        return str(tensor["kind"])
    window = f" {tensor['window']}" if tensor["window"] not in (None, "auto") else ""
    return label(tensor["lattice"], tensor["coding"]) + window
