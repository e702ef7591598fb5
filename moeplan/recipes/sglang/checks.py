"""Checks of the launch commands of SGLang."""

from __future__ import annotations

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.checks_worker import workers_of
from moeplan.recipes.command_line import port_at
from moeplan.recipes.launch import PORT_CHECK, multi_node, ports, slot_of
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.sglang.files import (
    DISPATCH,
    LEAST_DISPATCH,
    LEAST_QUEUE_DEPTH,
    LOW_LATENCY,
    QUEUE_DEPTH,
    ServerOptions,
    bootstrap_port,
)
from presets.engines import load_engine


def ranks(parsed: Parsed) -> Breaches:
    """Find options of a worker that contradict each other."""
    for role, worker in parsed.roles.items():
        place = f"{worker}.sh"
        options = parsed.read(place, ServerOptions)
        if parsed.one_pool:
            yield from _chunks(place, options)
        else:
            mode = Setting(f"{place}: --disaggregation-mode", options.disaggregation_mode)
            yield from differs(mode, role, "the role of the script")
        yield from _sizes(place, options)
        yield from multi_node(place, options.nnodes, options.node_rank, options.dist_init_addr)
        yield from _drafts(place, options)


def _chunks(place: str, options: ServerOptions) -> Breaches:
    """Find what a worker that prefills what it decodes has too much, or lacks."""
    if options.disaggregation_mode not in (None, "null"):
        field = f"{place}: --disaggregation-mode"
        yield field, f"is {options.disaggregation_mode}; leave it out, as one pool has no other"
    field, size = f"{place}: --chunked-prefill-size", options.chunked_prefill_size
    if size is None:
        yield field, "is missing; it bounds how long decode waits for a prefill"
    elif size % options.attn_dp_size:
        yield field, f"is {size}; it must be shared evenly by {options.attn_dp_size} ranks"


def _sizes(place: str, options: ServerOptions) -> Breaches:
    tp, attn_dp = options.tp_size, options.attn_dp_size
    if tp % options.nnodes:
        yield f"{place}: --nnodes", f"is {options.nnodes}; it must divide the {tp} ranks"
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


def _drafts(place: str, options: ServerOptions) -> Breaches:
    steps = options.speculative_num_steps
    if steps is None:
        if options.speculative_algorithm or options.speculative_num_draft_tokens:
            yield f"{place}: --speculative-num-steps", "is missing beside the other options"
        return
    if options.speculative_algorithm is None:
        yield f"{place}: --speculative-algorithm", "is missing; give EAGLE or EAGLE3"
    if (options.speculative_algorithm == "EAGLE3") != bool(options.speculative_draft_model_path):
        yield (
            f"{place}: --speculative-draft-model-path",
            "goes with the algorithm EAGLE3, both or none",
        )
    topk = Setting(f"{place}: --speculative-eagle-topk", options.speculative_eagle_topk)
    yield from differs(topk, 1, "for the drafts of the model's own layers")
    draft_tokens = Setting(
        f"{place}: --speculative-num-draft-tokens", options.speculative_num_draft_tokens
    )
    yield from differs(draft_tokens, steps + 1, "one more than the steps")


def _both(parsed: Parsed) -> tuple[ServerOptions, ServerOptions]:
    """Options of prefill and of decode."""
    return parsed.read("prefill.sh", ServerOptions), parsed.read("decode.sh", ServerOptions)


def cache(parsed: Parsed) -> Breaches:
    """Find a cache that decode cannot read."""
    prefill, decode = _both(parsed)
    setting = Setting("decode.sh: --kv-cache-dtype", decode.kv_cache_dtype)
    yield from differs(setting, prefill.kv_cache_dtype, "as prefill.sh has")


def addresses(parsed: Parsed) -> Breaches:
    """Find an address where nothing listens, or none tells of the cache."""
    yield from ports(parsed)
    if parsed.one_pool:
        return
    port = parsed.read("prefill.sh", ServerOptions).disaggregation_bootstrap_port
    for number, (field, (_, *rest)) in enumerate(parsed.routes.get("prefill", [])):
        wanted = port_at(port or str(bootstrap_port()), slot_of(parsed.recipe, "prefill", number))
        if rest != [str(wanted)]:
            yield field, f"must give the bootstrap port, {wanted}, after the address"


def transfer(parsed: Parsed) -> Breaches:
    """Find roles that move the KV cache by different means."""
    if parsed.one_pool:
        for option in ("disaggregation_transfer_backend", "disaggregation_bootstrap_port"):
            if getattr(parsed.read("worker.sh", ServerOptions), option) is not None:
                field = f"worker.sh: {ServerOptions.model_fields[option].alias}"
                yield field, "is for a pool of each role; leave it out"
        return
    prefill, decode = _both(parsed)
    wanted = prefill.disaggregation_transfer_backend
    setting = Setting(
        "decode.sh: --disaggregation-transfer-backend", decode.disaggregation_transfer_backend
    )
    yield from differs(setting, wanted, "as prefill.sh has")


def dispatch(parsed: Parsed) -> Breaches:
    """Find steps that dispatch more tokens than low-latency kernels take."""
    most = int(load_engine("sglang").settings["dispatch_tokens"].value)
    decode, place = workers_of(parsed)[-1], f"{parsed.roles['decode']}.sh"
    options = parsed.read(place, ServerOptions)
    if options.deepep_mode not in LOW_LATENCY or options.moe_a2a_backend != "deepep":
        return
    environment = parsed.environment.get("decode", {})
    need = decode.batch.value * (1 + decode.depth.value)
    reserved = environment.get(DISPATCH, str(LEAST_DISPATCH))
    field = f"{place}: export {DISPATCH}"
    if not reserved.isdecimal() or not need <= int(reserved) <= most:
        yield field, f"is {reserved}; give {need} to {most}, what a step dispatches"
        return
    depth = environment.get(QUEUE_DEPTH, str(LEAST_QUEUE_DEPTH))
    if not depth.isdecimal() or int(depth) < 2 * (int(reserved) + 1):
        yield (
            f"{place}: export {QUEUE_DEPTH}",
            f"is {depth}; give {2 * (int(reserved) + 1)} or more for {reserved} tokens",
        )


SGLANG_CHECKS = (
    Check("cache", "both roles keep one type of KV cache", cache, two_pools=True),
    Check("ranks", "launch options of a worker agree with its size", ranks),
    Check(PORT_CHECK.name, PORT_CHECK.rule, addresses),
    Check("transfer", "both roles move the KV cache by one back-end, one pool by none", transfer),
    Check(
        "dispatch",
        "a rank dispatches no more tokens at once than the kernels take",
        dispatch,
    ),
)
"""Checks of SGLang's own rules."""
