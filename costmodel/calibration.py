"""The calibrated constants of the cost model, each with unit, bounds, source and standard error.

``data/calibration.toml`` is written by ``moeplan calibrate`` and can be written again; a user's own
file of the same form is read by ``--calibration FILE``, within the units and bounds of the shipped
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from costmodel.correlation import Correlation
from costmodel.deviations import Deviation, deviation_of
from costmodel.inputs import FloatArray
from presets.facts import Text
from presets.frozen import FrozenDict

FORMAT = "moeplan calibration 2"
WIDEST = 3.0
"""Largest standard deviation of a constant, of its logarithm: twentyfold either way. [1]"""


def _ordered(span: tuple[int, int]) -> tuple[int, int]:
    if span[0] > span[1]:
        raise ValueError(f"{list(span)} is not valid; it must be the lower end, then the upper")
    return span


# Numbers of a file are numbers, neither text nor true and false.
Positive = Annotated[float, Field(strict=True, gt=0)]
Whole = Annotated[int, Field(strict=True, ge=0, le=100_000_000)]
Span = Annotated[tuple[Whole, Whole], AfterValidator(_ordered)]


class Constant(BaseModel):
    """One constant: its value, where it came from and how far it may move."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: Positive
    unit: Text
    low: Positive  # physical bounds that no fit leaves
    high: Positive
    prior: Positive  # what one would assume without data
    spread: float = Field(strict=True, gt=0, le=WIDEST)  # of the prior, in log units
    # of the logarithm; none if not fitted
    standard_error: float | None = Field(default=None, strict=True, ge=0, le=WIDEST)
    kind: str = Field(pattern="^(calibrated|measured|assumed)$")
    informed_by: Text  # the data that set it
    source: Text
    date: date
    meaning: Text

    @model_validator(mode="after")
    def _inside_bounds(self) -> Self:
        for name in ("value", "prior"):
            if not self.low <= (number := getattr(self, name)) <= self.high:
                message = f"{name} {number} lies outside its bounds {self.low} to {self.high}"
                raise ValueError(message)
        return self


class Coverage(BaseModel):
    """What the serving measurements behind a calibration span; ranges are inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Whole
    skus: tuple[str, ...]
    crossing_skus: tuple[str, ...]  # machines measured with a worker across NVLink domains
    crossing_gpus: Whole = 0  # most GPUs of a worker measured across NVLink domains
    exchanges: tuple[str, ...] = ()  # kernels that carried tokens across NVLink domains
    nics: tuple[str, ...] = ()  # "h100 25 GB/s": other NICs than those of the preset
    models: tuple[str, ...]
    precisions: tuple[str, ...]
    engines: tuple[str, ...]
    drafts: tuple[str, ...] = ("mtp", "none")  # what drafts, or nothing
    isl: Span  # [token]
    osl: Span  # [token]
    decode_gpus: Span  # per worker
    tp_gpus: Span  # per worker with attention tp inside one NVLink domain
    max_batch_dp: Span  # per rank
    max_batch_tp: Span  # per worker
    prefill_attentions: tuple[str, ...] = ("dp",)  # modes of the prefill workers
    prefill_gpus: Span = (1, 72)  # per worker inside one NVLink domain
    narrow_ep: tuple[str, ...] = ()  # "blackwell fp8 dp 8/1": 8 GPUs with EP 1
    eplb_skus: tuple[str, ...] = ()  # machines measured with expert slots
    eplb_slots: Span = (0, 0)
    aggregated: Coverage | None = None  # what the rows span whose workers prefill and decode
    corpus: Coverage | None = None  # what the rows of the corpus span


class Anchor(NamedTuple):
    """What measured rows say of the step of what is like them, and how many of them do.

    `level` is a factor of one deployment, and of a group of rows the logarithm of one. [1]
    """

    level: float
    rows: int


class AllToAllKernel(NamedTuple):
    """Fixed and per-byte cost of one all-to-all kernel; the topology adds the wire's share."""

    latency: float | FloatArray  # [s]
    latency_per_doubling: float | FloatArray  # of the EP width [s]
    seconds_per_byte: float | FloatArray  # local copies of one BF16 activation [s/B]


