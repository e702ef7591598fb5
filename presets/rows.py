"""The tables of measurements: one record per row."""

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from presets.drafts import DEEPEST, Draft, check_draft, with_draft
from presets.engines import ExchangeName
from presets.errors import closest_hint, shown
from presets.facts import Text
from presets.hardware import hardware_names
from presets.pools import Serving, check_pools, with_pools
from presets.record import Record

Count = Annotated[int, Field(ge=1, le=10_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=10_000_000)]
Amount = Annotated[float, Field(gt=0, le=1e12)]
PrecisionName = Literal["fp4", "fp8", "int4", "bf16"]


class _MachineRow(Record):
    """A row that names a machine."""

    sku: Text

    @field_validator("sku")
    @classmethod
    def _sku_is_known(cls, sku: str) -> str:
        if sku not in hardware_names():
            hint = closest_hint(sku, hardware_names())
            raise ValueError(f"{shown(sku)} is no known machine; {hint}")
        return sku


class ConfigurationRow(_MachineRow):
    """What was run: the machine, the workload, and the configuration.

    Attributes
    ----------
    sku, model, precision : str
    isl, osl : int
        Nominal lengths of input and output. [token]
    cached_share : float
        Of the input, whose KV is there before a request comes. [1]
    mtp_depth : int
        Draft tokens per step, whatever drafts. [token]
    draft : {"none", "mtp", "eagle3", "dspark"}
        What drafts; "mtp", the layers of the checkpoint, where a table with a depth does not say.
    serving : {"aggregated", "disaggregated"}
        One pool, whose workers stand under the columns of decode, or two. "aggregated" where a row
        has no prefill workers, else "disaggregated", where a table has no such column.
    prefill_workers, decode_workers : int
        No prefill workers in one pool. [1]
    prefill_gpus_per_worker, decode_gpus_per_worker : int
        [GPU]
    prefill_attention : {"tp", "dp"}
        "dp", a rank for each request, where a table has no such column.
    decode_ep : int
        GPUs that share one copy of the routed experts; 1 where experts are split by tp. [GPU]
    decode_attention : {"tp", "dp"}
    decode_attention_tp : int
        GPUs that share each request under attention dp; 1 where each has its own. [GPU]
    prefill_stages : int
        Pipeline stages of a prefill worker. [1]
    max_batch : int
        Per rank for dp, per worker for tp. [request]
    eplb_slots : int
        Expert slots of the load balancer; 0 without it. [1]
    concurrency : int
        [request]
    frontends : int or None
        That route requests; None takes those of the measured runs. [1]
    exchange : str or None
        Kernel that carried tokens across NVLink domains; None takes the quickest of the engine.
    nic_gb_s : float or None
        Rate of a GPU's NICs as they were; None takes that of the machine. [GB/s]
    framework, framework_version, date : str, str, date or None
    """

    model: Text
    precision: PrecisionName
    isl: Count
    osl: Count
    mtp_depth: Annotated[int, Field(ge=0, le=DEEPEST)]
    draft: Draft = "none"
    cached_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
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
    eplb_slots: CountOrZero
    concurrency: Count
    frontends: Annotated[int, Field(ge=1, le=1000)] | None = None
    exchange: ExchangeName | None = None
    nic_gb_s: Annotated[float, Field(ge=0.001, le=1e6)] | None = None
    framework: Text | None = None
    framework_version: Text | None = None
    date: datetime.date | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_pool_is_whole(cls, given: Any) -> Any:
        return with_draft(with_pools(given))

    @model_validator(mode="after")
    def _pools_fit(self) -> Self:
        check_pools(self.serving, self.prefill_workers, self.prefill_gpus_per_worker)
        check_draft(self.draft, self.mtp_depth)
        return self

    @model_validator(mode="after")
    def _experts_are_shared_evenly(self) -> Self:
        if self.decode_gpus_per_worker % self.decode_ep:
            raise ValueError(
                f"decode_ep is {self.decode_ep}; it must divide decode_gpus_per_worker, "
                f"{self.decode_gpus_per_worker}"
            )
        return self


class PublishedRow(ConfigurationRow):
    """One row of the published comparison of 2026-05-22; latencies are medians.

    Attributes
    ----------
    published_prefill, published_decode : str
        Label of the structure, summed over workers.
    total_tok_s_per_gpu : float
        Input and output over all GPUs. [token/s]
    tok_s_per_user : float
        Interactivity. [token/s]
    tpot_ms : float
        Time per output token. [ms]
    usd_per_m_total_tokens : float
        [USD per million tokens]
    """

    published_prefill: Text
    published_decode: Text
    total_tok_s_per_gpu: Amount
    tok_s_per_user: Amount
    tpot_ms: Amount
    usd_per_m_total_tokens: Amount


