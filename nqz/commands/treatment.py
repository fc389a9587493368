"""What is to become of each tensor of a source: coded along an axis, carried exactly, or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nqz.commands.options import AUTO, EncodeOptions
from nqz.commands.select import select_parts
from nqz.files.contract import SourceTensor, Tensors
from nqz.files.source import refuse_non_float, refuse_quantized
from nqz.ground.arithmetic import log2
from nqz.ground.dtypes import data_bytes
from nqz.ground.errors import UsageError
from nqz.ground.wording import counted
from nqz.models.architecture import Layer, layers
from nqz.models.rules import SKIP, Ruling, rulings

EXACT, MATRIX = "exact", "matrix"

_HEADER_BITS = 8.0 * 200
_NORM_BITS, _MEAN_BITS = 11.0, 22.0


@dataclass(frozen=True)
class Treatment:
    """What is to become of a tensor.

    Attributes
    ----------
    tensor : SourceTensor
    kind : {"matrix", "exact", "skip"}
    layer : Layer
        The axis along which its vectors lie, and its role in a network.
    coding : str
    rate : float or None
        Bits an entry, if a rule says how many.
    rules : tuple of str
        Those that decided something.
    small : bool
        Whether it is carried exactly only because a code would take more.
    """

    tensor: SourceTensor
    kind: str
    layer: Layer
    coding: str
    rate: float | None = None
    rules: tuple[str, ...] = ()
    small: bool = False

    @property
    def name(self) -> str:
        """Of the tensor."""
        return self.tensor.name

    @property
    def entries(self) -> int:
        """Of the tensor."""
        return self.tensor.entries

    @property
    def vectors(self) -> int:
        """How many vectors it has."""
        shape = self.tensor.shape
        return 1 if len(shape) < 2 else shape[-1] if self.layer.axis == 0 else shape[0]

    def least_rate(self, center: bool) -> float:
        """Bits an entry that header, norms and means take, about."""
        return side_bits(self.vectors, center) / self.entries

    def options(self, options: EncodeOptions) -> EncodeOptions:
        """The options for it alone."""
        own = options if self.coding == options.coding else options.of_coding(self.coding)
        return replace(own, axis=self.layer.axis)


def side_bits(vectors: int, center: bool) -> float:
    """Bits that header, norms and means of a matrix take, about."""
    return _HEADER_BITS + vectors * (_NORM_BITS + (_MEAN_BITS if center else 0.0))


def where_of(sources: Sequence[Tensors]) -> str:
    """What messages call all parts together."""
    more = len(sources) - 1
    return sources[0].name + (f" and {counted(more, 'more file')}" if more else "")


def treatments(sources: Sequence[Tensors], options: EncodeOptions) -> list[list[Treatment]]:
    """What is to become of the tensors of each of several parts that options take, those included that are skipped.

    Raises
    ------
    UsageError
        A pattern takes nothing, a rule makes no sense here, or nothing is left.
    UnsupportedError
        An array is not of a type to compress, or a tensor is quantized already.
    """
    where = where_of(sources)
    for source in sources:
        refuse_non_float(source)
    alone = any(source.kind.alone for source in sources)
    if alone:
        _refuse_for_one_array(options, where)
    chosen = select_parts([[t.name for t in source.tensors] for source in sources], options.tensors, where)
    found = _layers(sources, options)
    flat = [
        (
            source.tensors[i],
            found[number][i],
            source.kind.is_matrix(source.tensors[i].shape, source.tensors[i].dtype),
        )
        for number, source in enumerate(sources)
        for i in chosen[number]
    ]
    ruled = rulings(options.rules, ((tensor.name, matrix) for tensor, _, matrix in flat), where)
    several = len(found) > 1 or len(found[0]) > 1
    decided = [
        _decided(tensor, layer, matrix, ruling, options, several)
        for (tensor, layer, matrix), ruling in zip(flat, ruled, strict=True)
    ]
    if decided and all(one.kind == SKIP for one in decided):
        raise UsageError(f"{where}: every tensor is skipped; there is nothing to encode")
    if not options.dequantize:
        refuse_quantized(where, [one.tensor for one in decided if one.kind != SKIP])
    rest = iter(decided)
    return [[next(rest) for _ in part] for part in chosen]


def _refuse_for_one_array(options: EncodeOptions, where: str) -> None:
    if options.rules:
        raise UsageError(f"{where}: is one array without a name; rules are for files of named tensors")
    if not isinstance(options.across, str):
        raise UsageError(
            f"{where}: is one array without a name; sensitivities are for files of named tensors"
        )
    if options.axis == AUTO:
        raise UsageError(
            f"{where}: is one array without a name, which does not tell what its vectors are; "
            "choose axis 0 (columns) or 1 (rows)"
        )


def _layers(sources: Sequence[Tensors], options: EncodeOptions) -> list[list[Layer]]:
    """What each tensor is; the axis is that of the options where they name one."""
    everything = [(t.name, t.shape) for source in sources for t in source.tensors]
    auto = options.axis == AUTO or (options.axis is None and options.config is not None)
    known = layers(everything, options.config)
    if not auto:
        axis = int(options.axis or 0)
        known = [Layer(axis, found.role) for found in known]
    rest = iter(known)
    return [[next(rest) for _ in source.tensors] for source in sources]


def _decided(
    tensor: SourceTensor, layer: Layer, matrix: bool, ruling: Ruling, options: EncodeOptions, several: bool
) -> Treatment:
    axis = ruling.values.get("axis", layer.axis)
    layer = Layer(0 if len(tensor.shape) < 2 else axis, layer.role)
    coding = ruling.values.get("coding", options.coding)
    if ruling.kept_as is not None or not matrix:
        return Treatment(tensor, ruling.kept_as or EXACT, layer, coding, None, ruling.rules)
    found = Treatment(tensor, MATRIX, layer, coding, ruling.rate, ruling.rules)
    if not several or ruling.codes or not _is_small(found, options):
        return found
    return replace(found, kind=EXACT, small=True)


def _is_small(found: Treatment, options: EncodeOptions) -> bool:
    """Whether a code would take as much as the tensor itself."""
    rate = options.rate or 0.0
    if options.error is not None:
        rate = max(0.0, 0.5 * float(log2(2.0 / options.error)))
    coded = rate * found.entries + side_bits(found.vectors, options.center)
    return 8.0 * data_bytes(found.tensor.shape, found.tensor.dtype) <= coded
