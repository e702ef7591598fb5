"""How the errors of constants that were fitted together go with each other."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from costmodel.inputs import FloatArray
from presets.facts import Text

DIGITS = 4
"""Decimals that are kept: the shipped correlations stay positive definite, no eigenvalue below
0.002. [1]"""

NEGATIVE = -1e-3
"""Eigenvalue down to which rounding explains that a matrix is not positive definite. [1]"""

Share = Annotated[float, Field(strict=True, ge=-1, le=1)]


class Correlation(BaseModel):
    """Correlations of the logarithms of constants that one fit moved.

    Attributes
    ----------
    constants : tuple of str
        Names of the constants.
    below : tuple of tuple of float
        What of each row stands below the diagonal, the first row with nothing left out. [1]

    Examples
    --------
    >>> Correlation(constants=("step_time", "layer_time"), below=((-0.5,),)).matrix
    array([[ 1. , -0.5],
           [-0.5,  1. ]])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    constants: tuple[Text, ...] = Field(min_length=1)
    below: tuple[tuple[Share, ...], ...]

    @model_validator(mode="after")
    def _is_a_correlation(self) -> Self:
        if len(set(self.constants)) < len(self.constants):
            raise ValueError("constants names one twice; each stands once")
        lengths = [len(row) for row in self.below]
        if lengths != list(range(1, len(self.constants))):
            raise ValueError(
                f"below has rows of {lengths} values; {len(self.constants)} constants need "
                f"{list(range(1, len(self.constants)))}"
            )
        if np.linalg.eigvalsh(self.matrix)[0] < NEGATIVE:
            raise ValueError("below is no correlation: some combination would vary less than zero")
        return self

    @property
    def matrix(self) -> FloatArray:
        """Whole symmetric matrix, shape ``(n, n)`` [1]."""
        matrix = np.eye(len(self.constants))
        for place, row in enumerate(self.below, start=1):
            matrix[place, :place] = matrix[:place, place] = row
        return matrix

    @property
    def root(self) -> FloatArray:
        """Matrix that gives independent normal draws this correlation, shape ``(n, n)`` [1]."""
        values, vectors = np.linalg.eigh(self.matrix)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def correlation_of(names: tuple[str, ...], covariance: FloatArray) -> Correlation:
    """Correlations of a covariance matrix, rounded to `DIGITS`."""
    errors = np.sqrt(np.diag(covariance))
    matrix = np.clip(np.round(covariance / np.outer(errors, errors), DIGITS), -1.0, 1.0)
    below = tuple(tuple(matrix[place, :place].tolist()) for place in range(1, len(names)))
    return Correlation(constants=names, below=below)
