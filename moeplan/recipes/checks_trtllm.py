"""Checks of TensorRT-LLM's own rules."""

from __future__ import annotations

from moeplan.recipes.checks_engine import Breaches, Unreadable, differs
from moeplan.recipes.parsed import Parsed, PlacedEngine
from moeplan.recipes.recipe import ROLES
from presets.engines import load_engine
from presets.errors import closest_hint, shown


def _engines(parsed: Parsed) -> tuple[PlacedEngine, PlacedEngine]:
    if len(parsed.engines) < len(ROLES):
        raise Unreadable
    return parsed.engines["prefill"], parsed.engines["decode"]


def transceiver(parsed: Parsed) -> Breaches:
    """Both ends of the hand-over agree, and an input fits into it."""
    prefill, decode = _engines(parsed)
    backend = prefill.engine.cache_transceiver_config.backend
    yield from differs(
        decode.setting("cache_transceiver_config", "backend"), backend, "as the prefill role has"
    )
    longest = parsed.recipe.served.isl
    for placed in (prefill, decode):
        buffer = placed.setting("cache_transceiver_config", "max_tokens_in_buffer")
        block = placed.engine.kv_cache_config.tokens_per_block
        if buffer.value < longest:
            yield buffer.field, f"is {buffer.value}; the longest input has {longest} tokens"
        if buffer.value % block:
            yield buffer.field, f"is {buffer.value}; it must be whole blocks of {block} tokens"


def release(parsed: Parsed) -> Breaches:
    """Find what the release does not know."""
    engine = load_engine("trtllm")
    known = engine.releases_of(parsed.recipe.engine_release)
    served, machine = parsed.recipe.served, parsed.recipe.machine
    for placed in _engines(parsed):
        backend = placed.setting("moe_config", "backend")
        if backend.value not in known.moe_backends:
            yield (
                backend.field,
                f"{shown(backend.value)} is no back-end of {engine.title} "
                f"{parsed.recipe.engine_release}; "
                f"{closest_hint(backend.value, known.moe_backends)}",
            )
        if backend.value == "DEEPGEMM" and (
            served.expert_format != "fp8" or machine.generation != "blackwell"
        ):
            yield backend.field, "DEEPGEMM serves fp8 experts on Blackwell only"
        combine = placed.setting("moe_config", "use_low_precision_moe_combine")
        if combine.value and served.expert_format != "nvfp4":
            yield combine.field, "is true; it is for NVFP4 experts only"
        yield from _depth_key(placed, known.traits["depth_key"], parsed.recipe.engine_release)


def _depth_key(placed: PlacedEngine, key: str, release: str) -> Breaches:
    drafts = placed.engine.speculative_config
    if drafts is None:
        return
    for name in ("max_draft_len", "num_nextn_predict_layers"):
        if name != key and getattr(drafts, name) is not None:
            field = f"{placed.place}: speculative_config.{name}"
            yield field, f"is not how TensorRT-LLM {release} names the depth; give {key}"


def scheduler(parsed: Parsed) -> Breaches:
    """Find an overlap scheduler on a worker that only prefills."""
    prefill, _ = _engines(parsed)
    setting = prefill.setting("disable_overlap_scheduler")
    yield from differs(setting, True, "on a worker that only prefills")


def cache(parsed: Parsed) -> Breaches:
    """Find a cache that decode cannot read."""
    prefill, decode = _engines(parsed)
    for name in ("dtype", "tokens_per_block"):
        wanted = getattr(prefill.engine.kv_cache_config, name)
        yield from differs(
            decode.setting("kv_cache_config", name), wanted, "as the prefill role has"
        )
