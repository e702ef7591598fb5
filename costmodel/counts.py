"""From facts to arrays: what one model at one precision costs, what one machine offers."""

from __future__ import annotations

import numpy as np

from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays
from presets import Hardware, InputError, MlaAttention, Model, Precision
from topology import GroupPath

FP4_BITS = 5.0  # precisions with fewer bits per expert weight run FP4 GEMMs
FP8_BITS = 9.0
NVFP4_BYTES = 4.5 / 8.0  # per element: 4 bits and an FP8 scale per 16
FP8_BYTES = 1.0 + 4.0 / 128.0  # per element: 8 bits and an FP32 scale per 128
BF16_BYTES = 2.0


def model_arrays(model: Model, precision: str) -> ModelArrays:
    """Count one model at one precision, each field of shape ``()``.

    Raises
    ------
    InputError
        If the model is not offered at that precision.
    """
    bits = model.precision(precision)
    narrow = bits.expert_input or bits.experts  # what experts multiply
    whole, split, heads, products, prefill_products, kv, kv_split = _attention(model)
    output = _output_params(model)  # split, and may have bits of its own
    join = 2.0 * model.hidden**2 if model.draft_layers else 0.0
    expert = 3.0 * model.hidden * model.expert_intermediate
    shared = 3.0 * model.hidden * model.shared_experts * model.shared_intermediate
    dense = 3.0 * model.hidden * model.dense_intermediate
    head = float(model.vocab * model.hidden)
    moe_layers = model.layers - model.dense_layers
    router = float(model.experts * model.hidden)
    linear = model.layers * (whole + split) + model.dense_layers * dense
    linear += moe_layers * (model.top_k * expert + shared + router)
    values: dict[str, float] = {
        "hidden": model.hidden,
        "layers": model.layers,
        "moe_layers": moe_layers,
        "experts": model.experts,
        "top_k": model.top_k,
        "expert_params": expert,
        "expert_bytes": expert * bits.experts / 8.0,
        "shared_params": shared + router,
        "shared_bytes": (shared * bits.shared_expert + router * bits.router) / 8.0,
        "dense_mlp_params": dense,
        "dense_mlp_bytes": dense * bits.dense / 8.0,
        "attention_params_split": split,
        "attention_params_whole": whole,
        "attention_bytes_split": (
            (split - output) * bits.attention + output * bits.attention_output
        )
        / 8.0,
        "attention_bytes_whole": whole * bits.attention / 8.0,
        "heads": heads,
        "score_value_dim": products,
        "prefill_score_value_dim": prefill_products,
        "kv_bytes": kv * bits.kv_cache / 8.0,
        "window": _window(model),
        "windowed_share": _windowed_layers(model) / model.layers,
        "kv_split": kv_split,
        "head_params": head,
        "head_bytes": head * bits.lm_head / 8.0,
        "embedding_bytes": 0.0 if model.tied_embeddings else head * bits.embedding / 8.0,
        "draft_layers": model.draft_layers,
        "draft_weight_ratio": bits.draft / bits.experts,
        "expert_input_bytes": expert_input_bytes(model, narrow),
        "dispatch_bytes": _dispatch_bytes(model, narrow),
        "combine_bytes": _combine_bytes(model, narrow),
        "draft_attention_bytes_split": split * bits.draft / 8.0,
        "draft_attention_bytes_whole": whole * bits.draft / 8.0,
        "draft_join_params": join,
        "draft_expert_input_bytes": expert_input_bytes(model, bits.draft),
        "draft_dispatch_bytes": _dispatch_bytes(model, bits.draft),
        "draft_combine_bytes": _combine_bytes(model, bits.draft),
        "active_params": linear,
    }
    return ModelArrays(**{name: np.asarray(float(value)) for name, value in values.items()})


def machine_arrays(hardware: Hardware, model: Model, precision: str) -> MachineArrays:
    """Take what one machine offers to one model at one precision, each field of shape ``()``.

    Raises
    ------
    InputError
        If experts multiply in FP4 and the machine has no FP4 tensor rate.
    """
    bits = model.precision(precision)
    blackwell = hardware.generation == "blackwell"
    fp8_attention = blackwell and bits.kv_cache < FP8_BITS
    attention = hardware.flops_fp8 if fp8_attention else hardware.flops_bf16
    narrow = arithmetic_bits(hardware, bits)
    return MachineArrays(
        hbm_rate=np.asarray(hardware.hbm_rate.value),
        hbm_bytes=np.asarray(hardware.hbm_bytes.value),
        flops_experts=np.asarray(_flops(hardware, narrow, model)),
        flops_dense=np.asarray(_flops(hardware, bits.attention, model)),
        flops_draft=np.asarray(_flops(hardware, bits.draft, model)),
        flops_attention=np.asarray(attention.value),
        flops_bf16=np.asarray(hardware.flops_bf16.value),
        blackwell=np.asarray(blackwell),
        fp4=np.asarray(narrow < FP4_BITS),
        fp8=np.asarray(FP4_BITS <= narrow < FP8_BITS),
    )


def arithmetic_bits(hardware: Hardware, bits: Precision) -> float:
    """Bits per element that experts multiply on a machine [bit].

    Where the checkpoint leaves the input of experts wider than their weights, machines without
    FP4 arithmetic widen the weights to BF16.
    """
    if bits.expert_input is None:
        return bits.experts
    return bits.expert_input if hardware.flops_fp4 else 8.0 * BF16_BYTES


