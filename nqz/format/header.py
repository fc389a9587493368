"""Parameters of a matrix of codec "nqz-1": a canonical list in its entry of the manifest."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from nqz.format.msgpack import (
    either,
    is_bytes,
    is_float,
    is_int,
    is_named_list,
    is_str,
    is_uint,
    named,
    one_of,
    optional,
    pack,
)
from nqz.ground.errors import CorruptError, NewerFormatError
from nqz.ground.wording import counted
from nqz.stages.codings import ALLOCATIONS, CODINGS
from nqz.stages.codings.nesting import Nesting
from nqz.stages.codings.trellis import Water
from nqz.stages.digest import SIZE as DIGEST_SIZE
from nqz.stages.lattices import LATTICES
from nqz.stages.parameters import Parameters
from nqz.stages.partner import NAMED
from nqz.stages.scale import OCTAVES
from nqz.stages.transforms import TRANSFORMS

PLANNED = ("rate", "kept", "coding", "delta", "lowest_class", "norm_step", "mean_reference", "octaves")
"""Fields that planners decide; the others follow from what is coded and how."""

SCHEMA = {
    "axis": one_of(0, 1),
    "rate": is_float,
    "kept": is_uint,
    "transform": is_named_list,
    "lattice": optional(is_str),
    "coding": is_named_list,
    "allocate": is_str,
    "delta": optional(is_int),
    "lowest_class": optional(is_uint),
    "mean_digits": optional(is_int),
    "norm_step": is_uint,
    "partner": either(is_str, is_float),
    "mean_reference": optional(is_int),
    "octaves": optional(is_uint),
    "digest": is_bytes,
    "dither_key": is_bytes,
}

T = TypeVar("T")


@dataclass(frozen=True)
class TensorHeader:
    """Everything that the parameters of a matrix say.

    Attributes
    ----------
    parameters : Parameters
    axis : int
        Axis of the source along which the vectors lie.
    rate : float
        Rate asked for, bits an entry.
    digest : bytes
        The first 16 bytes of the content digest of the source's data.
    """

    parameters: Parameters
    axis: int
    rate: float
    digest: bytes

    def fields(self) -> dict[str, Any]:
        """The values by name, without the last one, the dither key, which is derived from these."""
        p = self.parameters
        own = (
            [] if p.coding_parameters is None else _CODING_PARAMETERS[p.coding.name].pack(p.coding_parameters)
        )
        return {
            "axis": self.axis,
            "rate": float(self.rate),
            "kept": p.m,
            "transform": [p.transform.name, [p.rotation_seed]],
            "lattice": None if p.lattice is None else p.lattice.name,
            "coding": [p.coding.name, own],
            "allocate": p.allocate,
            "delta": None if p.lattice is None else p.delta,
            "lowest_class": None if p.lattice is None else p.lowest_class,
            "mean_digits": p.mean_digits,
            "norm_step": p.norm_step,
            "partner": p.partner,
            "mean_reference": p.mean_reference,
            "octaves": None if p.lattice is None or p.allocate == "column" else p.octaves,
            "digest": self.digest,
        }

    def values(self) -> list[Any]:
        """The list in the manifest."""
        return [*self.fields().values(), self.parameters.dither_key]

    def size(self) -> int:
        """Bytes that the list takes."""
        return len(pack(self.values()))


def unpack(values: Any, layout: Callable[[int], tuple[int, int]], where: str) -> TensorHeader:
    """Read the parameters of a matrix.

    Parameters
    ----------
    values : list
        What the manifest has.
    layout : callable
        layout(axis) gives length and number of the vectors, as the manifest's shape has it.
    where : str

    Raises
    ------
    CorruptError
        A value is missing, of another type, or out of range.
    NewerFormatError
        A transform, lattice, coding, allocation or partner is one that this release does not know.
    """
    fields = named(values, SCHEMA, where)
    n, columns = layout(fields["axis"])
    (transform, seed), (coding, own) = fields["transform"], fields["coding"]
    known_transform = _known(TRANSFORMS, "transform", transform, where)
    lattice = fields["lattice"]
    known_lattice = None if lattice is None else _known(LATTICES, "lattice", lattice, where)
    known_coding = _known(CODINGS, "coding", coding, where)
    allocations = dict(zip(ALLOCATIONS, ALLOCATIONS, strict=True))
    allocate = _known(allocations, "allocation", fields["allocate"], where)
    partner = fields["partner"]
    if isinstance(partner, str):
        partner = _known(dict(zip(NAMED, NAMED, strict=True)), "partner", partner, where)
    try:
        if len(seed) != 1 or not is_uint(seed[0]):
            raise ValueError("the rotation has one parameter, its seed")
        without = known_lattice is None
        if any((fields[name] is None) != without for name in ("delta", "lowest_class")):
            raise ValueError("the lattice scale does not suit the lattice")
        if (fields["octaves"] is None) != (without or allocate == "column"):
            raise ValueError("the octaves of loud columns do not suit the allocation")
        parameters = Parameters(
            n=n,
            columns=columns,
            m=fields["kept"],
            transform=known_transform,
            lattice=known_lattice,
            coding=known_coding,
            allocate=allocate,
            delta=fields["delta"] or 0,
            lowest_class=fields["lowest_class"] or 0,
            mean_digits=fields["mean_digits"],
            norm_step=fields["norm_step"],
            rotation_seed=seed[0],
            dither_key=fields["dither_key"],
            coding_parameters=_CODING_PARAMETERS[coding].unpack(own),
            partner=partner,
            mean_reference=fields["mean_reference"],
            octaves=OCTAVES if fields["octaves"] is None else fields["octaves"],
        )
        parameters.check()
        if len(fields["digest"]) != DIGEST_SIZE:
            raise ValueError(f"the digest is not {DIGEST_SIZE} bytes long")
        if not fields["rate"] > 0.0:
            raise ValueError("the rate is out of range")
    except (ValueError, TypeError) as error:
        raise CorruptError(f"{where}: {error}") from None
    return TensorHeader(parameters, fields["axis"], fields["rate"], fields["digest"])


def _known(table: Mapping[str, T], what: str, name: str, where: str) -> T:
    if name not in table:
        raise NewerFormatError(
            f"{where}: {what} {reprlib.repr(name)} is not known to this release of nqz; a later one is needed"
        )
    return table[name]


class _Codec(NamedTuple):
    """A coding's own parameters to a list of the header, and back: ValueError for one that is malformed."""

    pack: Callable[[Any], list[Any]]
    unpack: Callable[[list[Any]], Any]


