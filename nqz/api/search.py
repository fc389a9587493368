"""Search in compressed matrices, for Python: `nqz.topk`."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any

import numpy as np

from nqz.api.arguments import as_target, is_file, real, whole, word
from nqz.api.container import Container
from nqz.api.interchange import as_plain
from nqz.api.products import Operand
from nqz.api.resident import ResidentOperand
from nqz.api.wording import in_python, speaks_python
from nqz.commands.corpora import Corpora, apart
from nqz.commands.held import Held
from nqz.commands.opening import is_part_set, open_collection
from nqz.commands.pairs import Side
from nqz.commands.search import RISK, Hits, SearchOptions, queries_of, search
from nqz.files.contract import Source
from nqz.files.source import array_source
from nqz.ground.dtypes import is_matrix_dtype
from nqz.ground.errors import OperandError, UnsupportedError, UsageError
from nqz.ground.threads import workers
from nqz.models.collection import Collection


@speaks_python
def topk(
    x: Any,
    queries: Any,
    k: int = 10,
    *,
    metric: str = "ip",
    rerank: Any = None,
    risk: float = RISK,
    axis: int | None = None,
    threads: int | None = None,
    executor: Any = None,
) -> Hits:
    """Find the vectors of a compressed matrix that are most like each query.

    Parameters
    ----------
    x : CompressedMatrix, ResidentOperand, Container, bytes or path; or a sequence of these
        Whose vectors are searched, those along its `axis`; of several they are counted one after the other, and so are
        those of the parts of a set (``.nqzset``) that is cut across them, each of which counts as a file; sets that are
        cut otherwise are decoded, and count as one. A
        `CompressedMatrix.operand` is in memory, as a service has it; of all else the chunks are read and decoded by
        each call. What is found is the same.
    queries : array_like, path or bytes; or as `x`
        Vectors of the same length.
    k : int
        Hits of each query; fewer where there are not so many vectors.
    metric : {"ip", "cosine", "l2"}
        The largest inner products, or cosines, or the least squared distances.
    rerank : array_like, path or bytes; or a sequence of paths, optional
        What `x` was made from, of a set all of it or each part. Only the vectors that error bars leave in doubt are
        read from it, and hits and scores are exact.
    risk : float
        With this probability at most the exact hits of a query lack one.
    axis : int, optional
        Axis of the vectors of an array of queries; by default that of `x`, or the other one if only that fits.
    threads : int, optional
        With `executor` those of each of its jobs, by default 1.
    executor : concurrent.futures.Executor, optional
        Whose workers meet the vectors of `x`, which they open by its path. What `rerank` reads is read here, and
        queries are wherever they like.

    Returns
    -------
    Hits
        Arrays, best first: ``indices``, ``file`` (which of several), ``scores`` and ``sigma``, their standard
        deviations, of shape (queries, hits); ``certain``, how many of the first hits of each query are among the true
        ones, all of them with a probability of 95 %.

    Raises
    ------
    OperandError
        The vectors do not fit together, or scores overflow.

    Notes
    -----
    Products are computed tile by tile and not kept. Ties go to the lower index. Vectors too quiet to be coded are left
    out, with a warning, unless `rerank` tells their scores.
    """
    if risk is None:
        raise UsageError("risk None: a number is needed")
    options = SearchOptions(whole(k, "k"), word(metric, "metric"), real(risk, "risk"))
    if axis is not None and whole(axis, "axis") not in (0, 1):
        raise UsageError(f"axis {axis}: 0 or 1 is needed")
    with ExitStack() as stack, workers(threads, executor=executor) as pool:
        several = isinstance(x, (list, tuple))
        every = [_corpus(one, stack) for one in (x if several else [x])]
        if not every:
            raise UsageError("x: a compressed matrix is needed")
        groups = [[file for file, _ in group] for group in every]
        corpora = Corpora.of(groups, [name for group in every for _, name in group])
        file, name = _side(queries, stack)
        asked = queries_of(file, corpora.coded[0], name, axis)
        exact = None
        if rerank is not None:
            files = (
                rerank
                if (several or len(corpora.names) > 1) and isinstance(rerank, (list, tuple))
                else [rerank]
            )
            exact = corpora.originals([_plain(one, stack) for one in files])
        found = search(corpora, asked, options, pool, None, exact)
    for note in found.notes:
        warnings.warn(in_python(note), stacklevel=3)
    return found.hits


def _corpus(x: Any, stack: ExitStack) -> list[tuple[Side | Held, str | None]]:
    """The parts of a set; all else by itself."""
    if isinstance(x, ResidentOperand):
        return [(part, None) for part in x.held()]
    opened = stack.enter_context(open_collection(x, container=True, sets=True)) if is_part_set(x) else None
    if opened is None:
        found, name = _side(x, stack)
        if not isinstance(found, Collection) or found.grid is None:
            return [(found, name)]
        opened = found
    return [(part, None) for part in apart(opened)]


def _side(x: Any, stack: ExitStack) -> tuple[Side | Held, str | None]:
    """An open file, and the name of a tensor if one is meant; or what is in memory."""
    if isinstance(x, ResidentOperand):
        found = x.held()
        if len(found) > 1:
            raise UnsupportedError(
                f"{x!r}: its vectors are in {len(found)} parts; give the set itself as queries"
            )
        return found[0], None
    if isinstance(x, Container) and x.alone and 0 in x[""].shape:
        return x.reader, None  # a corpus without vectors
    return x.factor() if isinstance(x, Operand) else (_opened(x, stack), None)


def _plain(x: Any, stack: ExitStack) -> Source | Collection:
    if isinstance(x, (Operand, ResidentOperand)):
        raise OperandError(f"{x!r}: is not what was compressed; give the array, or its file")
    return _opened(x, stack)


def _opened(x: Any, stack: ExitStack) -> Source | Collection:
    """A file, or an array as the file that it would make."""
    if is_file(x):
        return stack.enter_context(open_collection(as_target(x), sets=True))
    plain = as_plain(x)
    source = stack.enter_context(array_source(np.asarray(plain.array), dtype=plain.dtype))
    if not is_matrix_dtype(source.tensors[0].dtype):
        raise UnsupportedError(
            f"an array of dtype {source.tensors[0].dtype}; convert it to floating point first"
        )
    return source
