"""Constants drawn from what the fit leaves uncertain about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from costmodel.calibration import Calibration, CalibrationFile, calibration_of, constants_of
from costmodel.inputs import FloatArray


def draw_constants(file: CalibrationFile, draws: int, seed: int) -> dict[str, FloatArray]:
    """Draw constants from their uncertainty.

    Parameters
    ----------
    file
        Values, standard errors of the logarithm, bounds and, where it has them, correlations.
    draws
        How many. [1]
    seed
        The same seed gives the same draws.

    Returns
    -------
    Arrays of shape ``(draws, 1)`` by name of the constant, for each that has a standard error.

    Notes
    -----
    Logarithms are normal. Constants fitted together go together as their correlations say; those
    of different fits, and of a file without correlations, are drawn independently, which spreads
    predictions two to three times as wide. A draw beyond a physical bound is put on the bound.
    """
    # Normal draws in the order of the names: a constant more elsewhere changes nothing here.
    names = [name for name, constant in file.constants.items() if constant.standard_error]
    normal = np.random.default_rng(seed).standard_normal((len(names), draws))
    rows = dict(zip(names, normal, strict=True))
    for correlation in file.correlations:
        # A constant without a standard error stays: what it would be drawn as does not matter.
        independent = np.array([rows.get(name, np.zeros(draws)) for name in correlation.constants])
        rows |= dict(zip(correlation.constants, correlation.root @ independent, strict=True))
    return {name: _moved(file, name, rows[name])[:, np.newaxis] for name in names}


def drawn(file: CalibrationFile, constants: dict[str, FloatArray]) -> Calibration:
    """Calibration of all draws at once: each drawn constant an array of shape ``(draws, 1)``."""
    return _with(file.calibration, constants)


def single(file: CalibrationFile, constants: dict[str, FloatArray], draw: int) -> Calibration:
    """Calibration of one draw, plain numbers."""
    values = {name: float(column[draw, 0]) for name, column in constants.items()}
    return _with(file.calibration, values)


def _with(fitted: Calibration, values: Mapping[str, Any]) -> Calibration:
    """Put values in place of some constants; anchors stay."""
    moved = calibration_of({**constants_of(fitted), **values}, fitted.coverage)
    return moved._replace(anchors=fitted.anchors)


def _moved(file: CalibrationFile, name: str, normal: FloatArray) -> FloatArray:
    constant = file.constants[name]
    error = constant.standard_error or 0.0
    return np.clip(constant.value * np.exp(error * normal), constant.low, constant.high)
