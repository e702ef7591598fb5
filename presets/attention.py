"""Kinds of attention: what a layer looks back on, and what it keeps of each request."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from presets.record import Record

Count = Annotated[int, Field(ge=1, le=10_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=10_000_000)]


class SparseIndex(Record):
    """An indexer that scores every cached entry and picks those that attention looks at.

    Attributes
    ----------
    heads, dim : int
        Heads of the indexer, and the length of its one key per entry. [1]
    tokens : int
        Entries of the cache that attention looks at, at most. [token]
    shared : bool
        Whether the layer takes over what a layer before it picked: it has no indexer of its own.
    """

    heads: Count
    dim: Count
    tokens: Count
    shared: bool = False


class MlaAttention(Record):
    """Multi-head latent attention: the cache holds one latent vector per token and layer.

    Attributes
    ----------
    heads : int
        Query heads. [1]
    q_lora_rank : int or None
        Rank of the query projection; None where it is not factored. [1]
    kv_lora_rank : int
        Length of the latent vector. [1]
    qk_nope_dim, qk_rope_dim : int
        Parts of a query head without and with rotary position. [1]
    v_dim : int
        Length of a value head. [1]
    gate : bool
        Whether a projection of its own gates the output.
    index : SparseIndex or None
        What picks the tokens that are attended; None where all are.
    """

    kind: Literal["mla"] = "mla"
    heads: Count
    q_lora_rank: Count | None = None
    kv_lora_rank: Count
    qk_nope_dim: Count
    qk_rope_dim: Count
    v_dim: Count
    gate: bool = False
    index: SparseIndex | None = None


class GqaAttention(Record):
    """Grouped-query attention, over all tokens, a window, or those that an index picks.

    Attributes
    ----------
    heads : int
        Query heads. [1]
    kv_heads : int
        Key and value heads; divides `heads`. [1]
    head_dim : int
        Length of a query and key head. [1]
    v_dim : int or None
        Length of a value head; None where it is `head_dim`. [1]
    window : int or None
        Tokens back that are attended to and kept; None where all are. [token]
    gate : bool
        Whether a projection of its own gates the output.
    index : SparseIndex or None
        What picks the tokens that are attended; None where all are.
    """

    kind: Literal["gqa"] = "gqa"
    heads: Count
    kv_heads: Count
    head_dim: Count
    v_dim: Count | None = None
    window: Count | None = None
    gate: bool = False
    index: SparseIndex | None = None

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        if self.window is not None and self.index is not None:
            raise ValueError("window and index do not go together")
        return self

    @property
    def value_dim(self) -> int:
        """Length of a value head. [1]."""
        return self.head_dim if self.v_dim is None else self.v_dim


class DeltaAttention(Record):
    """Linear attention by a gated delta rule: a state of fixed size in place of a cache.

    Gated DeltaNet has one decay per head, Kimi Delta Attention one per channel.

    Attributes
    ----------
    key_heads, value_heads : int
        Heads of queries and keys, and of values; the first divides the second. [1]
    key_dim, value_dim : int
        Length of a key and of a value; a value head's state is ``key_dim x value_dim``. [1]
    convolution : int
        Tokens that the short convolution before it spans. [token]
    decay_rank : int or None
        Rank of the projection to decays of each channel; None where a head has one decay. [1]
    gate_rank : int or None
        Rank of the projection that gates the output; None where it is not factored. [1]
    state_bits : int
        Of one element of the state. [bit]
    """

    kind: Literal["delta"] = "delta"
    key_heads: Count
    value_heads: Count
    key_dim: Count
    value_dim: Count
    convolution: Count
    decay_rank: Count | None = None
    gate_rank: Count | None = None
    state_bits: Count = 32

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.value_heads % self.key_heads:
            raise ValueError(
                f"key_heads {self.key_heads} must divide value_heads {self.value_heads}"
            )
        return self

    @property
    def heads(self) -> int:
        """Heads that tensor parallelism can split. [1]."""
        return self.key_heads


class MambaAttention(Record):
    """A Mamba-2 layer: a state of fixed size in place of a cache.

    Attributes
    ----------
    heads, head_dim : int
        Heads, and channels of each. [1]
    groups : int
        Groups of heads that share input and output projections of the state. [1]
    state : int
        Length of the state of a channel. [1]
    convolution : int
        Tokens that the short convolution before it spans. [token]
    state_bits : int
        Of one element of the state. [bit]
    """

    kind: Literal["mamba"] = "mamba"
    heads: Count
    head_dim: Count
    groups: Count
    state: Count
    convolution: Count
    state_bits: Count = 32


class CompressedAttention(Record):
    """Attention to a window and to a compressed past, keys and values one shared vector.

    Attributes
    ----------
    heads : int
        Query heads. [1]
    head_dim : int
        Length of a head, and of the one vector that the cache holds of an entry. [1]
    q_lora_rank : int
        Rank of the query projection. [1]
    output_groups, output_rank : int
        Groups of heads that the output projection first takes to `output_rank` each. [1]
    window : int
        Last tokens that are kept and attended to as they are. [token]
    ratio : int
        Tokens that one entry of the compressed past stands for; 0 where there is none. [token]
    index : SparseIndex or None
        What picks the entries that are attended; None where all are.
    """

    kind: Literal["compressed"] = "compressed"
    heads: Count
    head_dim: Count
    q_lora_rank: Count
    output_groups: Count
    output_rank: Count
    window: Count
    ratio: CountOrZero
    index: SparseIndex | None = None


Attention = Annotated[
    MlaAttention | GqaAttention | DeltaAttention | MambaAttention | CompressedAttention,
    Field(discriminator="kind"),
]
