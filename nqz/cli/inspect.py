"""``nqz inspect``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click

from nqz.cli.common import (
    PRODUCT,
    RECONSTRUCTION,
    RMS,
    Notices,
    bytes_text,
    common_options,
    rms_cell,
    shape_text,
)
from nqz.cli.parameters import Command, choice
from nqz.cli.text import Row, escape, payload, properties, table
from nqz.commands.described import describe
from nqz.commands.inspect import SORTS, Item, Totals, in_order, items, outline, part_names
from nqz.commands.joining import numbers_taken
from nqz.commands.opening import open_collection
from nqz.commands.sets.inspect import describe_set
from nqz.format.reader import ContainerReader
from nqz.format.records import VERSION
from nqz.ground.threads import workers
from nqz.ground.wording import counted
from nqz.models.collection import Collection
from nqz.stages.codings import label
from nqz.stages.partner import EQUAL, Partner, in_words


@click.command("inspect", cls=Command)
@click.argument("source", metavar="FILE")
@click.option(
    "--tensor",
    "tensors",
    multiple=True,
    metavar="NAME",
    help="Take this tensor only; repeatable, a pattern too.",
)
@click.option("--sort", type=choice(SORTS), help="Sort by name, or the largest first; by default as in FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def command(
    source: str, tensors: tuple[str, ...], sort: str | None, as_json: bool, threads: int | None,
    quiet: bool, show_progress: bool | None,
) -> None:  # fmt: skip
    """Show what FILE holds, a container ("-" for standard input) or a model: parameters, sizes, errors, and totals.

    Of a part set, first what the matrix is that it is.
    """
    Notices(quiet, show_progress)  # warns of slow kernels
    with workers(threads), open_collection(source, container=True, sets=True) as collection:
        everything = items(collection)
        infos = [reader.manifest.tensors[index] for reader, index in everything]
        chosen = in_order([everything[i] for i in numbers_taken(infos, tensors, collection.name)], sort)
        size = None if tensors else sum(reader.size for reader in collection.contents)
        report = (_json if as_json else _text_of)(collection, chosen, size)
        if len(chosen) <= _WHOLE:
            report = iter(["".join(report)])  # nothing of a file that is damaged
            collection.check()
        for text in report:
            payload(text)
        collection.check()


def _json(collection: Collection, chosen: Sequence[Item], size: int | None) -> Iterator[str]:
    """The report as JSON, some tensors at a time."""
    of_set = {} if collection.grid is None else {"whole": describe_set(collection)}
    outlined = {**outline(collection), **of_set, "tensors": []}
    head, tail = json.dumps(outlined, indent=2, allow_nan=False).rsplit("[]", 1)
    yield head + "["
    totals, parts = Totals(), part_names(collection)
    for first in range(0, len(chosen), _BATCH):
        texts = []
        for one, index in chosen[first : first + _BATCH]:
            found = describe(one, index)
            totals.add(one.manifest.tensors[index], found)
            found.update(parts.get(one, {}))
            texts.append(json.dumps(found, indent=2, allow_nan=False).replace("\n", "\n    "))
        yield ("," if first else "") + "\n    " + ",\n    ".join(texts)
    yield "\n  ]" if chosen else "]"
    whole = json.dumps(totals.found(size), indent=2, allow_nan=False).replace("\n", "\n  ")
    yield f',\n  "totals": {whole}{tail}\n'


def _text_of(collection: Collection, chosen: Sequence[Item], size: int | None) -> Iterator[str]:
    """The report for people: properties of a single matrix, else a table."""
    readers = collection.contents
    infos = [info for reader in readers for info in reader.manifest.tensors]
    whole = sum(reader.size for reader in readers)
    kinds = " and ".join(dict.fromkeys(f".{reader.manifest.source}" for reader in readers))
    yield (
        f"{escape(collection.name)}: format {VERSION}, {bytes_text(len(readers), whole)}"
        f"{_smaller(sum(info.nbytes for info in infos), whole)}, "
        f"{counted(len(infos), 'tensor')}, from {kinds}\n\n"
    )
    if (grid := collection.grid) is not None:
        parts = (
            f"{len(grid.coordinates)}x{len(grid.vectors)}, of {_lengths(grid.coordinates)} entries, and of "
            f"{_lengths(grid.vectors)} vectors"
        )
        yield from properties([*_properties(describe_set(collection), None), ("parts", parts)])
        yield "\n"
    if len(chosen) == 1 and (found := describe(*chosen[0]))["kind"] == "matrix":
        yield properties(_properties(found, chosen[0][0].manifest.metadata))
        return
    rows = _Rows(chosen, part_names(collection) if collection.grid is not None else {})
    yield from table(_HEADINGS, rows)
    if chosen:
        yield f"\n{_total(rows.totals.found(size))}\n"
    if rows.totals.matrices:
        yield f"\n{_units(rows.partners)}"


def _lengths(lengths: Sequence[int]) -> str:
    """Lengths of parts in a few words."""
    return " to ".join(map(str, sorted({min(lengths), max(lengths)})))


def _smaller(before: int, after: int) -> str:
    return f", {before / after:.1f}x smaller" if before > after > 0 else ""


def _total(found: dict[str, Any]) -> str:
    compressed = ""
    if found["matrices"]:
        compressed = (
            f", {found['matrices']} of them compressed: {counted(found['entries'], 'entry')} "
            f"at {found['rate']:.4g} bits per entry"
        )
    if found["tied"]:
        compressed += f", {found['tied']} the same as another"
    whole = f"{counted(found['bytes'], 'byte')}{_smaller(found['source_bytes'], found['bytes'])}"
    return f"{counted(found['tensors'], 'tensor')}{compressed}; {whole}"


class _Rows:
    """The rows of the table of some tensors, as often as they are asked for; what follows the names is kept."""

    def __init__(self, chosen: Sequence[Item], parts: dict[ContainerReader, dict[str, str]]) -> None:
        self._chosen, self._parts = chosen, parts
        self._rests: list[Row] = []
        self.totals = Totals()
        self.partners: set[Partner] = set()

    def __call__(self) -> Iterator[Row]:
        for (reader, index), rest in zip(self._chosen, self._rests or self._found(), strict=True):
            part = self._parts.get(reader, {}).get("part", "array")
            yield reader.manifest.tensors[index].name or part, *rest

    def _found(self) -> Iterator[Row]:
        """All but the name of each tensor: one for all exact ones without records that are alike."""
        alike: dict[tuple[int, str], tuple[dict[str, Any], Row]] = {}
        counts = {reader: reader.counts() for reader in {reader for reader, _ in self._chosen}}
        for reader, index in self._chosen:
            info = reader.manifest.tensors[index]
            # tensors that are alike share the tuple of their shape
            plain = info.kind == "exact" and info.same_as is None and not counts[reader][index]
            key = (id(info.shape), info.dtype) if plain else None
            known = alike.get(key) if key else None
            if known is None:
                found = describe(reader, index, brief=True)
                known = found, _row(found)[1:]
                if key:
                    alike[key] = known
            self.totals.add(info, known[0])
            if known[0]["partner"] is not None:
                self.partners.add(known[0]["partner"])
            self._rests.append(known[1])
            yield known[1]


_VARIES = "that of each part"
_BATCH = 1000
_WHOLE = 10_000  # tensors up to which a report is shown as a whole or not at all
_HEADINGS = [
    "tensor", "shape", "dtype", "code", "axis", "bits", "κ", "‖A−Â‖²", "rms", "‖AᵀB−Ĉ‖²", "rms", "bytes",
]  # fmt: skip


def _units(partners: set[Partner]) -> str:
    """What the errors of the table are, of matrices that were coded for these partners."""
    what = "coded alike" if len(partners) != 1 else in_words(*partners)
    if len(partners) > 1:
        what = f"what each matrix is for ({', '.join(sorted(map(in_words, partners)))})"
    return f"predicted errors, relative to {RECONSTRUCTION} and {PRODUCT}, B unrelated and {what};\n{RMS}\n"


def _row(tensor: dict[str, Any]) -> Row:
    start = [tensor["name"] or "array", shape_text(tensor["shape"]), tensor["dtype"]]
    size = str(tensor["bytes"]["total"])
    if tensor["same_as"] is not None:
        return (*start, f"as {tensor['same_as']}", *[""] * 7, size)
    if tensor["kind"] != "matrix":
        return (*start, tensor["kind"], *[""] * 7, size)
    predicted = tensor["predicted"]
    return (
        *start,
        label(tensor["lattice"], tensor["coding"]),
        str(tensor["axis"]),
        f"{tensor['rate']:.3f}",
        f"{tensor['kappa']:.3g}",
        *(
            cell
            for x in (predicted["reconstruction"], predicted["product"])
            for cell in ("beyond float64" if x is None else f"{x:.4g}", rms_cell(x))
        ),
        size,
    )


def _properties(tensor: dict[str, Any], metadata: dict[str, str] | None) -> list[tuple[str, str]]:
    sizes, predicted = tensor["bytes"], tensor["predicted"]
    rows = [
        ("shape", f"{shape_text(tensor['shape'])} {tensor['dtype']}, vectors along axis {tensor['axis']}"),
        ("code", _code(tensor)),
        ("rate", f"{tensor['rate']:.4f} bits per entry ({_asked(tensor['rate_asked'])})"),
        ("partner", _for(tensor["partner"])),
        ("κ", _common(tensor["kappa"])),
        ("α", f"{_text(tensor['alpha'])} (mmse, one side)"),
        *([("Δ", _common(tensor["delta"]))] if tensor["lattice"] else []),
        ("rotation seed", _common(tensor["rotation_seed"])),
        *([("dither key", tensor["dither_key"])] if tensor["dither_key"] else []),
        ("norms", _summary(tensor["norms"])),
        ("means", "not centered" if tensor["means"] is None else _summary(tensor["means"])),
        ("chunks", str(tensor["chunks"])),
        ("bytes", ", ".join(f"{key} {size}" for key, size in sizes.items() if _is_told(key, size))),
        ("reconstruction error", _error(predicted["reconstruction"], RECONSTRUCTION)),
    ]
    if tensor["partner"] is not None:
        rows.append(
            ("product error", f"{_error(predicted['product'], PRODUCT)}, {_other(tensor['partner'])}")
        )
    if (others := predicted["others"]) is not None:
        which = f"{others['loud']} of {others['columns']}"
        rows.append(
            ("loud vectors", f"{which}; product error of the others {_error(others['product'], PRODUCT)}")
        )
    if tensor["same_as"] is not None:
        rows.insert(0, ("as", tensor["same_as"]))
    if tensor["name"]:
        rows.insert(0, ("tensor", tensor["name"]))
    return rows + [("metadata", f"{key}: {value}") for key, value in (metadata or {}).items()]


def _asked(rate: float | None) -> str:
    return f"{_VARIES} asked for" if rate is None else f"{rate:g} asked for"


def _common(value: float | None) -> str:
    """What all parts of a set have."""
    return _VARIES if value is None else f"{value:.6g}"


def _is_told(part: str, size: int | None) -> bool:
    return size is not None and (size > 0 or part != "gains")


def _code(tensor: dict[str, Any]) -> str:
    if tensor["coding"] is None:
        return _VARIES
    if tensor["lattice"] is None:
        return f"{tensor['coding']}, window {tensor['window']}"
    return f"{tensor['lattice']}, {tensor['coding']}"


def _for(partner: Partner | None) -> str:
    if partner is None:
        return _VARIES
    return partner if isinstance(partner, str) else f"{partner:g} bits per entry"


def _other(partner: Partner) -> str:
    return f"for an unrelated B{' of the same rate' if partner == EQUAL else ', ' + in_words(partner)}"


def _summary(values: dict[str, float | None]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in values.items())


def _error(value: float | None, unit: str) -> str:
    share = "" if value is None else f" ({rms_cell(value)} % rms)"
    return f"{_text(value)} of {unit}{share}"


def _text(value: float | None) -> str:
    return "beyond float64" if value is None else f"{value:.6g}"
