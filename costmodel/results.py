"""Predictions for people and machines: one configuration in, named units and an interval out."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from costmodel.workload import SHORTEST, Workload
from presets import ClusterSpec, Model
from presets.drafts import (
    DEEPEST,
    Acceptance,
    Draft,
    TextKind,
    acceptance_of,
    check_draft,
    default_draft,
    given_acceptance,
    with_draft,
)
from presets.engines import ExchangeName, known_engine
from presets.frozen import Frozen
from presets.pools import Serving, check_pools, with_pools

Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000)]
Interval = tuple[float, float]


class Scenario(BaseModel):
    """What is served: model, precision, nominal lengths, engine, behind how many frontends.

    Of the input `cached_share` has its KV before a request comes: no work, but its memory.

    `frontends` and `draft` are of the deployments that a search looks at; `draft` None takes the
    layers of the checkpoint, if it has any. Drafts are kept as measured of a `text`, or by the
    rates of `acceptance`: the share of steps that keep the first draft, the second, and so on.

    `anchors` says whether measured rows like it shift what is predicted.
    """

    # Built when first used: by then its model is, and need not be built again.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    model: Model
    precision: str = "fp4"
    isl: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    osl: Annotated[int, Field(ge=2, le=1_000_000)] = 1024
    cached_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    engine: str = "trtllm"
    frontends: Annotated[int, Field(ge=1, le=1000)] = 1
    anchors: bool = True
    draft: Draft | None = None
    text: TextKind = "random"
    acceptance: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None

    @property
    def drafting(self) -> Draft:
        """What drafts in the deployments that a search looks at."""
        return self.draft or default_draft(self.model)

    def acceptance_of(self, draft: Draft) -> Acceptance:
        """Drafts kept of a step, at inputs and outputs of about 1024 tokens or as given."""
        if self.acceptance is not None:
            return given_acceptance(self.acceptance)
        return acceptance_of(self.model.name, draft, self.text)

    @property
    def workload(self) -> Workload:
        """Lengths as the cost model reads them."""
        isl, osl = np.asarray(float(self.isl)), np.asarray(float(self.osl))
        return Workload(
            isl,
            osl,
            np.asarray(self.cached_share),
            np.asarray(self.cache_as_written),
            np.asarray(self.hand_over_page),
        )

    @property
    def cache_as_written(self) -> bool:
        """Whether the engine gives memory to requests as their cache is written."""
        profile = known_engine(self.engine)
        return profile is not None and profile.cache_as_written

    @property
    def hand_over_page(self) -> float:
        """Tokens of a layer that the engine hands over at once; infinite where it packs them."""
        profile = known_engine(self.engine)
        known = None if profile is None else profile.hand_over
        return math.inf if known is None else float(known.page_tokens)


class Configuration(BaseModel):
    """One deployment; `max_batch` is per rank under attention dp, per worker under tp.

    `draft` says what drafts, `mtp_depth` how many tokens of a step.

    In aggregated serving one pool of workers prefills and decodes: it stands under the fields of
    decode, and there are no prefill workers.

    Under `prefill_attention` dp each rank of a prefill worker takes requests of its own, under tp
    all ranks share each.

    Under attention dp of decode groups of `decode_attention_tp` GPUs share each request; then
    `max_batch` is per group. A prefill worker is `prefill_stages` pipeline stages of equal size.

    `frontends` None takes as many as the measured runs of the machine and precision had. `exchange`
    is the kernel that carries tokens across NVLink domains; None takes the quickest of the engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    serving: Serving = "disaggregated"
    prefill_workers: CountOrZero
    prefill_gpus_per_worker: CountOrZero
    prefill_attention: Literal["tp", "dp"] = "dp"
    decode_workers: Count
    decode_gpus_per_worker: Count
    decode_ep: Count
    decode_attention: Literal["tp", "dp"]
    decode_attention_tp: Count = 1
    prefill_stages: Count = 1
    max_batch: Count
    mtp_depth: Annotated[int, Field(ge=0, le=DEEPEST)]
    draft: Draft = "none"
    eplb_slots: CountOrZero = 0
    concurrency: Count
    frontends: Annotated[int, Field(ge=1, le=1000)] | None = None
    exchange: ExchangeName | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_pool_is_whole(cls, given: Any) -> Any:
        return with_draft(with_pools(given))

    @model_validator(mode="after")
    def _pools_fit(self) -> Self:
        check_pools(self.serving, self.prefill_workers, self.prefill_gpus_per_worker)
        check_draft(self.draft, self.mtp_depth)
        return self

    @property
    def is_aggregated(self) -> bool:
        """Whether its workers prefill what they decode."""
        return self.serving == "aggregated"

    @property
    def prefill_gpus(self) -> int:
        """GPUs of all prefill workers."""
        return self.prefill_workers * self.prefill_gpus_per_worker

    @property
    def decode_gpus(self) -> int:
        """GPUs of all decode workers."""
        return self.decode_workers * self.decode_gpus_per_worker

    @property
    def gpus(self) -> int:
        """All GPUs of the deployment."""
        return self.prefill_gpus + self.decode_gpus

    @property
    def label(self) -> str:
        """Short name: prefill and decode workers x GPUs, attention, batch and draft depth.

        Workers that do both are "PD".
        """
        draft = "mtp" if self.draft == "none" else self.draft
        rest = f"{self.decode_attention} batch {self.max_batch} {draft} {self.mtp_depth}"
        if self.is_aggregated:
            return f"{self.decode_workers}x{self.decode_gpus_per_worker}PD {rest}"
        split = "tp " if self.prefill_attention == "tp" else ""
        return (
            f"{self.prefill_workers}x{self.prefill_gpus_per_worker}P {split}"
            f"{self.decode_workers}x{self.decode_gpus_per_worker}D {rest}"
        )