def _require_count(values: list[Any], expected: int, what: str) -> None:
    if len(values) != expected:
        draft = "an earlier" if len(values) < expected else "another"
        raise ValueError(
            f"{what} here, and the file has {counted(len(values), 'value')}: it is of {draft} draft of the format"
        )


def _unpack_nothing(values: list[Any]) -> None:
    if values:
        raise ValueError("the coding has no parameters")


def _pack_nesting(nesting: Nesting) -> list[Any]:
    rows = [list(row) for row in nesting.multipliers]
    return [list(nesting.q), nesting.mix, rows, nesting.gain, nesting.power]


def _unpack_nesting(values: list[Any]) -> Nesting:
    _require_count(values, 5, "the Voronoi coding has ratios, their mix, scales, a gain and a power")
    q, mix, multipliers, gain, power = values
    if not all(isinstance(part, list) for part in (q, multipliers, *multipliers)):
        raise ValueError("the nested code is malformed")
    integers = [*q, mix, *(b for row in multipliers for b in row)]
    if len(q) != 2 or len(multipliers) != 2 or not all(type(item) is int for item in integers):
        raise ValueError("the nested code is malformed")
    if not (isinstance(gain, float) and isinstance(power, float)):
        raise ValueError("the gain of the nested code is not a float")
    (fine, coarse), (first, second) = q, multipliers
    return Nesting((fine, coarse), mix, (tuple(first), tuple(second)), gain, power)


def _pack_water(water: Water) -> list[Any]:
    return [water.window, water.level, list(water.spread)]


def _unpack_water(values: list[Any]) -> Water:
    _require_count(values, 3, "the trellis coding has a window, a level and the noise of its classes")
    window, level, spread = values
    if not (type(window) is int and type(level) is int):
        raise ValueError("the water level is malformed")
    if not (isinstance(spread, list) and all(type(part) is int for part in spread)):
        raise ValueError("the noise of classes is malformed")
    return Water(window, level, spread=tuple(spread))


_CODING_PARAMETERS = {
    "entropy": _Codec(lambda value: [], _unpack_nothing),
    "voronoi": _Codec(_pack_nesting, _unpack_nesting),
    "trellis": _Codec(_pack_water, _unpack_water),
}
"""By coding."""
