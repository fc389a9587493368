"""How several matrices share a rate, an error or a number of bytes: a target for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from nqz.commands.options import MIN_ERROR, EncodeOptions
from nqz.commands.sensitivities import importance
from nqz.commands.treatment import MATRIX, Treatment, carrying, where_of
from nqz.files.contract import Tensors
from nqz.ground.arithmetic import log2
from nqz.ground.errors import UsageError
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.models.architecture import HEAD, TIED
from nqz.plan.spend import Part, least_total, share_bits, share_error
from nqz.plan.task import Target

FREE_BYTES = 448
"""Bytes that come on top of the rate below a million entries."""

CLOSE = 0.995
"""Of what may be used: where less is, more is tried once."""

_MORE = 1 / 200
"""Of all bits, what may go to norms and means beyond `FREE_BYTES`: entries of short vectors get what others do."""

_AMPLE = 1.125  # of what headers are likely to take: what is beyond a number of bytes is coded again
_BEYOND = 1.001  # of the fewest bits, so that they are no longer too few
_SMALL = 10**6
_MOST_ERROR = 0.98  # a matrix with a larger one is not worth its header
_SLACK = 1e-9
_ROUNDS = 100

Targets = list[Target | None]
"""A target for each tensor, None for one that is not coded."""

Predict = Callable[[Treatment, Target], float]
"""Predicts the error of a product, before a matrix is coded."""


def target_of(entries: int, options: EncodeOptions) -> Target:
    """What a matrix may take, or must reach, that shares with no other."""
    free = 0 if entries >= _SMALL or options.strict else FREE_BYTES
    return Target(0.0 if options.rate is None else options.rate, options.error, options.max_bytes, free)


@dataclass(frozen=True)
class Sharing:
    """The matrices that share, and how.

    Attributes
    ----------
    where : str
        What messages call all of them.
    tensors : sequence of Treatment
        All tensors, whatever becomes of them.
    options : EncodeOptions
    names : sequence of str
        Of all tensors that there are, and of their slices.
    """

    where: str
    tensors: Sequence[Treatment]
    options: EncodeOptions
    names: Sequence[str]

    @classmethod
    def of(
        cls, sources: Sequence[Tensors], parts: Sequence[Sequence[Treatment]], options: EncodeOptions
    ) -> Sharing:
        """Some tensors of each of several sources."""
        tensors = [one for part in parts for one in part]
        names = [tensor.name for source in sources for tensor in source.tensors]
        return cls(where_of(sources, options), tensors, options, [*names, *(one.name for one in tensors)])

    def carrying(self, names: Iterable[str]) -> Sharing:
        """The same, matrices of these names being carried exactly."""
        ((*tensors,),) = carrying([self.tensors], set(names))
        return replace(self, tensors=tensors)

    def is_left_over(self, targets: Targets, rest: Sharing, errors: Sequence[float]) -> bool:
        """Whether what these matrices share must be shared anew where only the `rest` of them is coded.

        `errors` are those of the rest.
        """
        if len(rest.matrices) == len(self.matrices):
            return False
        if self.options.error is not None:
            mean = rest.mean(errors)
            return mean is not None and not CLOSE * self.options.error <= mean <= self.options.error
        wanted = float(self.options.rate or 0.0) * rest.entries
        left = [
            one.entries * t.rate
            for one, t in zip(rest.tensors, targets, strict=True)
            if t is not None and one.kind == MATRIX
        ]
        return not CLOSE * wanted <= sum(left) <= (1.0 + _SLACK) * wanted

    def beyond(self, found: Infeasible) -> Targets | None:
        """Targets of a few bits more than were too few, to tell what is smaller as it is; None where nothing can be."""
        if not any(one.may_be_exact for one in self.matrices):
            return None
        try:
            return self.for_bits(_BEYOND * found.bits + 8.0 * FREE_BYTES)
        except Infeasible:
            return None

    @property
    def matrices(self) -> list[Treatment]:
        """The matrices."""
        return [one for one in self.tensors if one.kind == MATRIX]

    @property
    def fixed(self) -> list[Treatment]:
        """Those whose rate is given by a rule."""
        return [one for one in self.matrices if one.rate is not None]

    @property
    def entries(self) -> int:
        """Of all matrices."""
        return sum(one.entries for one in self.matrices)

    @property
    def fixed_bits(self) -> float:
        """Bits of those whose rate is given."""
        return sum(float(one.rate or 0.0) * one.entries for one in self.matrices)

    @property
    def plain(self) -> bool:
        """Whether every matrix gets what is asked for, and nothing is shared."""
        return self.options.is_uniform and not self.fixed

    def targets(self, predict: Predict, bound: float | None = None) -> Targets:
        """A target for each tensor, for a rate or an error; see `for_bits` for a number of bytes.

        Parameters
        ----------
        predict : callable
            Tells the error of matrices whose rate is given.
        bound : float, optional
            Of the mean error, if it is another than that of the options.
        """
        options = self.options
        if self.plain:
            return [target_of(one.entries, options) if one.kind == MATRIX else None for one in self.tensors]
        if options.error is not None:
            return self._for_error(bound or options.error, predict)
        assert options.rate is not None
        try:
            return self.for_bits(options.rate * self.entries, strict=not options.is_uniform)
        except Infeasible as found:
            raise UsageError(str(found)) from None

    def at_rate(self, rate: float) -> Targets:
        """The same rate for every matrix, and nothing beyond it."""
        most = self.options.max_bytes
        return [Target(rate, None, most, 0) if one.kind == MATRIX else None for one in self.tensors]

    @property
    def least_bits(self) -> float:
        """Bits that all matrices take at least at one rate, about: what is not less than norms and means take."""
        rates = [(one, one.rate or max(MIN_RATE, one.least_rate(self.options))) for one in self.matrices]
        return sum(one.entries * rate for one, rate in rates)

    def for_bits(self, bits: float, strict: bool = True) -> Targets:
        """Targets that take so many bits together, headers included where it is `strict`.

        At one rate for all, what headers of small matrices take is then set aside first: entries that pay for them
        alone would have few bits left, or none. It is not where there is no room for it.

        Raises
        ------
        UsageError
            They cannot take as few; `Infeasible`, which knows how many it takes.
        """
        room = {id(one): 0 if strict or one.entries >= _SMALL else FREE_BYTES for one in self.matrices}
        if strict and self.options.is_uniform:
            aside, more = self._aside(bits)
            try:
                return self._for_bits(bits - 8.0 * aside, more)
            except Infeasible:
                pass
        return self._for_bits(bits, room)

    def _aside(self, bits: float) -> tuple[int, dict[int, int]]:
        """Bytes that are set aside, of so many bits for all, about; and how many each matrix may take of them."""
        sizes = {id(one): math.ceil(_AMPLE * one.side_bits(self.options) / 8.0) for one in self.matrices}
        small = sorted((sizes[id(one)], id(one)) for one in self.matrices if one.entries < _SMALL)
        room, aside, left = dict.fromkeys(sizes, 0), 0, _MORE * bits / 8.0
        for size, key in small:
            left -= max(0, size - FREE_BYTES)
            room[key] = FREE_BYTES if left < 0.0 else max(size, FREE_BYTES)
            aside += min(size, room[key])
        return aside, room

    def _for_bits(self, bits: float, room: dict[int, int]) -> Targets:
        """Targets that take so many bits, and bytes on top of them."""
        free = [one for one in self.matrices if one.rate is None]
        rates = self._rates(free, bits - self.fixed_bits, bits / max(1, self.entries))
        given = dict(zip(map(id, free), rates, strict=True))
        return [
            None
            if one.kind != MATRIX
            else Target(
                given[id(one)] if one.rate is None else one.rate,
                None,
                self.options.max_bytes,
                room[id(one)],
            )
            for one in self.tensors
        ]

    def _rates(self, free: list[Treatment], bits: float, rate: float) -> list[float]:
        """Rates of those that share `bits`, where the rate of all is `rate`."""
        if not free:
            if bits < -_SLACK * max(1, self.entries):
                raise Infeasible(self, self.fixed_bits)
            return []
        entries = sum(one.entries for one in free)
        if self.options.is_uniform:
            if bits / entries < MIN_RATE * (1.0 - _SLACK):
                raise Infeasible(self, self.fixed_bits + MIN_RATE * entries)
            return [min(MAX_RATE, bits / entries)] * len(free)
        parts = self._parts(free, rate)
        found = share_bits(parts, bits)
        if found is None:
            raise Infeasible(self, self._fewest_bits(free, rate))
        return found

    def _fewest_bits(self, free: list[Treatment], rate: float) -> float:
        """The fewest bits that all can take: heads need more of them where the others get more."""
        entries, bits = sum(one.entries for one in free), 0.0
        for _ in range(_ROUNDS):
            bits = self.fixed_bits + least_total(self._parts(free, rate)) * entries
            rate = max(rate, bits / self.entries)
        return bits

    def _parts(self, matrices: list[Treatment], rate: float) -> list[Part]:
        """Matrices as those that share bits see them."""
        exponent = self.options.spread(rate)
        return [
            Part(
                one.entries,
                s,
                exponent,
                max(one.least_rate(self.options) + MIN_RATE, rate if _is_head(one) else 0.0),
            )
            for one, s in zip(matrices, self._importance(matrices), strict=True)
        ]

    def _importance(self, matrices: list[Treatment]) -> list[float]:
        """How sensitive matrices are, with all that are tied to them; 1 where only their sizes count."""
        across = self.options.across
        if isinstance(across, str):
            return [1.0] * len(matrices)
        names = {one.name: one.tensor.whole_name for one in matrices}
        tied = {one.name: one.same_as for one in self.tensors if one.same_as in names}
        asked = {**names, **{name: name for name in tied}}
        found = dict(zip(asked, importance(asked, self.names, across, self.where), strict=True))
        for name, target in tied.items():  # what is stored once counts wherever it is used
            found[str(target)] += found[name]
        return [found[name] for name in names]

    def weights(self, rate: float) -> list[float]:
        """What the error of each matrix counts in a mean, where the rate of all is `rate`."""
        return [part.weight for part in self._parts(self.matrices, rate)]

    def mean(self, errors: Sequence[float], rate: float | None = None) -> float | None:
        """The mean of the errors of all matrices, by the weights; None without one.

        `rate` is what they take together, where neither a rate nor an error is asked for.
        """
        weights = self.weights(rate or self._likely_rate())
        return sum(w * e for w, e in zip(weights, errors, strict=True)) / sum(weights) if weights else None

    def weights_text(self, rate: float | None = None) -> str:
        """What the errors of matrices count in the mean, in words; see `mean`."""
        if not isinstance(self.options.across, str):
            return "sensitivity"
        power = 1.0 - self.options.spread(rate or self._likely_rate())
        return "entries" if power == 1.0 else "each matrix alike" if power == 0.0 else f"entries^{power:.3g}"

    def _likely_rate(self) -> float:
        """About the rate that an error takes."""
        error = self.options.error
        return self.options.rate or 1.0 if error is None else max(MIN_RATE, 0.5 * float(log2(2.0 / error)))

    def _for_error(self, error: float, predict: Predict) -> Targets:
        """Targets whose errors have a weighted mean of at most `error`."""
        free = [one for one in self.matrices if one.rate is None]
        weight = dict(zip(map(id, self.matrices), self.weights(self._likely_rate()), strict=True))
        at_rate = {id(one): Target(one.rate, None, None, 0) for one in self.fixed if one.rate is not None}
        spent = sum(weight[id(one)] * predict(one, at_rate[id(one)]) for one in self.fixed)
        whole, rest = sum(weight.values()), sum(weight[id(one)] for one in free)
        left = (error * whole - spent) / rest if free else error * whole - spent
        if left < (MIN_ERROR if free else 0.0):
            least = (spent + MIN_ERROR * rest) / whole
            raise UsageError(
                f"{self.where}: a mean error of {error:g} cannot be reached with these rules; the rates that they "
                f"give make it {least:.3g} at least"
            )
        given: dict[int, float] = {}
        if free:
            parts = self._parts(free, self._likely_rate())
            most = [min(_MOST_ERROR, left) if _is_head(one) else _MOST_ERROR for one in free]
            found = share_error(parts, min(left, _MOST_ERROR), MIN_ERROR, most)
            assert found is not None
            given = dict(zip(map(id, free), found, strict=True))
        return [
            None
            if one.kind != MATRIX
            else at_rate[id(one)]
            if one.rate is not None
            else Target(0.0, given[id(one)], None, 0)
            for one in self.tensors
        ]


class Infeasible(UsageError):
    """Matrices cannot take as few bits. No user sees it: who catches it knows what was asked for.

    Attributes
    ----------
    bits : float
        The fewest that they can take.
    """

    def __init__(self, sharing: Sharing, bits: float) -> None:
        self.bits = bits
        rate = bits / max(1, sharing.entries)
        super().__init__(
            f"{sharing.where}: {sharing.options.rate or 0.0:g} bits per entry in all are too few; the "
            f"smallest feasible total is {math.ceil(1000.0 * rate) / 1000.0:g}"
        )


def _is_head(one: Treatment) -> bool:
    """Whether it gives every word its score, and is never coarser than the others would be at one rate."""
    return one.layer.role in (HEAD, TIED)
