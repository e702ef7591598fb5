"""Attention of the scalar step."""

from math import inf, sqrt

from presets import (
    CompressedAttention,
    DeltaAttention,
    GqaAttention,
    MambaAttention,
    MlaAttention,
    SparseIndex,
)
from presets.attention import Attention
from tests.costmodel.scalar_worker import Constants, Format, Worker, dense_rate, hbm, of_machine, tp


def projection(worker: Worker, kind: Attention, form: Format, n: float, at: Constants) -> float:
    whole, split, last = weights_of(kind, worker.model.hidden)
    held = whole * form.attention / 8
    held += (split * form.attention + last * form.attention_output) / 8 / tp(worker)
    weights = whole + (split + last) / tp(worker)
    return held / hbm(worker, at) + 2 * n * weights / dense_rate(worker, at)


def weights_of(kind: Attention, hidden: int) -> tuple[float, float, float]:
    """Weights that are not split, that are, and of the last projection."""
    if isinstance(kind, MlaAttention):
        whole = hidden * (kind.kv_lora_rank + kind.qk_rope_dim + (kind.q_lora_rank or 0))
        split = (kind.q_lora_rank or hidden) * kind.heads * (kind.qk_nope_dim + kind.qk_rope_dim)
        split += kind.kv_lora_rank * kind.heads * (kind.qk_nope_dim + kind.v_dim)
        last = kind.heads * kind.v_dim * hidden
        whole += index_weights(kind.index, kind.q_lora_rank or hidden, hidden)
        return whole, split + last * kind.gate, last
    if isinstance(kind, GqaAttention):
        v = kind.v_dim or kind.head_dim
        split = hidden * (kind.head_dim * (kind.heads + kind.kv_heads) + v * kind.kv_heads)
        last = kind.heads * v * hidden
        return index_weights(kind.index, hidden, hidden), split + last * kind.gate, last
    if isinstance(kind, DeltaAttention):
        keys, values = kind.key_heads * kind.key_dim, kind.value_heads * kind.value_dim
        split = hidden * (2 * keys + values + kind.value_heads)
        rank = kind.decay_rank
        split += hidden * kind.value_heads if rank is None else rank * (hidden + keys)
        rank = kind.gate_rank
        split += hidden * values if rank is None else rank * (hidden + values)
        return 0.0, split + kind.convolution * (2 * keys + values), values * hidden
    if isinstance(kind, MambaAttention):
        inner, shared = kind.heads * kind.head_dim, 2 * kind.groups * kind.state
        split = hidden * (2 * inner + shared + kind.heads) + kind.convolution * (inner + shared)
        return 0.0, split, inner * hidden
    d, inner = kind.head_dim, kind.heads * kind.head_dim
    whole = hidden * (kind.q_lora_rank + d)
    if kind.ratio:
        whole += (4 if kind.index else 2) * hidden * d
    if kind.index:
        whole += index_weights(kind.index, kind.q_lora_rank, hidden) + 3 * hidden * kind.index.dim
    split = kind.q_lora_rank * inner + inner * kind.output_rank
    return whole, split, kind.output_groups * kind.output_rank * hidden


def index_weights(index: SparseIndex | None, query: int, hidden: int) -> int:
    if index is None or index.shared:
        return 0
    return query * index.heads * index.dim + hidden * (index.dim + index.heads)


def attention(worker: Worker, kind: Attention, b: float, n: float, at: Constants) -> float:
    bits, machine = worker.precision, worker.hardware
    blackwell = machine.kernel_profile == "blackwell"
    share = 0.8
    context = (1 + share) / 2 * worker.isl
    context += (1 + share + share**2) / 3 / (1 + share) * worker.osl
    fast = machine.flops["fp8" if blackwell and bits.kv_cache < 9 else "bf16"]
    reached = min(of_machine("attention_efficiency", worker, at), 1.0)
    held, flops = work_of(worker, kind, b, n, context, at)
    read = held / (at["cache_efficiency"] * machine.hbm_rate.value)
    return sqrt(read**2 + (flops / (reached * fast.value)) ** 2)


def work_of(
    worker: Worker, kind: Attention, b: float, n: float, context: float, at: Constants
) -> tuple[float, float]:
    """Bytes that attention reads and writes, and FLOP."""
    bits = worker.precision
    if isinstance(kind, DeltaAttention | MambaAttention):
        if isinstance(kind, DeltaAttention):
            heads, each = kind.key_heads, 3
            elements = kind.value_heads * kind.key_dim * kind.value_dim
            channels = 2 * kind.key_heads * kind.key_dim + kind.value_heads * kind.value_dim
        else:
            heads, each = kind.heads, 2
            elements = kind.heads * kind.head_dim * kind.state
            channels = kind.heads * kind.head_dim + 2 * kind.groups * kind.state
        state = elements * kind.state_bits / 8 + channels * (kind.convolution - 1) * 2
        ways = min(tp(worker), heads)
        return 2 * b * state / ways, 2 * n * each * elements / ways
    entries, keys, index = context, 1, kind.index if hasattr(kind, "index") else None
    if isinstance(kind, MlaAttention):
        elements = kind.kv_lora_rank + kind.qk_rope_dim
        products = elements + kind.kv_lora_rank
    elif isinstance(kind, GqaAttention):
        keys, products = kind.kv_heads, kind.head_dim + (kind.v_dim or kind.head_dim)
        elements = keys * products
        entries = min(context, kind.window or inf)
    else:
        elements, products = kind.head_dim, 2 * kind.head_dim
        entries = context / kind.ratio if kind.ratio else 0.0
    seen = min(entries, index.tokens) if index else entries
    if isinstance(kind, CompressedAttention):
        seen += min(context, kind.window)
    groups = max(keys / tp(worker), 1)
    rows = groups * max(kind.heads / tp(worker) / groups * n / b, at["attention_tile"])
    held = b * seen * elements * bits.kv_cache / 8 / min(tp(worker), keys)
    flops = 2 * b * rows * seen * products
    if index and not index.shared:
        held += b * entries * index.dim * bits.index_cache / 8
        flops += 2 * n * entries * index.heads * index.dim
    return held, flops
