"""What was measured of a question: every shipped row that fits it, and the gaps between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from costmodel.frontier import pareto_frontier
from costmodel.results import Configuration
from moeplan.answers.measured import WIDE_HOLE, measured_point, published_for, why_incomparable
from moeplan.question import Question
from moeplan.render.common import configuration_label
from presets import (
    PublishedRow,
    ServingRow,
    aggregated_rows,
    corpus_rows,
    measurement_sources,
    published_rows,
    serving_rows,
)

TABLES = {
    "inferencex_2026-05-22": "published table",
    "measured_serving": "shipped runs",
    "aggregated_serving": "shipped runs",
    "corpus_serving": "public corpus",
}
"""Shipped tables of serving points, and what a reader calls them."""

CORPUS = "corpus_serving"

SAME = 0.02
"""Relative difference of figures that two tables print of one run. [1]"""


def frontier_of(question: Question) -> tuple[PublishedRow, ...]:
    """Find published rows of the question that no other beats, slowest first."""
    if question.prefill_cluster or why_incomparable(question.scenario, question.cluster):
        return ()
    return pareto_frontier(published_for(question.cluster, question.options.max_gpus))


def points_of(question: Question) -> list[dict[str, Any]]:
    """Every shipped measurement of the machine, model, precision, lengths and engine asked for."""
    points: list[dict[str, Any]] = []
    for point in _points(question):
        if point["table"] != TABLES[CORPUS] or not any(_same_run(point, each) for each in points):
            points.append(point)
    return sorted(points, key=lambda point: (point["speed"], point["throughput"]))


def _same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two tables tell of one run: as many GPUs, and the same figures."""
    return one["gpus"] == other["gpus"] and all(
        math.isclose(one[name], other[name], rel_tol=SAME) for name in ("speed", "throughput")
    )


def speeds_of(question: Question) -> list[float]:
    """Interactivity of those, slowest first [token/s]."""
    return [point["speed"] for point in points_of(question)]


def gaps_of(question: Question) -> list[dict[str, float]]:
    """Stretches of the measured frontier over which its throughput falls without a row between."""
    falls = [
        (
            slow.tok_s_per_user,
            fast.tok_s_per_user,
            slow.total_tok_s_per_gpu / fast.total_tok_s_per_gpu,
        )
        for slow, fast in pairwise(frontier_of(question))
    ]
    return [
        {"from": slow, "to": fast, "fall": fall} for slow, fast, fall in falls if fall >= WIDE_HOLE
    ]


def line_of(question: Question, grid: Sequence[float]) -> list[list[float]]:
    """Points of the interpolated frontier: at its rows and wherever the grid falls between."""
    rows = frontier_of(question)
    if not rows:
        return []
    ends = rows[0].tok_s_per_user, rows[-1].tok_s_per_user
    places = {row.tok_s_per_user for row in rows}
    places |= {target for target in grid if ends[0] <= target <= ends[1]}
    most = question.options.max_gpus
    found = [
        (place, measured_point(question.scenario, question.cluster, place, most))
        for place in sorted(places)
    ]
    return [[place, point.total_tok_s_per_gpu] for place, point in found if point is not None]


def _points(question: Question) -> Iterator[dict[str, Any]]:
    tables: dict[str, Sequence[PublishedRow | ServingRow]] = {
        "inferencex_2026-05-22": published_rows(),
        "measured_serving": serving_rows(),
        "aggregated_serving": aggregated_rows(),
        "corpus_serving": corpus_rows(),
    }
    if question.prefill_cluster is not None:  # nobody measured two machines at once
        return
    for table, rows in tables.items():
        for row in rows:
            speed = _speed(row)
            if speed is None or row.total_tok_s_per_gpu is None or not _fits(row, question):
                continue
            config = _configuration(row)
            dated = row.date or (table != CORPUS and measurement_sources()[table].date)
            yield {
                "speed": speed,
                "throughput": row.total_tok_s_per_gpu,
                "ttft_ms": getattr(row, "ttft_ms", None),
                "label": configuration_label(config),
                "gpus": config.gpus,
                "engine": " ".join(filter(None, (row.framework, row.framework_version))),
                "date": dated.isoformat() if dated else "undated",
                "table": TABLES[table],
                "suspect": getattr(row, "suspect", None),
            }


def _fits(row: PublishedRow | ServingRow, question: Question) -> bool:
    """Whether a row answers a question: all that is asked for, within its GPUs."""
    scenario = question.scenario
    asked = {
        "sku": question.cluster.sku,
        "model": scenario.model.name,
        "precision": scenario.precision,
        "isl": scenario.isl,
        "osl": scenario.osl,
        "cached_share": scenario.cached_share,
        "framework": scenario.engine,
    }
    return (
        all(getattr(row, name) == value for name, value in asked.items())
        and row.serving in question.modes
        and _configuration(row).gpus <= question.options.max_gpus
    )


def _configuration(row: PublishedRow | ServingRow) -> Configuration:
    return Configuration(**{name: getattr(row, name) for name in Configuration.model_fields})


def _speed(row: PublishedRow | ServingRow) -> float | None:
    """Interactivity of a row, of the median where it has one [token/s]."""
    if row.tok_s_per_user is not None:
        return row.tok_s_per_user
    tpot = getattr(row, "tpot_median_ms", None) or row.tpot_ms
    return 1e3 / tpot if tpot else None
