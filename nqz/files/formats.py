"""The formats of files of matrices, one line each."""

from __future__ import annotations

from nqz.files.contract import Format, Reader
from nqz.files.gguf import GGUF
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
"""Those that are written, by the name of their kind."""

READERS: tuple[Reader, ...] = (
    GGUF,
    *FORMATS.values(),
)
"""Those that are read; told apart by content in this order."""
