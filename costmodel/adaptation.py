"""An adaptation: a fit moved by a few rows of one's own, as far as these ask for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from costmodel.anchors import is_anchored
from costmodel.calibration import Anchor, Calibration, CalibrationFile, Constant
from costmodel.coverage import coverage_of, joined_coverage
from costmodel.deployments import case_of, deployments_of
from costmodel.deviations import base_name
from costmodel.drift import asked_drift, prior_covariance
from costmodel.fit import Fit, Progress, fit_constants, linearised
from costmodel.inputs import FloatArray
from costmodel.intervals import half_widths, interval_class
from costmodel.observations import (
    THROUGHPUT_SPREAD,
    TIME_SPREAD,
    WAIT_SPREAD,
    clustered_observations,
    configuration_key,
    step_residuals,
    wait_residuals,
)
from costmodel.own_anchors import anchors_of_rows
from costmodel.stages import (
    COVERED,
    ENGINE,
    FOLDS,
    INFORMED,
    INTERVALS,
    PREFILL,
    check_rows,
    fitted_names,
    step_names,
)
from costmodel.validation import Validation, cross_validate, folds_of, validate
from presets import ServingRow, serving_rows

LEAVE_ONE_OUT = 16  # rows up to which a user's configurations are left out one at a time
STEP_SCATTER = 0.93
"""Standard deviation of the shipped rows about the shipped fit, in the spreads that residuals of
the step are in, rows of a structure weighed as in `clustered_observations`. Rows that the model
misses by a third ran an exchange that it does not have, and say nothing of scatter. [1]"""

WAIT_SCATTER = 1.25
"""The same of residuals of waiting. [1]"""

MOVED = 5e-4
"""Change of a logarithm from which a constant counts as moved: what four digits show. [1]"""

SPREADS = {"tpot": TIME_SPREAD, "throughput": THROUGHPUT_SPREAD, "ttft": WAIT_SPREAD}
"""Error that is expected of a good row, by figure. [1]"""

ROUNDING = 5e-4
"""Rise of a mean error that no table shows. [1]"""


class Move(NamedTuple):
    """One constant that an adaptation moved."""

    name: str
    before: float
    after: float
    unit: str
    stage: str  # "step" where TPOT and acceptance moved it, "wait" where TTFT and throughput did
    pulls: FloatArray  # of each row on the logarithm: together the move, but at a bound


@dataclass(frozen=True)
class Adaptation:
    """A fit to a user's rows, with the errors on them before it and, left out, after it."""

    start: CalibrationFile
    fit: Fit
    drifts: dict[str, str]  # by stage, "step" and "wait": "none", "shared" or "own"
    before: Validation
    after: Validation  # each row by a fit that did not see its configuration
    shipped_before: Validation  # of the shipped rows
    shipped_after: Validation
    places: tuple[str, ...] = ()  # of the rows, such as "rows.csv, line 2", where known

    @property
    def verdict(self) -> Literal["better", "anchored", "unchanged", "worse"]:
        """What the rows left out say of the fit; "unchanged" where no constant or anchor moved.

        Of one configuration nothing is left out: "anchored".
        """
        if len({configuration_key(row) for row in self.before.rows}) == 1:
            return "anchored"
        if not self.moves and self.anchors == self.start.anchors:
            return "unchanged"
        return "worse" if self.worse else "better"

    @property
    def anchors(self) -> Mapping[str, Anchor]:
        """What the rows say of the level of what is like them, beside the constants."""
        return self.fit.file.anchors

    @property
    def moves(self) -> tuple[Move, ...]:
        """Constants that moved, most first; the widths of intervals are none."""
        found = []
        for name, constant in self.fit.file.constants.items():
            before = self.start.constants[name]
            if name in INTERVALS or abs(math.log(constant.value / before.value)) < MOVED:
                continue
            stage = "wait" if base_name(name) in PREFILL else "step"
            by_row = self.fit.pulls[name].reshape(-1, len(self.before.rows)).sum(axis=0)
            values = (before.value, constant.value)
            found.append(Move(name, *values, constant.unit, stage, by_row))
        return tuple(sorted(found, key=lambda move: -abs(math.log(move.after / move.before))))

    @property
    def change(self) -> float:
        """Mean change of the errors on rows left out, each figure in units of its spread [1]."""
        before, after = self.before.statistics(), self.after.statistics()
        changes = [
            (_error(after[name]) - _error(before[name])) / spread
            for name, spread in SPREADS.items()
            if before[name]["known"]
        ]
        return float(np.mean(changes))

    @property
    def worse(self) -> bool:
        """Whether rows left out are predicted worse: TPOT is, or all figures together are."""
        before, after = self.before.statistics()["tpot"], self.after.statistics()["tpot"]
        slower = _error(after) - _error(before) > ROUNDING
        return slower or self.change > ROUNDING / TIME_SPREAD


