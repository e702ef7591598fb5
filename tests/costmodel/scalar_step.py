"""One decode step in plain floats: docs/cost-model.md, "One decode step", read aloud.

A second opinion on the arrays of `costmodel.decode`. It is written from the document, equation by
equation and with its symbols, and shares no code with what it checks: where the two differ, one of
them is wrong, or the document does not say enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, log, log2, sqrt

from presets import (
    CompressedAttention,
    DeltaAttention,
    DenseFeedForward,
    GqaAttention,
    Hardware,
    MambaAttention,
    MlaAttention,
    Model,
    Precision,
    SparseIndex,
)
from presets.attention import Attention
from presets.model import DraftModel
from topology import GroupPath

Constants = Mapping[str, float]


@dataclass(frozen=True)
class Worker:
    """One decode worker, what it serves and on what."""

    model: Model
    precision: Precision
    hardware: Hardware
    path: GroupPath
    gpus: int
    ep: int
    dp: bool
    drafts: int
    eplb_slots: int
    trtllm_kernels: bool
    isl: int
    osl: int
    draft: DraftModel | None
    kernels: tuple[str, ...]  # that may carry tokens across domains
    fp8_dispatch: bool
    fp4_combine: bool
    two_batches: bool


@dataclass(frozen=True)
class Format:
    """The bits and rates that a layer of the model, or a draft layer, has."""

    expert: float  # bits of a weight
    shared: float
    router: float
    attention: float
    attention_output: float
    rate: float  # FLOP/s of expert GEMMs
    arithmetic: float  # bits that experts multiply; 16 is BF16
    wire_input: float  # bits of the input of experts
    wire_combine: float  # bits that decide in what a result travels back


def step(worker: Worker, b: float, at: Constants) -> dict[str, float]:
    """Seconds of one step by part; ``b`` requests in flight, per rank (dp) or worker (tp)."""
    parts = serial(worker, b, at)
    sends_low_latency = "deepep_low_latency" in worker.kernels and worker.path.domains > 1
    if worker.two_batches and worker.dp and sends_low_latency:
        parts = min(parts, two_batches(worker, b, at), key=lambda each: sum(each.values()))
    waits = worker.dp and worker.gpus > 1
    parts["wait"] = at["sync_share"] * sum(parts.values()) if waits else 0.0
    return {name: at["engine_factor"] * seconds for name, seconds in parts.items()}


def two_batches(worker: Worker, b: float, at: Constants) -> dict[str, float]:
    """Two half batches, one of which computes while the other is in flight."""
    model, own = worker.model, model_format(worker)
    low = replace(worker, kernels=("deepep_low_latency",))
    half, n = serial(low, b / 2, at), b / 2 * (worker.drafts + 1)
    experts, *_ = expert_layer(low, own, n, at)
    there, back = exchange(low, own, n, at)
    layers = sum(
        group.count * ((group.attention is not None) + (group.feed_forward is not None)) / 2
        for group in model.groups
    )
    count = sum(
        group.count
        for group in model.groups
        if group.feed_forward is not None and not isinstance(group.feed_forward, DenseFeedForward)
    )
    around = half["projection"] + half["attention"] + half["all_reduce"]
    compute = count / layers * (around + layers * launch(worker, own, at)) + count * experts
    held = start("low_latency_dispatch", worker, at) + start("low_latency_combine", worker, at)
    busy = min(at["low_latency_factor"] * count * held, count * (there + back))
    exposed = max(busy, count * (there + back) - busy - compute)
    half["dispatch"] = exposed * there / (there + back)
    half["combine"] = exposed * back / (there + back)
    return {name: 2 * seconds for name, seconds in half.items()}


def serial(worker: Worker, b: float, at: Constants) -> dict[str, float]:
    """One part after the other, without what ranks wait for each other."""
    model, bits = worker.model, worker.precision
    n = b * (worker.drafts + 1)
    own = model_format(worker)
    experts, dispatch, combine = expert_layer(worker, own, n, at)
    parts = dict.fromkeys(("projection", "attention", "experts", "dispatch", "combine"), 0.0)
    layers = 0.0
    for group in model.groups:
        if group.attention is not None:
            layers += group.count / 2
            parts["projection"] += group.count * projection(worker, group.attention, own, n, at)
            parts["attention"] += group.count * attention(worker, group.attention, b, n, at)
        if group.feed_forward is not None:
            layers += group.count / 2
        if isinstance(group.feed_forward, DenseFeedForward):
            weights = group.feed_forward.matrices * model.hidden * group.feed_forward.intermediate
            dense = weights * bits.dense / 8 / hbm(worker, at)
            dense += 2 * n * weights / expert_rate(worker, own, at)
            parts["experts"] += group.count * dense / tp(worker)
        elif group.feed_forward is not None:
            parts["experts"] += group.count * experts
            parts["dispatch"] += group.count * dispatch
            parts["combine"] += group.count * combine
    return parts | {
        "all_reduce": layers * all_reduces(worker, n, at),
        "draft": drafts(worker, b, at),
        "head": head(worker, n, at),
        "launch": layers * launch(worker, own, at) + at["step_time"],
        "host": b * at["request_time"],
        "interleaved_prefill": 0.0,
    }


def model_format(worker: Worker) -> Format:
    bits, machine = worker.precision, worker.hardware
    arithmetic = bits.experts
    if bits.expert_input is not None:
        arithmetic = bits.expert_input if "fp4" in machine.flops else 16.0
    return Format(
        expert=bits.experts,
        shared=bits.shared_expert,
        router=bits.router,
        attention=bits.attention,
        attention_output=bits.attention_output,
        rate=peak(machine, arithmetic),
        arithmetic=arithmetic,
        wire_input=bits.expert_input or bits.experts,
        wire_combine=bits.expert_input or bits.experts,
    )


def draft_format(worker: Worker, draft: DraftModel) -> Format:
    bits, own = worker.precision, model_format(worker)
    if not draft.in_checkpoint:
        bits = bits.model_copy(update={"draft": 16.0})
    wider = bits.draft / bits.experts
    as_experts = bits.expert_input is not None and wider <= 1
    return Format(
        expert=bits.draft,
        shared=bits.shared_expert * wider,
        router=bits.router * wider,
        attention=bits.draft,
        attention_output=bits.draft,
        rate=peak(worker.hardware, own.arithmetic if as_experts else bits.draft),
        arithmetic=own.arithmetic if wider <= 1 else 16.0,
        wire_input=own.wire_input if as_experts else bits.draft,
        wire_combine=own.wire_combine if as_experts else bits.draft,
    )


def expert_layer(
    worker: Worker, form: Format, n: float, at: Constants
) -> tuple[float, float, float]:
    """Experts of one layer, and what is exposed of its dispatch and combine."""
    experts = expert_time(worker, form, n, at)
    dispatch, combine = exchange(worker, form, n, at) if worker.dp else (0.0, 0.0)
    there_and_back = dispatch + combine
    exposed = 1.0
    if there_and_back > 0:
        exposed -= min(there_and_back, at["overlap"] * experts) / there_and_back
    return experts, dispatch * exposed, combine * exposed


def launch(worker: Worker, form: Format, at: Constants) -> float:
    time = of_machine("layer_time", worker, at)
    if worker.hardware.kernel_profile == "blackwell" and is_fp8(form.arithmetic):
        time *= at["layer_time[kernel_profile=blackwell,format=fp8]"]
    return time


def of_machine(name: str, worker: Worker, at: Constants) -> float:
    """Take a constant as it is on a family of chips."""
    return at[name] * at.get(f"{name}[kernel_profile={worker.hardware.kernel_profile}]", 1.0)


def all_reduces(worker: Worker, n: float, at: Constants) -> float:
    return 0.0 if worker.dp else 2 * all_reduce(worker, n, at)


def drafts(worker: Worker, b: float, at: Constants) -> float:
    if not worker.drafts:
        return 0.0
    assert worker.draft is not None
    own, model = worker.draft, worker.model
    passes, drafted, n = worker.drafts, b, 2 * b
    if own.block:
        passes, drafted, n = 1, b * worker.drafts, b * worker.drafts
    form, kind = draft_format(worker, own), own.layers.attention
    assert kind is not None
    rate = dense_rate(worker, at)
    if not own.in_checkpoint:
        rate = at["dense_efficiency"] * worker.hardware.flops["bf16"].value
    layer = (
        attention(worker, kind, b, n, at) + launch(worker, form, at) + all_reduces(worker, n, at)
    )
    whole, split, last = weights_of(kind, model.hidden)
    layer += matrix(worker, whole + (split + last) / tp(worker), form.attention, rate, n, at)
    if isinstance(own.layers.feed_forward, DenseFeedForward):
        dense = own.layers.feed_forward.matrices * model.hidden
        dense *= own.layers.feed_forward.intermediate
        layer += matrix(worker, dense / tp(worker), form.attention, rate, n, at)
    else:
        layer += sum(expert_layer(worker, form, n, at))
    layers = own.layers.count * layer if own.block else layer
    joined = own.joined * model.hidden**2 / tp(worker)
    join = matrix(worker, joined, 16.0, dense_rate(worker, at), n, at)
    vocab, bits = model.vocab, worker.precision.lm_head
    if own.vocab:
        vocab, bits = own.vocab, 16.0
    chosen = head(worker, drafted, at, vocab, bits)
    return passes * (at["draft_factor"] * (layers + join) + chosen)


def matrix(
    worker: Worker, weights: float, bits: float, rate: float, n: float, at: Constants
) -> float:
    return weights * bits / 8 / hbm(worker, at) + 2 * n * weights / rate


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


def expert_time(worker: Worker, form: Format, n: float, at: Constants) -> float:
    model, ep, p = worker.model, worker.ep, at["roofline_exponent"]
    moe = model.moe
    experts, k, width = moe.experts, moe.top_k, moe.latent or model.hidden
    tokens = n * worker.gpus if worker.dp else n
    s = at["expert_spread"]
    touched = experts * (1 - (1 + s**2 * k * tokens / experts) ** (-1 / s**2))
    touched = max(touched, k * min(tokens, 1))
    most = sqrt(2 * log(ep))
    mean = touched / ep
    distinct = mean + at["touch_spread"] * most * sqrt(mean * max(1 - touched / experts, 0))
    distinct = min(distinct, experts / ep)
    if worker.eplb_slots:
        s *= at["eplb_gain"]
    pairs = k * tokens / ep * (1 + s * most * sqrt(ep / experts))
    aligned = worker.hardware.kernel_profile == "blackwell" and is_fp8(form.arithmetic)
    tile = at["expert_tile"]
    if aligned:
        tile *= at["expert_tile[kernel_profile=blackwell,format=fp8]"]
    rows = sqrt(pairs**2 + (tile * distinct) ** 2)
    weights = moe.matrices * width * moe.intermediate / (worker.gpus / ep)
    rate = expert_rate(worker, form, at)
    read = distinct * weights * form.expert / 8 / hbm(worker, at)
    work = 2 * rows * weights / rate
    always = moe.matrices * model.hidden * moe.shared_intermediate
    always += 2 * model.hidden * moe.latent if moe.latent else 0
    router = experts * model.hidden
    shared = (always * form.shared + router * form.router) / 8 / hbm(worker, at)
    shared += 2 * n * (always + router) / rate
    shards = worker.gpus / ep
    fixed = at["split_tile_time[format=fp4]"] * distinct * width / 128 * (1 - 1 / shards)
    split = fixed if form.arithmetic < 5 else 0.0
    return float((read**p + work**p) ** (1 / p)) + split + shared / tp(worker)


def exchange(worker: Worker, form: Format, n: float, at: Constants) -> tuple[float, float]:
    """Dispatch and combine of one layer under dp."""
    if worker.gpus == 1:
        return 0.0, 0.0
    if worker.path.domains > 1:
        return across_domains(worker, form, n, at)
    hidden = worker.model.moe.latent or worker.model.hidden
    there = 0.5625 * hidden if form.wire_input < 5 else 2.0 * hidden
    back = 0.5625 * hidden if form.wire_combine < 5 else 2.0 * hidden
    dispatch = one_way(worker, "dispatch", there, n, at)
    dispatch += of_machine("exchange_factor", worker, at) * kernel("prepare", worker, n, at)
    combine = "combine_low_precision" if form.arithmetic < 5 else "combine"
    return dispatch, one_way(worker, combine, back, n, at)


def kernel(name: str, worker: Worker, n: float, at: Constants) -> float:
    fixed = at[f"{name}.latency"] + at[f"{name}.latency_per_doubling"] * log2(worker.gpus)
    return (
        fixed
        + n * 2 * (worker.model.moe.latent or worker.model.hidden) * at[f"{name}.seconds_per_byte"]
    )


def one_way(worker: Worker, name: str, size: float, n: float, at: Constants) -> float:
    path = worker.path
    hit = 1 - (1 - 1 / worker.ep) ** worker.model.moe.top_k
    wire = n * size * hit * (worker.gpus - 1) / (at["link_efficiency"] * path.nvlink_rate)
    return of_machine("exchange_factor", worker, at) * (
        kernel(name, worker, n, at) + wire + beyond(worker, at)
    )


def beyond(worker: Worker, at: Constants) -> float:
    """What a path inside a domain is longer than that of the measured kernels."""
    return max(worker.path.domain_latency - at["kernel_path_latency"], 0)


def across_domains(worker: Worker, form: Format, n: float, at: Constants) -> tuple[float, float]:
    hidden = worker.model.moe.latent or worker.model.hidden
    back = 2.0 * hidden
    there = 0.5625 * hidden if form.wire_input < 5 else 2.0 * hidden
    if worker.fp8_dispatch and 5 <= form.wire_input < 9:
        there = (1 + 1 / 32) * hidden
    narrow = 0.5625 * hidden if worker.fp4_combine and form.wire_combine < 5 else back
    found = []
    for name in worker.kernels:
        if name == "deepep_low_latency":
            times = (
                low_latency("low_latency_dispatch", worker, there, n, at),
                low_latency("low_latency_combine", worker, narrow, n, at),
            )
        elif name == "deepep_normal":
            times = (
                normal("normal_dispatch", worker, there, n, at),
                normal("normal_combine", worker, back, n, at),
            )
        else:
            times = (gather(worker, there, n, at), gather(worker, back, n, at))
        found.append(times)
    return min(found, key=sum)


def start(name: str, worker: Worker, at: Constants) -> float:
    blackwell = worker.hardware.kernel_profile == "blackwell"
    later = at["deepep_latency[kernel_profile=blackwell]"] if blackwell else 0.0
    return at[f"{name}.latency"] + later


def low_latency(name: str, worker: Worker, size: float, n: float, at: Constants) -> float:
    path = worker.path
    sent = n * worker.model.moe.top_k / worker.ep * size
    nic = sent * path.seconds_per_pair_byte / at[f"{name}.nic_efficiency"]
    near = sent * (worker.gpus / path.domains - 1)
    near /= at[f"{name}.link_efficiency"] * path.nvlink_rate
    doublings = at[f"{name}.latency_per_doubling"] * (1 + log2(path.domains))
    return at["low_latency_factor"] * (start(name, worker, at) + doublings + max(nic, near))


def normal(name: str, worker: Worker, size: float, n: float, at: Constants) -> float:
    path, k = worker.path, worker.model.moe.top_k
    other = (path.domains - 1) * (1 - (1 - 1 / min(worker.ep, path.domains)) ** k)
    nic = n * size * other / (at[f"{name}.nic_efficiency"] * path.nic_rate)
    copies = worker.gpus * (1 - (1 - 1 / worker.ep) ** k) + other
    moved = n * size * copies / at[f"{name}.copy_rate"]
    doublings = at[f"{name}.latency_per_doubling"] * log2(path.domains)
    joined = float((nic**4 + moved**4) ** 0.25)
    return at["normal_factor"] * (start(name, worker, at) + doublings + joined)


def gather(worker: Worker, size: float, n: float, at: Constants) -> float:
    path = worker.path
    nic = n * size * (path.domains - 1) / (at["gather.nic_efficiency"] * path.nic_rate)
    near = n * size * (worker.gpus - 1) / (at["gather.link_efficiency"] * path.nvlink_rate)
    doublings = at["gather.latency_per_doubling"] * log2(worker.gpus)
    return at["gather.latency"] + doublings + max(nic, near)


def all_reduce(worker: Worker, n: float, at: Constants) -> float:
    """One all-reduce of the activations of n tokens."""
    path, gpus, factor = worker.path, worker.gpus, at["all_reduce_factor"]
    if gpus == 1:
        return 0.0
    size = 2.0 * worker.model.hidden * n
    link = at["link_efficiency"] * path.nvlink_rate / factor
    two_shot = factor * at["two_shot_latency"]
    if path.domains > 1:
        inside = gpus / path.domains
        near = 2 * size * (1 - 1 / inside) / (at["link_efficiency"] * path.nvlink_rate)
        nic = 2 * size / inside * (1 - 1 / path.domains)
        nic /= at["crossing_reduce_efficiency"] * path.nic_rate
        return at["crossing_reduce_latency"] * log2(path.domains) + near + nic
    best = inf
    for group in (2, 4, 8, 16, 32, 64, gpus):
        if group > gpus or gpus % group:
            continue
        one_shot = size * (group - 1) / link
        first = min(one_shot, two_shot + 2 * size * (group - 1) / group / link)
        second = two_shot + 2 * size / group * (1 - group / gpus) / link if group < gpus else 0.0
        best = min(best, first + second)
    launch = of_machine("all_reduce_launch", worker, at)
    return factor * (launch + beyond(worker, at)) + best


def head(worker: Worker, n: float, at: Constants, vocab: int = 0, bits: float = 0.0) -> float:
    weights = (vocab or worker.model.vocab) * worker.model.hidden
    read = weights * (bits or worker.precision.lm_head) / 8 / worker.gpus / hbm(worker, at)
    rate = at["dense_efficiency"] * worker.hardware.flops["bf16"].value
    return read + 2 * n * weights / tp(worker) / rate


def tp(worker: Worker) -> int:
    return 1 if worker.dp else worker.gpus


def hbm(worker: Worker, at: Constants) -> float:
    return at["hbm_efficiency"] * worker.hardware.hbm_rate.value


def dense_rate(worker: Worker, at: Constants) -> float:
    return at["dense_efficiency"] * peak(worker.hardware, worker.precision.attention)


def expert_rate(worker: Worker, form: Format, at: Constants) -> float:
    share = of_machine("expert_efficiency", worker, at)
    if is_fp8(form.arithmetic):
        share *= at["expert_efficiency[format=fp8]"]
        if worker.trtllm_kernels:
            share *= at["expert_efficiency[format=fp8,kernel=trtllm]"]
    elif form.arithmetic >= 9:
        share *= at["expert_efficiency[format=bf16]"]
    return min(share, 1.0) * form.rate


def is_fp8(bits: float) -> bool:
    return 5 <= bits < 9


def peak(machine: Hardware, bits: float) -> float:
    if bits < 5:
        return machine.flops["fp4"].value
    return machine.flops["fp8" if bits < 9 else "bf16"].value
