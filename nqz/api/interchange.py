"""Arrays of other packages, by what they offer for it: ``__array__``, DLPack, or the C data interface of Arrow.

Nothing of these packages is imported. Data is not copied where it need not be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nqz.api.arrow import from_arrow
from nqz.api.dlpack import from_dlpack
from nqz.api.tensor import Tensor
from nqz.ground.errors import NqzError, UnsupportedError

_NATIVE = (np.ndarray, np.generic, Tensor, list, tuple, int, float, complex)


@dataclass(frozen=True)
class Plain:
    """An array in memory.

    Attributes
    ----------
    array : ndarray
    dtype : str, optional
        Canonical name of its type where NumPy has none: then `array` is of integers of its size.
    """

    array: npt.NDArray[Any]
    dtype: str | None = None


def as_plain(value: Any, name: str = "<array>") -> Plain:
    """An object as an array in memory, copied only where it must be.

    Raises
    ------
    UnsupportedError
        It is none, or not in the memory of this process.
    """
    if isinstance(value, _NATIVE):
        return _from_numpy(value, name)
    if hasattr(value, "__arrow_c_array__"):
        try:
            return Plain(from_arrow(value, name))
        except NqzError:
            raise
        except Exception as error:  # of the other package
            raise UnsupportedError(f"{name}: {_text(error)}") from error
    if getattr(value, "requires_grad", False) is True:
        value = value.detach()  # the values of a parameter that is trained
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        try:
            return Plain(*from_dlpack(value, name))
        except NqzError:
            raise
        except Exception as error:  # of the other package; what it cannot hand over so, it may as an array
            if not hasattr(value, "__array__"):
                raise UnsupportedError(f"{name}: {_text(error)}") from error
    return _from_numpy(value, name)


def _from_numpy(value: Any, name: str) -> Plain:
    try:
        array = np.asanyarray(value)
    except NqzError:
        raise
    except Exception as error:  # rows of different lengths, say, or an error of the other package
        raise UnsupportedError(f"{name}: is no array: {_text(error)}") from error
    if array.ndim == 0 and array.dtype == object:
        raise UnsupportedError(f"{name}: is no array, but an object of type {type(value).__name__}")
    return Plain(array)


def _text(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
