"""Convolutional lattices: Construction A over rate-1/2 convolutional codes with 4 to 4096 states.

Each lane of a chunk runs one trellis from state 0 to any state; a block is a trellis step, two coordinates, and its
index the input bit. With memory v, reg = (state << 1) | input; the two code bits are the parities of reg masked by the
generators, and the next state is reg mod 2^v. A branch's label is 2 c0 + c1. All generators have their lowest and
highest bit set, so the two branches that leave a state, and the two that enter one, have complementary labels.

The nearest point is found by the Viterbi algorithm (Forney, The Viterbi algorithm, 1973).
"""

from __future__ import annotations

import numpy as np

from nqz.ground.cached import cached_property
from nqz.reference.arrays import Array, Ints
from nqz.reference.lattices import construction_a
from nqz.reference.lattices.contract import Lattice, chance, from_blocks, weight_of_all

# Generators by memory. They are part of the format.
GENERATORS = {
    2: (0o5, 0o7),
    3: (0o15, 0o17),
    4: (0o23, 0o35),
    5: (0o57, 0o75),
    6: (0o127, 0o165),
    7: (0o225, 0o367),
    8: (0o561, 0o753),
    9: (0o1131, 0o1537),
    10: (0o2117, 0o3315),
    11: (0o4335, 0o5723),
    12: (0o10243, 0o15035),
}

SECOND_MOMENTS = {
    2: 0.133214,
    3: 0.130512,
    4: 0.128745,
    5: 0.126984,
    6: 0.125715,
    7: 0.124786,
    8: 0.124165,
    9: 0.123648,
    10: 0.123181,
    11: 0.122947,
    12: 0.122543,
}

AHEAD = 3  # steps that chances of inputs may look ahead

FACTOR, SHIFT = 11, 7  # of branch metrics: in fixed point of 1/256, they are scaled by 11/128
FURTHEST = 80  # metric above the least one, where a lane begins


