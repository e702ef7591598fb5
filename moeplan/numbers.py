"""Numbers that a person typed, and names: each checked with its option, value and what is valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from pathlib import Path

from presets import hardware_names, load_hardware, serving_rows
from presets.drafts import DEEPEST, TEXTS
from presets.errors import InputError, shown, unknown_name
from presets.quantities import note_unusual, quantity, valid_quantity

MOST_TARGETS = 1000
LOWEST_PRICE, HIGHEST_PRICE = 1e-3, 1e6
PRICE_UNIT = "USD per GPU-hour"

TINY = 1e-9
"""What is above 0 and below this is meant as 0, and what is divided by it may be no number. [1]"""


def positive_number(name: str, value: object, unit: str, high: float = math.inf) -> float:
    """Take a finite number above 0, and at most `high`.

    Parameters
    ----------
    name : str
        Option or argument, as the user knows it.
    value : object
        A number, or text that holds one, with its unit or without.
    unit : str
        Unit of the result.
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
    reason = f"{shown(value)} is not valid"
    try:
        number = float(quantity(value, unit))  # type: ignore[arg-type]
    except ValueError as error:
        number, reason = math.nan, str(error)
    except (TypeError, OverflowError):
        number = math.nan
    low = TINY if 0.0 < number < TINY else 0.0
    if _is_switch(value) or not (math.isfinite(number) and low < number <= high):
        most = "" if high == math.inf else f" and at most {high:g}"
        valid = f"a finite number above {low:g}{most}, {_in(unit)}"
        raise InputError(f"{name}: {reason}; give {valid}")
    return number


def _is_switch(value: object) -> bool:
    """Whether a value is true or false, as Python or numpy has it: both count them as numbers."""
    return str(value) in ("True", "False")


def _in(unit: str) -> str:
    """Name a unit, and other ways to write it."""
    ways = valid_quantity(unit)
    return ways if ways.startswith("in ") else f"in {unit}, {ways}"


def price(name: str, value: object) -> float:
    """Take the price of a GPU; arguments as in `positive_number` [USD/h]."""
    number = positive_number(name, value, PRICE_UNIT, HIGHEST_PRICE)
    if number < LOWEST_PRICE:
        raise InputError(
            f"{name}: {shown(value)} is not valid; give {LOWEST_PRICE:g} or more, in {PRICE_UNIT}"
        )
    return number


def noted_price(name: str, value: object) -> float:
    """Take a price as `price`, with a note where it is far from those of the machines sold."""
    number = price(name, value)
    if not isinstance(value, str):  # said already where it was typed
        return number
    sold = [load_hardware(sku).price_usd_per_hour.value for sku in hardware_names()]
    note_unusual(name, number, "USD/h", (min(sold), max(sold)))
    return number


def ttft_limit(name: str, value: object) -> float:
    """Take a limit of TTFT, with a note where it is far from all that was measured [s]."""
    number = positive_number(name, value, "seconds")
    if not isinstance(value, str):  # said already where it was typed
        return number
    measured = [row.ttft_ms for row in serving_rows() if row.ttft_ms is not None]
    note_unusual(name, number, "s", (1e-3 * min(measured), 1e-3 * max(measured)))
    return number


def percentile(name: str, value: object) -> float:
    """Take a percentile that a limit may be asked of [%].

    Examples
    --------
    >>> percentile("--target-percentile", "99")
    99.0
    """
    from costmodel.percentiles import ASKED  # arrays, which other checks do without

    low, high = ASKED[name.removeprefix("--").replace("-", "_")]
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if _is_switch(value) or not low <= number <= high:
        raise InputError(
            f"{name}: {shown(value)} is not valid; give a percentile from {low:g} to {high:g}, "
            "such as 99 for 99 requests in a hundred"
        )
    return number


def whole_number(name: str, value: object, low: int, high: int, unit: str) -> int:
    """Take a whole number from `low` to `high`; arguments as in `positive_number`.

    Examples
    --------
    >>> whole_number("--isl", "8k", 1, 1_000_000, "tokens")
    8192
    """
    reason = f"{shown(value)} is not valid"
    try:
        number = quantity(value, unit)
    except ValueError as error:
        number, reason = None, str(error)
    whole = None if _is_switch(value) or not isinstance(number, Integral) else int(number)
    if whole is None or not low <= whole <= high:
        within = f", {_in(unit)}" if unit else ""
        raise InputError(f"{name}: {reason}; give a whole number from {low} to {high}{within}")
    return whole


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


def acceptance(name: str, value: object) -> str:
    """Take rates at which drafts are kept, a length that a step keeps, or a text that was measured.

    Examples
    --------
    >>> acceptance("--acceptance", " 0.8, 0.6"), acceptance("--acceptance", 2.6)
    ('0.8,0.6', '2.6')
    """
    text = "" if isinstance(value, bool) else "".join(str(value)[:200].split())
    try:
        rates_or_length(text)
    except ValueError:
        raise InputError(
            f"{name}: {shown(value)} is not valid; give rates from 0 to 1 that do not rise, such "
            f"as 0.8,0.6,0.4, at most {DEEPEST} of them, or the tokens kept per step, such as 2.6, "
            f"or one of {', '.join(TEXTS)}"
        ) from None
    return text


def rates_or_length(text: str) -> tuple[float, ...] | float | None:
    """Rates at which drafts are kept, or the tokens that a step keeps; None of a measured text.

    Raises
    ------
    ValueError
        Where it is none of these.
    """
    if text in TEXTS:
        return None
    rates = tuple(float(part) for part in text.split(","))
    if len(rates) == 1 and 1.0 < rates[0] <= DEEPEST + 1:
        return rates[0]
    falling = all(one >= other for one, other in pairwise(rates))
    if not (len(rates) <= DEEPEST and falling and all(0.0 < rate <= 1.0 for rate in rates)):
        raise ValueError(text)
    return rates


def share(name: str, value: object) -> float:
    """Take a share from 0 to below 1, also as a percentage.

    Examples
    --------
    >>> share("--cached-share", "75%"), share("--cached-share", 0)
    (0.75, 0.0)
    """
    text, percent, _ = str(value).strip().partition("%")
    try:
        number = float(text) / (100.0 if percent else 1.0)
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not 0.0 <= number < 1.0:
        raise InputError(
            f"{name}: {shown(value)} is not valid; give a share from 0 to below 1, such as 0.75"
        )
    return number


def text(name: str, value: object) -> str:
    """Take text."""
    if not isinstance(value, str | Path):
        raise InputError(f"{name}: {shown(value)} is not valid; give text")
    return str(value)


def switch(name: str, value: object) -> bool:
    """Take what is on or off."""
    if not isinstance(value, bool):
        raise InputError(f"{name}: {shown(value)} is not valid; give true or false")
    return value


def one_of(name: str, value: object, valid: Sequence[str]) -> str:
    """Take one of the valid names, or offer the closest."""
    if not isinstance(value, str):
        raise InputError(f"{name}: {shown(value)} is not valid; give {', '.join(valid)}")
    if value not in valid:
        raise unknown_name(name, value, valid)
    return value


def file_name(name: str, value: object) -> Path:
    """Take the path of a file; blank text is none."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise InputError(f"{name}: {shown(value)} is not valid; give the path of a file")
    return Path(value)
