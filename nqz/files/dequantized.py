"""Quantized tensors of .gguf files, decoded to float32 while they are read, some blocks at a time.

The package gguf decodes them (``pip install nqz[gguf]``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nqz.ground.errors import UnsupportedError

_PIECE = 1 << 16
"""Entries that are decoded at a time."""

_ITEM = 4


@dataclass(frozen=True)
class Quantization:
    """A type of quantized entries: its name, and the entries and bytes of a block."""

    number: int
    name: str
    block: int
    nbytes: int

    def decode(self, blocks: Any) -> Any:
        """The entries of whole blocks: uint8 to float32, both of one dimension."""
        import gguf

        with np.errstate(all="ignore"):  # what is not finite is found, and named, by who measures it
            return gguf.dequantize(blocks, gguf.GGMLQuantizationType(self.number))


def quantization(number: int, where: str) -> Quantization:
    """The type of a number.

    Raises
    ------
    UnsupportedError
        It is unknown, or the package that decodes it is not installed, or cannot do that; `where` begins the message.
    """
    try:
        return _known(number)
    except ImportError:
        why = "it takes the package gguf to decode it: pip install 'nqz[gguf]'"
    except (ValueError, KeyError):
        why = "the package gguf does not know it"
    except NotImplementedError:
        why = "the package gguf does not decode it"
    raise UnsupportedError(f"{where}: is quantized, of type {number}; {why}")


@lru_cache(maxsize=64)
def _known(number: int) -> Quantization:
    import gguf

    kind = gguf.GGMLQuantizationType(number)
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    found = Quantization(number, kind.name, int(block), int(nbytes))
    found.decode(np.zeros(nbytes, np.uint8))
    return found


class Dequantized:
    """Positioned reads of the entries of a quantized tensor, as if they were float32 in a file.

    Parameters
    ----------
    access : Access
        The file.
    offset : int
        Where the blocks begin in it.
    entries : int
        Number of entries, whole blocks.
    quantization : Quantization
    """

    def __init__(self, access: Any, offset: int, entries: int, quantization: Quantization) -> None:
        self._access, self._offset, self._entries, self._type = access, offset, entries, quantization

    def pread_into(self, buffer: Any, offset: int) -> None:
        """Fill a writable contiguous buffer with the bytes at `offset`."""
        out, done = np.frombuffer(buffer, np.uint8), 0
        kind = self._type
        step = max(1, _PIECE // kind.block)
        while done < len(out):
            first = (offset + done) // _ITEM // kind.block
            last = min(
                -(-(offset + len(out)) // _ITEM // kind.block), self._entries // kind.block, first + step
            )
            blocks = np.empty((last - first) * kind.nbytes, np.uint8)
            self._access.pread_into(blocks, self._offset + first * kind.nbytes)
            found = kind.decode(blocks).view(np.uint8)[offset + done - first * kind.block * _ITEM :]
            count = min(len(found), len(out) - done)
            out[done : done + count] = found[:count]
            done += count

    def view(self, offset: int, nbytes: int) -> None:
        """Return None: its entries are nowhere in memory."""
