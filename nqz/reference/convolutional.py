"""Convolutional lattices: Construction A over rate-1/2 convolutional codes with 4 to 4096 states.

Each lane of a chunk runs one trellis from state 0 to any state; trellis step t spans the lane's steps 2t and
2t + 1. With memory v, reg = (state << 1) | input; the two code bits are the parities of reg masked by the
generators, and the next state is reg mod 2^v. A branch's label is 2 c0 + c1. All generators have their lowest
and highest bit set, so the two branches that leave a state, and the two that enter one, have complementary
labels.
"""

from __future__ import annotations

import numpy as np

from nqz.reference.layout import CONVOLUTIONAL, require

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

FORBIDDEN = 1 << 40  # metric of the states in which a lane does not begin


def memory_of(lattice: int) -> int:
    """Return the memory of the code: the lattice has 2^memory states."""
    require(lattice in CONVOLUTIONAL, "not a convolutional lattice")
    return lattice - 32


def labels(memory: int) -> np.ndarray:
    """Return the label 2 c0 + c1 of every value of reg, int64 [2^(memory + 1)]."""
    reg = np.arange(2 << memory)

    def parity(mask: int) -> np.ndarray:
        bits = [reg >> i & 1 for i in range(memory + 1) if mask >> i & 1]
        return np.bitwise_xor.reduce(bits)

    g0, g1 = GENERATORS[memory]
    return 2 * parity(g0) + parity(g1)


def window_of(memory: int) -> tuple[int, int]:
    """Return the trellis steps that a window decides, and those that it looks ahead."""
    return 1024, 64 * memory


def search(memory: int, cost: np.ndarray) -> np.ndarray:
    """Return the inputs of the path of least cost (the Viterbi algorithm with truncated survivors).

    The steps of a window are decided by following back the decisions from the best state at the end of its
    look-ahead. Any inputs are a path, so two windows need not agree on the state between them.

    Parameters
    ----------
    memory : int
        Memory of the code.
    cost : numpy.ndarray
        int64 [2 T, lanes]: what a one costs more than a zero, for every step.

    Returns
    -------
    numpy.ndarray
        int64 [T, lanes].
    """
    steps, lanes = cost.shape[0] // 2, cost.shape[1]
    states = 1 << memory
    label = labels(memory).reshape(2, states)
    zero = np.zeros_like(cost[0::2])
    branch = np.stack([zero, cost[1::2], cost[0::2], cost[0::2] + cost[1::2]], axis=1)
    window, ahead = window_of(memory)
    inputs = np.empty((steps, lanes), dtype=np.int64)
    lane = np.arange(lanes)
    metric = np.full((states, lanes), FORBIDDEN, dtype=np.int64)
    metric[0] = 0
    decisions: list[np.ndarray] = []  # of the steps from the window's first on
    for first in range(0, steps, window):
        end, keep = min(steps, first + window + ahead), min(steps, first + window)
        for t in range(first + len(decisions), end):
            lower, upper = metric.reshape(2, -1, lanes).repeat(2, axis=1)
            a = lower + branch[t][label[0]]
            b = upper + branch[t][label[1]]
            decisions.append(np.packbits(b < a, axis=0, bitorder="little"))
            metric = np.minimum(a, b)
        back = np.argmin(metric, axis=0)
        for t in range(end - 1, first - 1, -1):
            if t < keep:
                inputs[t] = back & 1
            bit = decisions[t - first][back >> 3, lane] >> (back & 7) & 1
            back = back >> 1 | bit.astype(np.int64) << (memory - 1)
        del decisions[: keep - first]
    return inputs


def histories(memory: int, inputs: np.ndarray) -> np.ndarray:
    """Return the state before every trellis step [T, lanes] of a path with these inputs."""
    state = np.zeros_like(inputs)
    for i in range(1, memory + 1):
        state[i:] |= inputs[:-i] << (i - 1)
    return state


def code_bits(memory: int, inputs: np.ndarray) -> np.ndarray:
    """Return the code bits [2 T, lanes] of a path."""
    label = labels(memory)[histories(memory, inputs) << 1 | inputs]
    return np.stack([label >> 1, label & 1], axis=1).reshape(-1, inputs.shape[1])


def path_of(memory: int, parity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and states [T, lanes] of the path whose code bits are `parity` [2 T, lanes]."""
    label = labels(memory)
    inputs = np.empty_like(parity[0::2])
    state = np.zeros_like(parity[0])
    for t, c0 in enumerate(parity[0::2]):
        inputs[t] = c0 ^ label[state << 1] >> 1
        state = (state << 1 | inputs[t]) & ((1 << memory) - 1)
    return inputs, histories(memory, inputs)


def nearest_point(lattice: int, x: np.ndarray, unit: int) -> np.ndarray:
    """Return the lattice point nearest to the lanes of `x`, int64 [steps, lanes], in lattice units.

    Nearest up to the windows: each decides its steps with a look-ahead of 64 times the memory.
    """
    memory = memory_of(lattice)
    r = (x + unit) % (2 * unit) - unit
    even = (x - r) // unit
    odd = code_bits(memory, search(memory, unit - 2 * np.abs(r)))
    return even + np.where(odd == 1, np.where(r >= 0, 1, -1), 0)


def bit_probabilities(weights: np.ndarray) -> np.ndarray:
    """Return the 12-bit chance of a one for every trellis step and label of the branch of a zero.

    Parameters
    ----------
    weights : numpy.ndarray
        float64 [2, T, 2, lanes]: weight of each code bit at each of a trellis step's two steps.

    Returns
    -------
    numpy.ndarray
        int64 [T, lanes, 4].
    """
    first, second = weights[:, :, 0], weights[:, :, 1]
    with np.errstate(all="ignore"):
        zero = np.stack([first[label >> 1] * second[label & 1] for label in range(4)], axis=-1)
        one = zero[..., ::-1]
        total = zero + one
        p1 = np.clip(np.floor(4096 * (one / total) + 0.5), 1, 4095)
        return np.where(total == 0, 2048, p1).astype(np.int64)
