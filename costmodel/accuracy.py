"""How right the model is: cross-validated, a machine or a kind of rows left out, rows published.

Each figure comes from fits that never saw what they predict; see ``docs/accuracy.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile
from costmodel.coverage import coverage_of
from costmodel.deployments import case_of
from costmodel.latencies import LATENCY_SPREAD, exchange_kernel, exchange_residuals
from costmodel.stages import (
    FOLDS,
    calibrate_collectives,
    calibrate_serving,
    fit_exchange,
)
from costmodel.validation import (
    Validation,
    folds_of,
    serving_row_of,
    validate,
    validation_of,
    without_twins,
)
from presets import PublishedRow, ServingRow, alltoall_rows, load_hardware


def _in_one_domain(row: ServingRow) -> bool:
    """Tell whether decode workers stay in one NVLink domain."""
    return row.decode_gpus_per_worker <= load_hardware(row.sku).gpus_per_domain.value


KINDS: dict[str, Callable[[ServingRow], bool]] = {
    "1024 tokens in": lambda row: row.isl == 1024,
    "8192 tokens in": lambda row: row.isl == 8192,
    "batch 7 or less": lambda row: row.max_batch < 8,
    "batch 65 or more": lambda row: row.max_batch > 64,
    "batch 257 or more": lambda row: row.max_batch > 256,
    "EP 16 or more in a domain": lambda row: row.decode_ep >= 16 and _in_one_domain(row),
    "drafts": lambda row: row.mtp_depth > 0,
    "fp4": lambda row: row.precision == "fp4",
    "attention dp": lambda row: row.decode_attention == "dp",
    "attention tp": lambda row: row.decode_attention == "tp",
}
"""Kinds of rows that are left out of a fit, to see how far the model carries beyond its data."""


@dataclass(frozen=True)
class Accuracy:
    """Errors of predictions by fits that never saw the rows they predict."""

    cross_validated: Validation  # the serving rows, in folds
    machine_left_out: dict[str, Validation]  # each machine by a fit on the others
    kind_left_out: dict[str, Validation]  # each of `KINDS` by a fit on the others
    published: Validation  # the published rows, without their twins
    published_cross_validated: Validation  # the same rows, in folds among all
    width_left_out: dict[str, dict[int, float]]  # of all-to-all latencies, by kernel and EP width


def measure_accuracy(
    rows: Sequence[ServingRow],
    published: Sequence[PublishedRow],
    start: CalibrationFile,
    progress: Callable[[], None] | None = None,
) -> Accuracy:
    """Fit and predict for each figure; fits run side by side on all processors.

    Parameters
    ----------
    rows
        Measured operating points.
    published
        Published rows, whose configurations may also stand among `rows`.
    start
        Constants to start from, with their priors.
    progress
        Called after each of `count_fits` fits.
    """
    start = calibrate_collectives(start).file
    held_out = [serving_row_of(row) for row in published]
    together = [*rows, *held_out]
    folds, folds_together = folds_of(rows, FOLDS), folds_of(together, FOLDS)
    machines = sorted({row.sku for row in rows})
    groups = [[row for row in rows if row.sku == sku] for sku in machines]
    groups += [[row for row in rows if is_of_kind(row)] for is_of_kind in KINDS.values()]
    data = [_without(rows, fold) for fold in folds]
    data += [without_twins(rows, group) for group in (*groups, held_out)]
    data += [_without(together, fold) for fold in folds_together]
    fitted = _fit_all(data, start, progress)
    of_groups = fitted[len(folds) :]
    left_out = dict(
        zip((*machines, *KINDS), map(validate, groups, of_groups[: len(groups)]), strict=True)
    )
    return Accuracy(
        cross_validated=_validated(rows, folds, fitted[: len(folds)]),
        machine_left_out={sku: left_out[sku] for sku in machines},
        kind_left_out={kind: left_out[kind] for kind in KINDS},
        published=validate(held_out, of_groups[len(groups)]),
        published_cross_validated=_validated(
            together, folds_together, of_groups[len(groups) + 1 :]
        ).of(range(len(rows), len(together))),
        width_left_out=_widths(start),
    )


def count_fits(rows: Sequence[ServingRow]) -> int:
    """How many fits `measure_accuracy` makes."""
    return 2 * FOLDS + len({row.sku for row in rows}) + len(KINDS) + 1


def _without(rows: Sequence[ServingRow], fold: Sequence[int]) -> list[ServingRow]:
    held_out = set(fold)
    return [row for index, row in enumerate(rows) if index not in held_out]


def _fit(job: tuple[Sequence[ServingRow], CalibrationFile]) -> Calibration:
    rows, start = job
    return calibrate_serving(rows, start).file.calibration._replace(coverage=coverage_of(rows))


def _fit_all(
    data: Sequence[Sequence[ServingRow]],
    start: CalibrationFile,
    progress: Callable[[], None] | None,
) -> list[Calibration]:
    fitted = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for calibration in pool.map(_fit, [(rows, start) for rows in data]):
            fitted.append(calibration)
            if progress is not None:
                progress()
    return fitted


def _validated(
    rows: Sequence[ServingRow], folds: Sequence[Sequence[int]], fitted: Sequence[Calibration]
) -> Validation:
    which = np.zeros(len(rows), dtype=np.intp)
    for number, fold in enumerate(folds):
        which[list(fold)] = number
    return validation_of(rows, [case_of(row) for row in rows], fitted, which)


def _widths(start: CalibrationFile) -> dict[str, dict[int, float]]:
    """Mean absolute relative error by kernel and EP width, each by a fit on the other widths."""
    rows = alltoall_rows()
    errors: dict[str, dict[int, float]] = {exchange_kernel(row): {} for row in rows}
    for width in sorted({row.ep for row in rows}):
        left_out = [row for row in rows if row.ep == width]
        fitted = fit_exchange(start, [row for row in rows if row.ep != width])
        logs = exchange_residuals(left_out)(fitted.file.calibration) * LATENCY_SPREAD
        kernels = np.array([exchange_kernel(row) for row in left_out])
        for kernel in set(kernels.tolist()):
            found = np.abs(np.expm1(logs[kernels == kernel]))
            errors[kernel][width] = float(found.mean())
    return errors
