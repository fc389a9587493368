"""The box "S": rotations, one module each. A transform is a `Transform` and a line of `_ALL`."""

from __future__ import annotations

from nqz.stages.transforms.hadamard2 import HADAMARD2
from nqz.stages.transforms.transform import TRANSFORMS, Transform

_ALL = (HADAMARD2,)

TRANSFORMS.update((transform.name, transform) for transform in _ALL)

DEFAULT = HADAMARD2

__all__ = ["DEFAULT", "TRANSFORMS", "Transform"]
