"""How right the model is: cross-validated, a machine left out, and the published rows unseen.

Each figure comes from fits that never saw what they predict; see ``docs/accuracy.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

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
from presets import PublishedRow, ServingRow, alltoall_rows


@dataclass(frozen=True)
class Accuracy:
    """Errors of predictions by fits that never saw the rows they predict."""

    cross_validated: Validation  # the serving rows, in folds
    machine_left_out: dict[str, Validation]  # each machine by a fit on the others
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
    data = [_without(rows, fold) for fold in folds]
    data += [[row for row in rows if row.sku != sku] for sku in machines]
    data += [without_twins(rows, held_out)]
    data += [_without(together, fold) for fold in folds_together]
    fitted = _fit_all(data, start, progress)
    first, second = len(folds), len(folds) + len(machines)
    return Accuracy(
        cross_validated=_validated(rows, folds, fitted[:first]),
        machine_left_out={
            sku: validate([row for row in rows if row.sku == sku], calibration)
            for sku, calibration in zip(machines, fitted[first:second], strict=True)
        },
        published=validate(held_out, fitted[second]),
        published_cross_validated=_validated(together, folds_together, fitted[second + 1 :]).of(
            range(len(rows), len(together))
        ),
        width_left_out=_widths(start),
    )


def count_fits(rows: Sequence[ServingRow]) -> int:
    """How many fits `measure_accuracy` makes."""
    return 2 * FOLDS + len({row.sku for row in rows}) + 1


def _without(rows: Sequence[ServingRow], fold: Sequence[int]) -> list[ServingRow]:
    held_out = set(fold)
    return [row for index, row in enumerate(rows) if index not in held_out]


def _fit(job: tuple[Sequence[ServingRow], CalibrationFile]) -> Calibration:
    rows, start = job
    return replace(calibrate_serving(rows, start).file.calibration, coverage=coverage_of(rows))


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
