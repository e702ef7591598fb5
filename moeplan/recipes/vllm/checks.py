"""Checks of the launch commands of vLLM."""

from __future__ import annotations

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.launch import PORT_CHECK, multi_node
from moeplan.recipes.parsed import Parsed, Setting
from moeplan.recipes.vllm.files import SIDE_CHANNEL, ServerOptions


def ranks(parsed: Parsed) -> Breaches:
    """Find options of a worker that contradict each other."""
    for role, worker in parsed.roles.items():
        place = f"{worker}.sh"
        options = parsed.read(place, ServerOptions)
        yield from _sizes(place, options)
        yield from multi_node(place, options.nnodes, options.node_rank, options.master_addr)
        if not parsed.one_pool and SIDE_CHANNEL not in parsed.environment.get(role, {}):
            field = f"{place}: export {SIDE_CHANNEL}"
            yield field, "is missing; it is where the other role reads the KV cache"


def _sizes(place: str, options: ServerOptions) -> Breaches:
    tp, dp = options.tensor_parallel_size, options.data_parallel_size
    local = options.data_parallel_size_local
    if dp > 1 and tp > 1:
        field = f"{place}: --tensor-parallel-size"
        yield field, f"is {tp}; attention is either split or replicated"
    if local is not None and local * options.nnodes != dp:
        yield (
            f"{place}: --data-parallel-size-local",
            f"is {local} on {options.nnodes} nodes; their product must be {dp}",
        )
    if options.enable_eplb and not options.enable_expert_parallel:
        yield f"{place}: --enable-eplb", "needs --enable-expert-parallel"
    if options.eplb_config and not options.enable_eplb:
        yield f"{place}: --eplb-config", "needs --enable-eplb"


def _both(parsed: Parsed) -> tuple[ServerOptions, ServerOptions]:
    """Options of prefill and of decode."""
    return parsed.read("prefill.sh", ServerOptions), parsed.read("decode.sh", ServerOptions)


def cache(parsed: Parsed) -> Breaches:
    """Find a cache that decode cannot read."""
    prefill, decode = _both(parsed)
    setting = Setting("decode.sh: --kv-cache-dtype", decode.kv_cache_dtype)
    yield from differs(setting, prefill.kv_cache_dtype, "as prefill.sh has")


def transfer(parsed: Parsed) -> Breaches:
    """Find roles that move the KV cache by different means."""
    option, connectors = "--kv-transfer-config", []
    for role, worker in parsed.roles.items():
        field = f"{worker}.sh: {option}"
        transfer = parsed.read(f"{worker}.sh", ServerOptions).kv_transfer_config
        if transfer is None and not parsed.one_pool:
            yield field, "is missing"
        if transfer is None:
            continue
        if parsed.one_pool:
            yield field, "is for a pool of each role; leave it out"
        connectors.append(Setting(field, transfer.kv_connector))
        wrong = "kv_consumer" if role == "prefill" else "kv_producer"
        if transfer.kv_role == wrong:
            yield field, f"kv_role {wrong} is that of the other role"
    for other in connectors[1:]:
        yield from differs(other, connectors[0].value, "as prefill.sh has")


VLLM_CHECKS = (
    Check("cache", "both roles keep one type of KV cache", cache, two_pools=True),
    Check("ranks", "launch options of a worker agree with its size", ranks),
    PORT_CHECK,
    Check("transfer", "both roles move the KV cache by one back-end, one pool by none", transfer),
)
"""Checks of vLLM's own rules."""
