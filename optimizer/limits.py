"""What an answer must meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from presets import InputError
from presets.errors import shown

LARGEST_COUNT = 1_000_000

HIGHEST_CONFIDENCE = 0.999
"""Beyond it the tail of the errors was not measured. [1]"""


@dataclass(frozen=True)
class Limits:
    """What an answer must meet.

    Attributes
    ----------
    target : float
        Interactivity at or above which every user is served. [token/s]
    max_gpus : int
        [GPU]
    max_ttft : float or None
        Longest mean time to first token. [s]
    concurrency : int or None
        Users that the deployment serves at once; None takes as many as fill its slots. [1]
    min_confidence : float or None
        Probability with which the target is met, by the interval of the prediction; None asks the
        median to meet it. [1]

    within_data : bool
        Whether only deployments inside the data of the calibration are looked at.

    Examples
    --------
    >>> Limits(125, max_ttft=2.0).max_gpus
    72
    """

    target: float
    max_gpus: int = 72
    max_ttft: float | None = None
    concurrency: int | None = None
    min_confidence: float | None = None
    within_data: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        check_positive("target", self.target, "tok/s/user")
        if self.max_ttft is not None:
            check_positive("max_ttft", self.max_ttft, "seconds")
        check_count("max_gpus", self.max_gpus)
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)
        if self.min_confidence is not None:
            check_positive("min_confidence", self.min_confidence, "probability")
            if not 0.5 <= self.min_confidence <= HIGHEST_CONFIDENCE:
                raise InputError(
                    f"min_confidence {self.min_confidence:g} is not valid; "
                    f"give 0.5 to {HIGHEST_CONFIDENCE}"
                )


def check_count(name: str, value: int) -> None:
    """Refuse what is no whole number from 1 to a million.

    Raises
    ------
    InputError
        Naming the limit and its value.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} {shown(value)} is not valid; give a whole number")
    if not 1 <= value <= LARGEST_COUNT:
        raise InputError(f"{name} {value} is not valid; give 1 to {LARGEST_COUNT:,}")


def check_positive(name: str, value: float, unit: str) -> None:
    """Refuse what is no positive finite number.

    Raises
    ------
    InputError
        Naming the limit and its value.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 < value < math.inf:
        raise InputError(
            f"{name} {shown(value)} is not valid; give a positive finite number of {unit}"
        )
