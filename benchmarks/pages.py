"""Pages of reports: bytes, and seconds beside those of inspect and of what is measured.

python benchmarks/pages.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import nqz

LAYERS, WIDTH = 42, 128
NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def model() -> dict[str, np.ndarray]:
    """A network of 42 layers: 296 tensors, 294 of them matrices."""
    rng = np.random.default_rng(0)
    tensors = {
        f"model.layers.{layer}.{'self_attn' if name[1] == '_' else 'mlp'}.{name}.weight": rng.standard_normal(
            (WIDTH, WIDTH), dtype=np.float32
        )
        for layer in range(LAYERS)
        for name in NAMES
    }
    tensors["model.embed_tokens.weight"] = rng.standard_normal((4 * WIDTH, WIDTH), dtype=np.float32)
    tensors["model.norm.weight"] = np.ones(WIDTH, np.float32)
    return tensors


def seconds(work) -> float:
    """Processor time of a call, the median of seven."""
    times = []
    for _ in range(7):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    tensors = model()
    data = nqz.encode(tensors, rate=3, axis=1)
    print(f"{len(tensors)} tensors, {sum(t.nbytes for t in tensors.values())} bytes -> {len(data)}")
    print("| | bytes | s |\n|---|---|---|")
    print(f"| `inspect` | | {seconds(lambda: nqz.inspect(data)):.3f} |")
    for what, options in (
        ("page", {}),
        ("page, measured", {"against": tensors}),
        ("card", {"format": "md"}),
    ):
        size = len(nqz.report(data, **options).encode())
        print(f"| {what} | {size} | {seconds(lambda options=options: nqz.report(data, **options)):.3f} |")
    print(f"| `compare` | | {seconds(lambda: nqz.compare(tensors, data)):.3f} |")


if __name__ == "__main__":
    main()
