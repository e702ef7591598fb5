"""The precision that a checkpoint has, module by module."""

import json
from pathlib import Path
from typing import Any

import pytest

from presets import DataFileError, Model, Precision, load_model

CONFIGS = json.loads((Path(__file__).parent / "data" / "configs.json").read_text(encoding="utf-8"))
NVFP4_GROUP = {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}
INT4_GROUP = {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}


def read(
    folder: Path, name: str, scheme: object = None, beside: object = None, **changes: object
) -> Model:
    content = CONFIGS[name] | changes
    if scheme is not None:
        content |= {"quantization_config": scheme}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    if beside is not None:
        (folder / "hf_quant_config.json").write_text(json.dumps(beside), encoding="utf-8")
    return load_model(folder)


def own(model: Model) -> Precision:
    assert model.checkpoint is not None
    return model.precision(model.checkpoint)


def layers(count: int, *parts: str) -> list[str]:
    return [f"model.layers.{layer}.{part}" for layer in range(count) for part in parts]


def test_what_says_nothing_is_offered_at_all_as_assumed(tmp_path: Path) -> None:
    model = read(tmp_path, "qwen3-235b-a22b")
    assert model.checkpoint is None
    assert model.precision_names() == ("fp4", "fp8", "bf16")


def test_fp8_blocks(tmp_path: Path) -> None:
    scheme = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    model = read(tmp_path, "deepseek-r1-0528", scheme)
    assert (model.checkpoint, model.precision_names()) == ("fp8", ("fp4", "fp8", "bf16"))
    like = load_model("deepseek-r1-0528").precision("fp8")
    said = {"source", "date", "kind", "note"}
    assert own(model).model_dump(exclude=said) == like.model_dump(exclude=said)
    assert (own(model).kind, model.precision("fp4").kind) == ("datasheet", "assumed")
    assert own(read(tmp_path, "deepseek-r1-0528", {"quant_method": "fp8"})).experts == 8


@pytest.mark.parametrize("beside", [True, False])
def test_nvfp4_as_modelopt_writes_it(tmp_path: Path, beside: bool) -> None:
    parts = ("self_attn.q_a_proj", "self_attn.q_b_proj", "self_attn.kv_b_proj")
    excluded = ["lm_head", *layers(61, *parts), "model.layers.61*"]
    if beside:
        file = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": excluded}}
        model = read(tmp_path, "deepseek-r1-0528", beside=file)
    else:
        scheme = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": excluded}
        model = read(tmp_path, "deepseek-r1-0528", scheme)
    assert (model.checkpoint, model.precision_names()) == ("fp4", ("fp4", "bf16"))
    like = load_model("deepseek-r1-0528").precision("fp4")
    said = {"source", "date", "kind", "note"}
    assert own(model).model_dump(exclude=said) == like.model_dump(exclude=said)


def test_int4_is_multiplied_in_bf16(tmp_path: Path) -> None:
    ignored = [
        "lm_head",
        "re:.*self_attn.*",
        "re:.*shared_experts.*",
        r"re:.*mlp\.(gate|up)_proj.*",
    ]
    scheme = {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": INT4_GROUP},
        "ignore": ignored,
    }
    # Where a file is of more than a language model, its quantisation may stand with that.
    text = CONFIGS["kimi-k2.5"]["text_config"] | {"quantization_config": scheme}
    model = read(tmp_path, "kimi-k2.5", text_config=text)
    assert (model.checkpoint, model.precision_names()) == ("int4", ("int4", "fp4", "bf16"))
    bits = own(model)
    assert (bits.experts, bits.expert_input) == (4.5, 16)
    assert (bits.attention, bits.attention_output, bits.shared_expert, bits.dense) == (16,) * 4
    assert bits.kv_cache == 8
    gptq = read(tmp_path, "qwen3-235b-a22b", {"quant_method": "gptq", "bits": 4, "group_size": 128})
    assert own(gptq).experts == 4.125


