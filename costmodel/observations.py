"""What was measured, as arrays beside the deployments that produced it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodel.calibration import Calibration
from costmodel.deployments import Deployments, network_of, run
from costmodel.inputs import FloatArray
from costmodel.network import Benchmark, ranks
from costmodel.percentiles import PUBLISHED, percentile_name
from costmodel.serving import steady_state
from costmodel.workload import acceptance_length, mean_over_median
from presets import ServingRow, load_hardware

# Standard deviations of log residuals: what the model is expected to reach on a good row.
TIME_SPREAD = 0.05
ACCEPTANCE_SPREAD = 0.03
MEAN_SPREAD = 0.02
WAIT_SPREAD = 0.30
THROUGHPUT_SPREAD = 0.07

CROSSING_WEIGHT = 0.25
"""Weight of a row with a worker across NVLink domains: in folds those err twice as much as others
(docs/accuracy.md), and least squares weighs by the inverse square of the error. [1]"""

SAME_STRUCTURE = 0.5
"""Correlation of the errors of configurations that differ in load alone: on the shipped rows 0.5 of
TPOT, 0.7 of throughput, 0.3 of TTFT. [1]"""


@dataclass(frozen=True, eq=False)
class Observations:
    """Measured results, NaN where unknown; one entry per row."""

    tpot_mean: FloatArray  # [s]
    tpot_median: FloatArray  # [s]
    iteration: FloatArray  # [s]
    ttft_mean: FloatArray  # [s]
    ttft_median: FloatArray  # [s]
    tok_s_per_gpu: FloatArray  # input plus output [token/s]
    percentiles: dict[str, FloatArray]  # of TPOT and TTFT, such as "tpot_p99" [s]
    weight: FloatArray  # that of a row's kind over the rows of the same configuration


def observations_of(rows: Sequence[ServingRow]) -> Observations:
    """Measured results of rows.

    ``tpot_ms`` is a mean, and a median where no mean is known: where it equals the median, or where
    the row gives ``tok_s_per_user``, the inverse of the median, as published tables do.
    """
    tpot, tpot_median = _column(rows, "tpot_ms") / 1e3, _column(rows, "tpot_median_ms") / 1e3
    ttft, ttft_median = _column(rows, "ttft_ms") / 1e3, _column(rows, "ttft_median_ms") / 1e3
    per_user = _column(rows, "tok_s_per_user")
    is_median = (tpot == tpot_median) | ~np.isnan(per_user)
    keys = [configuration_key(row) for row in rows]
    counts = Counter(keys)
    return Observations(
        tpot_mean=np.where(is_median, np.nan, tpot),
        tpot_median=np.where(np.isnan(tpot_median) & is_median, 1.0 / per_user, tpot_median),
        iteration=_column(rows, "iteration_ms") / 1e3,
        ttft_mean=np.where(ttft == ttft_median, np.nan, ttft),
        ttft_median=ttft_median,
        tok_s_per_gpu=_column(rows, "total_tok_s_per_gpu"),
        percentiles={
            name: _column(rows, f"{name}_ms") / 1e3
            for clock in ("tpot", "ttft")
            for name in (percentile_name(clock, each) for each in PUBLISHED)
        },
        weight=np.array(
            [_weight_of(row) / counts[key] for row, key in zip(rows, keys, strict=True)]
        ),
    )


def _weight_of(row: ServingRow) -> float:
    """Weigh a row by its kind; a suspect one says nothing."""
    if row.suspect:
        return 0.0
    domain = load_hardware(row.sku).gpus_per_domain.value
    return CROSSING_WEIGHT if row.decode_gpus_per_worker > domain else 1.0


def configuration_key(row: ServingRow) -> tuple[object, ...]:
    """Tell what makes two rows measurements of the same thing."""
    return (
        row.sku, row.model, row.precision, row.isl, row.osl, row.cached_share, row.draft,
        row.mtp_depth, row.decode_attention_tp, row.prefill_stages, row.prefill_workers,
        row.prefill_gpus_per_worker, row.prefill_attention, row.decode_workers,
        row.decode_gpus_per_worker, row.decode_ep, row.decode_attention,
        row.concurrency, row.max_batch, row.eplb_slots, row.frontends,
        row.exchange, row.nic_gb_s,
    )  # fmt: skip


def structure_key(row: ServingRow) -> tuple[object, ...]:
    """Tell what makes two rows points of one deployment under different load."""
    return (
        row.sku, row.model, row.precision, row.isl, row.osl, row.cached_share, row.draft,
        row.mtp_depth, row.decode_attention_tp, row.prefill_stages, row.prefill_workers,
        row.prefill_gpus_per_worker, row.prefill_attention, row.decode_workers,
        row.decode_gpus_per_worker, row.decode_ep, row.decode_attention,
        row.eplb_slots, row.exchange, row.nic_gb_s,
    )  # fmt: skip


def clustered_observations(rows: Sequence[ServingRow]) -> Observations:
    """Measured results of rows, where points of one structure say much the same.

    Their errors go together by `SAME_STRUCTURE`, so that ``n`` configurations of one structure
    weigh as ``n / (1 + (n - 1) SAME_STRUCTURE)`` alone (the design effect of Kish, Survey
    Sampling, 1965, section 5.4).
    """
    seen = observations_of(rows)
    structures = [structure_key(row) for row in rows]
    keys = {configuration_key(row): key for row, key in zip(rows, structures, strict=True)}
    members = Counter(keys.values())
    together = np.array([members[key] - 1.0 for key in structures])
    return replace(seen, weight=seen.weight / (1.0 + SAME_STRUCTURE * together))


def step_residuals(
    deployments: Deployments, seen: Observations, calibration: Calibration
) -> FloatArray:
    """Log residuals of step time, TPOT and acceptance over their spread; unknown ones are zero.

    The time of a row counts once, whether one or three of its clocks are known.
    """
    predicted = run(deployments, calibration)
    length = acceptance_length(deployments.workers, deployments.workload, calibration)
    clocks = [
        _log_ratio(predicted.steady.decode.step.total, seen.iteration),
        _log_ratio(predicted.tpot_mean, seen.tpot_mean),
        _log_ratio(predicted.tpot_median, seen.tpot_median),
    ]
    known = sum((~np.isnan(clock)).astype(float) for clock in clocks)
    parts = [clock / TIME_SPREAD / np.sqrt(np.maximum(known, 1.0)) for clock in clocks]
    accepted = seen.iteration / seen.tpot_median
    parts.append(_log_ratio(length, accepted) / ACCEPTANCE_SPREAD)
    mean = _log_ratio(
        predicted.tpot_mean / predicted.tpot_median, seen.tpot_mean / seen.tpot_median
    )
    parts.append(mean / MEAN_SPREAD)
    return _weighted(parts, seen)


def decode_residuals(
    deployments: Deployments, requests: FloatArray, seen: Observations, calibration: Calibration
) -> FloatArray:
    """Log residuals of TPOT over its spread where the requests in decode are known.

    A row counts by its median, and by its mean where no median is known.

    Parameters
    ----------
    requests
        In decode on all workers. [1]
    """
    network = network_of(deployments, calibration)
    holders = network.fleet.decode_workers * ranks(network.workers)
    steady = steady_state(network, requests / holders, deployments.max_batch)
    predicted = steady.decode.tpot
    mean = predicted * mean_over_median(deployments.workers.mtp_depth, calibration)
    known = ~np.isnan(seen.tpot_median)
    ratio = _log_ratio(
        np.where(known, predicted, mean), np.where(known, seen.tpot_median, seen.tpot_mean)
    )
    return np.asarray(ratio / TIME_SPREAD)


def wait_residuals(
    deployments: Deployments, seen: Observations, calibration: Calibration
) -> FloatArray:
    """Log residuals of TTFT and throughput over their expected spread; unknown ones zero."""
    predicted = run(deployments, calibration)
    return _weighted(
        [
            _log_ratio(predicted.ttft_mean, seen.ttft_mean) / WAIT_SPREAD,
            _log_ratio(predicted.ttft_median, seen.ttft_median) / WAIT_SPREAD,
            _log_ratio(predicted.total_tok_s_per_gpu, seen.tok_s_per_gpu) / THROUGHPUT_SPREAD,
        ],
        seen,
    )


def _weighted(parts: Sequence[FloatArray], seen: Observations) -> FloatArray:
    scaled = np.broadcast_arrays(*(part * np.sqrt(seen.weight) for part in parts))
    return np.asarray(np.nan_to_num(np.concatenate(scaled, axis=-1), nan=0.0))


def compared(predicted: Benchmark, seen: Observations) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Pair predicted and measured values by figure: mean with mean, median with median.

    ``tpot`` and ``ttft`` are the mean of a row, and its median where no mean is known.
    """
    tpot_known = ~np.isnan(seen.tpot_mean)
    ttft_known = ~np.isnan(seen.ttft_mean)
    percentiles = {
        percentile_name(clock, each): at(each)
        for clock, at in (("tpot", predicted.tpot_at), ("ttft", predicted.ttft_at))
        for each in PUBLISHED
    }
    return {
        "tpot": (
            np.where(tpot_known, predicted.tpot_mean, predicted.tpot_median),
            np.where(tpot_known, seen.tpot_mean, seen.tpot_median),
        ),
        "ttft": (
            np.where(ttft_known, predicted.ttft_mean, predicted.ttft_median),
            np.where(ttft_known, seen.ttft_mean, seen.ttft_median),
        ),
        "ttft_median": (predicted.ttft_median, seen.ttft_median),
        "throughput": (predicted.total_tok_s_per_gpu, seen.tok_s_per_gpu),
        "iteration": (predicted.steady.decode.step.total, seen.iteration),
        **{name: (value, seen.percentiles[name]) for name, value in percentiles.items()},
    }


def other_modes(predicted: Benchmark, seen: Observations) -> dict[str, FloatArray]:
    """Where another run may have a figure of two modes, as `compared` names it [s]."""
    other = predicted.ttft_other_median
    return {
        "ttft": np.where(np.isnan(seen.ttft_mean), other, predicted.ttft_mean),
        "ttft_median": other,
    }


def _column(rows: Sequence[ServingRow], name: str) -> FloatArray:
    values = (getattr(row, name) for row in rows)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _log_ratio(predicted: FloatArray, measured: FloatArray) -> FloatArray:
    return np.log(predicted / measured)