class Convolutional(Lattice):
    """The lattice of the code with 2^memory states.

    Attributes
    ----------
    memory : int
    window, ahead : int
        Trellis steps that a window of the search decides, and those that it looks ahead.
    """

    fine, block, code_bits = 8, 2, 1

    def __init__(self, memory: int) -> None:
        self.memory, self.number, self.name = memory, 32 + memory, f"conv{1 << memory}"
        self.second_moment = SECOND_MOMENTS[memory]
        self.window, self.ahead = 1024, 64 * memory

    @cached_property
    def label(self) -> Ints:
        """Label of every value of reg, int64 [2^(memory + 1)]."""
        reg = np.arange(2 << self.memory)
        c0, c1 = (parity_of(reg & generator) for generator in GENERATORS[self.memory])
        found: Ints = 2 * c0 + c1
        return found

    def quantize(self, x: Ints, lanes: int, unit: int) -> Ints:
        """Return the nearest points, up to the windows of the search and its metrics, which are for dithered `x`."""
        return self._found(x, lanes, unit, exact=False)

    def nearest(self, x: Ints, lanes: int, unit: int) -> Ints:
        """See `Lattice.nearest`."""
        return self._found(x, lanes, unit, exact=True)

    def _found(self, x: Ints, lanes: int, unit: int, *, exact: bool) -> Ints:
        even, cost, toward = construction_a.nearest_even(x.reshape(-1, lanes), unit)
        odd = self.code_bits_of(self.search(cost // 2, exact=exact))
        nearest: Ints = even + odd * toward
        return nearest.reshape(-1)

    def index_of(self, point: Ints) -> Ints:
        """Return the inputs of the path whose first code bits are the parities of the first coordinates."""
        first = point[..., 0] & 1
        index, state = np.empty_like(first), np.zeros_like(first[0])
        for t, c0 in enumerate(first):
            index[t] = c0 ^ self.label[state << 1] >> 1
            state = self.next_state(state, index[t])
        return index

    def next_state(self, state: Ints, index: Ints) -> Ints:
        """Return the last inputs, as many as the memory holds."""
        after: Ints = (state << 1 | index) & ((1 << self.memory) - 1)
        return after

    def branch(self, state: Ints, above: Ints) -> Ints:
        """Return the label of the branch of an input of zero."""
        label: Ints = self.label[state << 1]
        return label

    def residues(self, state: Ints, index: Ints) -> Ints:
        """Return the two code bits."""
        label = self.label[state << 1 | index]
        return np.stack([label >> 1, label & 1], axis=-1)

    def chances(self, weight: Ints) -> list[Ints]:
        """Compare the weights of the two branches, whose labels are complementary, by the label of that of a zero."""
        zero = self.label_weights(weight)
        return [chance(zero, zero[..., ::-1])]

    def label_weights(self, weight: Ints) -> Ints:
        """Return the weights [T, lanes, 4] of the four labels of steps from those of residues [T, lanes, 2, 2]."""
        first, second = weight[:, :, 0], weight[:, :, 1]
        labels = [weight_of_all([first[..., label >> 1], second[..., label & 1]]) for label in range(4)]
        return np.stack(labels, axis=-1)

    def chance_ahead(self, weight: Ints, state: Ints) -> Ints:
        """Return the 12-bit chance of an input of one by the weights of all paths over it and the steps that follow.

        Parameters
        ----------
        weight : numpy.ndarray
            int64 [1 + AHEAD, ..., 4]: weights of the labels of the step and of those that follow.
        state : numpy.ndarray
            int64 [...], before the step.
        """
        paths = [self.paths(weight[j], state, j) for j in range(1 + AHEAD)]
        total = (paths[-1][0::2] >> 1) + (paths[-1][1::2] >> 1)
        for step in reversed(paths[1:-1]):
            later = step * total >> 17
            total = later[0::2] + later[1::2]
        zero, one = paths[0] * total >> 16 | 1
        return chance(zero, one)

    def paths(self, weight: Ints, state: Ints, step: int) -> Ints:
        """Return the weights [2^(step + 1), ...] of the labels of a step by the inputs since `state`, first highest."""
        inputs = np.arange(2 << step).reshape(-1, *[1] * state.ndim)
        label = self.label[(state << (step + 1) | inputs) & (2 << self.memory) - 1]
        return np.take_along_axis(weight[None], label[..., None], axis=-1)[..., 0]

    def search(self, half: Ints, *, exact: bool = False) -> Ints:
        """Return the inputs of the path of least cost (the Viterbi algorithm with truncated survivors).

        Metrics are modulo 256: only their differences count, which are small, unless what is to be quantized lies in a
        small part of the cells about points, step after step, as nothing does that is dithered. The steps of a window
        are decided by following back the decisions from the best state at the end of its look-ahead. Any inputs are a
        path, so two windows need not agree on the state between them.

        Parameters
        ----------
        half : numpy.ndarray
            int64 [2 T, lanes]: half of what a one costs more than a zero, for every coordinate, in 1/256.
        exact : bool
            Whether metrics are the costs themselves, as integers of 64 bits.

        Returns
        -------
        numpy.ndarray
            int64 [T, lanes].
        """
        steps, lanes = half.shape[0] // 2, half.shape[1]
        states = 1 << self.memory
        label = self.label.reshape(2, states)
        sums = (half[0::2] + sign * half[1::2] for sign in (1, -1))
        plus, minus = sums if exact else map(branch_metric, sums)
        branch = np.stack([-plus, -minus, minus, plus], axis=1)
        inputs = np.empty((steps, lanes), dtype=np.int64)
        lane = np.arange(lanes)
        metric = np.zeros((states, lanes), dtype=np.int64)
        decisions: list[Array] = []  # of the steps from the window's first on
        for first in range(0, steps, self.window):
            end, keep = min(steps, first + self.window + self.ahead), min(steps, first + self.window)
            for t in range(first + len(decisions), end):
                if t < self.memory:  # one branch leads to each state, from the lower half
                    metric = metric[np.arange(states) >> 1] + branch[t][self.label[:states]]
                    decisions.append(np.zeros((-(-states // 8), lanes), np.uint8))
                    continue
                if t == self.memory and not exact:
                    metric = settled(metric)
                lower, upper = metric.reshape(2, -1, lanes).repeat(2, axis=1)
                a = lower + branch[t][label[0]]
                b = upper + branch[t][label[1]]
                less = b - a < 0
                decisions.append(np.packbits(less, axis=0, bitorder="little"))
                metric = np.where(less, b, a)
            if end <= self.memory:
                metric = metric[: 1 << end] if exact else settled(metric[: 1 << end])
            back = np.argmin(metric - metric[0], axis=0)
            for t in range(end - 1, first - 1, -1):
                if t < keep:
                    inputs[t] = back & 1
                bit = decisions[t - first][back >> 3, lane] >> (back & 7) & 1
                back = back >> 1 | bit.astype(np.int64) << (self.memory - 1)
            del decisions[: keep - first]
        return inputs

    def code_bits_of(self, inputs: Ints) -> Ints:
        """Return the code bits [2 T, lanes] of the path with these inputs [T, lanes]."""
        state = np.zeros_like(inputs)
        for i in range(1, self.memory + 1):
            state[i:] |= inputs[:-i] << (i - 1)
        bits: Ints = from_blocks(self.residues(state, inputs))
        return bits.reshape(-1, inputs.shape[1])


def branch_metric(cost: Ints) -> Array:
    """Return metrics of branches, int8."""
    metric: Array = (FACTOR * cost + (1 << SHIFT - 1) >> SHIFT).astype(np.int8)
    return metric


def settled(metric: Ints) -> Array:
    """Return metrics above the least, int8, those far above it cut off."""
    above: Array = np.minimum(metric - metric.min(axis=0), FURTHEST).astype(np.int8)
    return above


def parity_of(values: Ints) -> Ints:
    """Return the parities of the numbers of ones."""
    parity: Ints = np.bitwise_xor.reduce([values >> i & 1 for i in range(16)])
    return parity


LATTICES = [Convolutional(memory) for memory in GENERATORS]
