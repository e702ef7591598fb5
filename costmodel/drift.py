"""How constants may differ between clusters: the prior of an adaptation, and what its rows ask for.

The prior is one joint normal of the logarithms. Its covariance is that of the fit before, with all
correlations, and the drift between clusters: one factor that the constants of a group share or,
where the rows ask for it, a factor of its own for each constant besides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from costmodel.calibration import CalibrationFile
from costmodel.inputs import BoolArray, FloatArray

DRIFT = 0.1
"""Standard deviation of the drift between clusters, of the logarithm of a factor. [1]"""

ACCEPTANCE_DRIFT = 0.03
"""The same of accepted drafts, which belong to model and text, not to the cluster. [1]"""

GROUPS: dict[str, tuple[str, ...]] = {
    "memory and GEMMs": (
        "hbm_efficiency",
        "cache_efficiency",
        "expert_efficiency",
        "dense_efficiency",
        "attention_efficiency",
    ),
    "fixed time": ("layer_time", "step_time", "request_time"),
    "links": ("exchange_factor", "all_reduce_factor", "normal_factor", "crossing_reduce_latency"),
    "drafts": ("acceptance",),
    "prefill": ("prefill_efficiency", "prefill_attention_efficiency"),
    "waiting": ("first_token_time", "prefill_wait"),
}
"""Constants that drift together from cluster to cluster; all others belong to kernels or model."""

ASKED = 3.0
"""Logarithm of the odds, 20 to 1, from which rows ask for a freer drift: strong evidence. [1]"""

DRIFTS = ("none", "shared", "own")
"""How constants drift: not at all, by one factor for each group, or each by its own besides."""


def prior_covariance(
    file: CalibrationFile, names: Sequence[str], drift: str, felt: BoolArray
) -> FloatArray:
    """Covariance of the logarithms of constants in another cluster, shape ``(p, p)`` [1].

    Parameters
    ----------
    file
        The fit before, with standard errors and correlations.
    names
        Constants, ``p`` of them.
    drift
        One of `DRIFTS`.
    felt
        Which constants the rows of that cluster feel; no other drifts.
    """
    covariance = fit_covariance(file, names)
    for members in GROUPS.values():
        shift = np.array([_drift_of(name) * (name in members) for name in names]) * felt
        covariance = covariance + np.outer(shift, shift)
        if drift == "own":
            covariance = covariance + np.diag(shift**2)
    return covariance


def fit_covariance(file: CalibrationFile, names: Sequence[str]) -> FloatArray:
    """Covariance of the logarithms that a fit left, shape ``(p, p)`` [1].

    A constant that was not fitted is as wide as its spread, alone.
    """
    constants = [file.constants[name] for name in names]
    errors = np.array(
        [one.spread if one.standard_error is None else one.standard_error for one in constants]
    )
    correlation = np.eye(len(names))
    for found in file.correlations:
        inside = [place for place, name in enumerate(found.constants) if name in names]
        at = [names.index(found.constants[place]) for place in inside]
        correlation[np.ix_(at, at)] = found.matrix[np.ix_(inside, inside)]
    return np.asarray(correlation * np.outer(errors, errors))


def evidence(residuals: FloatArray, slopes: FloatArray, covariance: FloatArray) -> float:
    """Logarithm of how likely residuals are where constants vary so, up to a constant [1].

    Residuals ``r`` of unit variance with slopes ``J`` are normal with covariance
    ``1 + J C J^T`` (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
    equation 2.30).

    >>> evidence(np.array([2.0]), np.array([[1.0]]), np.array([[0.0]]))
    -2.0
    """
    values, vectors = np.linalg.eigh(covariance)
    root = slopes @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    inner = np.eye(len(covariance)) + root.T @ root
    explained = root.T @ residuals
    square = residuals @ residuals - explained @ np.linalg.solve(inner, explained)
    return float(-0.5 * (square + np.linalg.slogdet(inner)[1]))


def asked_drift(
    file: CalibrationFile, names: Sequence[str], residuals: FloatArray, slopes: FloatArray
) -> str:
    """Freest drift that the rows ask for, each step with odds of `ASKED`: one of `DRIFTS`.

    Parameters
    ----------
    file
        The fit before.
    names
        Constants, ``p`` of them.
    residuals, slopes
        Of the rows at that fit, shapes ``(n,)`` and ``(n, p)``, in standard deviations. [1]
    """
    felt = np.any(slopes != 0.0, axis=0)
    odds = {DRIFTS[0]: -0.5 * float(residuals @ residuals)}
    for step, drift in enumerate(DRIFTS[1:], start=1):
        freer = evidence(residuals, slopes, prior_covariance(file, names, drift, felt))
        odds[drift] = freer - step * ASKED
    return max(odds, key=odds.__getitem__)


def _drift_of(name: str) -> float:
    return ACCEPTANCE_DRIFT if name.startswith("acceptance") else DRIFT
