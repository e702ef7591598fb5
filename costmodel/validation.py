"""Predictions against measurements: error by figure and group, row by row, cross-validated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from costmodel.anchors import is_anchored
from costmodel.calibration import Calibration
from costmodel.deployments import case_of, deployments_of, run
from costmodel.inputs import FloatArray
from costmodel.intervals import half_widths
from costmodel.network import Benchmark
from costmodel.observations import (
    compared,
    configuration_key,
    observations_of,
    other_modes,
)
from costmodel.predictions import breakdowns
from costmodel.results import Case, Configuration
from presets import InputError, PublishedRow, ServingRow

PERCENTILES = ("tpot_p90", "tpot_p99", "ttft_p90", "ttft_p99")
"""Of TPOT and TTFT over requests."""

FIGURES = ("tpot", "ttft", "ttft_median", "throughput", "iteration", *PERCENTILES)
GROUPS: dict[str, Callable[[ServingRow], str]] = {
    "sku": lambda row: f"{row.sku}, suspect" if row.suspect else row.sku,
    "model": lambda row: row.model,
    "engine": lambda row: row.framework or "trtllm",
    "serving": lambda row: row.serving,
    "precision": lambda row: row.precision,
    "attention": lambda row: row.decode_attention,
    "mtp": lambda row: f"depth {row.mtp_depth}",
    "lengths": lambda row: f"{row.isl}/{row.osl}",
    "batch": lambda row: _batch_class(row.max_batch),
}
COLUMNS: dict[str, Callable[[Benchmark], FloatArray]] = {
    "tpot_ms": lambda result: 1e3 * result.tpot_mean,
    "tpot_median_ms": lambda result: 1e3 * result.tpot_median,
    "ttft_ms": lambda result: 1e3 * result.ttft_mean,
    "ttft_median_ms": lambda result: 1e3 * result.ttft_median,
    "total_tok_s_per_gpu": lambda result: result.total_tok_s_per_gpu,
    "iteration_ms": lambda result: 1e3 * result.steady.decode.step.total,
    "tpot_p90_ms": lambda result: 1e3 * result.tpot_at(90.0),
    "tpot_p99_ms": lambda result: 1e3 * result.tpot_at(99.0),
    "ttft_p90_ms": lambda result: 1e3 * result.ttft_at(90.0),
    "ttft_p99_ms": lambda result: 1e3 * result.ttft_at(99.0),
}
FIGURE_OF = {
    "tpot_ms": "tpot",
    "tpot_median_ms": "tpot",
    "ttft_ms": "ttft",
    "ttft_median_ms": "ttft_median",
    "total_tok_s_per_gpu": "throughput",
    "iteration_ms": "iteration",
    **{f"{name}_ms": name for name in PERCENTILES},
}
Statistics = dict[str, float | int | None]


@dataclass(frozen=True, eq=False)
class Compared:
    """One figure: what was predicted, what was measured (NaN where unknown), and the half-width."""

    predicted: FloatArray
    measured: FloatArray
    half_width: FloatArray  # of the 90 % interval, of the logarithm
    other: FloatArray | None = None  # another mode of it, where there is one, else as predicted

    @property
    def modes(self) -> tuple[FloatArray, FloatArray]:
        """The lower and the upper of its modes; the same where it has one."""
        other = self.predicted if self.other is None else self.other
        return np.minimum(self.predicted, other), np.maximum(self.predicted, other)

    @property
    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Both ends of the 90 % interval."""
        low, high = self.modes
        return low * np.exp(-self.half_width), high * np.exp(self.half_width)

    @property
    def distance(self) -> FloatArray:
        """Logarithm of the measured value beyond what was predicted, either way [1]."""
        low, high = self.modes
        beyond = np.maximum(np.log(low / self.measured), np.log(self.measured / high))
        return np.asarray(np.maximum(beyond, 0.0))

    @property
    def error(self) -> FloatArray:
        """Relative error, NaN where nothing was measured [1]."""
        return np.asarray(self.predicted / self.measured - 1.0)

    @property
    def covered(self) -> FloatArray:
        """1 where the measured value lies in the 90 % interval, else 0; NaN where unknown."""
        inside = self.distance <= self.half_width
        return np.where(np.isnan(self.measured), np.nan, inside.astype(float))

    def where(self, chosen: Sequence[int]) -> Compared:
        """Take the same figure for some rows."""
        index = np.asarray(chosen, dtype=np.intp)
        other = None if self.other is None else self.other[index]
        return Compared(self.predicted[index], self.measured[index], self.half_width[index], other)


