"""The launch commands of SGLang."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from costmodel.engine_rules import needed_environment
from moeplan.recipes.command_line import (
    Count,
    CountOrZero,
    Flag,
    Options,
    Share,
    SlotPort,
    Text,
    script,
    slot_port,
)
from moeplan.recipes.launch import (
    ANY_ADDRESS,
    LEADER_GUARD,
    LEADER_PORT,
    RANK_GUARD,
    ROUTER_PORT,
    PairRouterOptions,
    launch_files,
    pool_router,
    read_load,
    read_router,
    sharing,
    slot_lines,
    slot_of,
    worker_addresses,
    worker_port,
)
from moeplan.recipes.parsed import Parsed, Setting, Worker
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import options_of, program_of
from moeplan.recipes.recipe import Recipe, RoleName
from presets.engines import Engine, load_engine

SERVER = ("python3", "-m", "sglang.launch_server")
ROUTER = ("python3", "-m", "sglang_router.launch_router")
KV_TYPES: dict[int, Literal["fp8_e4m3", "auto"]] = {8: "fp8_e4m3"}

DISPATCH = "SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK"
QUEUE_DEPTH = "NVSHMEM_QP_DEPTH"
LEAST_QUEUE_DEPTH = 1024
"""Default of NVSHMEM; DeepEP needs twice the dispatched tokens and two more. [1]"""

LOW_LATENCY = ("low_latency", "auto")
"""Modes of DeepEP whose decode steps run the low-latency kernels."""

LEAST_DISPATCH = 128
"""Default of SGLang. [token]"""


class ServerOptions(Options):
    """Options of ``sglang.launch_server`` that recipes set."""

    model_path: Annotated[Text, Field(alias="--model-path")]
    served_model_name: Annotated[Text, Field(alias="--served-model-name")]
    trust_remote_code: Annotated[Flag, Field(alias="--trust-remote-code")] = None
    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[SlotPort, Field(alias="--port")]
    nnodes: Annotated[Count, Field(alias="--nnodes")] = 1
    node_rank: Annotated[Text | None, Field(alias="--node-rank")] = None
    dist_init_addr: Annotated[Text | None, Field(alias="--dist-init-addr")] = None
    tp_size: Annotated[Count, Field(alias="--tp-size")]
    attn_dp_size: Annotated[Count, Field(alias="--attn-dp-size")] = 1
    ep_size: Annotated[Count, Field(alias="--ep-size")] = 1
    moe_a2a_backend: Annotated[
        Literal["none", "deepep", "mooncake", "nixl", "mori", "flashinfer", "megamoe"] | None,
        Field(alias="--moe-a2a-backend"),
    ] = None
    deepep_mode: Annotated[
        Literal["auto", "normal", "low_latency"] | None, Field(alias="--deepep-mode")
    ] = None
    enable_two_batch_overlap: Annotated[Flag, Field(alias="--enable-two-batch-overlap")] = None
    moe_runner_backend: Annotated[Text | None, Field(alias="--moe-runner-backend")] = None
    moe_dense_tp_size: Annotated[Count | None, Field(alias="--moe-dense-tp-size")] = None
    enable_dp_lm_head: Annotated[Flag, Field(alias="--enable-dp-lm-head")] = None
    enable_eplb: Annotated[Flag, Field(alias="--enable-eplb")] = None
    ep_num_redundant_experts: Annotated[
        CountOrZero | None, Field(alias="--ep-num-redundant-experts")
    ] = None
    quantization: Annotated[Text | None, Field(alias="--quantization")] = None
    kv_cache_dtype: Annotated[
        Literal["auto", "fp8_e4m3", "fp8_e5m2", "bf16"] | None, Field(alias="--kv-cache-dtype")
    ] = None
    context_length: Annotated[Count, Field(alias="--context-length")]
    max_running_requests: Annotated[Count, Field(alias="--max-running-requests")]
    chunked_prefill_size: Annotated[Count | None, Field(alias="--chunked-prefill-size")] = None
    mem_fraction_static: Annotated[Share | None, Field(alias="--mem-fraction-static")] = None
    cuda_graph_max_bs_decode: Annotated[Count | None, Field(alias="--cuda-graph-max-bs-decode")] = (
        None
    )
    disable_radix_cache: Annotated[Flag, Field(alias="--disable-radix-cache")] = None
    speculative_algorithm: Annotated[
        Literal["EAGLE", "EAGLE3", "NEXTN"] | None, Field(alias="--speculative-algorithm")
    ] = None
    speculative_draft_model_path: Annotated[
        Text | None, Field(alias="--speculative-draft-model-path")
    ] = None
    speculative_num_steps: Annotated[Count | None, Field(alias="--speculative-num-steps")] = None
    speculative_eagle_topk: Annotated[Count | None, Field(alias="--speculative-eagle-topk")] = None
    speculative_num_draft_tokens: Annotated[
        Count | None, Field(alias="--speculative-num-draft-tokens")
    ] = None
    disaggregation_mode: Annotated[
        Literal["prefill", "decode", "null"] | None, Field(alias="--disaggregation-mode")
    ] = None
    disaggregation_transfer_backend: Annotated[
        Literal["mooncake", "nixl", "ascend", "mori", "mooncake_tcp"] | None,
        Field(alias="--disaggregation-transfer-backend"),
    ] = None
    disaggregation_bootstrap_port: Annotated[
        SlotPort | None, Field(alias="--disaggregation-bootstrap-port")
    ] = None

    shell_fields: ClassVar[frozenset[str]] = frozenset(
        {"node_rank", "dist_init_addr", "port", "disaggregation_bootstrap_port"}
    )


class SglangRouterOptions(PairRouterOptions):
    """Options of ``sglang_router.launch_router`` for two pools."""

    pd_disaggregation: Annotated[Flag, Field(alias="--pd-disaggregation")]


def sglang_files(recipe: Recipe) -> dict[str, str]:
    """Write launch scripts of each role, of the router and of the benchmark."""
    router = pool_router(recipe) if recipe.config.is_aggregated else _pair_router(recipe)
    return launch_files(recipe, _worker_script, ROUTER, router)


def _pair_router(recipe: Recipe) -> SglangRouterOptions:
    return SglangRouterOptions(
        pd_disaggregation=True,
        prefill=[
            [f"http://{each}", str(bootstrap_port() + slot_of(recipe, "prefill", number))]
            for number, each in enumerate(worker_addresses(recipe, "prefill"))
        ],
        decode=[[f"http://{each}"] for each in worker_addresses(recipe, "decode")],
        host=ANY_ADDRESS,
        port=ROUTER_PORT,
    )


def server_options(recipe: Recipe, role: RoleName) -> ServerOptions:
    """Derive the options of a worker."""
    engine, config, served = load_engine("sglang"), recipe.config, recipe.served
    gpus, nodes = recipe.gpus(role), lay_out(recipe).spread[role].nodes
    attention_dp = recipe.attention_dp(role)
    ranks = gpus if attention_dp else 1
    slack = int(engine.settings["sequence_slack"].value)
    longest = served.isl + slack + (served.osl if role == "decode" else 0)
    prefill_batch = max(int(engine.settings["prefill_tokens"].value) // served.isl, 1)
    batch = config.max_batch if role == "decode" else prefill_batch
    content: dict[str, object] = {
        "model_path": recipe.settings.model_path,
        "served_model_name": recipe.settings.served_name,
        "host": ANY_ADDRESS,
        "port": worker_port(recipe, role),
        "nnodes": nodes,
        "node_rank": "$NODE_RANK" if nodes > 1 else None,
        "dist_init_addr": f"$LEADER:{LEADER_PORT}" if nodes > 1 else None,
        "tp_size": gpus,
        "attn_dp_size": ranks,
        "ep_size": gpus if role == "prefill" else config.decode_ep,
        **_exchange(recipe, role, engine),
        "moe_dense_tp_size": 1 if attention_dp else None,
        "enable_dp_lm_head": True if attention_dp else None,
        "quantization": "modelopt_fp4" if served.expert_format == "nvfp4" else None,
        "kv_cache_dtype": KV_TYPES.get(served.kv_bits, "auto"),
        "context_length": longest,
        "max_running_requests": batch * ranks,
        "mem_fraction_static": engine.settings["memory_fraction"].value,
        "cuda_graph_max_bs_decode": batch if role == "decode" else None,
        "disable_radix_cache": None if served.cached_share else True,
        **_drafts(recipe),
        **(_chunks(engine, ranks) if config.is_aggregated else _handover(recipe, role)),
    }
    if role == "decode" and config.eplb_slots:
        content["enable_eplb"] = True
        content["ep_num_redundant_experts"] = config.eplb_slots - served.experts
    return ServerOptions.model_validate(content)


def _chunks(engine: Engine, ranks: int) -> dict[str, object]:
    """Bound what a worker prefills between decode steps.

    Under attention dp SGLang divides the option among ranks.
    """
    if ranks == 1:
        return {"chunked_prefill_size": int(engine.settings["mixed_tokens"].value)}
    return {"chunked_prefill_size": ranks * int(engine.settings["mixed_rank_tokens"].value)}


def _handover(recipe: Recipe, role: RoleName) -> dict[str, object]:
    """Set what a role hands the KV cache over with."""
    return {
        "disaggregation_mode": role,
        "disaggregation_transfer_backend": "nixl",
        "disaggregation_bootstrap_port": _bootstrap(recipe) if role == "prefill" else None,
    }


def bootstrap_port() -> int:
    """Port at which decode finds the cache of prefill, unless told otherwise."""
    return int(load_engine("sglang").settings["bootstrap_port"].value)


def _bootstrap(recipe: Recipe) -> str:
    """Port at which a prefill worker is found; by its slot where several share a server."""
    first = bootstrap_port()
    return slot_port(first, 1) if sharing(recipe, "prefill") > 1 else str(first)


def dispatched_tokens(recipe: Recipe) -> int:
    """Tokens that a decode rank hands on in one step [token]."""
    return recipe.config.max_batch * (1 + recipe.config.mtp_depth)


def _exchange(recipe: Recipe, role: RoleName, engine: Engine) -> dict[str, object]:
    """Choose how tokens reach their experts.

    DeepEP's low-latency kernels serve decode steps small enough for them; its normal kernels serve
    prefill, FP4 apart. All else gathers the tokens on every rank, as measured workers that prefill
    what they decode do inside an NVLink domain.
    """
    config, served = recipe.config, recipe.served
    if config.is_aggregated:
        return _mixed_exchange(recipe, engine)
    wide = recipe.attention_dp(role) and (
        role == "prefill" or config.decode_ep == recipe.gpus(role)
    )
    if not wide:
        return {"moe_a2a_backend": "none"}
    if role == "prefill":
        if served.precision == "fp4":
            return {"moe_a2a_backend": "none"}
        return {"moe_a2a_backend": "deepep", "deepep_mode": "normal"}
    tokens = dispatched_tokens(recipe)
    if served.expert_format == "mxfp4" or tokens > engine.settings["dispatch_tokens"].value:
        return {"moe_a2a_backend": "none"}
    runner = "flashinfer_cutedsl" if served.expert_format == "nvfp4" else None
    return {
        "moe_a2a_backend": "deepep",
        "deepep_mode": "low_latency",
        "enable_two_batch_overlap": True if recipe.two_batches else None,
        "moe_runner_backend": runner,
    }


def _mixed_exchange(recipe: Recipe, engine: Engine) -> dict[str, object]:
    """Choose how tokens reach their experts where steps are of prefill and of decode."""
    gpus, served = recipe.gpus("decode"), recipe.served
    across = gpus > recipe.machine.gpus_per_domain and recipe.config.decode_ep == gpus
    if not across or not recipe.attention_dp("decode") or served.precision == "fp4":
        return {"moe_a2a_backend": "none"}
    if dispatched_tokens(recipe) > engine.settings["dispatch_tokens"].value:
        return {"moe_a2a_backend": "deepep", "deepep_mode": "normal"}
    return {
        "moe_a2a_backend": "deepep",
        "deepep_mode": "auto",
        "enable_two_batch_overlap": True if recipe.two_batches else None,
    }


def _drafts(recipe: Recipe) -> dict[str, object]:
    depth, head = recipe.config.mtp_depth, recipe.settings.draft_path
    if not depth:
        return {}
    return {
        "speculative_algorithm": "EAGLE3" if head else "EAGLE",
        "speculative_draft_model_path": head,
        "speculative_num_steps": depth,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": depth + 1,
    }


def _worker_script(recipe: Recipe, role: RoleName) -> str:
    options = server_options(recipe, role)
    before = slot_lines(recipe, role)
    if options.nnodes > 1:
        before += [RANK_GUARD, LEADER_GUARD]
    if options.deepep_mode in LOW_LATENCY:
        tokens = max(dispatched_tokens(recipe), LEAST_DISPATCH)
        depth = max(2 * (tokens + 1), LEAST_QUEUE_DEPTH)
        before += [f"export {DISPATCH}={tokens}", f"export {QUEUE_DEPTH}={depth}"]
    ranks = [1 if recipe.attention_dp(each) else recipe.gpus(each) for each in recipe.roles]
    needed = needed_environment("sglang", recipe.served.kv_heads, ranks[0], ranks[-1])
    before += [f"export {name}={value}" for name, value in needed.items()]
    comment = (
        f"Starts one {recipe.kind(role)} of {options.tp_size} GPUs; "
        f"run it on each of its {options.nnodes} nodes."
    )
    return script(comment, SERVER, options.lines(), before)


def read_sglang(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the scripts."""
    router = read_router(parsed, files, ROUTER, SglangRouterOptions)
    for role, worker in parsed.roles.items():
        name = f"{worker}.sh"
        command = program_of(parsed, files, name, SERVER)
        if command is None:
            continue
        words, exports = command
        options = options_of(parsed, name, words, ServerOptions, load_engine("sglang"))
        if options is None:
            continue
        parsed.commands[role] = name
        parsed.environment[role] = exports
        parsed.workers[role] = _worker(parsed, role, name, options, router.get(role))
    read_load(parsed, files)


