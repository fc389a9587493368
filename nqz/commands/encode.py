"""Encoding: a source of tensors to a container.

`matrix` codes a single matrix; this module chooses the tensors, and the rate where a number of bytes is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from nqz import __version__
from nqz.commands.encode_matrix import MatrixEncoder
from nqz.commands.options import MAX_RATE, MIN_RATE, EncodeOptions
from nqz.commands.select import select
from nqz.files.source import refuse_non_float
from nqz.format.exct import exact_pieces
from nqz.format.head import Manifest, TensorInfo
from nqz.format.records import FRAMING
from nqz.format.writer import ContainerWriter, Draft
from nqz.ground.errors import UsageError
from nqz.ground.sources import SourceKind
from nqz.ground.threads import SMALL, Workers

_TRIES = 6


def encode(source, access, options: EncodeOptions, pool: Workers, progress: Callable | None = None) -> dict:
    """Encode the tensors of a source.

    Parameters
    ----------
    source : Source
    access
        Where the container is written.
    options : EncodeOptions
    pool : Workers
    progress : callable, optional
        Called as progress(tensor name, bytes of input processed); of a matrix, each of the two passes counts for half of
        its bytes.

    Returns
    -------
    dict
        ``file_bytes``; ``entries`` and ``bits`` of the matrices; ``matrices`` and ``exact``: how many of each;
        ``warnings``: list of str.

    Raises
    ------
    UsageError
        An option makes no sense, or nothing fits into the bytes allowed.
    UnsupportedError
        A tensor is not of finite floating-point numbers.
    """
    options.check()
    chosen = [
        source.tensors[i] for i in select([t.name for t in source.tensors], options.tensors, source.name)
    ]
    refuse_non_float(source)
    if options.max_bytes is None:
        return _encode(source, chosen, access, options, pool, progress)
    return _encode_within(source, chosen, access, options, pool, progress)


def _encode(source, chosen, access, options: EncodeOptions, pool, progress) -> dict:
    infos = [tensor_info(tensor, source.kind) for tensor in chosen]
    writer = ContainerWriter(
        access, Manifest(source.kind.name, source.metadata, tuple(infos), f"nqz {__version__}")
    )
    report = {"entries": 0, "bits": 0.0, "matrices": 0, "exact": 0, "warnings": []}

    def code(index, inner):
        draft = None
        if inner is pool:
            writer.begin(index)
        else:
            draft = Draft()  # its place in the file follows from the tensors before it
        found = _code(
            source, chosen[index], infos[index], writer if draft is None else draft, options, inner, progress
        )
        return index, draft, found

    small = [tensor.entries <= SMALL for tensor in chosen]
    for index, draft, found in pool.each(code, range(len(chosen)), small.__getitem__):
        if draft is not None:
            writer.begin(index)
            for record in draft.records:
                writer.add(record)
        for key, value in found.items():
            report[key] += value
    report["file_bytes"] = writer.finish()
    if source.kind.alone:
        report["bits"] = 8.0 * report["file_bytes"]
    return report


def _code(source, tensor, info, writer, options: EncodeOptions, pool, progress) -> dict:
    """Write the records of one tensor; return what it adds to the report."""
    if info.kind == "exact":
        for piece in exact_pieces(_counted(tensor.pieces(), tensor.name, progress), each=pool.map):
            writer.write("EXCT", piece)
        return {"exact": 1}
    coder = MatrixEncoder(source, tensor, options, writer, pool, progress)
    coder.run()
    bits = 8.0 * writer.tensor_bytes()
    return {"matrices": 1, "entries": coder.entries, "bits": bits, "warnings": coder.warnings}


def _encode_within(source, chosen, access, options: EncodeOptions, pool, progress) -> dict:
    """Encode at the highest rate, common to all matrices, with which the file fits into `max_bytes`."""
    wanted = options.max_bytes
    infos = [tensor_info(tensor, source.kind) for tensor in chosen]
    entries = sum(math.prod(info.shape) for info in infos if info.kind == "matrix")
    exact = sum(
        len(piece) + FRAMING
        for t, info in zip(chosen, infos)
        if info.kind == "exact"
        for piece in exact_pieces(t.pieces(), each=pool.map)
    )
    rate = min(MAX_RATE, 8.0 * (wanted - exact) / entries) if entries else MAX_RATE
    for _ in range(_TRIES):
        if entries and rate < MIN_RATE:
            break
        attempt = replace(options, rate=rate, strict=True)
        report = _encode(source, chosen, access, attempt, pool, progress)
        excess = report["file_bytes"] - wanted
        if excess <= 0:
            return report
        if not entries:
            break
        rate = min(rate, report["bits"] / entries) - 8.0 * (excess + 1) / entries
    raise UsageError(f"{source.name}: does not fit into {wanted} bytes, even at {MIN_RATE} bits per entry")


def _counted(pieces, name, progress):
    for piece in pieces:
        yield piece
        if progress is not None:
            progress(name, len(piece))


def tensor_info(tensor, kind: SourceKind) -> TensorInfo:
    """The entry of the manifest for a tensor of a source: whether it becomes a coded matrix, or is carried exactly."""
    return TensorInfo(
        tensor.name,
        "matrix" if kind.is_matrix(tensor.shape, tensor.dtype) else "exact",
        tuple(tensor.shape),
        tensor.dtype,
        "F" if tensor.fortran_order else "C",
        tensor.byte_order,
    )
