"""Prefill workers: seconds per token, requests per second, and the hand-over of the KV cache.

Under attention dp each rank of a worker takes requests of its own and the experts' all-to-all joins
them; under tp the ranks split the heads and share every request.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from costmodel.attention import prompt_products
from costmodel.calibration import Calibration
from costmodel.collectives import ranks_hit
from costmodel.counts import BF16_BYTES
from costmodel.decode import attention_reduce_time
from costmodel.hand_over import hand_over_busy
from costmodel.inputs import BoolArray, FloatArray, MachineArrays, ModelArrays, PathArrays
from costmodel.memory import input_workers
from costmodel.workload import Workload

LEAST_CACHED = 1e-6
"""Stands for nothing that is cached, in quotients. [token]"""


class Prefill(NamedTuple):
    """What one prefill worker does; shapes broadcast."""

    seconds_per_token: FloatArray  # of input, on one rank (dp) or the whole worker (tp) [s]
    latency: FloatArray  # of one request alone, hand-over and first token included [s]
    capacity: FloatArray  # requests per second of the worker
    servers: FloatArray  # that each take a request of their own: ranks (dp) or the worker (tp) [1]


def prefill_worker(
    machine: MachineArrays,
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
    receiving_nic_rate: FloatArray | None = None,
    attention_dp: BoolArray | bool = True,
    hands_over: BoolArray | bool = True,
    attention_tp: FloatArray | float = 1.0,
    stages: FloatArray | float = 1.0,
) -> Prefill:
    """Rate and latency of prefill workers.

    Parameters
    ----------
    gpus
        GPUs of one worker. [1]
    paths
        Links between the worker's own GPUs.
    receiving_nic_rate
        Of a decode GPU where that is another machine. [B/s]
    attention_dp
        Whether one request runs on one rank; else all ranks of the worker share it.
    hands_over
        Whether the KV cache goes to another worker; else it stays.
    attention_tp
        GPUs that share each request under attention dp. [1]
    stages
        Pipeline stages of a worker; `paths` are then those of a stage. [1]

    Notes
    -----
    Compute-bound: ``2 active parameters`` and the attention products per token over calibrated
    shares of the peak rates, plus what the worker's links take. Tokens whose KV is there cost none
    of that; those after them look back on them. All of the KV goes to another worker.

    GPUs that share a request part its work, but for an all-reduce per layer. Each pipeline stage
    does its share of the layers on as many requests at a time as there are stages: the worker
    serves as many as stages that had the whole model, and a request crosses all of them, its hidden
    states in BF16 over a NIC in between.
    """
    whole, gpus = gpus, gpus / stages
    dp = np.broadcast_to(attention_dp, gpus.shape)
    split = split_seconds(machine, model, gpus, paths, workload, calibration)
    own = replicated_seconds(machine, model, gpus, paths, workload, calibration) / attention_tp
    own = own + _reduce_seconds(model, gpus, paths, workload, calibration, attention_tp)
    seconds = np.where(dp, own, split)
    alone = workload.input_tokens * seconds
    slower = np.minimum(
        paths.nic_rate, paths.nic_rate if receiving_nic_rate is None else receiving_nic_rate
    )
    sending = np.where(hands_over, hand_over_busy(machine, model, workload, slower), 0.0)
    hand_over = sending + np.where(hands_over, machine.hand_over_start, 0.0)
    nics = sending + _nic_seconds(model, gpus, paths, workload, calibration, dp)
    servers = np.where(dp, whole / attention_tp, stages)
    # Where decode goes on beside it, what a request takes is what it adds to the steps.
    taken = alone * np.where(hands_over, 1.0, calibration.mixed_prefill)
    fixed = np.where(hands_over, calibration.first_token_time, calibration.mixed_first_token_time)
    hops = (stages - 1.0) * workload.prefilled_tokens * BF16_BYTES * model.hidden / paths.nic_rate
    return Prefill(
        seconds_per_token=seconds,
        latency=fixed + alone + hops + hand_over,
        capacity=servers / np.maximum(taken, nics),  # NICs send while ranks compute
        servers=servers,
    )


def replicated_seconds(
    machine: MachineArrays,
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
) -> FloatArray:
    """Time of one token of input on one rank under attention dp, cached ones included [s].

    Each MoE layer sends a token to the ranks that hold its experts and back; the rank with most
    work sets the pace of all that step together.
    """
    linear = 2.0 * model.active_params / _flops(machine, calibration)
    attention = _attention_seconds(machine, model, workload, calibration)
    near, far = _exchange_seconds(model, gpus, paths)
    near = near / calibration.link_efficiency
    slowed = machine.kernel_factor * calibration.normal_factor
    far = far * slowed / calibration.normal_dispatch.nic_efficiency
    exchange = np.maximum(near, far)
    slowest = 1.0 + calibration.prefill_imbalance * _spread(gpus)
    fresh = 1.0 - workload.cached_share
    return np.asarray((fresh * (linear + exchange) + attention) * slowest)


def split_seconds(
    machine: MachineArrays,
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
) -> FloatArray:
    """Time of one token of input on all ranks of a worker under attention tp [s].

    Each rank works on all tokens of a request: on its heads, on its share of every dense matrix and
    on the experts that it holds, of which one rank has more tokens than the mean, as at decode. Of
    the attention projections some are not split. Two all-reduces per layer join the ranks; a
    request is one message.
    """
    whole = sum(group.layers * group.params_whole for group in model.attention)
    routed = model.moe_layers * model.top_k * model.expert_params
    hottest = 1.0 + calibration.expert_spread * _spread(gpus) * np.sqrt(gpus / model.experts)
    params = whole + (model.active_params - whole + routed * (hottest - 1.0)) / gpus
    linear = 2.0 * (1.0 - workload.cached_share) * params / _flops(machine, calibration)
    attention = _attention_seconds(machine, model, workload, calibration) / gpus
    reduce = _reduce_seconds(model, gpus, paths, workload, calibration)
    return np.asarray(linear + attention + reduce)


def _exchange_seconds(
    model: ModelArrays, gpus: FloatArray, paths: PathArrays
) -> tuple[FloatArray, FloatArray]:
    """Time of the bytes of one token's all-to-alls at the full rate of NVLink, and of NICs [s].

    One copy goes over NICs to each other domain that holds an expert of it, as normal kernels send.
    """
    each = model.moe_layers * (model.dispatch_bytes + model.combine_bytes)
    copies = ranks_hit(gpus, model.top_k) * (gpus - 1.0)
    beyond = ranks_hit(paths.domains, model.top_k) * (paths.domains - 1.0)
    return each * copies / paths.nvlink_rate, each * beyond / paths.nic_rate


def _reduce_seconds(
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
    attention_tp: FloatArray | float | None = None,
) -> FloatArray:
    """Time of the all-reduces of one token of input, all that are prefilled at a time [s].

    Of all GPUs under attention tp, or of groups of `attention_tp` GPUs under dp.
    """
    workers = input_workers(gpus, attention_tp is not None, workload)
    if attention_tp is not None:
        workers = workers._replace(attention_tp=np.broadcast_to(attention_tp, gpus.shape))
    tokens = workload.prefilled_tokens
    reduce = attention_reduce_time(model, workers, tokens, paths, calibration)
    return 2.0 * model.layers * reduce / workload.input_tokens


def _nic_seconds(
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
    dp: BoolArray,
) -> FloatArray:
    """Bound how long the collectives of a request would take a NIC at its full rate [s]."""
    if not np.any(paths.domains > 1):
        return np.zeros(())
    reduce = _reduce_seconds(model, gpus, paths, workload, calibration)
    reduce = reduce * calibration.crossing_reduce_efficiency
    _, exchange = _exchange_seconds(model, gpus, paths)
    fresh = 1.0 - workload.cached_share
    each = np.where(dp, fresh * exchange, reduce)
    return np.where(paths.domains > 1, workload.input_tokens * each, 0.0)


def _flops(machine: MachineArrays, calibration: Calibration) -> FloatArray:
    """Rate of the matrix products [FLOP/s]."""
    return np.asarray(machine.flops_experts * calibration.prefill_efficiency)


def _attention_seconds(
    machine: MachineArrays, model: ModelArrays, workload: Workload, calibration: Calibration
) -> FloatArray:
    """Time of the attention products of one token of input over all heads [s].

    Those of all of it, less those of what is cached.
    """
    share = workload.cached_share
    whole, cached = workload.input_tokens, np.maximum(workload.cached_tokens, LEAST_CACHED)
    products = sum(
        group.layers * (prompt_products(group, whole) - share * prompt_products(group, cached))
        for group in model.attention
    )
    return np.asarray(
        products / (machine.flops_attention * calibration.prefill_attention_efficiency)
    )


def _spread(gpus: FloatArray) -> FloatArray:
    """Expect the maximum of as many normal draws as ranks, in standard deviations [1]."""
    return np.asarray(np.sqrt(2.0 * np.log(np.maximum(gpus, 1.0))))
