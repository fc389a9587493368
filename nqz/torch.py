"""Tensors of PyTorch in compressed files, in the manner of ``safetensors.torch``.

>>> import nqz.torch
>>> nqz.torch.save_file(model.state_dict(), "model.nqz", rate=4)
>>> model.load_state_dict(nqz.torch.load_file("model.nqz", device="cpu"))
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from nqz.api.arguments import Path, Source, Target
from nqz.api.container import open as open_container
from nqz.api.encoding import encode
from nqz.ground.errors import UnsupportedError, UsageError

__all__ = ["load_file", "load_model", "save_file", "save_model"]

_TIED = "tied: "
"""Before the name of a tensor, in the metadata: it is another one, which is named there."""


def save_file(
    tensors: Mapping[str, torch.Tensor],
    filename: Target,
    metadata: Mapping[str, str] | None = None,
    *,
    axis: int | str | None = "auto",
    **options: Any,
) -> None:
    """Compress tensors into a file.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        On any device. What is no matrix of floating-point numbers is kept exactly.
    filename : path or binary file object
    metadata : mapping of str to str, optional
    axis : {"auto", 0, 1}
        The contracted axis of matrices: told from names and shapes by default, which is 1 for the weights of linear
        layers, [out, in].
    **options
        Of `nqz.encode`: one of `rate`, `error` and `max_bytes`; `rules`, `across`, `force`, …

    Raises
    ------
    UsageError
        An option makes no sense, or two tensors share memory, which a file does not keep.
    UnsupportedError
        A tensor is sparse, or of a type that is not supported.
    OutputExistsError, OutputError
        The file exists, or cannot be written.
    """
    shared = _shared(tensors)
    if shared is not None:
        raise UsageError(
            f"tensors {shared[0]!r} and {shared[1]!r} share memory, which a file does not keep: clone one, leave one "
            "out, or use save_model"
        )
    encode(
        {name: _plain(name, tensor) for name, tensor in tensors.items()}, filename, metadata=metadata, axis=axis,
        **options,
    )  # fmt: skip


def load_file(filename: Source, device: str | torch.device = "cpu") -> dict[str, torch.Tensor]:
    """The tensors of a file, in their original types.

    Parameters
    ----------
    filename : path, binary file object, or bytes
        A container, or a model.
    device : str or torch.device

    Raises
    ------
    InputError, CorruptError, NewerFormatError
        It cannot be read, is no container, or is damaged.
    UnsupportedError
        PyTorch has no such type.
    """
    return _load(filename, device)[0]


def save_model(
    model: torch.nn.Module, filename: Target, metadata: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Compress the tensors of a model into a file; those that are one and the same are kept once.

    Parameters and errors are those of `save_file`.
    """
    kept: dict[str, torch.Tensor] = {}
    names: dict[Any, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in model.state_dict().items():
        first = names.setdefault(_identity(tensor, name), name)
        if first == name:
            kept[name] = tensor
        else:
            tied[_TIED + name] = first
    save_file(kept, filename, {**(metadata or {}), **tied}, **options)


def load_model(
    model: torch.nn.Module, filename: Source | Path, strict: bool = True, device: str | torch.device = "cpu"
) -> tuple[list[str], list[str]]:
    """Load what `save_model` kept into a model of the same structure.

    Parameters
    ----------
    model : torch.nn.Module
    filename : path, binary file object, or bytes
    strict : bool
        Whether it is an error if the names are not those of the model.
    device : str or torch.device
        Where the tensors are decoded to, before they are copied to where the model is.

    Returns
    -------
    tuple of list of str
        Names that are missing in the file, and those that the model does not have.
    """
    tensors, metadata = _load(filename, device)
    for key, first in metadata.items():
        if key.startswith(_TIED) and first in tensors:
            tensors[key[len(_TIED) :]] = tensors[first]
    missing, unexpected = model.load_state_dict(tensors, strict=strict)
    return list(missing), list(unexpected)


def _load(filename: Any, device: Any) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with open_container(filename) as container:
        found = {}
        for name, tensor in container.items():
            array = tensor.stored()
            dtype = getattr(torch, tensor.source_dtype, None)
            if not isinstance(dtype, torch.dtype):
                raise UnsupportedError(f"tensor {name!r}: PyTorch has no type {tensor.source_dtype}")
            native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
            found[name] = torch.from_numpy(native).view(dtype).to(device)
        return found, dict(container.metadata or {})


def _plain(name: str, tensor: Any) -> torch.Tensor:
    """A tensor in memory that can be read."""
    if not isinstance(tensor, torch.Tensor):
        raise UsageError(f"tensor {name!r}: is no tensor of PyTorch, but {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise UnsupportedError(f"tensor {name!r}: is sparse; make it dense first, x.to_dense()")
    return tensor.detach().cpu().resolve_conj().resolve_neg()


def _identity(tensor: torch.Tensor, name: str) -> Any:
    if tensor.layout != torch.strided or not tensor.numel() or tensor.device.type == "meta":
        return name
    return tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _shared(tensors: Mapping[str, torch.Tensor]) -> tuple[str, str] | None:
    """Two names whose tensors lie in the same memory, if there are some."""
    spans = []
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.numel():
            extent = (
                sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)) + 1
            )
            start = tensor.data_ptr()
            spans.append((str(tensor.device), start, start + extent * tensor.element_size(), name))
    spans.sort()
    for (device, _, end, name), (other, start, _, second) in pairwise(spans):
        if device == other and start < end:
            return name, second
    return None