def adapt(
    rows: Sequence[ServingRow], start: CalibrationFile, progress: Progress | None = None
) -> Adaptation:
    """Fit a few rows of one's own: constants leave `start` only as far as the rows ask for it.

    The values of `start` become the priors, one joint normal with the correlations of that fit and
    the drift between clusters (`costmodel.drift`); collectives stay. Another engine release is one
    factor on the step. The errors of `start` and of the fit are compared on rows left out, one
    configuration at a time or folds of many, and on the shipped rows.

    Parameters
    ----------
    rows
        Measured operating points.
    start
        Fit to start from.
    progress
        Called once for each evaluation of residuals.

    Raises
    ------
    InputError
        If no row holds a measurement of the time per token.
    """
    check_rows(rows, least=1)
    before = validate(rows, start.calibration)
    if len({configuration_key(row) for row in rows}) > 1:
        fit, drifts, checked = _checked_fit(rows, start, progress)
        file = fit.file._replace(coverage=joined_coverage(start.coverage, coverage_of(rows)))
        constants = _told_by(rows, fit, start) | supported_intervals(file, checked)
        file = file._replace(constants=constants)
    else:  # nothing could check a fit
        fit, drifts, checked = Fit(start, {}, 0), {"step": "none", "wait": "none"}, before
        file = start._replace(
            coverage=joined_coverage(start.coverage, coverage_of(rows)),
            anchors=anchors_of_rows(rows, start.calibration),
        )
    return Adaptation(
        start=start,
        fit=replace(fit, file=file),
        drifts=drifts,
        before=before,
        after=checked,
        shipped_before=validate(serving_rows(), start.calibration),
        shipped_after=validate(serving_rows(), file.calibration),
    )


def _checked_fit(
    rows: Sequence[ServingRow], start: CalibrationFile, progress: Progress | None
) -> tuple[Fit, dict[str, str], Validation]:
    """Fit rows, and predict each by a fit that did not see its configuration.

    What the fit leaves of their level is kept as anchors, where rows left out are predicted no
    worse by those.
    """
    fit, drifts = fit_to(rows, start, progress)
    configurations = len({configuration_key(row) for row in rows})
    folds = folds_of(rows, configurations if configurations <= LEAVE_ONE_OUT else FOLDS)
    fits: list[Calibration] = []

    def plain(kept: Sequence[ServingRow]) -> Calibration:
        found = fit_to(kept, start, progress)[0].file.calibration
        fits.append(found._replace(anchors=anchors_of_rows(kept, found)))
        return found

    folds = [fold for fold in folds if fold]
    unanchored = cross_validate(rows, folds, plain)
    known = iter(fits)
    anchored = cross_validate(rows, folds, lambda _: next(known))
    errors = (each.statistics()["tpot"] for each in (anchored, unanchored))
    if _error(next(errors)) > _error(next(errors)):
        return fit, drifts, unanchored
    anchors = anchors_of_rows(rows, fit.file.calibration)
    return replace(fit, file=fit.file._replace(anchors=anchors)), drifts, anchored