class NicKernel(NamedTuple):
    """One kernel across NVLink domains that sends over NVLink and NICs at a time."""

    latency: float | FloatArray  # [s]
    latency_per_doubling: float | FloatArray  # of the domains, or of the ranks of a gather [s]
    nic_efficiency: float | FloatArray  # share of a NIC's rate that it reaches [1]
    link_efficiency: float | FloatArray  # share of NVLink's rate that it reaches [1]


class StagedKernel(NamedTuple):
    """One kernel across NVLink domains that sends over NICs what it copies on inside a domain."""

    latency: float | FloatArray  # [s]
    latency_per_doubling: float | FloatArray  # of the domains [s]
    nic_efficiency: float | FloatArray  # share of a NIC's rate that it reaches [1]
    copy_rate: float | FloatArray  # of the multiprocessors that it keeps busy [B/s]


class HalfWidths(NamedTuple):
    """Half-widths of 90 % intervals, of the logarithm, by what is predicted."""

    fp4: float
    fp8: float  # and wider weights
    crossing: float  # decode workers across NVLink domains
    aggregated: float  # workers that prefill what they decode, inside one
    corpus: float  # of a machine, model, precision or engine that the corpus alone has
    corpus_aggregated: float  # the same of workers that prefill what they decode


class Calibration(NamedTuple):
    """Constants of the model; ``data/calibration.toml`` says what each one means.

    They are those of Blackwell and FP4 experts where deviations say what holds elsewhere;
    `costmodel.resolve` joins these for a worker.
    """

    # roofline efficiencies [1]
    hbm_efficiency: float
    cache_efficiency: float
    expert_efficiency: float
    dense_efficiency: float
    attention_efficiency: float
    attention_tile: float
    roofline_exponent: float
    # expert load [1]
    expert_tile: float
    touch_spread: float
    expert_spread: float
    eplb_gain: float
    # experts whose matrices are split over GPUs [s]
    split_tile_time: float
    # fixed time [s], factors [1]
    layer_time: float
    step_time: float
    request_time: float
    draft_factor: float
    draft_pass_time: float
    draft_request_time: float
    sync_share: float
    engine_factor: float
    # collectives
    exchange_factor: float
    overlap: float
    all_reduce_factor: float
    all_reduce_launch: float
    two_shot_latency: float
    link_efficiency: float
    kernel_path_latency: float
    crossing_reduce_latency: float
    crossing_reduce_efficiency: float
    # kernels of the engine inside a domain: two-sided over NVLink
    dispatch: AllToAllKernel
    combine: AllToAllKernel
    combine_low_precision: AllToAllKernel
    prepare: AllToAllKernel
    one_sided_dispatch: AllToAllKernel
    one_sided_combine: AllToAllKernel
    # across domains: DeepEP's low-latency and normal kernels, all-gather and reduce-scatter
    low_latency_dispatch: NicKernel
    low_latency_combine: NicKernel
    normal_dispatch: StagedKernel
    normal_combine: StagedKernel
    gather: NicKernel
    deepep_latency: float
    low_latency_factor: float
    normal_factor: float
    # prefill
    prefill_efficiency: float
    prefill_attention_efficiency: float
    first_token_time: float
    prefill_wait: float
    prefill_imbalance: float
    # accepted drafts per step [1]
    acceptance: float
    acceptance_input: float
    acceptance_output: float
    mean_to_median: float
    # memory
    reserved_bytes: float
    cache_share: float
    # benchmark
    rounds: float
    draft_spread: float
    # workers that prefill what they decode [1]
    mixed_prefill: float
    mixed_fixed_share: float
    mixed_expert_ranks: float
    mixed_rank_stall: float
    early_release: float
    mixed_rank_steps: float
    mixed_steps: float
    mixed_first_token_time: float  # [s]
    # half-widths of the 90 % intervals, of the logarithm
    tpot_half_width: HalfWidths
    ttft_half_width: HalfWidths
    throughput_half_width: HalfWidths
    extrapolation_widening: float  # factor on a half-width for each thing outside the data
    coverage: Coverage
    deviations: tuple[Deviation, ...] = ()
    draft: Calibration | None = None  # of draft layers, once deviations are joined
    anchors: Mapping[str, Anchor] = FrozenDict()  # of a user's own rows, by group


