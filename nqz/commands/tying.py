"""Tensors of a source that are the same, and are stored once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from nqz.files.contract import SourceTensor

LEAST_BYTES = 64 << 10
"""Smaller ones are not looked at: equal biases are no tie."""


def ties(tensors: Sequence[SourceTensor], treated: Sequence[Hashable | None]) -> list[int | None]:
    """Find tensors that equal an earlier one.

    Parameters
    ----------
    tensors : sequence of SourceTensor
        Of one source. Slices are not looked at.
    treated : sequence of hashable or None
        What becomes of each: only those that are treated alike are compared, and none where it is None.

    Returns
    -------
    list of int or None
        For each the number of the first that has the same shape, type, layout and bytes, if that is another one.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, (tensor, how) in enumerate(zip(tensors, treated, strict=True)):
        if how is not None and tensor.whole is None and tensor.nbytes >= LEAST_BYTES:
            key = tuple(tensor.shape), tensor.dtype, tensor.byte_order, tensor.fortran_order, how
            groups.setdefault(key, []).append(number)
    found: list[int | None] = [None] * len(tensors)
    for numbers in groups.values():
        different: dict[bytes, list[int]] = {}
        for number in numbers if len(numbers) > 1 else ():
            earlier = different.setdefault(tensors[number].start, [])
            same = (other for other in earlier if tensors[number].equals(tensors[other]))
            found[number] = next(same, None)
            if found[number] is None:
                earlier.append(number)
    return found
