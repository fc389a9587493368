"""Encoding: a source of tensors to a container, or the parts of one thing to a container each.

`treatment` says what is to become of each tensor, `sharing` what each matrix may take, `fitting` finds the rate for a
number of bytes, and `encode_matrix` does a single matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from nqz.commands.contents import manifest, task_of
from nqz.commands.encode_matrix import assemble, encode_matrix
from nqz.commands.fitting import beside, encode_array_within, encode_within
from nqz.commands.forecast import forecast
from nqz.commands.options import EncodeOptions
from nqz.commands.sharing import Sharing, Targets
from nqz.commands.smaller import exact_lengths, forecast_smaller
from nqz.commands.treatment import MATRIX, TIED, Treatment, treatments
from nqz.files.contract import SourceTensor, Tensors
from nqz.format.exct import exact_pieces
from nqz.format.manifest import PartOfSet
from nqz.format.records import seal
from nqz.format.writer import ContainerWriter, Draft
from nqz.ground.threads import SMALL, Workers
from nqz.models.rules import SKIP
from nqz.models.sets import numbered, set_id
from nqz.plan.task import Target

Progress = Callable[[str, float], object]
Report = dict[str, Any]


def encode(
    source: Tensors, access: Any, options: EncodeOptions, pool: Workers, progress: Progress | None = None
) -> Report:
    """Encode the tensors of a source; see `encode_parts`, of which it is the only part."""
    return encode_parts([source], [access], options, pool, progress)


def encode_parts(
    sources: Sequence[Tensors],
    accesses: Sequence[Any],
    options: EncodeOptions,
    pool: Workers,
    progress: Progress | None = None,
) -> Report:
    """Encode the parts of one thing, such as the files of a model, each to a container of its own.

    Parameters
    ----------
    sources : sequence of Tensors
        No two tensors of them have the same name.
    accesses : sequence
        Where the container of each is written.
    options : EncodeOptions
        A rate, an error or a number of bytes is that of all parts together.
    pool : Workers
    progress : callable, optional
        Called as progress(tensor name, bytes of input processed); of a matrix, each of the two passes counts for half
        of its bytes.

    Returns
    -------
    dict
        ``files``: bytes of each container; ``file_bytes``: of all; ``entries`` and ``bits`` of the matrices;
        ``matrices`` and ``exact``: how many of each; ``carried``: names of those that are exact because a code would
        take more; ``errors`` that are predicted for products of each matrix; ``warnings``: list of str.

    Raises
    ------
    UsageError
        An option makes no sense, or nothing fits into the bytes allowed.
    UnsupportedError
        A tensor is not of finite floating-point numbers.
    """
    options.check()
    parts = treatments(sources, options)
    told = (lambda *_: None) if progress is None else pool.relayed(progress)
    run = _Run(sources, accesses, [_kept(part) for part in parts], options, pool, told)
    sharing = Sharing.of(sources, run.parts, options)
    if options.max_bytes is not None:
        within = encode_array_within if sources[0].kind.alone else encode_within
        aside = beside(sources, run.parts, options)
        return within(options.max_bytes, sharing, aside, pool, run.encode, run.carried)
    return _settled(run, sharing)


def _settled(run: _Run, sharing: Sharing) -> Report:
    """Encode until nothing that was shared is left over, and the mean error is within its bound.

    What a rate comes to is known only when it is coded, and so is which tensors take less as they are.
    """
    known: dict[int, float] = {}

    def predict(one: Treatment, target: Target) -> float:
        if id(one) not in known:
            known[id(one)] = run.predict(one, target)
        return known[id(one)]

    error = bound = sharing.options.error
    while True:
        targets = sharing.targets(predict, bound)
        report = run.encode(targets)
        rest = sharing.carrying(report["carried"])
        if sharing.plain or not rest.matrices:
            return report
        if sharing.is_left_over(targets, rest, report["errors"]):
            sharing = rest
            continue
        mean = rest.mean(report["errors"])
        if error is None or bound is None or not sharing.fixed or mean is None or mean <= error:
            return report
        sharing, bound = rest, 0.999 * bound * error / mean


def _kept(part: list[Treatment]) -> list[Treatment]:
    return [one for one in part if one.kind != SKIP]


@dataclass(frozen=True)
class _Run:
    """What is encoded how, and to where: of every part the source, the access and the tensors."""

    sources: Sequence[Tensors]
    accesses: Sequence[Any]
    parts: list[list[Treatment]]
    options: EncodeOptions
    pool: Workers
    progress: Progress

    def encode(self, targets: Targets) -> Report:
        """Write the files, with a target for each tensor."""
        report: Report = {"files": [], **_nothing()}
        rest = iter(targets)
        places = numbered(list(map(len, self.parts)))
        written = []
        for source, access, chosen, place in zip(
            self.sources, self.accesses, self.parts, places, strict=True
        ):
            writer, found = self._encode_part(
                _Part(source, access, chosen, [next(rest) for _ in chosen], place)
            )
            written.append(writer)
            for key, value in found.items():
                report[key] += value
        self._join([writer for writer in written if writer.manifest.part is not None])
        report["files"] = [writer.finish() for writer in written]
        report["file_bytes"] = sum(report["files"])
        if self.sources[0].kind.alone:
            report["bits"] = 8.0 * report["file_bytes"]
        return report

    def predict(self, one: Treatment, target: Target) -> float:
        """Error of a product that a matrix will have."""
        (source,) = (s for s, part in zip(self.sources, self.parts, strict=True) if one in part)
        task = task_of(source, one.tensor, one.options(self.options))
        return forecast(one.tensor, task, target, self.pool, sampled=False).error

    def carried(self, targets: Targets) -> list[str]:
        """Names of the matrices that will be carried exactly, with a target for each tensor."""
        flat = [(s, one) for s, part in zip(self.sources, self.parts, strict=True) for one in part]
        jobs = [(*item, target) for item, target in zip(flat, targets, strict=True) if target is not None]

        def name(job: tuple[Tensors, Treatment, Target], pool: Workers) -> str | None:
            source, one, target = job
            carried = forecast_smaller(source, one, self.options, target, pool).header is None
            return one.name if carried else None

        found = self.pool.each(name, jobs, lambda job: job[1].entries <= SMALL)
        return [name for name in found if name is not None]

    @staticmethod
    def _join(parts: Sequence[ContainerWriter]) -> None:
        """Say in each of several files, with all its tensors in it, that they belong together."""
        if parts:
            whole = set_id([writer.identity() for writer in parts])
            for writer in parts:
                writer.join(whole)

    def _encode_part(self, part: _Part) -> tuple[ContainerWriter, Report]:
        """Write a file as far as its tensors go; and what it adds to the report."""
        chosen = part.chosen
        described = manifest(part.source, chosen, self.options.metadata, part.place)
        writer = ContainerWriter(part.access, described)
        report = _nothing()
        small = [one.entries <= SMALL for one in chosen]
        each = self.pool.each(partial(self._tensor, part, writer), range(len(chosen)), small.__getitem__)
        for index, (draft, found) in enumerate(each):
            if draft is not None:
                writer.begin(index)
                if found.get("carried"):
                    writer.carry()
                writer.parameters = draft.parameters
                assemble(writer, draft.records)
            for key, value in found.items():
                report[key] += value
        return writer, report

    def _tensor(
        self, part: _Part, file: ContainerWriter, index: int, pool: Workers
    ) -> tuple[Draft | None, Report]:
        """Write the records of a tensor, or keep them if others are worked on; and what it adds to the report."""
        one, target, draft = part.chosen[index], part.targets[index], None
        tensor = one.tensor
        if pool is self.pool:
            file.begin(index)
        else:
            draft = Draft()  # its place in the file follows from the tensors before it
        writer = file if draft is None else draft
        if one.kind == TIED:
            self.progress(tensor.name, tensor.nbytes)
            return draft, {}
        if target is None and one.kind != MATRIX:
            self._assemble_exact(writer, self._counted(tensor), pool)
            return draft, {"exact": 1}
        if target is None:
            return draft, self._carried(one, writer, self._counted(tensor), pool)
        start: Any = writer.mark()
        found = encode_matrix(
            tensor, task_of(part.source, tensor, one.options(self.options)), target, writer,
            file if part.source.kind.alone else None, pool,
            lambda share: self.progress(tensor.name, share * tensor.nbytes),
            lambda size: None if draft is not None else part.access.require(file.size + size),
        )  # fmt: skip
        size = writer.tensor_bytes()
        if one.may_be_exact and exact_lengths(tensor, size, pool) is not None:
            writer.rollback(start)
            return draft, self._carried(one, writer, tensor.pieces(), pool)
        return draft, {
            "matrices": 1, "entries": tensor.entries, "bits": 8.0 * size, "errors": [found.error],
            "warnings": found.warnings,
        }  # fmt: skip

    def _carried(
        self, one: Treatment, writer: ContainerWriter | Draft, pieces: Iterator[memoryview], pool: Workers
    ) -> Report:
        """Write the records of a matrix that is carried exactly; and what it adds to the report."""
        writer.carry()
        self._assemble_exact(writer, pieces, pool)
        return {"exact": 1, "carried": [one.name]}

    @staticmethod
    def _assemble_exact(writer: ContainerWriter | Draft, pieces: Iterator[memoryview], pool: Workers) -> None:
        """Write the records of a tensor that is carried exactly."""
        assemble(writer, (seal("EXCT", piece) for piece in exact_pieces(pieces, each=pool.map)))

    def _counted(self, tensor: SourceTensor) -> Iterator[memoryview]:
        for piece in tensor.pieces():
            yield piece
            self.progress(tensor.name, len(piece))


def _nothing() -> Report:
    """The report of no tensors."""
    lists: Report = {key: [] for key in ("carried", "errors", "warnings")}
    return {"entries": 0, "bits": 0.0, "matrices": 0, "exact": 0, **lists}


class _Part(NamedTuple):
    """A part, with a target for each tensor."""

    source: Tensors
    access: Any
    chosen: list[Treatment]
    targets: Targets
    place: PartOfSet | None
