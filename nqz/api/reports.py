"""What the command line reports, as dictionaries of JSON types, for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from nqz.api.arguments import Path, Source, as_target, flag, is_file, numbers, patterns, real, whole, word
from nqz.api.container import Container
from nqz.api.sources import are_files, opened_source
from nqz.api.wording import speaks_python
from nqz.commands.compare import compare as compare_containers
from nqz.commands.division import Divisible, check_division, described, divide
from nqz.commands.inspect import inspect as inspect_containers
from nqz.commands.opening import open_collection
from nqz.commands.options import EncodeOptions
from nqz.commands.verify import check_limit, failures, limit_errors
from nqz.commands.verify_model import verify_parts
from nqz.curve.matrix import check_lengths, choose
from nqz.curve.options import RATES, SweepOptions
from nqz.curve.sweep import sweep as sweep_matrix
from nqz.ground.errors import UsageError
from nqz.ground.threads import workers
from nqz.models.collection import Collection, Part
from nqz.stages.codings import DEFAULT as CODING
from nqz.stages.lattices import DEFAULT as LATTICE

Report = dict[str, Any]


@speaks_python
def inspect(source: Source | Sequence[Path] | Container) -> Report:
    """Parameters, sizes and predicted errors of a container, or of a model.

    Parameters
    ----------
    source : path, binary file object, bytes, or Container; or a sequence of paths

    Returns
    -------
    dict
        What ``nqz inspect --json`` prints.

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, or is damaged.
    """
    with open_containers(source, sets=True) as collection:
        return inspect_containers(collection)


@speaks_python
def verify(
    source: Source | Sequence[Path] | Container,
    against: Any = None,
    *,
    max_error: float | None = None,
    check: bool = True,
    threads: int | None = None,
    executor: Any = None,
) -> Report:
    """Check every checksum of a container, decode every tensor, and compare with the original.

    Parameters
    ----------
    source : path, binary file object, bytes, or Container; or a sequence of paths
        A container, or a model.
    against : optional
        What it was made from: a file or a model, an array, or a mapping of names to arrays.
    max_error : float, optional
        A limit of one's own for the measured error of every matrix, ‖A - Â‖²/‖Ā‖², beside the predicted one.
    check : bool
        Whether the worst of what is wrong is raised; otherwise the report tells.
    threads : int, optional
        With `executor` those of each of its jobs, by default 1.
    executor : concurrent.futures.Executor, optional
        Whose workers decode what is large, and verify the parts of a set. See `docs/scaling.md`.

    Returns
    -------
    dict
        What ``nqz verify --json`` prints, but for the name of the original.

    Raises
    ------
    CorruptError
        The container, or a tensor, is damaged.
    VerifyError
        A matrix is further from the original than predicted, or than `max_error`, or another one.
    """
    raising, limit = flag(check, "check"), checked_limit(max_error, against is not None)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads, executor=executor))
        collection = stack.enter_context(open_containers(source, sets=True))
        original = None if against is None else open_original(against, stack)
        found = verify_parts(collection, original, pool)
    limit_errors(found, limit)
    raise_worst(found, collection, original, raising)
    return found


@speaks_python
def compare(
    original: Any,
    compressed: Source | Sequence[Path] | Container,
    *,
    across: Mapping[str, float] | None = None,
    max_error: float | None = None,
    check: bool = True,
    threads: int | None = None,
) -> Report:
    """Which tensors the error of a container comes from, and what a bit more or less would do where.

    Parameters
    ----------
    original : path, binary file object, bytes, array_like, or mapping of str to array_like; or a sequence of paths
    compressed : path, binary file object, bytes, or Container; or a sequence of paths
        A container, or a model, made from it.
    across : mapping of str to float, optional
        How sensitive each matrix is, by names or shell patterns, of which the last that takes a tensor counts.
    max_error : float, optional
        See `verify`.
    check : bool
        Whether the worst of what is wrong is raised; otherwise the report tells.
    threads : int, optional

    Returns
    -------
    dict
        What ``nqz compare --json`` prints, but for the name of the original, in the order of the container.

    Raises
    ------
    CorruptError
        The container, or a tensor, is damaged.
    VerifyError
        A matrix is further from the original than predicted, or than `max_error`, or another one.
    """
    raising, limit = flag(check, "check"), checked_limit(max_error, True)
    if across is not None and not isinstance(across, Mapping):
        raise UsageError(f"across must be a mapping of names to numbers, not {type(across).__name__}")
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        collection = stack.enter_context(open_containers(compressed, sets=True))
        source = open_original(original, stack)
        found = compare_containers(collection, source, pool, across=across)
    limit_errors(found, limit)
    raise_worst(found, collection, source, raising)
    return found


@speaks_python
def sweep(
    source: Any,
    against: Any = None,
    *,
    rates: Sequence[float] = RATES,
    lattices: str | Sequence[str] = (),
    states: Sequence[int] = (),
    codings: str | Sequence[str] = CODING.name,
    window: int | str = "auto",
    axis: int = 0,
    axis_against: int | None = None,
    tensor: str | None = None,
    tensor_against: str | None = None,
    seed: int = 0,
    mark: float | None = None,
    error: float | None = None,
    partner: str | float = "equal",
    threads: int | None = None,
) -> Report:
    """Error against rate for a matrix, by lattice, next to the limit Γ(R); every point is really encoded.

    Parameters
    ----------
    source : path, binary file object, bytes, array_like, or mapping of str to array_like
    against : likewise, optional
        A matrix that is encoded too, and multiplied with the first.
    rates : sequence of float
        Bits per entry.
    lattices : str or sequence of str
        By default the usual one, and "z" and "e8" to compare with.
    states : sequence of int
        Of the lattice "conv".
    codings : str or sequence of str
    window : {"auto", 12, 14, 16}
        Of the trellis coding.
    axis, axis_against : {0, 1}
        Contracted axes; that of `against` is by default the same.
    tensor, tensor_against : str, optional
        Which matrix of several; that of `against` has by default the same name.
    seed : int
    mark : float, optional
        The rate that is chosen: one of those measured, which the report names.
    error : float, optional
        Choose the least rate whose predicted error of a product is at most this.
    partner : {"equal", "exact"} or float
        The other factor of products: coded alike, not compressed, or of so many bits per entry.
    threads : int, optional

    Returns
    -------
    dict
        What ``nqz sweep --json`` prints.

    Raises
    ------
    UsageError
        A parameter makes no sense, or there are several matrices to choose from.
    """
    options = SweepOptions(
        rates=tuple(numbers(rates, "rates", float)), lattices=patterns(lattices, "lattices"),
        states=tuple(numbers(states, "states", int)), codings=patterns(codings, "codings"),
        window=None if window == "auto" else whole(window, "window"),
        seed=whole(seed, "seed"), mark=real(mark, "mark"), error=real(error, "error"),
        partner=partner if isinstance(partner, str) else real(partner, "partner"),
    )  # fmt: skip
    options.encodings()
    along = whole(axis, "axis")
    across = along if axis_against is None else whole(axis_against, "axis_against")
    if not {along, across} <= {0, 1}:
        raise UsageError(f"axis {along if along not in (0, 1) else across}: 0 (columns) or 1 (rows)")
    if against is None and (axis_against is not None or tensor_against is not None):
        name = "axis_against" if axis_against is not None else "tensor_against"
        raise UsageError(f"{name}: needs a matrix to multiply with, against=")
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        first = stack.enter_context(opened_source(source))
        named = word(tensor, "tensor", optional=True)
        matrix, other = choose(first.content, named, along, "tensor="), None
        if against is not None:
            second = stack.enter_context(opened_source(against))
            named = word(named if tensor_against is None else tensor_against, "tensor_against", optional=True)
            other = choose(second.content, named, across, "tensor_against=")
            check_lengths(matrix, other)
        return sweep_matrix(matrix, other, options, pool)


@speaks_python
def plan_product(
    a: Any,
    b: Any,
    *,
    bits: float | None = None,
    error: float | None = None,
    axis_a: int = 0,
    axis_b: int = 0,
    tensor_a: str | None = None,
    tensor_b: str | None = None,
    lattice: str = LATTICE,
    states: int | None = None,
    threads: int | None = None,
) -> Report:
    """Divide bits between two matrices, so that the predicted error of their product is least.

    Parameters
    ----------
    a, b : path, binary file object, bytes, array_like, or mapping of str to array_like
    bits : float, optional
        Bits per entry of both together. One of `bits` and `error` is needed.
    error : float, optional
        As few as have a predicted error of at most this.
    axis_a, axis_b : {0, 1}
        Contracted axes.
    tensor_a, tensor_b : str, optional
        Which matrix of several.
    lattice : {"conv", "leech", "e8", "d4", "z"}
    states : int, optional
        Of the lattice "conv".
    threads : int, optional

    Returns
    -------
    dict
        ``bits`` per entry of both together; the ``kappa`` of both; predicted ``error`` of the product, and
        ``error_equal``, with equal rates of the same total; the ``gain`` in bits per entry; and ``sides``, for each its
        ``shape``, ``axis``, ``rate`` and ``partner``: what `nqz.encode` takes.

    Raises
    ------
    UsageError
        A parameter makes no sense, the error cannot be reached, or there are several matrices to choose from.
    OperandError
        The lengths of their vectors differ.
    """
    wanted = real(bits, "bits"), real(error, "error")
    check_division(*wanted)
    options = EncodeOptions(
        rate=1.0, lattice=word(lattice, "lattice"), states=whole(states, "states", optional=True)
    )
    options.check()
    along = whole(axis_a, "axis_a"), whole(axis_b, "axis_b")
    if not set(along) <= {0, 1}:
        raise UsageError(f"axis {along[0] if along[0] not in (0, 1) else along[1]}: 0 (columns) or 1 (rows)")
    names = word(tensor_a, "tensor_a", optional=True), word(tensor_b, "tensor_b", optional=True)
    with ExitStack() as stack:
        pool = stack.enter_context(workers(threads))
        chosen = [
            choose(stack.enter_context(opened_source(source)).content, name, axis, option)
            for source, name, axis, option in zip(
                (a, b), names, along, ("tensor_a=", "tensor_b="), strict=True
            )
        ]
        left, right = (Divisible(one, one.axis, options, pool) for one in chosen)
        return described(divide(left, right, *wanted), (left, right))


def open_containers(source: Any, sets: bool = False) -> AbstractContextManager[Collection]:
    """A container or a model, open; one that is open already stays so."""
    if isinstance(source, Container):
        return nullcontext(source.collection)
    return open_collection(as_target(source), container=True, sets=sets)


def open_original(given: Any, stack: ExitStack) -> Collection:
    """An original as a collection, open."""
    if is_file(given) or are_files(given):
        return stack.enter_context(open_collection(as_target(given), container=False))
    opened = stack.enter_context(opened_source(given))
    name = opened.content.name
    return Collection(name, [Part(name, opened)], lone=not isinstance(given, Mapping))


def checked_limit(max_error: Any, against: bool) -> float | None:
    """A limit of one's own for measured errors, once it makes sense."""
    limit: float | None = real(max_error, "max_error")
    check_limit(limit, against)
    return limit


def raise_worst(found: Report, collection: Collection, original: Collection | None, raising: bool) -> None:
    """Raise the worst of the errors that the result of `verify` stands for, if that is wanted."""
    errors = failures(found, collection.name, None if original is None else original.name)
    if errors and raising:
        raise errors[-1]
