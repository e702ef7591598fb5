"""What the cost model reads: machines, models and workers as plain arrays.

Every field broadcasts: shape ``()`` for one machine and a million workers, shape ``(n,)`` where
each row has its own machine, as calibration needs. Units are SI and in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
T = TypeVar("T", bound=NamedTuple)


class MachineArrays(NamedTuple):
    """The facts of a machine that a step needs."""

    hbm_rate: FloatArray  # [B/s]
    hbm_bytes: FloatArray  # usable memory of one GPU [B]
    flops_experts: FloatArray  # dense peak at the precision of the expert GEMMs [FLOP/s]
    flops_dense: FloatArray  # dense peak at the precision of the attention projections [FLOP/s]
    flops_draft: FloatArray  # dense peak at the precision of the draft layers [FLOP/s]
    flops_attention: FloatArray  # dense peak of the attention products [FLOP/s]
    flops_bf16: FloatArray  # [FLOP/s]
    blackwell: BoolArray  # which generation's kernel constants apply
    fp4: BoolArray  # experts multiply in FP4
    fp8: BoolArray  # experts multiply in FP8; in BF16 where neither holds


class ModelArrays(NamedTuple):
    """Counts of one model at one precision, per layer where nothing else is said."""

    hidden: FloatArray
    layers: FloatArray
    moe_layers: FloatArray
    experts: FloatArray
    top_k: FloatArray
    expert_params: FloatArray  # weights of one routed expert
    expert_bytes: FloatArray  # [B] of one routed expert
    shared_params: FloatArray  # shared experts, every token
    shared_bytes: FloatArray  # [B]
    dense_mlp_params: FloatArray  # MLP of one dense layer
    dense_mlp_bytes: FloatArray  # [B]
    attention_params_split: FloatArray  # projections that tensor parallelism splits
    attention_params_whole: FloatArray  # projections that every rank repeats
    attention_bytes_split: FloatArray  # [B] of the first
    attention_bytes_whole: FloatArray  # [B] of the second
    heads: FloatArray
    score_value_dim: (
        FloatArray  # decode: multiply-adds of one head and cached token, score plus value
    )
    prefill_score_value_dim: FloatArray  # the same at prefill
    kv_bytes: FloatArray  # cache of one token in one layer [B]
    window: FloatArray  # tokens that a windowed layer attends to [token]
    windowed_share: FloatArray  # of the layers
    kv_split: FloatArray  # how many ways tensor parallelism can split the cache (1 for MLA)
    head_params: FloatArray  # LM head
    head_bytes: FloatArray  # [B]
    embedding_bytes: FloatArray  # input embedding [B]
    draft_layers: FloatArray  # in the checkpoint
    draft_weight_ratio: FloatArray  # bits per weight of a draft layer over those of the experts
    draft_attention_bytes_split: FloatArray  # [B] of a draft layer
    draft_attention_bytes_whole: FloatArray  # [B]
    draft_join_params: FloatArray  # projection that joins hidden state and embedding before a draft
    draft_expert_input_bytes: FloatArray  # one token as a draft layer's experts multiply it [B]
    draft_dispatch_bytes: FloatArray  # one token of a draft layer on its way to one rank [B]
    draft_combine_bytes: FloatArray  # and on its way back [B]
    active_params: FloatArray  # weights that one token multiplies at prefill, LM head apart
    expert_input_bytes: FloatArray  # one token as the experts multiply it, quantised [B]
    dispatch_bytes: FloatArray  # one token on its way to one expert rank [B]
    combine_bytes: FloatArray  # one token on its way back [B]


class WorkerArrays(NamedTuple):
    """Decode workers, one per entry."""

    gpus: FloatArray
    ep: FloatArray
    attention_dp: BoolArray
    mtp_depth: FloatArray
    eplb_slots: FloatArray
    trtllm_experts: BoolArray  # FP8 expert GEMMs by kernels of TRTLLM, not of DeepGEMM
    context: FloatArray  # mean tokens in the KV cache of a request in flight


class PathArrays(NamedTuple):
    """What the topology says of the group of GPUs that a worker occupies."""

    seconds_per_pair_byte: FloatArray  # uniform all-to-all over the worker's GPUs [s/B]
    latency: FloatArray  # longest path between two of its GPUs [s]
    domain_latency: FloatArray  # longest path inside one NVLink domain [s]
    domains: FloatArray  # NVLink domains the worker spans
    nvlink_rate: FloatArray  # one way, per GPU [B/s]
    nic_rate: FloatArray  # one way, per GPU [B/s]


def stack(items: Sequence[T]) -> T:
    """Join scalar inputs of one kind into arrays with one entry per item.

    >>> one = PathArrays(*(np.float64(value) for value in range(6)))
    >>> stack([one, one]).latency
    array([1., 1.])
    """
    return items[0]._make(np.array(column) for column in zip(*items, strict=True))


def take(items: T, index: Any) -> T:
    """Take the chosen entries of every field; fields of shape ``()`` stay as they are."""
    columns = map(np.asarray, items)
    return items._make(column[index] if column.ndim else column for column in columns)


def take_last(values: FloatArray, index: Any, count: int) -> FloatArray:
    """Take the chosen of ``count`` entries along the last axis; values for all of them stay."""
    return values[..., index] if values.ndim and values.shape[-1] == count else values
