"""From facts to arrays: what one model at one precision costs, what one machine offers."""

from __future__ import annotations

from typing import Any

import numpy as np

from costmodel.attention import attention_arrays
from costmodel.inputs import MachineArrays, ModelArrays, PathArrays
from presets import (
    DenseFeedForward,
    Hardware,
    InputError,
    LayerGroup,
    Model,
    Precision,
    active_parameters,
    dense_parameters,
    expert_parameters,
    shared_parameters,
)
from presets.drafts import Draft, default_draft, draft_model
from presets.model import DraftModel
from topology import GroupPath

FP4_BITS = 5.0  # precisions with fewer bits per expert weight run FP4 GEMMs
FP8_BITS = 9.0
NVFP4_BYTES = 4.5 / 8.0  # per element: 4 bits and an FP8 scale per 16
FP8_BYTES = 1.0 + 4.0 / 128.0  # per element: 8 bits and an FP32 scale per 128
BF16_BYTES = 2.0


def model_arrays(model: Model, precision: str, draft: Draft | None = None) -> ModelArrays:
    """Count one model at one precision, each field of shape ``()``.

    Parameters
    ----------
    draft
        What drafts; None takes the draft layers of the checkpoint, if it has any.

    Raises
    ------
    InputError
        If the model is not offered at that precision, or has no such draft.
    """
    bits = model.precision(precision)
    narrow = _input_bits(bits, bits.experts)
    moe, hidden = model.moe, model.hidden
    width = moe.latent or hidden  # of what goes into a routed expert
    expert, shared = expert_parameters(moe, hidden), shared_parameters(moe, hidden)
    router = moe.experts * hidden
    dense = dense_parameters(model)
    head = float(model.vocab * hidden)
    values: dict[str, float] = {
        "hidden": hidden,
        "layers": model.parts / 2.0,
        "moe_layers": model.moe_layers,
        "experts": moe.experts,
        "top_k": moe.top_k,
        "expert_width": width,
        "expert_params": expert,
        "expert_bytes": expert * bits.experts / 8.0,
        "shared_params": shared + router,
        "shared_bytes": (shared * bits.shared_expert + router * bits.router) / 8.0,
        "dense_params": dense,
        "dense_bytes": dense * bits.dense / 8.0,
        "head_params": head,
        "head_bytes": head * bits.lm_head / 8.0,
        "embedding_bytes": 0.0 if model.tied_embeddings else head * bits.embedding / 8.0,
        "expert_input_bytes": expert_input_bytes(width, narrow),
        "dispatch_bytes": _dispatch_bytes(width, narrow),
        "combine_bytes": _combine_bytes(width, narrow),
        "active_params": active_parameters(model) - head,
    }
    counts: dict[str, Any] = {name: np.asarray(float(value)) for name, value in values.items()}
    return ModelArrays(
        attention=tuple(
            attention_arrays(attention, hidden, bits, layers)
            for attention, layers in model.attention_layers().items()
        ),
        **counts,
        **_draft_arrays(model, bits, draft_model(model, draft or default_draft(model))),
    )


def _draft_bits(bits: Precision, own: DraftModel | None) -> float:
    """Bits per weight of draft layers: what drafts beside the checkpoint is in BF16 [bit]."""
    wide = own is not None and not own.in_checkpoint
    return 8.0 * BF16_BYTES if wide else bits.draft


def _draft_arrays(model: Model, bits: Precision, own: DraftModel | None) -> dict[str, Any]:
    """Count what drafts; without drafts the layers stand for some, of which there are none."""
    hidden, width = model.hidden, model.moe.latent or model.hidden
    wide = own is not None and not own.in_checkpoint
    bits = bits.model_copy(update={"draft": _draft_bits(bits, own)})
    drafted = _input_bits(bits, bits.draft)
    layers = own.layers if own else None
    dense = _dense_params(layers, hidden)
    head = float(((own and own.vocab) or model.vocab) * hidden)
    head_bytes = head * (BF16_BYTES if own and own.vocab else bits.lm_head / 8.0)
    count = layers.count if layers else 0
    values: dict[str, float] = {
        "layers": count,
        "passes": count if own and own.block else 1.0,
        "moe": 0.0 if dense else 1.0,
        "weight_ratio": bits.draft / bits.experts,
        "dense_params": dense,
        "dense_bytes": dense * bits.draft / 8.0,
        "join_params": float(own.joined if own else 0) * hidden**2,
        "head_params": head,
        "head_bytes": head_bytes,
        "own_head_bytes": head_bytes if own and own.vocab else 0.0,
        "expert_input_bytes": expert_input_bytes(width, drafted),
        "dispatch_bytes": _dispatch_bytes(width, drafted),
        "combine_bytes": _combine_bytes(width, drafted),
    }
    attention = (layers.attention if layers else None) or model.attentions[-1]
    return {f"draft_{name}": np.asarray(float(value)) for name, value in values.items()} | {
        "draft_attention": attention_arrays(attention, hidden, bits, 1, draft=True),
        "draft_block": np.asarray(own is not None and own.block),
        "draft_wide": np.asarray(wide),
    }


def _dense_params(layers: LayerGroup | None, hidden: int) -> float:
    """Weights of the MLP of a layer without experts; 0 where it has some."""
    part = layers.feed_forward if layers else None
    if isinstance(part, DenseFeedForward):
        return float(part.matrices * hidden * part.intermediate)
    return 0.0


