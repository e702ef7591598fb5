"""What an answer must meet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from presets import InputError
from presets.errors import shown


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

    Examples
    --------
    >>> Limits(125)
    Limits(target=125, max_gpus=72, max_ttft=None)
    """

    target: float
    max_gpus: int = 72
    max_ttft: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        check_positive("target", self.target, "tok/s/user")
        if self.max_ttft is not None:
            check_positive("max_ttft", self.max_ttft, "seconds")
        if isinstance(self.max_gpus, bool) or not isinstance(self.max_gpus, int):
            raise InputError(f"max_gpus {shown(self.max_gpus)} is not valid; give a whole number")
        if self.max_gpus < 1:
            raise InputError(f"max_gpus {self.max_gpus} is not valid; give 1 or more")


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
