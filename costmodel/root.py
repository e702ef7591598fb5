"""Roots of increasing functions, many at once."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType

import numpy as np

from costmodel.inputs import BoolArray, FloatArray, IntArray

Function = Callable[[FloatArray], FloatArray]
Part = Callable[[IntArray], Function]

WIDTH = 1e-8
"""Width of the bracket at which the search for a root ends. [1]"""

HEIGHT = 1e-9
"""How far below zero a value may be at a root. [1]"""

SLACK = 5.0
"""Steps that the search may take beyond those of bisection: chords need room to turn. [1]"""

PERIOD = 12
"""Steps after which that room is given anew, for a bracket that has become a narrow one. [1]"""

FAR = 1e3
"""Stands for infinite values of a function, so that a chord can be drawn. [1]"""

TRUNCATION = 0.001
"""How far a chord's root is moved to the middle, times the width of the bracket squared. [1]"""

FEW, SMALL = 0.25, 25
"""The last entries are looked for alone once they are no more than this share of all, less so
many: to evaluate a few takes as long as to evaluate one. [1]"""


def last_below(
    function: Function,
    low: FloatArray,
    high: FloatArray,
    part: Part | None = None,
    guess: FloatArray | None = None,
) -> FloatArray:
    """Largest point at which an increasing function does not exceed zero.

    The answer lies below it by `WIDTH` at most, or its value is within `HEIGHT` of zero.

    Parameters
    ----------
    function
        Of arrays of the brackets' shape; may be infinite. NaN counts as above zero.
    low, high
        Where it lies. Where the function is above zero at `low` too, that is the answer.
    part
        Gives the function of some entries alone, by their places: the last are looked for so.
    guess
        Where the function is probably not above zero yet.

    Examples
    --------
    >>> float(last_below(lambda x: x**3 - 2.0, np.zeros(()), 2.0 * np.ones(())).round(6))
    1.259921
    """
    return enclosed(function, low, high, WIDTH, part, guess)[0]


def enclosed(
    function: Function,
    low: FloatArray,
    high: FloatArray,
    width: float,
    part: Part | None = None,
    guess: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Bracket the answer of `last_below` more narrowly: to `width`, or to the answer itself.

    Notes
    -----
    Interpolate, truncate, project (I. F. D. Oliveira, R. H. C. Takahashi, ACM Trans. Math. Softw.
    47, 2020): a chord, that of the Illinois method, where it helps, and in every `PERIOD` at most
    `SLACK` steps more than bisection where it does not, as at a jump.

    Examples
    --------
    >>> low, high = enclosed(lambda x: x**3 - 2.0, np.zeros(()), 2.0 * np.ones(()), 0.1)
    >>> bool(low <= 2.0 ** (1.0 / 3.0) <= high <= low + 0.1)
    True
    """
    start, above = low if guess is None else guess, _bounded(function(high))
    below = _bounded(function(start))
    if guess is not None and np.any(wrong := below > 0.0):
        high, above = np.where(wrong, guess, high), np.where(wrong, below, above)
        start = np.where(wrong, low, guess)
        below = np.where(wrong, _bounded(function(start)), below)
    brackets = _Brackets(start, high, below, above)
    found = brackets.low.copy(), brackets.high.copy()
    places: IntArray | EllipsisType = ...
    step = 0
    while True:
        sought = brackets.sought(width)
        found[0][places], found[1][places] = brackets.ends()
        if not sought.any():
            return found
        if part is not None and sought.ndim == 1 and sought.sum() <= FEW * len(sought) - SMALL:
            some = np.flatnonzero(sought)
            places = some if isinstance(places, EllipsisType) else places[some]
            brackets.keep(some)
            function, sought = part(places), sought[some]
        if step % PERIOD == 0:
            brackets.start(width)
        point = brackets.point()
        brackets.move(point, _bounded(function(point)), sought)
        step += 1


class _Brackets:
    """Ends of the brackets, the values there, and what chords need to know of earlier steps."""

    def __init__(
        self, low: FloatArray, high: FloatArray, below: FloatArray, above: FloatArray
    ) -> None:
        self.low, self.high = np.where(above <= 0.0, high, low), np.where(below > 0.0, low, high)
        self.below, self.above = below, above
        self.fitted = self.exceeded = np.zeros(self.low.shape, dtype=np.bool_)
        self.pull_low = self.pull_high = self.reach = np.ones(self.low.shape)

    def sought(self, width: float) -> BoolArray:
        """Tell which are wider, their roots unknown."""
        return np.asarray((self.high - self.low > width) & (self.below < -HEIGHT))

    def ends(self) -> tuple[FloatArray, FloatArray]:
        """Both ends; a root that is known is both."""
        return self.low, np.where(self.below < -HEIGHT, self.high, self.low)

    def keep(self, index: IntArray) -> None:
        """Keep the chosen ones."""
        for name, values in vars(self).items():
            setattr(self, name, values[index])

    def start(self, width: float) -> None:
        """Give room to turn: how far from the middle points may lie, halved by every step."""
        bisections = np.ceil(np.log2(np.maximum(self.high - self.low, width) / width))
        self.reach = width * 2.0 ** (bisections + SLACK - 1.0)

    def point(self) -> FloatArray:
        """Where to look next: a chord's root, moved towards the middle, and no farther from it."""
        width, middle = self.high - self.low, 0.5 * (self.low + self.high)
        down, up = self.pull_low * self.below, self.pull_high * self.above
        chord = self.low + width * np.clip(down / np.minimum(down - up, -1e-300), 0.0, 1.0)
        inwards = np.minimum(TRUNCATION * width**2, np.abs(middle - chord))
        point = chord + np.sign(middle - chord) * inwards
        reach = self.reach - 0.5 * width
        return np.asarray(np.clip(point, middle - reach, middle + reach))

    def move(self, point: FloatArray, value: FloatArray, sought: BoolArray) -> None:
        """Put the ends of those sought where the function was evaluated.

        The others stay, so that each entry is what it would be alone.
        """
        fits, exceeds = sought & (value <= 0.0), sought & (value > 0.0)
        self.low, self.below = np.where(fits, point, self.low), np.where(fits, value, self.below)
        self.high = np.where(exceeds, point, self.high)
        self.above = np.where(exceeds, value, self.above)
        # An end that stays twice counts half in the next chord, which else creeps up from one side.
        self.pull_low = np.where(exceeds & self.exceeded, 0.5 * self.pull_low, 1.0)
        self.pull_high = np.where(fits & self.fitted, 0.5 * self.pull_high, 1.0)
        self.fitted, self.exceeded = fits, exceeds
        self.reach = 0.5 * self.reach


def _bounded(values: FloatArray) -> FloatArray:
    return np.clip(np.nan_to_num(values, nan=FAR), -FAR, FAR)
