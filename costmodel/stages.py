"""Stages of a calibration: which constants each data set sets, in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from costmodel.calibration import KERNELS, Calibration, CalibrationFile, Constant
from costmodel.calibration_file import CORPUS
from costmodel.coverage import ENOUGH, coverage_of
from costmodel.deployments import Deployments, case_of, deployments_of
from costmodel.deviations import base_name
from costmodel.fit import Fit, Progress, fit_constants
from costmodel.inputs import FloatArray
from costmodel.intervals import interval_class
from costmodel.latencies import exchange_residuals, reduce_residuals
from costmodel.observations import (
    Observations,
    configuration_key,
    decode_residuals,
    observations_of,
    step_residuals,
    wait_residuals,
)
from costmodel.runs import is_early
from costmodel.validation import Validation, cross_validate, folds_of
from costmodel.workload import REFERENCE_LENGTH
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
ALL_REDUCE = ("all_reduce_launch", "two_shot_latency")
ALL_TO_ALL = (
    "link_efficiency",
    "deepep_latency",
    *(
        f"{name}.{part}"
        for name, kernel in KERNELS.items()
        for part in kernel._fields
        if name != "gather"
    ),
)
INTERVALS = tuple(
    f"{figure}_half_width.{kind}"
    for figure in ("tpot", "ttft", "throughput")
    for kind in ("fp4", "fp8", "crossing", "aggregated", "corpus", "corpus_aggregated")
)
SPLIT = ("split_tile_time",)
SPLIT_USERS = 16  # most users of the rows that set it: with few, expert weights are most of a step
MIXED_WAIT = ("mixed_rank_steps", "mixed_steps", "mixed_first_token_time")
MIXED = ("mixed_prefill", "mixed_fixed_share", "mixed_expert_ranks", "early_release")
ENGINE = ("engine_factor",)  # only a user's rows set it: the shipped ones define it as 1
NOT_FITTED = (
    *ENGINE,
    "acceptance_output",
    "attention_tile",
    "kernel_path_latency",
    "low_latency_factor",
    *(f"gather.{part}" for part in KERNELS["gather"]._fields),
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
    others = {*PREFILL, *ALL_REDUCE, *ALL_TO_ALL, *SPLIT, *MIXED, *MIXED_WAIT, *NOT_FITTED}
    return fitted_names(start, [name for name in start.constants if name not in others])


def fitted_names(start: CalibrationFile, constants: Sequence[str]) -> tuple[str, ...]:
    """Names of some constants and of their deviations, but for assumed ones and the corpus's."""
    return tuple(
        name
        for name, constant in start.constants.items()
        if base_name(name) in constants
        and ("[" not in name or constant.kind == "calibrated")
        and constant.informed_by != CORPUS
    )


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
    two = [row for row in rows if row.serving == "disaggregated"]
    one = [row for row in rows if row.serving == "aggregated"] or [*aggregated_rows()]
    check_rows(two)
    collectives = calibrate_collectives(_at_priors(start), progress)
    serving = calibrate_serving(two, collectives.file, progress)
    split = fit_split(serving.file, progress)
    mixed = fit_mixed(split.file, one, progress)
    checked = cross_validate(
        two,
        [fold for fold in folds_of(two, FOLDS) if fold],
        lambda kept: calibrate_serving(kept, serving.file, progress).file.calibration,
    )
    coverage = coverage_of([*two, *one]).model_copy(update={"corpus": start.coverage.corpus})
    file = mixed.file._replace(coverage=coverage)
    constants = interval_constants(file, checked) | aggregated_intervals(file, one, progress)
    return replace(
        joined(collectives, serving, split, mixed),
        file=file._replace(constants=file.constants | constants),
    )


def joined(*fits: Fit) -> Fit:
    """Join fits that each started from the one before: the last file, what all tell of."""
    informed = {name: share for fit in fits for name, share in fit.informed.items()}
    return replace(
        fits[-1],
        informed=informed,
        evaluations=sum(fit.evaluations for fit in fits),
        pulls={},  # of rows of several tables
    )


def check_rows(rows: Sequence[ServingRow], least: int = 2) -> None:
    """Refuse rows that no fit can be checked on.

    Raises
    ------
    InputError
        If the rows hold fewer than `least` configurations.
    """
    measured = ("tpot_ms", "tpot_median_ms", "iteration_ms", "tok_s_per_user")
    known = [row for row in rows if any(getattr(row, name) is not None for name in measured)]
    if not known:
        raise InputError(
            "rows: none holds a measurement of the time per token; fill one of "
            f"{', '.join(measured)}"
        )
    found = len({configuration_key(row) for row in known})
    if found < least:
        raise InputError(
            "rows: one configuration is not enough to calibrate; give 2 or more, so that a fit can "
            "be checked on what it did not see"
        )