def _worker(
    parsed: Parsed, role: RoleName, name: str, options: ServerOptions, replicas: Setting | None
) -> Worker:
    experts = parsed.facts.experts or 0
    ranks = options.attn_dp_size

    def setting(option: str, value: object) -> Setting:
        return Setting(f"{name}: {option}", value)

    per_node, rest = divmod(options.tp_size, options.nnodes)
    split, uneven = divmod(options.tp_size, options.ep_size)
    local = None if rest else setting("--nnodes", per_node)
    slots = experts + (options.ep_num_redundant_experts or 0) if options.enable_eplb else 0
    batch, odd = divmod(options.max_running_requests, ranks)
    graph = options.cuda_graph_max_bs_decode
    return Worker(
        role=role,
        replicas=replicas,
        nodes=setting("--nnodes", options.nnodes),
        gpus_per_node=local,
        world=setting("--tp-size", options.tp_size),
        tp=setting("--tp-size", options.tp_size),
        ep=setting("--ep-size", options.ep_size),
        moe_tp=setting("--ep-size", None if uneven else split),
        attention_dp=setting("--attn-dp-size", ranks > 1),
        batch=setting(
            "--max-running-requests", options.max_running_requests / ranks if odd else batch
        ),
        tokens=None,
        sequence=setting("--context-length", options.context_length),
        depth=setting("--speculative-num-steps", options.speculative_num_steps or 0),
        head=setting("--speculative-draft-model-path", options.speculative_draft_model_path),
        slots=setting("--ep-num-redundant-experts", slots),
        graph=setting("--cuda-graph-max-bs-decode", graph) if graph else None,
        model=setting("--model-path", options.model_path),
    )