@dataclass(frozen=True, repr=False)
class Validation:
    """Predictions of measured rows beside what was measured."""

    rows: tuple[ServingRow, ...]
    figures: dict[str, Compared]
    predictions: dict[str, FloatArray]  # by column name; the same whatever was measured
    batch_in_flight: FloatArray
    breakdown_ms: tuple[dict[str, float], ...]
    refused: dict[int, str] = field(default_factory=dict)  # what is wrong, by line
    ignored: tuple[str, ...] = ()  # columns that were not read

    def __repr__(self) -> str:
        """Say how many rows there are, and the errors of each figure that was measured."""
        refused = f", {len(self.refused)} refused" if self.refused else ""
        lines = [f"Validation({len(self.rows)} rows{refused})"]
        for name, each in self.statistics().items():
            if each["known"]:
                lines.append(
                    f"  {name}: {each['known']} measured; error {each['mape']:.1%} mean, "
                    f"{each['median_ape']:.1%} median, {each['p90_ape']:.1%} of nine in ten; "
                    f"{each['coverage_90']:.0%} inside the 90 % interval"
                )
        return "\n".join(lines)

    def of(self, chosen: Sequence[int]) -> Validation:
        """Take the same comparison for some rows."""
        index = list(chosen)
        return Validation(
            tuple(self.rows[i] for i in index),
            {name: figure.where(index) for name, figure in self.figures.items()},
            {name: values[index] for name, values in self.predictions.items()},
            self.batch_in_flight[index],
            tuple(self.breakdown_ms[i] for i in index),
        )

    def statistics(self, chosen: Sequence[int] | None = None) -> dict[str, Statistics]:
        """Error statistics of each figure over all rows or some."""
        rows = range(len(self.rows)) if chosen is None else chosen
        return {name: statistics(figure.where(list(rows))) for name, figure in self.figures.items()}

    def groups(self) -> dict[str, dict[str, list[int]]]:
        """Row numbers by each of `GROUPS`."""
        found: dict[str, dict[str, list[int]]] = {}
        for name, key in GROUPS.items():
            members: dict[str, list[int]] = {}
            for index, row in enumerate(self.rows):
                members.setdefault(key(row), []).append(index)
            found[name] = dict(sorted(members.items(), key=lambda item: _leading_number(item[0])))
        return found

    def summary(self) -> dict[str, object]:
        """Everything that `moeplan validate --json` prints; None where nothing was measured."""
        by = {
            name: {
                group: {"rows": len(members), **self.statistics(members)}
                for group, members in groups.items()
            }
            for name, groups in self.groups().items()
        }
        refused = [{"line": line, "problem": problem} for line, problem in self.refused.items()]
        others = {"refused": refused, "ignored_columns": list(self.ignored)}
        return {"rows": len(self.rows), **self.statistics(), "by": by, **others}

    def lines(self) -> list[dict[str, object]]:
        """One dictionary per row: configuration, predictions with intervals, measurements, errors.

        Predicted means and medians stand side by side; an error compares like with like.
        """
        lines = []
        seen = observations_of(self.rows)
        means = {"tpot": seen.tpot_mean, "ttft": seen.ttft_mean}
        intervals = {name: self._interval(name) for name in self.predictions}
        for index, row in enumerate(self.rows):
            line: dict[str, object] = {
                name: getattr(row, name)
                for name in ("sku", "model", "precision", "isl", "osl", *Configuration.model_fields)
            }
            for column, values in self.predictions.items():
                line[f"predicted_{column}"] = float(values[index])
                low, high = intervals[column]
                line[f"predicted_{column}_low"] = float(low[index])
                line[f"predicted_{column}_high"] = float(high[index])
            for name, figure in self.figures.items():
                line |= _measured_columns(name, figure, index)
            for name, mean in means.items():
                line[f"measured_{name}_is"] = "median" if np.isnan(mean[index]) else "mean"
            lines.append(line)
        return lines

    def _interval(self, column: str) -> tuple[FloatArray, FloatArray]:
        """Both ends of the 90 % interval of a predicted column."""
        figure, predicted = self.figures[FIGURE_OF[column]], self.predictions[column]
        if column == "ttft_median_ms":  # the figure is the column, and has its modes
            low, high = figure.interval
            return 1e3 * low, 1e3 * high
        return Compared(predicted, figure.measured, figure.half_width).interval

    def worst(self, count: int = 10) -> list[int]:
        """Numbers of the rows with the largest TPOT error, worst first."""
        error = np.nan_to_num(np.abs(self.figures["tpot"].error), nan=-1.0)
        return [int(index) for index in np.argsort(-error, kind="stable")[:count]]


