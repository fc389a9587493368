"""Find, check and time the constants of the ring code, those of nqz/reference/codings/ring_codes.py.

usage: python benchmarks/ring_codes.py find --bits 2 --window 12 [--seconds 120] [--seed 1] [--from-known]
              [--labels 8]
       python benchmarks/ring_codes.py check [--bits 1,1.5,...] [--window 0,12,14,16] [--columns 256]
       python benchmarks/ring_codes.py speed [--bits 1,2,3,4] [--window 0,16] [--columns 64]

`find` draws generators at random within the rules of `RingForm`, keeps the best, changes them bit by bit while that
helps, and fits the table to what is coded (Lloyd's steps) before it is rounded to integers; it prints the form, with
what was measured on draws that chose nothing. `--from-known` begins with the constants that there are, `--labels`
asks for another number of bits of a label than these have. `check` measures these on fresh draws: excess is R + ½ log2
D, its standard error that of as many columns. `speed` times the encoder and the decoder of every instruction set on one
thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np

from nqz import kernels
from nqz.reference.codings.ring import RingCode as ReferenceCode
from nqz.reference.codings.ring import dither_of, labels_of, unpack
from nqz.reference.codings.ring_codes import BITS2, RingForm, form_of

N = 4096
STRETCH = {2: 1.0, 3: 1.02, 4: 1.03, 5: 1.06, 6: 1.1, 7: 1.12, 8: 1.15}
"""Of the Gaussian's quantiles, with which the table begins."""

DITHER = kernels.words(kernels.Key(5, 6), 0, 8192).view(np.uint8)


def quantile(p: float) -> float:
    """Where a standard Gaussian is below with probability p."""
    low, high = -9.0, 9.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * np.vectorize(_erfc)(-middle / np.sqrt(2)) < p else (low, middle)
    return low


def _erfc(x: float) -> float:
    from math import erfc

    return erfc(x)


def with_table(form: RingForm, upper) -> RingForm:
    """The form with a table in standard deviations, rounded to integers."""
    upper = np.sort(np.maximum(upper, 0.0))
    top = 63 if form.bits2 <= 4 else 127
    unit = top / upper[-1]
    return dataclasses.replace(
        form, half=tuple(int(v) for v in np.rint(upper * unit)), unit=float(f"{unit:.4f}")
    )


