"""What the matrices of a network are, and which axis each contracts: BERT, GPT-2, Llama and their kin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from nqz.cli import run
from nqz.models.architecture import EMBEDDING, HEAD, TIED, layers

BERT = {
    "embeddings.word_embeddings.weight": (300, 32),
    "embeddings.position_embeddings.weight": (64, 32),
    "embeddings.token_type_embeddings.weight": (2, 32),
    "embeddings.LayerNorm.weight": (32,),
    "encoder.layer.0.attention.self.query.weight": (32, 32),
    "encoder.layer.0.attention.output.dense.weight": (32, 32),
    "encoder.layer.0.intermediate.dense.weight": (128, 32),
    "encoder.layer.0.output.dense.weight": (32, 128),
    "pooler.dense.weight": (32, 32),
}
GPT2 = {
    "wte.weight": (300, 32),
    "wpe.weight": (64, 32),
    "h.0.attn.c_attn.weight": (32, 96),
    "h.0.attn.c_attn.bias": (96,),
    "h.0.attn.c_proj.weight": (32, 32),
    "h.0.mlp.c_fc.weight": (32, 128),
    "h.0.mlp.c_proj.weight": (128, 32),
}
LLAMA = {
    "model.embed_tokens.weight": (300, 32),
    "model.layers.0.self_attn.q_proj.weight": (32, 32),
    "model.layers.0.self_attn.k_proj.weight": (8, 32),
    "model.layers.0.mlp.gate_proj.weight": (86, 32),
    "model.layers.0.mlp.down_proj.weight": (32, 86),
    "model.norm.weight": (32,),
}
MIXTRAL = {
    "model.embed_tokens.weight": (300, 32),
    "model.layers.0.block_sparse_moe.gate.weight": (8, 32),
    "model.layers.0.block_sparse_moe.experts.7.w1.weight": (64, 32),
    "model.layers.0.block_sparse_moe.experts.7.w2.weight": (32, 64),
    "lm_head.weight": (300, 32),
}
CAUSAL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300, "hidden_size": 32}
GPT2_CONFIG = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 300}


def found(tensors, config=None):
    """Axis and role of each tensor, by name."""
    return {
        name: (layer.axis, layer.role)
        for name, layer in zip(tensors, layers(tensors.items(), config), strict=True)
        if len(tensors[name]) > 1
    }


@pytest.mark.parametrize("config", [None, {"model_type": "bert", "architectures": ["BertModel"]}], ids=str)
def test_layers_of_bert_are_rows_and_its_embeddings_are_named(config):
    layer = found(BERT, config)
    assert {axis for axis, _ in layer.values()} == {1}
    assert [name for name, (_, role) in layer.items() if role] == list(BERT)[:3]
    assert {role for _, role in layer.values()} == {"", EMBEDDING}


def test_the_head_of_a_language_model_may_be_its_embedding():
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 300}
    assert found(BERT, config)["embeddings.word_embeddings.weight"] == (1, TIED)
    decoder = {"cls.predictions.decoder.weight": (300, 32)}
    stored = found({**BERT, **decoder}, config)
    assert stored["embeddings.word_embeddings.weight"][1] == EMBEDDING
    assert stored["cls.predictions.decoder.weight"] == (1, HEAD)


@pytest.mark.parametrize("config", [None, GPT2_CONFIG], ids=["names", "config"])
def test_layers_of_gpt_2_are_columns(config):
    layer = found(GPT2, config)
    assert {name for name, (axis, _) in layer.items() if axis == 0} == {n for n in layer if ".c_" in n}
    assert layer["wte.weight"] == (1, TIED if config else EMBEDDING)
    assert layer["wpe.weight"] == (1, EMBEDDING)


def test_layers_called_as_those_of_gpt_2_may_be_rows():
    turned = {name: shape[::-1] if ".c_" in name else shape for name, shape in GPT2.items()}
    assert {axis for axis, _ in found(turned).values()} == {1}
    assert {axis for axis, _ in found(GPT2, {"model_type": "gpt_bigcode"}).values()} == {1}


def test_a_head_is_tied_unless_the_configuration_says_no_or_it_is_stored():
    assert found(LLAMA, CAUSAL)["model.embed_tokens.weight"] == (1, TIED)
    assert found(LLAMA, {**CAUSAL, "tie_word_embeddings": True})["model.embed_tokens.weight"] == (1, TIED)
    assert found(LLAMA, {**CAUSAL, "tie_word_embeddings": False})["model.embed_tokens.weight"] == (
        1,
        EMBEDDING,
    )
    inner = {"architectures": ["XForConditionalGeneration"], "text_config": {"tie_word_embeddings": False}}
    assert found(LLAMA, inner)["model.embed_tokens.weight"] == (1, EMBEDDING)
    assert found(LLAMA)["model.embed_tokens.weight"] == (1, EMBEDDING)
    stored = found(MIXTRAL, {**CAUSAL, "model_type": "mixtral"})
    assert stored["model.embed_tokens.weight"] == (1, EMBEDDING) and stored["lm_head.weight"] == (1, HEAD)
    assert {axis for axis, _ in stored.values()} == {1}


def test_experts_out_of_one_tensor_follow_the_width_of_the_network():
    tensors = {
        "model.layers.0.mlp.experts.gate_up_proj[3]": (32, 128),
        "model.layers.0.mlp.experts.down_proj[3]": (64, 32),
    }
    assert {axis for axis, _ in found(tensors, CAUSAL).values()} == {0}
    turned = {name: shape[::-1] for name, shape in tensors.items()}
    assert {axis for axis, _ in found(turned, CAUSAL).values()} == {1}


def fused(gate_up, down):
    """Experts of a layer, each of these out of one tensor."""
    return {"l.0.mlp.experts.gate_up_proj[1]": gate_up, "l.0.mlp.experts.down_proj[1]": down}


@pytest.mark.parametrize("kind", ["gpt_oss", "llama4", "llama4_text"])
def test_experts_that_are_known_to_be_columns_are_so_where_square(kind):
    config = {"model_type": kind, "text_config": {"hidden_size": 32}}
    for shapes in [((32, 64), (32, 32)), ((32, 32), (16, 32)), ((7, 7), (7, 7))]:
        assert {axis for axis, _ in found(fused(*shapes), config).values()} == {0}
    whole = {"l.0.mlp.experts.down_proj": (8, 32, 32), "l.0.mlp.experts.0.down_proj.weight": (32, 32)}
    assert [axis for axis, _ in found(whole, config).values()] == [0, 1]


def test_square_experts_follow_the_others_of_their_layer():
    config = {"model_type": "qwen3_moe", "hidden_size": 32}
    assert {axis for axis, _ in found(fused((32, 64), (32, 32)), config).values()} == {0}
    assert {axis for axis, _ in found(fused((64, 32), (32, 32)), config).values()} == {1}
    assert {axis for axis, _ in found(fused((32, 32), (32, 32)), config).values()} == {1}


def test_biases_of_several_experts_are_carried_exactly_unless_a_rule_codes_them(tmp_path, capsys):
    rng = np.random.default_rng(2)
    tensors = {"l.0.experts.down_proj_bias": (8, 256), "l.0.q_proj.weight": (64, 256)}
    (tmp_path / "m").mkdir()
    save_file(
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in tensors.items()},
        tmp_path / "m" / "model.safetensors",
    )
    (tmp_path / "m" / "config.json").write_text('{"model_type": "gpt_oss", "hidden_size": 256}')
    bias, lone = "l.0.experts.down_proj_bias", tmp_path / "m" / "model.safetensors"
    assert planned(capsys, tmp_path / "m", "-r", 3)[bias]["kind"] == "exact"
    assert planned(capsys, lone, "-r", 3, "--axis", "auto")[bias]["kind"] == "exact"
    assert planned(capsys, lone, "-r", 3)[bias]["kind"] == "matrix"
    assert planned(capsys, tmp_path / "m", "-r", 3, "--rule", "*bias=4")[bias]["kind"] == "matrix"


def test_a_summary_recommends_no_axis_where_rules_decide(model, capsys):
    source, out = str(model / "lone.safetensors"), str(model / "o.nqz")
    for rules, said in ([], True), (["--rule", "*=axis:1"], False), (["--rule", "wte*=axis:1"], True):
        assert run(["encode", source, "-r", "3", *rules, "-f", "-o", out]) == 0
        assert ("--axis auto" in capsys.readouterr().err) is said


def test_convolutions_contract_all_but_their_outputs():
    assert found({"conv1.weight": (16, 3, 7, 7)})["conv1.weight"] == (1, "")


@pytest.fixture
def model(tmp_path):
    """A model, and a lone file of the same tensors, in which an embedding outweighs the rest."""
    rng = np.random.default_rng(1)
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in GPT2.items()}
    (tmp_path / "model").mkdir()
    for path in (tmp_path / "lone.safetensors", tmp_path / "model" / "model.safetensors"):
        save_file(tensors, path)
    (tmp_path / "model" / "config.json").write_text(json.dumps(GPT2_CONFIG))
    return tmp_path


def planned(capsys, *arguments):
    """The tensors of a plan, by name."""
    assert run(["encode", *map(str, arguments), "--dry-run", "--json"]) == 0
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["tensors"]}


def test_a_model_is_encoded_along_its_axes_and_a_lone_file_along_axis_0(model, capsys):
    wanted = {name: axis for name, (axis, _) in found(GPT2, GPT2_CONFIG).items()}
    for arguments in ([model / "model"], [model / "lone.safetensors", "--axis", "auto"]):
        plan = planned(capsys, *arguments, "-r", 3)
        assert {name: one["axis"] for name, one in plan.items() if one["kind"] == "matrix"} == wanted
    plan = planned(capsys, model / "lone.safetensors", "-r", 3)
    assert {one["axis"] for one in plan.values()} == {0, None}
    plan = planned(capsys, model / "model", "-r", 3, "--axis", 1, "--rule", "wpe*=axis:0")
    assert {name: one["axis"] for name, one in plan.items() if one["axis"] != 1} == {
        "wpe.weight": 0, "h.0.attn.c_attn.bias": None,
    }  # fmt: skip


def test_the_summary_of_a_lone_file_points_to_auto(model, capsys):
    out = str(model / "out.nqz")
    assert run(["encode", str(model / "lone.safetensors"), "-o", out, "-r", "3"]) == 0
    assert "--axis auto" in capsys.readouterr().err
    for axis in ("0", "1", "auto"):
        assert (
            run(["encode", str(model / "lone.safetensors"), "-o", out, "-f", "-r", "3", "--axis", axis]) == 0
        )
        assert "--axis auto" not in capsys.readouterr().err


def test_a_tied_head_does_not_go_below_the_uniform_rate_unless_a_rule_says_so(model, capsys):
    plan = planned(capsys, model / "model", "-r", 3, "--across", "size:1")
    assert plan["wte.weight"]["role"] == TIED and plan["wte.weight"]["rate"] >= 2.97
    lone = planned(capsys, model / "lone.safetensors", "--axis", "auto", "-r", 3, "--across", "size:1")
    assert lone["wte.weight"]["role"] == EMBEDDING and lone["wte.weight"]["rate"] < 2.7
    plan = planned(capsys, model / "model", "-r", 3, "--across", "size:1", "--rule", "wte*=2")
    assert plan["wte.weight"]["rate"] <= 2
    plan = planned(capsys, model / "model", "--error", 0.05, "--across", "size:1")
    assert plan["wte.weight"]["error"] <= 0.05


@pytest.mark.parametrize("kind", [[], {}, 3, ""])
def test_a_kind_of_model_that_makes_no_sense_is_none(kind):
    for config in ({"model_type": kind}, {"text_config": {"model_type": kind}}):
        assert found({"h.0.mlp.c_fc.weight": (128, 512)}, config)
