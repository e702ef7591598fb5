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
    # Of its NICs, besides their rate
    kernel_factor: FloatArray  # on the time of kernels that exchange across domains [1]
    hand_over_start: FloatArray  # before the bytes of a KV cache move [s]
    hand_over_efficiency: FloatArray  # share of the rate that they reach [1]
    descriptor_time: FloatArray  # of one piece of memory [s]


class AttentionArrays(NamedTuple):
    """Attention of equal layers, per layer: any kind is one of these.

    A layer keeps, of each request, entries of a cache (one for every `ratio` tokens), besides the
    last tokens as they are, and a state of fixed size; each kind of attention has some of these.
    """

    layers: FloatArray  # that have it
    params_split: FloatArray  # projections that tensor parallelism splits
    params_whole: FloatArray  # projections that every rank repeats
    bytes_split: FloatArray  # [B] of the first
    bytes_whole: FloatArray  # [B] of the second
    heads: FloatArray
    split: FloatArray  # how many ways tensor parallelism can split cache and state (1 for MLA)
    score_value_dim: FloatArray  # decode: multiply-adds of one head and entry, score plus value
    prompt_score_value_dim: FloatArray  # the same at prefill
    entry_bytes: FloatArray  # cache of one entry [B]
    ratio: FloatArray  # tokens that an entry stands for
    kept: FloatArray  # most entries that are kept
    attended: FloatArray  # most entries that are attended
    recent: FloatArray  # last tokens kept and attended besides, each an entry
    index_bytes: FloatArray  # what an indexer keeps of an entry and reads of all [B]
    index_products: FloatArray  # its multiply-adds of one entry
    state_bytes: FloatArray  # of one request [B]
    state_products: FloatArray  # multiply-adds of one token with it


class ModelArrays(NamedTuple):
    """Counts of one model at one precision, per layer where nothing else is said."""

    hidden: FloatArray
    layers: FloatArray  # of an attention and a feed-forward; one of them alone counts half
    attention: tuple[AttentionArrays, ...]  # of each group of layers
    draft_attention: AttentionArrays  # of a draft layer, at its own precision
    moe_layers: FloatArray
    experts: FloatArray
    top_k: FloatArray
    expert_width: FloatArray  # of what goes into an expert and comes out
    expert_params: FloatArray  # weights of one routed expert
    expert_bytes: FloatArray  # [B] of one routed expert
    shared_params: FloatArray  # shared experts, every token
    shared_bytes: FloatArray  # [B]
    dense_params: FloatArray  # MLPs of all layers without experts
    dense_bytes: FloatArray  # [B]
    head_params: FloatArray  # LM head
    head_bytes: FloatArray  # [B]
    embedding_bytes: FloatArray  # input embedding [B]
    draft_layers: FloatArray  # of what drafts; 0 where nothing does
    draft_passes: FloatArray  # draft layers that one pass takes
    draft_block: BoolArray  # whether one pass drafts all tokens of a step
    draft_wide: BoolArray  # whether draft layers are in BF16 whatever the checkpoint is in
    draft_moe: FloatArray  # 1 where draft layers have experts, else 0
    draft_weight_ratio: FloatArray  # bits per weight of a draft layer over those of the experts
    draft_dense_params: FloatArray  # MLP of a draft layer without experts
    draft_dense_bytes: FloatArray  # [B]
    draft_join_params: FloatArray  # projection that joins hidden states before a draft
    draft_head_params: FloatArray  # LM head that drafts are read from
    draft_head_bytes: FloatArray  # [B]
    draft_own_head_bytes: FloatArray  # the same, where it is not that of the model [B]
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
    drafts_kept: FloatArray  # of a step, at inputs and outputs of `REFERENCE_LENGTH` [1]
    kept_as_given: BoolArray  # whether that holds at any length, as nobody measured it
    eplb_slots: FloatArray
    context: FloatArray  # mean tokens in the KV cache of a request in flight
    # What may carry experts' tokens across NVLink domains, and how its engine sends them
    low_latency: BoolArray  # DeepEP's low-latency kernels
    normal: BoolArray  # DeepEP's normal kernels
    gather: BoolArray  # all-gather and reduce-scatter
    fp8_dispatch: BoolArray  # quantises the input of FP8 experts before it is sent, not after
    fp4_combine: BoolArray  # low-latency kernels return the results of FP4 experts in FP4
    two_batches: BoolArray = np.zeros((), dtype=np.bool_)  # may overlap two half batches
    attention_tp: FloatArray = np.ones(())  # GPUs that share a request under attention dp
    level: FloatArray = np.ones(())  # factor on the step that measured rows like it tell of [1]

    @property
    def tp(self) -> FloatArray:
        """Ways in which attention is split over heads."""
        return np.where(self.attention_dp, self.attention_tp, self.gpus)


class PathArrays(NamedTuple):
    """What the topology says of the group of GPUs that a worker occupies."""

    seconds_per_pair_byte: FloatArray  # uniform all-to-all over the worker's GPUs [s/B]
    domain_latency: FloatArray  # longest path inside one NVLink domain [s]
    domains: FloatArray  # NVLink domains the worker spans
    nvlink_rate: FloatArray  # one way, per GPU [B/s]
    nic_rate: FloatArray  # one way, per GPU [B/s]


def stack(items: Sequence[T]) -> T:
    """Join scalar inputs of one kind into arrays with one entry per item.

    Of nested groups each item has as many as the longest: what it lacks are groups of no layers.

    >>> one = PathArrays(*(np.float64(value) for value in range(5)))
    >>> stack([one, one]).domains
    array([2., 2.])
    """
    return items[0]._make(_stacked(column) for column in zip(*items, strict=True))


def _stacked(column: Sequence[Any]) -> Any:
    first = column[0]
    if isinstance(first, AttentionArrays):
        return stack(column)
    if not isinstance(first, tuple):
        return np.array(column)
    most = max(map(len, column))
    none = [groups[0]._replace(layers=np.zeros_like(groups[0].layers)) for groups in column]
    padded = [
        [*groups, *[empty] * (most - len(groups))]
        for groups, empty in zip(column, none, strict=True)
    ]
    return tuple(map(stack, zip(*padded, strict=True)))


def take(items: T, index: Any) -> T:
    """Take the chosen entries of every field; fields of shape ``()`` stay as they are."""
    return items._make(_taken(column, index) for column in items)


def _taken(column: Any, index: Any) -> Any:
    if isinstance(column, AttentionArrays):
        return take(column, index)
    if isinstance(column, tuple):
        return tuple(take(group, index) for group in column)
    values = np.asarray(column)
    return values[index] if values.ndim else values


def take_last(values: FloatArray, index: Any, count: int) -> FloatArray:
    """Take the chosen of ``count`` entries along the last axis; values for all of them stay."""
    return values[..., index] if values.ndim and values.shape[-1] == count else values
