"""Checks of launch commands, and of the nodes of a Slurm job."""

from __future__ import annotations

from moeplan.recipes import checks_trtllm, sglang, vllm
from moeplan.recipes.checks_engine import Breaches, Unreadable, differs, workers_of
from moeplan.recipes.launch_trtllm import ServeOptions, SrunOptions
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.recipe import ROLES, RoleName
from moeplan.recipes.slurm import RECIPE, role_nodes
from presets.engines import load_engine
from presets.errors import shown

SERVERS = (sglang.ServerOptions, vllm.ServerOptions)


def _commands(parsed: Parsed) -> list[tuple[RoleName, str, object]]:
    if len(parsed.commands) < len(ROLES):
        raise Unreadable
    return [(role, *parsed.commands[role]) for role in ROLES]


def ranks(parsed: Parsed) -> Breaches:
    """Find options of a worker that contradict each other."""
    for role, place, options in _commands(parsed):
        if isinstance(options, sglang.ServerOptions):
            yield from _sglang_ranks(role, place, options)
        elif isinstance(options, vllm.ServerOptions):
            yield from _vllm_ranks(place, options)
            if vllm.SIDE_CHANNEL not in parsed.environment.get(role, {}):
                field = f"{place}: export {vllm.SIDE_CHANNEL}"
                yield field, "is missing; it is where the other role reads the KV cache"
        elif isinstance(options, tuple):
            yield from _trtllm_ranks(parsed, role, place, *options)


def _sglang_ranks(role: RoleName, place: str, options: sglang.ServerOptions) -> Breaches:
    mode = Setting(f"{place}: --disaggregation-mode", options.disaggregation_mode)
    yield from differs(mode, role, "the role of the script")
    tp, attn_dp = options.tp_size, options.attn_dp_size
    if attn_dp not in (1, tp):
        yield f"{place}: --attn-dp-size", f"is {attn_dp}; it must be 1 or the {tp} ranks"
    if options.moe_a2a_backend == "deepep":
        yield from differs(
            Setting(f"{place}: --ep-size", options.ep_size), tp, "all ranks, under DeepEP"
        )
    if attn_dp > 1 and options.moe_dense_tp_size not in (None, 1):
        yield f"{place}: --moe-dense-tp-size", "must be 1 where attention is replicated"
    if options.ep_num_redundant_experts and not options.enable_eplb:
        yield f"{place}: --ep-num-redundant-experts", "needs --enable-eplb"
    yield from _multi_node(place, options.nnodes, options.node_rank, options.dist_init_addr)
    yield from _sglang_drafts(place, options)


def _sglang_drafts(place: str, options: sglang.ServerOptions) -> Breaches:
    steps = options.speculative_num_steps
    if steps is None:
        if options.speculative_algorithm or options.speculative_num_draft_tokens:
            yield f"{place}: --speculative-num-steps", "is missing beside the other options"
        return
    if options.speculative_algorithm is None:
        yield f"{place}: --speculative-algorithm", "is missing; give EAGLE"
    topk = Setting(f"{place}: --speculative-eagle-topk", options.speculative_eagle_topk)
    yield from differs(topk, 1, "for the drafts of the model's own layers")
    draft_tokens = Setting(
        f"{place}: --speculative-num-draft-tokens", options.speculative_num_draft_tokens
    )
    yield from differs(draft_tokens, steps + 1, "one more than the steps")


def _multi_node(place: str, nodes: int, rank: str | None, leader: str | None) -> Breaches:
    if nodes > 1 and (rank is None or leader is None):
        yield f"{place}: --nnodes", f"is {nodes}; a rank and the address of the first are missing"


def _vllm_ranks(place: str, options: vllm.ServerOptions) -> Breaches:
    tp, dp, local = (
        options.tensor_parallel_size,
        options.data_parallel_size,
        options.data_parallel_size_local,
    )
    if dp > 1 and tp > 1:
        yield (
            f"{place}: --tensor-parallel-size",
            f"is {tp}; attention is either split or replicated",
        )
    if local is not None and local * options.nnodes != dp:
        yield (
            f"{place}: --data-parallel-size-local",
            f"is {local} on {options.nnodes} nodes; their product must be {dp}",
        )
    if options.enable_eplb and not options.enable_expert_parallel:
        yield f"{place}: --enable-eplb", "needs --enable-expert-parallel"
    if options.eplb_config and not options.enable_eplb:
        yield f"{place}: --eplb-config", "needs --enable-eplb"
    yield from _multi_node(place, options.nnodes, options.node_rank, options.master_addr)


def _trtllm_ranks(
    parsed: Parsed, role: RoleName, place: str, srun: SrunOptions, serve: ServeOptions
) -> Breaches:
    tasks = srun.nodes * srun.ntasks_per_node
    yield from differs(Setting(f"{place}: --ntasks", srun.ntasks), tasks, "one per GPU")
    known = load_engine("trtllm").releases_of(parsed.recipe.engine_release)
    option = known.traits["config_option"]
    names = {"--config": serve.config, "--extra_llm_api_options": serve.extra_llm_api_options}
    yield from differs(
        Setting(f"{place}: {option}", names[option]), f"{role}.yaml", "the file of the role"
    )


