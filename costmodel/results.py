"""Predictions for people and machines: one configuration in, named units and an interval out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from costmodel.calibration import Calibration, Coverage
from costmodel.economics import usd_per_m_tokens
from costmodel.inputs import FloatArray
from costmodel.workload import Workload
from presets import ClusterSpec, InputError, Model

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Interval = tuple[float, float]
IntervalClass = Literal["fp4", "fp8", "crossing"]


class Scenario(BaseModel):
    """What is served: model, precision, nominal lengths and engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    precision: str = "fp4"
    isl: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    osl: Annotated[int, Field(ge=2, le=1_000_000)] = 1024
    engine: str = "trtllm"

    @property
    def workload(self) -> Workload:
        """Lengths as the cost model reads them."""
        return Workload(np.asarray(float(self.isl)), np.asarray(float(self.osl)))


class Configuration(BaseModel):
    """One deployment; `max_batch` is per rank under attention dp, per worker under tp."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prefill_workers: Count
    prefill_gpus_per_worker: Count
    decode_workers: Count
    decode_gpus_per_worker: Count
    decode_ep: Count
    decode_attention: Literal["tp", "dp"]
    max_batch: Count
    mtp_depth: Annotated[int, Field(ge=0, le=3)]
    eplb_slots: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    concurrency: Count

    @property
    def gpus(self) -> int:
        """All GPUs of the deployment."""
        decode = self.decode_workers * self.decode_gpus_per_worker
        return self.prefill_workers * self.prefill_gpus_per_worker + decode

    @property
    def label(self) -> str:
        """Short name: prefill and decode workers x GPUs, attention, batch and draft depth."""
        return (
            f"{self.prefill_workers}x{self.prefill_gpus_per_worker}P "
            f"{self.decode_workers}x{self.decode_gpus_per_worker}D {self.decode_attention} "
            f"batch {self.max_batch} mtp {self.mtp_depth}"
        )


class Prediction(BaseModel):
    """What a benchmark of a configuration would print, with 90 % intervals.

    `tok_s_per_user` and `tpot_ms` are medians over requests, `ttft_ms` is a mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tok_s_per_user: float
    tpot_ms: float
    ttft_ms: float
    total_tok_s_per_gpu: float
    usd_per_m_total_tokens: float
    origin: Literal["modelled", "extrapolated"]
    extrapolated_in: tuple[str, ...] = ()
    interval_90: dict[str, Interval]


@dataclass(frozen=True)
class Predicted:
    """A configuration, its prediction, and what its decode step spends its time on."""

    configuration: Configuration
    prediction: Prediction
    breakdown_ms: dict[str, float]
    batch_in_flight: float  # per rank (dp) or worker (tp)
    prefill_load: float  # share of the prefill capacity in use


@dataclass(frozen=True)
class Case:
    """One configuration, what it serves, and where."""

    configuration: Configuration
    scenario: Scenario
    cluster: ClusterSpec


def predict(
    configurations: Sequence[Configuration],
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
) -> list[Predicted]:
    """Predict each configuration on one cluster.

    Raises
    ------
    InputError
        If a configuration does not fit the cluster, the model or the memory.
    """
    # Imported here: deployments joins topology and presets, which a reader of results alone skips.
    from costmodel.deployments import deployments_of, memory_limit, run

    cases = [Case(configuration, scenario, cluster) for configuration in configurations]
    for case in cases:
        check_shape(case.configuration, case.scenario.model, case.cluster)
    deployments = deployments_of(cases)
    limits = np.broadcast_to(memory_limit(deployments, calibration), len(cases))
    for case, limit in zip(cases, limits.tolist(), strict=True):
        check_memory(case.configuration, limit, cluster)
    result = run(deployments, calibration)
    parts = breakdowns(vars(result.steady.decode.step), len(cases))
    exposed = _column(result.steady.decode.step.exposed_communication, len(cases))
    columns = zip(
        configurations,
        _column(result.tpot_median, len(cases)),
        _column(result.ttft_mean, len(cases)),
        _column(result.total_tok_s_per_gpu, len(cases)),
        _column(result.steady.decode.requests, len(cases)),
        _column(result.steady.prefill_load, len(cases)),
        parts,
        exposed,
        strict=True,
    )
    price = cluster.hardware().price_usd_per_hour.value
    return [
        Predicted(
            configuration=configuration,
            prediction=prediction_of(
                configuration, scenario, cluster, calibration, tpot, ttft, throughput, price
            ),
            breakdown_ms=part | {"exposed_communication": 1e3 * hidden},
            batch_in_flight=batch,
            prefill_load=load,
        )
        for configuration, tpot, ttft, throughput, batch, load, part, hidden in columns
    ]


