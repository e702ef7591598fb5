"""Predictions of given configurations: one call for any number of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from costmodel.anchors import anchor_of, is_anchored
from costmodel.calibration import Calibration
from costmodel.checks import check_memory, check_shape
from costmodel.crossing import crossings
from costmodel.deployments import deployments_of, memory_limit, prefill_memory_limit, run
from costmodel.economics import usd_per_m_tokens
from costmodel.engine_rules import check_engine_rules
from costmodel.inputs import FloatArray
from costmodel.intervals import extrapolations, width_traits, widths_of, with_own_widths
from costmodel.network import Benchmark, ranks
from costmodel.percentiles import BY_MEDIAN, PUBLISHED, Judged, percentile_name
from costmodel.results import Case, Configuration, Predicted, Prediction, Scenario
from costmodel.serving import batch_met
from presets import ClusterSpec


class Ttft(NamedTuple):
    """Time to first token over the requests of one deployment [s]."""

    mean: float
    median: float
    other_median: float  # that another run may show; equal where there is one mode


def predict(
    configurations: Sequence[Configuration],
    scenario: Scenario,
    cluster: ClusterSpec,
    calibration: Calibration,
    prefill_cluster: ClusterSpec | None = None,
    judged: Judged = BY_MEDIAN,
) -> list[Predicted]:
    """Predict each configuration on one cluster, or with its prefill workers on another.

    A batch whose KV cache does not fit is cut to the one that does, as an engine would. Percentiles
    of `judged` stand beside those that rows publish.

    Raises
    ------
    InputError
        If a configuration does not fit the cluster or the model, or not one request the memory.
    """
    if not configurations:
        return []
    cases = [Case(each, scenario, cluster, prefill_cluster) for each in configurations]
    for case in cases:
        check_shape(case.configuration, scenario.model, cluster, prefill_cluster)
        check_engine_rules(case.configuration, scenario)
    deployments = deployments_of(cases, calibration.anchors)
    limits = _column(memory_limit(deployments, calibration), len(cases))
    inputs = _column(prefill_memory_limit(deployments, calibration), len(cases))
    for case, limit, prefill in zip(cases, limits, inputs, strict=True):
        check_memory(case, limit, prefill)
    result = run(deployments, calibration)
    step = result.steady.decode.step
    parts = breakdowns(step.parts, len(cases))
    spread = {
        name: _column(values, len(cases)) for name, values in _percentiles(result, judged).items()
    }
    exposed = _column(step.exposed_communication, len(cases))
    columns = zip(
        cases,
        _column(result.tpot_median, len(cases)),
        _column(step.total / result.tpot_median, len(cases)),
        _ttfts(result, len(cases)),
        _column(result.total_tok_s_per_gpu, len(cases)),
        _column(result.steady.decode.requests, len(cases)),
        _column(result.steady.prefill_load, len(cases)),
        _column(result.steady.decode.nic_load, len(cases)),
        parts,
        exposed,
        _column(step.hidden, len(cases)),
        limits,
        strict=True,
    )
    slots = np.minimum(deployments.max_batch, limits)
    requests = result.steady.decode.requests
    met = batch_met(requests, slots, ranks(deployments.workers), deployments.fleet)
    carried = crossings(cases, deployments, met, calibration)
    widths = with_own_widths(calibration, width_traits(cases[0]))
    prices = [on.hardware().price_usd_per_hour.value for on in (cases[0].prefill_on, cluster)]
    return [
        Predicted(
            configuration=case.configuration,
            prediction=prediction_of(
                case, widths, tpot, ttft, throughput, mean_price(case.configuration, *prices)
            ),
            breakdown_ms=part | {"exposed_communication": 1e3 * links},
            percentiles_ms={name: values[place] for name, values in spread.items()},
            tokens_per_step=kept,
            batch_in_flight=batch,
            prefill_load=load,
            decode_nic_load=nics,
            hidden_communication_ms=1e3 * hidden,
            batch_limit=math.floor(limit),
            crossing=crossing,
        )
        for place, (
            (case, tpot, kept, ttft, throughput, batch, load, nics, part, links, hidden, limit),
            crossing,
        ) in enumerate(zip(columns, carried, strict=True))
    ]


def mean_price(configuration: Configuration, prefill_price: float, decode_price: float) -> float:
    """Price of one GPU, the mean over both roles [USD/h]."""
    dear = configuration.prefill_gpus * prefill_price + configuration.decode_gpus * decode_price
    return dear / configuration.gpus


def prediction_of(
    case: Case,
    widths: Calibration,
    tpot: float,
    ttft: Ttft,
    throughput: float,
    price: float,
) -> Prediction:
    """Put one prediction into named units, with its origin and intervals.

    `widths` is the calibration with the half-widths of the case (`with_own_widths`).
    """
    outside = extrapolations(case, widths.coverage)
    anchored = is_anchored(case, widths.anchors)
    half = widths_of(case, outside, widths, anchored=anchored)
    wide = {
        "tok_s_per_user": half["tpot"],
        "tpot_ms": half["tpot"],
        "ttft_ms": half["ttft"],
        "ttft_median_ms": half["ttft_median"],
        "total_tok_s_per_gpu": half["throughput"],
        "usd_per_m_total_tokens": half["throughput"],
    }
    values = {
        "tok_s_per_user": 1.0 / tpot,
        "tpot_ms": 1e3 * tpot,
        "ttft_ms": 1e3 * ttft.mean,
        "ttft_median_ms": 1e3 * ttft.median,
        "total_tok_s_per_gpu": throughput,
        "usd_per_m_total_tokens": usd_per_m_tokens(price, throughput),
    }
    intervals = {
        name: (value * math.exp(-wide[name]), value * math.exp(wide[name]))
        for name, value in values.items()
    }
    other, wide_median = 1e3 * ttft.other_median, wide["ttft_median_ms"]
    low, high = intervals["ttft_median_ms"]
    intervals["ttft_median_ms"] = (
        min(low, other * math.exp(-wide_median)),
        max(high, other * math.exp(wide_median)),
    )
    return Prediction(
        **values,
        origin="extrapolated" if outside else "modelled",
        extrapolated_in=tuple(one.reason for one in outside),
        anchored_at=anchor_of(case, widths.anchors).rows,
        interval_90=intervals,
    )


def breakdowns(parts: dict[str, FloatArray], count: int) -> list[dict[str, float]]:
    """Milliseconds of each part, one dictionary per deployment."""
    columns = {name: 1e3 * np.broadcast_to(values, count) for name, values in parts.items()}
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(count)]


def _percentiles(result: Benchmark, judged: Judged) -> dict[str, FloatArray]:
    """Percentiles of TPOT and TTFT over requests, by name [ms]."""
    clocks = (("tpot", result.tpot_at, judged.tpot), ("ttft", result.ttft_at, judged.ttft))
    return {
        percentile_name(clock, each): 1e3 * at(each)
        for clock, at, asked in clocks
        for each in dict.fromkeys((*PUBLISHED, asked))
        if each is not None
    }


def _ttfts(result: Benchmark, count: int) -> list[Ttft]:
    columns = (result.ttft_mean, result.ttft_median, result.ttft_other_median)
    return [Ttft(*each) for each in zip(*(_column(c, count) for c in columns), strict=True)]


def _column(values: FloatArray, count: int) -> list[float]:
    result: list[float] = np.broadcast_to(values, count).tolist()
    return result
