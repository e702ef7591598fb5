"""One decode step of one worker: seconds by part, for any number of workers at once.

Each layer is a roofline: bytes over bandwidth against FLOP over rate, plus collectives, plus fixed
time for launches. ``requests`` is what attention handles: requests per rank under attention dp, per
worker under attention tp. Equations and symbols: ``docs/cost-model.md``.
"""

from __future__ import annotations

import numpy as np

from costmodel.attention import attention_time, matrix_time, projection_time
from costmodel.calibration import Calibration
from costmodel.collectives import all_reduce_time
from costmodel.counts import BF16_BYTES
from costmodel.exchange import low_latency_busy
from costmodel.experts import NO_TIME, expert_layer_time
from costmodel.inputs import (
    BoolArray,
    FloatArray,
    MachineArrays,
    ModelArrays,
    PathArrays,
    WorkerArrays,
    take_last,
)
from costmodel.resolve import of_workers
from costmodel.step_time import StepTime


def decode_step(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    calibration: Calibration,
    draft: FloatArray | None = None,
) -> StepTime:
    """Time of one decode step; where an engine may overlap two half batches, the quicker way.

    Parameters
    ----------
    machine, model, workers, paths
        Facts of each worker; all fields broadcast with ``requests``.
    requests
        Requests in flight, per rank (attention dp) or per worker (attention tp). [1]
    calibration
        Calibrated constants.
    draft
        What `draft_time` gives, where it is known. [s]

    Returns
    -------
    Seconds by part. [s]
    """
    step = _serial_step(machine, model, workers, paths, requests, calibration, draft)
    may = workers.two_batches & workers.low_latency & workers.attention_dp & (paths.domains > 1)
    if may.any():
        two = _two_batch_step(machine, model, workers, paths, requests, calibration)
        shorter = may & (two.total < step.total)
        step = StepTime(*(np.where(shorter, *pair) for pair in zip(two, step, strict=True)))
    together = workers.attention_dp & (workers.gpus > 1)
    wait = np.where(together, calibration.sync_share, 0.0) * step.total
    return step._replace(wait=wait).scaled(calibration.engine_factor)


def runs_two_batches(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    calibration: Calibration,
) -> BoolArray:
    """Tell where a step is quicker as two half batches; arguments are those of `decode_step`."""
    serial = workers._replace(two_batches=np.zeros_like(workers.two_batches))
    one, quicker = (
        decode_step(machine, model, each, paths, requests, calibration).total
        for each in (serial, workers)
    )
    return np.asarray(quicker < one)


def _serial_step(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    calibration: Calibration,
    draft: FloatArray | None = None,
) -> StepTime:
    """Time one decode step part after part, without what ranks wait for each other."""
    tokens = requests * (1.0 + workers.mtp_depth)  # handled by attention on one rank
    moe = expert_layer_time(machine, model, workers, paths, tokens, calibration)
    projection, attention = attention_of_model(
        machine, model, workers, requests, tokens, calibration
    )
    reduce = attention_reduce_time(model, workers, tokens, paths, calibration)
    head = head_time(machine, model, workers, tokens, calibration)
    if draft is None:
        draft = draft_time(machine, model, workers, paths, requests, calibration)
    dense = dense_time(machine, model, workers, tokens, calibration)
    return StepTime(
        projection=projection,
        attention=attention,
        experts=model.moe_layers * moe.experts + dense,
        dispatch=model.moe_layers * moe.dispatch,
        combine=model.moe_layers * moe.combine,
        all_reduce=model.layers * 2.0 * reduce,
        draft=np.where(model.draft_block, np.minimum(workers.mtp_depth, 1.0), workers.mtp_depth)
        * draft,
        head=head,
        launch=model.layers * calibration.layer_time + calibration.step_time,
        host=host_time(workers, requests, calibration),
        interleaved_prefill=np.zeros(()),
        wait=np.zeros(()),
        hidden=model.moe_layers * moe.hidden,
    )


def _two_batch_step(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    calibration: Calibration,
) -> StepTime:
    """Time one decode step as two half batches, of which one computes while the other exchanges.

    In the layers with experts a half takes ``max(C + B, E - B)``: C computes, E is the exchange by
    low-latency kernels, and B the fixed time for which these hold multiprocessors. All else, and
    every read of weights and every launch, is there twice.
    """
    others = ~np.asarray(workers.low_latency)
    alone = workers._replace(normal=workers.normal & others, gather=workers.gather & others)
    half = _serial_step(machine, model, alone, paths, requests / 2.0, calibration)
    tokens = requests / 2.0 * (1.0 + workers.mtp_depth)
    with_experts = model.moe_layers / model.layers
    whole = half.projection + half.attention + half.all_reduce
    whole = with_experts * (whole + model.layers * calibration.layer_time)
    compute = whole + half.experts - dense_time(machine, model, workers, tokens, calibration)
    exchange = half.dispatch + half.combine + half.hidden
    busy = np.minimum(model.moe_layers * low_latency_busy(calibration), exchange)
    exposed = np.maximum(busy, exchange - busy - compute)
    there = half.dispatch / np.maximum(half.dispatch + half.combine, NO_TIME)
    return half._replace(
        dispatch=there * exposed, combine=(1.0 - there) * exposed, hidden=exchange - exposed
    ).scaled(2.0)


