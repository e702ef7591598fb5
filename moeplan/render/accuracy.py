"""The accuracy report in Markdown: for ``docs/accuracy.md`` and, rendered, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from moeplan.render.common import heading, paragraph, table
from moeplan.render.validate import largest_parts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.accuracy import Accuracy
    from costmodel.validation import Statistics, Validation

FIGURES = {
    "tpot": "TPOT",
    "iteration": "iteration",
    "throughput": "tok/s/GPU",
    "ttft": "TTFT",
    "ttft_median": "median TTFT",
}
ERRORS = ("mape", "median_ape", "p90_ape", "max_ape", "bias", "coverage_90", "mean_half_width")
HEADER = (
    "rows", "mean", "median", "90th percentile", "worst", "bias", "inside 90 %", "half-width",
)  # fmt: skip
TITLES = {
    "sku": "machine",
    "precision": "precision",
    "attention": "decode attention",
    "mtp": "MTP depth",
    "lengths": "input/output length",
    "batch": "largest batch",
}
WORST = 10
INTRODUCTION = """\
Errors are absolute and relative to the measurement, in percent; bias is signed; *inside* is the
share of measurements within the 90 % interval, *half-width* its mean half-width. No prediction here
comes from a fit that saw the row it predicts or another measurement of its configuration; the
half-widths are those of the shipped calibration in every table, set on cross-validated errors of
all rows, so their coverage is not independent of the rows it is counted on. Suspect rows are in no
fit but in every figure, and stand apart by machine."""

KINDS = """\
How far the model carries beyond its data: rows of each kind predicted by a fit on all rows that are
not of it. Intervals are as wide as `moeplan` prints them for what lies outside the data."""


def markdown(accuracy: Accuracy) -> str:
    """Write the whole report."""
    validation = accuracy.cross_validated
    parts = [
        "# Accuracy",
        INTRODUCTION,
        f"## {len(validation.rows)} measured rows, 8-fold cross-validation",
        _figures(validation),
    ]
    found = validation.groups()
    for name, title in TITLES.items():
        parts += [f"### TPOT by {title}", _groups(validation, found[name])]
    parts += [
        "### The ten worst rows",
        _worst(validation),
        "## TPOT, one machine left out of the fit",
        _left_out("machine", accuracy.machine_left_out),
        "## TPOT, a kind of rows left out of the fit",
        KINDS,
        _left_out("kind", accuracy.kind_left_out),
        f"## {len(accuracy.published.rows)} published rows",
        "By a fit that saw neither them nor any measurement of their configurations:",
        _figures(accuracy.published),
        "Cross-validated within all rows:",
        _figures(accuracy.published_cross_validated),
        "## All-to-all latency, one EP width left out",
        _widths(accuracy.width_left_out),
    ]
    return "\n\n".join(parts) + "\n"


def report(text: str) -> list[RenderableType]:
    """Lay out the Markdown of a report for the terminal."""
    parts: list[RenderableType] = []
    for block in text.strip().split("\n\n"):
        if block.startswith("#"):
            parts += ["", heading(block.lstrip("# "))]
        elif block.startswith("|"):
            header, _, *rows = [
                [cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")
            ]
            texts = [place for place, cell in enumerate(rows[0]) if not _is_figure(cell)]
            left = next((at for at, place in enumerate(texts) if at != place), len(texts))
            parts.append(table(*header, left=max(left, 1), rows=rows))
        else:
            parts.append(paragraph(" ".join(block.split()).replace("`", "").replace("*", "")))
    return parts[1:]


def _is_figure(cell: str) -> bool:
    return not cell or cell[0].isdigit()


def summary(accuracy: Accuracy) -> dict[str, object]:
    """Gather the same figures for machines."""
    return {
        "cross_validated": accuracy.cross_validated.summary(),
        "machine_left_out": {
            sku: item.statistics() for sku, item in accuracy.machine_left_out.items()
        },
        "kind_left_out": {kind: item.statistics() for kind, item in accuracy.kind_left_out.items()},
        "published": accuracy.published.statistics(),
        "published_cross_validated": accuracy.published_cross_validated.statistics(),
        "width_left_out": {
            kernel: {str(ep): error for ep, error in errors.items()}
            for kernel, errors in accuracy.width_left_out.items()
        },
    }


def _figures(validation: Validation) -> str:
    statistics = validation.statistics()
    rows = [
        [label, *_cells(statistics[name])]
        for name, label in FIGURES.items()
        if statistics[name]["known"]
    ]
    return markdown_table(("figure", *HEADER), rows)


def _groups(validation: Validation, groups: dict[str, list[int]]) -> str:
    rows = [
        [name, *_cells(validation.statistics(members)["tpot"])] for name, members in groups.items()
    ]
    return markdown_table(("", *HEADER), rows)


def _left_out(what: str, validations: dict[str, Validation]) -> str:
    rows = [[name, *_cells(item.statistics()["tpot"])] for name, item in validations.items()]
    return markdown_table((what, *HEADER), rows)


def _widths(errors: dict[str, dict[int, float]]) -> str:
    """Mean error of each kernel at each EP width that it was measured at, and over all of them."""
    widths = sorted({width for found in errors.values() for width in found})
    rows = [
        [
            name,
            *(in_percent(found.get(width)) for width in widths),
            in_percent(_mean(found.values())),
        ]
        for name, found in errors.items()
    ]
    every = [error for found in errors.values() for error in found.values()]
    last = [_mean(found[width] for found in errors.values() if width in found) for width in widths]
    rows.append(["all", *map(in_percent, last), in_percent(_mean(every))])
    return markdown_table(("kernel", *(f"EP {width}" for width in widths), "mean"), rows)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def _worst(validation: Validation) -> str:
    figure = validation.figures["tpot"]
    rows = []
    for index in validation.worst(WORST):
        row, parts = validation.rows[index], validation.breakdown_ms[index]
        rows.append(
            [
                f"{row.sku} {row.precision} {row.isl}/{row.osl}",
                f"{row.decode_workers}x{row.decode_gpus_per_worker} {row.decode_attention} EP "
                f"{row.decode_ep}, batch {row.max_batch}, MTP {row.mtp_depth}",
                str(row.concurrency),
                f"{1e3 * figure.predicted[index]:.2f}",
                f"{1e3 * figure.measured[index]:.2f}",
                in_percent(float(figure.error[index])),
                largest_parts(parts),
            ]
        )
    return markdown_table(
        ("row", "decode", "users", "predicted, ms", "measured, ms", "error", "largest parts, ms"),
        rows,
    )


def _cells(statistics: Statistics) -> list[str]:
    return [str(statistics["known"]), *(in_percent(statistics[name]) for name in ERRORS)]


def in_percent(value: float | int | None) -> str:
    """Write a share, or nothing where it is unknown."""
    return "" if value is None else f"{100.0 * value:.1f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
