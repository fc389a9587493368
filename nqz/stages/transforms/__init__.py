"""The box "S": rotations, one module each. A transform is a `Transform` and a line of `TRANSFORMS`."""

from __future__ import annotations

from nqz.stages.transforms.hadamard2 import HADAMARD2
from nqz.stages.transforms.transform import Transform

TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in (HADAMARD2,)}
"""By name."""

DEFAULT = HADAMARD2

__all__ = ["DEFAULT", "TRANSFORMS", "Transform"]
