"""Measured values far from everything else, by row and column, with what is likely wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from costmodel.calibration import Calibration
from costmodel.deployments import case_of
from costmodel.inputs import FloatArray
from costmodel.validation import FIGURE_OF, PERCENTILES, validate
from presets import InputError, ServingRow

TTFT_FACTOR = math.sqrt(1000.0)
FACTORS = {
    "tpot": 2.7,
    "iteration": 2.7,
    "throughput": 2.7,
    "ttft": TTFT_FACTOR,
    "ttft_median": TTFT_FACTOR,
}
"""How many times too much or too little a value is at least, by figure, to be out of place. [1]

Three, less the error of a good row. TTFT varies tenfold by how requests wait: there only what is
nearer to a thousand than to one, in the logarithm, is sure to be a unit mistaken.
"""

TWICE = 2.0
"""How much slower or faster than predicted a cluster may be without a mistake. [1]"""

ALIKE = 1.5
"""Factor within which a value looks like another column's. [1]"""

PER_USER = "tok_s_per_user"

UNITS: dict[str, dict[str, float]] = {
    "ms": {"in seconds in place of ms": 1e-3, "in microseconds in place of ms": 1e3},
    "": {"in thousands": 1e-3, "a thousand times too large": 1e3},
}
"""What is said of a factor that a unit mistaken makes, by the unit of the column. [1]"""

UNKNOWN = "of another load, length, model or machine than the row says, or of several tokens"
"""What is said where nothing else fits."""

LISTED = 20
"""Most rows that a message names. [1]"""


class Outliers(NamedTuple):
    """Values of one column that are out of place."""

    column: str
    places: tuple[str, ...]  # of the rows
    measured: float  # of the first, as the column has it
    expected: float
    cause: str


def check_outliers(rows: Mapping[str, ServingRow], calibration: Calibration) -> None:
    """Refuse rows with values that are far from everything else.

    Parameters
    ----------
    rows
        By where each stands, such as "rows.csv, line 2".
    calibration
        Predicts what all measurements before lead to expect.

    Raises
    ------
    InputError
        Naming columns, rows and likely causes.
    """
    if found := outliers(rows, calibration):
        raise InputError(
            "; ".join([*_sentences(found), "mend these rows, or force the fit as it is"])
        )


def outliers(rows: Mapping[str, ServingRow], calibration: Calibration) -> list[Outliers]:
    """Find values that are `FACTORS` or more from what the calibration predicts.

    Where the interval is wide, a value counts from `TWICE` beyond it.
    """
    places = list(rows)
    checked = validate(list(rows.values()), calibration)
    expected = checked.predictions | {PER_USER: 1e3 / checked.predictions["tpot_median_ms"]}
    found = []
    expected = {
        name: values
        for name, values in expected.items()
        if FIGURE_OF.get(name, "") not in PERCENTILES
    }
    for column, predicted in expected.items():
        figure = "tpot" if column == PER_USER else FIGURE_OF[column]
        measured = np.array([getattr(row, column) or np.nan for row in checked.rows], dtype=float)
        wide = math.log(TWICE) + checked.figures[figure].half_width
        limits = np.maximum(math.log(FACTORS[figure]), wide)
        out = np.flatnonzero(np.abs(np.log(measured / predicted)) >= limits)
        if out.size:
            cause = likely_cause(
                column,
                measured[out],
                {name: values[out] for name, values in expected.items()},
                [checked.rows[index] for index in out],
            )
            first = int(out[0])
            named = tuple(places[index] for index in out)
            found.append(
                Outliers(column, named, float(measured[first]), float(predicted[first]), cause)
            )
    return found


def likely_cause(
    column: str,
    measured: FloatArray,
    expected: Mapping[str, FloatArray],
    rows: Sequence[ServingRow],
) -> str:
    """Say what is likely wrong with values of a column, as most of them have it.

    Parameters
    ----------
    column
        Where they stand.
    measured
        The values, as the column has them, shape ``(n,)``.
    expected
        What each column would be expected to hold, shapes ``(n,)``.
    rows
        The whole rows, ``n`` of them.
    """
    units = UNITS["ms" if column.endswith("_ms") else ""]
    factors: dict[str, FloatArray | float] = dict(units)
    if column == "total_tok_s_per_gpu":
        gpus = np.array([case_of(row).configuration.gpus for row in rows], dtype=float)
        output = np.array([row.osl / (row.isl + row.osl) for row in rows])
        factors |= {
            "the throughput of all GPUs in place of one": gpus,
            "output tokens of all GPUs": gpus * output,
            "output tokens without input": output,
        }
    figure = FIGURE_OF.get(column, "tpot")
    for other, values in expected.items():
        if other == PER_USER or FIGURE_OF[other] != figure:
            factors[f"{other} in this column"] = values / expected[column]
    off = np.log(measured / expected[column])
    away = {
        cause: float(np.median(np.abs(off - np.log(factor)))) for cause, factor in factors.items()
    }
    nearest = min(away, key=away.__getitem__)
    # A unit is a thousand off whatever the error of the prediction is.
    limit = FACTORS["ttft"] if nearest in units else ALIKE
    return nearest if away[nearest] <= math.log(limit) else UNKNOWN


def _sentences(found: Sequence[Outliers]) -> Iterator[str]:
    """Tell of columns that share rows and cause together."""
    groups: dict[tuple[tuple[str, ...], str], list[Outliers]] = {}
    for one in found:
        groups.setdefault((one.places, one.cause), []).append(one)
    for (places, cause), columns in groups.items():
        first, names = columns[0], ", ".join(one.column for one in columns)
        times = first.measured / first.expected
        off = f"{_rounded(times)} times" if times >= 1 else f"1/{_rounded(1 / times)} of"
        yield (
            f"{_listed(places)}: {names} is likely {cause} ({first.column} {first.measured:g} is "
            f"{off} the {first.expected:.4g} that all other measurements lead to expect)"
        )


def _listed(places: Sequence[str]) -> str:
    """Name the first places, the lines of a file together.

    >>> _listed(["a.csv, line 2", "a.csv, line 5", "b.csv, line 2"])
    'a.csv, lines 2, 5; b.csv, line 2'
    """
    files: dict[str, list[str]] = {}
    for place in places[:LISTED]:
        file, _, line = place.rpartition(", line ")
        files.setdefault(file, []).append(line)
    named = [
        f"{file}, line{'s' if len(lines) > 1 else ''} {', '.join(lines)}"
        for file, lines in files.items()
    ]
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return "; ".join(named) + more


def _rounded(times: float) -> str:
    """Write a factor with the digits that it deserves.

    >>> _rounded(2.853), _rounded(1053.2)
    ('2.9', '1,053')
    """
    return f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