def prediction_of(
    configuration: Configuration,
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
    tpot: float,
    ttft: float,
    throughput: float,
    price: float,
) -> Prediction:
    """Put one prediction into named units, with its origin and intervals."""
    reasons = extrapolations(configuration, scenario, cluster, calibration.coverage)
    kind = interval_class(configuration, scenario, cluster)
    widths = interval_widths(kind, reasons, calibration)
    wide = {
        "tok_s_per_user": widths["tpot"],
        "tpot_ms": widths["tpot"],
        "ttft_ms": widths["ttft"],
        "total_tok_s_per_gpu": widths["throughput"],
        "usd_per_m_total_tokens": widths["throughput"],
    }
    values = {
        "tok_s_per_user": 1.0 / tpot,
        "tpot_ms": 1e3 * tpot,
        "ttft_ms": 1e3 * ttft,
        "total_tok_s_per_gpu": throughput,
        "usd_per_m_total_tokens": usd_per_m_tokens(price, throughput),
    }
    intervals = {
        name: (value * math.exp(-wide[name]), value * math.exp(wide[name]))
        for name, value in values.items()
    }
    return Prediction(
        **values,
        origin="extrapolated" if reasons else "modelled",
        extrapolated_in=reasons,
        interval_90=intervals,
    )


def interval_class(
    configuration: Configuration, scenario: Scenario, cluster: ClusterSpec
) -> IntervalClass:
    """Tell which half-widths a configuration has."""
    if configuration.decode_gpus_per_worker > cluster.hardware().gpus_per_domain.value:
        return "crossing"
    return "fp4" if scenario.precision == "fp4" else "fp8"


def interval_widths(
    kind: IntervalClass, reasons: Sequence[str], calibration: Calibration
) -> dict[str, float]:
    """Half-widths of the 90 % intervals, of the logarithm, wider for each extrapolation."""
    widening = calibration.extrapolation_widening ** len(reasons)
    tpot: float = getattr(calibration.tpot_half_width, kind)
    return {
        "tpot": tpot * widening,
        "iteration": tpot * widening,
        "ttft": getattr(calibration.ttft_half_width, kind) * widening,
        "throughput": getattr(calibration.throughput_half_width, kind) * widening,
    }


def half_widths(cases: Sequence[Case], calibration: Calibration) -> dict[str, FloatArray]:
    """Half-widths of the intervals of many cases, by figure; shape ``(n,)``."""
    widths = [
        interval_widths(
            interval_class(case.configuration, case.scenario, case.cluster),
            extrapolations(case.configuration, case.scenario, case.cluster, calibration.coverage),
            calibration,
        )
        for case in cases
    ]
    return {name: np.array([width[name] for width in widths]) for name in widths[0]}


