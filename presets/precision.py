"""How many bits each part of a model takes at each precision."""

from typing import Annotated

from pydantic import Field

from presets.facts import Provenance
from presets.record import Record

Bits = Annotated[float, Field(gt=0, le=64)]


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
    index_cache : float
        Per element of the keys of a sparse index, scales included. [bit]
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
    index_cache: Bits = 8.25


class Precisions(Record):
    """The precisions a model can be served at, narrowest first; None where it is not offered."""

    int4: Precision | None = None
    fp4: Precision | None = None
    fp8: Precision | None = None
    bf16: Precision | None = None
