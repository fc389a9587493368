"""A plan before the work: what would become of every tensor, with what error, in how many bytes; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nqz.commands.contents import Record, container_size, manifest
from nqz.commands.fitting import beside, is_most, refuse_unfit
from nqz.commands.forecast import Forecast, forecast_exact
from nqz.commands.options import EncodeOptions
from nqz.commands.sharing import CLOSE, Infeasible, Sharing, Targets
from nqz.commands.smaller import forecast_smaller
from nqz.commands.treatment import EXACT, MATRIX, TIED, Treatment, carrying, left_out, treatments
from nqz.files.access import MemoryAccess
from nqz.files.contract import Tensors
from nqz.format.manifest import PartOfSet
from nqz.format.records import framed
from nqz.format.writer import ContainerWriter
from nqz.ground.errors import UsageError
from nqz.ground.threads import SMALL, Workers
from nqz.models.collection import Collection
from nqz.models.rules import SKIP
from nqz.models.sets import numbered
from nqz.plan.search import rate_within
from nqz.plan.task import Target

Progress = Callable[[str, float], object]

_TRIES = 4  # of targets for a number of bytes


@dataclass(frozen=True)
class PlannedTensor:
    """What would become of a tensor.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
    kind : {"matrix", "exact", "skip"}
    role : str
        "embedding", "lm_head", "tied head", or nothing.
    axis : int or None
        That its vectors lie along, of a matrix.
    coding : str or None
        Of a matrix.
    rules : tuple of str
        The rules that decided something.
    small : bool
        Whether it is carried exactly only because a code would take more.
    rate : float or None
        Bits an entry, of a matrix.
    error : float or None
        Predicted error of a product with an unrelated partner that it is coded for.
    nbytes : int
        In its container, about.
    source_bytes : int
        In its source.
    entries : int
    same_as : str or None
        The tensor that it equals, which is stored for both; then its own rate, error and bytes are none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    role: str
    axis: int | None
    coding: str | None
    rules: tuple[str, ...]
    small: bool
    rate: float | None
    error: float | None
    nbytes: int
    source_bytes: int
    entries: int
    same_as: str | None = None

    def values(self) -> dict[str, Any]:
        """What JSON has of it."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "kind": self.kind,
            "role": self.role or None,
            "axis": self.axis,
            "coding": self.coding,
            "rules": list(self.rules),
            "rate": self.rate,
            "error": self.error,
            "bytes": self.nbytes,
            "same_as": self.same_as,
        }


@dataclass(frozen=True)
class ModelPlan:
    """What encoding would come to.

    Attributes
    ----------
    tensors : list of PlannedTensor
        Those that options take, part after part.
    files : list of (str, int)
        Name of each part, and bytes of its container, about.
    other_bytes : int
        What comes with the containers.
    left_out : int
        Tensors that options do not take, or skip.
    mean_error : float or None
        Mean of the errors of the matrices, by the weights of `across`.
    weights : str
        What these are, in words.
    """

    tensors: list[PlannedTensor]
    files: list[tuple[str, int]]
    other_bytes: int
    left_out: int
    mean_error: float | None
    weights: str

    @property
    def matrices(self) -> list[PlannedTensor]:
        """The tensors that would be coded."""
        return [one for one in self.tensors if one.kind == MATRIX and one.same_as is None]

    @property
    def totals(self) -> dict[str, Any]:
        """Sums over all of it."""
        entries = sum(one.entries for one in self.matrices)
        size = sum(nbytes for _, nbytes in self.files)
        before = sum(one.source_bytes for one in self.tensors if one.kind != SKIP)
        coded = sum(one.nbytes for one in self.matrices)
        return {
            "tensors": sum(one.kind != SKIP for one in self.tensors),
            "matrices": len(self.matrices),
            "tied": sum(one.same_as is not None for one in self.tensors),
            "left_out": self.left_out,
            "entries": entries,
            "rate": 8.0 * coded / entries if entries else None,
            "source_bytes": before,
            "bytes": size + self.other_bytes,
            "smaller": before / size,
            "mean_error": self.mean_error,
            "weights": self.weights,
        }

    def values(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        return {
            "tensors": [one.values() for one in self.tensors],
            "files": [{"name": name, "bytes": nbytes} for name, nbytes in self.files],
            "totals": self.totals,
        }


def plan_parts(
    sources: Sequence[Tensors], options: EncodeOptions, pool: Workers, progress: Progress | None = None
) -> ModelPlan:
    """Say what `encode_parts` would come to. Nothing is written, and next to nothing is coded.

    Parameters
    ----------
    sources, options, pool
        As for `encode_parts`.
    progress : callable, optional
        Called as progress(tensor name, its bytes) for each that is done.

    Raises
    ------
    UsageError, UnsupportedError
        As from `encode_parts`.
    """
    options.check()
    parts = treatments(sources, options)
    run = _Planning(sources, parts, options, pool, progress or (lambda *_: None))
    return run.plan()


def plan_collection(
    collection: Collection, options: EncodeOptions, pool: Workers, progress: Progress | None = None
) -> ModelPlan:
    """Say what encoding a file or a model would come to, whose configuration and other files count."""
    from nqz.commands.models import files_of, kept_bytes, other_bytes, renamed

    options = replace(options, config=collection.config)
    if not collection.lone:
        files = files_of(collection)
        options = replace(options, other_bytes=other_bytes(collection, files), where=collection.name)
    plan = plan_parts(collection.contents, options, pool, progress)
    collection.check()
    sizes = [(renamed(part), size) for part, (_, size) in zip(collection.parts, plan.files, strict=True)]
    if collection.lone:
        return replace(plan, files=sizes)
    names = {one.name for one in plan.tensors if one.kind != SKIP}
    taken = {t.name: t.nbytes for t in collection.tensors if not names.isdisjoint((t.name, f"{t.name}[0]"))}
    if (
        collection.index is not None
    ):  # it does not name a part of which nothing is taken, which is not written then
        some = [any(t.name in taken for t in part.tensors) for part in collection.parts]
        sizes = [size for size, written in zip(sizes, some, strict=True) if written]
    # room is left in a number of bytes for a mark, which few file systems need a file for
    return replace(plan, files=sizes, other_bytes=kept_bytes(collection, files, taken))


@dataclass(frozen=True)
class _Planning:
    """What is planned, and how."""

    sources: Sequence[Tensors]
    parts: list[list[Treatment]]
    options: EncodeOptions
    pool: Workers
    progress: Progress

    def plan(self) -> ModelPlan:
        """Plan all of it."""
        kept = [[one for one in part if one.kind != SKIP] for part in self.parts]
        flat = [(source, one) for source, part in zip(self.sources, kept, strict=True) for one in part]
        exact = dict(self._each(self._exact, [item for item in flat if item[1].kind == EXACT]))
        sharing = Sharing.of(self.sources, kept, self.options)
        excess = 0
        for _ in range(_TRIES):
            targets, unfit = self._targets(sharing, kept, exact, excess)
            jobs = [
                (source, one, target)
                for (source, one), target in zip(flat, targets, strict=True)
                if target is not None
            ]
            found: dict[str, Forecast] = {**exact, **dict(self._each(self._matrix, jobs))}
            rest = sharing.carrying(name for name, one in found.items() if one.header is None)
            errors = [found[one.name].error for one in rest.matrices]
            files = self._files(kept, found)
            size = sum(size for _, size in files) + self.options.other_bytes
            if unfit is not None and len(rest.matrices) == len(sharing.matrices):
                raise unfit
            if unfit is None and self._is_near(size, sharing, targets, rest, errors):
                break
            if len(rest.matrices) < len(sharing.matrices):  # what is left of their share is for the others
                exact |= {name: one for name, one in found.items() if one.header is None}
                kept, sharing = carrying(kept, exact), rest
            else:
                excess += size - (self.options.max_bytes or size)
        for one in (one for one in sharing.tensors if one.kind == TIED):
            self.progress(one.name, one.tensor.nbytes)
        rate = self._rate(sharing, targets)
        alone = self.sources[0].kind.alone
        parts = carrying(self.parts, {name for name, one in found.items() if one.header is None})
        kinds = {one.name: one.kind for part in parts for one in part}
        rows = [
            _row(one, kinds[one.same_as or one.name], found.get(one.name), files[0][1] if alone else None)
            for part in parts
            for one in part
        ]
        return ModelPlan(
            rows,
            files,
            self.options.other_bytes,
            left_out(self.sources, [one for part in kept for one in part]),
            rest.mean(errors, rate),
            rest.weights_text(rate),
        )

    def _each(self, work: Callable[[Any, Workers], Any], jobs: list[Any]) -> Any:
        return self.pool.each(work, jobs, lambda job: job[1].entries <= SMALL)

    def _files(self, kept: list[list[Treatment]], found: dict[str, Forecast]) -> list[tuple[str, int]]:
        """Names of the files, and bytes of their containers."""
        places = numbered(list(map(len, kept)))
        return [
            (os.path.basename(source.name), self._size(source, part, place, found))
            for source, part, place in zip(self.sources, kept, places, strict=True)
        ]

    def _exact(self, job: tuple[Tensors, Treatment], pool: Workers) -> tuple[str, Forecast]:
        found = forecast_exact(job[1].tensor, pool)
        self.progress(job[1].name, job[1].tensor.nbytes)
        return job[1].name, found

    def _matrix(self, job: tuple[Tensors, Treatment, Target], pool: Workers) -> tuple[str, Forecast]:
        source, one, target = job
        whole = None
        if source.kind.alone:
            whole = ContainerWriter(MemoryAccess(bytearray()), manifest(source, [one], self.options.metadata))
            whole.begin(0)
        found = forecast_smaller(source, one, self.options, target, pool, whole)
        self.progress(one.name, one.tensor.nbytes)
        return one.name, found

    def _is_near(
        self, size: int, sharing: Sharing, targets: Targets, rest: Sharing, errors: list[float]
    ) -> bool:
        """Whether encoding would be content with so many bytes in all, about, and with what it leaves of them."""
        wanted = self.options.max_bytes
        if wanted is None:
            return sharing.plain or not sharing.is_left_over(targets, rest, errors)
        if self.sources[0].kind.alone or is_most(sharing, targets):
            return True
        return CLOSE * wanted <= size <= wanted

    def _targets(
        self, sharing: Sharing, kept: list[list[Treatment]], exact: dict[str, Forecast], excess: int
    ) -> tuple[Targets, UsageError | None]:
        """What each tensor may take; for a number of bytes, so many fewer as they were in excess before.

        If they are too few, with the error to raise unless some matrices are smaller as they are.
        """
        wanted = self.options.max_bytes
        if wanted is None:
            given = sharing.targets(
                lambda one, target: self._matrix((self._of(one), one, target), self.pool)[1].error
            )
            return given, None
        fixed = sum(framed(*(length for _, length in found.records)) for found in exact.values())
        fixed += beside(self.sources, kept, self.options) + self.options.other_bytes
        if self.sources[0].kind.alone:
            rate = rate_within(wanted, 0, sharing.entries)
            return sharing.at_rate(rate), None
        try:
            return sharing.for_bits(8.0 * (wanted - fixed - excess)), None
        except Infeasible as found:
            refused, more = refuse_unfit(sharing, wanted, fixed, found), sharing.beyond(found)
            if more is None:
                raise refused from None
            return more, refused

    def _rate(self, sharing: Sharing, targets: Targets) -> float | None:
        """The rate of all matrices, where a number of bytes is asked for."""
        if self.options.max_bytes is None or not sharing.matrices:
            return None
        bits = sum(
            one.entries * target.rate
            for one, target in zip(sharing.tensors, targets, strict=True)
            if target is not None and one.kind == MATRIX
        )
        return bits / sharing.entries

    def _of(self, one: Treatment) -> Tensors:
        return next(source for source, part in zip(self.sources, self.parts, strict=True) if one in part)

    def _size(
        self, source: Tensors, part: list[Treatment], place: PartOfSet | None, found: dict[str, Forecast]
    ) -> int:
        """Bytes of a container."""
        part = carrying([part], {name for name, one in found.items() if one.header is None})[0]
        described = manifest(source, part, self.options.metadata, place)
        infos = [
            info._replace(parameters=found[one.name].header) if one.kind == MATRIX else info
            for info, one in zip(described.tensors, part, strict=True)
        ]
        records: list[list[Record]] = [[] if one.kind == TIED else found[one.name].records for one in part]
        return container_size(described._replace(tensors=tuple(infos)), records)


def _row(one: Treatment, kind: str, found: Forecast | None, whole: int | None) -> PlannedTensor:
    """A tensor of the plan, with what it comes to; all of the file counts for one that is alone in it."""
    matrix, coded = kind == MATRIX, one.kind == MATRIX
    size = 0 if found is None else found.size if whole is None else whole
    return PlannedTensor(
        one.name, tuple(one.tensor.shape), one.tensor.dtype, kind, one.layer.role,
        one.layer.axis if matrix else None, one.coding if matrix else None, one.rules, one.small,
        8.0 * size / one.entries if coded else None,
        found.error if coded and found is not None else None,
        size, one.tensor.nbytes, one.entries, one.same_as,
    )  # fmt: skip