def machine_arrays(hardware: Hardware, model: Model, precision: str) -> MachineArrays:
    """Take what one machine offers to one model at one precision, each field of shape ``()``.

    Raises
    ------
    InputError
        If the machine has no tensor rate in a format that the model multiplies in.
    """
    bits = model.precision(precision)
    attention = hardware.attention_format if bits.kv_cache < FP8_BITS else "bf16"
    narrow = arithmetic_bits(hardware, bits, bits.experts)
    dense, draft = (arithmetic_bits(hardware, bits, own) for own in (bits.attention, bits.draft))
    return MachineArrays(
        hbm_rate=np.asarray(hardware.hbm_rate.value),
        hbm_bytes=np.asarray(hardware.hbm_bytes.value),
        flops_experts=np.asarray(_flops(hardware, narrow, model)),
        flops_dense=np.asarray(_flops(hardware, dense, model)),
        flops_draft=np.asarray(_flops(hardware, draft, model)),
        flops_attention=np.asarray(hardware.flops[attention].value),
        flops_bf16=np.asarray(hardware.flops["bf16"].value),
        **{name: np.asarray(fact.value) for name, fact in hardware.nic.facts.items()},
    )


def attention_of(model: Model) -> str:
    """Name the kind of attention of most layers.

    >>> from presets import load_model
    >>> attention_of(load_model("deepseek-r1")), attention_of(load_model("glm-5"))
    ('mla', 'mla-index')
    """
    layers = model.attention_layers()
    most = max(layers, key=lambda each: layers[each])
    return most.kind if getattr(most, "index", None) is None else f"{most.kind}-index"


def expert_formats(
    hardware: Hardware, model: Model, precision: str, draft: Draft | None = None
) -> tuple[str, str]:
    """Name the formats that experts and draft layers multiply in on a machine.

    `draft` is as in `model_arrays`; models that draft beside the checkpoint are in BF16.

    >>> from presets import load_hardware, load_model
    >>> expert_formats(load_hardware("b200"), load_model("deepseek-r1-0528"), "fp4")
    ('fp4', 'bf16')
    """
    bits = model.precision(precision)
    drafting = _draft_bits(bits, draft_model(model, draft or default_draft(model)))
    experts, drafts = (
        number_format(arithmetic_bits(hardware, bits, own)) for own in (bits.experts, drafting)
    )
    return experts, drafts


def arithmetic_bits(hardware: Hardware, bits: Precision, own: float) -> float:
    """Bits per element that weights of so many bits of their own multiply on a machine [bit].

    Where the checkpoint leaves the input of experts wider than their weights, machines without
    FP4 arithmetic widen the weights to BF16; so they do whatever else is as narrow.
    """
    wanted = _input_bits(bits, own)
    return 8.0 * BF16_BYTES if wanted != own and "fp4" not in hardware.flops else wanted


def _input_bits(bits: Precision, own: float) -> float:
    """Bits per element of what weights of so many bits are multiplied with [bit]."""
    return bits.expert_input if bits.expert_input and own <= bits.experts else own


def can_multiply(hardware: Hardware, bits: Precision) -> bool:
    """Tell whether a machine has the arithmetic of a precision."""
    return number_format(arithmetic_bits(hardware, bits, bits.experts)) in hardware.flops


def number_format(bits: float) -> str:
    """Name the format that so many bits per element are multiplied in.

    >>> number_format(4.5), number_format(8.25), number_format(16.0)
    ('fp4', 'fp8', 'bf16')
    """
    if bits < FP4_BITS:
        return "fp4"
    return "fp8" if bits < FP8_BITS else "bf16"


def path_arrays(path: GroupPath) -> PathArrays:
    """Load and latency of one group's links, each field of shape ``()``."""
    return PathArrays(
        seconds_per_pair_byte=np.asarray(path.seconds_per_pair_byte),
        domain_latency=np.asarray(path.domain_latency),
        domains=np.asarray(float(path.domains)),
        nvlink_rate=np.asarray(path.nvlink_rate),
        nic_rate=np.asarray(path.nic_rate),
    )


def _flops(hardware: Hardware, bits: float, model: Model) -> float:
    """Dense tensor rate for weights of so many bits [FLOP/s]."""
    name = number_format(bits)
    if name in hardware.flops:
        return hardware.flops[name].value
    others = ", ".join(
        each for each in model.precision_names() if can_multiply(hardware, model.precision(each))
    )
    raise InputError(
        f"precision {name!r}: {hardware.name} has no {name.upper()} rate; valid: {others}"
    )


def _dispatch_bytes(width: float, bits: float) -> float:
    """One token of so many values on its way to an expert rank [B].

    FP4 input is quantised before it is sent. The input of experts with FP8 block scales is sent in
    BF16 and quantised where it arrives, by every backend of TensorRT-LLM (`quantize_input` of
    its fused_moe modules, read 2026-11-24).
    """
    return expert_input_bytes(width, bits) if bits < FP4_BITS else width * BF16_BYTES


def expert_input_bytes(width: float, bits: float) -> float:
    """One token as experts with weights of so many bits multiply it, quantised [B]."""
    if bits < FP4_BITS:
        return width * NVFP4_BYTES
    return width * (FP8_BYTES if bits < FP8_BITS else BF16_BYTES)


def _combine_bytes(width: float, bits: float) -> float:
    """One token on its way back: low precision under FP4 weights, else BF16 [B]."""
    return width * (NVFP4_BYTES if bits < FP4_BITS else BF16_BYTES)
