"""The codec of chunks for version 2 of Zarr, and all else that has codecs of the package numcodecs.

>>> from nqz.numcodecs import Nqz
>>> zarr.create_array(store, …, zarr_format=2, compressors=Nqz(rate=4))
"""

from __future__ import annotations

from typing import Any

from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy

from nqz.api.blocks import MOST, Again, check_options, decode_block, encode_block
from nqz.ground.errors import UsageError

__all__ = ["Nqz"]

_again = Again()


class Nqz(Codec):  # type: ignore[misc]
    """Chunks of floating-point numbers at so many bits an entry, or with such an error.

    Parameters
    ----------
    axis : int
        The axis of a chunk along which its vectors lie.
    **options
        Those of `nqz.encode`: one of `rate`, `error` and `max_bytes`, and `lattice`, `states`, `coding`, `window`,
        `allocate`, `center`, `kappa`, `partner` and `seed`.

    Raises
    ------
    UsageError
        None of `rate`, `error` and `max_bytes`, or more than one, or another option makes no sense.
    """

    codec_id = "nqz"

    def __init__(self, axis: int = 0, **options: Any) -> None:
        check_options(options, axis)
        self.axis, self.options = axis, options

    def encode(self, buf: Any) -> bytes:
        """Compress an array; what is constant along its ends, as beyond the end of an array, comes back exactly.

        Parameters
        ----------
        buf : array_like
            Of float16, float32 or float64, of any shape but ().

        Returns
        -------
        bytes
            A container.

        Raises
        ------
        UsageError
            It is of another type.
        UnsupportedError
            It has NaN or infinite entries, elsewhere than at its ends.
        """
        array = ensure_ndarray(buf)
        if array.dtype.kind != "f" or array.dtype.itemsize > 8 or array.ndim == 0:
            raise UsageError(
                f"the nqz codec is for arrays of float16, float32 and float64, not {array.dtype}"
            )
        _again.warn(array)
        return encode_block(array, self.axis, self.options)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Rebuild the array.

        Parameters
        ----------
        buf : bytes-like
            What `encode` gave.
        out : ndarray, optional
            Where to put it, of as many bytes.

        Returns
        -------
        ndarray
            Of the shape and type of what was compressed, or `out`.

        Raises
        ------
        UsageError
            `out` has room for another number of bytes.
        CorruptError
            The data is damaged, or no such block.
        """
        most = MOST if out is None else ensure_ndarray(out).nbytes
        array = decode_block(bytes(ensure_ndarray(buf).data), self.axis, most=most)
        if out is not None and array.nbytes != most:
            raise UsageError(f"a chunk of {array.nbytes} bytes does not go into {most} bytes")
        _again.remember(array)
        return ndarray_copy(array, out)

    def get_config(self) -> dict[str, Any]:
        """What metadata keep: ``id``, ``axis`` and the options."""
        return {"id": self.codec_id, "axis": self.axis, **self.options}

    def __repr__(self) -> str:
        return f"Nqz({', '.join(f'{name}={value!r}' for name, value in self.get_config().items() if name != 'id')})"