def extrapolations(
    configuration: Configuration, scenario: Scenario, cluster: ClusterSpec, coverage: Coverage
) -> tuple[str, ...]:
    """In what a configuration lies outside the data that the calibration rests on."""
    hardware = cluster.hardware()
    decode = configuration.decode_gpus_per_worker
    checks = {
        f"machine {cluster.sku}": cluster.sku not in coverage.skus,
        f"model {scenario.model.name}": scenario.model.name not in coverage.models,
        f"precision {scenario.precision}": scenario.precision not in coverage.precisions,
        f"engine {scenario.engine}": scenario.engine not in coverage.engines,
        f"input length {scenario.isl}": not _inside(scenario.isl, coverage.isl),
        f"output length {scenario.osl}": not _inside(scenario.osl, coverage.osl),
        f"{decode} GPUs per decode worker across NVLink domains": (
            decode > hardware.gpus_per_domain.value and cluster.sku not in coverage.crossing_skus
        ),
        f"{decode} GPUs per decode worker": decode > coverage.decode_gpus[1],
        f"attention tp over {decode} GPUs": (
            configuration.decode_attention == "tp"
            and coverage.tp_gpus[1] < decode <= hardware.gpus_per_domain.value
        ),
        f"batch {configuration.max_batch}": configuration.max_batch > coverage.max_batch[1],
        "links or memory that the cluster file changes": cluster_differs(cluster),
    }
    return tuple(reason for reason, outside in checks.items() if outside)


def cluster_differs(cluster: ClusterSpec) -> bool:
    """Whether a cluster file changes physics, not just count, name or price."""
    physical = (
        "gpus_per_domain",
        "nvlink_gb_s",
        "nvlink_latency_us",
        "nic_gb_s",
        "nic_latency_us",
        "hbm_gb",
    )
    return any(getattr(cluster, name) is not None for name in physical)


def check_shape(configuration: Configuration, model: Model, cluster: ClusterSpec) -> None:
    """Refuse a configuration that no engine could start.

    Raises
    ------
    InputError
        Naming the field, its value and what would be valid.
    """
    gpus, ep = configuration.decode_gpus_per_worker, configuration.decode_ep
    if configuration.gpus > cluster.gpus:
        raise InputError(
            f"configuration asks for {configuration.gpus} GPUs, but the cluster has {cluster.gpus}"
        )
    if gpus % ep:
        raise InputError(f"decode_ep {ep} must divide decode_gpus_per_worker {gpus}")
    slots = configuration.eplb_slots or model.experts
    if slots < model.experts:
        raise InputError(f"eplb_slots {slots} must be 0 or at least the {model.experts} experts")
    if slots % ep:
        raise InputError(f"decode_ep {ep} must divide the {slots} expert slots")
    if configuration.decode_attention == "tp" and model.attention.heads % gpus:
        raise InputError(
            f"decode_gpus_per_worker {gpus} must divide the {model.attention.heads} attention "
            "heads under decode_attention tp"
        )
    if configuration.mtp_depth and not model.draft_layers:
        raise InputError(
            f"mtp_depth {configuration.mtp_depth} needs draft layers; {model.name} has none, use 0"
        )


def check_memory(configuration: Configuration, limit: float, cluster: ClusterSpec) -> None:
    """Refuse a batch whose KV cache does not fit beside the weights.

    Raises
    ------
    InputError
        Naming the largest batch that fits.
    """
    gpus = configuration.decode_gpus_per_worker
    if limit < 1.0:
        raise InputError(
            f"decode_gpus_per_worker {gpus}: the weights leave no room for one request in the "
            f"memory of {cluster.sku}; use more GPUs per worker"
        )
    if configuration.max_batch > limit:
        raise InputError(
            f"max_batch {configuration.max_batch} does not fit in the memory of {cluster.sku} at "
            f"{gpus} GPUs per worker; at most {math.floor(limit)}"
        )


def breakdowns(parts: dict[str, FloatArray], count: int) -> list[dict[str, float]]:
    """Milliseconds of each part, one dictionary per deployment."""
    columns = {name: 1e3 * np.broadcast_to(values, count) for name, values in parts.items()}
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(count)]


def _inside(value: float, bounds: Sequence[float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _column(values: FloatArray, count: int) -> list[float]:
    result: list[float] = np.broadcast_to(values, count).tolist()
    return result
