"""Prefill workers whose ranks share every request, in every format and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from costmodel.results import Configuration
from moeplan.options import Options
from moeplan.recipes.checks import failures
from moeplan.recipes.diff import compare_recipes
from moeplan.recipes.question import Request, recipe_for_configuration
from moeplan.recipes.recipe import Recipe
from moeplan.recipes.writing import ROW, check_files, parse_files, recipe_files
from presets import read_measured_rows


def recipe_of(format_name: str, attention: str, **changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "prefill_workers": 2,
        "prefill_gpus_per_worker": 4,
        "prefill_attention": attention,
        "decode_workers": 1,
        "decode_gpus_per_worker": 16,
        "decode_ep": 16,
        "decode_attention": "dp",
        "max_batch": 16,
        "mtp_depth": 2,
        "concurrency": 100,
    } | changes
    return recipe_for_configuration(
        "gb200", Configuration(**content), Options(isl=8192), Request(format_name)
    )


@pytest.mark.parametrize("attention", ["dp", "tp"])
def test_what_is_written_says_how_prefill_runs(format_name: str, attention: str) -> None:
    recipe = recipe_of(format_name, attention)
    files = recipe_files(recipe)
    results = check_files(recipe, files)
    assert {result.status for result in results} == {"passed"}
    prefill, decode = (parse_files(recipe, files).workers[role] for role in ("prefill", "decode"))
    assert prefill.attention_dp.value is (attention == "dp")
    assert prefill.world.value == prefill.ep.value == 4
    assert decode.attention_dp.value is True
    assert f"attention {attention}" in files["README.md"]


@pytest.mark.parametrize("written", ["dp", "tp"])
def test_files_of_the_other_mode_are_refused(format_name: str, written: str) -> None:
    other = "tp" if written == "dp" else "dp"
    files = recipe_files(recipe_of(format_name, written))
    found = failures(check_files(recipe_of(format_name, other), files))
    assert "attention" in {each.check for each in found}
    assert any("as the configuration has" in each.problem for each in found)


def test_options_of_each_engine() -> None:
    engine = yaml.safe_load(recipe_files(recipe_of("trtllm", "tp"))["prefill.yaml"])
    assert engine["enable_attention_dp"] is False
    assert engine["tensor_parallel_size"] == engine["moe_expert_parallel_size"] == 4
    sglang = recipe_files(recipe_of("sglang", "tp"))["prefill.sh"]
    assert "--tp-size 4" in sglang
    assert "--attn-dp-size 1" in sglang
    assert "--moe-a2a-backend none" in sglang
    assert "--enable-dp-lm-head" not in sglang
    vllm = recipe_files(recipe_of("vllm", "tp"))["prefill.sh"]
    assert "--tensor-parallel-size 4" in vllm
    assert "--data-parallel-size 1" in vllm
    assert "--enable-expert-parallel" in vllm
    assert "--all2all-backend" not in vllm


def test_one_gpu_is_written_the_same_in_both_modes(format_name: str) -> None:
    one = {"prefill_gpus_per_worker": 1, "prefill_workers": 4, "mtp_depth": 0}
    one |= {"decode_gpus_per_worker": 4, "decode_ep": 4}
    written = []
    for attention in ("dp", "tp"):
        configuration = Configuration(**recipe_of("trtllm", attention).config.model_dump() | one)
        options = Options(model="gpt-oss-120b")
        recipe = recipe_for_configuration("gb200", configuration, options, Request(format_name))
        files = recipe_files(recipe)
        assert not failures(check_files(recipe, files))
        named = {"README.md", "recipe.json", ROW}
        written.append({name: text for name, text in files.items() if name not in named})
    assert written[0] == written[1]


def test_the_row_for_validate_keeps_the_mode(format_name: str, tmp_path: Path) -> None:
    recipe = recipe_of(format_name, "tp")
    path = tmp_path / "rows.csv"
    path.write_text(recipe_files(recipe)[ROW])
    (row,) = read_measured_rows(path).rows.values()
    assert row.prefill_attention == "tp"
    names = Configuration.model_fields
    assert Configuration(**{name: getattr(row, name) for name in names}) == recipe.config


def test_a_record_without_the_mode_means_dp() -> None:
    recipe = recipe_of("trtllm", "dp")
    content = recipe.to_json()
    del content["config"]["prefill_attention"]
    assert Recipe.model_validate_json(json.dumps(content)) == recipe


def test_a_diff_names_the_mode() -> None:
    changes = compare_recipes(recipe_of("trtllm", "dp"), recipe_of("trtllm", "tp"))
    configuration = [change[1:] for change in changes if change.part == "configuration"]
    assert configuration == [("prefill_attention", "dp", "tp")]
