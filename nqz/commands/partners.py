"""The originals that the tensors of a container are compared with."""

from __future__ import annotations

from typing import Any

from nqz.files.contract import Source, SourceTensor
from nqz.format.reader import ContainerReader
from nqz.format.tensors import TensorInfo
from nqz.models.collection import Collection


def partners(reader: ContainerReader, original: Source | Collection) -> list[SourceTensor | str]:
    """The originals of all tensors, or why there is none."""
    infos = reader.manifest.tensors
    # of a collection once for all parts
    by_name = original.by_name if isinstance(original, Collection) else {t.name: t for t in original.tensors}
    if len(infos) == len(by_name) == 1:
        by_name = {infos[0].whole_name: next(iter(by_name.values()))}
    slices: dict[str, list[SourceTensor]] = {}
    return [_fitting(info, by_name.get(info.whole_name), slices) for info in infos]


def _fitting(
    info: TensorInfo, tensor: SourceTensor | None, slices: dict[str, list[SourceTensor]]
) -> SourceTensor | str:
    """The original of a tensor; `slices` are those of tensors that were asked for them before."""
    if tensor is None:
        return "the original holds no such tensor"
    if info.slice is not None:
        whole = (info.slice.slices, *info.shape)
        if tuple(tensor.shape) != whole:
            return f"the original has shape {_text(tensor.shape)}, not {_text(whole)}: it is another one"
        if not tensor.has_slices:
            return "the original is not in C order, or of a type that is not compressed: it is another one"
        if tensor.name not in slices:
            slices[tensor.name] = tensor.slices()
        tensor = slices[tensor.name][info.slice.number]
    for key in ("shape", "dtype"):
        ours, theirs = getattr(info, key), getattr(tensor, key)
        if tuple(ours) != tuple(theirs):
            return f"the original has {key} {_text(theirs)}, not {_text(ours)}: it is another one"
    return tensor


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "x".join(map(str, value)) or "()"
