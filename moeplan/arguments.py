"""Arguments of the public functions: of another type, each is refused by name."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from costmodel.results import Configuration
from moeplan.answers.best import Best
from moeplan.options import Options
from presets import ClusterPools, ClusterSpec, Hardware, InputError, MeasuredRows
from presets.demand_file import Demand
from presets.errors import shown

Given = ParamSpec("Given")
Result = TypeVar("Result")

KINDS: dict[str, tuple[type, str]] = {
    "str": (str, "text"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": (bool, "True or False"),
    "None": (type(None), "None"),
    "Path": (Path, "a path"),
    "Best": (Best, "an answer of best"),
    "ClusterPools": (ClusterPools, "a ClusterPools"),
    "ClusterSpec": (ClusterSpec, "a ClusterSpec"),
    "Configuration": (Configuration, "a Configuration"),
    "Demand": (Demand, "what read_demand gave"),
    "Hardware": (Hardware, "a Hardware"),
    "MeasuredRows": (MeasuredRows, "rows from read_measured_rows"),
    "Options": (Options, "an Options"),
    "Mapping": (Mapping, "a mapping"),
    "Sequence": (Sequence, "a sequence"),
    "Callable": (Callable, "a function"),  # type: ignore[dict-item]
    "Progress": (Callable, "a function"),  # type: ignore[dict-item]
}
"""What a name in an annotation stands for, and how it is called in print."""


def checked_arguments(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function refuse arguments that are of none of the types that it is annotated with.

    Targets are left to what reads them with their unit.

    Raises
    ------
    InputError
        Naming the argument, its value and what is valid.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            annotation = str(signature.parameters[name].annotation)
            if annotation != "float":
                _check(name, value, annotation)
        return function(*args, **kwargs)

    return call


def _check(name: str, value: Any, annotation: str) -> None:
    """Refuse a value that an annotation does not have; look into options and sequences."""
    kinds = [part.strip() for part in _outside_brackets(annotation).split("|")]
    known = [_kind(kind) for kind in kinds]
    switch = isinstance(value, bool) and "bool" not in kinds  # Python counts it as a number
    text = isinstance(value, str | bytes) and "str" not in kinds  # and this as a sequence
    if switch or text or not isinstance(value, tuple(kind for kind, _ in known)):
        valid = " or ".join(dict.fromkeys(word for _, word in known))
        raise InputError(f"{name}: {shown(value)} is not valid; give {valid}")
    if isinstance(value, Real):
        _check_size(name, value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            inner = "float" if "float" in annotation else "Options"
            _check(f"{name}[{shown(key)}]", each, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        _check_items(name, value, annotation)


def _kind(name: str) -> tuple[type, str]:
    if name == "Space":
        from optimizer import Space  # predictions need no solver

        return Space, "a Space"
    return KINDS[name]


def _check_items(name: str, items: Sequence[Any], annotation: str) -> None:
    found = re.search(r"Sequence\[(.*)\]", annotation)
    if found and found[1] != "float":
        for each in items:
            _check(name, each, found[1])


def _check_size(name: str, value: Any) -> None:
    """Refuse a whole number that no float holds."""
    try:
        math.isfinite(value)
    except OverflowError:
        raise InputError(f"{name}: {shown(value)} is not valid; it is too large") from None


def _outside_brackets(annotation: str) -> str:
    """Leave out what stands in brackets."""
    depth, kept = 0, []
    for letter in annotation:
        depth += letter == "["
        if not depth:
            kept.append(letter)
        depth -= letter == "]"
    return "".join(kept)
