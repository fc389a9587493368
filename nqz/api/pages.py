"""Pages that show what is in containers, and what differs between two, for Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, overload

from nqz.api.arguments import Path, Source, Target, as_target, flag, is_file, whole, word
from nqz.api.container import Container
from nqz.api.reports import Report, checked_limit, open_containers, open_original, raise_worst
from nqz.api.sources import are_files
from nqz.api.wording import speaks_python
from nqz.commands.diff import diff as find_differences
from nqz.commands.opening import open_collection
from nqz.commands.pairs import pair_up
from nqz.commands.report import called, check_inputs, command_line, gather
from nqz.files.output import Output
from nqz.ground.errors import UsageError
from nqz.ground.threads import workers
from nqz.ground.urls import suffix
from nqz.ground.wording import one_of
from nqz.models.collection import Collection
from nqz.pages.render import KINDS, render

_FORMAT = next(iter(KINDS))


@overload
def report(
    source: Source | Sequence[Path] | Container, other: Any = None, to: None = None, *, against: Any = ...,
    max_error: float | None = ..., check: bool = ...,
    format: str | None = ..., tensor_a: str | None = ..., tensor_b: str | None = ..., axis_a: int | None = ...,
    axis_b: int | None = ..., force: bool = ..., threads: int | None = ...,
) -> str: ...  # fmt: skip
@overload
def report(
    source: Source | Sequence[Path] | Container, other: Any = None, *, to: Target, against: Any = ...,
    max_error: float | None = ..., check: bool = ...,
    format: str | None = ..., tensor_a: str | None = ..., tensor_b: str | None = ..., axis_a: int | None = ...,
    axis_b: int | None = ..., force: bool = ..., threads: int | None = ...,
) -> None: ...  # fmt: skip
@speaks_python
def report(
    source: Source | Sequence[Path] | Container,
    other: Any = None,
    to: Target | None = None,
    *,
    against: Any = None,
    max_error: float | None = None,
    check: bool = False,
    format: str | None = None,
    tensor_a: str | None = None,
    tensor_b: str | None = None,
    axis_a: int | None = None,
    axis_b: int | None = None,
    force: bool = False,
    threads: int | None = None,
) -> str | None:
    """Make a page that shows what is in a container: what it takes, how far it is off, and what is remarkable.

    Parameters
    ----------
    source : path, binary file object, bytes, or Container; or a sequence of paths
        A container, or a model.
    other : optional
        The other side of a product, a container, a file or an array: the page tells what to expect of AᵀB.
    to : path or binary file object, optional
        Where to write the page; by default it is returned.
    against : optional
        What `source` was made from, a file or a model, an array, or a mapping of names to arrays: the page has what was
        measured, whatever comes of it.
    max_error : float, optional
        See `verify`; the page has it that a matrix is above it.
    check : bool
        Whether the worst of what is wrong with what was measured is raised, once the page is written.
    format : {"html", "md"}, optional
        A page that stands alone, or a section for a model card; by default what `to` is called.
    tensor_a, tensor_b : str, optional
        Which tensor of each side of a product.
    axis_a, axis_b : {0, 1}, optional
        Contracted axes of sides that are not compressed; 0 by default.
    force : bool
        Whether an existing file may be replaced.
    threads : int, optional

    Returns
    -------
    str or None
        The page, the same for the same input, unless `to` is given.

    Raises
    ------
    CorruptError
        A header, norms or means are damaged.
    OperandError
        Two sides do not fit together.
    OutputError, OutputExistsError
        The page cannot be written, or exists.
    VerifyError
        With `check`, a matrix is further from the original than predicted, or than `max_error`, or another one.
    """
    replace = flag(force, "force")
    kind = _kind(word(format, "format", optional=True), to)
    chosen = {
        "tensor_a": word(tensor_a, "tensor_a", optional=True), "tensor_b": word(tensor_b, "tensor_b", optional=True),
        "axis_a": whole(axis_a, "axis_a", optional=True), "axis_b": whole(axis_b, "axis_b", optional=True),
    }  # fmt: skip
    for name in ("axis_a", "axis_b"):
        if chosen[name] not in (None, 0, 1):
            raise UsageError(f"{name} {chosen[name]}: 0 (columns) or 1 (rows)")
    check_inputs(source, other, against, chosen)
    raising, limit = flag(check, "check"), checked_limit(max_error, against is not None)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        files = [(_called(source, "container"), stack.enter_context(open_containers(source, sets=True)))]
        if other is not None:
            files.append((_called(other, "other"), _side(other, stack)))
        original = None
        if against is not None:
            original = _called(against, "original"), open_original(against, stack)
        collections = [collection for _, collection in files] + ([original[1]] if original else [])
        inputs = [identity for collection in collections for identity in collection.identities]
        output = None
        if to is not None:
            unchanged = [part.opened.check for collection in collections for part in collection.parts]
            output = stack.enter_context(
                Output(to, force=replace, inputs=inputs, check=lambda: [one() for one in unchanged])
            )
        facts = gather(
            files, pool, original=original, command=_command(source, other, against, kind, chosen, limit),
            pairs=None if other is None else pair_up(files[0][1], files[1][1], **chosen), limit=limit,
        )  # fmt: skip
        text = render(facts, kind)
        if output is not None:
            data = text.encode()
            output.access.pwrite(data, 0)
            output.commit(len(data))
        if original is not None:
            raise_worst(facts["compared"], files[0][1], original[1], raising)
    return text if output is None else None


def _kind(format: str | None, to: Target | None) -> str:
    if format is None:
        found = suffix(to) if isinstance(to, (str, os.PathLike)) else ""
        return found if found in KINDS else _FORMAT
    if format not in KINDS:
        raise UsageError(f"format {format!r}: {one_of(map(repr, KINDS))} is needed")
    return format


def _called(given: Any, otherwise: str) -> str:
    """What the page calls what it was given."""
    if isinstance(given, (str, os.PathLike)):
        return called(os.fsdecode(given))
    if isinstance(given, Container):
        return called(given.name)
    return otherwise


def _command(
    source: Any, other: Any, against: Any, kind: str, chosen: Mapping[str, Any], limit: float | None
) -> str:
    """The command line that makes the same page, if there is one."""
    given = [one for one in (source, other, against) if one is not None]
    if not all(isinstance(one, (str, os.PathLike)) for one in given):
        return ""
    paths = [os.fsdecode(one) for one in (source, other) if one is not None]
    original = None if against is None else os.fsdecode(against)
    return command_line(paths, original, None if kind == _FORMAT else kind, chosen, limit)


def _side(given: Any, stack: ExitStack) -> Collection:
    """The other side of a product, open."""
    if isinstance(given, Container):
        return given.collection
    if is_file(given) or are_files(given):
        return stack.enter_context(open_collection(as_target(given), sets=True))
    return open_original(given, stack)


@speaks_python
def diff(
    a: Source | Sequence[Path] | Container,
    b: Source | Sequence[Path] | Container,
    *,
    against: Any = None,
    max_error: float | None = None,
    check: bool = False,
    threads: int | None = None,
) -> Report:
    """Find what differs between two containers, or two models of them.

    Parameters
    ----------
    a, b : path, binary file object, bytes, or Container; or a sequence of paths
    against : optional
        What both were made from, a file or a model, an array, or a mapping of names to arrays, to measure errors.
    max_error : float, optional
        See `verify`.
    check : bool
        Whether the worst of what is wrong with what was measured, of either, is raised.
    threads : int, optional

    Returns
    -------
    dict
        What ``nqz diff --json`` prints, but for the names of files: ``same`` is whether nothing differs.

    Raises
    ------
    CorruptError, NewerFormatError
        One of them is damaged, or was written by a later version.
    VerifyError
        With `check`, a matrix is further from the original than predicted, or than `max_error`, or another one.
    """
    raising, limit = flag(check, "check"), checked_limit(max_error, against is not None)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        left, right = (stack.enter_context(open_containers(one, sets=True)) for one in (a, b))
        original = None if against is None else open_original(against, stack)
        found = find_differences(left, right, pool, original, limit=limit)
    for one, result in zip((left, right), found.pop("compared") or (), strict=False):
        raise_worst(result, one, original, raising)
    return found
