"""Part sets, for Python."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from nqz.api.arguments import Path, as_target, flag, is_file, real, texts, whole, word
from nqz.api.sources import opened_array, opened_source
from nqz.api.wording import speaks_python
from nqz.commands.opening import open_collection, replaced_part_set
from nqz.commands.options import EncodeOptions
from nqz.commands.sets.create import check_options, create_set
from nqz.commands.sets.edit import described
from nqz.commands.sets.source import CONTRACTED, VECTORS, cut_up, whole_of
from nqz.files.output import Output
from nqz.files.rectangle import is_sliceable
from nqz.format.part_set import SUFFIX, PartSet
from nqz.ground.errors import UsageError
from nqz.ground.threads import workers
from nqz.ground.urls import local, suffix
from nqz.models.collection import Collection, Part
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT


@speaks_python
def encode_set(
    source: Any,
    to: Path,
    *,
    rate: float | None = None,
    error: float | None = None,
    parts: tuple[int, int] | None = None,
    along: str = VECTORS,
    axis: int | str | None = None,
    tensor: str | None = None,
    seed: int = 0,
    center: bool = True,
    lattice: str = DEFAULT,
    states: int | None = None,
    coding: str = CODING.name,
    allocate: str | None = None,
    window: int | None = None,
    kappa: float | None = None,
    partner: str | float = "equal",
    dequantize: bool = False,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
    executor: Any = None,
    force: bool = False,
) -> dict[str, Any]:
    """Compress a matrix into parts, each a container by itself, under one manifest.

    All parts are coded by one plan, with one lattice scale where the coding has one, and a product of two sets is one
    of whole matrices: `matmul` takes sets, as `decode`, `inspect` and `verify` do.

    Parameters
    ----------
    source : path, array, or mapping of names to arrays, or sequence of these
        One matrix, which is cut; or several, each of them a part. A path may be that of a model. An array that is not
        in memory, as of Zarr, h5py or Dask, is anything with `shape`, a `dtype` of NumPy, and slices: it is read twice,
        part by part, in blocks of whole chunks (`chunks`, `shards`), through a temporary file as large as a part.
        InputError if it is another the second time.
    to : path
        The manifest, ``NAME.nqzset``; the parts are written beside it.
    rate, error : float, optional
        As of `encode`, of all parts together. One of them is needed.
    parts : tuple of int, optional
        How many parts to cut a matrix into, along the contracted axis and across it; several are pieces of one then.
    along : {"vectors", "contracted"}
        How several files follow one another: more vectors, or more entries of each.
    axis : {0, 1, "auto"}, optional
        The contracted axis; as of `encode`.
    tensor : str, optional
        Which tensor of each file; ``NAME[3]`` is a slice of one.
    center : bool
        Whether means of the parts of vectors are kept, of all of them or of none.
    seed, lattice, states, coding, allocate, window, kappa, partner, dequantize, threads
        As of `encode`.
    metadata : mapping of str to str, optional
        Kept in every part.
    executor : concurrent.futures.Executor, optional
        Whose workers measure and write a part each. They open files by their paths, and arrays by what these are
        pickled as, which must say where they are: 1 MiB at most.
    force : bool
        Whether an existing manifest may be replaced, one that is damaged included; its parts stay.

    Returns
    -------
    dict
        ``shape``, ``coordinates`` and ``vectors`` of the parts, ``parts`` (name, bytes and digest of each), ``bytes``
        of all, ``digest``.

    Raises
    ------
    UsageError, UnsupportedError, OperandError
        A parameter makes no sense, or the files do not fit together.
    OutputError, OutputExistsError
        A file cannot be written, or exists.
    """
    options = EncodeOptions(
        rate=real(rate, "rate"), error=real(error, "error"), seed=whole(seed, "seed"),
        axis=axis if isinstance(axis, str) else whole(axis, "axis", optional=True), center=flag(center, "center"),
        lattice=word(lattice, "lattice"), states=whole(states, "states", optional=True), coding=word(coding, "coding"),
        allocate=word(allocate, "allocate", optional=True), window=whole(window, "window", optional=True),
        kappa=real(kappa, "kappa"), partner=partner if isinstance(partner, str) else real(partner, "partner"),
        tensors=() if tensor is None else [word(tensor, "tensor")], dequantize=flag(dequantize, "dequantize"),
        metadata=texts(metadata, "metadata"),
    )  # fmt: skip
    check_options(options)
    if along not in (VECTORS, CONTRACTED):
        raise UsageError(f"along {along!r}: {VECTORS} or {CONTRACTED} is needed")
    target, replace = local(os.fsdecode(to)), flag(force, "force")
    if suffix(target) != SUFFIX:
        raise UsageError(f"{target}: the manifest of a part set is written; name it .{SUFFIX}")
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    if len(sources) == 1 and along != VECTORS:
        raise UsageError("along: is for several files; parts say how one is cut")
    with ExitStack() as stack, workers(threads, executor=executor) as pool:
        found = [stack.enter_context(_opened(one)) for one in sources]
        opened = [part.opened for one in found for part in one.parts]
        wholes = [
            whole_of(one.contents, one.name, dataclasses.replace(options, config=one.config)) for one in found
        ]
        rows = cut_up(wholes, None if parts is None else _two(parts), along)
        old = replaced_part_set(target) if replace else None

        def check() -> None:
            for one in opened:
                one.check()

        with Output(target, force=replace, inputs=[one.identity for one in opened], check=check) as output:

            def publish(made: PartSet) -> None:
                output.access.pwrite(made.pack(), 0)
                output.commit(len(made.pack()))

            return described(create_set(rows, target, options, wholes[0].axis, pool, publish, old))


def _two(parts: Any) -> tuple[int, int]:
    """How many parts along both axes."""
    found = parts if isinstance(parts, (tuple, list)) else ()
    if len(found) != 2:
        raise UsageError(f"parts {parts!r:.60}: two numbers are needed, such as (4, 8)")
    return whole(found[0], "parts"), whole(found[1], "parts")


def _opened(source: Any) -> Collection:
    if is_file(source) and not is_sliceable(source):
        return open_collection(as_target(source), container=False)
    opened = opened_source(source) if isinstance(source, Mapping) else opened_array(source)
    return Collection(opened.content.name, [Part("", opened)], lone=True)
