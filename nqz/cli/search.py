"""``nqz search``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import click
import numpy as np

from nqz.cli.cluster import cluster_option, executor_of
from nqz.cli.common import (
    Notices,
    common_options,
    json_option,
    kind_of,
    open_output,
    output_options,
)
from nqz.cli.each import expanded
from nqz.cli.parameters import Command, choice
from nqz.cli.progress import Progress
from nqz.cli.reports import head, open_report
from nqz.cli.text import Row, payload, table
from nqz.commands.corpora import Corpora, apart, wanted_of
from nqz.commands.opening import open_collection
from nqz.commands.search import RISK, Hits, Searched, SearchOptions, queries_of, search, write
from nqz.ground.errors import UsageError
from nqz.ground.sources import SEVERAL, listed
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.product.likeness import METRICS

_HELP = f"""Find the vectors of compressed files that are most like each query.

CORPUS is a container, or several: their vectors are counted one file after the other. QUERIES is a {listed()} file,
with its vectors along the axis of those of CORPUS, or along the other if only that fits; or a container. For every hit
there are its index, its score and the standard deviation of that, and for every query how many of the first hits are
surely among the true ones. --rerank reads from the original only the vectors whose error bars leave them in doubt, and
makes hits and scores exact.
"""


@click.command("search", cls=Command, help=_HELP)
@click.argument("corpora", metavar="CORPUS...", nargs=-1, required=True)
@click.argument("queries", metavar="QUERIES")
@click.option("-k", "hits", type=int, default=10, show_default=True, metavar="K", help="Hits of each query.")
@click.option(
    "--metric", type=choice(METRICS), default="ip", show_default=True,
    help="ip: the largest inner product; cosine: the same of vectors of length 1; l2: the least squared distance.",
)  # fmt: skip
@output_options(f"File to write, {listed(SEVERAL)}; by default a table to standard output.")
@click.option(
    "--rerank", "originals", multiple=True, metavar="ORIGINAL",
    help="Read the vectors in doubt from what CORPUS was made from; once for each CORPUS.",
)  # fmt: skip
@click.option(
    "--risk", type=float, default=RISK, show_default=True, metavar="P",
    help="With --rerank, the probability with which the exact hits of a query may lack one.",
)  # fmt: skip
@click.option(
    "--tensor", metavar="NAME", help="Tensor of CORPUS, where it has several: its name, no pattern."
)
@click.option(
    "--tensor-queries", metavar="NAME", help="Tensor of QUERIES, where it has several: its name, no pattern."
)
@click.option(
    "--axis-queries", type=choice("01"),
    help="Axis of the vectors of QUERIES where that is not compressed: 0 for columns, 1 for rows.",
)  # fmt: skip
@json_option
@cluster_option
@common_options
def command(
    corpora: tuple[str, ...], queries: str, hits: int, metric: str, output: str | None, force: bool,
    originals: tuple[str, ...], risk: float, tensor: str | None, tensor_queries: str | None, axis_queries: str | None,
    json_to: str | None, cluster: str | None, threads: int | None, quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Run ``nqz search``."""
    notices, corpora = Notices(quiet, show_progress), expanded(corpora)
    options = SearchOptions(hits, metric, risk)
    if [*corpora, queries, *originals].count("-") > 1:
        raise UsageError("standard input can be one of the inputs, not several")
    kind = None if output is None else kind_of(output, "npz", SEVERAL)
    with ExitStack() as stack:
        executor = stack.enter_context(executor_of(cluster))
        pool = stack.enter_context(workers(threads, executor=executor))
        opened = [stack.enter_context(open_collection(path, container=True, sets=True)) for path in corpora]
        asked = stack.enter_context(open_collection(queries, sets=True))
        plain = [stack.enter_context(open_collection(path, container=False)) for path in originals]
        groups = [apart(one) for one in opened]
        given = Corpora.of(groups, wanted_of([file for group in groups for file in group], tensor))
        axis = None if axis_queries is None else int(axis_queries)
        side = queries_of(asked, given.coded[0], tensor_queries, axis)
        exact = given.originals(plain) if plain else None
        inputs = [part.opened for one in (*opened, asked, *plain) for part in one.parts]
        out = None if output is None else stack.enter_context(open_output(output, force, inputs))
        told = stack.enter_context(open_report(json_to, [] if output is None else [output], force, inputs))
        sizes = {"": float(sum(one.nbytes for one in given.coded))}
        label = f"{opened[0].name} {asked.name}"
        with notices.progress("searching", sizes, None, label) as progress:
            watch = None if progress is None else partial(_told, progress, sizes[""])
            found = search(given, side, options, pool, watch, exact)
        written = []
        if out is not None and kind is not None and output is not None:
            write(found.hits, out.access, kind)
            out.commit()
            written = [(output, out.access.size)]
        for one in inputs:
            one.check()
        names = [*corpora, queries, *originals]
        report = _report(found, options, given.names, out is None)
        told(lambda: {**head("search", names, written, found.notes), **report})
    if output is None and json_to is None:
        for text in table(_HEADINGS, lambda: _rows(found.hits, given.names)):
            payload(text)
    for note in found.notes:
        notices.note(note)
    notices.summary(_summary(found, sum(one.columns for one in given.coded)))


def _told(progress: Progress, size: float, share: float) -> None:
    progress("", share * size)


_HEADINGS = ("query", "hit", "index", "score", "sigma", "")


def _rows(hits: Hits, files: Sequence[str]) -> Iterator[Row]:
    """A line for each hit, marked where it is certain; with the file that it is in, if there are several."""
    for query, (index, scores, sigma) in enumerate(zip(hits.indices, hits.scores, hits.sigma, strict=True)):
        for place, cells in enumerate(zip(index.tolist(), scores.tolist(), sigma.tolist(), strict=True)):
            number, score, deviation = cells
            marks = ["certain"] if place < hits.certain[query] else []
            if len(files) > 1:
                marks.append(files[hits.file[query, place]])
            yield (
                str(query) if not place else "", str(place + 1), str(number), f"{score:.6g}",
                f"{deviation:.2g}", "  ".join(marks),
            )  # fmt: skip


def _report(found: Searched, options: SearchOptions, files: Sequence[str], whole: bool) -> dict[str, Any]:
    """What was found, for programs; the hits themselves where no file has them."""
    hits = found.hits
    rows = [
        {
            "certain": int(hits.certain[query]),
            "hits": [
                {"index": int(i), "file": int(f), "score": float(s), "sigma": float(d)}
                for i, f, s, d in zip(
                    hits.indices[query], hits.file[query], hits.scores[query], hits.sigma[query], strict=True
                )
            ],
        }
        for query in range(len(hits.indices) if whole else 0)
    ]
    return {
        "metric": options.metric,
        "k": options.k,
        "files": list(files),
        "shape": list(hits.indices.shape),
        "certain": float(np.mean(hits.certain)) if len(hits.certain) else None,
        "read": found.hits.read,
        "risk": None if found.hits.read is None else options.risk,
        **({"queries": rows} if whole else {}),
    }


def _summary(found: Searched, vectors: int) -> str:
    """A line about what was found."""
    queries, hits = found.hits.indices.shape
    text = f"{counted(hits, 'hit')} of {counted(vectors, 'vector')} for {counted(queries, 'query')}"
    if found.hits.read is not None:
        return f"{text}: exact, {counted(found.hits.read, 'vector')} of the original read"
    sure = float(np.mean(found.hits.certain)) if queries else 0.0
    return f"{text}: {sure:.3g} of {hits} certain, in the mean"
