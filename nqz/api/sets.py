"""Part sets, for Python."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from nqz.api.arguments import Path, flag, is_file, real, whole, word
from nqz.api.sources import opened_array
from nqz.api.wording import speaks_python
from nqz.commands.opening import Opened, open_file, read_part_set
from nqz.commands.options import EncodeOptions
from nqz.commands.set_create import CONTRACTED, VECTORS, create_set, cut_source, stack_sources
from nqz.commands.set_edit import described
from nqz.files.output import Output
from nqz.files.places import exists
from nqz.files.rectangle import is_sliceable
from nqz.format.part_set import SUFFIX, PartSet
from nqz.ground.errors import UsageError
from nqz.ground.threads import workers
from nqz.ground.urls import local, suffix
from nqz.ground.wording import counted
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
    axis: int = 0,
    tensor: str | None = None,
    seed: int = 0,
    center: bool = True,
    lattice: str = DEFAULT,
    states: int | None = None,
    kappa: float | None = None,
    partner: str | float = "equal",
    threads: int | None = None,
    executor: Any = None,
    force: bool = False,
) -> dict[str, Any]:
    """Compress a matrix into parts, each a container by itself, under one manifest.

    All parts have one lattice scale, so that a product of two sets is one of whole matrices, whatever their parts:
    `matmul` takes sets, as `decode`, `inspect` and `verify` do.

    Parameters
    ----------
    source : path or array, or sequence of these
        One matrix, which is cut; or several, each of them a part. An array that is not in memory, as of Zarr, h5py or
        Dask, is anything with `shape`, a `dtype` of NumPy, and slices: it is read twice, part by part, in blocks of
        whole chunks (`chunks`, `shards`), through a temporary file as large as a part.
    to : path
        The manifest, ``NAME.nqzset``; the parts are written beside it.
    rate, error : float, optional
        As of `encode`, of all parts together. One of them is needed.
    parts : tuple of int, optional
        How many parts to cut a matrix into, along the contracted axis and across it.
    along : {"vectors", "contracted"}
        How several files follow one another: more vectors, or more entries of each.
    axis : {0, 1}
        The contracted axis.
    tensor : str, optional
        Which tensor of each file.
    seed, center, lattice, states, kappa, partner, threads
        As of `encode`.
    executor : concurrent.futures.Executor, optional
        Whose workers measure and write a part each. They open files by their paths, and arrays by what these are
        pickled as, which must say where they are: 1 MiB at most.
    force : bool
        Whether an existing set may be replaced.

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
        rate=real(rate, "rate"), error=real(error, "error"), seed=whole(seed, "seed"), axis=whole(axis, "axis"),
        center=flag(center, "center"), lattice=word(lattice, "lattice"), states=whole(states, "states", optional=True),
        kappa=real(kappa, "kappa"), partner=partner if isinstance(partner, str) else real(partner, "partner"),
    )  # fmt: skip
    options.check()
    if axis not in (0, 1):
        raise UsageError(f"axis {axis}: 0 or 1 is needed")
    if along not in (VECTORS, CONTRACTED):
        raise UsageError(f"along {along!r}: {VECTORS} or {CONTRACTED} is needed")
    target, replace = local(os.fsdecode(to)), flag(force, "force")
    if suffix(target) != SUFFIX:
        raise UsageError(f"{target}: the manifest of a part set is written; name it .{SUFFIX}")
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    with ExitStack() as stack, workers(threads, executor=executor) as pool:
        opened = [stack.enter_context(_opened(one)) for one in sources]
        chosen = [(_one(one.content, tensor), one.content.name) for one in opened]
        if len(chosen) == 1:
            if along != VECTORS:
                raise UsageError("along: is for several files; parts say how one is cut")
            rows = cut_source(*chosen[0], axis, None if parts is None else _two(parts))
        elif parts is not None or not chosen:
            raise UsageError("parts: of several files each is a part")
        else:
            rows = stack_sources(chosen, axis, along)
        old = read_part_set(target) if replace and exists(target) else None

        def check() -> None:
            for one in opened:
                one.check()

        with Output(target, force=replace, inputs=[one.identity for one in opened], check=check) as output:

            def publish(made: PartSet) -> None:
                output.access.pwrite(made.pack(), 0)
                output.commit(len(made.pack()))

            return described(create_set(rows, target, options, pool, publish, old))


def _two(parts: Any) -> tuple[int, int]:
    """How many parts along both axes."""
    found = parts if isinstance(parts, (tuple, list)) else ()
    if len(found) != 2:
        raise UsageError(f"parts {parts!r:.60}: two numbers are needed, such as (4, 8)")
    return whole(found[0], "parts"), whole(found[1], "parts")


def _opened(source: Any) -> Opened:
    if is_file(source) and not is_sliceable(source):
        return open_file(source, container=False)
    return opened_array(source)


def _one(content: Any, name: str | None) -> Any:
    found = [one for one in content.tensors if name is None or one.name == name]
    if len(found) != 1:
        raise UsageError(
            f"{content.name}: holds {counted(len(found), 'tensor')} of that name; choose one with tensor="
        )
    return found[0]
