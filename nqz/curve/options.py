"""What the user asks of a sweep: rates, lattices, codings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nqz.commands.options import EncodeOptions
from nqz.ground.errors import UsageError
from nqz.stages.codings import CODINGS, label
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT, FAMILIES
from nqz.stages.partner import EQUAL, Partner

RATES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)

_USUAL = dict.fromkeys((DEFAULT, "z", "e8"))


@dataclass(frozen=True)
class SweepOptions:
    """What the user asks of a sweep.

    Attributes
    ----------
    rates : sequence of float
        Bits an entry.
    lattices : sequence of str
        Families; by default the usual one, and "z" and "e8" for comparison.
    states : sequence of int
        States of the convolutional code of "conv"; by default the usual ones.
    codings : sequence of str
        Keys of `CODINGS`.
        A lattice is used with those that it has.
    window : int, optional
        Of the trellis coding; by default what suits each rate.
    seed : int
    mark : float, optional
        The rate that is chosen; it is one of those measured.
    error : float, optional
        The error that is asked for: the least rate is chosen at which the predicted error is at most this.
    partner : {"equal", "exact"} or float
        The other side of the product: coded alike, not compressed, or of so many bits an entry.
    """

    rates: tuple[float, ...] = RATES
    lattices: tuple[str, ...] = ()
    states: tuple[int, ...] = ()
    codings: tuple[str, ...] = (CODING.name,)
    window: int | None = None
    seed: int = 0
    mark: float | None = None
    error: float | None = None
    partner: Partner = EQUAL

    def encodings(self) -> list[EncodeOptions]:
        """All encodings, by lattice, then by coding, then by rate.

        Raises
        ------
        UsageError
            A value makes no sense, or is given twice.
        """
        if self.mark is not None and self.error is not None:
            raise UsageError("mark and error: both choose a rate; give one of them")
        for what in ("rates", "lattices", "states", "codings"):
            _refuse_twice(what, getattr(self, what))
        if self.window is not None and not any(c in CODINGS and CODINGS[c].windows for c in self.codings):
            raise UsageError(f"window {self.window}: only the trellis coding has one")
        families = self.lattices or tuple(_USUAL)
        if self.states and "conv" not in families:
            raise UsageError(f"states {self.states[0]}: only the lattice conv has states")
        rates = sorted({*self.rates, *(() if self.mark is None else (self.mark,))})
        targets: list[tuple[float | None, float | None]] = [(rate, None) for rate in rates]
        if self.error is not None:
            targets.append((None, self.error))
        found = []
        without = [c for c in self.codings if c in CODINGS and CODINGS[c].takes(None)]
        for family in families:
            codings = [
                c
                for c in self.codings
                if c not in CODINGS or family not in FAMILIES or CODINGS[c].takes(FAMILIES[family][0])
            ]
            # a lattice that was asked for by name is not left out in silence
            missing = [c for c in self.codings if c not in without] if self.lattices else []
            for coding in codings or missing:
                for states in self.states if family == "conv" and self.states else (None,):
                    found += [
                        EncodeOptions(
                            rate=rate,
                            error=error,
                            seed=self.seed,
                            lattice=family,
                            states=states,
                            coding=coding,
                            partner=self.partner,
                            dequantize=True,
                        )
                        for rate, error in targets
                    ]
        found += [
            EncodeOptions(
                rate=rate,
                error=error,
                seed=self.seed,
                coding=coding,
                window=self.window,
                partner=self.partner,
                dequantize=True,
            )
            for coding in without
            for rate, error in targets
            if rate is None or rate <= CODINGS[coding].most_rate or self.codings == (coding,)
        ]
        for options in found:
            options.check()
        if not found:
            raise UsageError("a sweep needs at least one rate and one lattice")
        return found


def opposite(encoding: EncodeOptions, rate: float) -> EncodeOptions | None:
    """How the other side is encoded, where the first was asked for a rate; None where it is not compressed."""
    if encoding.partner == EQUAL:
        return encoding
    if isinstance(encoding.partner, str):
        return None
    return replace(encoding, rate=encoding.partner, error=None, partner=rate)


def point_name(encoding: EncodeOptions) -> str:
    """A point of a sweep, as its progress is called."""
    target = f"error {encoding.error:g}" if encoding.rate is None else f"{encoding.rate:g}"
    return f"{label(encoding.lattice_name, encoding.coding)} {target}"


def _refuse_twice(what: str, values: tuple[Any, ...]) -> None:
    for number, value in enumerate(values):
        if value in values[:number]:
            text = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(f"{what}: {text} is given twice")