def cache(parsed: Parsed) -> Breaches:
    """Find a cache that decode cannot read."""
    if parsed.recipe.engine == "trtllm":
        yield from checks_trtllm.cache(parsed)
        return
    (_, first, prefill), (_, second, decode) = _commands(parsed)
    if isinstance(prefill, SERVERS) and isinstance(decode, SERVERS):
        setting = Setting(f"{second}: --kv-cache-dtype", decode.kv_cache_dtype)
        yield from differs(setting, prefill.kv_cache_dtype, f"as {first} has")


def ports(parsed: Parsed) -> Breaches:
    """Find an address where nothing listens."""
    router = parsed.router_port
    if router is None:
        raise Unreadable
    for role, _, options in _commands(parsed):
        server = options[1] if isinstance(options, tuple) else options
        if not isinstance(server, (*SERVERS, ServeOptions)):
            continue
        for field, (url, *rest) in parsed.routes.get(role, []):
            if not url.endswith(f":{server.port}"):
                yield field, f"{shown(url)} must end in :{server.port}, where {role} listens"
            if isinstance(server, sglang.ServerOptions) and role == "prefill":
                yield from _bootstrap(field, rest, server)
    url = parsed.load.get("url")
    if url is not None and not url.value.rstrip("/").endswith(f":{router.value}"):
        yield url.field, f"{shown(url.value)} must end in :{router.value}, that of {router.field}"


def _bootstrap(field: str, rest: list[str], server: sglang.ServerOptions) -> Breaches:
    port = server.disaggregation_bootstrap_port or sglang.bootstrap_port()
    if rest != [str(port)]:
        yield field, f"must give the bootstrap port, {port}, after the address"


def transfer(parsed: Parsed) -> Breaches:
    """Find roles that move the KV cache by different means."""
    (_, first, prefill), (_, second, decode) = _commands(parsed)
    if isinstance(prefill, sglang.ServerOptions) and isinstance(decode, sglang.ServerOptions):
        option = "--disaggregation-transfer-backend"
        wanted = prefill.disaggregation_transfer_backend
        setting = Setting(f"{second}: {option}", decode.disaggregation_transfer_backend)
        yield from differs(setting, wanted, f"as {first} has")
    elif isinstance(prefill, vllm.ServerOptions) and isinstance(decode, vllm.ServerOptions):
        option = "--kv-transfer-config"
        setting = Setting(f"{second}: {option}", decode.kv_transfer_config.kv_connector)
        yield from differs(setting, prefill.kv_transfer_config.kv_connector, f"as {first} has")
        for place, options, wrong in ((first, prefill, "consumer"), (second, decode, "producer")):
            if options.kv_transfer_config.kv_role == f"kv_{wrong}":
                yield f"{place}: {option}", f"kv_role kv_{wrong} is that of the other role"


def dispatch(parsed: Parsed) -> Breaches:
    """Find steps that dispatch more tokens than low-latency kernels take."""
    most = int(load_engine("sglang").settings["dispatch_tokens"].value)
    decode = workers_of(parsed)[1]
    place, options = parsed.commands["decode"]
    if options.deepep_mode != "low_latency" or options.moe_a2a_backend != "deepep":
        return
    environment = parsed.environment.get("decode", {})
    need = decode.batch.value * (1 + decode.depth.value)
    reserved = environment.get(sglang.DISPATCH, str(sglang.LEAST_DISPATCH))
    field = f"{place}: export {sglang.DISPATCH}"
    if not reserved.isdecimal() or not need <= int(reserved) <= most:
        yield field, f"is {reserved}; give {need} to {most}, what a step dispatches"
        return
    depth = environment.get(sglang.QUEUE_DEPTH, str(sglang.LEAST_QUEUE_DEPTH))
    if not depth.isdecimal() or int(depth) < 2 * (int(reserved) + 1):
        yield (
            f"{place}: export {sglang.QUEUE_DEPTH}",
            f"is {depth}; give {2 * (int(reserved) + 1)} or more for {reserved} tokens",
        )


def job(parsed: Parsed) -> Breaches:
    """Find nodes of a Slurm job that its workers do not fill."""
    content, recipe = parsed.slurm, parsed.recipe
    if content is None:
        raise Unreadable
    resources = content.resources
    place = f"{RECIPE}: resources"
    machine = recipe.machine
    node = Setting(f"{place}.gpus_per_node", resources.gpus_per_node)
    yield from differs(node, machine.gpus_per_node, f"as {machine.sku} has")
    yield from differs(Setting(f"{place}.gpu_type", resources.gpu_type), machine.sku, "the machine")
    yield from differs(
        Setting(f"{RECIPE}: model.precision", content.model.precision),
        recipe.served.precision,
        "as predicted",
    )
    for role in ROLES:
        workers = getattr(resources, f"{role}_workers")
        gpus = getattr(resources, f"gpus_per_{role}")
        nodes = Setting(f"{place}.{role}_nodes", getattr(resources, f"{role}_nodes"))
        yield from differs(nodes, role_nodes(workers, gpus, recipe), f"for {workers} x {gpus} GPUs")