class Draw:
    """Gaussian columns, and what a form makes of them."""

    def __init__(self, seed: int, columns: int) -> None:
        self.u = np.random.default_rng(seed).standard_normal((columns, N)).astype(np.float32)
        self.columns = columns
        self.energy = (self.u.astype(np.float64) ** 2).sum(axis=1)

    def code(self, form: RingForm, module=kernels):
        """The bytes, the moments [columns, 3] and the seconds of coding."""
        forms = [form if bits2 == form.bits2 else form_of(bits2, 0) for bits2 in BITS2]
        code = module.RingCode(0, DITHER, forms)
        lengths, bits2 = np.full(self.columns, N, np.int64), np.full(self.columns, form.bits2, np.int32)
        out = np.empty(self.columns * kernels.ring_bytes(N, form.bits2), np.uint8)
        moments = np.empty((self.columns, 3), np.int64)
        begin = time.process_time()
        module.ring_encode(code, lengths, bits2, 0, self.u.reshape(-1), N, out, moments)
        return out, moments, time.process_time() - begin, (code, lengths, bits2)

    def excess(self, form: RingForm) -> float:
        """R + ½ log2 D at the best scale of all columns together."""
        _, moments, _, _ = self.code(form)
        cross, square = moments[:, 0].sum() / 4096, moments[:, 1].sum()
        return form.bits2 / 2 + 0.5 * np.log2(1 - cross * cross / (self.energy.sum() * square))

    def centers(self, form: RingForm):
        """Upper half of a table whose values are the means of the entries coded with them."""
        out, _, _, _ = self.code(form)
        count, total = np.zeros(1 << form.labels), np.zeros(1 << form.labels)
        whole = ReferenceCode(0, DITHER)
        for j, data in enumerate(out.reshape(self.columns, -1)):
            z = dither_of(whole, form, j, N // 32)
            index = (labels_of(form, unpack(data, form.bits2, N // 32)) ^ z).reshape(-1)
            count += np.bincount(index, minlength=count.size)
            total += np.bincount(index, weights=self.u[j].astype(np.float64), minlength=count.size)
        half = count.size // 2
        both = count[half:] + count[:half][::-1]
        mean = total[half:] - total[:half][::-1]
        prior = np.array(form.half) / form.unit
        return (mean + 20 * prior) / (both + 20)

    def fitted(self, form: RingForm, rounds: int) -> RingForm:
        """The form after so many of Lloyd's steps, if they help."""
        best, least = form, self.excess(form)
        for _ in range(rounds):
            form = with_table(form, self.centers(form))
            excess = self.excess(form)
            if excess < least:
                best, least = form, excess
        return best


def masks(bits2: int, window: int, kind: int, labels: int) -> list[int]:
    """Which bits of each generator may be chosen."""
    bits, memory, low = bits2 // 2 + kind, window - (bits2 + 1) // 2, labels - bits2 // 2 - kind
    every, few = (1 << low) - 1, (1 << min(low, 4)) - 1
    middle = [few if i < bits + 4 else (1 << labels) - 1 for i in range(bits, memory)]
    return [every] * bits + middle + [0] * bits


def drawn(rng, bits2: int, window: int, label_bits: int) -> RingForm:
    """A form with generators at random."""
    generators = []
    for kind in range(1 + bits2 % 2):
        bits, memory, low = bits2 // 2 + kind, window - (bits2 + 1) // 2, label_bits - bits2 // 2 - kind
        fixed = [1 << low + i for i in range(bits)] + [0] * (memory - bits)
        fixed += [1 << label_bits - 1 - i for i in range(bits)]
        allowed = masks(bits2, window, kind, label_bits)
        generators.append(tuple(f | int(rng.integers(256)) & m for f, m in zip(fixed, allowed, strict=True)))
    labels = 1 << label_bits
    upper = np.array([quantile((h + 0.5) / labels) for h in range(labels // 2, labels)])
    upper *= STRETCH[bits2] * np.sqrt((1 - 1.15 * 2.0**-bits2) / np.mean(upper**2))
    blank = RingForm(
        bits2, window, label_bits, tuple(generators), (0,) * (labels // 2), 1.0, 2.0**-bits2, 1.0, 0.0
    )
    return with_table(blank, upper)


def changed(rng, form: RingForm) -> RingForm:
    """The form with one or two labels of its generators changed."""
    generators = [list(g) for g in form.generators]
    for _ in range(1 + int(rng.integers(3) == 0)):
        kind = int(rng.integers(len(generators)))
        allowed = masks(form.bits2, form.window, kind, form.labels)
        i = int(rng.choice([i for i, m in enumerate(allowed) if m]))
        if rng.integers(2):
            generators[kind][i] ^= 1 << int(rng.choice([b for b in range(8) if allowed[i] >> b & 1]))
        else:
            generators[kind][i] ^= int(rng.integers(256)) & allowed[i]
    return dataclasses.replace(form, generators=tuple(tuple(g) for g in generators))


def measured(form: RingForm, columns: int, seed: int) -> tuple[RingForm, float, float]:
    """The form with what it does to fresh columns, the excess, and its standard error."""
    draw = Draw(seed, columns)
    _, moments, _, _ = draw.code(form)
    cross, square = moments[:, 0] / 4096, moments[:, 1].astype(np.float64)
    distortion = 1 - cross.sum() ** 2 / (draw.energy.sum() * square.sum())
    each = 1 - cross**2 / (draw.energy * square)
    error = 0.5 / np.log(2) * each.std() / each.mean() / np.sqrt(columns)
    gain = cross.sum() / draw.energy.sum()
    along = N * np.var(cross / draw.energy) / gain**2
    form = dataclasses.replace(
        form,
        distortion=float(f"{distortion:.6f}"),
        gain=float(f"{gain:.4f}"),
        along=float(f"{along:.5f}"),
    )
    return form, form.bits2 / 2 + 0.5 * np.log2(distortion), error


def line(form: RingForm) -> str:
    """The form, as a line to be put into `nqz/reference/codings/ring_tables.py`."""
    numbers = ", ".join(map(str, (form.unit, form.distortion, form.gain, form.along)))
    generators = ", ".join(map(str, form.generators))
    return f"    ({form.bits2}, {form.window}): ({form.labels}, ({generators},), {form.half}, {numbers}),"


def find(bits2: int, window: int, seconds: float, seed: int, known: bool, labels: int | None) -> None:
    """Print the best form that is found in the time."""
    rng = np.random.default_rng(seed)
    begin = time.process_time()
    passed = lambda: (time.process_time() - begin) / seconds  # noqa: E731
    quick, sure = Draw(100 + seed, 24), Draw(200 + seed, 128)
    best = form_of(bits2, window)
    if not known:
        label_bits = best.labels if labels is None else labels
        first: list[tuple[float, int, RingForm]] = []
        while passed() < 0.25 or len(first) < 4:
            form = drawn(rng, bits2, window, label_bits)
            first.append((quick.excess(form), len(first), form))
        first.sort()
        candidates = [(sure.excess(f), i, f) for _, i, f in first[: 4 + len(first) // 30]]
        print(f"{len(first)} drawn: {first[0][0]:.4f} to {first[-1][0]:.4f}", flush=True)
        best = sure.fitted(min(candidates)[2], 3)
    least, rough, accepted, tried = sure.excess(best), quick.excess(best), 0, 0
    while passed() < 0.9:
        form = changed(rng, best)
        tried += 1
        coarse = quick.excess(form)
        if coarse > rough + 0.0005:
            continue
        excess = sure.excess(form)
        if excess < least:
            best, least, rough, accepted = form, excess, coarse, accepted + 1
            if accepted % 6 == 0:
                best = sure.fitted(best, 1)
                least, rough = sure.excess(best), quick.excess(best)
    best = Draw(300 + seed, 128).fitted(best, 3)
    form, excess, error = measured(best, 256, 31337)
    print(f"{tried} changes tried, {accepted} taken; fresh draws: excess {excess:.4f} ± {error:.4f}")
    print(line(form), flush=True)


def main() -> None:
    """Do what is asked on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["find", "check", "speed"])
    parser.add_argument("--bits", default="1,1.5,2,2.5,3,3.5,4")
    parser.add_argument("--window", default="0")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--columns", type=int, default=256)
    parser.add_argument("--labels", type=int)
    parser.add_argument("--from-known", action="store_true")
    given = parser.parse_args()
    for window in map(int, given.window.split(",")):
        for bits2 in (round(2 * float(b)) for b in given.bits.split(",")):
            form = form_of(bits2, window)
            if given.what == "find":
                find(bits2, form.window, given.seconds, given.seed, given.from_known, given.labels)
            elif given.what == "check":
                fresh, excess, error = measured(form, given.columns, 424242)
                stated = bits2 / 2 + 0.5 * np.log2(form.distortion)
                print(
                    f"{bits2 / 2} bits, window {form.window}, {1 << form.labels} values: excess {excess:.4f} ± "
                    f"{error:.4f} (stated {stated:.4f}), gain {fresh.gain:.4f} (stated {form.gain:.4f}), along "
                    f"{fresh.along:.5f} (stated {form.along:.5f})",
                    flush=True,
                )
            else:
                draw = Draw(7, given.columns)
                for name, module in kernels.implementations().items():
                    if name == "reference":
                        continue
                    out, _, seconds, (code, lengths, twice) = draw.code(form, module)
                    points = np.empty(draw.u.size, np.int32)
                    begin = time.process_time()
                    module.ring_decode(code, lengths, twice, 0, out, points)
                    back = time.process_time() - begin
                    ahead, behind = draw.u.size / seconds / 1e6, draw.u.size / back / 1e6
                    rates = f"{ahead:.2f} M entries/s coded, {behind:.0f} decoded"
                    print(f"{bits2 / 2} bits, window {form.window}, {name}: {rates}", flush=True)


if __name__ == "__main__":
    main()
