"""Arrays of other packages are taken by what they offer: DLPack, Arrow, ``__array__``; stand-ins offer it here."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nqz
from cli_tools import matrix
from nqz.api.arrow import Array, Schema
from nqz.api.dlpack import Device, Tensor, Type

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
EXTENDED = {
    "bfloat16": 4, "float8_e4m3fn": 10, "float8_e4m3fnuz": 11, "float8_e5m2": 12, "float8_e5m2fnuz": 13,
    "float8_e8m0fnu": 14,
}  # fmt: skip


class Lender:
    """An array that is offered by DLPack, and by nothing else."""

    def __init__(self, array, device=1, offset=0, code=None, lanes=1, name=b"dltensor"):
        self.array, self.device, self.name = array, device, name
        extended = EXTENDED.get(array.dtype.name)
        code = CODES.get(array.dtype.kind, 99) if code is None else code
        code = code if extended is None else extended
        size = array.dtype.itemsize
        self.shape = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
        self.strides = (ctypes.c_int64 * max(1, array.ndim))(*(step // size for step in array.strides))
        self.tensor = Tensor(
            array.ctypes.data - offset, Device(device, 0), array.ndim, Type(code, 8 * size, lanes), self.shape,
            None if array.flags.c_contiguous else self.strides, offset,
        )  # fmt: skip

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, stream=None):
        return _new(ctypes.addressof(self.tensor), self.name, None)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "view", [np.s_[:], np.s_[::2, 1::3], np.s_[::-1], np.s_[:, 3], np.s_[5:25]]
)  # fmt: skip
def test_dlpack_gives_the_bytes_of_the_array(dtype, view):
    a = matrix(60, 36, dtype=dtype)[view]
    assert nqz.encode(Lender(a), rate=4) == nqz.encode(a, rate=4)
    assert nqz.encode(Lender(a.T, offset=8), rate=4) == nqz.encode(a.T, rate=4)


def test_bfloat16_by_dlpack_without_a_type_of_numpy():
    a = matrix(40, 12).astype(ml_dtypes.bfloat16)
    for one in (a, a.T, a[::2]):
        assert nqz.encode(Lender(one), rate=4) == nqz.encode(one, rate=4)
    assert nqz.open(nqz.encode(Lender(a), rate=4)).matrix.source_dtype == "bfloat16"
    data = nqz.encode(matrix(40, 3), rate=6)
    assert np.array_equal(nqz.matmul(data, Lender(a)), nqz.matmul(data, a))
    assert np.array_equal(Lender(a.T) @ nqz.open(data).matrix, nqz.matmul(Lender(a), data))


def test_every_type_of_dlpack_in_a_mapping():
    plain = ["bool", "int8", "uint8", "int16", "int64", "uint32", "complex64"]
    tensors = {name: np.ones((3, 2)).astype(name) for name in plain}
    tensors.update({name: np.ones((3, 2)).astype(getattr(ml_dtypes, name)) for name in EXTENDED})
    tensors["empty"], tensors["scalar"] = np.zeros((0, 3), "f4"), np.array(2.5)
    data = nqz.encode({name: Lender(array) for name, array in tensors.items()}, rate=4)
    assert data == nqz.encode(tensors, rate=4)


def test_the_memory_lent_is_released_after_use_and_not_before():
    released = []
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    destructor = kind(lambda capsule: released.append(True))

    class Counted(Lender):
        def __dlpack__(self, stream=None):
            return _new(
                ctypes.addressof(self.tensor), b"dltensor", ctypes.cast(destructor, ctypes.c_void_p).value
            )

    nqz.encode(Counted(matrix(20, 5)), rate=4)
    gc.collect()
    assert released == [True]


@pytest.mark.parametrize(
    "value, message",
    [
        (Lender(matrix(4, 3), device=2), "is in memory of CUDA; move it to the CPU first"),
        (Lender(matrix(4, 3), device=99), "another device"),
        (Lender(matrix(4, 3), code=77), "entries of type 77 in DLPack, 32 bits"),
        (Lender(matrix(4, 3), lanes=4), "not supported"),
        (Lender(matrix(4, 3), name=b"used_dltensor"), "capsule 'dltensor'"),
        (Lender(np.ones((4, 3), int)), "int64 cannot be compressed"),
    ],
)
def test_what_cannot_be_taken_by_dlpack_is_said(value, message):
    with pytest.raises(nqz.UnsupportedError, match=message):
        nqz.encode(value, rate=4)


def test_what_dlpack_cannot_hand_over_is_taken_as_an_array():
    a = matrix(20, 5)

    class Fussy(Lender):
        def __dlpack__(self, stream=None):
            raise BufferError("not so")

        def __array__(self, dtype=None, copy=None):
            return self.array

    assert nqz.encode(Fussy(a), rate=4) == nqz.encode(a, rate=4)


def test_a_parameter_that_is_trained_is_detached():
    a = matrix(20, 5)

    class Parameter:
        requires_grad = True

        def detach(self):
            return Lender(a)

    assert nqz.encode(Parameter(), rate=4) == nqz.encode(a, rate=4)


class Arrow:
    """Numbers that are offered by the C data interface of Arrow; rows of fixed size for two dimensions and more."""

    def __init__(self, array, form=b"f", missing: Any = None, offset=0, null_count=None):
        self.flat = np.ascontiguousarray(array).reshape(-1)
        self.keep: list[Any] = []
        self.mask = None
        if missing is not None:
            self.mask = np.packbits(~np.asarray(missing, bool), bitorder="little")
        count = 0 if missing is None else -1
        length = self.flat.size if array.ndim == 1 else len(array)
        schema = Schema(form, b"", None, 0, 0)
        data = self._array(self.flat.size, count, [self.flat.ctypes.data])
        for extent in array.shape[:0:-1]:
            schema = self._above(Schema(b"+w:%d" % extent, b"", None, 0, 1), schema)
            data = self._above(self._array(data.length // extent, 0, []), data)
        self.schema, self.data = schema, data
        self.data.length, self.data.offset = length - offset, offset

    def _array(self, length, null_count, more):
        mask = 0 if self.mask is None or not more else self.mask.ctypes.data
        buffers = (ctypes.c_void_p * 2)(mask, *more)
        self.keep.append(buffers)
        return Array(length, null_count, 0, len(more) + 1, 0, buffers)

    def _above(self, parent, child):
        children = (ctypes.POINTER(type(child)) * 1)(ctypes.pointer(child))
        self.keep += [children, child]
        parent.n_children, parent.children = 1, children
        return parent

    def __arrow_c_array__(self, requested_schema=None):
        return (
            _new(ctypes.addressof(self.schema), b"arrow_schema", None),
            _new(ctypes.addressof(self.data), b"arrow_array", None),
        )


def test_arrow_lists_of_fixed_size_are_rows():
    a = matrix(30, 7)
    assert nqz.encode(Arrow(a), rate=5) == nqz.encode(a, rate=5)
    assert nqz.encode(Arrow(a, offset=4), rate=5) == nqz.encode(a[4:], rate=5)
    assert nqz.encode(Arrow(a[:, 0]), rate=5) == nqz.encode(a[:, 0], rate=5)
    cube = matrix(5, 4, 6, dtype="float64")
    assert nqz.encode(Arrow(cube, b"g"), rate=5) == nqz.encode(cube, rate=5)
    whole = np.arange(12, dtype="int16").reshape(4, 3)
    with nqz.open(nqz.encode({"w": Arrow(whole, b"s")}, rate=5)) as container:
        assert np.array_equal(container["w"], whole)


def test_arrow_data_with_missing_entries_is_refused():
    a = matrix(30, 7)
    none, one = np.zeros(210), np.zeros(210)
    one[100] = 1
    assert nqz.encode(Arrow(a, missing=none), rate=5) == nqz.encode(a, rate=5)
    with pytest.raises(nqz.UnsupportedError, match="entries are missing"):
        nqz.encode(Arrow(a, missing=one), rate=5)
    assert nqz.encode(Arrow(a, missing=one, offset=20), rate=5) == nqz.encode(a[20:], rate=5)


@pytest.mark.parametrize("form", [b"u", b"b", b"+s", b"+w:x"[:2], b"tdD"])
def test_other_arrow_data_is_refused(form):
    with pytest.raises(nqz.UnsupportedError, match="Arrow data of format"):
        nqz.encode(Arrow(matrix(12), form), rate=5)


def test_objects_with_an_array_of_their_own_are_taken():
    a = matrix(20, 5)

    class Lazy:
        def __array__(self, dtype=None, copy=None):
            return a

    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("the cluster is gone")

    assert nqz.encode(Lazy(), rate=4) == nqz.encode(a, rate=4)
    assert nqz.encode(nqz.open(nqz.encode(a, rate=8)).matrix, rate=4)
    with pytest.raises(nqz.UnsupportedError, match="is no array: the cluster is gone"):
        nqz.encode(Broken(), rate=4)
    with pytest.raises(nqz.UnsupportedError):
        nqz.encode(object(), rate=4)


class NoFunction:
    """Offers Arrow data by what is no function."""

    __arrow_c_array__ = 3


class NoCapsules:
    """Offers Arrow data that is none."""

    def __arrow_c_array__(self):
        return 1, 2


@pytest.mark.parametrize("value", [NoFunction(), NoCapsules()])
def test_what_offers_arrow_data_and_has_none_is_refused(value):
    with pytest.raises(nqz.UnsupportedError, match="<array>: "):
        nqz.encode(value, rate=3)


def test_a_mask_is_refused_in_a_mapping_too():
    x = np.random.default_rng(0).standard_normal((20, 12))
    with pytest.raises(nqz.UnsupportedError, match="tensor 'a': is a masked array"):
        nqz.encode({"a": np.ma.masked_array(x, x > 1)}, rate=6)


@pytest.mark.parametrize("name", [1, None, b"*"])
def test_sensitivities_have_names(name):
    with pytest.raises(nqz.UsageError, match="no name or pattern of tensors"):
        nqz.encode({"a": np.eye(20)}, rate=3, across={name: 2.0})
