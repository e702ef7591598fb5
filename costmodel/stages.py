"""Stages of a calibration: which constants each data set sets, in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from costmodel.aggregated import aggregated_residuals
from costmodel.calibration import KERNELS, AllToAllKernel, Calibration, CalibrationFile, Constant
from costmodel.coverage import ENOUGH, coverage_of
from costmodel.deployments import case_of, deployments_of
from costmodel.fit import Fit, Progress, fit_constants
from costmodel.inputs import FloatArray
from costmodel.intervals import interval_class
from costmodel.latencies import exchange_residuals, reduce_residuals
from costmodel.observations import (
    configuration_key,
    observations_of,
    step_residuals,
    wait_residuals,
)
from costmodel.validation import Validation, cross_validate, folds_of
from presets import (
    AllToAllRow,
    InputError,
    ServingRow,
    aggregated_rows,
    allreduce_rows,
    alltoall_rows,
)

PREFILL = (
    "prefill_efficiency",
    "prefill_attention_efficiency",
    "first_token_time",
    "prefill_wait",
    "prefill_imbalance",
)
ALL_REDUCE = ("all_reduce_launch", "all_reduce_launch_hopper", "two_shot_latency")
ALL_TO_ALL = (
    "link_efficiency",
    "nic_efficiency",
    "crossing_rounds",
    *(f"{kernel}.{part}" for kernel in KERNELS for part in AllToAllKernel._fields),
)
INTERVALS = tuple(
    f"{figure}_half_width.{kind}"
    for figure in ("tpot", "ttft", "throughput")
    for kind in ("fp4", "fp8", "crossing")
)
SPLIT = ("split_tile_time",)
ENGINE = ("engine_factor",)  # only a user's rows set it: the shipped ones define it as 1
NOT_FITTED = (
    *ENGINE,
    "acceptance_output",
    "attention_tile",
    "kernel_path_latency",
    "nic_path_latency",
    "reserved_bytes",
    "cache_share",
    "rounds",
    "draft_spread",
    "extrapolation_widening",
    *INTERVALS,
)
FOLDS = 8  # of the cross-validation behind the intervals
COVERED = 0.9  # share of cross-validated errors inside an interval
FAST = 2.0  # times the prior rate of prefill, where its fit starts
INFORMED = 0.01  # share of a prior's variance from which rows count as having set a constant
ROUNDS = 2  # step time and prefill in turn: each sets how many requests the other sees


def step_names(start: CalibrationFile) -> tuple[str, ...]:
    """Constants that serving rows set through step time and acceptance."""
    others = {*PREFILL, *ALL_REDUCE, *ALL_TO_ALL, *SPLIT, *NOT_FITTED}
    return tuple(name for name in start.constants if name not in others)


def calibrate(
    rows: Sequence[ServingRow], start: CalibrationFile, progress: Progress | None = None
) -> Fit:
    """Fit all constants from the bottom up: collectives, then what serving rows show.

    Parameters
    ----------
    rows
        Measured operating points.
    start
        Priors and bounds of the constants; the values of those that are fitted are forgotten.
    progress
        Called once for each evaluation of residuals.
    """
    check_rows(rows)
    collectives = calibrate_collectives(_at_priors(start), progress)
    serving = calibrate_serving(rows, collectives.file, progress)
    split = fit_split(serving.file, progress)
    checked = cross_validate(
        rows,
        [fold for fold in folds_of(rows, FOLDS) if fold],
        lambda kept: calibrate_serving(kept, serving.file, progress).file.calibration,
    )
    constants = split.file.constants | interval_constants(split.file, checked)
    return replace(
        serving,
        file=CalibrationFile(constants, coverage_of(rows), split.file.correlations),
        informed=collectives.informed | serving.informed | split.informed,
        evaluations=collectives.evaluations + serving.evaluations + split.evaluations,
    )


def check_rows(rows: Sequence[ServingRow]) -> None:
    """Refuse rows that no fit can be checked on.

    Raises
    ------
    InputError
        If the rows hold fewer than two configurations.
    """
    measured = ("tpot_ms", "tpot_median_ms", "iteration_ms", "tok_s_per_user")
    known = [row for row in rows if any(getattr(row, name) is not None for name in measured)]
    if not known:
        raise InputError(
            "rows: none holds a measurement of the time per token; fill one of "
            f"{', '.join(measured)}"
        )
    found = len({configuration_key(row) for row in known})
    if found < 2:
        raise InputError(
            "rows: one configuration is not enough to calibrate; give 2 or more, so that a fit can "
            "be checked on what it did not see"
        )


def interval_constants(file: CalibrationFile, checked: Validation) -> dict[str, Constant]:
    """Half-widths that hold 90 % of the cross-validated errors, by figure and class of row.

    A class with fewer than `ENOUGH` rows keeps its constant.
    """
    cases = [case_of(row) for row in checked.rows]
    kinds = np.array([interval_class(case) for case in cases])
    found = {}
    for name in INTERVALS:
        figure, kind = name.replace("_half_width", "").split(".")
        compared = checked.figures[figure]
        errors = compared.distance
        known = errors[(kinds == kind) & ~np.isnan(errors)]
        constant = file.constants[name]
        if known.size >= ENOUGH:
            width = float(np.clip(np.quantile(known, COVERED), constant.low, constant.high))
            constant = constant.model_copy(update={"value": width})
        found[name] = constant
    return found


def fit_exchange(
    start: CalibrationFile, rows: Sequence[AllToAllRow], progress: Progress | None = None
) -> Fit:
    """Fit the kernels of the all-to-all on measured latencies."""
    return fit_constants(start, ALL_TO_ALL, exchange_residuals(rows), progress=progress)


def fit_split(start: CalibrationFile, progress: Progress | None = None) -> Fit:
    """Fit what splitting FP4 experts costs on workers that prefill and decode, the rest given.

    The rows that set the rest have no such worker.
    """
    rows = [row for row in aggregated_rows() if row.precision == "fp4" and row.ep < row.gpus]
    return fit_constants(start, SPLIT, aggregated_residuals(rows), progress=progress)


def calibrate_collectives(start: CalibrationFile, progress: Progress | None = None) -> Fit:
    """Fit the collectives on the shipped latency tables."""
    exchange = fit_exchange(start, alltoall_rows(), progress)
    reduce = fit_constants(
        exchange.file, ALL_REDUCE, reduce_residuals(allreduce_rows()), progress=progress
    )
    return replace(
        reduce,
        informed=exchange.informed | reduce.informed,
        evaluations=exchange.evaluations + reduce.evaluations,
    )


def calibrate_serving(
    rows: Sequence[ServingRow],
    start: CalibrationFile,
    progress: Progress | None = None,
) -> Fit:
    """Fit step time and acceptance, then prefill and waiting, and both again with the other's help.

    In the first round prefill is taken as boundless, so that a poor start of its rate
    cannot starve the decode workers of the requests that they were measured with; its own fit then
    starts from a high rate, as one that is too low hides how TTFT depends on the rest.
    """
    deployments = deployments_of([case_of(row) for row in rows])
    seen = observations_of(rows)

    def step(calibration: Calibration) -> FloatArray:
        return step_residuals(deployments, seen, calibration)

    def boundless(calibration: Calibration) -> FloatArray:
        return step(calibration._replace(prefill_efficiency=1.0))

    def wait(calibration: Calibration) -> FloatArray:
        return wait_residuals(deployments, seen, calibration)

    names = step_names(start)
    file, informed, evaluations = start, dict[str, float](), 0
    for index in range(ROUNDS):
        from_afar = index == 0
        for chosen, residuals in ((names, boundless if from_afar else step), (PREFILL, wait)):
            if from_afar and "prefill_efficiency" in chosen:
                file = _with_fast_prefill(file)
            fit = fit_constants(file, chosen, residuals, progress=progress)
            file, evaluations = fit.file, evaluations + fit.evaluations
            informed |= fit.informed
    return Fit(file, informed, evaluations)


def _with_fast_prefill(file: CalibrationFile) -> CalibrationFile:
    """Start prefill at a multiple of its prior rate."""
    constant = file.constants["prefill_efficiency"]
    fast = constant.model_copy(update={"value": min(FAST * constant.prior, constant.high)})
    return file._replace(constants=file.constants | {"prefill_efficiency": fast})


def _at_priors(file: CalibrationFile) -> CalibrationFile:
    """Forget a fit: every constant that has a standard error goes back to its prior."""
    return file._replace(
        constants={
            name: constant
            if constant.standard_error is None
            else constant.model_copy(update={"value": constant.prior, "standard_error": None})
            for name, constant in file.constants.items()
        },
    )
