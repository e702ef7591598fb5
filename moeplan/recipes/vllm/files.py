"""The launch commands of vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from moeplan.recipes.command_line import (
    Count,
    CountOrZero,
    Flag,
    FromJson,
    JsonPart,
    Options,
    Port,
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
    PORT_STEP,
    PORTS,
    RANK_GUARD,
    ROUTER_PORT,
    PairRouterOptions,
    launch_files,
    pool_router,
    read_load,
    read_router,
    sharing,
    slot_lines,
    worker_addresses,
    worker_port,
)
from moeplan.recipes.parsed import Parsed, Setting, Worker
from moeplan.recipes.placement import lay_out
from moeplan.recipes.reading import options_of, program_of
from moeplan.recipes.recipe import Recipe, RoleName
from presets.engines import load_engine

SERVER = ("vllm", "serve")
ROUTER = ("vllm-router",)
SIDE_CHANNEL = "VLLM_NIXL_SIDE_CHANNEL_HOST"
SIDE_CHANNEL_PORT = "VLLM_NIXL_SIDE_CHANNEL_PORT"
SIDE_CHANNEL_OFFSET = 5600 - 8100
"""From a worker's own port to where the other role reads its cache; 5600 is vLLM's default. [1]"""

HEADLESS = 'if [ "$NODE_RANK" -gt 0 ]; then set -- --headless "$@"; fi'

All2All = Literal[
    "allgather_reducescatter",
    "deepep_high_throughput",
    "deepep_low_latency",
    "deepep_v2",
    "flashinfer_nvlink_one_sided",
    "flashinfer_nvlink_two_sided",
    "nixl_ep",
]


class Drafts(JsonPart):
    """How tokens are drafted."""

    method: Literal["mtp", "eagle3"]
    model: Text | None = None
    num_speculative_tokens: Annotated[int, Field(ge=1)]


class Eplb(JsonPart):
    """How experts are copied."""

    num_redundant_experts: Annotated[int, Field(ge=0)] = 0
    window_size: Annotated[int, Field(ge=1)] | None = None
    step_interval: Annotated[int, Field(ge=1)] | None = None


class Transfer(JsonPart):
    """How the KV cache moves."""

    kv_connector: str
    kv_role: Literal["kv_both", "kv_producer", "kv_consumer"]
    kv_load_failure_policy: Literal["fail", "recompute"] | None = None


HANDOVER = Transfer(kv_connector="NixlConnector", kv_role="kv_both", kv_load_failure_policy="fail")


class Compilation(JsonPart):
    """What is recorded."""

    cudagraph_mode: str


class ServerOptions(Options):
    """Options of ``vllm serve`` that recipes set; expert parallelism has no size of its own."""

    served_model_name: Annotated[Text, Field(alias="--served-model-name")]
    host: Annotated[Text, Field(alias="--host")]
    port: Annotated[SlotPort, Field(alias="--port")]
    nnodes: Annotated[Count, Field(alias="--nnodes")] = 1
    node_rank: Annotated[Text | None, Field(alias="--node-rank")] = None
    master_addr: Annotated[Text | None, Field(alias="--master-addr")] = None
    master_port: Annotated[Port | None, Field(alias="--master-port")] = None
    tensor_parallel_size: Annotated[Count, Field(alias="--tensor-parallel-size")] = 1
    data_parallel_size: Annotated[Count, Field(alias="--data-parallel-size")] = 1
    data_parallel_size_local: Annotated[Count | None, Field(alias="--data-parallel-size-local")] = (
        None
    )
    enable_expert_parallel: Annotated[Flag, Field(alias="--enable-expert-parallel")] = None
    all2all_backend: Annotated[All2All | None, Field(alias="--all2all-backend")] = None
    enable_dbo: Annotated[Flag, Field(alias="--enable-dbo")] = None
    enable_eplb: Annotated[Flag, Field(alias="--enable-eplb")] = None
    eplb_config: Annotated[Eplb | None, FromJson, Field(alias="--eplb-config")] = None
    speculative_config: Annotated[Drafts | None, FromJson, Field(alias="--speculative-config")] = (
        None
    )
    kv_cache_dtype: Annotated[
        Literal["auto", "fp8", "fp8_e4m3", "bfloat16"] | None, Field(alias="--kv-cache-dtype")
    ] = None
    max_model_len: Annotated[Count, Field(alias="--max-model-len")]
    max_num_seqs: Annotated[Count, Field(alias="--max-num-seqs")]
    max_num_batched_tokens: Annotated[Count, Field(alias="--max-num-batched-tokens")]
    no_enable_chunked_prefill: Annotated[Flag, Field(alias="--no-enable-chunked-prefill")] = None
    gpu_memory_utilization: Annotated[Share | None, Field(alias="--gpu-memory-utilization")] = None
    max_cudagraph_capture_size: Annotated[
        CountOrZero | None, Field(alias="--max-cudagraph-capture-size")
    ] = None
    compilation_config: Annotated[
        Compilation | None, FromJson, Field(alias="--compilation-config")
    ] = None
    enforce_eager: Annotated[Flag, Field(alias="--enforce-eager")] = None
    no_enable_prefix_caching: Annotated[Flag, Field(alias="--no-enable-prefix-caching")] = None
    stream_interval: Annotated[Count | None, Field(alias="--stream-interval")] = None
    kv_transfer_config: Annotated[
        Transfer | None, FromJson, Field(alias="--kv-transfer-config")
    ] = None

    shell_fields: ClassVar[frozenset[str]] = frozenset({"node_rank", "master_addr", "port"})


class VllmRouterOptions(PairRouterOptions):
    """Options of ``vllm-router`` for two pools."""

    vllm_pd_disaggregation: Annotated[Flag, Field(alias="--vllm-pd-disaggregation")]
    policy: Annotated[Text | None, Field(alias="--policy")] = None


def vllm_files(recipe: Recipe) -> dict[str, str]:
    """Write launch scripts of each role, of the router and of the benchmark."""
    router = pool_router(recipe) if recipe.config.is_aggregated else _pair_router(recipe)
    return launch_files(recipe, _worker_script, ROUTER, router)


def _pair_router(recipe: Recipe) -> VllmRouterOptions:
    return VllmRouterOptions(
        vllm_pd_disaggregation=True,
        prefill=[[f"http://{each}"] for each in worker_addresses(recipe, "prefill")],
        decode=[[f"http://{each}"] for each in worker_addresses(recipe, "decode")],
        host=ANY_ADDRESS,
        port=ROUTER_PORT,
        policy="round_robin",
    )


def server_options(recipe: Recipe, role: RoleName) -> ServerOptions:
    """Derive the options of a worker; EP has no option, and is 1 or all ranks."""
    engine, config, served = load_engine("vllm"), recipe.config, recipe.served
    gpus, spread = recipe.gpus(role), lay_out(recipe).spread[role]
    attention_dp = recipe.attention_dp(role)
    expert_parallel = gpus > 1 and (role == "prefill" or config.decode_ep == gpus)
    slack = int(engine.settings["sequence_slack"].value)
    longest = served.isl + slack + (served.osl if role == "decode" else 0)
    decoded = config.max_batch * (1 + config.mtp_depth)
    tokens, batch = decoded, config.max_batch
    interval, graphs = "stream_interval", "FULL_DECODE_ONLY"
    if role == "prefill":
        tokens = max(int(engine.settings["prefill_tokens"].value), longest)
        batch = max(tokens // served.isl, 1)
    if config.is_aggregated:  # chunks of inputs beside the batch
        tokens = max(int(engine.settings["mixed_tokens"].value), decoded + served.isl + slack)
        interval, graphs = "mixed_stream_interval", "FULL_AND_PIECEWISE"
    several = spread.nodes > 1
    return ServerOptions.model_validate(
        {
            "served_model_name": recipe.settings.served_name,
            "host": ANY_ADDRESS,
            "port": worker_port(recipe, role),
            "nnodes": spread.nodes,
            "node_rank": "$NODE_RANK" if several else None,
            "master_addr": "$LEADER" if several else None,
            "master_port": LEADER_PORT if several else None,
            "tensor_parallel_size": 1 if attention_dp else gpus,
            "data_parallel_size": gpus if attention_dp else 1,
            "data_parallel_size_local": spread.gpus_per_node if attention_dp else None,
            "enable_expert_parallel": True if expert_parallel else None,
            "all2all_backend": _exchange(recipe, role) if attention_dp else None,
            "enable_dbo": True if role == "decode" and recipe.two_batches else None,
            **_copies(recipe, role),
            "speculative_config": _drafts(recipe),
            "kv_cache_dtype": "fp8" if served.kv_bits == 8 else "auto",
            "max_model_len": longest,
            "max_num_seqs": batch,
            "max_num_batched_tokens": tokens,
            "gpu_memory_utilization": engine.settings["memory_fraction"].value,
            "max_cudagraph_capture_size": decoded if role == "decode" else None,
            "compilation_config": Compilation(cudagraph_mode=graphs) if role == "decode" else None,
            "enforce_eager": True if role == "prefill" else None,
            "no_enable_prefix_caching": None if served.cached_share else True,
            "stream_interval": (int(engine.settings[interval].value) if role == "decode" else None),
            "kv_transfer_config": None if config.is_aggregated else HANDOVER,
        }
    )


def _exchange(recipe: Recipe, role: RoleName) -> All2All:
    """Choose the all-to-all of a worker whose attention is replicated.

    Measured workers that prefill what they decode leave it at its default inside a server.
    """
    machine, gpus = recipe.machine, recipe.gpus(role)
    inside = gpus <= machine.gpus_per_node
    if role == "prefill" or (recipe.config.is_aggregated and inside):
        return "allgather_reducescatter"
    joined = not inside and gpus <= machine.gpus_per_domain
    return "flashinfer_nvlink_one_sided" if joined else "deepep_low_latency"


def _copies(recipe: Recipe, role: RoleName) -> dict[str, object]:
    if role == "prefill" or not recipe.config.eplb_slots:
        return {}
    copies = recipe.config.eplb_slots - recipe.served.experts
    return {"enable_eplb": True, "eplb_config": Eplb(num_redundant_experts=copies)}


def _drafts(recipe: Recipe) -> Drafts | None:
    depth, head = recipe.config.mtp_depth, recipe.settings.draft_path
    if not depth:
        return None
    method: Literal["mtp", "eagle3"] = "eagle3" if head else "mtp"
    return Drafts(method=method, model=head, num_speculative_tokens=depth)


def _worker_script(recipe: Recipe, role: RoleName) -> str:
    options = server_options(recipe, role)
    before = slot_lines(recipe, role)
    if not recipe.config.is_aggregated:
        before += [
            f'export {SIDE_CHANNEL}="$(hostname -i)"',
            f"export {SIDE_CHANNEL_PORT}={_side_channel_port(recipe, role)}",
        ]
    if options.nnodes > 1:
        before = [RANK_GUARD, LEADER_GUARD, *before, HEADLESS]
    comment = (
        f"Starts one {recipe.kind(role)} of {recipe.gpus(role)} GPUs; "
        f"run it on each of its {options.nnodes} nodes."
    )
    program = [*SERVER, recipe.settings.model_path]
    return script(comment, program, options.lines(), before)


def _side_channel_port(recipe: Recipe, role: RoleName) -> str:
    """Port of the cache: another for each worker that may stand on one server."""
    first = PORTS[role] + SIDE_CHANNEL_OFFSET
    return slot_port(first, PORT_STEP) if sharing(recipe, role) > 1 else str(first)


def read_vllm(parsed: Parsed, files: Mapping[str, str]) -> None:
    """Read the scripts."""
    router = read_router(parsed, files, ROUTER, VllmRouterOptions)
    for role, worker in parsed.roles.items():
        name = f"{worker}.sh"
        command = program_of(parsed, files, name, SERVER)
        if command is None:
            continue
        words, parsed.environment[role] = command
        model = Setting(f"{name}: model", words[0] if words else "")
        if not words or words[0].startswith("--"):
            parsed.tell("schema", model.field, "is missing after vllm serve")
        options = options_of(parsed, name, words[1:], ServerOptions, load_engine("vllm"))
        if options is not None:
            if options.nnodes > 1 and "--headless" not in files[name]:
                problem = "is missing; only the first node of a worker serves"
                parsed.tell("options", f"{name}: --headless", problem)
            parsed.commands[role] = name
            parsed.workers[role] = _worker(parsed, role, name, options, model, router.get(role))
    read_load(parsed, files)


def _worker(
    parsed: Parsed,
    role: RoleName,
    name: str,
    options: ServerOptions,
    model: Setting,
    replicas: Setting | None,
) -> Worker:
    experts = parsed.facts.experts or 0
    tp, dp = options.tensor_parallel_size, options.data_parallel_size
    world = tp * dp

    def setting(option: str, value: object) -> Setting:
        return Setting(f"{name}: {option}", value)

    size = "--data-parallel-size" if dp > 1 else "--tensor-parallel-size"
    local = options.data_parallel_size_local
    per_node = setting("--data-parallel-size-local", tp * local) if local else None
    if per_node is None and world % options.nnodes == 0:
        per_node = setting("--nnodes", world // options.nnodes)
    ep = world if options.enable_expert_parallel else 1
    eplb = options.eplb_config or Eplb()
    slots = experts + eplb.num_redundant_experts if options.enable_eplb else 0
    drafts, graph = options.speculative_config, options.max_cudagraph_capture_size
    depth = drafts.num_speculative_tokens if drafts else 0
    return Worker(
        role=role,
        replicas=replicas,
        nodes=setting("--nnodes", options.nnodes),
        gpus_per_node=per_node,
        world=setting(size, world),
        tp=setting(size, world),
        ep=setting("--enable-expert-parallel", ep),
        moe_tp=setting("--enable-expert-parallel", world // ep),
        attention_dp=setting("--data-parallel-size", dp > 1),
        batch=setting("--max-num-seqs", options.max_num_seqs),
        tokens=setting("--max-num-batched-tokens", options.max_num_batched_tokens),
        sequence=setting("--max-model-len", options.max_model_len),
        depth=setting("--speculative-config", depth),
        head=setting("--speculative-config", drafts.model if drafts else None),
        slots=setting("--eplb-config", slots),
        graph=setting("--max-cudagraph-capture-size", graph // (1 + depth)) if graph else None,
        model=model,
        parts_inputs=not options.no_enable_chunked_prefill,
    )
