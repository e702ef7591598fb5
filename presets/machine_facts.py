"""Facts of a machine, each in one unit and in bounds; text such as "900 GB/s" is one, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from presets.errors import shown
from presets.facts import Fact
from presets.quantities import quantity
from presets.scale_out import MAX_GPUS

BOUNDS = {
    "GPU": (1, MAX_GPUS),
    "B": (1e6, 1e15),
    "B/s": (1e6, 1e15),
    "s": (1e-9, 1.0),
    "FLOP/s": (1e9, 1e21),
    "USD/h": (1e-3, 1e6),
    "W": (1e-3, 1e6),
}
"""Least and largest value by unit: wide of all that is sold, and no figure overflows."""

EXAMPLES = {
    "GPU": "8",
    "B": "'180 GB'",
    "B/s": "'900 GB/s'",
    "s": "'1 us'",
    "FLOP/s": "'2250 TFLOP/s'",
    "USD/h": "'3.10 USD/h'",
    "W": "'1700 W'",
}

FORMATS = ("bf16", "fp8", "fp4")
"""Number formats that tensor rates are of."""

SOURCE = "machine file"
"""Source of a fact that a machine file gives by its value alone, of kind "assumed"."""


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"{shown(name)} is no number format; valid: {', '.join(FORMATS)}")
    return name


def _read(unit: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        """Make a fact of a quantity, and convert one that is in another unit."""
        if isinstance(value, Mapping):
            return _converted(value, unit)
        if isinstance(value, Fact):
            return value
        counted = unit == "GPU" and type(value) is int
        if not counted and not (isinstance(value, str) and _has_unit(value)):
            what = f"a number with its unit, such as {EXAMPLES[unit]}"
            raise ValueError(f"{shown(value)} is not valid; give {what}")
        return {
            "value": _quantity(value, unit),
            "unit": unit,
            "source": SOURCE,
            "date": date.today(),
            "kind": "assumed",
        }

    return read


def _has_unit(text: str) -> bool:
    return any((letter.isalpha() and letter not in "eE") or letter == "$" for letter in text)


def _quantity(value: object, unit: str) -> object:
    try:
        return quantity(value, unit)
    except ValueError as error:
        raise ValueError(f"{error}; give such as {EXAMPLES[unit]}") from None


def _converted(fact: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Bring a fact and what other sources say of it into a unit."""
    given, others = fact.get("unit"), fact.get("alternatives", ())
    if not isinstance(given, str) or given == unit:
        return dict(fact)

    def convert(part: Any) -> Any:
        value = part.get("value") if isinstance(part, Mapping) else None
        if type(value) not in (int, float):
            return part
        return {**part, "value": _quantity(f"{value!r} {given}", unit)}

    return {**convert(fact), "unit": unit, "alternatives": [convert(each) for each in others]}


def _check(unit: str) -> Callable[[Fact], Fact]:
    low, high = BOUNDS[unit]

    def check(fact: Fact) -> Fact:
        if not low <= fact.value <= high:
            raise ValueError(
                f"{fact.value:g} {unit} is not valid; it must be from {low:g} to {high:g} {unit}"
            )
        if unit == "GPU" and fact.value != int(fact.value):
            raise ValueError(f"{fact.value:g} is not valid; it must be a whole number")
        return fact

    return check


NumberFormat = Annotated[str, AfterValidator(_known_format)]
Count = Annotated[Fact, BeforeValidator(_read("GPU")), AfterValidator(_check("GPU"))]
Memory = Annotated[Fact, BeforeValidator(_read("B")), AfterValidator(_check("B"))]
Rate = Annotated[Fact, BeforeValidator(_read("B/s")), AfterValidator(_check("B/s"))]
Latency = Annotated[Fact, BeforeValidator(_read("s")), AfterValidator(_check("s"))]
TensorRate = Annotated[Fact, BeforeValidator(_read("FLOP/s")), AfterValidator(_check("FLOP/s"))]
Price = Annotated[Fact, BeforeValidator(_read("USD/h")), AfterValidator(_check("USD/h"))]
Power = Annotated[Fact, BeforeValidator(_read("W")), AfterValidator(_check("W"))]

UNITS = {
    "gpus_per_domain": "GPU",
    "gpus_per_node": "GPU",
    "scale_up_rate": "B/s",
    "scale_up_latency": "s",
    "scale_out_rate": "B/s",
    "scale_out_latency": "s",
    "hbm_bytes": "B",
    "hbm_rate": "B/s",
    "price_usd_per_hour": "USD/h",
    "power_watts": "W",
}
"""Unit of each fact of a machine, but for tensor rates."""
