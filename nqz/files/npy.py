"""The .npy format: headers read with NumPy's own parser, written byte for byte the same by every NumPy."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nqz.files.access import Access
from nqz.files.contract import FileLayout, Format, Source, SourceTensor, TensorSpec
from nqz.ground.dtypes import data_bytes, from_numpy, to_npy_descr
from nqz.ground.errors import CorruptError, UnsupportedError, UsageError
from nqz.ground.sources import MAX_EXTENT, MAX_RANK, SOURCES
from nqz.ground.wording import counted

MAGIC = SOURCES["npy"].mark
_MAX_HEADER = 10_000  # NumPy's limit: parsing more could exhaust the stack of the interpreter
HEADER_BYTES = 12 + _MAX_HEADER
"""Bytes at the beginning of a file that a header may take."""
_ALIGN = 64
_NAMED_TYPE = re.compile(rb"""['"]descr['"]\s*:\s*['"]([A-Za-z_][A-Za-z0-9_]{,40})['"]""")
_GROWTH_DIGITS = 21


class NpyHeader(NamedTuple):
    """What the header of a .npy file says, and where in it the data begins."""

    shape: tuple[int, ...]
    dtype: str
    byte_order: str
    fortran_order: bool
    offset: int


class Npy(Format):
    """One array behind a header that is a Python literal."""

    kind = SOURCES["npy"]

    def read(self, access: Access, name: str) -> Source:
        """See `Format.read`."""
        start = bytearray(min(HEADER_BYTES, access.size))
        access.pread_into(start, 0)
        return Source(
            self.kind, name, [array_tensor(access, "", read_header(start, access.size, name))], None, access
        )

    def lay_out(self, specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> FileLayout:
        """See `Format.lay_out`."""
        if len(specs) != 1:
            raise UsageError(f"a .npy file holds one array, not {len(specs)}; write .safetensors")
        header = build_header(specs[0])
        return FileLayout([(0, header)], [len(header)], len(header) + specs[0].nbytes)


NPY = Npy()


def array_tensor(access: Access, name: str, header: NpyHeader, base: int = 0) -> SourceTensor:
    """Return the array of a .npy file that begins at byte `base` of what `access` reads."""
    return SourceTensor(
        access,
        name,
        header.shape,
        header.dtype,
        byte_order=header.byte_order,
        fortran_order=header.fortran_order,
        offset=base + header.offset,
    )


def read_header(start: bytes | bytearray, size: int, name: str) -> NpyHeader:
    """Read and check the header of a .npy file, and the size of the data behind it.

    Parameters
    ----------
    start : bytes
        The first `HEADER_BYTES` bytes of the file, or all of it.
    size : int
        Bytes of the file.
    name : str
        What messages call it.

    Raises
    ------
    CorruptError
        If the file is truncated, has trailing bytes, or its header makes no sense.
    UnsupportedError
        If its version or its data type is not supported.
    """
    if not start.startswith(MAGIC):
        raise CorruptError(f"{name}: is not a .npy file")
    if len(start) < 10:
        raise CorruptError(f"{name}: truncated: a .npy file has at least 10 bytes, this one {len(start)}")
    version = (start[6], start[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        text = f"{version[0]}.{version[1]}"
        raise UnsupportedError(f"{name}: .npy format version {text}; nqz reads 1.0, 2.0 and 3.0")
    prefix = 10 if version == (1, 0) else 12
    if len(start) < prefix:
        raise CorruptError(f"{name}: truncated: the .npy header ends at byte {len(start)}")
    (length,) = struct.unpack("<H" if prefix == 10 else "<I", start[8:prefix])
    if prefix + length > size:
        missing = prefix + length - size
        raise CorruptError(f"{name}: truncated: of the .npy header {counted(missing, 'byte', 'are')} missing")
    if length > _MAX_HEADER:
        raise UnsupportedError(f"{name}: a .npy header of {length} bytes; nqz reads up to {_MAX_HEADER}")
    shape, fortran_order, dtype = _parse(bytes(start[: prefix + length]), version, name)
    return _checked(size, name, shape, fortran_order, dtype, prefix + length)


def _parse(header: bytes, version: tuple[int, int], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(header)
    stream.seek(8)
    # Version 3.0 differs from 2.0 in the encoding of field names only, and there are none in what nqz takes.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files of Python 2, and about escapes in damaged text
            return read(stream, max_header_size=_MAX_HEADER)
    except Exception as error:  # the parser of Python literals raises nearly anything on damaged text
        named = _NAMED_TYPE.search(header) if "is not a valid dtype descriptor" in str(error) else None
        if named is not None:
            raise UnsupportedError(f"{name}: {_not_of_numpy(named[1].decode())}") from error
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CorruptError(f"{name}: the .npy header is damaged: {text}") from error


def _checked(
    size: int, name: str, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any], offset: int
) -> NpyHeader:
    if any(isinstance(extent, bool) or not 0 <= extent <= MAX_EXTENT for extent in shape):
        raise CorruptError(f"{name}: the .npy header has an impossible shape {str(shape)[:200]}")
    if len(shape) > MAX_RANK:
        raise UnsupportedError(f"{name}: an array of {len(shape)} dimensions; nqz takes up to {MAX_RANK}")
    known = from_numpy(dtype)
    if known is None:
        raise UnsupportedError(f"{name}: {unsupported_dtype(dtype)}")
    if to_npy_descr(*known) is None:  # NumPy takes its name once ml_dtypes is imported
        raise UnsupportedError(f"{name}: {_not_of_numpy(known[0])}")
    nbytes = data_bytes(shape, known[0])
    present = size - offset
    if present < nbytes:
        raise CorruptError(
            f"{name}: truncated: {counted(nbytes - present, 'data byte', 'are')} missing of {nbytes}"
        )
    if present > nbytes:
        raise CorruptError(
            f"{name}: {counted(present - nbytes, 'byte', 'follow')} the data, which ends at byte {offset + nbytes}"
        )
    return NpyHeader(tuple(shape), known[0], known[1], fortran_order, offset)


def _not_of_numpy(dtype: str) -> str:
    """Return why nqz does not take a .npy file whose header names a type by a name that NumPy does not know."""
    return (
        f"dtype {dtype!r} is none of NumPy's own; save it as .safetensors, or convert it: x.astype('float32')"
    )


def unsupported_dtype(dtype: np.dtype[Any]) -> str:
    """Return why nqz does not take arrays of a NumPy type, and what to do."""
    cast = "convert it with numpy.save('x.npy', x.astype('float32'))"
    if dtype.hasobject:
        return "holds Python objects, which nqz never loads; " + cast
    if dtype.names is not None:
        fields = ", ".join(map(repr, dtype.names))[:200]
        return f"has a structured dtype ({fields}); save each field as an array"
    if dtype.type is np.void:
        text = f"holds raw items of {counted(dtype.itemsize, 'byte')} (dtype {dtype.str[:40]})"
        if dtype.itemsize == 2 and dtype.subdtype is None:
            text += ", which is what numpy.save makes of bfloat16; save it as .safetensors"
            return text + ", or convert it with numpy.save('x.npy', x.astype('float32'))"
        return text + "; save it as a numeric type"
    text = f"dtype {str(dtype)[:80]} is not supported"
    if dtype.kind in "fcV":
        return f"{text}; {cast}"
    return f"{text}; nqz compresses float16, float32 and float64, and carries integers, booleans and complex numbers"


def build_header(spec: TensorSpec) -> bytes:
    """Return the bytes before the data of an array, those of `numpy.save` in NumPy 2.

    Written out here because NumPy's padding has changed between releases.

    Raises
    ------
    UnsupportedError
        If .npy has no such data type.
    """
    shape, fortran_order = tuple(spec.shape), spec.fortran_order
    descr = to_npy_descr(spec.dtype, spec.byte_order)
    if descr is None:
        where = f"tensor {spec.name!r}: " if spec.name else ""
        raise UnsupportedError(
            f"{where}a .npy file cannot hold {spec.dtype}; write .safetensors or choose float32"
        )
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran_order!r}, 'shape': {shape!r}, }}"
    if shape:
        text += " " * (_GROWTH_DIGITS - len(repr(shape[-1 if fortran_order else 0])))
    body = text.encode("latin1")
    for version, prefix in ((1, 10), (2, 12)):
        length = math.ceil((prefix + len(body) + 1) / _ALIGN) * _ALIGN - prefix
        if version == 2 or length <= 0xFFFF:
            break
    count = struct.pack("<H" if version == 1 else "<I", length)
    return MAGIC + bytes((version, 0)) + count + body.ljust(length - 1) + b"\n"
