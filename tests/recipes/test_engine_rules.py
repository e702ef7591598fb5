"""Rules of engines are asked by prediction, recipes and their check alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import moeplan
from costmodel.results import Configuration
from moeplan.options import Options
from moeplan.question import ask
from moeplan.recipes.checks import failures
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.writing import check_files, recipe_files
from optimizer import Shape, broken_rule
from presets import InputError, default_cluster

SPLIT: dict[str, Any] = {
    "prefill_workers": 1,
    "prefill_gpus_per_worker": 4,
    "prefill_attention": "tp",
    "decode_workers": 1,
    "decode_gpus_per_worker": 8,
    "decode_ep": 1,
    "decode_attention": "tp",
    "max_batch": 32,
    "mtp_depth": 0,
    "concurrency": 32,
}
"""Decode workers that split every expert over their ranks."""

WIDE = SPLIT | {"prefill_gpus_per_worker": 16, "decode_gpus_per_worker": 32}

CASES = [
    ("h200", "qwen3-235b-a22b", SPLIT, "192 of the 1536 columns"),  # 1536 / 8
    ("h100", "deepseek-r1-0528", WIDE, "64 of the 2048 columns"),  # 2048 / 32
]


@pytest.mark.parametrize(("sku", "model", "content", "problem"), CASES)
def test_no_question_takes_parts_of_blocks(
    sku: str, model: str, content: dict[str, Any], problem: str, format_name: str
) -> None:
    engine = FORMATS[format_name].engine
    options = Options(model=model, precision="fp8", engine=engine)
    configuration = Configuration(**content)
    with pytest.raises(InputError, match=f"decode_ep 1 over .* leaves each rank {problem}"):
        moeplan.predict(sku, configuration, options)
    with pytest.raises(InputError, match=problem):
        recipe_for_configuration(sku, configuration, options, Request(format_name))
    gpus = configuration.decode_gpus_per_worker
    scenario = ask(sku, options).scenario
    broken = broken_rule(Shape(gpus, 1, "tp", 0, 0), scenario, default_cluster(sku, 72))
    assert broken is not None
    assert broken.name == "engine"


def test_an_advised_ep_is_taken(format_name: str) -> None:
    options = Options(model="qwen3-235b-a22b", precision="fp8", engine=FORMATS[format_name].engine)
    with pytest.raises(InputError) as caught:
        moeplan.predict("h200", Configuration(**SPLIT), options)
    advice = re.findall(r"\d+", str(caught.value).rpartition("give ")[2])
    assert advice == (["8"] if format_name == "vllm" else ["2", "4", "8"])
    for ep in advice:
        assert moeplan.predict("h200", Configuration(**SPLIT | {"decode_ep": int(ep)}), options)


def test_the_check_asks_the_same(format_name: str) -> None:
    """Files of another precision, made FP8 by hand of the record."""
    options = Options(model="qwen3-235b-a22b", engine=FORMATS[format_name].engine)
    content = SPLIT | {"decode_ep": 1, "prefill_gpus_per_worker": 8}
    configuration = Configuration(**content)
    recipe = recipe_for_configuration("b200", configuration, options, Request(format_name))
    files = recipe_files(recipe)
    assert not failures(check_files(recipe, files))
    fp8 = recipe.served.model_copy(update={"precision": "fp8", "expert_format": "fp8"})
    found = failures(check_files(recipe.model_copy(update={"served": fp8}), files))
    assert any(each.check == "engine" and "192 of the 1536" in each.problem for each in found)


def test_kv_heads_split_unlike_need_a_staging_buffer() -> None:
    options = Options(model="qwen3-235b-a22b", precision="fp8", engine="sglang")
    configuration = Configuration(**SPLIT | {"decode_ep": 8})
    recipe = recipe_for_configuration("h200", configuration, options, Request("sglang"))
    files = recipe_files(recipe)
    line = "export SGLANG_DISAGG_STAGING_BUFFER=1\n"
    assert all(line in files[f"{role}.sh"] for role in ("prefill", "decode"))
    spoilt = files | {"decode.sh": files["decode.sh"].replace(line, "")}
    (told,) = [each for each in check_files(recipe, spoilt) if each.status == "warned"]
    assert told.check.name == "environment"
    assert "decode.sh" in told.findings[0].field


@pytest.mark.parametrize("changes", [{"prefill_gpus_per_worker": 8}, {"model": "deepseek-r1-0528"}])
def test_others_need_none(changes: dict[str, Any]) -> None:
    model = changes.pop("model", "qwen3-235b-a22b")
    options = Options(model=model, precision="fp8", engine="sglang")
    configuration = Configuration(
        **SPLIT
        | {"decode_ep": 8}
        | changes
        | ({"prefill_gpus_per_worker": 8, "prefill_attention": "dp"} if "deepseek" in model else {})
    )
    recipe = recipe_for_configuration("h200", configuration, options, Request("sglang"))
    assert "STAGING" not in "".join(recipe_files(recipe).values())


QWEN3_30B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "vocab_size": 151936,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
"""What config.json of Qwen/Qwen3-30B-A3B-FP8 says of its shape."""


def test_a_model_of_a_file_is_asked_too(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3_30B))
    options = Options(model=str(path), precision="fp8")
    split = SPLIT | {"decode_gpus_per_worker": 4}
    with pytest.raises(InputError, match=r"192 of the 768 columns .* give 2 or 4"):
        moeplan.predict("h200", Configuration(**split), options)
    assert moeplan.predict("h200", Configuration(**split | {"decode_ep": 2}), options)
