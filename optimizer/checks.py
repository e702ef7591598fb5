"""Numbers of a problem, each refused where it cannot be meant."""

from __future__ import annotations

import math

from presets import InputError
from presets.errors import shown

LARGEST_COUNT = 1_000_000


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