def validate(rows: Sequence[ServingRow], calibration: Calibration) -> Validation:
    """Predict measured rows; nothing of what was measured enters a prediction.

    Raises
    ------
    InputError
        If a row names an unknown model, or a worker that its machine or the model cannot run.
    """
    cases = [case_of(row) for row in rows]
    return validation_of(rows, cases, [calibration], np.zeros(len(rows), dtype=np.intp))


def check_measured(rows: Sequence[ServingRow]) -> None:
    """Refuse rows of which none holds a measurement: there is nothing to compare with.

    Raises
    ------
    InputError
        Naming the columns that may be filled.
    """
    names = (*COLUMNS, "tok_s_per_user")
    if all(getattr(row, name) is None for row in rows for name in names):
        raise InputError(
            f"rows: none of {len(rows)} holds a measurement; fill one or more of the columns "
            f"{', '.join(names)}"
        )


def validation_of(
    rows: Sequence[ServingRow],
    cases: Sequence[Case],
    calibrations: Sequence[Calibration],
    which: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> Validation:
    """Predict each row with the calibration that ``which`` names, as cross-validation needs."""
    seen = observations_of(rows)
    widths = [
        half_widths(cases, one, [is_anchored(case, one.anchors) for case in cases])
        for one in calibrations
    ]
    plain = deployments_of(cases)
    runs = [
        run(deployments_of(cases, one.anchors) if one.anchors else plain, one)
        for one in calibrations
    ]
    tables = [compared(result, seen) for result in runs]
    others = [other_modes(result, seen) for result in runs]
    order = np.arange(len(rows))

    def chosen(values: Sequence[FloatArray]) -> FloatArray:
        stacked = np.stack([np.broadcast_to(value, len(rows)) for value in values])
        return np.asarray(stacked[which, order])

    figures = {
        name: Compared(
            chosen([table[name][0] for table in tables]),
            tables[0][name][1],
            chosen([width[name.partition("_p")[0]] for width in widths]),
            chosen([other[name] for other in others]) if name in others[0] else None,
        )
        for name in FIGURES
    }
    steps = [result.steady.decode.step for result in runs]
    parts = {name: chosen([step.parts[name] for step in steps]) for name in steps[0].parts}
    batch = chosen([result.steady.decode.requests for result in runs])
    predictions = {
        column: chosen([column_of(result) for result in runs])
        for column, column_of in COLUMNS.items()
    }
    steps_ms = tuple(breakdowns(parts, len(rows)))
    return Validation(tuple(rows), figures, predictions, batch, steps_ms)


def statistics(figure: Compared) -> Statistics:
    """Mean, median, 90th percentile and largest absolute relative error, bias and coverage.

    >>> nothing = np.array([np.nan])
    >>> statistics(Compared(np.ones(1), nothing, np.ones(1)))["mape"] is None
    True
    """
    known = ~np.isnan(figure.measured)
    error = np.abs(figure.error[known])
    if not error.size:
        names = (
            "mape",
            "median_ape",
            "p90_ape",
            "max_ape",
            "bias",
            "coverage_90",
            "mean_half_width",
        )
        return {"known": 0} | dict.fromkeys(names)
    return {
        "known": int(error.size),
        "mape": float(error.mean()),
        "median_ape": float(np.median(error)),
        "p90_ape": float(np.quantile(error, 0.9)),
        "max_ape": float(error.max()),
        "bias": float(figure.error[known].mean()),
        "coverage_90": float(figure.covered[known].mean()),
        "mean_half_width": float(np.expm1(figure.half_width[known]).mean()),
    }


def serving_row_of(row: PublishedRow) -> ServingRow:
    """Put a published row into the form that validation reads; its latencies are medians."""
    return ServingRow(
        **{name: getattr(row, name) for name in ServingRow.model_fields if hasattr(row, name)}
    )


def without_twins(rows: Sequence[ServingRow], held_out: Sequence[ServingRow]) -> list[ServingRow]:
    """Rows that measure none of the held-out configurations: a fit on them never saw those."""
    keys = {configuration_key(row) for row in held_out}
    return [row for row in rows if configuration_key(row) not in keys]


def folds_of(rows: Sequence[ServingRow], folds: int, seed: int = 0) -> list[list[int]]:
    """Row numbers of each fold; rows of one configuration stay together."""
    members: dict[tuple[object, ...], list[int]] = {}
    for index, row in enumerate(rows):
        members.setdefault(configuration_key(row), []).append(index)
    order = np.random.default_rng(seed).permutation(len(members))
    groups = list(members.values())
    result: list[list[int]] = [[] for _ in range(folds)]
    for place, group in enumerate(order):
        result[place % folds] += groups[group]
    return result


def cross_validate(
    rows: Sequence[ServingRow],
    folds: Sequence[Sequence[int]],
    fit: Callable[[Sequence[ServingRow]], Calibration],
    progress: Callable[[], None] | None = None,
) -> Validation:
    """Predict the rows of each fold by a fit on the others.

    Parameters
    ----------
    rows
        Measured rows.
    folds
        Row numbers of each fold; together all rows once.
    fit
        From rows to a calibration.
    progress
        Called after each fold.
    """
    which = np.zeros(len(rows), dtype=np.intp)
    calibrations = []
    for number, fold in enumerate(folds):
        held_out = set(fold)
        calibrations.append(fit([row for i, row in enumerate(rows) if i not in held_out]))
        which[list(fold)] = number
        if progress is not None:
            progress()
    return validation_of(rows, [case_of(row) for row in rows], calibrations, which)


def _measured_columns(name: str, figure: Compared, index: int) -> Mapping[str, float | None]:
    unit = 1.0 if name == "throughput" else 1e3
    label = "total_tok_s_per_gpu" if name == "throughput" else f"{name}_ms"
    measured = float(figure.measured[index])
    known = not np.isnan(measured)
    return {
        f"measured_{label}": unit * measured if known else None,
        f"error_{name}": float(figure.error[index]) if known else None,
    }


def _batch_class(batch: int) -> str:
    for low, high in ((1, 1), (2, 8), (9, 32), (33, 128)):
        if batch <= high:
            return f"{low} to {high}" if low < high else f"{low}"
    return "129 or more"


def _leading_number(name: str) -> tuple[int, str]:
    """Order names by the number they begin with."""
    digits = re.match(r"\d*", name)
    return (int(digits[0]) if digits and digits[0] else 0, name)
