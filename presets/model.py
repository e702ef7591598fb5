"""Model architectures: a list of groups of equal layers, each an attention and a feed-forward."""

from collections.abc import Iterator
from functools import reduce
from math import gcd
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from presets.attention import Attention, Count, CountOrZero, GqaAttention
from presets.errors import InputError, unknown_name
from presets.facts import Fact, Provenance, Text
from presets.frozen import Frozen, FrozenDict
from presets.precision import Precision, Precisions
from presets.record import Record

Matrices = Annotated[int, Field(ge=2, le=3)]

OtherDraft = Literal["eagle3", "dspark"]
"""Kinds of draft models that are no multi-token-prediction layers of the checkpoint."""


class DenseFeedForward(Record):
    """A feed-forward that every token passes whole.

    Attributes
    ----------
    intermediate : int
        Its width. [1]
    matrices : int
        3 where a gate multiplies what goes down, else 2. [1]
    """

    kind: Literal["dense"] = "dense"
    intermediate: Count
    matrices: Matrices = 3


class MoeFeedForward(Record):
    """Routed experts, and shared ones that every token passes.

    Attributes
    ----------
    experts : int
        Routed experts. [1]
    top_k : int
        Routed experts of a token. [1]
    intermediate : int
        Width of a routed expert. [1]
    shared_intermediate : int
        Width of all shared experts together, or of the dense part beside the experts; 0 without
        any. [1]
    latent : int or None
        Width in which routed experts work, where projections before and after them take the
        hidden state to another; None where they work in the hidden width. [1]
    matrices : int
        Of an expert: 3 where a gate multiplies what goes down, else 2. [1]
    """

    kind: Literal["moe"] = "moe"
    experts: Count
    top_k: Count
    intermediate: Count
    shared_intermediate: CountOrZero = 0
    latent: Count | None = None
    matrices: Matrices = 3

    @model_validator(mode="after")
    def _top_k_exists(self) -> Self:
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} must be at most experts {self.experts}")
        return self


FeedForward = Annotated[DenseFeedForward | MoeFeedForward, Field(discriminator="kind")]


class LayerGroup(Record):
    """Layers that are alike; order among groups does not count.

    Attributes
    ----------
    count : int
        How many. [1]
    attention : Attention or None
        None in layers that are a feed-forward alone.
    feed_forward : FeedForward or None
        None in layers that are attention alone.
    """

    count: Count
    attention: Attention | None = None
    feed_forward: FeedForward | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.attention is None and self.feed_forward is None:
            raise ValueError("a layer group needs attention, feed_forward or both")
        return self


class DraftModel(Provenance):
    """A model of its own that drafts: layers on hidden states of the model that it drafts for.

    Source, date, kind and note are those of `Provenance`.

    Attributes
    ----------
    layers : LayerGroup
        All layers. Those with experts have the experts of the model.
    joined : int
        Hidden states, or embeddings, that a projection joins into one before the layers. [1]
    vocab : int or None
        Tokens that its own LM head chooses among; None where it uses that of the model. [token]
    block : bool
        Whether one pass drafts all tokens of a step; else each takes a pass.
    in_checkpoint : bool
        Whether its weights are as wide as the draft layers of the checkpoint; else BF16.
    hf_id : str or None
        Name at Hugging Face, where it is known.
    """

    layers: LayerGroup
    joined: Annotated[int, Field(ge=1, le=100)]
    vocab: Count | None = None
    block: bool = False
    in_checkpoint: bool = False
    hf_id: Text | None = None


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
    hidden : int
        Width. [1]
    vocab : int
        [token]
    groups : tuple of LayerGroup
        All layers, draft layers not counted. Those with experts have the same experts.
    draft : LayerGroup or None
        Multi-token-prediction layers in the checkpoint.
    draft_models : dict of DraftModel
        Of other kinds, by name of the kind.
    tied_embeddings : bool
        Whether the LM head is the embedding.
    published_parameters : Fact or None
        Total as published, draft layers not counted; None for a config.json. [parameter]
    published_active : Fact or None
        What a token multiplies, as published. [parameter]
    checkpoint : str or None
        Precision that the checkpoint at hand has, where it is known.
    precisions : Precisions
    """

    name: Text
    title: Text
    hf_id: Text
    provenance: Provenance
    hidden: Count
    vocab: Count
    groups: Annotated[tuple[LayerGroup, ...], Field(min_length=1, max_length=1000)]
    draft: LayerGroup | None = None
    draft_models: Frozen[OtherDraft, DraftModel] = Field(default_factory=FrozenDict)
    tied_embeddings: bool
    published_parameters: Fact | None = None
    published_active: Fact | None = None
    checkpoint: str | None = None
    precisions: Precisions

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        experts = {group.feed_forward for group in self._expert_groups()}
        if not experts:
            raise ValueError("has no layer with experts; only mixture-of-experts models are read")
        if len(experts) > 1:
            raise ValueError(
                f"has {len(experts)} kinds of experts; all layers with experts must have the same"
            )
        if all(group.attention is None for group in self.groups):
            raise ValueError("groups: none has attention")
        return self

    def _expert_groups(self) -> Iterator[LayerGroup]:
        return (g for g in self.groups if isinstance(g.feed_forward, MoeFeedForward))

    @property
    def moe(self) -> MoeFeedForward:
        """The experts of each layer that has any."""
        found = next(self._expert_groups()).feed_forward
        assert isinstance(found, MoeFeedForward)
        return found

    @property
    def experts(self) -> int:
        """Routed experts of a layer. [1]."""
        return self.moe.experts

    @property
    def layers(self) -> int:
        """Layers, draft layers not counted. [1]."""
        return sum(group.count for group in self.groups)

    @property
    def moe_layers(self) -> int:
        """Layers with experts, draft layers not counted. [1]."""
        return sum(group.count for group in self._expert_groups())

    @property
    def parts(self) -> int:
        """Attentions and feed-forwards of all layers, draft layers not counted. [1]."""
        return sum(
            group.count * ((group.attention is not None) + (group.feed_forward is not None))
            for group in self.groups
        )

    @property
    def draft_layers(self) -> int:
        """Multi-token-prediction layers in the checkpoint. [1]."""
        return self.draft.count if self.draft else 0

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The different attentions, in the order of the groups."""
        return tuple(self.attention_layers())

    def attention_layers(self) -> dict[Attention, int]:
        """Count the layers of each attention, whatever their feed-forward."""
        layers: dict[Attention, int] = {}
        for group in self.groups:
            if group.attention is not None:
                layers[group.attention] = layers.get(group.attention, 0) + group.count
        return layers

    @property
    def heads(self) -> int:
        """Heads that attention tp must divide: of every kind of attention. [1]."""
        return reduce(gcd, (attention.heads for attention in self.attentions))

    @property
    def kv_heads(self) -> int | None:
        """Key and value heads of grouped-query attention; None where no layer has it. [1]."""
        grouped = (each for each in self.attentions if isinstance(each, GqaAttention))
        return next((each.kv_heads for each in grouped), None)

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
