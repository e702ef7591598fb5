"""Bytes that a worker keeps on each GPU, and the batch that fits beside them."""

from __future__ import annotations

import numpy as np

from costmodel.calibration import Calibration
from costmodel.counts import BF16_BYTES, tokens_attended
from costmodel.inputs import BoolArray, FloatArray, MachineArrays, ModelArrays, WorkerArrays
from costmodel.workload import Workload


def weight_bytes(model: ModelArrays, workers: WorkerArrays) -> FloatArray:
    """Weights on one GPU [B]: experts spread over EP, the rest whole (dp) or split (tp).

    Redundant EPLB slots hold copies: ``slots / experts`` times the routed experts. Draft layers
    are counted where drafts are used.
    """
    tp = np.where(workers.attention_dp, 1.0, workers.gpus)
    drafts = draft_layers(model, workers)
    copies = np.maximum(workers.eplb_slots, model.experts)
    wider = drafts * model.draft_weight_ratio  # draft layers keep their own precision
    routed = (model.moe_layers + wider) * copies * model.expert_bytes / workers.gpus
    attention = model.attention_bytes_whole + model.attention_bytes_split / tp
    drafting = model.draft_attention_bytes_whole + model.draft_attention_bytes_split / tp
    drafting = drafting + BF16_BYTES * model.draft_join_params / tp
    dense_layers = model.layers - model.moe_layers
    rest = (model.moe_layers + wider) * model.shared_bytes + dense_layers * model.dense_mlp_bytes
    ends = model.head_bytes / workers.gpus + model.embedding_bytes / workers.gpus
    return routed + model.layers * attention + drafts * drafting + rest / tp + ends


def draft_layers(model: ModelArrays, workers: WorkerArrays) -> FloatArray:
    """Draft layers that a worker keeps: those of the checkpoint where it drafts, else none."""
    return np.where(workers.mtp_depth > 0, np.maximum(model.draft_layers, 1.0), 0.0)


def request_bytes(model: ModelArrays, workers: WorkerArrays, workload: Workload) -> FloatArray:
    """KV cache of one request at its full length on one GPU that holds it [B]."""
    tp = np.where(workers.attention_dp, 1.0, workers.gpus)
    tokens = workload.input_tokens + workload.output_tokens
    layers = model.layers + draft_layers(model, workers)
    kept = tokens_attended(model, tokens)
    return kept * layers * model.kv_bytes / np.minimum(tp, model.kv_split)


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
) -> FloatArray:
    """Count inputs whose cache fits, per rank of a prefill worker (dp) or worker (tp) [1].

    Below 1 none runs.
    """
    # A prefill worker keeps the inputs only; the shortest output stands for the first token.
    inputs = Workload(workload.isl, np.ones_like(workload.isl))
    workers = input_workers(gpus, attention_dp, inputs)
    return batch_limit(machine, model, workers, inputs, calibration)


def input_workers(
    gpus: FloatArray, attention_dp: BoolArray | bool, inputs: Workload
) -> WorkerArrays:
    """Describe prefill workers as decode workers are: EP over all GPUs, neither drafts nor EPLB."""
    none = np.zeros_like(gpus)
    return WorkerArrays(
        gpus=gpus,
        ep=gpus,
        attention_dp=np.broadcast_to(attention_dp, gpus.shape),
        mtp_depth=none,
        eplb_slots=none,
        trtllm_experts=np.zeros_like(gpus, dtype=np.bool_),
        context=inputs.context,
    )
