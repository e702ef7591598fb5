"""Errors of predictions as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.results import Configuration
from moeplan.render.common import (
    DASH,
    configuration_label,
    count,
    figure,
    heading,
    paragraph,
    table,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.validation import Validation

WORST = 10
LARGEST_PARTS = 3
TITLES = {
    "sku": "By machine",
    "model": "By model",
    "engine": "By engine",
    "serving": "By serving mode",
    "precision": "By precision",
    "attention": "By attention",
    "mtp": "By MTP depth",
    "lengths": "By input/output length",
    "batch": "By batch",
}
FIGURES = {"tpot": "TPOT", "ttft": "TTFT", "throughput": "tok/s"}
PERCENTILES = {
    "tpot_p90": "TPOT, 90th percentile",
    "tpot_p99": "TPOT, 99th percentile",
    "ttft_p90": "TTFT, 90th percentile",
    "ttft_p99": "TTFT, 99th percentile",
}


def report(validation: Validation) -> list[RenderableType]:
    """Lay out the errors over all rows, by group, and of the worst rows."""
    summary: dict[str, Any] = validation.summary()
    parts: list[RenderableType] = [
        heading(f"Predictions against {summary['rows']} measured rows"),
        paragraph(
            "Absolute relative errors: mean, median, 90th percentile, largest; bias is signed; "
            "inside is the share of measurements within the 90 % interval. All in percent."
        ),
        "",
        _figures(summary),
    ]
    for name, groups in summary["by"].items():
        parts += ["", heading(TITLES.get(name, f"By {name}")), _groups(groups)]
    return [*parts, "", heading("Worst rows by TPOT"), _worst(validation)]


def _figures(summary: dict[str, Any]) -> RenderableType:
    names = ("mape", "median_ape", "p90_ape", "max_ape", "bias", "coverage_90")
    labels = FIGURES | {"ttft_median": "Median TTFT", "iteration": "Iteration"}
    labels |= {name: label for name, label in PERCENTILES.items() if summary[name]["known"]}
    rows = [
        [label, str(summary[name]["known"]), *(_percent(summary[name][key]) for key in names)]
        for name, label in labels.items()
    ]
    columns = ("", "Rows", "Mean", "Median", "90th", "Largest", "Bias", "Inside")
    return table(*columns, rows=rows)


def _groups(groups: dict[str, Any]) -> RenderableType:
    names = ("mape", "max_ape", "coverage_90")
    columns = ["", "Rows"]
    for label in FIGURES.values():
        columns += [f"{label}\nmean", "\nworst", "\ninside"]
    rows = [
        [
            " ".join(group.split()),
            str(found["rows"]),
            *(_percent(found[f][key]) for f in FIGURES for key in names),
        ]
        for group, found in groups.items()
    ]
    return table(*columns, rows=rows)


def _worst(validation: Validation) -> RenderableType:
    rows, everything = [], validation.lines()
    for index in validation.worst(WORST):
        line = everything[index]
        configuration = Configuration.model_validate(
            {name: line[name] for name in Configuration.model_fields}
        )
        rows.append(
            [
                f"{line['sku']} {line['precision']} {line['isl']}/{line['osl']}",
                f"{configuration_label(configuration)}, {count(configuration.concurrency, 'user')}",
                largest_parts(validation.breakdown_ms[index]),
                _number(line["predicted_tpot_ms"]),
                _number(line["measured_tpot_ms"]),
                *(_signed(line[f"error_{name}"]) for name in FIGURES),
            ]
        )
    columns = (
        "Case",
        "Configuration",
        "Most of its step, ms",
        "TPOT\nms",
        "measured\nms",
        "Error, %\nTPOT",
        "\nTTFT",
        "\ntok/s",
    )
    return table(*columns, left=3, rows=rows)


def largest_parts(breakdown_ms: dict[str, float]) -> str:
    """Name the three largest parts of a step, in ms.

    Examples
    --------
    >>> largest_parts({"experts": 9.0, "launch": 4.0, "draft": 1.0, "head": 0.5})
    'experts 9.0, launch 4.0, draft 1.0'
    """
    parts = sorted(breakdown_ms.items(), key=lambda part: -part[1])[:LARGEST_PARTS]
    return ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in parts)


def _number(value: object) -> str:
    return figure(value if isinstance(value, float) else None)


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f}"


def _signed(value: object) -> str:
    return f"{100 * value:+.1f}" if isinstance(value, float) else DASH
