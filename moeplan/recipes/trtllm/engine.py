"""The TensorRT-LLM options that serve a configuration."""

from __future__ import annotations

from typing import Any

from costmodel.runs import expert_kernel
from moeplan.recipes.recipe import Recipe, RoleName
from moeplan.recipes.trtllm.engine_file import EngineFile
from presets.engines import Engine, load_engine

KV_TYPES = {8: "fp8", 16: "auto", 4: "nvfp4"}
"""Name of a cache type by its bits."""


def engine_files(recipe: Recipe) -> dict[RoleName, EngineFile]:
    """Derive the engine file of each role.

    Raises
    ------
    InputError
        Where the engine has no back-end for the experts.
    """
    if recipe.config.is_aggregated:
        return {"decode": EngineFile.model_validate(_decode(recipe) | _mixed(recipe))}
    built: dict[RoleName, dict[str, Any]] = {
        "prefill": _prefill(recipe) | _handover(recipe),
        "decode": _decode(recipe) | _decode_alone(recipe) | _handover(recipe),
    }
    return {role: EngineFile.model_validate(content) for role, content in built.items()}


def _prefill(recipe: Recipe) -> dict[str, Any]:
    engine = load_engine("trtllm")
    gpus = recipe.gpus("prefill")
    longest = recipe.served.isl + _setting(engine, "sequence_slack")
    tokens = max(_setting(engine, "prefill_tokens"), _whole_blocks(longest, engine))
    return {
        "tensor_parallel_size": gpus,
        "pipeline_parallel_size": 1,
        "moe_expert_parallel_size": gpus,
        "moe_tensor_parallel_size": 1,
        "enable_attention_dp": recipe.attention_dp("prefill"),
        "max_batch_size": max(tokens // recipe.served.isl, 1),
        "max_num_tokens": tokens,
        "max_seq_len": longest,
        "disable_overlap_scheduler": True,  # not offered on a worker that only prefills
        "cuda_graph_config": None,
        **_cache(recipe, engine, engine.settings["prefill_kv_fraction"].value),
        # Its steps are as long under tp: the back-ends of dp serve them.
        "moe_config": _experts(recipe, engine, "prefill", "dp", gpus),
        "print_iter_log": True,
    }


def _decode(recipe: Recipe) -> dict[str, Any]:
    engine, config = load_engine("trtllm"), recipe.config
    gpus, ep = config.decode_gpus_per_worker, config.decode_ep
    attention_dp = config.decode_attention == "dp"
    fraction = f"decode_{config.decode_attention}_kv_fraction"
    slack = _setting(engine, "sequence_slack")
    content = {
        "tensor_parallel_size": gpus,
        "pipeline_parallel_size": 1,
        "moe_expert_parallel_size": ep,
        "moe_tensor_parallel_size": gpus // ep,
        "enable_attention_dp": attention_dp,
        "max_batch_size": config.max_batch,
        "max_num_tokens": config.max_batch * (1 + config.mtp_depth),
        "max_seq_len": recipe.served.isl + recipe.served.osl + slack,
        "cuda_graph_config": {
            "enable_padding": True,
            "batch_sizes": graph_batches(config.max_batch),
        },
        **_cache(recipe, engine, engine.settings[fraction].value),
        "moe_config": _experts(recipe, engine, "decode", config.decode_attention, ep),
        "print_iter_log": True,
        "stream_interval": _setting(engine, "stream_interval"),
    }
    if config.eplb_slots:
        content["moe_config"]["load_balancer"] = {
            "num_slots": config.eplb_slots,
            "layer_updates_per_iter": _setting(engine, "layer_updates_per_iter"),
        }
    return content


def _decode_alone(recipe: Recipe) -> dict[str, Any]:
    """Say what measured recipes set on workers that only decode."""
    machine, gpus = recipe.machine, recipe.gpus("decode")
    if recipe.config.decode_attention == "dp":
        return {"enable_lm_head_tp_in_adp": True} if recipe.config.mtp_depth else {}
    if machine.kernel_profile == "blackwell" and 1 < gpus <= machine.gpus_per_domain:
        return {"allreduce_strategy": "MNNVL"}
    return {}


def _mixed(recipe: Recipe) -> dict[str, Any]:
    """Say what is set otherwise on a worker that prefills what it decodes."""
    engine, config = load_engine("trtllm"), recipe.config
    longest = recipe.served.isl + _setting(engine, "sequence_slack")
    step = config.max_batch * (1 + config.mtp_depth) + _whole_blocks(longest, engine)
    content: dict[str, Any] = {
        "max_num_tokens": max(_setting(engine, "mixed_tokens"), step),
        "enable_chunked_prefill": True,
        **_cache(recipe, engine, engine.settings["mixed_kv_fraction"].value),
        "stream_interval": _setting(engine, "mixed_stream_interval"),
    }
    if recipe.attention_dp("decode"):
        content["attention_dp_config"] = {
            "enable_balance": True,
            "batching_wait_iters": _setting(engine, "balance_wait"),
            "timeout_iters": _setting(engine, "balance_timeout"),
        }
    return content


def graph_batches(largest: int) -> list[int]:
    """Batches whose steps are recorded: powers of two, and the largest.

    Examples
    --------
    >>> graph_batches(30)
    [1, 2, 4, 8, 16, 30]
    """
    return [2**power for power in range(largest.bit_length()) if 2**power < largest] + [largest]


def _handover(recipe: Recipe) -> dict[str, Any]:
    """Set what both roles hand the KV cache over with."""
    engine = load_engine("trtllm")
    longest = recipe.served.isl + _setting(engine, "sequence_slack")
    buffer = max(_setting(engine, "transceiver_tokens"), _whole_blocks(longest, engine))
    return {"cache_transceiver_config": {"backend": "DEFAULT", "max_tokens_in_buffer": buffer}}


def _cache(recipe: Recipe, engine: Engine, kv_fraction: float) -> dict[str, Any]:
    """Set the KV cache, and the drafts whose cache every role fills."""
    content: dict[str, Any] = {
        "kv_cache_config": {
            "dtype": KV_TYPES.get(recipe.served.kv_bits, "auto"),
            "enable_block_reuse": recipe.served.cached_share > 0,
            "free_gpu_memory_fraction": kv_fraction,
            "tokens_per_block": _setting(engine, "tokens_per_block"),
        },
    }
    depth, head = recipe.config.mtp_depth, recipe.settings.draft_path
    if depth and head:
        drafts = {"decoding_type": "Eagle3", "max_draft_len": depth, "speculative_model": head}
        content["speculative_config"] = drafts
    elif depth:
        key = engine.releases_of(recipe.engine_release).traits["depth_key"]
        content["speculative_config"] = {"decoding_type": "MTP", key: depth}
    return content


def _experts(
    recipe: Recipe, engine: Engine, role: RoleName, attention: str, ep: int
) -> dict[str, Any]:
    machine, expert_format = recipe.machine, recipe.served.expert_format
    backend = engine.moe_backend(role, expert_format, machine.kernel_profile, attention, ep)
    if role == "decode" and _predicted_with_trtllm(recipe):
        backend = "TRTLLM"
    content: dict[str, Any] = {"backend": backend}
    if role == "decode" and expert_format == "nvfp4":
        content["use_low_precision_moe_combine"] = True
    return content


def _predicted_with_trtllm(recipe: Recipe) -> bool:
    """Whether the prediction has decode workers compute FP8 experts by TRTLLM's kernels."""
    served, config = recipe.served, recipe.config
    kernel = expert_kernel(
        recipe.machine.sku, served.precision, served.isl, config.decode_attention, config.mtp_depth
    )
    return served.expert_format == "fp8" and kernel == "trtllm"


def _whole_blocks(tokens: int, engine: Engine) -> int:
    """Round up to whole blocks of the KV cache [token]."""
    block = _setting(engine, "tokens_per_block")
    return -(-tokens // block) * block


def _setting(engine: Engine, name: str) -> int:
    return int(engine.settings[name].value)
