"""Calibration: constants from measurements, bottom up, held to physical bounds and priors.

First the collectives on their own latencies, then all that shows in serving: step time, acceptance,
prefill, queueing. Each constant is fitted as a logarithm with a prior, so that a constant which the
data do not inform stays where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile, calibration_of
from costmodel.correlation import correlation_of
from costmodel.inputs import FloatArray

Residuals = Callable[[Calibration], FloatArray]
"""From a calibration to residuals: ``(n,)``, or ``(p, n)`` for constants of shape ``(p, 1)``."""

Progress = Callable[[], None]

TOLERANCE = 1e-4  # relative change of the sum of squares at which a fit ends
STEP = 3e-3  # of the differences in log constants: far above how exactly the batch is solved for
ROBUST_SCALE = 1.5  # errors beyond so many standard deviations count linearly, not squared
LEAST_EIGENVALUE = 1e-6  # of a prior's correlations, which rounding may leave at or below zero


@dataclass(frozen=True)
class Fit:
    """Fitted constants and how well the data determine them."""

    file: CalibrationFile
    informed: dict[str, float]  # share of each prior's variance that the data removed, 0 to 1
    evaluations: int
    pulls: dict[str, FloatArray] = field(default_factory=dict)  # of each residual on a logarithm


def fit_constants(
    start: CalibrationFile,
    names: Sequence[str],
    residuals: Residuals,
    *,
    covariance: FloatArray | None = None,
    progress: Progress | None = None,
    maximum_evaluations: int = 40,
) -> Fit:
    """Fit some constants to residuals, each residual in units of its standard deviation.

    Parameters
    ----------
    start
        Where the fit starts: constants in ``names`` move within their bounds, held by their prior;
        the others stay.
    names
        Constants to fit.
    residuals
        From a calibration to residuals. [1]
    covariance
        Of the logarithms of these constants about their priors, positive definite; None takes them
        as independent, each as wide as its spread. [1]
    progress
        Called once for each evaluation of the residuals.
    maximum_evaluations
        Bound on the iterations of the solver.

    Returns
    -------
    All constants, with standard errors of the fitted ones and how these errors correlate. The pulls
    of the residuals on a constant add up to how far its logarithm lies from its prior, but for one
    that a bound stops.
    """
    from scipy.optimize import least_squares  # heavy, and only calibration needs it

    constants = start.constants
    if covariance is None:
        covariance = np.diag([constants[name].spread ** 2 for name in names])
    low = np.log([constants[name].low for name in names])
    high = np.log([constants[name].high for name in names])
    prior = np.log([constants[name].prior for name in names])
    spread = np.sqrt(np.diag(covariance))
    whiten = _whitening(covariance / np.outer(spread, spread))
    softened_residuals = _of_values(start, names, residuals)

    def objective(scores: FloatArray) -> FloatArray:
        if progress is not None:
            progress()
        logs = prior + spread * scores
        return np.concatenate([softened_residuals(np.exp(logs)), whiten @ scores])

    def slopes(scores: FloatArray) -> FloatArray:
        _, columns = _slopes(softened_residuals, prior + spread * scores, high)
        return np.concatenate([columns * spread, whiten])

    margin = 1e-6 * (high - low)
    first = np.log([constants[name].value for name in names])
    # In deviations from the prior a fit that starts there takes first steps of one deviation.
    solution = least_squares(
        objective,
        (np.clip(first, low + margin, high - margin) - prior) / spread,
        jac=slopes,
        bounds=((low - prior) / spread, (high - prior) / spread),
        max_nfev=maximum_evaluations,
        ftol=TOLERANCE,
    )
    jacobian = np.asarray(solution.jac) / spread
    found: FloatArray = np.asarray(np.linalg.inv(jacobian.T @ jacobian), dtype=np.float64)
    errors = np.sqrt(np.diag(found))
    fitted = dict(constants)
    for name, log, error in zip(names, prior + spread * solution.x, errors, strict=True):
        fitted[name] = constants[name].model_copy(
            update={
                "value": float(np.exp(log)),
                "standard_error": float(error),
                "date": date.today(),
            }
        )
    informed = dict(zip(names, (1.0 - (errors / spread) ** 2).tolist(), strict=True))
    # What each residual would have been at the prior, were it a straight line, times its leverage.
    seen, moved = jacobian[: len(jacobian) - len(names)], spread * solution.x
    at_prior = solution.fun[: len(seen)] - seen @ moved
    pulls = -found @ (seen * at_prior[:, np.newaxis]).T
    others = [one for one in start.correlations if not set(one.constants) & set(names)]
    correlations = (*others, correlation_of(tuple(names), found))
    file = start._replace(constants=fitted, correlations=correlations)
    by_name = dict(zip(names, pulls, strict=True))
    return Fit(file, informed, int(solution.nfev), by_name)


def linearised(
    start: CalibrationFile, names: Sequence[str], residuals: Residuals
) -> tuple[FloatArray, FloatArray]:
    """Softened residuals at `start`, ``(n,)``, and their slopes in the logarithms of `names` [1].

    The slopes have shape ``(n, p)``.
    """
    logs = np.log([start.constants[name].value for name in names])
    high = np.log([start.constants[name].high for name in names])
    return _slopes(_of_values(start, names, residuals), logs, high)


def _of_values(
    start: CalibrationFile, names: Sequence[str], residuals: Residuals
) -> Callable[[FloatArray], FloatArray]:
    """Softened residuals of the named constants: these along the first axis, points the others."""
    fixed = {name: item.value for name, item in start.constants.items()}

    def softened_residuals(values: FloatArray) -> FloatArray:
        moved = dict(zip(names, values, strict=True))
        return softened(residuals(calibration_of(fixed | moved, start.coverage)))

    return softened_residuals


def _slopes(
    softened_residuals: Callable[[FloatArray], FloatArray], logs: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Forward differences in all constants at once: each its own row of one evaluation."""
    steps = np.where(logs + STEP < high, STEP, -STEP)
    points = np.exp(logs[:, np.newaxis] + np.diag(steps))[:, :, np.newaxis]
    at = softened_residuals(np.exp(logs))
    moved = np.broadcast_to(softened_residuals(points), (len(logs), len(at)))
    return at, ((moved - at) / steps[:, np.newaxis]).T


def _whitening(correlation: FloatArray) -> FloatArray:
    """Matrix that makes scores of this correlation independent, shape ``(p, p)`` [1]."""
    values, vectors = np.linalg.eigh(correlation)
    return np.asarray((vectors / np.sqrt(np.maximum(values, LEAST_EIGENVALUE))).T)


def softened(residuals: FloatArray) -> FloatArray:
    """Residuals whose square grows linearly beyond `ROBUST_SCALE`: pseudo-Huber loss.

    >>> softened(np.array([0.0, 3.0])).round(3)
    array([0.   , 2.358])
    """
    scaled = residuals / ROBUST_SCALE
    loss = 2.0 * (np.sqrt(1.0 + scaled**2) - 1.0)
    return np.sign(residuals) * ROBUST_SCALE * np.sqrt(loss)