def attention_of_model(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    requests: FloatArray,
    tokens: FloatArray,
    calibration: Calibration,
) -> tuple[FloatArray, FloatArray]:
    """Projections and attention of all layers, group by group [s]."""
    projections, attentions = zip(
        *(
            (
                group.layers * projection_time(machine, group, workers, tokens, calibration),
                group.layers
                * attention_time(machine, group, workers, requests, tokens, calibration),
            )
            for group in model.attention
        ),
        strict=True,
    )
    return sum(projections), sum(attentions)


def draft_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    requests: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """One pass of what drafts: its layers, at their own precision, and what is around them [s].

    Before the layers a projection in BF16 joins hidden states, after them is the LM head.

    Where each draft takes a pass the first sees all depth + 1 tokens of a request, the others one:
    two on average, whatever the depth. A pass that drafts a block sees all its tokens.
    """
    slower, drafted = draft_layer(machine, model)
    own = calibration if calibration.draft is None else calibration.draft
    each = np.where(model.draft_block, np.maximum(workers.mtp_depth, 1.0), 1.0)
    tokens = requests * np.where(model.draft_block, each, 2.0)
    attention = model.draft_attention
    moe = expert_layer_time(slower, drafted, workers, paths, tokens, own)
    layer = projection_time(slower, attention, workers, tokens, own)
    layer = layer + attention_time(slower, attention, workers, requests, tokens, own)
    layer = layer + model.draft_moe * (moe.experts + moe.dispatch + moe.combine)
    held, params = (
        each / workers.tp for each in (model.draft_dense_bytes, model.draft_dense_params)
    )
    layer = layer + matrix_time(slower, held, params, tokens, own) + own.layer_time
    reduce = attention_reduce_time(drafted, workers, tokens, paths, own)
    layer = model.draft_passes * (layer + 2.0 * reduce)
    params = model.draft_join_params / workers.tp
    join = matrix_time(machine, BF16_BYTES * params, params, tokens, calibration)
    whole = model._replace(head_params=model.draft_head_params, head_bytes=model.draft_head_bytes)
    head = head_time(machine, whole, workers, requests * each, calibration)
    return np.asarray((layer + join) * own.draft_factor + own.draft_pass_time + head)


def draft_layer(machine: MachineArrays, model: ModelArrays) -> tuple[MachineArrays, ModelArrays]:
    """Machine and model as a draft layer has them, at its own precision."""
    ratio = model.draft_weight_ratio
    drafted = model._replace(
        expert_bytes=model.expert_bytes * ratio,
        shared_bytes=model.shared_bytes * ratio,
        expert_input_bytes=model.draft_expert_input_bytes,
        dispatch_bytes=model.draft_dispatch_bytes,
        combine_bytes=model.draft_combine_bytes,
    )
    slower = machine._replace(
        flops_experts=np.where(model.draft_wide, machine.flops_bf16, machine.flops_draft),
        flops_dense=np.where(model.draft_wide, machine.flops_bf16, machine.flops_dense),
    )
    return slower, drafted


def attention_reduce_time(
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> FloatArray:
    """Half of what joins, in one layer, the GPUs that share requests, in BF16 [s].

    Under attention tp that is one of two all-reduces of the activations. In groups under dp it is
    half of one, over the GPUs of a group: parted around the experts, to which each GPU sends its
    part of the tokens. Evaluated where GPUs share requests alone, as it costs more than the rest of
    a layer, and most workers are dp without groups.
    """
    size = tokens * model.hidden * 2.0
    dp, group = workers.attention_dp, np.asarray(workers.tp)
    shared = ~dp | (group > 1.0)
    if not shared.any():
        return np.zeros(())
    part = np.where(dp, 0.5, 1.0)
    near = paths._replace(domains=np.where(dp, 1.0, paths.domains))  # a group stands in one
    if shared.ndim != 1:
        return np.where(shared, part * _reduce_time(size, group, near, calibration), 0.0)
    tp = np.flatnonzero(shared)
    size, gpus, part = (take_last(value, tp, dp.size) for value in (size, group, part))
    of_tp = PathArrays(*(take_last(each, tp, dp.size) for each in near))
    found = part * _reduce_time(size, gpus, of_tp, of_workers(calibration, tp, dp.size))
    time = np.zeros((*found.shape[:-1], dp.size))
    time[..., tp] = found
    return time


def _reduce_time(
    size: FloatArray, gpus: FloatArray, paths: PathArrays, calibration: Calibration
) -> FloatArray:
    """One all-reduce in the engine [s]."""
    launch, factor = (
        np.asarray(each) for each in (calibration.all_reduce_launch, calibration.all_reduce_factor)
    )
    return all_reduce_time(size, gpus, paths, calibration, launch, factor)


def dense_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """MLPs of all layers without experts [s]."""
    read = model.dense_bytes / (machine.hbm_rate * calibration.hbm_efficiency)
    rate = machine.flops_experts * calibration.expert_efficiency
    work = 2.0 * tokens * model.dense_params / rate
    return np.asarray((read + work) / workers.tp)


def host_time(workers: WorkerArrays, requests: FloatArray, calibration: Calibration) -> FloatArray:
    """Work of the host on each request of a step, which an engine may do twice with drafts [s]."""
    drafting = np.where(workers.mtp_depth > 0, calibration.draft_request_time, 0.0)
    return np.asarray(requests * (calibration.request_time + drafting))


def head_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """LM head: its weights are split over all ranks in either mode, its work over tokens [s]."""
    read = model.head_bytes / workers.gpus / (machine.hbm_rate * calibration.hbm_efficiency)
    rate = machine.flops_bf16 * calibration.dense_efficiency
    return np.asarray(read + 2.0 * tokens * model.head_params / workers.tp / rate)