ABSENT = {
    "split_tile_time": 0.0,
    "deepep_latency": 0.0,
    "draft_pass_time": 0.0,
    "draft_request_time": 0.0,
    "mixed_expert_ranks": 1.0,
    "mixed_rank_stall": 0.0,
    "early_release": 1.0,
}
"""Constants that are nothing but where a deviation says so: a time of 0 or a factor of 1."""

NO_CONSTANTS = ("coverage", "deviations", "draft", "anchors")
"""Fields of `Calibration` that are none."""

KERNELS: dict[str, type[AllToAllKernel] | type[NicKernel] | type[StagedKernel]] = {
    "dispatch": AllToAllKernel,
    "combine": AllToAllKernel,
    "combine_low_precision": AllToAllKernel,
    "prepare": AllToAllKernel,
    "one_sided_dispatch": AllToAllKernel,
    "one_sided_combine": AllToAllKernel,
    "low_latency_dispatch": NicKernel,
    "low_latency_combine": NicKernel,
    "normal_dispatch": StagedKernel,
    "normal_combine": StagedKernel,
    "gather": NicKernel,
}
"""Fields of `Calibration` that are each the constants of one kernel."""

HALF_WIDTHS = ("tpot_half_width", "ttft_half_width", "throughput_half_width")
"""Fields of `Calibration` that are each a `HalfWidths`."""

NESTED: dict[
    str, type[AllToAllKernel] | type[NicKernel] | type[StagedKernel] | type[HalfWidths]
] = {
    **KERNELS,
    **dict.fromkeys(HALF_WIDTHS, HalfWidths),
}
"""Fields of `Calibration` that are several constants."""


def constants_of(calibration: Calibration) -> dict[str, Any]:
    """Flat names and values: ``dispatch.latency`` for the fields of a kernel, then deviations."""
    flat: dict[str, Any] = {}
    for name, value in calibration._asdict().items():
        if name in NESTED:
            flat.update({f"{name}.{part}": each for part, each in value._asdict().items()})
        elif name not in NO_CONSTANTS and name not in ABSENT:
            flat[name] = value
    flat |= {each.name: each.factor for each in calibration.deviations}
    return flat


def calibration_of(values: Mapping[str, Any], coverage: Coverage) -> Calibration:
    """Build a calibration from flat names; the inverse of `constants_of`.

    Arrays broadcast through the model as floats do: a fit varies all constants in one evaluation.
    """
    deviations = (deviation_of(name, value) for name, value in values.items())
    columns: dict[str, Any] = {
        **ABSENT,
        "coverage": coverage,
        "deviations": tuple(each for each in deviations if each is not None),
    }
    for name in Calibration._fields:
        if name in NESTED:
            nested = NESTED[name]
            columns[name] = nested(*(values[f"{name}.{part}"] for part in nested._fields))
        elif name not in columns and name not in NO_CONSTANTS:
            columns[name] = values[name]
    return Calibration(**columns)


@cache
def flat_names() -> tuple[str, ...]:
    """Flat names of all that a constant or a deviation can be of, in the order of `Calibration`."""
    names: list[str] = []
    for name in Calibration._fields:
        if name in NESTED:
            names += [f"{name}.{part}" for part in NESTED[name]._fields]
        elif name not in NO_CONSTANTS:
            names.append(name)
    return tuple(names)


def constant_names() -> tuple[str, ...]:
    """Flat names of the constants that every calibration has."""
    return tuple(name for name in flat_names() if name not in ABSENT)


class CalibrationFile(NamedTuple):
    """A calibration with the provenance of each constant, and how their errors go together."""

    constants: dict[str, Constant]
    coverage: Coverage
    correlations: tuple[Correlation, ...] = ()  # of constants fitted together; each in at most one
    anchors: Mapping[str, Anchor] = FrozenDict()  # of a user's own rows, by group

    @property
    def calibration(self) -> Calibration:
        """The values alone, as the model reads them."""
        values = {name: constant.value for name, constant in self.constants.items()}
        return calibration_of(values, self.coverage)._replace(anchors=self.anchors)
