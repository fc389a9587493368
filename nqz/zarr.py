"""Arrays of Zarr whose chunks are compressed with loss: a codec for version 3 of the format, and what says its error.

>>> import zarr
>>> from nqz.zarr import NqzCodec
>>> zarr.create_array(store, shape=(4096, 1000), chunks=(4096, 100), dtype="float32", serializer=NqzCodec(rate=4))

It is found by its name, "nqz", when an array is opened. Each chunk is a container by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec

from nqz._version import __version__
from nqz.api.blocks import Again, check_options, decode_block, encode_block
from nqz.api.container import open as open_container
from nqz.ground.errors import InputError, NqzError, UsageError

__all__ = ["NqzCodec", "annotate"]


@dataclass(frozen=True)
class NqzCodec(ArrayBytesCodec):  # type: ignore[misc]  # where mypy sees no zarr
    """Chunks of floating-point numbers at so many bits an entry, or with such an error.

    Parameters
    ----------
    rate, error, max_bytes
        One of them, as in `nqz.encode`, for each chunk.
    axis : int
        The axis of a chunk along which its vectors lie, and over which products sum: 0 for columns.
    lattice, states, coding, window, allocate, center, kappa, partner, seed
        See `nqz.encode`.

    Raises
    ------
    UsageError
        None of `rate`, `error` and `max_bytes`, or more than one; another option makes no sense; the array has no such
        axis, or is of another type than float16, float32 and float64.
    UnsupportedError
        When a chunk is written: it has NaN or infinite entries, elsewhere than at its ends.
    CorruptError
        When a chunk is read: it is damaged, or another array's.

    Notes
    -----
    What is written is meant to be written once: a chunk that is changed in part is decoded, changed and coded again,
    which adds a second error to the first, and warns. What is constant along the ends of a chunk, as beyond the end of
    an array, takes no bits, and comes back exactly.
    """

    is_fixed_size = False

    rate: float | None = None
    error: float | None = None
    max_bytes: int | None = None
    axis: int = 0
    lattice: str = "conv"
    states: int | None = None
    coding: str = "entropy"
    window: str | int = "auto"
    allocate: str | None = None
    center: bool | None = None
    kappa: float | None = None
    partner: str | float = "equal"
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self.options(), self.axis)

    @classmethod
    def from_dict(cls, data: Any) -> NqzCodec:
        """Read the configuration that metadata have."""
        configuration = data.get("configuration", {})
        if not isinstance(configuration, Mapping):
            raise UsageError(f"the nqz codec has no configuration, but {configuration!r:.60}")
        unknown = set(configuration) - {field.name for field in fields(cls)}
        if unknown:
            raise UsageError(
                f"the nqz codec has no {min(unknown)!r}: the array is of a later release, or no array of nqz"
            )
        return cls(**configuration)

    def to_dict(self) -> dict[str, Any]:
        """What metadata keep: all that differs from the defaults."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return {
            "name": "nqz",
            "configuration": {name: value for name, value in kept.items() if value != defaults[name]},
        }

    def options(self) -> dict[str, Any]:
        """Those of `nqz.encode`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "axis"}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """See zarr."""
        native = dtype.to_native_dtype()
        if native.kind != "f" or native.itemsize > 8:
            raise UsageError(f"the nqz codec is for float16, float32 and float64, not {native}")
        if not -len(shape) <= self.axis < len(shape):
            raise UsageError(f"the nqz codec has axis={self.axis}, and the array {len(shape)} of them")

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        array = decode_block(
            chunk_data.to_bytes(), self.axis, chunk_spec.shape, chunk_spec.dtype.to_native_dtype()
        )
        _again.remember(array)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(array)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def _encode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        array = chunk_data.as_numpy_array()
        _again.warn(array)
        data = encode_block(array, self.axis, self.options())
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """See zarr, which asks only codecs whose output has a fixed size."""
        raise UsageError("the size of what the nqz codec writes is known when it is written")


_again = Again()


def annotate(array: Any, original: Any = None) -> dict[str, Any]:
    """State the error of an array in its attributes.

    Parameters
    ----------
    array : zarr.Array
        It has the nqz codec, in version 3 of the format or in version 2, and is open for writing.
    original : array_like, optional
        What was written, of the same shape: the error is measured then. By default it is what its chunks predict,
        which is known of arrays without shards.

    Returns
    -------
    dict
        What has become the attribute "lossy_compression": family, algorithm and implementation, as has been proposed
        for the conventions CF, the settings of the codec, the rate in bits an entry, and ‖A − Â‖²/‖A‖².

    Raises
    ------
    UsageError
        It has another codec, or shards and no original; or the original has another shape.
    InputError
        A chunk cannot be read.

    Notes
    -----
    What is stated is true until something is written to the array; a codec does not see attributes, and cannot mend
    them. State it again then.
    """
    settings = _settings(array)
    if settings is None:
        raise UsageError(f"the array {array.name} has no nqz codec: there is no error of nqz to state")
    stated = {
        "family": "quantization",
        "algorithm": "rotated, dithered lattice quantization"
        if settings.get("coding") != "trellis"
        else "rotated, dithered trellis coding",
        "implementation": f"nqz {__version__}",
        **settings,
        "bits_per_entry": 8 * array.nbytes_stored() / max(1, array.size),
        **(_predicted(array) if original is None else _measured(array, original)),
    }
    array.attrs["lossy_compression"] = stated
    return stated


def _settings(array: Any) -> dict[str, Any] | None:
    """What the nqz codec of an array was told, inside of shards too, and in version 2 of the format."""
    for codec in getattr(array.metadata, "codecs", ()):
        for one in (codec, *getattr(codec, "codecs", ())):
            if isinstance(one, NqzCodec):
                found: dict[str, Any] = one.to_dict()["configuration"]
                return found
    compressor: Any = getattr(array.metadata, "compressor", None)
    if getattr(compressor, "codec_id", None) != "nqz":
        return None
    return {name: value for name, value in compressor.get_config().items() if name != "id"}


def _predicted(array: Any) -> dict[str, Any]:
    if array.shards is not None:
        raise UsageError(
            "what chunks predict is not read from shards; give the original, to measure the error"
        )
    errors = energy = 0.0
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    for at in np.ndindex(*array.cdata_shape):
        key = array.metadata.encode_chunk_key(at)
        data = sync((array.store_path / key).get(default_buffer_prototype()))
        if data is not None:
            try:
                with open_container(data.to_bytes()) as container:
                    for matrix in container.values():
                        squared = float(np.square(matrix.decode("float64")).sum())
                        energy += squared
                        errors += squared * getattr(matrix, "predicted_reconstruction", 0.0)
            except NqzError as error:
                raise InputError(f"{array.name}, chunk {key}: {error}") from error
    return {"relative_error": errors / energy if energy else 0.0, "relative_error_is": "predicted"}


def _measured(array: Any, original: Any) -> dict[str, Any]:
    if np.shape(original) != array.shape:
        raise UsageError(f"the original has shape {np.shape(original)}, and the array {array.shape}")
    errors = energy = 0.0
    step = (array.shards or array.chunks)[:1] or (1,)
    for first in range(0, array.shape[0] if array.shape else 1, step[0]):
        rows = slice(first, first + step[0])
        truth = np.asarray(original[rows], dtype=np.float64)
        errors += float(np.square(truth - np.asarray(array[rows], dtype=np.float64)).sum())
        energy += float(np.square(truth).sum())
    return {"relative_error": errors / energy if energy else 0.0, "relative_error_is": "measured"}
