"""What the user can ask of an encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nqz.commands.sensitivities import SIZE, UNIFORM, check_sensitivities
from nqz.ground.errors import UsageError
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.ground.wording import one_of
from nqz.models.rules import TREATMENT, parse
from nqz.plan.spend import default_exponent
from nqz.stages.codings import ALLOCATIONS, CODINGS
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT, FAMILIES, Lattice, choose
from nqz.stages.partner import EQUAL, NAMED, Partner

AUTO = "auto"

_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_MAX_EXPONENT = 2.0

MIN_ERROR = 2.0 * 4.0**-MAX_RATE


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asks of an encoding: one of `rate`, `error` and `max_bytes`, and how.

    Attributes
    ----------
    rate : float, optional
        Bits an entry, everything in the file counted.
    error : float, optional
        The smallest file whose predicted error of a product (unrelated partner, see `partner`) is at most this.
    max_bytes : int, optional
        The best file of at most so many bytes.
    seed : int
        Sets rotation and dither; both operands of a product need the same.
    axis : {0, 1, "auto"}, optional
        Axis along which the vectors lie, the contracted one; "auto" tells it from names, shapes and `config`. By
        default "auto" where there is a `config`, else 0.
    center : bool, optional
        Whether columns are centered; by default where means are worth their bits.
    lattice : {"conv", "leech", "e8", "d4", "z"}
    states : int, optional
        States of the convolutional code of "conv".
        Not of the trellis coding, which has no lattice.
    coding : {"entropy", "voronoi", "trellis"}
    allocate : {"matrix", "column"}, optional
        The least error of the product as a whole, or the same relative precision for every column. By default
        "matrix" for the entropy coding; the Voronoi coding knows "column" only, the trellis coding "matrix" only.
    window : int, optional
        Of the trellis coding, 12, 14 or 16 bits: the wider, the less error and the slower to encode. By default what
        suits the rate.
    kappa : float, optional
        Fraction of coordinates to keep; chosen from the rate by default.
    partner : {"equal", "exact"} or float
        The other factor that products will have, coded alike, not compressed, or of so many bits an entry: decides
        which coordinates and columns are kept, and what is predicted.
    tensors : sequence of str
        Names or shell patterns of the tensors to take; all by default.
    metadata : mapping of str to str
        Beside what the source has, in whose place it comes where keys are the same.
    rules : sequence of str
        What is to become of some tensors; see `nqz.models.rules`.
    across : str or mapping of str to float
        How a rate or an error is shared by several matrices: "uniform", "size", "size:EXPONENT", or how sensitive
        each is, by names or shell patterns, of which the last that takes a tensor counts.
    config : mapping, optional
        The ``config.json`` of the network that the tensors are of.
    dequantize : bool
        Whether tensors that are quantized already, as those of .gguf files, may be decoded and coded anew.
    other_bytes : int
        Bytes of what comes with the containers, and counts toward `max_bytes`, such as the index of a model.
    """

    rate: float | None = None
    error: float | None = None
    max_bytes: int | None = None
    seed: int = 0
    axis: int | str | None = None
    center: bool | None = None
    lattice: str = DEFAULT
    states: int | None = None
    coding: str = CODING.name
    allocate: str | None = None
    window: int | None = None
    kappa: float | None = None
    partner: Partner = EQUAL
    tensors: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[str] = ()
    across: str | Mapping[str, float] = "uniform"
    config: Mapping[str, Any] | None = None
    dequantize: bool = False
    other_bytes: int = 0
    where: str | None = None
    """What messages call all that is encoded, where it is a model; by default the files of it."""
    strict: bool = False
    """Whether the bytes that come on top of the rate for small matrices are withheld."""

    def check(self) -> None:
        """Raise UsageError for a value that makes no sense."""
        self._check_target()
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: an integer from 0 to 2**64 - 1 is needed")
        if self.axis not in (None, 0, 1, AUTO):
            raise UsageError(f"axis {self.axis}: 0 (columns), 1 (rows) or {AUTO}")
        self._check_across()
        if self.lattice not in FAMILIES:
            raise UsageError(f"lattice {self.lattice!r}: one of {', '.join(FAMILIES)}")
        known = [lattice.states for lattice in FAMILIES[self.lattice] if lattice.states is not None]
        if self.states is not None and not known:
            raise UsageError(f"states {self.states}: only the lattice conv has states")
        if self.states is not None and self.states not in known:
            raise UsageError(f"states {self.states}: one of {', '.join(map(str, known))}")
        if self.coding not in CODINGS:
            raise UsageError(f"coding {self.coding!r}: {one_of(CODINGS)}")
        self._check_lattice()
        if self.allocate not in (None, *ALLOCATIONS):
            raise UsageError(f"allocation {self.allocate!r}: {one_of(ALLOCATIONS)}")
        allocations = CODINGS[self.coding].allocations
        if self.allocate is not None and self.allocate not in allocations:
            why = (
                "scales every column by its norm"
                if allocations == ("column",)
                else "shares bits for the least error of the whole"
            )
            raise UsageError(
                f"allocation {self.allocate!r}: the {self.coding} coding {why}, choose {allocations[0]!r}"
            )
        if self.kappa is not None and not 0.0 < self.kappa <= 1.0:
            raise UsageError(f"kappa {self.kappa:g}: a number above 0 and at most 1 is needed")
        if self.kappa is not None and self.chosen_lattice is None:
            raise UsageError(f"kappa {self.kappa:g}: the {self.coding} coding keeps all coordinates")
        self._check_window()
        self._check_most(self.rate, self.coding)
        self._check_partner()
        for text in self.rules:
            self._check_rule(text)

    def _check_lattice(self) -> None:
        coding = CODINGS[self.coding]
        if coding.takes(None):
            if self.lattice != DEFAULT or self.states is not None:
                given = f"states {self.states}" if self.lattice == DEFAULT else f"lattice {self.lattice!r}"
                raise UsageError(f"{given}: the {self.coding} coding has no lattice")
            return
        able = [name for name, members in FAMILIES.items() if coding.takes(members[0])]
        if self.lattice not in able:
            raise UsageError(
                f"lattice {self.lattice!r}: the {self.coding} coding needs one of {', '.join(able)}"
            )

    def _check_window(self) -> None:
        known = CODINGS[self.coding].windows
        if self.window is not None and self.window not in known:
            raise UsageError(
                f"window {self.window}: {AUTO} or one of {', '.join(map(str, known))}"
                if known
                else f"window {self.window}: only the trellis coding has one"
            )

    def _check_most(self, rate: float | None, coding: str) -> None:
        most = CODINGS[coding].most_rate
        if rate is not None and rate > most:
            raise UsageError(
                f"rate {rate:g}: the {coding} coding has at most {int(most)} bits per entry; "
                f"the {CODING.name} coding makes use of more"
            )

    def _check_partner(self) -> None:
        if self.partner in NAMED:
            return
        known = isinstance(self.partner, (int, float))
        if not known or not MIN_RATE <= float(self.partner) <= MAX_RATE:
            given = f"{self.partner:g}" if known else repr(self.partner)
            raise UsageError(
                f"partner {given}: {', '.join(NAMED)}, or its bits per entry from {MIN_RATE} to {MAX_RATE:g}"
            )

    def _check_rule(self, text: str) -> None:
        values = parse(text).values
        coding, rate = values.get("coding"), values.get(TREATMENT)
        try:
            if coding is not None:
                self.of_coding(coding).check()
            self._check_most(rate if isinstance(rate, float) else None, coding or self.coding)
        except UsageError as error:
            raise UsageError(f"rule {text!r}: {error}") from None

    def of_coding(self, coding: str) -> EncodeOptions:
        """The same with another coding."""
        window = self.window if CODINGS[coding].windows else None
        return replace(self, coding=coding, window=window, rules=())

    def _check_across(self) -> None:
        if isinstance(self.across, str):
            self.spread(1.0)
            return
        check_sensitivities(self.across)

    def spread(self, rate: float) -> float:
        """The exponent p where rates depend on sizes, N^p, at so many bits an entry in all; 1 with sensitivities."""
        if not isinstance(self.across, str):
            return 1.0
        word, colon, value = self.across.partition(":")
        if self.across == UNIFORM:
            return 0.0
        if self.across == SIZE:
            return default_exponent(rate)
        if word == SIZE and colon and _NUMBER.fullmatch(value) and float(value) <= _MAX_EXPONENT:
            return float(value)
        raise UsageError(
            f"across {self.across!r}: {UNIFORM}, {SIZE}, {SIZE}:EXPONENT with an exponent from 0 to "
            f"{_MAX_EXPONENT:g}, or a file NAME.json of sensitivities is needed"
        )

    @property
    def tells_axes(self) -> bool:
        """Whether names, shapes and configuration tell what tensors are, and which axis they contract."""
        return self.axis == AUTO or (self.axis is None and self.config is not None)

    @property
    def is_uniform(self) -> bool:
        """Whether all matrices get the same."""
        return self.across == UNIFORM

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
    def chosen_lattice(self) -> Lattice | None:
        """The lattice, of so many states where it has some; None of a coding without one."""
        return None if CODINGS[self.coding].takes(None) else choose(self.lattice, self.states)

    @property
    def lattice_name(self) -> str | None:
        """The name of the lattice, as files have it."""
        return None if self.chosen_lattice is None else self.chosen_lattice.name