def can_multiply(hardware: Hardware, bits: Precision) -> bool:
    """Tell whether a machine has the arithmetic of a precision."""
    return arithmetic_bits(hardware, bits) >= FP4_BITS or hardware.flops_fp4 is not None


def tokens_attended(model: ModelArrays, tokens: FloatArray) -> FloatArray:
    """Tokens that a layer looks back on at one position, of so many before it, mean of layers [1].

    >>> from presets import load_model
    >>> gpt_oss = model_arrays(load_model("gpt-oss-120b"), "fp4")  # half of the layers see 128
    >>> float(tokens_attended(gpt_oss, np.asarray(1000.0)))
    564.0
    """
    share = model.windowed_share
    return np.asarray((1.0 - share) * tokens + share * np.minimum(tokens, model.window))


def prompt_tokens_attended(model: ModelArrays, tokens: FloatArray) -> FloatArray:
    """Tokens that the last position of a prompt would see if all saw as much as the mean does [1].

    Without a window the mean position sees half of the prompt, and this is all of it; with one it
    is ``w (2 - w / n)``.
    """
    window = np.minimum(model.window, tokens)
    share = model.windowed_share
    return np.asarray((1.0 - share) * tokens + share * window * (2.0 - window / tokens))


def path_arrays(path: GroupPath) -> PathArrays:
    """Load and latency of one group's links, each field of shape ``()``."""
    return PathArrays(
        seconds_per_pair_byte=np.asarray(path.seconds_per_pair_byte),
        latency=np.asarray(path.latency),
        domain_latency=np.asarray(path.domain_latency),
        domains=np.asarray(float(path.domains)),
        nvlink_rate=np.asarray(path.nvlink_rate),
        nic_rate=np.asarray(path.nic_rate),
    )


def _flops(hardware: Hardware, bits: float, model: Model) -> float:
    """Dense tensor rate for weights of so many bits [FLOP/s]."""
    if bits < FP4_BITS:
        if hardware.flops_fp4 is None:
            others = ", ".join(name for name in model.precision_names() if name != "fp4")
            raise InputError(f"precision 'fp4': {hardware.name} has no FP4 rate; valid: {others}")
        return hardware.flops_fp4.value
    return hardware.flops_fp8.value if bits < FP8_BITS else hardware.flops_bf16.value


def _attention(
    model: Model,
) -> tuple[float, float, float, float, float, float, float]:
    """Whole and split projection weights, heads, products at decode and prefill, cache, its split.

    MLA at decode works in the latent space: each head's score takes ``kv_lora_rank + qk_rope_dim``
    multiply-adds per cached token and its value ``kv_lora_rank``; prefill unfolds the latent first.
    """
    attention = model.attention
    hidden = float(model.hidden)
    if isinstance(attention, MlaAttention):
        latent = attention.kv_lora_rank + attention.qk_rope_dim
        query = attention.heads * (attention.qk_nope_dim + attention.qk_rope_dim)
        rank = attention.q_lora_rank
        whole = hidden * (latent + (rank or 0))
        split = (rank or hidden) * query
        split += (
            attention.kv_lora_rank * attention.heads * (attention.qk_nope_dim + attention.v_dim)
        )
        split += attention.heads * attention.v_dim * hidden
        products = attention.kv_lora_rank + latent
        unfolded = attention.qk_nope_dim + attention.qk_rope_dim + attention.v_dim
        return whole, split, attention.heads, products, unfolded, latent, 1.0
    width = attention.head_dim
    split = 2.0 * hidden * width * (attention.heads + attention.kv_heads)
    cache = 2.0 * attention.kv_heads * width
    return 0.0, split, attention.heads, 2.0 * width, 2.0 * width, cache, attention.kv_heads


def _windowed_layers(model: Model) -> int:
    """Layers that attend to a window."""
    return 0 if isinstance(model.attention, MlaAttention) else model.attention.windowed_layers


def _window(model: Model) -> float:
    """Tokens that windowed layers attend to; infinite without any [token]."""
    window = None if isinstance(model.attention, MlaAttention) else model.attention.window
    return np.inf if window is None else float(window)


def _output_params(model: Model) -> float:
    """Weights of the last projection of attention in one layer."""
    attention = model.attention
    value = attention.v_dim if isinstance(attention, MlaAttention) else attention.head_dim
    return float(attention.heads * value * model.hidden)


def _dispatch_bytes(model: Model, bits: float) -> float:
    """One token on its way to an expert rank [B].

    FP4 input is quantised before it is sent. The input of experts with FP8 block scales is sent in
    BF16 and quantised where it arrives, by every backend of TensorRT-LLM (`quantize_input` of
    its fused_moe modules, read 2026-11-24).
    """
    return expert_input_bytes(model, bits) if bits < FP4_BITS else model.hidden * BF16_BYTES


def expert_input_bytes(model: Model, bits: float) -> float:
    """One token as experts with weights of so many bits multiply it, quantised [B]."""
    if bits < FP4_BITS:
        return model.hidden * NVFP4_BYTES
    return model.hidden * (FP8_BYTES if bits < FP8_BITS else BF16_BYTES)


def _combine_bytes(model: Model, bits: float) -> float:
    """One token on its way back: low precision under FP4 weights, else BF16 [B]."""
    return model.hidden * (NVFP4_BYTES if bits < FP4_BITS else BF16_BYTES)
