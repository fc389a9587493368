"""What a summary of an encoding says beside sizes and errors: what was left out, and what options would change."""

from __future__ import annotations

from collections.abc import Container, Sequence

from nqz.cli.common import rms_cell
from nqz.commands.options import EncodeOptions
from nqz.commands.sharing import Sharing
from nqz.commands.treatment import MATRIX, carrying, left_out, treatments
from nqz.files.contract import Tensors
from nqz.ground.wording import counted
from nqz.models.architecture import is_model, layers
from nqz.models.rules import SKIP, parse


def remarks(
    sources: Sequence[Tensors], options: EncodeOptions, exact: Container[str], errors: Sequence[float]
) -> list[str]:
    """What to say of an encoding.

    `exact` are the names of what is carried exactly, `errors` those predicted for its matrices, in order.
    """
    treated = carrying(treatments(sources, options), exact)
    parts = [[one for one in part if one.kind != SKIP] for part in treated]
    found = []
    sharing = Sharing.of(sources, parts, options)
    mean = sharing.mean(errors) if options.error is not None and not sharing.plain else None
    if mean is not None:
        found.append(f"mean {mean:.3g} ({rms_cell(mean)} % rms) weighted by {sharing.weights_text()}")
    others = left_out(sources, [one for part in parts for one in part])
    if others:
        found.append(f"{counted(others, 'tensor')} left out")
    if options.axis is None and options.config is None and _is_oriented(sources, options):
        found.append("vectors along axis 0 (--axis auto tells it from the names)")
    return found


def _is_oriented(sources: Sequence[Tensors], options: EncodeOptions) -> bool:
    """Whether names say that vectors of some matrices lie along another axis than 0, of which no rule decides."""
    if sources[0].kind.alone or not is_model(tensor.name for source in sources for tensor in source.tensors):
        return False
    coded = [
        one
        for part in treatments(sources, options)
        for one in part
        if one.kind == MATRIX and not any("axis" in parse(rule).values for rule in one.rules)
    ]
    known = layers([(one.name, one.tensor.shape) for one in coded])
    return any(layer.axis != one.layer.axis for layer, one in zip(known, coded, strict=True))
