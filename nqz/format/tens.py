"""The tensor header (record TENS): the coding parameters of one matrix as a canonical list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from nqz.format.msgpack import (
    checker,
    is_bytes,
    is_float,
    is_uint,
    list_of,
    one_of,
    optional,
    pack_fields,
    unpack_fields,
)
from nqz.ground.errors import CorruptError
from nqz.stages.codings import CODINGS
from nqz.stages.codings.voronoi import Nesting
from nqz.stages.digest import SIZE as DIGEST_SIZE
from nqz.stages.lattices import LATTICES
from nqz.stages.parameters import Parameters, check_energy
from nqz.stages.transforms import TRANSFORMS

ALPHA = "auto"

_OWN = "nesting"
"""Field of the parameters that a coding alone has: those of the Voronoi coding, nil of the entropy coding."""

PLANNED = ("rate", "kept", "delta", "lowest_class", _OWN)
"""Fields that planners decide; the others follow from what is coded and how."""


@checker("an integer")
def _is_int(value: Any) -> bool:
    return type(value) is int


SCHEMA = {
    "axis": one_of(0, 1),
    "rate": is_float,
    "kept": is_uint,
    "transform": one_of(*TRANSFORMS),
    "rotation_seed": is_uint,
    "lattice": one_of(*LATTICES),
    "coding": one_of(*CODINGS),
    "allocate": one_of("matrix", "column"),
    "delta": _is_int,
    "lowest_class": is_uint,
    "mean_digits": optional(is_uint),
    "alpha": one_of("auto", "mmse", "unbiased"),
    "energy": list_of(lambda item: isinstance(item, (int, float)) and not isinstance(item, bool), 2),
    "digest": is_bytes,
    _OWN: optional(list_of(lambda item: item is not None, 5)),
    "dither_key": is_bytes,
}


@dataclass(frozen=True)
class TensorHeader:
    """Everything a tensor header says.

    Attributes
    ----------
    parameters : Parameters
    axis : int
        Axis of the source along which the vectors lie.
    rate : float
        Rate asked for, bits an entry.
    alpha : str
        Default estimator.
    energy : tuple of (float, int)
        ‖Ā‖²_F as mantissa in [0.5, 1) and exponent of two; (0.0, 0) for zero.
    digest : bytes
        The first 16 bytes of SHA-256 over the SHA-256s of the 256 KiB pieces of the source's data.
    """

    parameters: Parameters
    axis: int
    rate: float
    alpha: str
    energy: tuple[float, int]
    digest: bytes

    def fields(self) -> dict[str, Any]:
        """The values by name, without the last one, the dither key, which is derived from these."""
        p = self.parameters
        return {
            "axis": self.axis,
            "rate": float(self.rate),
            "kept": p.m,
            "transform": p.transform.name,
            "rotation_seed": p.rotation_seed,
            "lattice": p.lattice.name,
            "coding": p.coding.name,
            "allocate": p.allocate,
            "delta": p.delta,
            "lowest_class": p.lowest_class,
            "mean_digits": p.mean_digits,
            "alpha": self.alpha,
            "energy": [float(self.energy[0]), int(self.energy[1])],
            "digest": self.digest,
            _OWN: _CODING_PARAMETERS[p.coding.name].pack(p.coding_parameters),
        }

    def pack(self) -> bytes:
        """The record's payload."""
        return pack_fields({**self.fields(), "dither_key": self.parameters.dither_key})


def unpack(data: bytes, layout: Callable[[int], tuple[int, int]], where: str) -> TensorHeader:
    """Read a tensor header.

    Parameters
    ----------
    data : bytes
    layout : callable
        layout(axis) gives length and number of the vectors, as the manifest's shape has it.
    where : str

    Raises
    ------
    CorruptError
        Not canonical, or a value out of range.
    """
    fields = unpack_fields(data, SCHEMA, where)
    n, columns = layout(fields["axis"])
    try:
        parameters = Parameters(
            n=n,
            columns=columns,
            m=fields["kept"],
            transform=TRANSFORMS[fields["transform"]],
            lattice=LATTICES[fields["lattice"]],
            coding=CODINGS[fields["coding"]],
            allocate=fields["allocate"],
            delta=fields["delta"],
            lowest_class=fields["lowest_class"],
            mean_digits=fields["mean_digits"],
            rotation_seed=fields["rotation_seed"],
            dither_key=fields["dither_key"],
            coding_parameters=_CODING_PARAMETERS[fields["coding"]].unpack(fields[_OWN]),
        )
        parameters.check()
        mantissa, exponent = fields["energy"]
        if not (isinstance(mantissa, float) and isinstance(exponent, int)):
            raise ValueError("the energy is not a float and an integer")
        check_energy(mantissa, exponent)
        if len(fields["digest"]) != DIGEST_SIZE:
            raise ValueError(f"the digest is not {DIGEST_SIZE} bytes long")
        if not 0.0 < fields["rate"] <= 64.0:
            raise ValueError("the rate is out of range")
    except (ValueError, TypeError) as error:
        raise CorruptError(f"{where}: {error}") from None
    return TensorHeader(
        parameters, fields["axis"], fields["rate"], fields["alpha"], (mantissa, exponent), fields["digest"]
    )


class _Codec(NamedTuple):
    """A coding's own parameters to a value of the header, and back: ValueError for one that is malformed."""

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


def _pack_nil(value: None) -> None:
    return value


def _pack_nesting(nesting: Nesting | None) -> list[Any] | None:
    if nesting is None:  # before it is planned
        return None
    rows = [list(row) for row in nesting.multipliers]
    return [list(nesting.q), nesting.mix, rows, nesting.gain, nesting.power]


def _unpack_nesting(value: list[Any] | None) -> Nesting | None:
    if value is None:
        return None
    q, mix, multipliers, gain, power = value
    if not all(isinstance(part, list) for part in (q, multipliers, *multipliers)):
        raise ValueError("the nested code is malformed")
    integers = [*q, mix, *(b for row in multipliers for b in row)]
    if len(q) != 2 or len(multipliers) != 2 or not all(type(item) is int for item in integers):
        raise ValueError("the nested code is malformed")
    if not (isinstance(gain, float) and isinstance(power, float)):
        raise ValueError("the gain of the nested code is not a float")
    (fine, coarse), (first, second) = q, multipliers
    return Nesting((fine, coarse), mix, (tuple(first), tuple(second)), gain, power)


_CODING_PARAMETERS = {
    # it has none: another form is refused here, a nested code by `Coding.check`
    "entropy": _Codec(_pack_nil, _unpack_nesting),
    "voronoi": _Codec(_pack_nesting, _unpack_nesting),
}
"""By coding."""
