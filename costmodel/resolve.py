"""Plain constants for one worker or many: deviations joined to what they are of."""

from __future__ import annotations

from typing import Any

import numpy as np

from costmodel.calibration import ABSENT, NESTED, Calibration
from costmodel.deviations import Deviation, Kinds, Traits
from costmodel.inputs import FloatArray, IntArray, take_last


def resolve(calibration: Calibration, workers: Traits | Kinds) -> Calibration:
    """Join the deviations that hold to the constants that they are of.

    Parameters
    ----------
    calibration
        Constants, plain numbers or of shape ``(p, 1)``, with deviations.
    workers
        Traits of one worker, or of ``n``.

    Returns
    -------
    The same without deviations, and with `draft`, the constants of draft layers. A constant of
    which no deviation holds is as it was; others are numbers (or of shape ``(p, 1)``) where all
    workers have the same traits, else of shape ``(n,)`` or ``(p, n)``.

    Examples
    --------
    >>> from costmodel.calibration_file import load_calibration
    >>> calibration = load_calibration()
    >>> hopper = resolve(calibration, Traits("trtllm", "hopper", "fp8", "fp8"))
    >>> bool(hopper.attention_efficiency > calibration.attention_efficiency)
    True
    """
    kinds = Kinds((workers,)) if isinstance(workers, Traits) else workers
    drafts = kinds._replace(kinds=tuple(each.of_drafts for each in kinds.kinds))
    return _joined(calibration, kinds)._replace(draft=_joined(calibration, drafts))


def _joined(calibration: Calibration, workers: Kinds) -> Calibration:
    by_constant: dict[str, list[Deviation]] = {}
    for deviation in calibration.deviations:
        by_constant.setdefault(deviation.constant, []).append(deviation)
    changes: dict[str, Any] = {"deviations": ()}
    for name, deviations in by_constant.items():
        field, _, part = name.partition(".")
        found = [[each.factor for each in deviations if each.holds(t)] for t in workers.kinds]
        is_share = name.endswith("efficiency")
        if not (is_share or any(found)):
            continue
        before = changes.get(field, getattr(calibration, field))
        base = getattr(before, part) if part else before
        value = _with(base, found, workers, is_share, ABSENT.get(name) == 0.0)
        changes[field] = before._replace(**{part: value}) if part else value
    return calibration._replace(**changes)


def _with(
    base: float | FloatArray,
    found: list[list[float | FloatArray]],
    workers: Kinds,
    is_share: bool,
    is_nothing: bool,
) -> float | FloatArray:
    """One constant with the factors that hold of each kind of worker."""
    columns = []
    for factors in found:
        # What is nothing elsewhere starts from the first that says what it is.
        start = 1.0 if is_nothing and factors else base
        for factor in factors:
            start = start * factor
        # Efficiencies are shares of a rate, which nothing exceeds.
        columns.append(np.minimum(start, 1.0) if is_share else start)
    if workers.which is None:
        return columns[0]
    flat = np.broadcast_arrays(*map(np.atleast_1d, columns))
    return np.concatenate(flat, axis=-1)[..., workers.which]


def of_workers(calibration: Calibration, index: IntArray, count: int) -> Calibration:
    """Constants of the chosen of `count` workers; those for all of them stay."""
    changes: dict[str, Any] = {}
    for name, value in calibration._asdict().items():
        if name in NESTED:
            changes[name] = value._make(_chosen(each, index, count) for each in value)
        elif isinstance(value, np.ndarray):
            changes[name] = _chosen(value, index, count)
    draft = calibration.draft
    if draft is not None:
        changes["draft"] = of_workers(draft, index, count)
    return calibration._replace(**changes)


def _chosen(value: Any, index: IntArray, count: int) -> Any:
    return take_last(value, index, count) if isinstance(value, np.ndarray) else value
