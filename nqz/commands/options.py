"""What the user can ask of an encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nqz.ground.errors import UsageError
from nqz.plan.task import MAX_RATE, MIN_RATE
from nqz.stages.codings import ALLOCATIONS, CODINGS
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT, FAMILIES, Lattice, choose

MIN_ERROR = 2.0 * 4.0**-MAX_RATE


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asks of an encoding: one of `rate`, `error` and `max_bytes`, and how.

    Attributes
    ----------
    rate : float, optional
        Bits an entry, everything in the file counted.
    error : float, optional
        The smallest file whose predicted error of a product (unrelated partner, coded alike) is at most this.
    max_bytes : int, optional
        The best file of at most so many bytes.
    seed : int
        Sets rotation and dither; both operands of a product need the same.
    axis : int
        Axis along which the vectors lie, the contracted one.
    center : bool
        Whether columns are centered.
    lattice : {"conv", "leech", "e8", "d4", "z"}
    states : int, optional
        States of the convolutional code of "conv".
    coding : {"entropy", "voronoi"}
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative precision for every column. By default
        "matrix" for the entropy coding; the Voronoi coding knows "column" only.
    kappa : float, optional
        Fraction of coordinates to keep; chosen from the rate by default.
    tensors : sequence of str
        Names or shell patterns of the tensors to take; all by default.
    metadata : mapping of str to str
        Beside what the source has, in whose place it comes where keys are the same.
    other_bytes : int
        Bytes of what comes with the containers, and counts toward `max_bytes`, such as the index of a model.
    """

    rate: float | None = None
    error: float | None = None
    max_bytes: int | None = None
    seed: int = 0
    axis: int = 0
    center: bool = True
    lattice: str = DEFAULT
    states: int | None = None
    coding: str = CODING.name
    allocate: str | None = None
    kappa: float | None = None
    tensors: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    other_bytes: int = 0
    strict: bool = False
    """Whether the bytes that come on top of the rate for small matrices are withheld."""

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense."""
        self._check_target()
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: an integer from 0 to 2**64 - 1 is needed")
        if self.axis not in (0, 1):
            raise UsageError(f"axis {self.axis}: 0 (columns) or 1 (rows)")
        if self.lattice not in FAMILIES:
            raise UsageError(f"lattice {self.lattice!r}: one of {', '.join(FAMILIES)}")
        known = [lattice.states for lattice in FAMILIES[self.lattice] if lattice.states is not None]
        if self.states is not None and not known:
            raise UsageError(f"states {self.states}: only the lattice conv has states")
        if self.states is not None and self.states not in known:
            raise UsageError(f"states {self.states}: one of {', '.join(map(str, known))}")
        if self.coding not in CODINGS:
            raise UsageError(f"coding {self.coding!r}: {' or '.join(CODINGS)}")
        able = [name for name, members in FAMILIES.items() if CODINGS[self.coding].takes(members[0])]
        if self.lattice not in able:
            raise UsageError(
                f"lattice {self.lattice!r}: the {self.coding.capitalize()} coding needs one of {', '.join(able)}"
            )
        if self.allocate not in (None, *ALLOCATIONS):
            raise UsageError(f"allocation {self.allocate!r}: {' or '.join(ALLOCATIONS)}")
        allocations = CODINGS[self.coding].allocations
        if self.allocate is not None and self.allocate not in allocations:
            raise UsageError(
                f"allocation {self.allocate!r}: the {self.coding.capitalize()} coding scales every column by its norm, "
                f"choose {allocations[0]!r}"
            )
        if self.kappa is not None and not 0.0 < self.kappa <= 1.0:
            raise UsageError(f"kappa {self.kappa:g}: a number above 0 and at most 1 is needed")

    def _check_target(self) -> None:
        given = [x for x in (self.rate, self.error, self.max_bytes) if x is not None]
        targets = "a rate (-r), an error (--error) and a number of bytes (--max-bytes)"
        if len(given) != 1:
            raise UsageError(f"give only one of {targets}" if given else f"one of {targets} is needed")
        if self.rate is not None and not MIN_RATE <= self.rate <= MAX_RATE:
            raise UsageError(
                f"rate {self.rate:g}: a number of bits per entry from {MIN_RATE} to {MAX_RATE:g} is needed"
            )
        if self.error is not None and not MIN_ERROR <= self.error < 1.0:
            raise UsageError(f"error {self.error:g}: a number from {MIN_ERROR:g} to below 1 is needed")
        if self.max_bytes is not None and not 1 <= self.max_bytes < 1 << 63:
            raise UsageError(f"{self.max_bytes} bytes: a number from 1 to 2**63 - 1 is needed")

    @property
    def chosen_lattice(self) -> Lattice:
        """The lattice, of so many states where it has some."""
        return choose(self.lattice, self.states)
