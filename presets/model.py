"""Model architectures, and how many bits each part of a model takes at each precision."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from presets.errors import InputError, unknown_name
from presets.facts import Fact, Provenance, Text
from presets.record import Record

Count = Annotated[int, Field(ge=1, le=10_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=10_000_000)]
Bits = Annotated[float, Field(gt=0, le=64)]


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
    """

    kind: Literal["mla"] = "mla"
    heads: Count
    q_lora_rank: Count | None = None
    kv_lora_rank: Count
    qk_nope_dim: Count
    qk_rope_dim: Count
    v_dim: Count


class GqaAttention(Record):
    """Grouped-query attention.

    Attributes
    ----------
    heads : int
        Query heads. [1]
    kv_heads : int
        Key and value heads; divides `heads`. [1]
    head_dim : int
        Length of a head. [1]
    window : int or None
        Tokens back that a windowed layer attends to; None where every layer sees all. [token]
    windowed_layers : int
        Layers with a window. [1]
    """

    kind: Literal["gqa"] = "gqa"
    heads: Count
    kv_heads: Count
    head_dim: Count
    window: Count | None = None
    windowed_layers: CountOrZero = 0

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads {self.kv_heads} must divide heads {self.heads}")
        if (self.window is None) != (self.windowed_layers == 0):
            raise ValueError("window and windowed_layers must be both there or both not")
        return self


class Precision(Provenance):
    """Bits per weight of each part of a checkpoint, scales included, and of the KV cache.

    Source, date, kind and note are those of `Provenance`.

    Attributes
    ----------
    experts : float
        Routed experts. [bit]
    shared_expert : float
        Shared experts. [bit]
    dense : float
        Feed-forward part of the dense layers. [bit]
    attention : float
        Attention projections, all but the last. [bit]
    attention_output : float
        The last projection of attention. [bit]
    router : float
        [bit]
    embedding, lm_head : float
        [bit]
    draft : float
        All that belongs to the draft layers. [bit]
    kv_cache : float
        Per element of the cache. [bit]
    expert_input : float or None
        Per element that experts multiply, on machines with FP4 arithmetic; those without multiply
        in BF16. None where input and arithmetic are as narrow as the experts' weights. [bit]
    """

    experts: Bits
    shared_expert: Bits
    dense: Bits
    attention: Bits
    attention_output: Bits
    router: Bits
    embedding: Bits
    lm_head: Bits
    draft: Bits
    kv_cache: Bits
    expert_input: Bits | None = None


class Precisions(Record):
    """The precisions a model can be served at; None where it is not offered."""

    fp4: Precision | None = None
    fp8: Precision | None = None
    bf16: Precision | None = None


class Model(Record):
    """Architecture of a mixture-of-experts model.

    Attributes
    ----------
    name, title : str
        Name of the preset, and the name in print.
    hf_id : str
        Name at Hugging Face.
    provenance : Provenance
        Source of the architecture.
    layers : int
        Layers, draft layers not counted. [1]
    hidden : int
        Width. [1]
    vocab : int
        [token]
    dense_layers : int
        First layers, whose feed-forward part has no experts. [1]
    dense_intermediate : int
        Feed-forward width of the dense layers; 0 without any. [1]
    experts : int
        Routed experts of a layer. [1]
    top_k : int
        Routed experts of a token. [1]
    expert_intermediate : int
        Feed-forward width of a routed expert. [1]
    shared_experts, shared_intermediate : int
        Shared experts of a layer and the width of one; both 0 without any. [1]
    attention : MlaAttention or GqaAttention
    draft_layers : int
        Multi-token-prediction layers in the checkpoint. [1]
    tied_embeddings : bool
        Whether the LM head is the embedding.
    published_parameters : Fact or None
        Total as published, draft layers not counted; None for a config.json. [parameter]
    precisions : Precisions
    """

    name: Text
    title: Text
    hf_id: Text
    provenance: Provenance
    layers: Count
    hidden: Count
    vocab: Count
    dense_layers: CountOrZero
    dense_intermediate: CountOrZero
    experts: Count
    top_k: Count
    expert_intermediate: Count
    shared_experts: CountOrZero
    shared_intermediate: CountOrZero
    attention: Annotated[MlaAttention | GqaAttention, Field(discriminator="kind")]
    draft_layers: CountOrZero
    tied_embeddings: bool
    published_parameters: Fact | None = None
    precisions: Precisions

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} must be at most experts {self.experts}")
        windowed = self.attention.windowed_layers if self.attention.kind == "gqa" else 0
        if windowed > self.layers:
            raise ValueError(f"windowed_layers {windowed} must be at most layers {self.layers}")
        if self.dense_layers >= self.layers:
            raise ValueError(f"dense_layers {self.dense_layers} must be below layers {self.layers}")
        if (self.dense_layers > 0) != (self.dense_intermediate > 0):
            raise ValueError("dense_layers and dense_intermediate must be both zero or both not")
        if (self.shared_experts > 0) != (self.shared_intermediate > 0):
            raise ValueError("shared_experts and shared_intermediate must be both zero or both not")
        return self

    def precision_names(self) -> tuple[str, ...]:
        """Names of the precisions that the model is offered at, narrowest first."""
        return tuple(name for name in Precisions.model_fields if getattr(self.precisions, name))

    def precision(self, name: str) -> Precision:
        """Bits of each part at one precision.

        Raises
        ------
        UnknownNameError
            Where the precision does not exist.
        InputError
            Where this model is not offered at it.
        """
        if name not in Precisions.model_fields:
            raise unknown_name("precision", name, Precisions.model_fields)
        found: Precision | None = getattr(self.precisions, name)
        if found is None:
            offered = ", ".join(self.precision_names())
            raise InputError(f"model {self.name} is not offered at {name}; valid: {offered}")
        return found
