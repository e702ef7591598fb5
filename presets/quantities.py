"""Quantities as people write them: a number, or a number with its unit, such as ``400Gb/s``."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from presets.errors import DataFileError, InputWarning, escaped, shown

LONGEST = 60
"""Longest text that is read as a quantity. [character]"""

FAR = 4.0
"""How many times outside what is usual a value is worth a note. [1]"""

_OTHER = ("Gb/s", "Mb/s", "TB/s", "ms", "us", "ns", "s", "MB", "TB", "kW")
"""Units that are mixed up with those of the keys and options."""

LARGEST_WHOLE = 2.0**53
"""Below this every whole float is exact. [1]"""

_NUMBER = re.compile(r"([+-]?(?:[0-9][0-9,_]*+(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)(.*+)")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})++(?:\.[0-9]*+)?")
_MONEY = re.compile(r"(?:US\$|USD|\$)\s*+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]++,[0-9]++")


def _prefixed(*units: tuple[str, float]) -> dict[str, float]:
    """Units with the decimal prefixes, and with the binary ones."""
    powers = enumerate(("", "k", "M", "G", "T", "P"))
    return {
        f"{prefix}{mark}{unit}": size * base**power
        for power, prefix in powers
        for mark, base in (("", 1000), ("i", 1024))
        if prefix or not mark
        for unit, size in units
    }


def _words(factor: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, factor)


_PER_HOUR = (
    "",
    "/h",
    "/hr",
    "/hour",
    "/GPU-h",
    "/GPU-hour",
    "/GPU/h",
    " per GPU-hour",
    " per hour",
)
_DIMENSIONS: tuple[Mapping[str, float], ...] = (
    _prefixed(
        *((name, 1.0) for name in ("B/s", "Bps", "byte/s")),
        *((name, 0.125) for name in ("b/s", "bps", "bit/s")),
    ),
    _prefixed(("B", 1.0), ("b", 0.125), ("bit", 0.125)),
    _prefixed(*((name, 1.0) for name in ("FLOP/s", "FLOPS", "FLOPs"))),
    _words(1.0, "s", "sec", "second", "seconds")
    | _words(1e-3, "ms", "msec")
    | _words(1e-6, "us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s", "usec")
    | _words(1e-9, "ns")
    | _words(60.0, "min")
    | _words(3600.0, "h"),
    _words(1.0, "W") | _words(1e-3, "mW") | _words(1e3, "kW") | _words(1e6, "MW"),
    {f"USD{time}": 1.0 for time in _PER_HOUR},
    # A length of 8k is 8192 tokens, as benchmarks name it.
    _words(1.0, "token", "tokens", "tok")
    | _words(1024.0, "k", "k tokens", "ki")
    | _words(1024.0**2, "M", "M tokens", "Mi"),
    _words(1.0, "tok/s/user", "tok/s", "tokens/s", "tokens/s/user", "token/s"),
    _words(1.0, "request/s", "requests/s", "req/s", "/s", "rps", "QPS")
    | _words(1 / 60, "requests/min", "req/min", "/min"),
    _words(1.0, "GPU", "GPUs"),
    _words(1.0, "request", "requests", "user", "users"),
    _words(1.0, "share", "probability") | _words(0.01, "%"),
)
_EXAMPLES = {
    "GB/s": "50, 50GB/s or 400Gb/s",
    "GB": "180, 180GB or 168GiB",
    "TFLOP/s": "2250, 2250TFLOP/s or 2.25PFLOP/s",
    "USD/h": "3.10, $3.10 or 3.10 USD/h",
    "token": "8192, 8,192 or 8k (8192)",
    "s": "2, 2s or 2000ms",
    "ms": "9.6, 9.6ms or 0.0096s",
    "us": "5, 5us or 0.005ms",
    "W": "2000, 2000W or 2kW",
    "share": "0.95 or 95%",
}


def quantity(value: object, unit: str) -> object:
    """Read a quantity that stands as text; anything else is given back as it is.

    Parameters
    ----------
    value : object
        A number in `unit`, or text: a number, or a number and its own unit.
    unit : str
        Unit of the result, such as "GB/s", "us", "USD/h" or "token"; one that is not known here
        has no other way to write it.

    Returns
    -------
    object
        For text a finite number in `unit`, an int where it is whole.

    Raises
    ------
    ValueError
        Where text is no quantity of this kind: the reason, without field and valid ones.

    Examples
    --------
    >>> quantity("400Gb/s", "GB/s"), quantity("2000 ms", "s"), quantity("$3.10", "USD/h")
    (50, 2, 3.1)
    >>> quantity("8k", "token"), quantity("1,024", "GPU"), quantity("95%", "share")
    (8192, 1024, 0.95)
    """
    if not isinstance(value, str):
        return value
    number, given = _split(value)
    if not given and number.isdigit():
        return int(number)
    result = float(number) * (_size(value, given, unit) if given else 1.0)
    if not math.isfinite(result):
        raise ValueError(f"{shown(value)} is not finite")
    result = float(f"{result:.15g}")  # 95% is 0.95, not what 95 times 0.01 is
    return int(result) if result.is_integer() and abs(result) < LARGEST_WHOLE else result


def valid_quantity(unit: str) -> str:
    """Say how a quantity may be written.

    Examples
    --------
    >>> valid_quantity("GB/s"), valid_quantity("GPU")
    ('such as 50, 50GB/s or 400Gb/s', 'in GPU')
    """
    sizes = _sizes(unit)
    for name, example in _EXAMPLES.items():
        if sizes.get(name) == sizes[unit]:
            return f"such as {example}"
    return f"in {unit}"


def read_quantities(
    content: Mapping[str, Any], units: Mapping[str, str], path: Path | str, place: str = ""
) -> dict[str, Any]:
    """Read the quantities of a file that stand as text; all else stays.

    Parameters
    ----------
    content : mapping
        Keys and values.
    units : mapping
        Unit of each key that is a quantity.
    path : Path or str
        The file, which errors name.
    place : str
        Where in the file the content stands.

    Raises
    ------
    DataFileError
        Naming the key, the value and what is valid.
    """
    result = dict(content)
    for key in (key for key in units if key in content):
        try:
            result[key] = quantity(content[key], units[key])
        except ValueError as error:
            problem = f"{error}; give a number, {valid_quantity(units[key])}"
            raise DataFileError(problem, path, key=f"{place}.{key}" if place else key) from None
    return result


def note_unusual(name: str, value: float, unit: str, usual: tuple[float, float]) -> None:
    """Say once how a value was understood that is far outside what is usual.

    Parameters
    ----------
    name : str
        Field, as the user knows it.
    value : float
        In `unit`.
    unit : str
        One of this module's.
    usual : tuple of float
        Least and largest of what is sold or measured; `FAR` beyond them is far.

    Warns
    -----
    InputWarning
        With the value as understood, what is usual, and how to write another unit.
    """
    low, high = usual
    if low / FAR < value < high * FAR:
        return
    sizes = _sizes(unit)
    meant = [
        other
        for other in _OTHER
        if other in sizes and low / FAR < value * sizes[other] / sizes[unit] < high * FAR
    ]
    hint = f"; for {meant[0]} write {value:g}{meant[0]}" if meant else ""
    span = f"{low:g} to {high:g} are" if low < high else f"{low:g} is"
    text = f"{name}: read as {value:g} {unit}, where {span} usual{hint}"
    warnings.warn(escaped(text), InputWarning, stacklevel=2)


def _split(text: str) -> tuple[str, str]:
    """Split text into a number as Python reads it, and a unit."""
    stripped = text.strip()
    money = _MONEY.match(stripped)
    found = _NUMBER.fullmatch(stripped[money.end() :] if money else stripped)
    if not found or len(stripped) > LONGEST:
        raise ValueError(f"{shown(text)} is not valid")
    number, unit = found[1], found[2].strip().replace("$", "USD")
    if money and not unit.startswith("USD"):
        unit = f"USD{' ' if unit.startswith('per') else ''}{unit}"
    if "," in number:
        number = _ungrouped(number, text)
    return number.replace("_", ""), unit


def _ungrouped(number: str, text: str) -> str:
    if _GROUPED.fullmatch(number):
        return number.replace(",", "")
    if _DECIMAL_COMMA.fullmatch(number):
        right = number.replace(",", ".")
        raise ValueError(f"{shown(text)} has a decimal comma, for which write {right}")
    raise ValueError(f"{shown(text)} has commas that part no thousands")


def _sizes(unit: str) -> Mapping[str, float]:
    """Units of the same dimension, and the size of each."""
    return next((sizes for sizes in _DIMENSIONS if unit in sizes), {unit: 1.0})


def _size(text: str, given: str, unit: str) -> float:
    """Size of the given unit, in `unit`."""
    sizes = _sizes(unit)
    near = [given] if given in sizes else []
    near = near or [name for name in sizes if name.casefold() == given.casefold()]
    if len({sizes[name] for name in near}) > 1:
        low, high = sorted(near, key=sizes.__getitem__)[:2]
        raise ValueError(f"{shown(text)} may be bits or bytes: {low} or {high}")
    if not near:
        raise ValueError(f"{shown(text)} is not valid: {shown(given)} is no unit of {unit}")
    return sizes[near[0]] / sizes[unit]
