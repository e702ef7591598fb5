"""Experts of a layer in one decode step: their GEMMs, and the exchange of tokens around them."""

from __future__ import annotations

import numpy as np

from costmodel.calibration import Calibration
from costmodel.collectives import exchange_time, kernel_where, preparation_time, ranks_hit
from costmodel.exchange import crossing_exchange
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays, WorkerArrays
from costmodel.step_time import ExpertTime

TILE_COLUMNS = 128.0
"""Columns of the output that one tile of a grouped GEMM computes. [1]"""


NO_TIME = 1e-30
"""Stands for an exchange that does not happen, in quotients [s]."""


def expert_layer_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    paths: PathArrays,
    tokens: FloatArray,
    calibration: Calibration,
) -> ExpertTime:
    """Time the experts of one layer that handles ``tokens``, per rank or worker.

    Dispatch and combine pass behind a share of the expert GEMMs; what does not fit is exposed.
    """
    worker_tokens = tokens * workers.gpus / workers.tp
    sent = np.where(workers.attention_dp, tokens / workers.tp, tokens)  # by each GPU
    dispatch, combine = moe_exchange_time(machine, model, workers, sent, paths, calibration)
    experts = expert_time(machine, model, workers, tokens, worker_tokens, calibration)
    exchange = dispatch + combine
    hidden = np.minimum(exchange, calibration.overlap * experts)
    exposed = 1.0 - hidden / np.maximum(exchange, NO_TIME)
    return ExpertTime(
        experts=experts,
        dispatch=dispatch * exposed,
        combine=combine * exposed,
        hidden=hidden,
    )


def expert_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    worker_tokens: FloatArray,
    calibration: Calibration,
) -> FloatArray:
    """Routed and shared experts of one MoE layer on the most loaded rank [s].

    The popularity of experts is taken as gamma-distributed with coefficient of variation s, so n
    tokens touch ``E (1 - (1 + s^2 k n / E)^(-1 / s^2))`` distinct experts, which goes to
    ``E (1 - exp(-k n / E))`` as s goes to zero; their weights are read once per step. The rank with
    most tokens and most distinct experts sets the pace; EPLB slots lower the first. Work of a
    nearly empty expert is bounded below by one GEMM tile. Where EP is below the worker's GPUs each
    rank has a slice of its experts: their bytes and products shrink, but not the tiles of the
    output, ``width / 128`` for each distinct expert, whose fixed time then shows in FP4.
    """
    load = model.top_k * worker_tokens / model.experts
    variance = calibration.expert_spread**2
    touched = model.experts * -np.expm1(-np.log1p(variance * load) / variance)
    touched = np.maximum(touched, model.top_k * np.minimum(worker_tokens, 1.0))
    share = touched / workers.ep
    spread_of_maximum = np.sqrt(2.0 * np.log(workers.ep))  # expected maximum of EP normal draws
    scatter = np.sqrt(share * np.maximum(1.0 - touched / model.experts, 0.0))
    distinct = np.minimum(
        share + calibration.touch_spread * spread_of_maximum * scatter, model.experts / workers.ep
    )
    spread = calibration.expert_spread * np.where(
        workers.eplb_slots > 0, calibration.eplb_gain, 1.0
    )
    hottest = 1.0 + spread * spread_of_maximum * np.sqrt(workers.ep / model.experts)
    pairs = model.top_k * worker_tokens / workers.ep * hottest
    rows = np.hypot(pairs, calibration.expert_tile * distinct)

    shards = workers.gpus / workers.ep  # EP below the worker's size splits each expert by tp
    bandwidth = machine.hbm_rate * calibration.hbm_efficiency
    rate = machine.flops_experts * calibration.expert_efficiency
    read = distinct * model.expert_bytes / shards / bandwidth
    work = 2.0 * rows * model.expert_params / shards / rate
    power = calibration.roofline_exponent
    routed = (read**power + work**power) ** (1.0 / power)
    tiles = distinct * model.expert_width / TILE_COLUMNS
    routed = routed + calibration.split_tile_time * tiles * (1.0 - 1.0 / shards)
    shared = (
        model.shared_bytes / bandwidth + 2.0 * tokens * model.shared_params / rate
    ) / workers.tp
    return np.asarray(routed + shared)


def moe_exchange_time(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    tokens: FloatArray,
    paths: PathArrays,
    calibration: Calibration,
) -> tuple[FloatArray, FloatArray]:
    """Dispatch and combine of one MoE layer under dp; zero under tp, which all-reduces [s].

    Inside a domain an exchange of counts goes before the dispatch.
    """
    hidden, ranks = 2.0 * model.expert_width, workers.gpus
    copies, factor = ranks_hit(workers.ep, model.top_k), calibration.exchange_factor
    narrow = model.combine_bytes < hidden
    low = kernel_where(narrow, calibration.combine_low_precision, calibration.combine)
    there, back = (
        factor * exchange_time(kernel, tokens, size, hidden, ranks, copies, paths, calibration)
        for kernel, size in (
            (calibration.dispatch, model.dispatch_bytes),
            (low, model.combine_bytes),
        )
    )
    there = there + factor * preparation_time(calibration.prepare, tokens, hidden, ranks)
    crossing, dp = paths.domains > 1, workers.attention_dp
    if (crossing & dp).any():
        far = crossing_exchange(machine, model, workers, tokens, paths, calibration)
        there = np.where(crossing, far.dispatch, there)
        back = np.where(crossing, far.combine, back)
    return np.where(dp, there, 0.0), np.where(dp, back, 0.0)