def interval_constants(file: CalibrationFile, checked: Validation) -> dict[str, Constant]:
    """Half-widths that hold 90 % of the cross-validated errors, by figure and class of row.

    A class with fewer than `ENOUGH` rows keeps its constant.
    """
    cases = [case_of(row) for row in checked.rows]
    kinds = np.array([interval_class(case, file.coverage) for case in cases])
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


def aggregated_intervals(
    file: CalibrationFile, rows: Sequence[ServingRow], progress: Progress | None = None
) -> dict[str, Constant]:
    """Half-widths of workers that prefill and decode, from cross-validated errors on rows."""
    checked = cross_validate(
        rows,
        [fold for fold in folds_of(rows, FOLDS) if fold],
        lambda kept: fit_mixed(file, kept, progress).file.calibration,
    )
    found = interval_constants(file, checked)
    return {name: constant for name, constant in found.items() if name.endswith(".aggregated")}


def fit_exchange(
    start: CalibrationFile, rows: Sequence[AllToAllRow], progress: Progress | None = None
) -> Fit:
    """Fit the kernels of the all-to-all on measured latencies."""
    return fit_constants(
        start, fitted_names(start, ALL_TO_ALL), exchange_residuals(rows), progress=progress
    )


def fit_split(start: CalibrationFile, progress: Progress | None = None) -> Fit:
    """Fit what splitting FP4 experts costs on workers that prefill and decode, the rest given.

    The rows that set the rest have no such worker. Prefill, 3 % of TPOT at most in these rows, is
    taken to lengthen steps by its work alone: what it does is fitted after this, from all rows.
    """
    rows = [row for row in aggregated_rows() if _tells_of_split_experts(row)]
    deployments, requests, seen = _decode_of(rows)

    def residuals(calibration: Calibration) -> FloatArray:
        calibration = calibration._replace(mixed_prefill=1.0, mixed_fixed_share=0.0)
        return decode_residuals(deployments, requests, seen, calibration)

    return fit_constants(start, fitted_names(start, SPLIT), residuals, progress=progress)


def fit_mixed(
    start: CalibrationFile, rows: Sequence[ServingRow], progress: Progress | None = None
) -> Fit:
    """Fit what prefill does to decode in the same worker, all other constants given.

    First the steps of rows, at the requests that were in decode, then how long requests wait.
    """
    deployments, requests, seen = _decode_of(rows)

    def step(calibration: Calibration) -> FloatArray:
        return decode_residuals(deployments, requests, seen, calibration)

    def wait(calibration: Calibration) -> FloatArray:
        return wait_residuals(deployments, seen, calibration)

    fit = fit_constants(start, fitted_names(start, MIXED), step, progress=progress)
    waiting = fit_constants(fit.file, fitted_names(fit.file, MIXED_WAIT), wait, progress=progress)
    return joined(fit, waiting)


def _tells_of_split_experts(row: ServingRow) -> bool:
    """Whether a row is of FP4 experts split over GPUs, short inputs and few users."""
    few = row.isl <= REFERENCE_LENGTH and row.concurrency <= SPLIT_USERS
    early = is_early(row.framework or "", row.framework_version, row.date)
    return (
        row.precision == "fp4" and row.decode_ep < row.decode_gpus_per_worker and few and not early
    )


def _decode_of(
    rows: Sequence[ServingRow],
) -> tuple[Deployments, FloatArray, Observations]:
    """Rows as arrays, with the requests in decode: all users where these are not known."""
    requests = np.array([row.requests_in_decode or float(row.concurrency) for row in rows])
    return deployments_of([case_of(row) for row in rows]), requests, observations_of(rows)


def calibrate_collectives(start: CalibrationFile, progress: Progress | None = None) -> Fit:
    """Fit the collectives on the shipped latency tables."""
    exchange = fit_exchange(start, alltoall_rows(), progress)
    reduce = fit_constants(
        exchange.file,
        fitted_names(exchange.file, ALL_REDUCE),
        reduce_residuals(allreduce_rows()),
        progress=progress,
    )
    return joined(exchange, reduce)


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

    names, waits = step_names(start), fitted_names(start, PREFILL)
    file, informed, evaluations = start, dict[str, float](), 0
    for index in range(ROUNDS):
        from_afar = index == 0
        for chosen, residuals in ((names, boundless if from_afar else step), (waits, wait)):
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
            if constant.standard_error is None or constant.informed_by == CORPUS
            else constant.model_copy(update={"value": constant.prior, "standard_error": None})
            for name, constant in file.constants.items()
        },
    )
