"""Small models in folders, as people have them: shards, an index, and other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def tensors() -> dict[str, dict[str, np.ndarray]]:
    """The tensors of a model of two shards, by shard."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(ml_dtypes.bfloat16)

    return {
        FIRST: {"embed.weight": weight(96, 64), "h.0.weight": weight(64, 48), "h.0.bias": weight(48)},
        SECOND: {"h.1.weight": weight(64, 80), "ids": np.arange(7), "mask": np.array([True, False])},
    }


def write_index(folder: Path, weight_map: dict[str, Any], name: str = INDEX, **more: Any) -> None:
    """Write an index as the library of Hugging Face does."""
    whole = {"metadata": {"total_size": 12345}, "weight_map": weight_map, **more}
    (folder / name).write_text(json.dumps(whole, indent=2) + "\n")


def weight_map(shards: dict[str, dict[str, np.ndarray]]) -> dict[str, str]:
    """The shard of each tensor, by name."""
    return dict(sorted((name, shard) for shard, found in shards.items() for name in found))


def make_model(folder: Path) -> Path:
    """Write a model of two shards with an index, a configuration and more."""
    folder.mkdir(parents=True)
    shards = tensors()
    for shard, found in shards.items():
        save_file(found, folder / shard, metadata={"format": "pt"})
    write_index(folder, weight_map(shards))
    (folder / "config.json").write_text('{"model_type": "none"}\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "vocab.txt").write_text("a\nb\n")
    (folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    return folder


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str] | None]:
    """The tensors and the metadata of a file, by the library of Hugging Face."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def everything(folder: Path) -> dict[str, bytes | None]:
    """All files of a folder and what is in them, and its folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
