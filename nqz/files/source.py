"""Opening what matrices are read from: files of any of the formats, pipes of them, and arrays in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from nqz.files.access import Access, MemoryAccess
from nqz.files.contract import Reader, Source, SourceTensor, Tensors
from nqz.files.foreign import refuse_foreign
from nqz.files.formats import READERS
from nqz.files.npy import NPY, unsupported_dtype
from nqz.files.opening import open_input
from nqz.ground.dtypes import from_numpy, is_matrix_dtype
from nqz.ground.errors import CorruptError, UnsupportedError
from nqz.ground.sources import READ, START_BYTES, listed
from nqz.ground.wording import counted


def open_source(source: Any) -> Source:
    """Open a file of matrices, its format told by content.

    Parameters
    ----------
    source : str, path-like or binary file object
        ``"-"`` is standard input.

    Raises
    ------
    InputError
        If it cannot be opened or read.
    CorruptError
        If it is of no known format, truncated, or damaged.
    UnsupportedError
        If it is a file of another kind, or holds something that nqz does not take, such as an unknown data type.
    """
    access = open_input(source)
    try:
        return read_source(access)
    except BaseException:
        access.close()
        raise


def read_source(access: Access) -> Source:
    """Read what an open input holds; the errors are those of `open_source`. The source takes over `access`."""
    refuse_foreign(access, f"a {listed()} file")
    known = format_of(access)
    if known is not None:
        return known.read(access, access.name)
    if access.size == 0:
        raise CorruptError(f"{access.name}: is empty; a {listed()} file is expected")
    neither = " nor ".join(f"a .{name}" for name in READ)
    raise CorruptError(f"{access.name}: is neither {neither} file, or it is truncated")


def format_of(access: Access) -> Reader | None:
    """The format that an input seems to be of, by its first bytes."""
    start = bytearray(min(START_BYTES, access.size))
    access.pread_into(start, 0)
    return next((known for known in READERS if known.sniff(start, access.size)), None)


def refuse_non_float(source: Tensors) -> None:
    """Raise `UnsupportedError`, naming the conversion to use, for a single array that is not of a type to compress.

    In a file of several tensors such a one is carried exactly.
    """
    if not source.kind.alone or is_matrix_dtype(source.tensors[0].dtype):
        return
    dtype = source.tensors[0].dtype
    if dtype.startswith("complex"):
        advice = "save its parts: numpy.save('re.npy', x.real), numpy.save('im.npy', x.imag)"
    else:
        # float32 holds integers of up to 24 bits exactly
        wide = dtype in ("int32", "int64", "uint32", "uint64")
        advice = f"convert it: numpy.save('x.npy', x.astype('{'float64' if wide else 'float32'}'))"
    raise UnsupportedError(f"{source.name}: dtype {dtype} cannot be compressed; {advice}")


def refuse_quantized(where: str, chosen: Iterable[SourceTensor]) -> None:
    """Raise `UnsupportedError` for tensors that are quantized already: coding them adds to the error that they have."""
    quantized = {one.whole_name: one.quantized for one in chosen if one.quantized is not None}
    if quantized:
        name, kind = next(iter(quantized.items()))
        raise UnsupportedError(
            f"{where}: {counted(len(quantized), 'tensor', 'are')} quantized already, such as {name!r}, {kind}; start "
            "from the original weights if you can, or decode these with --dequantize"
        )


def refuse_masked(array: Any, name: str) -> None:
    """Raise `UnsupportedError` for an array with a mask, whatever lies under that."""
    # there are none where numpy.ma, which takes a moment to load, has not been imported
    if isinstance(array, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        raise UnsupportedError(f"{name}: is a masked array; fill it first with x.filled(value)")


def array_source(array: Any, name: str = "<array>", *, dtype: str | None = None) -> Source:
    """Return an array in memory as the source that `numpy.save` would make of it.

    The data is not copied, unless it is contiguous in neither order.

    Parameters
    ----------
    array : array_like
    name : str
    dtype : str, optional
        Canonical name of its type where NumPy has none: the array is then of integers of the same size.

    Raises
    ------
    UnsupportedError
        If the data type is not supported, or the array is masked.
    """
    refuse_masked(array, name)
    array = np.asarray(array)
    known = from_numpy(array.dtype)
    if known is None:
        raise UnsupportedError(f"{name}: {unsupported_dtype(array.dtype)}")
    fortran_order = array.flags.f_contiguous and not array.flags.c_contiguous
    ordered = array.T if fortran_order else np.ascontiguousarray(array)
    access = MemoryAccess(ordered.reshape(-1).view(np.uint8), name)
    tensor = SourceTensor(
        access, "", array.shape, dtype or known[0], byte_order=known[1], fortran_order=fortran_order, offset=0
    )
    return Source(NPY.kind, name, [tensor], None, access)