class ServingRow(ConfigurationRow):
    """One measured operating point; None where a file does not say.

    Attributes
    ----------
    ttft_ms, tpot_ms : float or None
        Means; medians where no mean is known. [ms]
    ttft_median_ms, tpot_median_ms : float or None
        [ms]
    tpot_p90_ms, tpot_p99_ms, ttft_p90_ms, ttft_p99_ms : float or None
        Percentiles over requests. [ms]
    iteration_ms : float or None
        Time of one decode iteration. [ms]
    total_tok_s_per_gpu : float or None
        Input and output over all GPUs. [token/s]
    tok_s_per_user : float or None
        Interactivity. [token/s]
    requests_in_decode : float or None
        Output tokens per second times TPOT. [request]
    shortest : float or None
        Shortest lengths over the nominal ones, between which they are uniform; 0.8 where not given.
        [1]
    suspect : str or None
        Why no constant is fitted to the row, which is predicted all the same.
    """

    ttft_ms: Amount | None = None
    tpot_ms: Amount | None = None
    ttft_median_ms: Amount | None = None
    tpot_median_ms: Amount | None = None
    tpot_p90_ms: Amount | None = None
    tpot_p99_ms: Amount | None = None
    ttft_p90_ms: Amount | None = None
    ttft_p99_ms: Amount | None = None
    iteration_ms: Amount | None = None
    total_tok_s_per_gpu: Amount | None = None
    tok_s_per_user: Amount | None = None
    requests_in_decode: Amount | None = None
    shortest: Annotated[float, Field(gt=0, le=1)] | None = None
    suspect: Text | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the row says anything that was measured."""
        return any(
            getattr(self, name) is not None
            for name in ServingRow.model_fields
            if name not in (*ConfigurationRow.model_fields, "shortest", "suspect")
        )


class RunSettingsRow(_MachineRow):
    """How the runs behind measured rows were set up; a blank key holds for all.

    Attributes
    ----------
    sku, precision : str
    isl : int or None
        [token]
    mtp_depth : int or None
        [1]
    decode_attention : {"tp", "dp"}
    moe_backend : str or None
        What computes the experts of decode; None where recipes differ.
    frontends : int
        That route requests, each for itself. [1]
    before : date or None
        Day from which on the row holds no more; None where it holds at any time.
    """

    precision: PrecisionName
    isl: Count | None = None
    mtp_depth: CountOrZero | None = None
    decode_attention: Literal["tp", "dp"]
    moe_backend: Text | None = None
    frontends: Count
    before: datetime.date | None = None


class IsoRow(Record):
    """The published comparison at one interactivity; None where it says nothing.

    Attributes
    ----------
    tok_s_per_user : float
        [token/s]
    gb200_tok_s_per_gpu, b200_tok_s_per_gpu : float or None
        [token/s]
    gb200_usd_per_m, b200_usd_per_m : float or None
        [USD per million tokens]
    """

    tok_s_per_user: Amount
    gb200_tok_s_per_gpu: Amount | None = None
    b200_tok_s_per_gpu: Amount | None = None
    gb200_usd_per_m: Amount | None = None
    b200_usd_per_m: Amount | None = None


class AllToAllRow(_MachineRow):
    """Latency of one dispatch or combine.

    Attributes
    ----------
    sku : str
    path : {"nvlink", "nvlink+rdma"}
        Links that the exchange crosses.
    gpus_per_nvlink_domain : int
        [GPU]
    kernel, op, dtype : str
    ep : int
        GPUs that exchange. [GPU]
    tokens_per_rank : int
        [token]
    hidden, top_k, experts : int
        Of the model. [1]
    latency_us : float
        [us]
    """

    path: Literal["nvlink", "nvlink+rdma"]
    gpus_per_nvlink_domain: Count
    kernel: Text
    op: Literal["combine", "combine_low_precision", "dispatch", "prepare"]
    dtype: Literal["bfloat16", "fp8", "nvfp4"]
    ep: Count
    tokens_per_rank: Count
    hidden: Count
    top_k: Count
    experts: Count
    latency_us: Amount


class AllReduceRow(_MachineRow):
    """Latency of one all-reduce inside an NVLink domain.

    Attributes
    ----------
    sku, kernel : str
    gpus : int
        [GPU]
    message_elements_bf16 : int
        Length of the message; an element is 2 bytes. [1]
    latency_us : float
        [us]
    """

    kernel: Text
    gpus: Count
    message_elements_bf16: Annotated[int, Field(ge=1, le=10**12)]
    latency_us: Amount


class EngineSettingsRow(_MachineRow):
    """Engine settings of one recipe; None where the recipe leaves the engine's default.

    Lengths and sizes are in tokens, batches in requests, fractions of the free memory.
    """

    precision: PrecisionName
    isl: Count
    osl: Count
    recipe: Text
    concurrency: tuple[Count, ...]
    prefill_workers: Count
    decode_workers: Count
    prefill_tp: Count
    prefill_ep: Count
    prefill_attention_dp: bool
    prefill_max_batch_size: Count
    prefill_max_num_tokens: Count
    prefill_max_seq_len: Count
    prefill_kv_fraction: Annotated[float, Field(gt=0, le=1)]
    prefill_kv_dtype: Text
    prefill_moe_backend: Text
    prefill_transceiver_tokens: Count
    prefill_mtp: Count | None = None
    decode_tp: Count
    decode_ep: Count
    decode_attention_dp: bool
    decode_max_batch_size: Count
    decode_max_num_tokens: Count
    decode_max_seq_len: Count
    decode_kv_fraction: Annotated[float, Field(gt=0, le=1)]
    decode_kv_dtype: Text
    decode_moe_backend: Text
    decode_transceiver_tokens: Count
    decode_mtp: Count | None = None
    decode_lm_head_tp: bool
    decode_low_precision_combine: bool
    decode_eplb_slots: Count | None = None
    decode_cuda_graph_largest: Count
    decode_allreduce: Text | None = None

    @field_validator("concurrency", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Take the several concurrencies of a cell apart."""
        return tuple(value.split()) if isinstance(value, str) else value