def test_excluded_layers_count_by_their_weights(tmp_path: Path) -> None:
    # Attention with a state stays in BF16, grouped heads do not: bits in between.
    ignored = [
        "*.mlp.shared_expert.*",
        *(f"model.language_model.layers.{n}.linear_attn*" for n in range(60)),
    ]
    scheme = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": [*ignored, "mtp.*"]}
    bits = own(read(tmp_path, "qwen3.5-397b-a17b", scheme))
    assert (bits.experts, bits.shared_expert, bits.draft) == (4.5, 16, 16)
    # 45 layers of 85.8 M and 15 of 73.4 M weights before the last projection, of 33.6 M in each.
    delta = 4096 * (2 * 2048 + 8192 + 2 * 64 + 8192) + 4 * (2 * 2048 + 8192)
    grouped = 4096 * 256 * (32 + 2 * 2 + 32)
    mean = (45 * delta * 16 + 15 * grouped * 4.5) / (45 * delta + 15 * grouped)
    assert bits.attention == pytest.approx(mean, abs=1e-6)
    assert bits.attention_output == pytest.approx((45 * 16 + 15 * 4.5) / 60, abs=1e-6)


def test_modules_have_formats_of_their_own(tmp_path: Path) -> None:
    listed: dict[str, Any] = {
        f"language_model.model.layers.{layer}.block_sparse_moe.experts.0.w1": {
            "quant_algo": "NVFP4"
        }
        for layer in range(3, 60)
    }
    for name in layers(60, "self_attn.q_proj", "self_attn.o_proj"):
        listed[f"language_model.{name}"] = {"quant_algo": "MXFP8"}
    file = {"quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": listed}}
    bits = own(read(tmp_path, "minimax-m3", beside=file))
    assert (bits.experts, bits.attention, bits.attention_output) == (4.5, 8.25, 8.25)
    assert (bits.shared_expert, bits.dense) == (16, 16)  # in no list
    # In a mixed checkpoint of FP8 the list says which modules are not NVFP4: they are FP8.
    scheme = {
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
        "quant_algo": "MIXED_PRECISION",
        "quantized_layers": {f"layers.{n}.ffn.experts": {"quant_algo": "NVFP4"} for n in range(61)},
        "ignore": ["*.attn.*", "*.ffn.shared_experts.*"],
    }
    bits = own(read(tmp_path, "deepseek-v4-pro", scheme, expert_dtype=None))
    assert (bits.experts, bits.attention, bits.shared_expert) == (4.5, 8.00195, 8.00195)


def test_experts_alone_may_be_mxfp4(tmp_path: Path) -> None:
    scheme = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    bits = own(read(tmp_path, "deepseek-v4-pro", scheme, expert_dtype="fp4"))
    assert (bits.experts, bits.expert_input, bits.attention) == (4.25, 8.25, 8.00195)
    model = read(tmp_path, "gpt-oss-120b", {"quant_method": "mxfp4"})
    assert (own(model).experts, own(model).attention) == (4.25, 16)
    assert model.precision_names() == ("fp4", "bf16")


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ([1], r"key quantization_config: is \[1\]; it must be keys and values"),
        ({"quant_method": "aqlm"}, "quant_method: is 'aqlm', which is not read; valid: fp8, mxfp4"),
        ({"quant_algo": "INT2"}, "key quant_algo: 'INT2' is not read; valid: NVFP4"),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, "has 3 bits in groups of 128"),
        ({"quant_method": "compressed-tensors"}, "config_groups: has no weights"),
        (
            {"quant_method": "fp8", "ignore": [3]},
            r"key ignore: is \[3\]; it must be a list of text",
        ),
        ({"quant_method": "fp8", "ignore": ["re:(a+)+b"]}, "is not read: a pattern has at most"),
        ({"quant_method": "fp8", "ignore": ["re:" + ".*a" * 9]}, "three repeats, none of a group"),
        ({"quant_method": "fp8", "ignore": ["re:["]}, r"'re:\['"),
        ({"quant_method": "fp8", "ignore": [f"*.{n}.*" for n in range(501)]}, "501 patterns of"),
        ({"quant_algo": "MIXED_PRECISION", "quantized_layers": [1]}, "must be keys and values"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, scheme: object, message: str) -> None:
    with pytest.raises(DataFileError, match=message) as caught:
        read(tmp_path, "qwen3-235b-a22b", scheme)
    assert "\n" not in str(caught.value)


def test_a_malformed_file_beside_is_named(tmp_path: Path) -> None:
    (tmp_path / "hf_quant_config.json").write_text("{")
    with pytest.raises(DataFileError, match=r"hf_quant_config\.json, line 1: is not JSON"):
        read(tmp_path, "qwen3-235b-a22b")
