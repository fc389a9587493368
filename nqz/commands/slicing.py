"""Tensors that are encoded slice by slice: the matrices of experts, and what rules name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nqz.commands.options import EncodeOptions
from nqz.files.contract import SourceTensor, Tensors
from nqz.ground.errors import UsageError
from nqz.ground.patterns import matches
from nqz.models.architecture import holds_experts
from nqz.models.rules import SLICES, SPLIT, TREATMENT, Rule, decided, parse


def split_up(
    sources: Sequence[Tensors],
    chosen: Sequence[Sequence[int]],
    options: EncodeOptions,
    where: str,
    small: Callable[[SourceTensor], bool],
) -> list[list[SourceTensor]]:
    """The chosen tensors of each part, in place of those that are split their slices.

    Parameters
    ----------
    sources : sequence of Tensors
    chosen : sequence of sequence of int
        Numbers of the tensors of each that are taken.
    options : EncodeOptions
    where : str
        What messages call all parts together.
    small : callable
        Whether the slices of a tensor are too small to be worth codes of their own.

    Raises
    ------
    UsageError
        A rule asks for slices where there are none, or has two tensors of one name come of it.
    """
    rules = [parse(text) for text in options.rules]
    taken = [[source.tensors[i] for i in part] for source, part in zip(sources, chosen, strict=True)]
    for rule in rules:
        if rule.values.get(SLICES) == SPLIT:
            _check(rule, [tensor for part in taken for tensor in part], where)
    found = [
        [
            one
            for tensor in part
            for one in (tensor.slices() if _split(tensor, rules, options, small) else [tensor])
        ]
        for part in taken
    ]
    names = {tensor.name for part in taken for tensor in part}
    for one in (one for part in found for one in part if one.whole is not None):
        if one.name in names:
            raise UsageError(
                f"{where}: a slice of {one.whole_name!r} would be called {one.name!r}, as another tensor is; "
                f"keep it whole, with the rule '{one.whole_name}=whole'"
            )
    return found


def _split(
    tensor: SourceTensor, rules: Sequence[Rule], options: EncodeOptions, small: Callable[[SourceTensor], bool]
) -> bool:
    if not tensor.has_slices or isinstance(decided(rules, tensor.name, TREATMENT), str):
        return False
    wanted = decided(rules, tensor.name, SLICES)
    if wanted is not None:
        return bool(wanted == SPLIT)
    return (
        options.tells_axes and holds_experts(tensor.name, tensor.shape, options.config) and not small(tensor)
    )


def _check(rule: Rule, tensors: Sequence[SourceTensor], where: str) -> None:
    """Raise UsageError for a rule that takes tensors, none of which has slices."""
    named = [tensor for tensor in tensors if matches(tensor.name, rule.pattern)]
    if named and not any(tensor.has_slices for tensor in named):
        raise UsageError(
            f"{where}: rule {rule.text!r}: tensor {named[0].name!r} has no slices that are matrices; "
            "a type to compress, three dimensions and C order are needed"
        )
