"""Numbers that a person typed, and names: each checked with its option, value and what is valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from presets.errors import InputError, shown, unknown_name

MOST_TARGETS = 1000
LARGEST_LENGTH = 1_000_000
LARGEST_GPUS = 65_536
LOWEST_PRICE, HIGHEST_PRICE = 1e-3, 1e6
PRICE_UNIT = "USD per GPU-hour"


def positive_number(name: str, value: object, unit: str, high: float = math.inf) -> float:
    """Take a finite number above 0, and at most `high`.

    Parameters
    ----------
    name : str
        Option or argument, as the user knows it.
    value : object
        A number, or text that holds one.
    unit : str
        Unit in print.
    high : float
        The largest that is valid.

    Raises
    ------
    InputError
        Where it is anything else.

    Examples
    --------
    >>> positive_number("--target", "125", "tok/s/user")
    125.0
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and 0 < number <= high):
        most = "" if high == math.inf else f" and at most {high:g}"
        raise InputError(
            f"{name}: {shown(value)} is not valid; give a finite number above 0{most}, in {unit}"
        )
    return number


def price(name: str, value: object) -> float:
    """Take the price of a GPU; arguments as in `positive_number` [USD/h]."""
    number = positive_number(name, value, PRICE_UNIT, HIGHEST_PRICE)
    if number < LOWEST_PRICE:
        raise InputError(
            f"{name}: {shown(value)} is not valid; give {LOWEST_PRICE:g} or more, in {PRICE_UNIT}"
        )
    return number


def whole_number(name: str, value: object, low: int, high: int, unit: str) -> int:
    """Take a whole number from `low` to `high`; arguments as in `positive_number`.

    Examples
    --------
    >>> whole_number("--isl", "8192", 1, 1_000_000, "tokens")
    8192
    """
    try:
        number = int(value) if isinstance(value, int | str) else low - 1
    except ValueError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise InputError(
            f"{name}: {shown(value)} is not valid; "
            f"give a whole number from {low} to {high}, in {unit}"
        )
    return number


def number_list(name: str, text: str, unit: str) -> tuple[float, ...]:
    """Take numbers above 0 with commas between them.

    Examples
    --------
    >>> number_list("--targets", "25, 50", "tok/s/user")
    (25.0, 50.0)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_TARGETS:
        raise InputError(f"{name}: {len(parts)} numbers are given; give at most {MOST_TARGETS}")
    return tuple(positive_number(name, part, unit) for part in parts)


def one_of(name: str, value: str, valid: Sequence[str]) -> str:
    """Take one of the valid names, or offer the closest."""
    if value not in valid:
        raise unknown_name(name, value, valid)
    return value


def file_name(name: str, text: str) -> Path:
    """Take the path of a file; blank text is none."""
    if not text.strip():
        raise InputError(f"{name}: {shown(text)} is not valid; give the path of a file")
    return Path(text)
