"""Search: the vectors of compressed corpora that are most like each query, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nqz.commands.corpora import Corpora, matrix_of
from nqz.commands.elsewhere.search import SearchElsewhere
from nqz.commands.factors import Coded, Factor, Plain, PlainOperand, Single, operand_name
from nqz.commands.held import Held
from nqz.commands.matmul import MatmulOptions, check
from nqz.commands.measure import measure
from nqz.commands.measured import MeasuredMatrix
from nqz.commands.pairs import Pair, Side, choose, is_empty
from nqz.commands.rerank import Reranked
from nqz.commands.sets.whole import Rebuilt, scored
from nqz.files.access import FileAccess, MemoryAccess
from nqz.files.contract import TensorSpec
from nqz.files.sink import MatrixSink
from nqz.ground.errors import OperandError, UsageError
from nqz.ground.threads import Workers
from nqz.ground.wording import counted
from nqz.models.collection import Collection
from nqz.product.likeness import METRICS
from nqz.product.operand import Operand, Watch
from nqz.product.search import Search

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SHARE = 16.0
"""The noise of queries that are rounded to bytes is at most that of the quietest noise of a corpus over this."""

_FINE = 256.0
"""The same of those that are rounded to two bytes."""

RISK = 1e-6


@dataclass(frozen=True)
class SearchOptions:
    """What the user asks of a search.

    Attributes
    ----------
    k : int
        Hits of each query.
    metric : {"ip", "cosine", "l2"}
    risk : float
        With this probability at most the exact hits of a query lack one.
    """

    k: int = 10
    metric: str = "ip"
    risk: float = RISK


class Hits(NamedTuple):
    """What was found, best first; an array has a row for each query.

    Attributes
    ----------
    indices : ndarray of int64, shape (queries, hits)
        Counted over all corpora, one after the other.
    file : ndarray of int32, shape (queries, hits)
        Which corpus each hit is of.
    scores : ndarray of float64, shape (queries, hits)
        Inner products, cosines, or squared distances.
    sigma : ndarray of float64, shape (queries, hits)
        Their standard deviations; 0 for exact ones.
    certain : ndarray of int64, shape (queries,)
        So many of the first hits are among the true ones, all of them with a probability of 95 %.
    read : int, optional
        How many different vectors of the originals were read for exact hits.
    """

    indices: Ints
    file: NDArray[np.int32]
    scores: Floats
    sigma: Floats
    certain: Ints
    read: int | None


class Searched(NamedTuple):
    """The hits of a search, and what else is to be told."""

    hits: Hits
    notes: list[str]


def search(
    given: Corpora,
    queries: Single | Rebuilt | None,
    options: SearchOptions,
    pool: Workers,
    progress: Callable[[float], object] | None = None,
    originals: Sequence[Plain] | None = None,
) -> Searched:
    """Find the vectors of corpora that are most like each query.

    Parameters
    ----------
    given : Corpora
    queries : Coded, Plain or Rebuilt, or None
        See `queries_of`.
    options : SearchOptions
    pool : Workers
        Whose fleet, if it has one, meets the vectors; what is read of originals is read here.
    progress : callable, optional
        Called as progress(share of the points decoded), from several threads but one at a time.
    originals : sequence of Plain, optional
        What the corpora were made from: then scores of hits are exact, and so are these with a probability of
        1 - risk for each query.

    Raises
    ------
    UsageError
        An option has no sense; or workers elsewhere cannot open a corpus.
    OperandError
        Vectors are of different lengths, or cannot be multiplied; or scores overflow.
    """
    corpora = given.coded
    _check(corpora, queries, options, originals)
    if queries is None:
        return Searched(_nothing(min(options.k, sum(corpus.columns for corpus in corpora)), originals), [])
    sides = [corpus.operand(queries, pool) for corpus in corpora]
    asked = _asked(sides, corpora, queries, pool)
    met = [
        scored(side, one, (corpus, queries), pool)
        for side, one, corpus in zip(sides, asked, corpora, strict=True)
    ]
    sides, asked = [side for side, _ in met], [one for _, one in met]
    watch = None if progress is None else Watch([*sides, *asked], progress)
    for side in asked:
        _check_coded(side)
    about = sides, asked, options.metric, options.k, pool, watch
    found = Search(*about) if pool.fleet is None else SearchElsewhere(*about, corpora, pool.fleet)
    exact = None
    if originals is not None:
        assert isinstance(queries, Plain)
        exact = Reranked(found, list(zip(originals, corpora, strict=True)), queries, options.k, options.risk)
    starts, parts = found.starts, list[tuple[Any, ...]]()
    for batch in found.batches():
        best = found.best(batch)
        if exact is None:
            scores = found.frame.told(best.score, best.asked.square[:, None])
            parts.append((best.vector, scores, found.frame.told_deviations(best.sigma), best.certain))
        else:
            parts.append(exact.of(best, pool))
    hits = min(options.k, int(starts[-1])) if exact is not None else found.hits
    index, scores, sigma, sure = _joined(parts)
    if not np.isfinite(scores).all() or not np.isfinite(sigma).all():
        raise OperandError(f"{queries.where}: scores overflow float64; scale the inputs, or use cosines")
    file = given.numbers[np.searchsorted(starts, index, side="right") - 1]
    notes = [*_dropped(sides, exact is not None), *_short(options.k, hits, queries.columns)]
    return Searched(Hits(index, file, scores, sigma, sure, None if exact is None else exact.read), notes)


def queries_of(
    side: Side | Held, corpus: Factor, wanted: str | None = None, axis: int | None = None
) -> Single | Rebuilt | None:
    """The queries in a file, None if there are none.

    Those that are not compressed have their vectors along an axis: by default that of the corpus, or the other one if
    only that fits.

    Raises
    ------
    UsageError, OperandError
        See `pairs.choose`; or an axis was chosen of what is compressed.
    """
    if not isinstance(side, Held) and wanted is None and is_empty(side):
        return None
    in_parts = isinstance(side, Collection) and side.grid is not None
    if isinstance(side, Held) or in_parts:
        queries = matrix_of(side, wanted)
    else:
        queries = choose(side, wanted, axis, "--tensor-queries")
    if not isinstance(queries, Plain):
        if axis is not None:
            raise UsageError(
                f"--axis-queries: {queries.where} is compressed; its axis was chosen by encode --axis"
            )
        return queries
    along = [corpus.axis, 1 - corpus.axis] if axis is None else [axis]
    sides = [replace(queries, along=one) for one in along]
    return next((one for one in sides if one.length == corpus.length), sides[0])


def write(hits: Hits, access: FileAccess | MemoryAccess, kind: str) -> None:
    """Write hits as arrays of their names, into a file of some kind of several tensors."""
    arrays = {name: x for name, x in hits._asdict().items() if isinstance(x, np.ndarray)}
    sink = MatrixSink(access, kind, [TensorSpec(name, x.shape, x.dtype.name) for name, x in arrays.items()])
    for number, array in enumerate(arrays.values()):
        sink.write_bytes(number, 0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    sink.finish()


def _check(
    corpora: Sequence[Coded | Rebuilt],
    queries: Single | Rebuilt | None,
    options: SearchOptions,
    originals: Sequence[Plain] | None,
) -> None:
    if options.metric not in METRICS:
        raise UsageError(f"metric {options.metric!r}: one of {', '.join(METRICS)}")
    if options.k < 1:
        raise UsageError(f"{options.k} hits (-k): at least 1 is needed")
    if not 0.0 < options.risk <= 0.5:
        raise UsageError(f"--risk {options.risk:g}: a probability above 0, at most 0.5, is needed")
    if originals is None and options.risk != RISK:
        raise UsageError(f"--risk {options.risk:g}: is for exact hits, with --rerank")
    if originals is not None and queries is not None and not isinstance(queries, Plain):
        raise OperandError(f"{queries.where}: exact scores need the queries as they were, not compressed")
    for corpus in corpora if queries is not None else ():
        assert queries is not None
        if corpus.length != queries.length:
            advice = (
                "the vectors are the columns with --axis-queries 0, the rows with 1"
                if isinstance(queries, Plain)
                else "they were encoded along different axes, or are of different kinds"
            )
            raise OperandError(
                f"{corpus.where} and {queries.where}: vectors of {corpus.length} and queries of {queries.length} "
                f"entries cannot be compared; {advice}"
            )
        if check(Pair("", corpus, queries), MatmulOptions()):
            raise OperandError(
                f"{queries.where}: the queries are the corpus itself, with the same rounding errors; give the vectors "
                "as they were, or decode them first (nqz decode)"
            )


def _asked(
    sides: Sequence[Operand], corpora: Sequence[Coded | Rebuilt], queries: Single | Rebuilt, pool: Workers
) -> list[Operand]:
    """The queries as each corpus takes them: centered if it is, rotated as it is, and no finer than is of use."""
    if not isinstance(queries, Plain):
        return [queries.operand(corpus, pool) for corpus in corpora]
    name, view = operand_name(queries.file, queries.tensor.name), queries.view
    measured: dict[bool, MeasuredMatrix] = {}
    for corpus in corpora:
        centered = corpus.matrix.centered
        if centered not in measured:
            statistics = measure(view, centered, name, pool=pool, hashed=False)
            measured[centered] = MeasuredMatrix(view, statistics, name, pool)
    found: list[Operand] = []
    for side, corpus in zip(sides, corpora, strict=True):
        p = corpus.matrix.parameters
        found.append(
            PlainOperand(name, measured[corpus.matrix.centered], p.transform, p.rotation_seed, _power(side))
        )
    return found


def _check_coded(queries: Operand) -> None:
    """Raise OperandError for queries of which nothing is known."""
    histogram = queries.side.histogram
    lost = int(histogram.counts[np.isinf(queries.noise(histogram.codes))].sum())
    if lost:
        raise OperandError(
            f"{queries.name}: {counted(lost, 'query', 'are')} too quiet to be coded; encode them at a higher "
            "rate, or give them as they were"
        )


def _power(corpus: Operand) -> int | None:
    """How finely queries of this corpus are rounded: products of bytes are the fastest, and less exact."""
    n, codes = corpus.side.n, corpus.side.histogram.codes
    noise = corpus.noise(codes)
    noise = noise[np.isfinite(noise) & (noise > 0.0)]
    if not len(noise):
        return None
    least, rms = float(noise.min()), corpus.rms_of(codes)
    for spread, share, widest in ((15, _SHARE, 30.0), (3900, _FINE, 7800.0)):
        power = (
            (spread * spread * n).bit_length() - 1
        ) // 2  # entries are at most 2 · spread, root mean square
        most = rms * 2.0 * spread * n
        power -= max(0, math.frexp(most)[1] - 30)  # sums that int32 holds
        if rms < widest and share * n / (12.0 * 4.0**power) <= least:
            return power
    return None


def _joined(parts: Sequence[tuple[Any, ...]]) -> list[NDArray[Any]]:
    """The arrays of all batches."""
    return [np.concatenate(some) for some in zip(*parts, strict=True)]


def _nothing(hits: int, originals: Sequence[Plain] | None) -> Hits:
    """The hits of no queries."""
    none = np.zeros((0, hits))
    read = None if originals is None else 0
    return Hits(none.astype(np.int64), none.astype(np.int32), none, none, np.zeros(0, np.int64), read)


def _dropped(sides: Sequence[Operand], exact: bool) -> Iterator[str]:
    if exact:
        return
    for side in sides:
        histogram = side.side.histogram
        lost = int(histogram.counts[np.isinf(side.noise(histogram.codes))].sum())
        if lost:
            yield (
                f"{side.name}: {counted(lost, 'vector')} of {side.columns} too quiet to be coded, whose scores are "
                "not known: left out"
            )


def _short(k: int, hits: int, queries: int) -> Iterator[str]:
    if hits < k and queries:
        yield f"{counted(hits, 'hit')} of each query, not {k}: there are no more vectors"
