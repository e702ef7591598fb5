"""Prefill workers: seconds per token, requests per second, and the hand-over of the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration
from costmodel.collectives import ranks_hit, wire_efficiency
from costmodel.inputs import FloatArray, MachineArrays, ModelArrays, PathArrays
from costmodel.workload import Workload


@dataclass(frozen=True)
class Prefill:
    """What one prefill worker does; shapes broadcast."""

    seconds_per_token: FloatArray  # on one GPU [s]
    latency: FloatArray  # of one request alone, hand-over and first token included [s]
    capacity: FloatArray  # requests per second of the worker


def prefill_worker(
    machine: MachineArrays,
    model: ModelArrays,
    gpus: FloatArray,
    paths: PathArrays,
    workload: Workload,
    calibration: Calibration,
    receiving_nic_rate: FloatArray | None = None,
) -> Prefill:
    """Rate and latency of prefill workers.

    Parameters
    ----------
    gpus
        GPUs of one worker; attention dp, so that one request runs on one rank. [1]
    paths
        Links between the worker's own GPUs.
    receiving_nic_rate
        Of a decode GPU where that is another machine. [B/s]

    Notes
    -----
    Compute-bound: ``2 active parameters`` and the attention products per token over calibrated
    shares of the peak rates, plus the bytes of the all-to-all of the MoE layers; the rank with most
    work sets the pace of all that step together.
    """
    linear = 2.0 * model.active_params / (machine.flops_experts * calibration.prefill_efficiency)
    products = model.layers * model.heads * model.prefill_score_value_dim * workload.input_tokens
    attention = products / (machine.flops_attention * calibration.prefill_attention_efficiency)
    copies = ranks_hit(gpus, model.top_k) * (model.dispatch_bytes + model.combine_bytes)
    wire = copies * paths.seconds_per_pair_byte / wire_efficiency(paths, calibration)
    exchange = np.where(gpus > 1, model.moe_layers * wire, 0.0)
    spread = np.sqrt(2.0 * np.log(np.maximum(gpus, 1.0)))  # expected maximum of normal draws
    slowest = 1.0 + calibration.prefill_imbalance * spread
    seconds = (linear + attention + exchange) * slowest
    alone = workload.input_tokens * seconds
    slower = np.minimum(
        paths.nic_rate, paths.nic_rate if receiving_nic_rate is None else receiving_nic_rate
    )
    hand_over = workload.input_tokens * model.layers * model.kv_bytes / slower
    return Prefill(
        seconds_per_token=seconds,
        latency=calibration.first_token_time + alone + hand_over,
        capacity=gpus / alone,
    )
