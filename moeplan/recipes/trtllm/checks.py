"""Checks of TensorRT-LLM's own rules."""

from __future__ import annotations

from moeplan.recipes.checks import Breaches, Check, differs
from moeplan.recipes.parsed import Parsed, Unreadable
from moeplan.recipes.recipe import RoleName
from moeplan.recipes.trtllm.engine_file import EngineFile
from moeplan.recipes.trtllm.reading import engine_of, setting
from presets.engines import load_engine
from presets.errors import closest_hint, shown


def _engines(parsed: Parsed) -> dict[RoleName, EngineFile]:
    engines = {role: engine_of(parsed, role) for role in parsed.roles}
    found = {role: engine for role, engine in engines.items() if engine is not None}
    if len(found) < len(engines):
        raise Unreadable
    return found


def transceiver(parsed: Parsed) -> Breaches:
    """Both ends of the hand-over agree, and an input fits into it."""
    engines = _engines(parsed)
    lacking = False
    for role, engine in engines.items():
        if (engine.cache_transceiver_config is None) != parsed.one_pool:
            lacking = True
            problem = "is for a pool of each role" if parsed.one_pool else "is missing"
            yield f"{parsed.engines[role]}: cache_transceiver_config", problem
    if lacking or parsed.one_pool:
        return
    yield from differs(
        setting(parsed, "decode", "cache_transceiver_config", "backend"),
        setting(parsed, "prefill", "cache_transceiver_config", "backend").value,
        "as the prefill role has",
    )
    longest = parsed.facts.isl
    for role, engine in engines.items():
        buffer = setting(parsed, role, "cache_transceiver_config", "max_tokens_in_buffer")
        block = engine.kv_cache_config.tokens_per_block
        if longest is not None and buffer.value < longest:
            yield buffer.field, f"is {buffer.value}; the longest input has {longest} tokens"
        if buffer.value % block:
            yield buffer.field, f"is {buffer.value}; it must be whole blocks of {block} tokens"


def release(parsed: Parsed) -> Breaches:
    """Find what the release does not know."""
    trtllm, facts = load_engine("trtllm"), parsed.facts
    engines = _engines(parsed)
    if facts.engine_release is None or facts.machine is None:
        raise Unreadable
    known = trtllm.releases_of(facts.engine_release)
    for role, engine in engines.items():
        backend = setting(parsed, role, "moe_config", "backend")
        if backend.value not in known.moe_backends:
            yield (
                backend.field,
                f"{shown(backend.value)} is no back-end of {trtllm.title} {facts.engine_release}; "
                f"{closest_hint(backend.value, known.moe_backends)}",
            )
        if backend.value == "DEEPGEMM" and (
            facts.expert_format != "fp8" or facts.machine.kernel_profile != "blackwell"
        ):
            yield backend.field, "DEEPGEMM serves fp8 experts on Blackwell only"
        combine = setting(parsed, role, "moe_config", "use_low_precision_moe_combine")
        if combine.value and facts.expert_format != "nvfp4":
            yield combine.field, "is true; it is for NVFP4 experts only"
        yield from _depth_key(
            parsed.engines[role], engine, known.traits["depth_key"], facts.engine_release
        )


def _depth_key(place: str, engine: EngineFile, key: str, release: str) -> Breaches:
    drafts = engine.speculative_config
    if drafts is None:
        return
    if (drafts.decoding_type == "Eagle3") != bool(drafts.speculative_model):
        field = f"{place}: speculative_config.speculative_model"
        yield field, "goes with the decoding type Eagle3, both or none"
    if drafts.decoding_type == "Eagle3":
        return
    for name in ("max_draft_len", "num_nextn_predict_layers"):
        if name != key and getattr(drafts, name) is not None:
            field = f"{place}: speculative_config.{name}"
            yield field, f"is not how TensorRT-LLM {release} names the depth; give {key}"


def scheduler(parsed: Parsed) -> Breaches:
    """Find an overlap scheduler on a worker that only prefills."""
    _engines(parsed)
    told = setting(parsed, "prefill", "disable_overlap_scheduler")
    yield from differs(told, True, "on a worker that only prefills")


def cache(parsed: Parsed) -> Breaches:
    """Find a cache that decode cannot read."""
    prefill = _engines(parsed)["prefill"]
    for name in ("dtype", "tokens_per_block"):
        wanted = getattr(prefill.kv_cache_config, name)
        told = setting(parsed, "decode", "kv_cache_config", name)
        yield from differs(told, wanted, "as the prefill role has")


TRTLLM_CHECKS = (
    Check(
        "transceiver",
        "one back-end on both roles, none in one pool; its buffer holds the longest input in whole "
        "blocks",
        transceiver,
    ),
    Check("release", "the engine release knows key and back-end", release),
    Check("scheduler", "prefill runs without the overlap scheduler", scheduler, two_pools=True),
    Check("cache", "both roles keep one type of KV cache", cache, two_pools=True),
)
"""Checks of every format that starts TensorRT-LLM."""
