"""90 % intervals: how wide they are, and in what a configuration lies outside the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from costmodel.calibration import Calibration, Coverage
from costmodel.collectives import LARGEST_DISPATCH
from costmodel.counts import expert_input_bytes
from costmodel.inputs import FloatArray
from costmodel.results import Case, Scenario
from presets import ClusterSpec, ScaleOut

MODEL_WEIGHT = 3  # a model that was never measured counts as so many things outside the data
PREFILL_ONLY = ("prefill attention ", "prefill workers ")
"""How reasons begin that leave the decode step alone: they widen TTFT and throughput only."""

WIDEST = math.log(10.0)
"""Largest half-width, of the logarithm: an interval beyond tenfold either way says nothing more."""

IntervalClass = Literal["fp4", "fp8", "crossing"]


def interval_class(case: Case) -> IntervalClass:
    """Tell which half-widths a case has."""
    domain = case.cluster.hardware().gpus_per_domain.value
    if case.configuration.decode_gpus_per_worker > domain:
        return "crossing"
    return "fp4" if case.scenario.precision == "fp4" else "fp8"


def interval_widths(
    kind: IntervalClass, reasons: Sequence[str], calibration: Calibration
) -> dict[str, float]:
    """Half-widths of the 90 % intervals, of the logarithm, wider for each extrapolation."""
    weights = {reason: MODEL_WEIGHT if reason.startswith("model ") else 1 for reason in reasons}
    widening = calibration.extrapolation_widening ** sum(weights.values())
    of_decode = sum(w for reason, w in weights.items() if not reason.startswith(PREFILL_ONLY))
    tpot = (
        getattr(calibration.tpot_half_width, kind) * calibration.extrapolation_widening**of_decode
    )
    widths = {
        "tpot": tpot,
        "iteration": tpot,
        "ttft": getattr(calibration.ttft_half_width, kind) * widening,
        "throughput": getattr(calibration.throughput_half_width, kind) * widening,
    }
    return {name: min(width, WIDEST) for name, width in widths.items()}


def half_widths(cases: Sequence[Case], calibration: Calibration) -> dict[str, FloatArray]:
    """Half-widths of the intervals of many cases, by figure; shape ``(n,)``."""
    widths = [
        interval_widths(
            interval_class(case),
            extrapolations(case, calibration.coverage),
            calibration,
        )
        for case in cases
    ]
    return {name: np.array([width[name] for width in widths]) for name in widths[0]}


def extrapolations(case: Case, coverage: Coverage) -> tuple[str, ...]:
    """In what a case lies outside the data that the calibration rests on."""
    configuration, scenario, cluster = case.configuration, case.scenario, case.cluster
    hardware, prefill_on = cluster.hardware(), case.prefill_on
    prefill_domain = prefill_on.hardware().gpus_per_domain.value
    decode = configuration.decode_gpus_per_worker
    prefill = configuration.prefill_gpus_per_worker
    dp, depth = configuration.decode_attention == "dp", configuration.mtp_depth
    batches = coverage.max_batch_dp if dp else coverage.max_batch_tp
    wide = decode > hardware.gpus_per_domain.value
    slots = configuration.eplb_slots
    shape = f"{decode}/{configuration.decode_ep}"
    checks = {
        f"machine {cluster.sku}": cluster.sku not in coverage.skus,
        f"model {scenario.model.name}": scenario.model.name not in coverage.models,
        f"precision {scenario.precision}": scenario.precision not in coverage.precisions,
        f"engine {scenario.engine}": scenario.engine not in coverage.engines,
        f"input length {scenario.isl}": not _inside(scenario.isl, coverage.isl),
        f"output length {scenario.osl}": not _inside(scenario.osl, coverage.osl),
        f"{decode} GPUs per decode worker across NVLink domains": (
            wide and (cluster.sku not in coverage.crossing_skus or decode > coverage.crossing_gpus)
        ),
        f"{prefill} GPUs per prefill worker across NVLink domains": (
            prefill > prefill_domain
            and (prefill_on.sku not in coverage.crossing_skus or prefill > coverage.crossing_gpus)
        ),
        f"prefill workers of {prefill} GPU{'s' if prefill > 1 else ''}": (
            prefill <= prefill_domain and not _inside(prefill, coverage.prefill_gpus)
        ),
        f"prefill attention tp over {prefill} GPUs": (
            configuration.prefill_attention == "tp"
            and prefill > 1
            and "tp" not in coverage.prefill_attentions
        ),
        f"{decode} GPUs per decode worker": not _inside(decode, coverage.decode_gpus),
        f"attention tp over {decode} GPUs": (
            configuration.decode_attention == "tp"
            and coverage.tp_gpus[1] < decode <= hardware.gpus_per_domain.value
        ),
        f"EP {configuration.decode_ep} over {decode} GPUs under attention "
        f"{configuration.decode_attention}": (
            configuration.decode_ep < decode
            and f"{configuration.decode_attention} {shape}" not in coverage.narrow_ep
        ),
        f"{slots} expert slots on {cluster.sku}": slots > 0
        and (cluster.sku not in coverage.eplb_skus or not _inside(slots, coverage.eplb_slots)),
        f"batch {configuration.max_batch} under attention {configuration.decode_attention}": (
            not _inside(configuration.max_batch, batches)
        ),
        "tokens gathered over NICs, which one row shows": (
            wide and dp and configuration.max_batch > largest_batch_sent(scenario, depth)
        ),
        f"prefill on {prefill_on.sku} before decode on {cluster.sku}": (
            prefill_on.sku != cluster.sku
        ),
        "a NIC latency that no row has, between NVLink domains": (
            wide and cluster.nic_latency_us is not None
        ),
        "links or memory that the cluster file changes": (
            cluster_differs(cluster) or cluster_differs(prefill_on)
        ),
    }
    return tuple(reason for reason, outside in checks.items() if outside)


def largest_batch_sent(scenario: Scenario, mtp_depth: int) -> float:
    """Largest batch per rank whose tokens go to each expert over NICs; above they are gathered."""
    model = scenario.model
    bits = model.precision(scenario.precision).experts
    tokens = LARGEST_DISPATCH / (model.top_k * expert_input_bytes(model, bits))
    return tokens / (1.0 + mtp_depth)


def cluster_differs(cluster: ClusterSpec) -> bool:
    """Whether a cluster file changes physics, not just count, name or price."""
    physical = (
        "gpus_per_domain",
        "gpus_per_node",
        "nvlink_gb_s",
        "nvlink_latency_us",
        "nic_gb_s",
        "nic_latency_us",
        "hbm_gb",
    )
    changed = any(getattr(cluster, name) is not None for name in physical)
    return changed or cluster.scale_out != ScaleOut()


def _inside(value: float, bounds: Sequence[float]) -> bool:
    return bounds[0] <= value <= bounds[1]
