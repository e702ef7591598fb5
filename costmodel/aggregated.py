"""Measured TPOT of workers that prefill and decode against the model's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from costmodel.calibration import Calibration
from costmodel.decode import decode_step
from costmodel.deployments import Deployments, deployments_of, network_of
from costmodel.inputs import FloatArray
from costmodel.observations import TIME_SPREAD
from costmodel.results import Case, Configuration, Scenario
from costmodel.workload import acceptance_length, mean_over_median
from presets import AggregatedRow, default_cluster, load_hardware, load_model


def aggregated_residuals(rows: Sequence[AggregatedRow]) -> Callable[[Calibration], FloatArray]:
    """Log residuals of measured TPOT over their expected spread."""
    deployments = deployments_of([_case_of(row) for row in rows])
    requests = np.array([row.requests_in_decode for row in rows])
    is_mean = np.array([row.tpot_median_ms is None for row in rows])
    measured = np.array([1e-3 * (row.tpot_median_ms or row.tpot_ms or np.nan) for row in rows])

    def residuals(calibration: Calibration) -> FloatArray:
        median = aggregated_tpot(deployments, requests, calibration)
        mean = median * mean_over_median(deployments.workers.mtp_depth, calibration)
        return np.asarray(np.log(np.where(is_mean, mean, median) / measured) / TIME_SPREAD)

    return residuals


def aggregated_tpot(
    deployments: Deployments, requests: FloatArray, calibration: Calibration
) -> FloatArray:
    """Median TPOT of a worker that prefills what it decodes [s].

    ``step / acceptance + requests prefill / output``: each request adds its prefill to the steps
    that it shares with ``requests`` others. With 1k inputs and few users that is 3 % at most.
    """
    step = decode_step(
        deployments.machine,
        deployments.model,
        deployments.workers,
        deployments.paths,
        requests,
        calibration,
    )
    workload = deployments.workload
    kept = acceptance_length(deployments.workers.mtp_depth, workload, calibration)
    prefill = network_of(deployments, calibration).prefill.seconds_per_token
    interleaved = requests * prefill * workload.input_tokens / workload.output_tokens
    return np.asarray(step.total / kept + interleaved)


def _case_of(row: AggregatedRow) -> Case:
    """Describe the worker as a decode worker beside a prefill worker of the same GPUs."""
    users = max(1, round(row.requests_in_decode))
    configuration = Configuration(
        prefill_workers=1,
        prefill_gpus_per_worker=row.gpus,
        prefill_attention="tp",
        decode_workers=1,
        decode_gpus_per_worker=row.gpus,
        decode_ep=row.ep,
        decode_attention="tp",
        max_batch=users,
        mtp_depth=row.mtp_depth,
        concurrency=users,
    )
    scenario = Scenario(
        model=load_model(row.model), precision=row.precision, isl=row.isl, osl=row.osl
    )
    domain = int(load_hardware(row.sku).gpus_per_domain.value)
    gpus = -(-2 * row.gpus // domain) * domain
    return Case(configuration, scenario, default_cluster(row.sku, gpus))
