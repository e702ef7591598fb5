"""Every recipe passes every check, and says what its configuration says."""

from __future__ import annotations

from moeplan.recipes.formats import FORMATS
from moeplan.recipes.trtllm.engine import engine_files
from moeplan.recipes.trtllm.engine_file import EngineFile
from moeplan.recipes.writing import check_files, parse_files, recipe_files
from presets import engine_settings_rows, published_rows
from tests.recipes.samples import every_recipe, good, published


def test_every_recipe_passes_every_check(format_name: str) -> None:
    recipes = every_recipe(format_name)
    assert len(recipes) >= 20 + 4 * 25
    for recipe, files in recipes:
        results = check_files(recipe, files)
        assert {result.status for result in results} == {"passed"}, recipe.config.label


def test_the_same_recipe_is_written_twice(format_name: str) -> None:
    recipe, files = good(format_name)
    assert recipe_files(recipe.model_copy(deep=True)) == files


def test_settings_are_those_of_the_published_rows() -> None:
    for row, recipe in zip(published_rows(), published("dynamo"), strict=True):
        parsed = parse_files(recipe, recipe_files(recipe))
        decode, prefill = parsed.workers["decode"], parsed.workers["prefill"]
        assert decode.batch.value == row.max_batch
        assert decode.depth.value == prefill.depth.value == row.mtp_depth
        assert decode.slots.value == row.eplb_slots
        assert decode.world.value == row.decode_gpus_per_worker
        assert decode.ep.value == row.decode_ep
        assert decode.attention_dp.value == (row.decode_attention == "dp")
        assert prefill.world.value == prefill.ep.value == row.prefill_gpus_per_worker


def test_settings_are_those_of_the_recipes_behind_the_published_rows() -> None:
    measured = {
        (row.sku, concurrency, row.decode_max_batch_size, row.decode_mtp or 0): row
        for row in engine_settings_rows()
        if (row.isl, row.osl) == (1024, 1024)
        for concurrency in row.concurrency
    }
    for row, recipe in zip(published_rows(), published("trtllm"), strict=True):
        settings = measured[row.sku, row.concurrency, row.max_batch, row.mtp_depth]
        prefill, decode = engine_files(recipe).values()
        assert decode.max_batch_size == settings.decode_max_batch_size
        assert decode.max_num_tokens == settings.decode_max_num_tokens
        assert decode.tensor_parallel_size == settings.decode_tp
        assert decode.moe_expert_parallel_size == settings.decode_ep
        assert decode.enable_attention_dp == settings.decode_attention_dp
        assert decode.enable_lm_head_tp_in_adp == settings.decode_lm_head_tp
        assert decode.moe_config.backend == settings.decode_moe_backend
        assert decode.moe_config.use_low_precision_moe_combine
        assert (slots_of(decode) or None) == settings.decode_eplb_slots
        assert max(graphs_of(decode)) == settings.decode_cuda_graph_largest
        assert decode.allreduce_strategy == settings.decode_allreduce
        assert decode.kv_cache_config.dtype == settings.decode_kv_dtype
        assert prefill.tensor_parallel_size == settings.prefill_tp
        assert prefill.moe_config.backend == settings.prefill_moe_backend
        assert prefill.enable_attention_dp == settings.prefill_attention_dp


def test_fp8_experts_run_the_kernels_that_the_prediction_assumes() -> None:
    (recipe,) = published("trtllm")[:1]
    backends = {}
    for sku, attention, isl in (
        ("gb200", "dp", 1024),
        ("gb200", "tp", 1024),
        ("b300", "dp", 1024),
        ("b200", "dp", 1024),
        ("b200", "dp", 8192),
    ):
        fp8 = {"precision": "fp8", "expert_format": "fp8", "isl": isl}
        changed = recipe.model_copy(
            update={
                "machine": recipe.machine.model_copy(update={"sku": sku}),
                "served": recipe.served.model_copy(update=fp8),
                "config": recipe.config.model_copy(
                    update={"decode_attention": attention, "mtp_depth": 0}
                ),
            }
        )
        engine = engine_files(changed)["decode"]
        backends[sku, attention, isl] = engine.moe_config.backend
    assert list(backends.values()) == ["DEEPGEMM", "TRTLLM", "TRTLLM", "DEEPGEMM", "TRTLLM"]


def slots_of(engine: EngineFile) -> int:
    balancer = engine.moe_config.load_balancer
    return balancer.num_slots if balancer else 0


def graphs_of(engine: EngineFile) -> list[int]:
    assert engine.cuda_graph_config is not None
    return engine.cuda_graph_config.batch_sizes or []


def test_every_check_has_a_name_and_a_rule_of_its_own() -> None:
    told = {(check.name, check.rule) for each in FORMATS.values() for check in each.checks}
    assert len({name for name, _ in told}) == len({rule for _, rule in told}) == len(told)
    for each in FORMATS.values():
        assert len({check.name for check in each.checks}) == len(each.checks)
