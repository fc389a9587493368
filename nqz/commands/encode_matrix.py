"""Coding one matrix of a source into a container.

It is read twice: once to measure it (`measure.FirstPass`), once to code it. If the result is larger than the rate allows, it is coded
again a little coarser.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby

import numpy as np

from nqz.commands.measure import FirstPass
from nqz.commands.options import EncodeOptions
from nqz.commands.stream import by_chunks, chunk_stream, fill_stream
from nqz.format import chnk
from nqz.format.msgpack import pack_fields
from nqz.format.norm_mean import pack_means, pack_norms
from nqz.format.records import seal
from nqz.format.tens import ALPHA, TensorHeader
from nqz.format.writer import ContainerWriter
from nqz.ground.arithmetic import total
from nqz.ground.errors import UnsupportedError, UsageError
from nqz.plan import budget as allocate
from nqz.plan import voronoi as nest
from nqz.stages import center, dither, norms, scale
from nqz.stages.codings import CODINGS
from nqz.stages.codings.voronoi import VORONOI
from nqz.stages.encoder import Encoder
from nqz.stages.estimate import Side, expected_error
from nqz.stages.panels import panel_columns
from nqz.stages.parameters import Parameters
from nqz.stages.transforms import DEFAULT as TRANSFORM

_FREE_BYTES = 400  # come on top of the rate below a million entries
_SMALL = 10**6
_HEADER_ROOM = 16  # bytes by which a header may grow once its numbers are known
_TRIES = 6
_MARGIN = 0.0005  # bits an entry to aim below the rate, so that it is seldom exceeded and coded again
_BISECTIONS = 12


class MatrixEncoder:
    """Codes one matrix: measure, choose parameters, code, and again if the result is too large."""

    def __init__(self, source, tensor, options: EncodeOptions, writer: ContainerWriter, pool, progress):
        self.tensor, self.options, self.writer, self.pool = tensor, options, writer, pool
        self.where = source.name + (f": tensor {tensor.name!r}" if tensor.name else "")
        axis = 0 if len(tensor.shape) == 1 else options.axis
        self.axis = axis
        self.view = tensor.vectors(axis)
        self.n, self.columns = self.view.length, self.view.count
        if self.n > TRANSFORM.max_length:
            raise UnsupportedError(
                f"{self.where}: vectors of {self.n} entries; at most {TRANSFORM.max_length} are supported"
            )
        self.entries = self.n * self.columns
        self.whole_file = source.kind.alone
        self.lattice = options.code
        self.coding = CODINGS[options.coding]
        self.allocate = options.allocate or self.coding.allocations[0]
        self.free = 0 if self.entries >= _SMALL or options.strict else _FREE_BYTES
        self.rate = options.rate if options.rate is not None else 0.0
        self.progress = progress
        self.warnings: list[str] = []

    def run(self) -> None:
        options = self.options
        half = None if self.progress is None else lambda size: self.progress(self.tensor.name, size / 2)
        self.digits = self._mean_digits() if options.center else None
        side = self._measure(half)
        self.fixed = self._fixed_bytes(side)
        if options.error is not None:
            self._code(self._for_error(options.error), side)
            return
        parameters = self._for_rate()
        start = self.writer.mark()
        for attempt in range(_TRIES):
            size = self._code(parameters, side)
            excess = 8.0 * (size - min(self.free, self.fixed)) - self.rate * self.entries
            again = self._adjusted(parameters, excess, attempt)
            if again is None or attempt == _TRIES - 1:
                break
            self.writer.rollback(start)
            parameters = again
        if excess > 0:
            self._warn_about_side_information(side)
        else:
            self._warn_if_nothing_is_left(parameters)

    def _measure(self, progress) -> list[tuple[str, bytes]]:
        """First pass: digest, norms and means; return the records of the latter."""
        count, centered = self.columns, self.options.center
        first_pass = FirstPass(self.tensor, self.view, centered, self.where, progress, self.pool)
        self.codes = codes = np.empty(count, np.int32)
        kept = []
        first_panel = []
        for block in first_pass.blocks():
            chosen = slice(block.first, block.first + len(block.mean))
            codes[chosen] = norms.encode(block.energy, block.exponent)
            if centered:
                shift, q = center.quantize(block.mean, codes[chosen], self.n, self.digits)
                narrow = len(q) and -(1 << 31) <= q.min() <= q.max() < 1 << 31
                kept.append((shift, q.astype(np.int32) if narrow else q))
            if block.first < panel_columns(self.n):
                first_panel.append((block.energy, block.exponent))
        self.first_energy = [np.concatenate(part)[: panel_columns(self.n)] for part in zip(*first_panel)]
        self.digest, self.total = first_pass.digest, first_pass.total
        self.tally = allocate.Population.of(codes, self.n)
        side = [("NORM", pack_norms(codes))]
        if not centered:
            self.means = center.Means.none(codes, self.n)
            return side
        shift, q = (np.concatenate(part) for part in zip(*kept))
        self.means = center.Means(codes, self.n, self.digits, shift, q)
        return [*side, ("MEAN", pack_means(shift, q))]

    def _mean_digits(self) -> int:
        """Binary digits of the means beyond those for a rate of 0: the rate, rounded up."""
        if self.options.error is None:
            return math.ceil(self.rate)
        digits = 0
        while 2.0 * 4.0**-digits > self.options.error:
            digits += 1
        return digits

    def _base(self) -> Parameters:
        return Parameters(
            n=self.n, columns=self.columns, m=self.n, transform=TRANSFORM, lattice=self.lattice, coding=self.coding,
            allocate=self.allocate, delta=0, lowest_class=0, mean_digits=self.digits,
            rotation_seed=self.options.seed, dither_key=bytes(16), code=None,
        )  # fmt: skip

    @property
    def _alive(self) -> int:
        return int(self.tally.counts[self.tally.codes != norms.ZERO].sum())

    def _fixed_bytes(self, side) -> int:
        """Bytes that the rate counts beside the chunks."""
        header = len(self._header(self._base()).pack())
        header += _HEADER_ROOM if self.options.coding == "entropy" else 3 * _HEADER_ROOM
        lengths = [header] + [len(payload) for _, payload in side]
        return self.writer.projected_size(lengths) if self.whole_file else sum(lengths) + 18 * len(lengths)

    def _for_rate(self) -> Parameters:
        budget = (self.rate - _MARGIN) * self.entries - 8.0 * (self.fixed - min(self.free, self.fixed))
        return self._within(budget)

    def _within(self, budget: float) -> Parameters:
        """Parameters whose chunks should take `budget` bits."""
        base = self._base()
        if self.options.coding == "voronoi":
            return nest.plan(base, self._alive, budget, self.options.kappa)
        plan = allocate.plan(self.codes, self.n, self.lattice, self.allocate, budget, self.options.kappa)
        return replace(base, m=plan.m, delta=plan.delta, lowest_class=plan.lowest_class)

    def _for_error(self, error: float) -> Parameters:
        """Parameters with the fewest bits whose product with an unrelated partner coded alike has at most this error."""
        if self.options.coding == "entropy":
            plan = allocate.plan_error(
                self.codes, self.n, self.lattice, self.allocate, error, self.options.kappa
            )
            self.rate = max((plan.bits + 8.0 * self.fixed) / self.entries, 1e-9)
            found = replace(self._base(), m=plan.m, delta=plan.delta, lowest_class=plan.lowest_class)
            finest = allocate.finest_delta(self.codes, self.n, self.allocate)
            while (
                found.delta > finest and self._predicted(found) > error
            ):  # the planner's formula is for large n
                found = replace(found, delta=found.delta - 1)
            self._check_reached(error, found)
            return found
        low, high = 0.0, 16.0 + 2048.0 / self.entries  # every chunk has a head
        best = self._within(high * self.entries)
        self._check_reached(error, self._with_gain(self._keyed(best)))
        for _ in range(_BISECTIONS):
            self.rate = (low + high) / 2.0
            trial = self._with_gain(self._keyed(self._within(self.rate * self.entries)))
            if self._predicted(trial) <= error:
                high, best = self.rate, replace(trial, code=replace(trial.code, gain=1.0, power=1.0))
            else:
                low = self.rate
        self.rate = high
        return best

    def _check_reached(self, error: float, p: Parameters) -> None:
        least = self._predicted(p)
        if least > error:
            raise UsageError(
                f"{self.where}: no rate has a predicted product error of {error:g} with these options (lattice, coding, kappa); "
                f"the least is {least:.3g}"
            )

    def _predicted(self, p: Parameters) -> float:
        """Predicted error of a product with an unrelated partner coded alike."""
        histogram = norms.Histogram.of(self.codes)
        side = Side(self.codes, histogram, p.scales(histogram).noise, p.n, p.kappa)
        return expected_error(side, side, "mmse")

    def _adjusted(self, parameters: Parameters, excess: float, attempt: int) -> Parameters | None:
        """Parameters for another try, None if this one is good: at most the rate, and within half a percent of it."""
        if parameters.coding is VORONOI:
            wanted = self.entries * self.rate
            return nest.adjust(parameters, self._alive, excess, wanted, attempt, self.options.kappa)
        coded = self._coded(parameters)
        if coded == 0 or (excess <= 0 and (-excess < 0.005 * self.rate * self.entries or attempt)):
            return None
        step = math.ceil(4096.0 * (excess / coded)) + (1 if excess > 0 else 2)
        limit = allocate.finest_delta(self.codes, self.n, parameters.allocate)
        delta = max(parameters.delta + step, limit)
        return None if delta == parameters.delta else replace(parameters, delta=delta)

    def _coded(self, parameters: Parameters) -> int:
        """Number of entries that are coded."""
        p = parameters
        tally = self.tally
        s = scale.scaling(tally.codes, self.n, self.lattice, p.delta, p.allocate, p.lowest_class)
        return int(tally.counts[s.kept].sum()) * p.m

    def _header(self, parameters: Parameters) -> TensorHeader:
        return TensorHeader(parameters, self.axis, self.rate, ALPHA, self.total, self.digest)

    def _code(self, parameters: Parameters, side) -> int:
        """Write all records of the tensor; return the bytes that the rate counts."""
        writer = self.writer
        parameters = self._keyed(parameters)
        if parameters.coding is VORONOI:
            parameters = self._with_gain(parameters)
        writer.write("TENS", self._header(parameters).pack())
        for kind, payload in side:
            writer.write(kind, payload)
        for record, _ in self._chunks(parameters, self.progress):
            writer.add(record)
        return writer.projected_size() if self.whole_file else writer.tensor_bytes()

    def _keyed(self, parameters: Parameters) -> Parameters:
        """The parameters with their dither key.

        The key follows from what is coded and what is asked, not from the parameters that coding ends up with: to draw
        another dither for every try, and to keep the one whose file fits, would favor small points and bias the estimate.
        """
        fields = self._header(parameters).fields()
        for outcome in ("rate", "kept", "delta", "lowest_class", "nesting"):
            del fields[outcome]
        options = self.options
        fields["asked"] = [
            options.max_bytes,
            options.error,
            None if options.max_bytes else options.rate,
            options.kappa,
        ]
        key = dither.key(options.seed, self.digest, self.tensor.name, pack_fields(fields))
        return replace(parameters, dither_key=key)

    def _with_gain(self, parameters: Parameters) -> Parameters:
        """Measure the gain and the power of a Voronoi code on its first panel: its header stands before its chunks."""
        cross = square = 0
        for _, moments in self._chunks(parameters, None, panel_limit=1):
            cross += moments[0]
            square += moments[1]
        energy, exponent = self.first_energy
        codes = self.codes[: len(energy)]
        octave = norms.reference(codes) >> 8
        loud = codes != norms.ZERO
        shift = np.clip(2 * exponent.astype(np.int64) - octave, -1000, 1000)
        actual = np.ldexp(energy, shift.astype(np.int32))
        ratio = total(actual[loud] / norms.energy(codes, octave << 8)[loud])
        energy = ratio * parameters.m * float(scale.ratio(np.int64(-2 * parameters.delta), self.n))
        return replace(parameters, code=nest.with_gain(parameters, energy, cross, square))

    def _chunks(self, parameters: Parameters, progress, panel_limit: int | None = None):
        """Code all chunks in order: (record, moments)."""
        encoder = Encoder(parameters, self.codes, self.means)
        panels = encoder.panels[:panel_limit]
        entries = sum(panel.kept for panel in panels) * parameters.m
        chunks = (chunk for panel in panels for chunk in panel.chunks)
        for chunk, coded in zip(chunks, self._coded_panels(encoder, panels)):
            yield coded
            if progress is not None:
                progress(self.tensor.name, self.tensor.nbytes / 2 * (chunk.count / entries))

    def _coded_panels(self, encoder: Encoder, panels):
        bfloat16, pool = self.tensor.dtype == "bfloat16", self.pool

        def code(opened, chunk, u):
            points = pool.local.array("points", (encoder.working_points(chunk),), np.int32)
            sections, moments = encoder.encode_chunk(opened, chunk, u, points)
            return seal("CHNK", *chnk.pack(encoder.parameters.coding.name, sections)), moments

        def read_and_code(place):
            return code(*place, chunk_stream(self.view, bfloat16, encoder, *place, pool))

        opened_panels = map(encoder.open_panel, panels)
        for alone, group in groupby(opened_panels, lambda opened: by_chunks(self.view, encoder, opened)):
            if alone:
                yield from pool.map(
                    read_and_code, ((opened, chunk) for opened in group for chunk in opened.panel.chunks)
                )
                continue
            for opened in group:
                panel = opened.panel
                stream = pool.buffers.array("stream", (panel.kept, encoder.parameters.m), np.float32)
                fill_stream(self.view, bfloat16, encoder, opened, stream, pool)

                def code_piece(chunk, opened=opened, flat=stream.reshape(-1)):
                    return code(opened, chunk, flat[chunk.start : chunk.start + chunk.count])

                yield from pool.map(code_piece, panel.chunks)

    def _warn_if_nothing_is_left(self, parameters: Parameters) -> None:
        if not self._coded(parameters) and self._alive:
            self.warnings.append(
                f"{self.where}: {self.rate:g} bits per entry leave room for nothing but the means of its "
                f"{self.columns} vectors of {self.n} entries"
            )

    def _warn_about_side_information(self, side) -> None:
        bits = 8.0 * sum(len(payload) for _, payload in side) / self.entries
        self.warnings.append(
            f"{self.where}: its {self.columns} vectors have only {self.n} entries each; norms and means alone take "
            f"{bits:.2g} bits an entry of the {self.rate:g} asked for (try the other --axis, or --no-center)"
        )
