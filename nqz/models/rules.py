"""Rules: what is to become of some tensors, as ``PATTERN=ITEM[,ITEM]``; of several, the last one decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nqz.ground.errors import UsageError
from nqz.ground.patterns import matches, no_tensor
from nqz.ground.units import MAX_RATE, MIN_RATE
from nqz.ground.wording import one_of
from nqz.stages.codings import CODINGS

EXACT, SKIP = "exact", "skip"

TREATMENT = "treatment"
"""The attribute that a rate, `EXACT` and `SKIP` are values of."""

SPLIT, WHOLE = "split", "whole"
"""Whether each index of the first axis of a tensor becomes a matrix of its own, or all of it one."""

SLICES = "slices"
"""The attribute that these are values of."""

ITEMS: dict[str, tuple[str, Mapping[str, Any] | None]] = {
    EXACT: (TREATMENT, None),
    SKIP: (TREATMENT, None),
    "axis": ("axis", {"0": 0, "1": 1}),
    "coding": ("coding", {name: name for name in CODINGS}),
    "window": ("window", {str(window): window for coding in CODINGS.values() for window in coding.windows}),
    SPLIT: (SLICES, None),
    WHOLE: (SLICES, None),
}
"""Words of rules beside rates: the attribute that each decides, and what may follow it after a colon."""

_KNOWN = "a rate, " + ", ".join(
    name + (f":{'|'.join(values)}" if values else "") for name, (_, values) in ITEMS.items()
)


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes
    ----------
    text : str
        As it was given.
    pattern : str
        Name or shell pattern of the tensors that it is for.
    values : mapping
        Of the attributes that it decides.
    """

    text: str
    pattern: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Ruling:
    """What all rules together say of a tensor.

    Attributes
    ----------
    values : mapping
        Of the attributes that are decided.
    rules : tuple of str
        The rules that decided one.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    @property
    def kept_as(self) -> str | None:
        """`EXACT` or `SKIP`, if a rule says so."""
        value = self.values.get(TREATMENT)
        return value if isinstance(value, str) else None

    @property
    def rate(self) -> float | None:
        """Bits an entry, if a rule says how many."""
        value = self.values.get(TREATMENT)
        return value if isinstance(value, float) else None

    @property
    def codes(self) -> bool:
        """Whether a rule says how the tensor is coded, and so that it is."""
        how = "coding" in self.values or "window" in self.values or self.values.get(SLICES) == SPLIT
        return self.rate is not None or (self.kept_as is None and how)


def parse(text: str) -> Rule:
    """Read a rule; `UsageError` for what is malformed or contradicts itself."""
    pattern, equals, items = text.rpartition("=")
    if not equals or not pattern:
        raise UsageError(f"rule {text!r}: PATTERN=ITEM[,ITEM] is needed, each ITEM one of {_KNOWN}")
    values: dict[str, Any] = {}
    for item in items.split(","):
        attribute, value = _item(text, item.strip())
        if attribute in values:
            raise UsageError(f"rule {text!r}: {item.strip()!r} contradicts what stands before it")
        values[attribute] = value
    if isinstance(kept := values.get(TREATMENT), str) and len(values) > 1:
        raise UsageError(f"rule {text!r}: {kept!r} goes with nothing else, for such a tensor is not coded")
    return Rule(text, pattern, values)


def _item(text: str, item: str) -> tuple[str, Any]:
    word, colon, value = item.partition(":")
    if word in ITEMS:
        attribute, allowed = ITEMS[word]
        if allowed is None and not colon:
            return attribute, word
        if allowed is not None and value in allowed:
            return attribute, allowed[value]
        wanted = f"{word}:{one_of(allowed)}" if allowed else word
        raise UsageError(f"rule {text!r}: {item!r}: {wanted} is needed")
    try:
        rate = float(item)
    except ValueError:
        raise UsageError(f"rule {text!r}: {item!r} is none of {_KNOWN}") from None
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(f"rule {text!r}: a rate from {MIN_RATE} to {MAX_RATE:g} is needed")
    return TREATMENT, rate


def decided(rules: Iterable[Rule], name: str, attribute: str) -> Any:
    """The value that rules give an attribute of a tensor, None if they give none."""
    found = None
    for rule in rules:
        if attribute in rule.values and matches(name, rule.pattern):
            found = rule.values[attribute]
    return found


def rulings(
    rules: Sequence[str],
    names: Iterable[tuple[str, bool]],
    where: str,
    wholes: Mapping[str, str] = MappingProxyType({}),
) -> list[Ruling]:
    """What rules say of each of some tensors.

    Parameters
    ----------
    rules : sequence of str
    names : iterable of (str, bool)
        Names of the tensors, and which of these are matrices.
    where : str
        What messages call all of them.
    wholes : mapping of str to str
        Of slices of tensors, the name of what they are slices of, which takes them too.

    Raises
    ------
    UsageError
        A rule takes no tensor, or says how matrices are coded and takes no matrix.
    """
    names = list(names)
    parsed = [parse(text) for text in rules]
    for rule in parsed:
        taken = [matrix for name, matrix in names if _takes(rule, name, wholes)]
        if not taken:
            known = dict.fromkeys([*wholes.values(), *(name for name, _ in names)])
            raise UsageError(f"{where}: rule {rule.text!r}: {no_tensor(rule.pattern, known)}")
        if not any(taken) and not isinstance(rule.values.get(TREATMENT), str):
            raise UsageError(
                f"{where}: rule {rule.text!r}: takes no matrix; what else it takes is carried exactly anyway"
            )
    return [_ruling(parsed, name, wholes) for name, _ in names]


def _takes(rule: Rule, name: str, wholes: Mapping[str, str]) -> bool:
    return matches(name, rule.pattern) or (name in wholes and matches(wholes[name], rule.pattern))


def _ruling(parsed: Iterable[Rule], name: str, wholes: Mapping[str, str]) -> Ruling:
    values: dict[str, Any] = {}
    decided: dict[str, str] = {}
    for rule in parsed:
        if _takes(rule, name, wholes):
            values.update(rule.values)
            decided.update(dict.fromkeys(rule.values, rule.text))
    return Ruling(values, tuple(dict.fromkeys(decided.values())))
