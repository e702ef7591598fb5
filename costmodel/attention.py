"""Attention: what a layer keeps of a request, looks back on, and takes of a step.

Each kind (MLA, grouped heads with or without a window, a sparse index on either, a compressed past,
gated-delta and Mamba states) fills the same `AttentionArrays`; the functions of time and memory
below know no kinds.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from costmodel.calibration import Calibration
from costmodel.inputs import AttentionArrays, FloatArray, MachineArrays, ModelArrays, WorkerArrays
from presets import (
    CompressedAttention,
    DeltaAttention,
    GqaAttention,
    MambaAttention,
    MlaAttention,
    Precision,
    SparseIndex,
    attention_weights,
)
from presets.attention import Attention

BF16_BITS = 16.0
"""Of what a short convolution keeps. [bit]"""


def attention_arrays(
    attention: Attention, hidden: int, bits: Precision, layers: int, *, draft: bool = False
) -> AttentionArrays:
    """Count the attention of so many layers, each field of shape ``()``.

    Parameters
    ----------
    attention
        Of each of the layers.
    hidden
        Width of the model. [1]
    bits
        Of each part of the model.
    layers
        That have it. [1]
    draft
        Whether they are draft layers, which have a precision of their own.
    """
    weights = attention_weights(attention, hidden)
    inner = bits.draft if draft else bits.attention
    output = bits.draft if draft else bits.attention_output
    values = {
        "layers": layers,
        "params_split": weights.split + weights.output,
        "params_whole": weights.whole,
        "bytes_split": (weights.split * inner + weights.output * output) / 8.0,
        "bytes_whole": weights.whole * inner / 8.0,
        "heads": attention.heads,
        "split": 1.0,
        "score_value_dim": 0.0,
        "prompt_score_value_dim": 0.0,
        "entry_bytes": 0.0,
        "ratio": 1.0,
        "kept": np.inf,
        "attended": np.inf,
        "recent": 0.0,
        "index_bytes": 0.0,
        "index_products": 0.0,
        "state_bytes": 0.0,
        "state_products": 0.0,
    }
    values |= _kept(attention, bits)
    return AttentionArrays(**{name: np.asarray(float(each)) for name, each in values.items()})


@singledispatch
def _kept(attention: Any, bits: Precision) -> dict[str, float]:
    """Fields of `AttentionArrays` that a kind of attention has of its own."""
    raise NotImplementedError(type(attention).__name__)


@_kept.register
def _(attention: MlaAttention, bits: Precision) -> dict[str, float]:
    # Decode works in the latent space; prefill unfolds the latent first, but for picked tokens,
    # which are others for each query.
    latent = attention.kv_lora_rank + attention.qk_rope_dim
    unfolded = attention.qk_nope_dim + attention.qk_rope_dim + attention.v_dim
    products = attention.kv_lora_rank + latent
    return {
        "score_value_dim": products,
        "prompt_score_value_dim": products if attention.index else unfolded,
        "entry_bytes": latent * bits.kv_cache / 8.0,
        **_indexed(attention.index, bits),
    }


@_kept.register
def _(attention: GqaAttention, bits: Precision) -> dict[str, float]:
    products = attention.head_dim + attention.value_dim
    window = {"kept": attention.window, "attended": attention.window} if attention.window else {}
    return {
        "split": attention.kv_heads,
        "score_value_dim": products,
        "prompt_score_value_dim": products,
        "entry_bytes": attention.kv_heads * products * bits.kv_cache / 8.0,
        **window,
        **_indexed(attention.index, bits),
    }


@_kept.register
def _(attention: CompressedAttention, bits: Precision) -> dict[str, float]:
    products = 2 * attention.head_dim
    past = {"ratio": attention.ratio} if attention.ratio else {"kept": 0.0, "attended": 0.0}
    return {
        "score_value_dim": products,
        "prompt_score_value_dim": products,
        "entry_bytes": attention.head_dim * bits.kv_cache / 8.0,
        "recent": attention.window,
        **past,
        **_indexed(attention.index, bits),
    }


@_kept.register
def _(attention: DeltaAttention, bits: Precision) -> dict[str, float]:
    # The old value of a key is read, the new one written, and the state asked: three products.
    keys = attention.key_heads * attention.key_dim
    values = attention.value_heads * attention.value_dim
    state = attention.value_heads * attention.key_dim * attention.value_dim
    channels = 2 * keys + values
    return {
        "split": attention.key_heads,
        "state_bytes": _state_bytes(state, attention.state_bits, channels, attention.convolution),
        "state_products": 3 * state,
    }


@_kept.register
def _(attention: MambaAttention, bits: Precision) -> dict[str, float]:
    # The state is written and asked: two products.
    inner = attention.heads * attention.head_dim
    state, channels = inner * attention.state, inner + 2 * attention.groups * attention.state
    return {
        "split": attention.heads,
        "state_bytes": _state_bytes(state, attention.state_bits, channels, attention.convolution),
        "state_products": 2 * state,
    }


def _indexed(index: SparseIndex | None, bits: Precision) -> dict[str, float]:
    """Fields of a sparse index; one that takes over another's choice only looks at less."""
    if index is None:
        return {}
    if index.shared:
        return {"attended": index.tokens}
    return {
        "attended": index.tokens,
        "index_bytes": index.dim * bits.index_cache / 8.0,
        "index_products": index.heads * index.dim,
    }


