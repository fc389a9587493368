"""The verdict of a report: one sentence, what backs it, and whether anything is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nqz.ground.wording import counted, one_of
from nqz.pages.findings import Findings
from nqz.pages.markup import shown
from nqz.pages.numbers import bits, percent, shape, share, size, times
from nqz.stages.partner import in_words


class Verdict(NamedTuple):
    """What a report comes to.

    Attributes
    ----------
    state : {"good", "bad", ""}
        Measured and right, something is wrong, or nothing was measured.
    label : str
        That in words.
    sentence : str
    lead : str
        What backs it.
    """

    state: str
    label: str
    sentence: str
    lead: str


def verdict(found: Findings) -> Verdict:
    """The verdict on a container."""
    state, label = _state(found)
    totals = found.totals
    if state == "bad":
        failed = len(found.failed())
        sentence = (
            f"{failed} of {counted(totals['tensors'], 'tensor')} {'is' if failed == 1 else 'are'} not as expected."
            if failed
            else "The files do not agree."
        )
    else:
        sentence = f"{_smaller(totals)}{_errors(found)}."
    return Verdict(state, label, sentence, _lead(found, state))


def _state(found: Findings) -> tuple[str, str]:
    if found.compared is None:
        if found.failed():
            return "bad", "Cannot be read whole"
        return "", "Predicted from the container"
    if not found.compared["ok"]:
        return "bad", "Differs from its original"
    return "good", "Measured against its original"


def _smaller(totals: dict[str, Any]) -> str:
    ratio = totals["times_smaller"]
    if ratio is None:
        return "Empty"
    if ratio < 1.005:
        return f"{size(totals['bytes'])}, no smaller than the original"
    return f"{times(ratio)[:-1]} times smaller"


def _errors(found: Findings) -> str:
    """Errors of products, in a few words."""
    errors = found.products()
    if errors is None:
        return ", nothing lost" if not found.matrices else ""
    low, middle, high = errors
    if percent(low) == percent(high) or found.whole is not None:
        return f", inner products off by {percent(middle)} of those of unrelated vectors"
    return f", inner products typically off by {percent(middle)} of those of unrelated vectors"


def _lead(found: Findings, state: str) -> str:
    totals, errors = found.totals, found.products()
    parts = [f"{size(totals['source_bytes'])} became {size(totals['bytes'])}"]
    if found.whole is not None:
        parts.append(
            f"one matrix of {shape(found.whole['shape'])} in {shape(found.whole['cut'])} parts at "
            f"{bits(found.whole['rate'])} bits an entry"
        )
    elif totals["matrices"]:
        parts.append(
            f"{counted(totals['matrices'], 'matrix')} at {bits(totals['rate'])} bits an entry"
            + (f", {counted(totals['exact'], 'tensor')} carried exactly" if totals["exact"] else "")
        )
    text = "; ".join(parts) + "."
    if errors is not None and percent(errors[0]) != percent(errors[2]):
        what = "" if found.whole is None else " of parts"
        text += f" Errors of products{what} range from {percent(errors[0])} to {percent(errors[2])}."
    if found.compared is not None and state == "good" and found.matrices:
        text += " Every tensor is as close to its original as predicted."
    if found.compared is None:
        text += " Nothing but the container was looked at: nqz report --against ORIGINAL measures."
    return text


def product_verdict(names: Sequence[str], products: Sequence[dict[str, Any]]) -> Verdict:
    """The verdict on products of two files."""
    errors = sorted(product["expected"] for product in products)
    middle = errors[len(errors) // 2]
    what = "The product" if len(products) == 1 else f"{len(products)} products, the median"
    sentence = f"{what} of {names[0]} and {names[1]} is expected to be {percent(middle)} off."
    if len(products) > 1:
        sentence = (
            f"{len(products)} products of {names[0]} and {names[1]}, expected to be {percent(errors[0])} to "
            f"{percent(errors[-1])} off."
        )
    lead = "Root mean square, relative to inner products of unrelated vectors; told by the two files alone."
    guessed = max(product["guessed"] for product in products)
    if guessed > 0.01:
        lead += (
            f" Up to {share(guessed)} of that is an estimate of what vectors too quiet to be coded leave out."
        )
    return Verdict("", "Predicted from both files", sentence, lead)


_FEW, _METADATA = 3, 8


def origin(found: Findings) -> str:
    """What a container was made of and how, as far as it tells; and what was written into it."""
    inspected = found.inspected
    texts = [f"From a .{inspected['source']} file" if inspected["source"] else "From files of several kinds"]
    if inspected["writer"]:
        texts.append(f"by {shown(inspected['writer'], 80)}")
    codes = sorted({row.code for row in found.matrices if row.tensor["same_as"] is None})
    if codes:
        axes = sorted({str(row.tensor["axis"]) for row in found.matrices})
        texts.append(f"coded as {', '.join(codes[:_FEW])}{' and others' if len(codes) > _FEW else ''}")
        texts.append(f"vectors along axis {one_of(axes)}")
        texts.append(f"for a partner {one_of(map(in_words, found.partners[:_FEW]))}")
    for key, value in list((inspected["metadata"] or {}).items())[:_METADATA]:
        texts.append(f"{shown(key, 80)}: {shown(value, 200)}")
    return "; ".join(texts) + "."
