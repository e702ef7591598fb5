"""Roots of increasing functions, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from costmodel.inputs import FloatArray

WIDTH = 1e-7
"""Width of the bracket at which the search for a root ends. [1]"""

HEIGHT = 1e-9
"""How far below zero a value may be at a root. [1]"""

SLACK = 5.0
"""Steps that the search may take beyond those of bisection: chords need room to turn. [1]"""

FAR = 1e3
"""Stands for infinite values of a function, so that a chord can be drawn. [1]"""

TRUNCATION = 0.2
"""How far a chord's root is moved to the middle, times the width of the bracket squared over the
first width. [1]"""


def last_below(
    function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """Largest point at which an increasing function does not exceed zero.

    The answer lies below it by `WIDTH` at most, or its value is within `HEIGHT` of zero.

    Parameters
    ----------
    function
        Of arrays of the brackets' shape; may be infinite. NaN counts as above zero.
    low, high
        Where it lies. Where the function is above zero at `low` too, that is the answer.

    Examples
    --------
    >>> float(last_below(lambda x: x**3 - 2.0, np.zeros(()), 2.0 * np.ones(())).round(6))
    1.259921
    """
    return enclosed(function, low, high, WIDTH)[0]


def enclosed(
    function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray, width: float
) -> tuple[FloatArray, FloatArray]:
    """Bracket the answer of `last_below` more narrowly: to `width`, or to the answer itself.

    Notes
    -----
    Interpolate, truncate, project (I. F. D. Oliveira, R. H. C. Takahashi, ACM Trans. Math. Softw.
    47, 2020): a chord, that of the Illinois method, where it helps, and at most `SLACK` steps more
    than bisection where it does not, as at a jump.

    Examples
    --------
    >>> low, high = enclosed(lambda x: x**3 - 2.0, np.zeros(()), 2.0 * np.ones(()), 0.1)
    >>> bool(low <= 2.0 ** (1.0 / 3.0) <= high <= low + 0.1)
    True
    """

    def bounded(point: FloatArray) -> FloatArray:
        return np.clip(np.nan_to_num(function(point), nan=FAR), -FAR, FAR)

    below, above = bounded(low), bounded(high)
    first = np.maximum(high - low, width)
    # How far from the middle a point may lie, so that bisection would end `SLACK` steps earlier.
    reach = width * 2.0 ** (np.ceil(np.log2(first / width)) + SLACK - 1.0)
    low, high = np.where(above <= 0.0, high, low), np.where(below > 0.0, low, high)
    fitted = exceeded = np.zeros(np.shape(first), dtype=np.bool_)
    pull_low = pull_high = np.ones(np.shape(first))
    while np.any(sought := (high - low > width) & (below < -HEIGHT)):
        wide = high - low
        middle = 0.5 * (low + high)
        down, up = pull_low * below, pull_high * above
        chord = low + wide * np.clip(down / np.minimum(down - up, -1e-300), 0.0, 1.0)
        inwards = np.minimum(TRUNCATION * wide**2 / first, np.abs(middle - chord))
        point = chord + np.sign(middle - chord) * inwards
        point = np.clip(point, middle - (reach - 0.5 * wide), middle + (reach - 0.5 * wide))
        reach = 0.5 * reach
        value = bounded(point)
        # Entries that are found stay, so that each is what it would be alone.
        fits, exceeds = sought & (value <= 0.0), sought & (value > 0.0)
        low, below = np.where(fits, point, low), np.where(fits, value, below)
        high, above = np.where(exceeds, point, high), np.where(exceeds, value, above)
        # An end that stays twice counts half in the next chord, which else creeps up from one side.
        pull_low = np.where(exceeds & exceeded, 0.5 * pull_low, 1.0)
        pull_high = np.where(fits & fitted, 0.5 * pull_high, 1.0)
        fitted, exceeded = fits, exceeds
    return low, np.where(below < -HEIGHT, high, low)
