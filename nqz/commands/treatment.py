"""What is to become of each tensor of a source: coded along an axis, carried exactly, or left out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from nqz.commands.options import AUTO, EncodeOptions
from nqz.commands.select import select_parts
from nqz.commands.slicing import split_up
from nqz.commands.tying import ties
from nqz.files.contract import SourceTensor, Tensors
from nqz.files.source import refuse_non_float, refuse_quantized
from nqz.ground.arithmetic import log2
from nqz.ground.dtypes import data_bytes
from nqz.ground.errors import UsageError
from nqz.ground.wording import counted
from nqz.models.architecture import HEAD, Layer, is_bias, layers
from nqz.models.architecture import TIED as TIED_HEAD
from nqz.models.rules import SKIP, Ruling, rulings
from nqz.plan.side import likely_bits
from nqz.stages.codings import CODINGS

EXACT, MATRIX, TIED = "exact", "matrix", "tied"

_HEADER_BITS = 8.0 * 200


@dataclass(frozen=True)
class Treatment:
    """What is to become of a tensor.

    Attributes
    ----------
    tensor : SourceTensor
    kind : {"matrix", "exact", "tied", "skip"}
    layer : Layer
        The axis along which its vectors lie, and its role in a network.
    coding : str
    rate : float or None
        Bits an entry, if a rule says how many.
    rules : tuple of str
        Those that decided something.
    window : int or None
        Of the trellis coding, if a rule says which.
    may_be_exact : bool
        Whether it is coded only as long as that takes less than the tensor itself.
    small : bool
        Whether it is carried exactly only because a code would take more.
    same_as : str or None
        Of one that is tied, the earlier tensor of the same file that it equals, which is stored for both.
    """

    tensor: SourceTensor
    kind: str
    layer: Layer
    coding: str
    rate: float | None = None
    rules: tuple[str, ...] = ()
    window: int | None = None
    may_be_exact: bool = False
    small: bool = False
    same_as: str | None = None

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

    def side_bits(self, options: EncodeOptions) -> float:
        """Bits that header, norms and means of a matrix take, about."""
        vectors, own = self.vectors, self.options(options)
        allocate = own.allocate or CODINGS[self.coding].allocations[0]
        return _HEADER_BITS + vectors * likely_bits(
            self.entries // vectors, self.coding, allocate, own.center
        )

    def least_rate(self, options: EncodeOptions) -> float:
        """Bits an entry that header, norms and means take, about."""
        return self.side_bits(options) / self.entries

    @property
    def carried(self) -> Treatment:
        """The same, carried exactly because a code would take more."""
        return replace(self, kind=EXACT, rate=None, may_be_exact=False, small=True)

    def options(self, options: EncodeOptions) -> EncodeOptions:
        """The options for it alone."""
        own = options if self.coding == options.coding else options.of_coding(self.coding)
        return replace(own, axis=self.layer.axis, window=own.window if self.window is None else self.window)


def where_of(sources: Sequence[Tensors], options: EncodeOptions) -> str:
    """What messages call all parts together."""
    if options.where is not None:
        return options.where
    more = len(sources) - 1
    return sources[0].name + (f" and {counted(more, 'more file')}" if more else "")


def carrying(parts: Iterable[Iterable[Treatment]], names: Container[str]) -> list[list[Treatment]]:
    """The tensors of some parts, matrices of these names being carried exactly."""
    return [
        [one.carried if one.kind == MATRIX and one.name in names else one for one in part] for part in parts
    ]


def left_out(sources: Sequence[Tensors], taken: Iterable[Treatment]) -> int:
    """How many tensors of some sources are not among those taken, as a whole or by their slices."""
    return sum(len(source.tensors) for source in sources) - len({one.tensor.whole_name for one in taken})


def treatments(sources: Sequence[Tensors], options: EncodeOptions) -> list[list[Treatment]]:
    """What is to become of the tensors of each of several parts that options take, those included that are skipped.

    Raises
    ------
    UsageError
        A pattern takes nothing, a rule makes no sense here, or nothing is left.
    UnsupportedError
        An array is not of a type to compress, or a tensor is quantized already.
    """
    where = where_of(sources, options)
    for source in sources:
        refuse_non_float(source)
    alone = any(source.kind.alone for source in sources)
    if alone:
        _refuse_for_one_array(options, where)
    chosen = select_parts([[t.name for t in source.tensors] for source in sources], options.tensors, where)
    parts = split_up(sources, chosen, options, where, partial(_has_small_slices, options=options))
    flat = [
        (tensor, source.kind.is_matrix(tensor.shape, tensor.dtype))
        for source, part in zip(sources, parts, strict=True)
        for tensor in part
    ]
    tensors = [tensor for tensor, _ in flat]
    wholes = {tensor.name: tensor.whole_name for tensor in tensors if tensor.whole is not None}
    ruled = rulings(options.rules, ((tensor.name, matrix) for tensor, matrix in flat), where, wholes)
    decided = [
        _decided(tensor, layer, matrix, ruling, options, several=len(flat) > 1)
        for (tensor, matrix), layer, ruling in zip(
            flat, _layers(sources, tensors, options), ruled, strict=True
        )
    ]
    for one in decided:
        if one.tensor.whole is not None and one.kind != MATRIX:
            raise UsageError(
                f"{where}: rule {one.rules[-1]!r}: {one.name!r} is one slice of a tensor; only all of "
                f"{one.tensor.whole_name!r} can be carried exactly or skipped"
            )
    if decided and all(one.kind == SKIP for one in decided):
        raise UsageError(f"{where}: every tensor is skipped; there is nothing to encode")
    if not options.dequantize:
        refuse_quantized(where, [one.tensor for one in decided if one.kind != SKIP])
    rest = iter(decided)
    return [_tied([next(rest) for _ in part]) for part in parts]


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


def _layers(
    sources: Sequence[Tensors], tensors: Sequence[SourceTensor], options: EncodeOptions
) -> list[Layer]:
    """What each of some tensors is; the axis is that of the options where they name one."""
    taken = {tensor.whole_name for tensor in tensors}
    others = [t for source in sources for t in source.tensors if t.name not in taken]
    known = layers([(t.name, t.shape) for t in (*tensors, *others)], options.config)[: len(tensors)]
    if options.tells_axes:
        return known
    return [Layer(int(options.axis or 0), found.role) for found in known]


def _has_small_slices(tensor: SourceTensor, options: EncodeOptions) -> bool:
    """Whether codes of the slices of a tensor would take as much as these."""
    one = tensor.slices()[0]
    (layer,) = layers([(one.name, one.shape)], options.config)
    return _is_small(Treatment(one, MATRIX, layer, options.coding), options)


def _decided(
    tensor: SourceTensor, layer: Layer, matrix: bool, ruling: Ruling, options: EncodeOptions, several: bool
) -> Treatment:
    axis = ruling.values.get("axis", layer.axis)
    layer = Layer(0 if len(tensor.shape) < 2 else axis, layer.role)
    coding = ruling.values.get("coding", options.coding)
    if ruling.kept_as is not None or not matrix:
        return Treatment(tensor, ruling.kept_as or EXACT, layer, coding, None, ruling.rules)
    if options.tells_axes and not ruling.codes and is_bias(tensor.name, tensor.shape):
        return Treatment(tensor, EXACT, layer, coding, None, ruling.rules)
    window = ruling.values.get("window")
    if window is not None and not CODINGS[coding].windows:
        raise UsageError(f"{tensor.name!r}: rule says window:{window}; only the trellis coding has one")
    either = several and not ruling.codes and tensor.whole is None
    return Treatment(tensor, MATRIX, layer, coding, ruling.rate, ruling.rules, window, either)


def _tied(decided: list[Treatment]) -> list[Treatment]:
    """The tensors of a file, those tied that equal an earlier one of which the same is to become."""
    found = list(decided)
    firsts = ties([one.tensor for one in decided], list(map(_how, decided)))
    for one, number, first in zip(decided, range(len(decided)), firsts, strict=True):
        if first is None:
            continue
        target = found[first]
        if one.layer.role in (HEAD, TIED_HEAD) and target.layer.role != HEAD:
            found[first] = replace(target, layer=Layer(target.layer.axis, TIED_HEAD))
        found[number] = replace(one, kind=TIED, same_as=target.name)
    return found


def _how(one: Treatment) -> tuple[object, ...] | None:
    """What is to become of a tensor, as far as it must agree for two that are stored once."""
    if one.kind == SKIP:
        return None
    how = (one.layer.axis, one.coding, one.window, one.rate, one.may_be_exact)
    return (one.kind,) if one.kind == EXACT else (one.kind, *how)


def _is_small(found: Treatment, options: EncodeOptions) -> bool:
    """Whether a code would take as much as the tensor itself, about."""
    rate = options.rate or 0.0
    if options.error is not None:
        rate = max(0.0, 0.5 * float(log2(2.0 / options.error)))
    coded = rate * found.entries + found.side_bits(options)
    return 8.0 * data_bytes(found.tensor.shape, found.tensor.dtype) <= coded
