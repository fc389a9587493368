"""What the matrices of a network are, and which axis each contracts: by names, shapes and its ``config.json``.

A layer y = W x contracts the inputs. Nearly all networks store W as [out, in], so that rows are the vectors: axis 1.
The layers of GPT-2 and its kin are stored [in, out]: axis 0. Embeddings are [vocabulary, width], one row a word, and so
are heads: axis 1. Convolutions are [out, in, …]: axis 1. So are experts out of
one tensor, [expert, out, in], but for some networks.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EMBEDDING, HEAD, TIED = "embedding", "lm_head", "tied head"
"""Roles: the embedding of words, positions and so on; the head that gives each word its score; both in one."""

_TRANSPOSED_TYPES = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "gptsan-japanese"}
"""Values of ``model_type`` whose layers of these names are stored [in, out]."""

_TRANSPOSED = {"c_attn", "c_proj", "c_fc", "q_attn"}

_WORDS = re.compile(
    r"(embed_tokens|tok_embeddings|word_embeddings?|wte|shared|embed_in|token_embed(ding|dings)?|tokens_embed)$"
)
_EMBEDDINGS = re.compile(r"(^|_)(embed(ding|dings)?|embd|wte|wpe|shared)(_|$)")
_HEADS = re.compile(
    r"(^|\.)(lm_head(\.decoder)?|embed_out|vocab_projector|cls\.predictions\.decoder|generator_lm_head|output_projection)$"
    r"|^(model\.|transformer\.)?output$"
)
_HEADED = re.compile(r"(ForCausalLM|LMHeadModel|ForMaskedLM|ForConditionalGeneration|ForPreTraining)\w*$")
_SLICE = re.compile(r"\[\d+\]$")

_FUSED = re.compile(r"^(.*\.experts)\.((?:gate_up|gate|up|down)_proj)$")
"""Layers of all experts in one tensor, [expert, …]: the module that they belong to, and the layer."""

_TRANSPOSED_EXPERTS = {"gpt_oss", "llama4", "llama4_text"}
"""Values of ``model_type`` whose experts of these names are stored [expert, in, out]."""

_EXPERTS = re.compile(r"(^|[._])(experts?|exps)([._]|$)")
_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")

Shape = Sequence[int]


@dataclass(frozen=True)
class Layer:
    """What a tensor is in a network: the axis that it contracts, and its role, empty for most."""

    axis: int
    role: str


def layers(tensors: Iterable[tuple[str, Shape]], config: Mapping[str, Any] | None = None) -> list[Layer]:
    """Tell what tensors are.

    Parameters
    ----------
    tensors : iterable of (str, sequence of int)
        Names and shapes.
    config : mapping, optional
        What the network's ``config.json`` says; without it names and shapes have to do.
    """
    tensors = list(tensors)
    shapes = {_module(name): shape for name, shape in tensors if len(shape) > 1}
    transposed = _is_transposed(shapes, config)
    experts = _transposed_experts(shapes, config)
    tied = _tied(shapes, config)
    return [
        Layer(_axis(_module(name), shape, transposed, experts), _role(name, shape, tied))
        for name, shape in tensors
    ]


def holds_experts(name: str, shape: Shape, config: Mapping[str, Any] | None = None) -> bool:
    """Whether a tensor is the matrices of several experts, which share no product: one for each index of axis 0."""
    if len(shape) != 3:
        return False
    return bool(_EXPERTS.search(name)) or any(_value(config, key) == shape[0] for key in _EXPERT_COUNTS)


def is_bias(name: str, shape: Shape) -> bool:
    """Whether a tensor is the biases of several experts, one a row, which look like a matrix."""
    return len(shape) == 2 and _last(name).endswith("bias")


def is_model(names: Iterable[str]) -> bool:
    """Whether tensors are called like those of a network."""
    return any(name.endswith((".weight", "_proj", ".kernel")) for name in names)


def _module(name: str) -> str:
    """The name of the layer that a tensor is the weight of."""
    return _SLICE.sub("", name).removesuffix(".weight")


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def _axis(module: str, shape: Shape, transposed: bool, experts: Container[str]) -> int:
    if len(shape) < 2:
        return 0
    if transposed and len(shape) == 2 and _last(module) in _TRANSPOSED:
        return 0
    fused = _FUSED.match(module)
    return 0 if fused and fused[1] in experts else 1


def _transposed_experts(shapes: Mapping[str, Shape], config: Mapping[str, Any] | None) -> set[str]:
    """Modules whose experts are stored [in, out]: as the width of the network tells, else as its kind is known to."""
    width, kind = _value(config, "hidden_size"), _kind(config)
    votes: dict[str, int] = {}
    for module, shape in shapes.items():
        if fused := _FUSED.match(module):
            ins, outs = shape[-2:] if fused[2] != "down_proj" else shape[:-3:-1]  # as if they were transposed
            votes[fused[1]] = votes.get(fused[1], 0) + (ins == width) - (outs == width)
    known = kind in _TRANSPOSED_EXPERTS
    return {module for module, vote in votes.items() if vote > 0 or (vote == 0 and known)}


def _is_transposed(shapes: Mapping[str, Shape], config: Mapping[str, Any] | None) -> bool:
    """Whether layers called as those of GPT-2 are stored [in, out]: by its configuration, else by their shapes."""
    kind = _kind(config)
    if kind is not None:
        return kind in _TRANSPOSED_TYPES
    wide = {"c_attn": 3, "c_fc": 4}
    votes = [
        (shape[1] == factor * shape[0]) - (shape[0] == factor * shape[1])
        for module, shape in shapes.items()
        if len(shape) == 2 and (factor := wide.get(_last(module)))
    ]
    return sum(votes) > 0


def _role(name: str, shape: Shape, tied: str | None) -> str:
    if len(shape) != 2:
        return ""
    module = _module(name)
    if module == tied:
        return TIED
    if _HEADS.search(module):
        return HEAD
    return EMBEDDING if _EMBEDDINGS.search(_last(module)) else ""


def _tied(shapes: Mapping[str, Shape], config: Mapping[str, Any] | None) -> str | None:
    """The embedding of words, if the network has a head, which is not stored for it is the same matrix."""
    names = _value(config, "architectures")
    headed = isinstance(names, list) and any(isinstance(n, str) and _HEADED.search(n) for n in names)
    if not headed or _value(config, "tie_word_embeddings") is False:
        return None
    if any(_HEADS.search(module) for module in shapes):
        return None
    found = [module for module, shape in shapes.items() if len(shape) == 2 and _WORDS.search(_last(module))]
    words = _value(config, "vocab_size")
    exact = [module for module in found if shapes[module][0] == words]
    return max(exact or found, key=lambda module: shapes[module][0], default=None)


def _kind(config: Mapping[str, Any] | None) -> str | None:
    kind = _value(config, "model_type")
    return kind if isinstance(kind, str) else None


def _value(config: Mapping[str, Any] | None, key: str) -> Any:
    """What a configuration says, by itself or of the part of it that reads text."""
    if config is None:
        return None
    inner = config.get("text_config")
    return config[key] if key in config else inner.get(key) if isinstance(inner, Mapping) else None