class Prediction(BaseModel):
    """What a benchmark of a configuration would print, with 90 % intervals.

    `tok_s_per_user` and `tpot_ms` are medians over requests, `ttft_ms` is a mean. Where the median
    TTFT has two modes, the interval of `ttft_median_ms` holds both. `anchored_at` counts the
    measured rows of the same worker that shift the step beside the physics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tok_s_per_user: float
    tpot_ms: float
    ttft_ms: float
    ttft_median_ms: float
    total_tok_s_per_gpu: float
    usd_per_m_total_tokens: float
    origin: Literal["modelled", "extrapolated"]
    extrapolated_in: tuple[str, ...] = ()
    anchored_at: int = 0
    interval_90: Frozen[str, Interval]


WireFormat = Literal["fp4", "fp8", "bf16"]


class Crossing(BaseModel):
    """What carries the experts' tokens of a decode worker across NVLink domains.

    `measured` says whether rows that the constants are fitted to ran the kernel across domains of
    the machine, `two_batches` whether the step is quicker as two half batches, one of which
    computes while the other's tokens are sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kernel: ExchangeName
    engine: str
    dispatch_format: WireFormat
    combine_format: WireFormat
    measured: bool
    two_batches: bool = False


class Predicted(NamedTuple):
    """A configuration, its prediction, and what its decode step spends its time on."""

    configuration: Configuration
    prediction: Prediction
    breakdown_ms: dict[str, float]
    percentiles_ms: dict[str, float]  # of TPOT and TTFT over requests, such as "tpot_p99"
    tokens_per_step: float  # kept of a request, the one that is no draft included
    batch_in_flight: float  # per rank (dp) or worker (tp)
    prefill_load: float  # share of the prefill capacity in use
    decode_nic_load: float  # share of the NICs of decode that KV caches and collectives use
    hidden_communication_ms: float  # of dispatch and combine, behind expert GEMMs; in no part
    batch_limit: int  # requests whose KV cache fits; a larger max_batch is cut to it
    crossing: Crossing | None = None  # none where no tokens of experts leave their domain


class Case(NamedTuple):
    """One configuration, what it serves, and where."""

    configuration: Configuration
    scenario: Scenario
    cluster: ClusterSpec
    prefill_cluster: ClusterSpec | None = None  # None: prefill and decode share the cluster
    early: bool = False  # of a release whose aggregated steps are those of `early_release`
    release: str | None = None  # of the engine; None: whichever
    of_a_row: bool = False  # stands for a measured row, which must not tell of itself
    shortest: float = SHORTEST  # length over the nominal one; 1: all requests have that

    @property
    def prefill_on(self) -> ClusterSpec:
        """The cluster of the prefill workers."""
        return self.prefill_cluster or self.cluster
