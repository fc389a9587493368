"""The formats of files of matrices, one line each."""

from __future__ import annotations

from nqz.files.contract import Format
from nqz.files.npy import NPY
from nqz.files.npz import NPZ
from nqz.files.safetensors import SAFETENSORS

FORMATS: dict[str, Format] = {
    format.kind.name: format
    for format in (
        NPY,
        NPZ,
        SAFETENSORS,
    )
}
"""By the name of their kind; told apart by content in this order."""
