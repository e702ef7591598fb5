"""How many parameters a model has, and a token multiplies."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any, NamedTuple

from presets.attention import (
    Attention,
    CompressedAttention,
    DeltaAttention,
    GqaAttention,
    MambaAttention,
    MlaAttention,
    SparseIndex,
)
from presets.model import DenseFeedForward, FeedForward, LayerGroup, Model, MoeFeedForward


class AttentionWeights(NamedTuple):
    """Weights of one layer's attention, by how tensor parallelism treats them. [parameter]."""

    whole: int  # every rank repeats them
    split: int  # over heads, but for the last projection
    output: int  # the last projection, split too


def total_parameters(model: Model, *, draft: bool = False) -> int:
    """Count the weights of all matrices of a model.

    Norms, biases and scales are left out: less than one in a thousand.

    Parameters
    ----------
    model : Model
        The architecture.
    draft : bool
        Whether to count the draft layers: each a layer and the projection that joins the hidden
        state to the embedding. They share the embedding and the LM head.

    Returns
    -------
    int
        [parameter]

    Examples
    --------
    >>> from presets import load_model
    >>> round(total_parameters(load_model("deepseek-r1-0528")) / 1e9)
    671
    """
    total = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    total += sum(group.count * _layer(model, group, _held) for group in model.groups)
    if draft and model.draft:
        total += model.draft.count * (_layer(model, model.draft, _held) + 2 * model.hidden**2)
    return total


def active_parameters(model: Model) -> int:
    """Count the weights that one token multiplies, LM head included, draft layers not. [parameter].

    Examples
    --------
    >>> from presets import load_model
    >>> round(active_parameters(load_model("kimi-k2")) / 1e9, 1)
    31.7
    """
    head = model.vocab * model.hidden
    return head + sum(group.count * _layer(model, group, _multiplied) for group in model.groups)


def attention_parameters(attention: Attention, hidden: int) -> int:
    """Count the weights of the attention of one layer. [parameter]."""
    return sum(attention_weights(attention, hidden))


@singledispatch
def attention_weights(attention: Any, hidden: int) -> AttentionWeights:
    """Count the weights of one layer's attention, by how tensor parallelism treats them.

    Parameters
    ----------
    attention : Attention
        Of the layer.
    hidden : int
        Width of the model. [1]

    Raises
    ------
    NotImplementedError
        Where the kind of attention has no weights here.
    """
    raise NotImplementedError(type(attention).__name__)


@attention_weights.register
def _(attention: MlaAttention, hidden: int) -> AttentionWeights:
    heads, rank = attention.heads, attention.q_lora_rank
    query = heads * (attention.qk_nope_dim + attention.qk_rope_dim)
    unfold = attention.kv_lora_rank * heads * (attention.qk_nope_dim + attention.v_dim)
    output = heads * attention.v_dim * hidden
    whole = hidden * (attention.kv_lora_rank + attention.qk_rope_dim + (rank or 0))
    gate = output if attention.gate else 0
    index = _index_weights(attention.index, rank or hidden, hidden)
    return AttentionWeights(whole + index, (rank or hidden) * query + unfold + gate, output)


@attention_weights.register
def _(attention: GqaAttention, hidden: int) -> AttentionWeights:
    query, output = attention.heads * attention.head_dim, attention.heads * attention.value_dim
    keys = attention.kv_heads * (attention.head_dim + attention.value_dim)
    gate = output if attention.gate else 0
    index = _index_weights(attention.index, hidden, hidden)
    return AttentionWeights(index, hidden * (query + keys + gate), hidden * output)


@attention_weights.register
def _(attention: DeltaAttention, hidden: int) -> AttentionWeights:
    keys = attention.key_heads * attention.key_dim
    values = attention.value_heads * attention.value_dim
    convolution = (2 * keys + values) * attention.convolution
    rates = attention.value_heads  # how fast a head learns
    if attention.decay_rank is None:
        rates += attention.value_heads
        decay = 0
    else:
        decay = attention.decay_rank * (hidden + keys)
    rank = attention.gate_rank
    gate = hidden * values if rank is None else rank * (hidden + values)
    split = hidden * (2 * keys + values + rates) + decay + gate + convolution
    return AttentionWeights(0, split, hidden * values)


@attention_weights.register
def _(attention: MambaAttention, hidden: int) -> AttentionWeights:
    inner = attention.heads * attention.head_dim
    shared = 2 * attention.groups * attention.state
    convolution = (inner + shared) * attention.convolution
    split = hidden * (2 * inner + shared + attention.heads) + convolution
    return AttentionWeights(0, split, hidden * inner)


@attention_weights.register
def _(attention: CompressedAttention, hidden: int) -> AttentionWeights:
    width, dim = attention.heads * attention.head_dim, attention.head_dim
    whole = hidden * (attention.q_lora_rank + dim)
    if attention.ratio:
        # Keys and their weights in the mean; where entries are picked, those overlap.
        passes = 2 if attention.index else 1
        whole += 2 * passes * hidden * dim
    if attention.index:
        whole += _index_weights(attention.index, attention.q_lora_rank, hidden)
        whole += 3 * hidden * attention.index.dim  # its keys are compressed in the same way
    grouped = width * attention.output_rank
    output = attention.output_groups * attention.output_rank * hidden
    return AttentionWeights(whole, attention.q_lora_rank * width + grouped, output)


def _index_weights(index: SparseIndex | None, query: int, hidden: int) -> int:
    """Count queries from a width, one key and the weight of each head. [parameter]."""
    if index is None or index.shared:
        return 0
    return query * index.heads * index.dim + hidden * (index.dim + index.heads)


def expert_parameters(moe: MoeFeedForward, hidden: int) -> int:
    """Count the weights of one routed expert. [parameter]."""
    return moe.matrices * (moe.latent or hidden) * moe.intermediate


def shared_parameters(moe: MoeFeedForward, hidden: int) -> int:
    """Count what every token passes beside routed experts, but for the router. [parameter]."""
    latent = 2 * hidden * moe.latent if moe.latent else 0
    return moe.matrices * hidden * moe.shared_intermediate + latent


def dense_parameters(model: Model) -> int:
    """Count the weights of all feed-forwards without experts. [parameter]."""
    return sum(
        group.count * _feed_forward(group.feed_forward, model.hidden, _held)
        for group in model.groups
        if isinstance(group.feed_forward, DenseFeedForward)
    )


def _layer(model: Model, group: LayerGroup, experts: Callable[[MoeFeedForward], int]) -> int:
    """Count the weights of one layer, of so many routed experts. [parameter]."""
    hidden, total = model.hidden, 0
    if group.attention is not None:
        total += attention_parameters(group.attention, hidden)
    if group.feed_forward is not None:
        total += _feed_forward(group.feed_forward, hidden, experts)
    return total


def _feed_forward(part: FeedForward, hidden: int, experts: Callable[[MoeFeedForward], int]) -> int:
    if not isinstance(part, MoeFeedForward):
        return part.matrices * hidden * part.intermediate
    routed = experts(part) * expert_parameters(part, hidden)
    return routed + shared_parameters(part, hidden) + part.experts * hidden


def _held(moe: MoeFeedForward) -> int:
    return moe.experts


def _multiplied(moe: MoeFeedForward) -> int:
    return moe.top_k
