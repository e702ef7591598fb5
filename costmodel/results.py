"""Predictions for people and machines: one configuration in, named units and an interval out."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from costmodel.workload import Workload
from presets import ClusterSpec, Model
from presets.frozen import Frozen

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Interval = tuple[float, float]


class Scenario(BaseModel):
    """What is served: model, precision, nominal lengths, engine, behind how many frontends.

    `frontends` is of the deployments that a search looks at.
    """

    # Built when first used: by then its model is, and need not be built again.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    model: Model
    precision: str = "fp4"
    isl: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    osl: Annotated[int, Field(ge=2, le=1_000_000)] = 1024
    engine: str = "trtllm"
    frontends: Annotated[int, Field(ge=1, le=1000)] = 1

    @property
    def workload(self) -> Workload:
        """Lengths as the cost model reads them."""
        return Workload(np.asarray(float(self.isl)), np.asarray(float(self.osl)))


class Configuration(BaseModel):
    """One deployment; `max_batch` is per rank under attention dp, per worker under tp.

    Under `prefill_attention` dp each rank of a prefill worker takes requests of its own, under tp
    all ranks share each.

    `frontends` None takes as many as the measured runs of the machine and precision had.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prefill_workers: Count
    prefill_gpus_per_worker: Count
    prefill_attention: Literal["tp", "dp"] = "dp"
    decode_workers: Count
    decode_gpus_per_worker: Count
    decode_ep: Count
    decode_attention: Literal["tp", "dp"]
    max_batch: Count
    mtp_depth: Annotated[int, Field(ge=0, le=3)]
    eplb_slots: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    concurrency: Count
    frontends: Annotated[int, Field(ge=1, le=1000)] | None = None

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
        """Short name: prefill and decode workers x GPUs, attention, batch and draft depth."""
        split = "tp " if self.prefill_attention == "tp" else ""
        return (
            f"{self.prefill_workers}x{self.prefill_gpus_per_worker}P {split}"
            f"{self.decode_workers}x{self.decode_gpus_per_worker}D {self.decode_attention} "
            f"batch {self.max_batch} mtp {self.mtp_depth}"
        )


class Prediction(BaseModel):
    """What a benchmark of a configuration would print, with 90 % intervals.

    `tok_s_per_user` and `tpot_ms` are medians over requests, `ttft_ms` is a mean. Where the median
    TTFT has two modes, the interval of `ttft_median_ms` holds both.
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
    interval_90: Frozen[str, Interval]


class Predicted(NamedTuple):
    """A configuration, its prediction, and what its decode step spends its time on."""

    configuration: Configuration
    prediction: Prediction
    breakdown_ms: dict[str, float]
    batch_in_flight: float  # per rank (dp) or worker (tp)
    prefill_load: float  # share of the prefill capacity in use
    decode_nic_load: float  # share of the NICs of decode that KV caches and collectives use
    hidden_communication_ms: float  # of dispatch and combine, behind expert GEMMs; in no part
    batch_limit: int  # requests whose KV cache fits; a larger max_batch is cut to it


class Case(NamedTuple):
    """One configuration, what it serves, and where."""

    configuration: Configuration
    scenario: Scenario
    cluster: ClusterSpec
    prefill_cluster: ClusterSpec | None = None  # None: prefill and decode share the cluster

    @property
    def prefill_on(self) -> ClusterSpec:
        """The cluster of the prefill workers."""
        return self.prefill_cluster or self.cluster