def _state_bytes(state: int, bits: int, channels: int, convolution: int) -> float:
    """State and the last tokens of a short convolution [B]."""
    return (state * bits + channels * (convolution - 1) * BF16_BITS) / 8.0


def tokens_attended(attention: AttentionArrays, tokens: FloatArray) -> FloatArray:
    """Entries that one position looks back on, of so many tokens before it [1].

    >>> from presets import load_model
    >>> from costmodel.counts import model_arrays
    >>> windowed, full = model_arrays(load_model("gpt-oss-120b"), "fp4").attention
    >>> [float(tokens_attended(each, np.asarray(1000.0))) for each in (windowed, full)]
    [128.0, 1000.0]
    """
    past = np.minimum(tokens / attention.ratio, attention.attended)
    return np.asarray(past + np.minimum(tokens, attention.recent))


def prompt_tokens_attended(attention: AttentionArrays, tokens: FloatArray) -> FloatArray:
    """Entries that the last position of a prompt would see if all saw as much as the mean does [1].

    Without a limit the mean position sees half of the prompt, and this is all of it; with a limit
    of w tokens it is ``w (2 - w / n)``.
    """
    past = np.minimum(attention.attended * attention.ratio, tokens)
    recent = np.minimum(attention.recent, tokens)
    seen = past * (2.0 - past / tokens) / attention.ratio + recent * (2.0 - recent / tokens)
    return np.asarray(seen)


def kept_bytes(attention: AttentionArrays, tokens: FloatArray) -> FloatArray:
    """Cache and state that one layer keeps of a request of so many tokens [B]."""
    past = tokens / attention.ratio
    entries = np.minimum(past, attention.kept) + np.minimum(tokens, attention.recent)
    cache = entries * attention.entry_bytes + attention.state_bytes
    return np.asarray(cache + past * attention.index_bytes)


def request_kept_bytes(
    attention: AttentionArrays, tokens: FloatArray, tp: FloatArray
) -> FloatArray:
    """Cache and state of one layer and request on one of `tp` ranks; an index is on each [B]."""
    index = tokens / attention.ratio * attention.index_bytes
    split = kept_bytes(attention, tokens) - index
    return np.asarray(split / np.minimum(tp, attention.split) + index)


def kept_of_model(model: ModelArrays, tokens: FloatArray) -> FloatArray:
    """Cache and state that all layers keep of a request of so many tokens [B].

    >>> from presets import load_model
    >>> from costmodel.counts import model_arrays
    >>> r1 = model_arrays(load_model("deepseek-r1-0528"), "fp8")
    >>> float(kept_of_model(r1, np.asarray(1.0)))  # 61 layers of 576
    35136.0
    """
    kept = (group.layers * kept_bytes(group, tokens) for group in model.attention)
    return np.asarray(sum(kept))


def projection_time(
    machine: MachineArrays,
    attention: AttentionArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """Attention projections of one layer: weights split over ranks by tp, whole under dp [s]."""
    held = attention.bytes_whole + attention.bytes_split / workers.tp
    params = attention.params_whole + attention.params_split / workers.tp
    return matrix_time(machine, held, params, tokens, calibration)


def attention_time(
    machine: MachineArrays,
    attention: AttentionArrays,
    workers: WorkerArrays,
    requests: FloatArray,
    tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """Products of one layer with cache, index and state, against reading them, rounded maximum [s].

    Under tp each rank keeps ``heads / tp`` heads but an MLA cache cannot be split, so every rank
    reads all of it. Few heads to a key leave the tensor-core tile part empty. A state is read and
    written. An index is read and multiplied whole on every rank.
    """
    tp = workers.tp
    context = tokens_attended(attention, workers.context)
    read = requests * context * attention.entry_bytes / np.minimum(tp, attention.split)
    groups = np.maximum(attention.split / tp, 1.0)  # of query heads that share keys, on a rank
    rows = groups * np.maximum(
        attention.heads / tp / groups * tokens / requests, calibration.attention_tile
    )
    products = 2.0 * requests * rows * context * attention.score_value_dim
    if np.any(attention.index_bytes):
        scanned = workers.context / attention.ratio
        read = read + requests * scanned * attention.index_bytes
        products = products + 2.0 * tokens * scanned * attention.index_products
    if np.any(attention.state_bytes):
        ways = np.minimum(tp, attention.split)
        read = read + 2.0 * requests * attention.state_bytes / ways
        products = products + 2.0 * tokens * attention.state_products / ways
    taken = read / (machine.hbm_rate * calibration.cache_efficiency)
    return np.asarray(
        np.hypot(taken, products / (machine.flops_attention * calibration.attention_efficiency))
    )


def prompt_products(attention: AttentionArrays, tokens: FloatArray) -> FloatArray:
    """Multiply-adds of one token of a prompt in one layer, over all heads, twice the mean [1]."""
    seen = prompt_tokens_attended(attention, tokens)
    own = attention.heads * attention.prompt_score_value_dim * seen
    index = attention.index_products * tokens / attention.ratio
    return np.asarray(own + index + 2.0 * attention.state_products)


def matrix_time(
    machine: MachineArrays,
    held: FloatArray,
    params: FloatArray,
    tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """Weights read once [B] and multiplied by every token [s]."""
    read = held / (machine.hbm_rate * calibration.hbm_efficiency)
    return read + 2.0 * tokens * params / (machine.flops_dense * calibration.dense_efficiency)
