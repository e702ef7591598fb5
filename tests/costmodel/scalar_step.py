"""One decode step in plain floats: docs/cost-model.md, "One decode step", read aloud.

A second opinion on the arrays of `costmodel.decode`. It is written from the document, equation by
equation and with its symbols, and shares no code with what it checks: where the two differ, one of
them is wrong, or the document does not say enough.
"""

from dataclasses import replace
from math import log, sqrt

from presets import (
    DenseFeedForward,
)
from presets.model import DraftModel
from tests.costmodel.scalar_attention import attention, projection, weights_of
from tests.costmodel.scalar_links import all_reduces, exchange, start
from tests.costmodel.scalar_worker import (
    Constants,
    Format,
    Worker,
    dense_rate,
    expert_rate,
    hbm,
    is_fp8,
    launch,
    matrix,
    peak,
    tp,
)


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


def head(worker: Worker, n: float, at: Constants, vocab: int = 0, bits: float = 0.0) -> float:
    weights = (vocab or worker.model.vocab) * worker.model.hidden
    read = weights * (bits or worker.precision.lm_head) / 8 / worker.gpus / hbm(worker, at)
    rate = at["dense_efficiency"] * worker.hardware.flops["bf16"].value
    return read + 2 * n * weights / tp(worker) / rate
