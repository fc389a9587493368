"""Tensors that take less as they are than as a code: tiny ones, and those that compress well."""

from __future__ import annotations

from nqz.commands.contents import task_of
from nqz.commands.forecast import Forecast, forecast
from nqz.commands.options import EncodeOptions
from nqz.commands.treatment import Treatment
from nqz.files.contract import SourceTensor, Tensors
from nqz.format.exct import zstd_pack
from nqz.format.records import framed
from nqz.format.tensors import PIECE
from nqz.format.writer import ContainerWriter
from nqz.ground.threads import Workers
from nqz.plan.task import Target

_FIRST = 1 << 16  # bytes that tell how many of them take as much as a code
_BLOCK = 1 << 17  # of a frame: what stands before is compressed alike, whatever comes behind
_ENOUGH, _MORE = 1.1, 1.15  # of a code: where a beginning takes that, all takes more; how long that is, about


def exact_lengths(tensor: SourceTensor, most: int, pool: Workers) -> list[int] | None:
    """Lengths of the records of a tensor that is carried exactly; None where they take more than `most` bytes in all.

    No more of a tensor is compressed than tells so.
    """
    ahead = tensor.nbytes
    if tensor.nbytes > _FIRST:
        likely = int(_MORE * most * _FIRST / _packed(tensor, 0, _FIRST))
        ahead = -(-likely // _BLOCK) * _BLOCK
        if ahead < min(tensor.nbytes, PIECE) and _packed(tensor, 0, ahead) > _ENOUGH * most:
            return None
    starts = range(0, tensor.nbytes, PIECE)
    several = max(1, ahead // PIECE)  # that are worth compressing at once
    found: list[int] = []
    size = 0
    for some in (starts[:several], starts[several:]):
        for length in pool.map(lambda at: _packed(tensor, at, min(PIECE, tensor.nbytes - at)), some):
            found.append(length)
            size += framed(length)
            if size > most:
                return None
    return found


def forecast_smaller(
    source: Tensors,
    one: Treatment,
    options: EncodeOptions,
    target: Target,
    pool: Workers,
    whole: ContainerWriter | None = None,
) -> Forecast:
    """Say what encoding a matrix will come to; without a header where it will be carried exactly. See `forecast`."""
    found = forecast(one.tensor, task_of(source, one.tensor, one.options(options)), target, pool, whole)
    lengths = exact_lengths(one.tensor, found.size, pool) if one.may_be_exact else None
    if lengths is None:
        return found
    return Forecast(0.0, None, [("EXCT", length) for length in lengths])


def _packed(tensor: SourceTensor, start: int, size: int) -> int:
    """Bytes that some of a tensor take, compressed by themselves."""
    return len(zstd_pack(tensor.read(start, size)))
