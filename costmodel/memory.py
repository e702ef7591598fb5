"""Bytes that a worker keeps on each GPU, and the batch that fits beside them."""

from __future__ import annotations

import numpy as np

from costmodel.attention import request_kept_bytes
from costmodel.calibration import Calibration
from costmodel.counts import BF16_BYTES
from costmodel.inputs import (
    AttentionArrays,
    BoolArray,
    FloatArray,
    MachineArrays,
    ModelArrays,
    WorkerArrays,
)
from costmodel.workload import Workload


def weight_bytes(model: ModelArrays, workers: WorkerArrays) -> FloatArray:
    """Weights on one GPU [B]: experts spread over EP, the rest whole (dp) or split (tp).

    Redundant EPLB slots hold copies: ``slots / experts`` times the routed experts. Draft layers
    are counted where drafts are used.
    """
    tp = workers.tp
    drafts = draft_layers(model, workers)
    copies = np.maximum(workers.eplb_slots, model.experts)
    wider = drafts * model.draft_moe * model.draft_weight_ratio  # at a precision of their own
    routed = (model.moe_layers + wider) * copies * model.expert_bytes / workers.gpus
    attention = sum(group.layers * _projection_bytes(group, tp) for group in model.attention)
    drafting = _projection_bytes(model.draft_attention, tp) + model.draft_dense_bytes / tp
    once = np.minimum(drafts, 1.0)
    joins = np.where(model.draft_block, once, drafts) * BF16_BYTES * model.draft_join_params / tp
    rest = (model.moe_layers + wider) * model.shared_bytes + model.dense_bytes
    ends = model.head_bytes + model.embedding_bytes + once * model.draft_own_head_bytes
    return routed + attention + drafts * drafting + joins + rest / tp + ends / workers.gpus


def _projection_bytes(attention: AttentionArrays, tp: FloatArray) -> FloatArray:
    """Weights of one layer's attention on one rank [B]."""
    return attention.bytes_whole + attention.bytes_split / tp


def draft_layers(model: ModelArrays, workers: WorkerArrays) -> FloatArray:
    """Draft layers that a worker keeps: all of them where it drafts, else none."""
    return np.where(workers.mtp_depth > 0, model.draft_layers, 0.0)


def request_bytes(model: ModelArrays, workers: WorkerArrays, workload: Workload) -> FloatArray:
    """Cache and state that one GPU keeps room for, of one request that it holds [B]."""
    tokens = workload.kept_tokens
    layers = (
        group.layers * request_kept_bytes(group, tokens, workers.tp) for group in model.attention
    )
    drafted = request_kept_bytes(model.draft_attention, tokens, workers.tp)
    return np.asarray(sum(layers) + draft_layers(model, workers) * drafted)


def batch_limit(
    machine: MachineArrays,
    model: ModelArrays,
    workers: WorkerArrays,
    workload: Workload,
    calibration: Calibration,
) -> FloatArray:
    """Count requests whose cache fits, per rank (dp) or worker (tp) [1]; below 1 none runs."""
    free = machine.hbm_bytes - weight_bytes(model, workers) - calibration.reserved_bytes
    usable = np.maximum(free, 0.0) * calibration.cache_share
    return usable / request_bytes(model, workers, workload)


def prefill_limit(
    machine: MachineArrays,
    model: ModelArrays,
    gpus: FloatArray,
    workload: Workload,
    calibration: Calibration,
    attention_dp: BoolArray | bool = True,
    stages: FloatArray | float = 1.0,
) -> FloatArray:
    """Count inputs whose cache fits, per rank of a prefill worker (dp) or worker (tp) [1].

    Below 1 none runs. A pipeline stage keeps its share of the layers, and of what they keep.
    """
    # A prefill worker keeps the inputs only; the shortest output stands for the first token.
    inputs = workload._replace(osl=np.ones_like(workload.isl))
    workers = input_workers(gpus, attention_dp, inputs)._replace(attention_tp=np.asarray(stages))
    return batch_limit(machine, model, workers, inputs, calibration)


def input_workers(
    gpus: FloatArray, attention_dp: BoolArray | bool, inputs: Workload
) -> WorkerArrays:
    """Describe prefill workers as decode workers are: EP over all GPUs, neither drafts nor EPLB."""
    none, never = np.zeros_like(gpus), np.zeros_like(gpus, dtype=np.bool_)
    return WorkerArrays(
        gpus=gpus,
        ep=gpus,
        attention_dp=np.broadcast_to(attention_dp, gpus.shape),
        mtp_depth=none,
        drafts_kept=none,
        kept_as_given=np.zeros_like(gpus, dtype=np.bool_),
        eplb_slots=none,
        context=inputs.context,
        low_latency=never,
        normal=never,
        gather=never,
        fp8_dispatch=never,
        fp4_combine=never,
    )