def fit_to(
    rows: Sequence[ServingRow], start: CalibrationFile, progress: Progress | None = None
) -> tuple[Fit, dict[str, str]]:
    """Fit rows as far as they ask for it, without a look at any other row.

    Returns
    -------
    The fit, and how freely constants drift in each stage: "none" leaves all as they are.
    """
    deployments = deployments_of([case_of(row) for row in rows], start.anchors)
    seen = clustered_observations(rows)

    def step(calibration: Calibration) -> FloatArray:
        return step_residuals(deployments, seen, calibration) / STEP_SCATTER

    def wait(calibration: Calibration) -> FloatArray:
        return wait_residuals(deployments, seen, calibration) / WAIT_SCATTER

    fit, drifts = Fit(start._replace(constants=_as_priors(start)), {}, 0), {}
    stages = {
        "step": ((*step_names(start), *ENGINE), step),
        "wait": (fitted_names(start, PREFILL), wait),
    }
    for stage, (names, residuals) in stages.items():
        at, slopes = linearised(fit.file, names, residuals)
        drifts[stage] = asked_drift(start, names, at, slopes)
        if drifts[stage] == "none":
            continue
        felt = np.any(slopes != 0.0, axis=0)
        covariance = prior_covariance(start, names, drifts[stage], felt)
        new = fit_constants(fit.file, names, residuals, covariance=covariance, progress=progress)
        fit = Fit(
            new.file,
            fit.informed | new.informed,
            fit.evaluations + new.evaluations,
            fit.pulls | new.pulls,
        )
    constants = {
        name: constant.model_copy(update={"prior": start.constants[name].prior})
        for name, constant in fit.file.constants.items()
    }
    return replace(fit, file=fit.file._replace(constants=constants)), drifts


def supported_intervals(file: CalibrationFile, checked: Validation) -> dict[str, Constant]:
    """Half-widths that hold 90 % of the rows left out, and are never narrower than before.

    Parameters
    ----------
    file
        Intervals before, and the coverage that says how much wider each row's is.
    checked
        Predictions of rows left out.

    Returns
    -------
    By name. Each holds at least 90 % of the rows of its class, so that few rows are all held; rows
    that show less than the interval do not narrow it, as it holds for other machines too.
    """
    cases = [case_of(row) for row in checked.rows]
    kinds = np.array([interval_class(case, file.coverage) for case in cases])
    anchored = [is_anchored(case, file.anchors) for case in cases]
    widths = half_widths(cases, file.calibration, anchored)
    found = {}
    for name in INTERVALS:
        figure, kind = name.replace("_half_width", "").split(".")
        constant, compared = file.constants[name], checked.figures[figure]
        errors = compared.distance
        # An error counts as much less as its row's interval is wider for what lies outside.
        base = errors * constant.value / widths[figure]
        known = np.sort(base[(kinds == kind) & ~np.isnan(base)])
        if known.size:
            holding = known[math.ceil(COVERED * known.size) - 1]
            width = float(np.clip(holding, constant.value, constant.high))
            constant = constant.model_copy(update={"value": width})
        found[name] = constant
    return found


def _told_by(rows: Sequence[ServingRow], fit: Fit, start: CalibrationFile) -> dict[str, Constant]:
    """Say of each constant that rows informed which they were."""
    skus = ", ".join(sorted({row.sku for row in rows}))
    constants = dict(fit.file.constants)
    for name, share in fit.informed.items():
        if share > INFORMED:
            by = f"{start.constants[name].informed_by}, then {len(rows)} rows of {skus}"
            constants[name] = constants[name].model_copy(update={"informed_by": by})
    return constants


def _as_priors(file: CalibrationFile) -> dict[str, Constant]:
    """Take the values of a fit as what is known before more data."""
    return {
        name: constant.model_copy(update={"prior": constant.value})
        for name, constant in file.constants.items()
    }


def _error(statistics: Mapping[str, float | int | None]) -> float:
    """Mean absolute relative error; 0 where nothing was measured [1]."""
    return float(statistics["mape"] or 0.0)
